"""Side series (volatility indices, rates, sentiment) joined to bars as of the day they could be known.

A value dated D is complete at some time of D or later, and nobody says when. So it is used from the close of the first
session after D at the earliest, never on its own day: the number of sessions between is the publication lag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import DataError
from tradekit.market import calendar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats, Panel, Times


def join_as_of(panel: Panel, timestamps: Times, values: Floats, lag: int = 1, max_age: int | None = None) -> Floats:
    """Return for every bar the newest value that was published by then.

    A value dated D counts from the bars of the ``lag``-th session after D (a value of a Saturday, with a lag of 1, from
    Monday). NaN values were not published and the one before them stays the newest.

    Args:
        panel: T bars; intraday bars of a session all get the same.
        timestamps: (S,) datetime64, the dates of the values, increasing.
        values: (S,), or (S, K) for K series at once.
        lag: sessions from the date of a value to the first bar that may use it; at least 1.
        max_age: sessions from the date of a value to the last bar that may use it; None lets it stand for ever.

    Returns:
        (T,) or (T, K); NaN before the first published value, and where the newest is too old.

    Raises:
        DataError: the lag is below one session, dates are not increasing, or shapes disagree.
    """
    dates = _dates(timestamps, values, lag, max_age)
    known = values if values.ndim == 2 else values[:, None]
    bars, published = _session_numbers(_bar_dates(panel)), _session_numbers(dates)
    last = np.searchsorted(published + lag, bars, side="right") - 1
    row = _last_known(~np.isnan(known))
    place = np.where(last[:, None] >= 0, row[np.maximum(last, 0)], -1)
    joined = np.where(place >= 0, np.take_along_axis(known, np.maximum(place, 0), axis=0), np.nan)
    if max_age is not None:
        joined[bars[:, None] - published[np.maximum(place, 0)] > max_age] = np.nan
    return joined if values.ndim == 2 else joined[:, 0]


def join_by_symbol(
    panel: Panel,
    symbols: Sequence[str] | NDArray[np.str_],
    timestamps: Times,
    values: Floats,
    lag: int = 1,
    max_age: int | None = None,
) -> Floats:
    """Return (T, N) the newest value of each of the panel's symbols, NaN for symbols that the series lacks.

    Args:
        panel: T bars of N symbols.
        symbols: (S,) whose value it is.
        timestamps: (S,) datetime64, increasing within a symbol.
        values: (S,).
        lag: as in ``join_as_of``.
        max_age: as in ``join_as_of``.

    Raises:
        DataError: as ``join_as_of``, or none of the panel's symbols has a value.
    """
    owners = np.asarray(symbols)
    if len(owners) != len(values):
        raise DataError(f"the side series has {len(values)} values but {len(owners)} symbols; give one for each")
    joined = np.full((len(panel), len(panel.symbols)), np.nan)
    for column, symbol in enumerate(panel.symbols):
        own = owners == symbol
        if own.any():
            joined[:, column] = join_as_of(panel, timestamps[own], values[own], lag, max_age)
    if not np.isin(panel.symbols, owners).any():
        raise DataError(f"the side series has no value of {', '.join(panel.symbols[:5])}; check how it writes symbols")
    return joined


def _dates(timestamps: Times, values: Floats, lag: int, max_age: int | None) -> Times:
    if lag < 1:
        raise DataError(f"the publication lag is {lag} sessions; at least 1, a value is never used on its own day")
    if max_age is not None and max_age < lag:
        raise DataError(f"max_age is {max_age} sessions but the lag is {lag}: no bar could use a value; raise max_age")
    if len(timestamps) != len(values):
        raise DataError(f"the side series has {len(timestamps)} dates but {len(values)} values; give one for each")
    dates: Times = timestamps.astype("M8[D]")
    wrong = np.diff(dates) <= np.timedelta64(0, "D")
    if wrong.any() or np.isnat(dates).any():
        place = int(np.argmax(np.isnat(dates)) if np.isnat(dates).any() else np.argmax(wrong) + 1)
        raise DataError(
            f"the side series' date {dates[place]} (row {place + 1}) is not later than the one before; sort the dates, "
            "one row each"
        )
    return dates


def _bar_dates(panel: Panel) -> Times:
    stamps = panel.timestamps if panel.is_daily else calendar.wall_clock(panel.timestamps)
    return stamps.astype("M8[D]")


def _session_numbers(dates: Times) -> NDArray[np.int64]:
    """Return how many sessions there were up to each date, itself included."""
    every = calendar.sessions(str(calendar.FIRST), str(calendar.LAST))
    return np.searchsorted(every, dates, side="right").astype(np.int64)


def _last_known(known: Bools) -> NDArray[np.intp]:
    """Return (S, K) the row of the newest value up to each row, -1 where there is none yet."""
    rows = np.where(known, np.arange(len(known))[:, None], -1)
    newest: NDArray[np.intp] = np.maximum.accumulate(rows, axis=0)
    return newest
