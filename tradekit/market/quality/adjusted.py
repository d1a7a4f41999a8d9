"""Tells raw panels from adjusted ones by the splits that their prices step by."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.market.actions import session_dates
from tradekit.market.quality.bars import Sessions
from tradekit.market.quality.jumps import find_jumps, find_spikes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel, Times


class Step(NamedTuple):
    """A split that prices step by: whose, on which session, new for old shares, close before and price after."""

    symbol: str
    date: np.datetime64
    new: int
    old: int
    before: float
    after: float


def first_unadjusted(panel: Panel) -> Step | None:
    """Return the first unadjusted split of the first symbol that has one, None if there is none."""
    dates = session_dates(panel)
    for column, symbol in enumerate(panel.symbols):
        bars = np.flatnonzero(~np.isnan(panel.close[:, column]))
        if len(bars) < 3:
            continue
        day = _sessions(panel, column, bars, dates[bars])
        spikes = find_spikes(day.high, day.low, day.close)
        edges = {place for spike in spikes for place in (spike.first, spike.first + spike.bars)}
        for jump in find_jumps(day, frozenset(edges)):
            if jump.kind == "bookkeeping" and jump.split is not None:
                before = float(day.close[jump.session - 1])
                after = before * float(np.exp(jump.move))
                return Step(symbol, day.dates[jump.session], *jump.split, before, after)
    return None


def _sessions(panel: Panel, column: int, bars: NDArray[np.intp], dates: Times) -> Sessions:
    starts = np.flatnonzero(np.concatenate([[True], dates[1:] != dates[:-1]]))
    lasts = np.append(starts[1:], len(bars)) - 1

    def own(name: str) -> Floats:
        values: Floats = getattr(panel, name)[bars, column]
        return values

    volume = np.add.reduceat(own("volume"), starts)
    high, low = np.fmax.reduceat(own("high"), starts), np.fmin.reduceat(own("low"), starts)
    return Sessions(dates[starts], bars[starts], own("open")[starts], high, low, own("close")[lasts], volume)
