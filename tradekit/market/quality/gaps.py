"""Checks against the exchange calendar: sessions and bars that are missing, bars outside them, half days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import calendar
from tradekit.market.quality.clock import hours
from tradekit.market.quality.findings import Finding, count, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Times
    from tradekit.market.quality.bars import SymbolBars
    from tradekit.market.quality.findings import Severity

MINUTE = np.timedelta64(1, "m")
# A bar belongs to the day's pattern when most sessions of its kind have it.
USUAL = 0.5


def check_gaps(bars: SymbolBars) -> Iterator[Finding]:
    """Yield sessions without a bar and bars without a session."""
    # Before 1900 and after 2050 there is no calendar; the reader lets no such date pass.
    dates = np.unique(bars.dates)
    expected = calendar.sessions(str(dates[0]), str(dates[-1]))
    lost = np.setdiff1d(expected, dates)
    if len(lost):
        yield _missing("missing_session", bars, tuple(map(str, lost)), f"{count(lost, 'session')} without a bar")
    every = bars.all_rows
    extra = every[~calendar.is_session(bars.clock.dates[every])]
    if len(extra):
        text = f"{count(extra, 'bar')} on days without a session, first {bars.table.stamp(int(extra[0]))}"
        yield finding("not_a_session", "warning", bars.table, bars.symbol, extra, text, repair="drop_outside_calendar")


def check_ragged(every: list[SymbolBars]) -> Iterator[Finding]:
    """Yield symbols that begin later or end earlier than the others."""
    if len(every) < 2:
        return
    first, last = min(bars.dates[0] for bars in every), max(bars.dates[-1] for bars in every)
    for bars in every:
        late = len(calendar.sessions(str(first), str(bars.dates[0]))) - 1
        early = len(calendar.sessions(str(bars.dates[-1]), str(last))) - 1
        if late > 0 or early > 0:
            span = f"{bars.dates[0]} to {bars.dates[-1]}"
            text = f"{bars.symbol}: bars from {span} only; the table covers {first} to {last}"
            yield Finding("ragged", "note", bars.symbol, text, value=float(max(late, 0) + max(early, 0)))


def check_intraday(bars: SymbolBars) -> Iterator[Finding]:
    """Yield bars that are missing inside sessions, bars outside them, and what is odd about half days."""
    if bars.clock.daily:
        return
    regular = bars.clock.regular[bars.rows]
    half = calendar.is_half_day(bars.dates)
    yield from _outside(bars)
    minutes = ((bars.wall - bars.dates.astype("M8[ns]")) / MINUTE).astype(np.int64)
    dates = np.unique(bars.dates[regular])
    halves = calendar.is_half_day(dates)
    slots = _usual_slots(bars.dates, minutes, regular & ~half, len(dates) - int(halves.sum()))
    lost = [*_lost(bars, minutes, dates[~halves], slots)]
    if halves.any():
        own = _usual_slots(bars.dates, minutes, regular & half, int(halves.sum()))
        yield from _half_day_pattern(bars, dates[halves], slots, own)
        lost += _lost(bars, minutes, dates[halves], own)
    if lost:
        text = f"{count(lost, 'bar')} inside sessions without a row"
        yield _missing("missing_bar", bars, tuple(sorted(lost)), text)


def _outside(bars: SymbolBars) -> Iterator[Finding]:
    every = bars.all_rows
    dates, wall = bars.clock.dates[every], bars.clock.wall[every]
    outside = ~bars.clock.regular[every]
    rows = every[outside & calendar.is_session(dates)]
    if len(rows):
        share = len(rows) / len(every)
        text = (
            f"{count(rows, 'bar')} ({share:.1%}) before the open or after the close, first "
            f"{bars.table.stamp(int(rows[0]))}; trading there is thin, and an order could fill in it"
        )
        yield finding(
            "extended_hours", "warning", bars.table, bars.symbol, rows, text, share, repair="drop_extended_hours"
        )
    opens, _ = hours(dates)
    afternoon = (wall > opens) & (wall < opens + np.timedelta64(390, "m"))
    late = every[calendar.is_half_day(dates) & outside & afternoon]
    if len(late):
        days = np.unique(bars.clock.dates[late])
        text = (
            f"{count(late, 'bar')} between the early close of {count(days, 'half day')} and the usual close, first "
            f"{bars.table.stamp(int(late[0]))}; a filter by time of day would take them for regular ones"
        )
        yield finding("half_day", "warning", bars.table, bars.symbol, late, text, repair="drop_extended_hours")


def _usual_slots(dates: Times, minutes: NDArray[np.int64], where: Bools, sessions: int) -> NDArray[np.int64]:
    """Return the minutes of the day at which most of the sessions have a bar."""
    pairs = np.unique(np.stack([dates[where].astype(np.int64), minutes[where]]), axis=1)
    slots, times = np.unique(pairs[1], return_counts=True)
    return slots[times > USUAL * sessions]


def _lost(bars: SymbolBars, minutes: NDArray[np.int64], dates: Times, slots: NDArray[np.int64]) -> list[str]:
    """Return the bars that the pattern has and the dates have not; where the data begin or end is no gap."""
    have = set(zip(bars.dates.astype(np.int64).tolist(), minutes.tolist(), strict=True))
    wanted: Times = np.add(dates.astype("M8[ns]")[:, None], slots[None, :] * MINUTE)
    opens, closes = hours(dates)
    wanted_here = (wanted >= opens[:, None]) & (wanted < closes[:, None])
    wanted_here &= (wanted >= bars.wall[0]) & (wanted <= bars.wall[-1])
    return [
        str(wanted[day, slot].astype("M8[m]"))
        for day, slot in np.argwhere(wanted_here)
        if (int(dates[day].astype(np.int64)), int(slots[slot])) not in have
    ]


def _half_day_pattern(
    bars: SymbolBars, dates: Times, slots: NDArray[np.int64], own: NDArray[np.int64]
) -> Iterator[Finding]:
    _, closes = hours(dates)
    early = int(np.median((closes - dates.astype("M8[ns]")) / MINUTE))
    absent = np.setdiff1d(slots[slots < early], own)
    if len(absent):
        named = ", ".join(f"{slot // 60:02d}:{slot % 60:02d}" for slot in absent)
        text = (
            f"{bars.symbol}: half days have no bar at {named} (New York), though the session runs to "
            f"{early // 60:02d}:{early % 60:02d}; their last price is that of the bar before"
        )
        days = tuple(map(str, dates))
        yield Finding("half_day", "note", bars.symbol, text, timestamps=days, value=float(len(absent)))


def _missing(check: str, bars: SymbolBars, lost: tuple[str, ...], text: str, severity: Severity = "warning") -> Finding:
    message = f"{bars.symbol}: {text}, first {lost[0]}; fetch them, nothing is filled in"
    return Finding(check, severity, bars.symbol, message, timestamps=lost, value=float(len(lost)))
