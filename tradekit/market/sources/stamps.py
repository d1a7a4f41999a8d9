"""From a timestamp column as written to session dates or bar opens in UTC. Nothing is guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradekit.errors import DataError
from tradekit.market import calendar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Bools, Times

# A time of day followed by Z or an offset; a date alone never matches.
_OFFSET = r":\d\d(?:[.,]\d+)?\s*(Z|[+-]\d\d(?::?\d\d)?)$"
_UTC_NAMES = {"UTC", "Z", "+00:00", "Etc/UTC", "GMT", "tzutc()", "UTC+00:00"}
_FIRST, _LAST = np.datetime64("1900-01-01", "s"), np.datetime64("2100-01-01", "s")


@dataclass(frozen=True, eq=False)
class Stamps:
    """Timestamps (R,) datetime64[ns] of a table's rows and their zone: empty for naive session dates."""

    times: Times
    zone: str


def read_stamps(raw: pd.Series[Any], where: Callable[[int], str]) -> Stamps:
    """Read a timestamp column (R rows): dates, datetimes, or their ISO 8601 text.

    Args:
        raw: the column as the file holds it.
        where: names a row for messages, as ``prices.csv, line 4``.

    Raises:
        DataError: a stamp cannot be read, zones are mixed, or intraday stamps have no zone.
    """
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        _demand_known(raw.isna().to_numpy(), raw, where)
        zone = str(raw.dtype.tz)
        utc, zone = raw.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), "UTC" if zone in _UTC_NAMES else zone
    elif raw.dtype.kind == "M":
        _demand_known(raw.isna().to_numpy(), raw, where)
        utc, zone = raw.to_numpy(), ""
    elif raw.dtype.kind in "iufb":
        raise DataError(f"{where(0)}: {raw.name} holds numbers; write dates as YYYY-MM-DD or 2024-01-02T14:30:00Z")
    else:
        utc, zone = _read_text(raw, where)
    return _as_sessions(_in_range(utc, where), zone, where)


def _read_text(raw: pd.Series[Any], where: Callable[[int], str]) -> tuple[Times, str]:
    text = raw.astype(str).str.strip().str.replace(r"\s*UTC$", "Z", regex=True)
    utc = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    _demand_known(utc.isna().to_numpy(), raw, where)
    times = utc.dt.tz_localize(None).to_numpy()
    offsets = text.str.extract(_OFFSET, expand=False).fillna("").map(_offset)
    return times, _zone(offsets, times, where)


def _zone(offsets: pd.Series[str], utc: Times, where: Callable[[int], str]) -> str:
    """Name the one zone of all rows; New York's two offsets are one zone when each falls in its season."""
    if (offsets == offsets.iloc[0]).all() and not _is_new_york(offsets, utc):
        return str(offsets.iloc[0])
    if (offsets != "").all() and _is_new_york(offsets, utc):
        return calendar.NEW_YORK
    odd = int(np.argmax((offsets != offsets.iloc[0]).to_numpy()))
    first, other = offsets.iloc[0] or "none", offsets.iloc[odd] or "none"
    raise DataError(f"{where(odd)}: mixed time zones ({other} here, {first} in the first row); write every row in UTC")


def _is_new_york(offsets: pd.Series[str], utc: Times) -> bool:
    wall = calendar.wall_clock(utc.astype("M8[ns]"))
    minutes = (wall - utc.astype("M8[ns]")).astype("m8[m]").astype(np.int64)
    names = {int(m): f"-{-m // 60:02d}:{-m % 60:02d}" for m in np.unique(minutes)}
    return bool((offsets.to_numpy() == np.array([names[int(m)] for m in minutes], dtype=object)).all())


def _offset(text: str) -> str:
    if text in ("", "Z"):
        return text and "UTC"
    digits = text[1:].replace(":", "").ljust(4, "0")
    return "UTC" if digits == "0000" else f"{text[0]}{digits[:2]}:{digits[2:]}"


def _as_sessions(times: Times, zone: str, where: Callable[[int], str]) -> Stamps:
    """Turn stamps that all fall on midnight, in their own zone or in New York, into session dates."""
    clocks = [_wall(times, zone)] + ([calendar.wall_clock(times)] if zone else [])
    for clock in clocks:
        if (clock == clock.astype("M8[D]")).all():
            return Stamps(clock, "")
    if not zone:
        row = int(np.argmax(times != times.astype("M8[D]")))
        raise DataError(
            f"{where(row)}: time of day without a time zone; write intraday stamps as 2024-01-02T14:30:00Z, "
            "daily ones as the date alone"
        )
    return Stamps(times, zone)


def _wall(times: Times, zone: str) -> Times:
    if zone in ("", "UTC"):
        return times
    if zone[0] in "+-":
        sign = -1 if zone[0] == "-" else 1
        return times + np.timedelta64(sign * (int(zone[1:3]) * 60 + int(zone[4:6])), "m")
    local = pd.DatetimeIndex(times).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("M8[ns]")


def _demand_known(missing: Bools, raw: pd.Series[Any], where: Callable[[int], str]) -> None:
    if missing.any():
        row = int(np.argmax(missing))
        value = raw.iloc[row]
        what = "is blank" if value is None or value is pd.NaT or value == "" else f"{str(value)!r} cannot be read"
        raise DataError(f"{where(row)}: {raw.name} {what}; write YYYY-MM-DD or 2024-01-02T14:30:00Z")


def _in_range(times: Times, where: Callable[[int], str]) -> Times:
    seconds = times.astype("M8[s]")
    outside = (seconds < _FIRST) | (seconds >= _LAST)
    if outside.any():
        row = int(np.argmax(outside))
        raise DataError(f"{where(row)}: the date {seconds[row]} is not between 1900 and 2100; check its unit")
    return times.astype("M8[ns]")
