"""Checks of timestamps: unreadable, out of order, twice, in several time zones, on the wrong clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import calendar
from tradekit.market.quality.clock import EXPLAINS, UTC
from tradekit.market.quality.findings import count, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Times
    from tradekit.market.quality.bars import SymbolBars
    from tradekit.market.quality.clock import Clock
    from tradekit.market.quality.findings import Finding
    from tradekit.market.quality.table import RawTable

MINUTE = np.timedelta64(1, "m")


def check_stamps(table: RawTable, clock: Clock) -> Iterator[Finding]:
    """Yield what is wrong with the timestamps of a whole table."""
    yield from _unreadable(table)
    yield from _zones(table, clock)
    yield from _times_of_day(table, clock)
    for name in table.names:
        rows = np.flatnonzero((table.symbols == name) & ~np.isnat(table.times))
        yield from _order(table, name, rows)
        yield from _duplicates(table, name, rows)


def _unreadable(table: RawTable) -> Iterator[Finding]:
    rows = np.flatnonzero(np.isnat(table.times))
    if len(rows):
        yield finding(
            "timestamp",
            "error",
            table,
            "",
            rows,
            f"{count(rows, 'timestamp')} cannot be read, first in {table.where(int(rows[0]))}; "
            "write YYYY-MM-DD or 2024-01-02T14:30:00Z, or drop them",
            repair="drop_unreadable",
        )


def _zones(table: RawTable, clock: Clock) -> Iterator[Finding]:
    zones = [str(zone) for zone in np.unique(table.zones[~np.isnat(table.times)])]
    naive = np.flatnonzero((table.zones == "") & ~np.isnat(table.times))
    if "" in zones and len(zones) > 1:
        aware = ", ".join(zone for zone in zones if zone)
        text = f"mixed time zones: {count(naive, 'row')} without a zone among rows in {aware}"
        yield finding("time_zone", "error", table, "", naive, f"{text}; {_advice(clock)}", repair=_localise(clock))
    elif len(zones) > 1 and not _is_new_york(table, zones):
        rows = np.flatnonzero(table.zones != zones[0])
        text = f"mixed time zones: {', '.join(zones)}; their moments are certain, so write every row in UTC"
        yield finding("time_zone", "error", table, "", rows, text, repair="to_utc")
    elif zones == [""] and not clock.daily:
        text = f"times of day without a time zone; {_advice(clock)}"
        yield finding("time_zone", "error", table, "", naive, text, value=clock.fit, repair=_localise(clock))


def _is_new_york(table: RawTable, zones: list[str]) -> bool:
    """Tell whether the rows' offsets are New York's own two, each in its season."""
    known = ~np.isnat(table.times)
    minutes = ((calendar.wall_clock(table.times[known]) - table.times[known]) / MINUTE).astype(int)
    expected = np.array([f"-{-minute // 60:02d}:{-minute % 60:02d}" for minute in minutes])
    return len(zones) == 2 and bool((table.zones[known] == expected).all())


def _advice(clock: Clock) -> str:
    if clock.fit < EXPLAINS:
        return "neither New York nor UTC puts the trading into regular sessions; ask the source which zone it is"
    end = " and mark the end of each bar" if clock.marks_end else ""
    return f"they fit {clock.zone}{end} ({clock.fit:.0%} of the trading in regular sessions); localise them"


def _localise(clock: Clock) -> str | None:
    return f"localise:{clock.zone}" if clock.fit >= EXPLAINS else None


def _times_of_day(table: RawTable, clock: Clock) -> Iterator[Finding]:
    if not clock.daily:
        return
    times, wall = table.times, table.times.copy()
    aware = (table.zones != "") & ~np.isnat(times)
    if aware.any():
        wall[aware] = calendar.wall_clock(times[aware])
    odd = np.flatnonzero((times != times.astype("M8[D]")) & (wall != wall.astype("M8[D]")) & ~np.isnat(times))
    if len(odd):
        text = f"daily bars with a time of day in {count(odd, 'row')}, first {table.stamp(int(odd[0]))}; write the date"
        yield finding("time_of_day", "error", table, "", odd, text, repair="to_dates")


def _order(table: RawTable, name: str, rows: NDArray[np.intp]) -> Iterator[Finding]:
    back = np.flatnonzero(np.diff(table.times[rows]) < np.timedelta64(0)) + 1
    if len(back):
        first = int(rows[back[0]])
        text = f"{count(back, 'row')} earlier than the row before, first {table.stamp(first)} in {table.where(first)}"
        yield finding("order", "error", table, name, rows[back], f"{text}; sort them by time", repair="sort")


def _duplicates(table: RawTable, name: str, rows: NDArray[np.intp]) -> Iterator[Finding]:
    same, differing = duplicates(table, rows)
    if len(same):
        text = f"{count(same, 'row')} said twice with the same values, first {table.stamp(int(same[0]))}; drop them"
        yield finding("duplicate", "error", table, name, same, text, repair="drop_duplicates")
    if len(differing):
        text = (
            f"{count(differing, 'row')} repeating a timestamp with other values, first {table.stamp(int(differing[0]))}"
            f" in {table.where(int(differing[0]))}; keep the first or the last of each"
        )
        yield finding("duplicate", "error", table, name, differing, text, repair="keep_last")


def duplicates(table: RawTable, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the later rows of each timestamp among ``rows``: those equal to the first one, and those that differ."""
    rows = rows[np.argsort(table.times[rows], kind="stable")]
    times = table.times[rows]
    again = np.concatenate([[False], times[1:] == times[:-1]])
    first = rows[np.maximum.accumulate(np.where(again, 0, np.arange(len(rows))))]
    equal = np.ones(len(rows), dtype=bool)
    for values in table.columns.values():
        here, there = values[rows], values[first]
        equal &= (here == there) | (np.isnan(here) & np.isnan(there))
    return np.sort(rows[again & equal]), np.sort(rows[again & ~equal])


def check_clock(bars: SymbolBars) -> Iterator[Finding]:
    """Yield where a symbol's intraday stamps sit on another clock than the exchange's."""
    clock = bars.clock
    if clock.daily:
        return
    dates, first, last = _edges(bars)
    yield from _bar_ends(bars)
    drift = _daylight(dates, first)
    if drift:
        text = (
            f"in winter the first bar is at {_clock_time(drift[0])} and in summer at {_clock_time(drift[1])}: "
            "the stamps do not follow daylight saving time; ask the source for its zone"
        )
        yield finding("time_zone", "error", bars.table, bars.symbol, bars.rows[:0], text)
        return
    yield from _other_zone(bars, dates, first, last)


def _bar_ends(bars: SymbolBars) -> Iterator[Finding]:
    clock = bars.clock
    if clock.marks_end and clock.fit >= EXPLAINS:
        text = (
            f"stamps mark the end of their bar ({clock.fit:.0%} of the trading in regular sessions if so); "
            "a bar is stamped by its open here"
        )
        yield finding(
            "bar_end", "warning", bars.table, bars.symbol, bars.rows, text, value=clock.fit, repair="stamp_open"
        )


def _edges(bars: SymbolBars) -> tuple[Times, NDArray[np.int64], NDArray[np.int64]]:
    """Return the dates and the minute of the day of each date's first and last bar."""
    minutes = ((bars.wall - bars.dates.astype("M8[ns]")) / MINUTE).astype(np.int64)
    ends = np.append(bars.starts[1:], len(bars)) - 1
    return bars.dates[bars.starts], minutes[bars.starts], minutes[ends]


def _offset_minutes(dates: Times) -> NDArray[np.int64]:
    """Return by how many minutes UTC is ahead of New York at noon of each date."""
    noon: Times = np.add(dates.astype("M8[ns]"), np.timedelta64(16, "h"))
    minutes: NDArray[np.int64] = ((noon - calendar.wall_clock(noon)) / MINUTE).astype(np.int64)
    return minutes


def _daylight(dates: Times, first: NDArray[np.int64]) -> tuple[int, int] | None:
    """Return the usual first minute in winter and summer when they lie an hour apart, else None."""
    summer = _offset_minutes(dates) == 240
    if summer.sum() < 5 or (~summer).sum() < 5:
        return None
    cold, warm = _usual(first[~summer]), _usual(first[summer])
    return (cold, warm) if abs(cold - warm) == 60 else None


def _usual(minutes: NDArray[np.int64]) -> int:
    values, counts = np.unique(minutes, return_counts=True)
    return int(values[np.argmax(counts)])


def _other_zone(bars: SymbolBars, dates: Times, first: NDArray[np.int64], last: NDArray[np.int64]) -> Iterator[Finding]:
    """Yield dates whose first and last bar are both away from the usual by exactly the distance to UTC."""
    ahead = _offset_minutes(dates)
    for sign, zone in ((1, UTC), (-1, f"New York, written as {UTC}")):
        shifted: Bools = (first - _usual(first) == sign * ahead) & (np.abs(last - _usual(last) - sign * ahead) <= 60)
        if shifted.sum() < 2:
            continue
        rows = bars.rows[np.isin(bars.dates, dates[shifted])]
        text = (
            f"mixed time zones: {shifted.sum()} sessions from {dates[shifted][0]} are {ahead[shifted][0] // 60} hours "
            f"away from the rest, as if written in {zone}; ask the source, or drop them"
        )
        yield finding("time_zone", "error", bars.table, bars.symbol, rows, text, value=float(shifted.sum()))


def _clock_time(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
