"""Sessions of the New York Stock Exchange (XNYS): dates, opens, closes and half days.

Dates are naive session dates, times are UTC; every function takes and returns numpy arrays.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tradekit.errors import DataError

if TYPE_CHECKING:
    from tradekit.market.panel import Bools, Times

NEW_YORK = "America/New_York"

# The calendar is a table from rules; a fixed range keeps it the same from day to day. Dates past the last
# published holiday list follow today's rules.
FIRST, LAST = np.datetime64("1900-01-01"), np.datetime64("2050-12-31")


@dataclass(frozen=True)
class _Table:
    dates: Times  # (S,) datetime64[D]
    opens: Times  # (S,) datetime64[ns] UTC
    closes: Times  # (S,) datetime64[ns] UTC
    half: Bools  # (S,)


@lru_cache(maxsize=1)
def _table() -> _Table:
    import exchange_calendars

    with warnings.catch_warnings():
        # exchange_calendars reads its own stamps in a way that pandas 3.1 deprecates; the stamps are right.
        warnings.filterwarnings("ignore", "Series.values returning", DeprecationWarning)
        calendar = exchange_calendars.get_calendar("XNYS", start=str(FIRST), end=str(LAST))
    return _Table(
        dates=calendar.sessions.to_numpy().astype("M8[D]"),
        opens=_utc(pd.DatetimeIndex(calendar.opens)),
        closes=_utc(pd.DatetimeIndex(calendar.closes)),
        half=np.asarray(calendar.sessions.isin(calendar.early_closes)),
    )


def _utc(stamps: pd.DatetimeIndex) -> Times:
    return stamps.tz_convert(None).to_numpy().astype("M8[ns]")


def sessions(start: str, end: str) -> Times:
    """Return (S,) datetime64[D], the session dates from ``start`` to ``end``, both inclusive.

    Raises:
        DataError: the range reaches outside 1900 to 2050, where there is no calendar.
    """
    first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
    if first < FIRST or last > LAST:
        raise DataError(f"no exchange calendar from {first} to {last}; choose dates between {FIRST} and {LAST}")
    dates = _table().dates
    return dates[np.searchsorted(dates, first) : np.searchsorted(dates, last, side="right")]


def sessions_from(start: str, count: int) -> Times:
    """Return (count,) datetime64[D], the first ``count`` session dates on or after ``start``.

    Raises:
        DataError: the calendar ends (2050) or begins (1900) before that.
    """
    dates = _table().dates
    first = int(np.searchsorted(dates, np.datetime64(start, "D")))
    if np.datetime64(start, "D") < FIRST or first + count > len(dates):
        raise DataError(f"no exchange calendar for {count} sessions from {start}; it covers {FIRST} to {LAST}")
    return dates[first : first + count]


def is_session(dates: Times) -> Bools:
    """Return (T,) True where the date of ``dates`` (T,) datetime64 is a session."""
    return _find(dates)[1]


def is_half_day(dates: Times) -> Bools:
    """Return (T,) True where the date of ``dates`` (T,) is a session that closes early."""
    row, known = _find(dates)
    return known & _table().half[row]


def session_open(dates: Times) -> Times:
    """Return (T,) datetime64[ns] UTC, when the session of each date of ``dates`` (T,) opens; NaT on other days."""
    return _look_up(dates, _table().opens)


def session_close(dates: Times) -> Times:
    """Return (T,) datetime64[ns] UTC, when the session of each date of ``dates`` (T,) closes; NaT on other days."""
    return _look_up(dates, _table().closes)


def wall_clock(stamps: Times) -> Times:
    """Return (T,) datetime64[ns], the New York wall clock at the UTC times ``stamps`` (T,)."""
    local = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(NEW_YORK).tz_localize(None)
    return local.to_numpy().astype("M8[ns]")


def _look_up(dates: Times, column: Times) -> Times:
    row, known = _find(dates)
    return np.where(known, column[row], np.datetime64("NaT", "ns"))


def _find(dates: Times) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Bools]:
    days = np.asarray(dates).astype("M8[D]")
    table = _table().dates
    row = np.minimum(np.searchsorted(table, days), len(table) - 1)
    return row, table[row] == days
