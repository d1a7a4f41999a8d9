"""When a table's bars really happened: daily or not, in which time zone they were stamped, and at which end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import calendar
from tradekit.market.quality.table import usable

if TYPE_CHECKING:
    from tradekit.market.panel import Bools, Floats, Times
    from tradekit.market.quality.table import RawTable

UTC = "UTC"
DAY = np.timedelta64(1, "D")
# A reading explains the stamps when this share of the volume falls into regular sessions. Volume outside them is a few
# percent on US exchanges; a clock that is off by an hour moves at least the busiest hour, a sixth of it, outside.
EXPLAINS = 0.85


@dataclass(frozen=True, eq=False)
class Clock:
    """How a table's stamps are to be read.

    Attributes:
        daily: bars are sessions.
        wall: (R,) datetime64[ns] New York wall clock of each bar's start; the date alone for daily bars; NaT if
            unreadable.
        ends: (R,) the same of its end: after the usual spacing, or where the symbol's next bar begins if sooner.
        dates: (R,) datetime64[D] session date.
        zone: the zone of naive intraday stamps as inferred; empty where rows name theirs or bars are daily.
        marks_end: naive or not, intraday stamps mark the end of their bar.
        fit: share of the volume (of the bars, without volume) that this reading puts into regular sessions; NaN daily.
        seconds: commonest spacing of bars within a date; 86,400 for daily bars.
    """

    daily: bool
    wall: Times
    ends: Times
    dates: Times
    zone: str
    marks_end: bool
    fit: float
    seconds: int

    @property
    def regular(self) -> Bools:
        """(R,) True where a bar lies, if only in part, within its session's regular hours."""
        opens, closes = hours(self.dates)
        return (self.ends > opens) & (self.wall < closes)


def hours(dates: Times) -> tuple[Times, Times]:
    """Return (R,) New York wall clock of the open and the close of each date's session; NaT on other days."""
    unique, place = np.unique(dates, return_inverse=True)
    ends = []
    for moments in (calendar.session_open(unique), calendar.session_close(unique)):
        known = ~np.isnat(moments)
        wall = np.full(len(unique), np.datetime64("NaT"), dtype="M8[ns]")
        wall[known] = calendar.wall_clock(moments[known])
        ends.append(wall[place])
    return ends[0], ends[1]


def read_clock(table: RawTable) -> Clock:
    """Infer how a table's stamps are to be read. Nothing is changed; a check reports what was inferred."""
    naive, known = table.zones == "", ~np.isnat(table.times)
    local = np.where(naive, table.times, _wall(table.times, ~naive & known))
    if _is_daily(table, local, known):
        dates = np.where(naive | (_midnight(table.times) & ~_midnight(local)), table.times, local).astype("M8[D]")
        begins, ends = dates.astype("M8[ns]"), (dates + DAY).astype("M8[ns]")
        return Clock(True, begins, ends, dates, "", marks_end=False, fit=np.nan, seconds=86_400)
    seconds = _spacing(table, local)
    candidates = [
        _reading(table, zone, seconds, marks_end=end) for end in (False, True) for zone in (calendar.NEW_YORK, UTC)
    ]
    if not naive.any():
        candidates = [candidate for candidate in candidates if candidate.zone == UTC]
    # The first of equals wins: New York before UTC, stamps that mark the open before those that mark the end.
    best = max(candidates, key=lambda candidate: round(candidate.fit, 2))
    return best if naive.any() else replace(best, zone="")


def _reading(table: RawTable, zone: str, seconds: int, *, marks_end: bool) -> Clock:
    known = ~np.isnat(table.times)
    to_convert = known & ((table.zones != "") | (zone == UTC))
    wall = np.where(to_convert, _wall(table.times, to_convert), table.times)
    wall = wall - np.timedelta64(seconds if marks_end else 0, "s")
    ends = _ends(table, wall, seconds)
    clock = Clock(False, wall, ends, wall.astype("M8[D]"), zone, marks_end, np.nan, seconds)
    return replace(clock, fit=_share(clock.regular, table.value("volume")))


def _ends(table: RawTable, wall: Times, seconds: int) -> Times:
    ends = wall + np.timedelta64(seconds, "s")
    for name in table.names:
        rows = np.flatnonzero((table.symbols == name) & ~np.isnat(wall))
        starts = np.unique(wall[rows])
        following = np.searchsorted(starts, wall[rows], side="right")
        inner = following < len(starts)
        ends[rows[inner]] = np.minimum(ends[rows[inner]], starts[following[inner]])
    return ends


def _share(regular: Bools, volume: Floats) -> float:
    weight = np.nan_to_num(usable("volume", volume), nan=0.0)
    if not weight.sum():
        weight = np.ones(len(regular))
    return float(weight[regular].sum() / weight.sum())


def _wall(times: Times, which: Bools) -> Times:
    wall = times.copy()
    if which.any():
        wall[which] = calendar.wall_clock(times[which])
    return wall


def _midnight(times: Times) -> Bools:
    same: Bools = times == times.astype("M8[D]")
    return same


def _is_daily(table: RawTable, local: Times, known: Bools) -> bool:
    if not known.any():
        return True
    at_midnight = _midnight(table.times) | _midnight(local)
    if at_midnight[known].mean() >= 0.5:
        return True
    _, bars = np.unique(_keys(table, local.astype("M8[D]"))[known], return_counts=True)
    return bool(np.median(bars) <= 1)


def _keys(table: RawTable, dates: Times) -> Times:
    """Return (R,) a number for each symbol and date."""
    codes = np.unique(table.symbols, return_inverse=True)[1]
    keys: Times = dates.astype(np.int64) * (codes.max(initial=0) + 1) + codes
    return keys


def _spacing(table: RawTable, local: Times) -> int:
    gaps = []
    for name in table.names:
        times = np.unique(local[(table.symbols == name) & ~np.isnat(local)])
        same_day = times[1:].astype("M8[D]") == times[:-1].astype("M8[D]")
        gaps.append(np.diff(times)[same_day].astype("m8[s]").astype(np.int64))
    lengths, counts = np.unique(np.concatenate(gaps), return_counts=True)
    return int(lengths[np.argmax(counts)]) if len(lengths) else 86_400
