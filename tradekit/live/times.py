"""Bar times as Alpaca writes them, and back. Times inside tradekit are numpy datetime64[ns], UTC or a naive date."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from tradekit.errors import DataError

if TYPE_CHECKING:
    from tradekit.market.panel import Times

NEW_YORK = ZoneInfo("America/New_York")
UNITS = {"m": "Min", "h": "Hour", "D": "Day"}


def timeframe(frequency: str) -> tuple[int, str]:
    """Return a panel's bar length in Alpaca's words.

    Raises:
        DataError: Alpaca has no such bar.

    >>> timeframe("1h"), timeframe("5m"), timeframe("1D")
    ((1, 'Hour'), (5, 'Min'), (1, 'Day'))
    """
    amount, unit = frequency[:-1], frequency[-1:]
    if unit not in UNITS or not amount.isdecimal():
        raise DataError(f"bars of {frequency} cannot be traded bar by bar; use minutes (5m), hours (1h) or days (1D)")
    return int(amount), UNITS[unit]


def utc_text(moment: np.datetime64) -> str:
    """Return RFC 3339 with as many decimals as it takes.

    >>> utc_text(np.datetime64("2022-01-03T14:30", "ns"))
    '2022-01-03T14:30:00Z'
    >>> utc_text(np.datetime64("2022-01-03T14:30:00.000001500", "ns"))
    '2022-01-03T14:30:00.0000015Z'
    """
    text = np.datetime_as_string(moment.astype("M8[ns]"))
    whole, _, fraction = str(text).partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def parse_utc(text: str) -> np.datetime64:
    """Return the UTC moment of an RFC 3339 time or of a date, to the nanosecond.

    Raises:
        ValueError: not a time.

    >>> str(parse_utc("2022-01-03T09:30:00.123456789-05:00"))
    '2022-01-03T14:30:00.123456789'
    """
    whole, dot, rest = text.partition(".")
    if not dot:
        return _utc(datetime.fromisoformat(text))
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    second = _utc(datetime.fromisoformat(whole + rest[len(digits) :]))
    return second + np.timedelta64(int(digits[:9].ljust(9, "0")), "ns")


def _utc(moment: datetime) -> np.datetime64:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return np.datetime64(aware.replace(tzinfo=None), "ns")


def eastern_text(moment: np.datetime64) -> str:
    """Return a UTC moment as RFC 3339 with New York's offset, as Alpaca's clock does.

    >>> eastern_text(np.datetime64("2022-01-03T21:00", "ns"))
    '2022-01-03T16:00:00-05:00'
    """
    return _eastern(moment).isoformat()


def eastern_clock(moment: np.datetime64) -> str:
    """Return HH:MM in New York.

    >>> eastern_clock(np.datetime64("2022-01-03T21:00", "ns"))
    '16:00'
    """
    return _eastern(moment).strftime("%H:%M")


def _eastern(moment: np.datetime64) -> datetime:
    naive: datetime = moment.astype("M8[us]").item()
    return naive.replace(tzinfo=UTC).astimezone(NEW_YORK)


@lru_cache(maxsize=65536)
def _midnight(day: int) -> np.datetime64:
    date: datetime = np.datetime64(day, "D").astype("M8[s]").item()
    return _utc(date.replace(tzinfo=NEW_YORK))


def wire_times(timestamps: Times, daily: bool) -> Times:
    """Return (T,) UTC the ``t`` that Alpaca gives bars: their open, for days midnight in New York.

    >>> [str(t) for t in wire_times(np.array(["2022-01-03", "2022-07-01"], "M8[ns]"), daily=True).astype("M8[h]")]
    ['2022-01-03T05', '2022-07-01T04']
    """
    if not daily:
        return timestamps.astype("M8[ns]")
    return np.array([_midnight(day) for day in timestamps.astype("M8[D]").astype(int).tolist()], "M8[ns]")


def bar_time(text: str, daily: bool) -> np.datetime64:
    """Return a panel timestamp from a bar's ``t``: the naive date of days, UTC of intraday bars.

    >>> str(bar_time("2022-07-01T04:00:00Z", daily=True))
    '2022-07-01T00:00:00.000000000'
    """
    moment = parse_utc(text)
    return moment.astype("M8[D]").astype("M8[ns]") if daily else moment
