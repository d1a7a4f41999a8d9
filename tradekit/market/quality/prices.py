"""Checks of prices between sessions: splits that are not adjusted, false steps, spikes, actions that disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.actions import Actions, in_prices, text_of
from tradekit.market.quality.findings import count, finding
from tradekit.market.quality.jumps import find_jumps, find_spikes, find_wicks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats
    from tradekit.market.quality.bars import Sessions, SymbolBars
    from tradekit.market.quality.findings import Finding, Severity
    from tradekit.market.quality.jumps import Jump, Spike

# An adjustment factor may differ from the one that the action gives by what vendors disagree about (one takes the close
# before the ex-date, another the close cum dividend): the most between any two here is 0.4 %.
FACTOR_TOLERANCE = 0.005
# Without recorded actions adj_close / close may only rise with time: a fall beyond rounding is no dividend.
FALL_TOLERANCE = 0.001
# An action explains a move when it leaves less than this share of it.
EXPLAINED = 0.5


def check_prices(bars: SymbolBars) -> Iterator[Finding]:
    """Yield what is wrong with one symbol's prices."""
    high, low, close = bars.value("high"), bars.value("low"), bars.close
    spikes = find_spikes(high, low, close)
    yield from (_spike(bars, spike) for spike in spikes)
    wicks, reach = find_wicks(bars.value("open"), high, low, close, bars.value("volume"))
    if wicks.any():
        rows = bars.rows[wicks]
        text = (
            f"high or low far beyond the rest of the bar in {count(rows, 'bar')} without volume, first "
            f"{bars.table.stamp(int(rows[0]))}, by up to {reach[wicks].max():.0f} sigma of a bar: no one traded there"
        )
        yield finding("wick", "warning", bars.table, bars.symbol, rows, text, float(reach[wicks].max()), "clip_wicks")
    own = _own_actions(bars)
    named = {_session_of(bars, place) for spike in spikes for place in (spike.first, spike.first + spike.bars)}
    if own is not None:
        known = in_prices(bars.sessions.dates, bars.sessions.open, bars.sessions.close, own)
        yield from _recorded_splits(bars, own, known)
        named |= {int(np.searchsorted(bars.sessions.dates, date)) for date in own.dates[known == 0]}
    for jump in find_jumps(bars.sessions, frozenset(named)):
        yield from _jump(bars, jump, own)
    yield from _adjustments(bars, own)


def _own_actions(bars: SymbolBars) -> Actions | None:
    """Return the actions that the table records for a symbol, None if it has no columns for any."""
    if not (bars.table.has("split") or bars.table.has("dividend")):
        return None
    # What no action can be is named cell by cell, and passed over here.
    split, dividend = np.nan_to_num(bars.value("split"), nan=1.0), np.nan_to_num(bars.value("dividend"), nan=0.0)
    split = np.where(split == 0.0, 1.0, split)
    rows = np.flatnonzero((split != 1.0) | (dividend != 0.0))
    return Actions(np.full(len(rows), bars.symbol), bars.dates[rows], split[rows], dividend[rows], bars.table.origin)


def _session_of(bars: SymbolBars, place: int) -> int:
    return int(np.searchsorted(bars.starts, place, side="right")) - 1


def _lasts(bars: SymbolBars) -> NDArray[np.intp]:
    """Return (S,) the last bar of each session."""
    return np.append(bars.starts[1:], len(bars)) - 1


def _spike(bars: SymbolBars, spike: Spike) -> Finding:
    rows = bars.rows[spike.first : spike.first + spike.bars]
    away = np.expm1(spike.distance)
    text = (
        f"{count(rows, 'bar')} from {bars.table.stamp(int(rows[0]))} stands {away:+.1%} away from the bars on both "
        f"sides ({spike.sigmas:.0f} sigma) and the price returns"
    )
    severity: Severity = "warning" if spike.closes_only else "error"
    return finding("spike", severity, bars.table, bars.symbol, rows, text, spike.distance, repair="drop_spikes")


def _recorded_splits(bars: SymbolBars, own: Actions, known: NDArray[np.int8]) -> Iterator[Finding]:
    """Yield the recorded splits that prices still step by, and a note of those that they hold already."""
    day = bars.sessions
    for place in np.flatnonzero(known == 0):
        session = int(np.searchsorted(day.dates, own.dates[place]))
        text = (
            f"raw prices: the recorded {text_of(own.splits[place])} split of {own.dates[place]} is not applied "
            f"({_step(day, session)}); apply the table's actions"
        )
        yield _at(bars, session, "unadjusted_split", "error", text, float(own.splits[place]), "apply_actions")
    if (known == 1).any():
        splits = ", ".join(
            f"{text_of(split)} on {date}"
            for split, date in zip(own.splits[known == 1], own.dates[known == 1], strict=True)
        )
        mixed = (known == 0).any()
        text = f"the recorded {splits} is in the prices already" + (", others are not" if mixed else "; a record only")
        rows = bars.rows[np.isin(bars.dates, own.dates[known == 1])]
        yield finding("actions", "error" if mixed else "note", bars.table, bars.symbol, rows, text)


def _jump(bars: SymbolBars, jump: Jump, own: Actions | None) -> Iterator[Finding]:
    day, session = bars.sessions, jump.session
    step = _step(day, session)
    evidence = _evidence(jump)
    adjusted = _adjusted_move(bars, session)
    cash = _dividend(day, session, own)
    if cash is not None and abs(jump.move - cash) < EXPLAINED * abs(jump.move):
        text = f"{step}, which the recorded dividend explains"
        yield _at(bars, session, "large_dividend", "note", text, jump.move)
    elif adjusted is not None and abs(adjusted) < EXPLAINED * abs(jump.total):
        ratio = float(np.exp(adjusted - jump.total))
        text = (
            f"close is not adjusted but adj_close is: {step}, a factor of {ratio:.4g} that adj_close does not have; "
            "scale the prices to adj_close, or give the action and apply it"
        )
        yield _at(bars, session, "unadjusted_split", "error", text, ratio, "scale_to_adjusted")
    elif jump.kind == "traded":
        text = f"{step} and closes {np.expm1(jump.total):+.1%}: a large move ({evidence}); taken as real"
        yield _at(bars, session, "large_move", "note", text, jump.total)
    elif jump.split is not None:
        new, old = jump.split
        text = (
            f"{step}, like a {new}:{old} split without trading to match ({evidence}); the rows before it are not "
            "adjusted: give the split as an action and apply it, or take adjusted prices"
        )
        yield _at(bars, session, "unadjusted_split", "error", text, new / old, "apply_actions")
    elif jump.kind == "bid":
        text = f"{step} without trading to match ({evidence}), then small ranges: a bid at a fixed price, or false"
        yield _at(bars, session, "level_shift", "warning", text, jump.move)
    else:
        text = (
            f"{step} without trading to match ({evidence}) and no plain split ratio: a spin-off, a special "
            "dividend or several actions adjusted wrongly or not at all, or files spliced; compare another source"
        )
        yield _at(bars, session, "level_shift", "error", text, jump.move)


def _evidence(jump: Jump) -> str:
    if np.isnan(jump.range):
        return "closes alone cannot tell a move from a false step"
    usual = "" if np.isnan(jump.turnover) else f", turnover {jump.turnover:.1f} times the usual"
    return f"the session ranges {np.expm1(jump.range):.1%}{usual}"


def _step(day: Sessions, session: int) -> str:
    before, after = day.close[session - 1], day.open[session]
    after = day.close[session] if np.isnan(after) else after
    return f"{day.dates[session]} begins at {after:g} after a close of {before:g} ({after / before - 1:+.1%})"


def _adjusted_move(bars: SymbolBars, session: int) -> float | None:
    """Return the log return of adj_close over a session; None without adj_close."""
    if not bars.table.has("adj_close"):
        return None
    adjusted, last = bars.value("adj_close"), _lasts(bars)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.log(adjusted[last[session]] / adjusted[last[session - 1]]))


def _dividend(day: Sessions, session: int, own: Actions | None) -> float | None:
    """Return the log move that the dividend of a session gives; None when there is none."""
    if own is None:
        return None
    paid = float(own.dividends[own.dates == day.dates[session]].sum())
    return float(np.log1p(-paid / day.close[session - 1])) if 0 < paid < day.close[session - 1] else None


def _adjustments(bars: SymbolBars, own: Actions | None) -> Iterator[Finding]:
    """Yield where adj_close / close moves by another factor than the recorded actions, or falls without any."""
    if not bars.table.has("adj_close") or not bars.clock.daily:
        return
    factor = bars.value("adj_close") / bars.close
    implied = factor[:-1] / factor[1:]
    if own is None:
        wrong, tolerance = implied - 1.0, FALL_TOLERANCE
    else:
        wrong, tolerance = np.abs(implied / _expected(bars.sessions, own) - 1.0), FACTOR_TOLERANCE
    # A close that moves as much as the factor is a raw one beside an adjusted one, and named by its jump already.
    moved = np.abs(np.diff(np.log(bars.close)))
    places = np.flatnonzero((wrong > tolerance) & (moved < 0.5 * np.abs(np.log(implied)))) + 1
    if len(places):
        rows, worst = bars.rows[places], float(wrong[places - 1].max())
        expected = "its recorded actions give" if own is not None else "a dividend could"
        text = (
            f"adj_close moves against close by another factor than {expected} in {count(rows, 'session')}, first "
            f"{bars.table.stamp(int(rows[0]))}, by up to {worst:.2%}; compare another source"
        )
        yield finding("actions", "warning", bars.table, bars.symbol, rows, text, worst)


def _expected(day: Sessions, own: Actions) -> Floats:
    """Return (S - 1,) the factor that recorded actions give between each session and the one before."""
    known = in_prices(day.dates, day.open, day.close, own)
    expected = np.ones(len(day))
    for place, date in enumerate(own.dates):
        session = int(np.searchsorted(day.dates, date))
        if 0 < session < len(day):
            split = own.splits[place] if known[place] == 0 else 1.0
            expected[session] *= (1.0 - own.dividends[place] * split / day.close[session - 1]) / split
    return expected[1:]


def _at(
    bars: SymbolBars, session: int, check: str, severity: Severity, text: str, value: float, repair: str | None = None
) -> Finding:
    rows: NDArray[np.intp] = bars.sessions.rows[session : session + 1]
    return finding(check, severity, bars.table, bars.symbol, rows, text, value, repair)
