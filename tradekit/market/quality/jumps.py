"""Jumps that are bookkeeping, jumps that were traded, and bars that lie alone.

A stock that really moves overnight trades on it: the session's range is a fair part of the move and the turnover in
money is many times the usual. A split, a mis-applied adjustment or a spliced file moves the price between two
sessions that are like any other. Both tests compare a session with the symbol's own recent past, so no threshold
depends on a price level, a volume or a vendor:

==================  ========  =======================================================================================
``SIGMA``           8         robust standard deviations that a move needs to be looked at
``SMALLEST``        log 1.15  and its least size
``QUIET_RANGE``     0.3       range of the session over the move: splits reach 0.27, real moves begin at 0.14
``QUIET_TURNOVER``  2         times the usual turnover: splits reach 1.9, real moves with a quiet range begin at 2.3
``SILENT_RANGE``    0.12      below it the turnover no longer matters: a 61 % step in a session that ranges 4 %
``CALM_AFTER``      0.5       unless ranges shrink afterwards, as they do when a company is bid for at a fixed price
==================  ========  =======================================================================================

The figures are those of 136 overnight moves of 8 sigma in 25 years of daily bars, 30 of which were bookkeeping. Scale
is 1.4826 times the median absolute return (the normal distribution's standard deviation), the larger of the symbol's
whole history and the 20 sessions before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats
    from tradekit.market.quality.bars import Sessions

MAD_TO_SIGMA = 1.4826
WINDOW = 20
SIGMA, SMALLEST = 8.0, float(np.log(1.15))
QUIET_RANGE, QUIET_TURNOVER, SILENT_RANGE, CALM_AFTER = 0.3, 2.0, 0.12, 0.5
LARGE = float(np.log(1.4))
# Closes alone hold no evidence of trading, so they must be extreme: the largest real move is 30 sigma, and lies 2.8
# sigma from the nearest split ratio.
SIGMA_OF_CLOSES, NEAR_OF_CLOSES = 25.0, 2.0
# How far, in sigma and at most, the session after a split may open from the exact ratio.
NEAR, NEAR_AT_MOST = 4.0, 0.1
# The most isolated real bar lies 3.4 sigma from both its neighbours.
ALONE, LONGEST_SPIKE, SMALLEST_SPIKE = 6.0, 3, 0.005
# The longest wick without volume in regular bars is 4 sigma; bars with volume had real ones up to 42.
WICK, TRADED_WICK = 8.0, 50.0

_FORWARD = (*range(2, 11), 12, 15, 16, 20, 25, 30, 40, 50, 100)
_REVERSE = (*range(2, 13), 15, 16, 18, 20, 25, 30, 35, 40, 45, 50, 60, 75, 80, 100, 150, 200, 250, 500)
SPLITS = tuple(sorted({(n, 1) for n in _FORWARD} | {(1, n) for n in _REVERSE} | {(3, 2), (5, 2), (5, 3)}))
"""Splits in use, as (new shares, old shares); 4:3 and 5:4 are left out, a special dividend moves a price as much."""


@dataclass(frozen=True)
class Jump:
    """A move between two sessions that is too large to be passed over.

    Attributes:
        session: the one that begins at the new price.
        move: log of its open over the close before; of its close where there are no opens.
        total: log of its close over the close before.
        sigmas: the move in robust standard deviations.
        range: the session's log range; NaN without highs and lows.
        turnover: close times volume over its median of the 20 sessions before; NaN without volume.
        kind: ``bookkeeping`` (no trading to match), ``bid`` (the same, but ranges shrink afterwards) or ``traded``.
        split: the split it looks like, as (new, old) shares; None if no usual ratio is near.
    """

    session: int
    move: float
    total: float
    sigmas: float
    range: float
    turnover: float
    kind: str
    split: tuple[int, int] | None


def sigma(values: Floats) -> float:
    """Return the robust standard deviation of returns (R,), NaN left out; of the moves only where most are zero."""
    sizes = np.abs(values[~np.isnan(values)])
    middle = _middle(sizes)
    if middle == 0.0 and (sizes > 0).any():
        middle = float(np.median(sizes[sizes > 0]))
    return MAD_TO_SIGMA * middle


def scale_at(returns: Floats, whole: float, place: int) -> float:
    """Return the larger of ``whole`` and the robust standard deviation of the 20 returns before ``place``."""
    recent = sigma(returns[max(place - WINDOW, 1) : place])
    return whole if np.isnan(recent) else max(whole, recent)


def nearest_split(move: float, tolerance: float) -> tuple[int, int] | None:
    """Return the (new, old) shares of the split in use whose log ratio is within ``tolerance`` of ``-move``.

    >>> nearest_split(float(np.log(0.2505)), 0.05)
    (4, 1)
    >>> nearest_split(float(np.log(1.55)), 0.05) is None
    True
    """
    misses = [abs(move + np.log(new / old)) for new, old in SPLITS]
    best = int(np.argmin(misses))
    return SPLITS[best] if misses[best] <= tolerance else None


def log_returns(close: Floats) -> Floats:
    """Return (S,) log returns of closes (S,), the first NaN."""
    returns = np.full(len(close), np.nan)
    returns[1:] = np.diff(np.log(close))
    return returns


def find_jumps(bars: Sessions, skip: frozenset[int] = frozenset()) -> list[Jump]:
    """Return the jumps of one symbol's sessions, except those at ``skip`` (the edges of spikes)."""
    returns = log_returns(bars.close)
    whole = sigma(returns)
    if not whole > 0:
        return []
    moves = returns.copy()
    moves[1:] = np.where(np.isnan(bars.open[1:]), returns[1:], np.log(bars.open[1:] / bars.close[:-1]))
    sizes = np.fmax(np.abs(moves), np.abs(returns))
    places = np.flatnonzero((sizes >= SMALLEST) & (sizes >= SIGMA * whole))
    judged = (_judge(bars, returns, moves, whole, int(place)) for place in places if int(place) not in skip)
    return [jump for jump in judged if jump is not None]


def _judge(bars: Sessions, returns: Floats, moves: Floats, whole: float, place: int) -> Jump | None:
    scale, move, total = scale_at(returns, whole, place), float(moves[place]), float(returns[place])
    span, turnover = _range(bars, place) / abs(move) if move else np.nan, _turnover(bars, place)
    sigmas = abs(move) / scale
    split = nearest_split(move, min(NEAR * whole, NEAR_AT_MOST))
    if _has_ranges(bars, place):
        gapped = sigmas >= SIGMA and abs(move) >= SMALLEST
        kind = _kind(bars, place, span, turnover) if gapped else "traded"
    else:
        near = nearest_split(move, NEAR_OF_CLOSES * whole)
        # A price that mostly stands still moves in ticks, and three ticks to one look like a split.
        recent = returns[max(place - WINDOW, 1) : place]
        alive = np.count_nonzero(recent) > 0.5 * len(recent)
        kind = "bookkeeping" if sigmas >= SIGMA_OF_CLOSES and near and alive else "traded"
    if kind == "traded" and (max(abs(total), abs(move)) < LARGE or max(abs(total) / scale, sigmas) < SIGMA):
        return None
    return Jump(place, move, total, sigmas, _range(bars, place), turnover, kind, split)


def _kind(bars: Sessions, place: int, span: float, turnover: float) -> str:
    if _range(bars, place) == 0.0:
        # One trade, or none: a thin symbol's price catching up is no evidence of anything.
        return "traded"
    if span < QUIET_RANGE and turnover < QUIET_TURNOVER:
        return "bookkeeping"
    if span >= SILENT_RANGE:
        return "traded"
    after, before = (_middle(_ranges(bars)[part]) for part in (_after(place), _before(place)))
    return "bookkeeping" if after >= CALM_AFTER * before else "bid"


def _before(place: int) -> slice:
    return slice(max(place - WINDOW, 0), place)


def _after(place: int) -> slice:
    return slice(place, place + WINDOW)


def _middle(values: Floats) -> float:
    """Return the median of the values that are known, NaN if none is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def _ranges(bars: Sessions) -> Floats:
    spans: Floats = np.log(bars.high / bars.low)
    return spans


def _range(bars: Sessions, place: int) -> float:
    return float(np.log(bars.high[place] / bars.low[place]))


def _has_ranges(bars: Sessions, place: int) -> bool:
    """Tell bars with a range of their own from closes, also from closes written as open = high = low = close."""
    spans = np.log(bars.high[_before(place)] / bars.low[_before(place)])
    return not np.isnan(bars.open[place]) and _middle(spans) > 0


def _turnover(bars: Sessions, place: int) -> float:
    money = (bars.close * bars.volume)[max(place - WINDOW, 0) : place + 1]
    usual = _middle(money[:-1])
    return float(money[-1] / usual) if usual > 0 else np.nan


@dataclass(frozen=True)
class Spike:
    """Up to three bars away from the bars on both sides.

    Attributes:
        first, bars: where it begins and how long it is.
        sigmas: its distance from the nearer side, in robust standard deviations of a bar.
        distance: the same as a log price, positive above.
        closes_only: judged by closes, without highs and lows.
    """

    first: int
    bars: int
    sigmas: float
    distance: float
    closes_only: bool


def find_spikes(high: Floats, low: Floats, close: Floats) -> list[Spike]:
    """Return the spikes of one symbol's bars (B,): none of their prices reaches the ranges before and after.

    Without highs and lows (NaN) closes must do, and then the price must also return to within a quarter of the spike.
    """
    closes_only = bool(np.isnan(high).all() or (high == low).mean() > 0.5)
    top, bottom = (close, close) if closes_only else (np.fmax(high, close), np.fmin(low, close))
    returns = log_returns(close)
    whole, found, taken = sigma(returns), [], np.zeros(len(close), dtype=bool)
    for length in range(1, 2 if closes_only else LONGEST_SPIKE + 1):
        for first, distance in _alone(top, bottom, length, (ALONE * whole, SMALLEST_SPIKE)):
            sigmas = abs(distance) / scale_at(returns, whole, first)
            wanted = SIGMA_OF_CLOSES if closes_only else ALONE
            if sigmas < wanted or taken[first : first + length].any() or (closes_only and not _returns(close, first)):
                continue
            taken[first : first + length] = True
            found.append(Spike(first, length, sigmas, distance, closes_only))
    return found


def _alone(top: Floats, bottom: Floats, length: int, least: tuple[float, float]) -> list[tuple[int, float]]:
    """Return where ``length`` bars lie wholly above or below both neighbours, and by how much (log)."""
    if len(top) < length + 2:
        return []
    windows = np.lib.stride_tricks.sliding_window_view
    lowest, highest = windows(bottom, length).min(axis=1)[1:-1], windows(top, length).max(axis=1)[1:-1]
    before, after = slice(0, len(lowest)), slice(length + 1, length + 1 + len(lowest))
    above = np.log(lowest / np.maximum(top[before], top[after]))
    below = np.log(np.minimum(bottom[before], bottom[after]) / highest)
    far = np.flatnonzero(np.maximum(above, below) >= max(least))
    return [(int(place) + 1, float(above[place] if above[place] > 0 else -below[place])) for place in far]


def _returns(close: Floats, place: int) -> bool:
    there, back = np.log(close[place] / close[place - 1]), np.log(close[place + 1] / close[place])
    return bool(abs(there + back) < 0.25 * min(abs(there), abs(back)))


def find_wicks(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> tuple[Bools, Floats]:
    """Return (B,) where a high or low lies far beyond its bar's body though nothing traded, and (B,) by how many sigma.

    With volume a wick was a price someone paid (2010-05-06, 2015-08-24), so only absurd ones count, as in a symbol that
    never has any.
    """
    reach = np.log(np.fmax(high / np.fmax(open_, close), np.fmin(open_, close) / low))
    untraded = (volume == 0) & (volume > 0).any()
    whole = sigma(log_returns(close))
    if not whole > 0:
        return np.zeros(len(close), dtype=bool), np.zeros(len(close))
    sigmas = reach / whole
    return (sigmas > TRADED_WICK) | ((sigmas > WICK) & untraded), sigmas


def runs(marked: Bools, least: int) -> list[tuple[int, int]]:
    """Return (first, length) of each run of True of at least ``least``.

    >>> runs(np.array([True, False, True, True]), 2)
    [(2, 2)]
    """
    edges: NDArray[np.intp] = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return [(int(first), int(last - first)) for first, last in edges.reshape(-1, 2) if last - first >= least]
