"""The repairs one by one: each changes the table it works on and notes every change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import DataError
from tradekit.market.actions import actions_of, apply_actions
from tradekit.market.quality.clock import read_clock
from tradekit.market.quality.table import PRICES, usable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tradekit.market.actions import Actions
    from tradekit.market.panel import Bools, Floats, Times
    from tradekit.market.quality.findings import Finding
    from tradekit.market.quality.table import RawTable

DROPS = frozenset(
    (
        "drop_unreadable",
        "drop_duplicates",
        "drop_bad_values",
        "drop_outside_calendar",
        "drop_extended_hours",
        "drop_spikes",
        "drop_stale",
        "drop_zero_volume",
    )
)
"""Repairs that drop the rows that findings name, and do no more."""
ADJUSTMENTS = ("adj_close", "dividend", "split")


@dataclass(frozen=True)
class Change:
    """One change of one row.

    Attributes:
        ask: the repair that made it.
        symbol, row, timestamp: whose and which row, by its position in the table that was given.
        column: what was changed; ``row`` when the row was dropped or moved.
        before, after: the values (a dropped row: its close, and None); None for a blank, text for an infinity.
    """

    ask: str
    symbol: str
    row: int
    timestamp: str
    column: str
    before: float | str | None
    after: float | str | None


class Work:
    """A table under repair.

    Attributes:
        table: as it is now.
        changes: made so far.
        actions: to apply; the table's own if None.
    """

    def __init__(self, table: RawTable, findings: tuple[Finding, ...], actions: Actions | None) -> None:
        self.table = table
        self.actions = actions
        self.changes: list[Change] = []
        self._findings = findings
        self._rows: NDArray[np.intp] = np.arange(len(table))

    def named(self, ask: str) -> Bools:
        """Return (R,) True for the rows that the findings mended by ``ask`` name."""
        asked = [row for found in self._findings if found.repair == ask for row in found.rows]
        return np.isin(self._rows, asked)

    def symbols_named(self, ask: str) -> set[str]:
        """Return the symbols of the findings mended by ``ask``."""
        return {found.symbol for found in self._findings if found.repair == ask}

    def note(self, ask: str, place: int, column: str, before: float | str | None, after: float | str | None) -> None:
        """Note a change of the row that is now at ``place``."""
        symbol, stamp = str(self.table.symbols[place]), self.table.stamp(place)
        self.changes.append(Change(ask, symbol, int(self._rows[place]), stamp, column, before, after))

    def drop(self, ask: str, gone: Bools) -> None:
        """Drop the rows (R,) that are True."""
        close = self.table.value("close")
        for place in np.flatnonzero(gone):
            self.note(ask, int(place), "row", _number(close[place]), None)
        if gone.any():
            self.table, self._rows = self.table.keep(~gone), self._rows[~gone]

    def reorder(self, ask: str, order: NDArray[np.intp]) -> None:
        """Put the rows into ``order``, a permutation of their places."""
        moved = np.flatnonzero(order != np.arange(len(order)))
        for place in moved:
            self.note(ask, int(order[place]), "row", f"row {order[place] + 1}", f"row {place + 1}")
        if len(moved):
            self.table, self._rows = self.table.keep(order), self._rows[order]

    def put(self, ask: str, field: str, values: Floats) -> None:
        """Set a field to ``values`` (R,)."""
        old = self.table.value(field)
        changed = np.flatnonzero(~((old == values) | (np.isnan(old) & np.isnan(values))))
        for place in changed:
            self.note(ask, int(place), field, _number(old[place]), _number(values[place]))
        if len(changed):
            self.table = self.table.put(field, values)

    def put_times(self, ask: str, times: Times, zones: NDArray[np.str_]) -> None:
        """Set times and zones (R,)."""
        new = replace(self.table, times=times, zones=zones)
        known = ~np.isnat(times)
        changed = np.flatnonzero(known & ((times != self.table.times) | (zones != self.table.zones)))
        for place in changed:
            self.note(ask, int(place), "timestamp", self.table.stamp(int(place)), new.stamp(int(place)))
        if len(changed):
            self.table = new


def _number(value: np.float64) -> float | str | None:
    if np.isinf(value):
        return str(value)  # JSON has no infinity
    return None if np.isnan(value) else float(value)


def _stack(work: Work, ask: str, option: str) -> None:
    if work.table.layout != "long":
        work.table = replace(work.table, layout="long", stated_symbols=True)


def _merge(work: Work, ask: str, option: str) -> None:
    for field, (first, *others) in list(work.table.fields.items()):
        if not others:
            continue
        kept, merged = work.table.columns[first], work.table.value(field)
        for place in np.flatnonzero(np.isnan(kept) & ~np.isnan(merged)):
            work.note(ask, int(place), field, None, float(merged[place]))
        for other in others:
            values = work.table.columns[other]
            for place in np.flatnonzero(~np.isnan(kept) & ~np.isnan(values) & (kept != values)):
                work.note(ask, int(place), other, float(values[place]), float(kept[place]))
        work.table = work.table.put(field, merged)


def _localise(work: Work, ask: str, option: str) -> None:
    from tradekit.market.sources.raw import utc_of

    naive = (work.table.zones == "") & ~np.isnat(work.table.times)
    times, zones = work.table.times.copy(), work.table.zones.astype("U64")
    times[naive] = utc_of(times[naive], option, work.table.origin)
    zones[naive] = "UTC"
    work.put_times(ask, times, zones)


def _to_utc(work: Work, ask: str, option: str) -> None:
    work.put_times(ask, work.table.times, np.where(work.table.zones == "", "", "UTC"))


def _to_dates(work: Work, ask: str, option: str) -> None:
    clock = read_clock(work.table)
    if not clock.daily:
        raise DataError(f"{work.table.origin}: to_dates needs daily bars; these have several a day")
    work.put_times(ask, clock.dates.astype("M8[ns]"), np.full(len(work.table), ""))


def _stamp_open(work: Work, ask: str, option: str) -> None:
    length = np.timedelta64(read_clock(work.table).seconds, "s")
    work.put_times(ask, np.where(work.named(ask), work.table.times - length, work.table.times), work.table.zones)


def _sort(work: Work, ask: str, option: str) -> None:
    work.reorder(ask, np.lexsort((work.table.times, work.table.symbols)))


def _keep_one(work: Work, ask: str, option: str) -> None:
    """Keep one row of each timestamp that a finding names as repeated with other values."""
    table = work.table
    groups: dict[tuple[str, int], list[int]] = {
        (str(table.symbols[place]), int(table.times[place].astype(np.int64))): []
        for place in np.flatnonzero(work.named("keep_last"))
    }
    # Only rows at a named time can belong to a group; the rest of a large table is not walked through.
    near = np.flatnonzero(np.isin(table.times.astype(np.int64), [moment for _, moment in groups]))
    for place in near:
        key = str(table.symbols[place]), int(table.times[place].astype(np.int64))
        if key in groups:
            groups[key].append(int(place))
    gone = np.zeros(len(table), dtype=bool)
    for places in groups.values():
        gone[places[1:] if ask == "keep_first" else places[:-1]] = True
    work.drop(ask, gone)


def _clip(work: Work, ask: str, option: str) -> None:
    wicked = work.named(ask)
    open_, close = work.table.value("open"), work.table.value("close")
    for field, edge in (("high", np.fmax(open_, close)), ("low", np.fmin(open_, close))):
        work.put(ask, field, np.where(wicked, edge, work.table.value(field)))


def _widen(work: Work, ask: str, option: str) -> None:
    broken = work.named(ask)
    open_, close = work.table.value("open"), work.table.value("close")
    # Each edge is widened to open and close only: a high below the low is no evidence of how low the low was.
    for field, edge, wider in (("high", np.fmax(open_, close), np.fmax), ("low", np.fmin(open_, close), np.fmin)):
        if work.table.has(field):
            values = work.table.value(field)
            work.put(ask, field, np.where(broken, wider(values, edge), values))


def _scale(work: Work, ask: str, option: str) -> None:
    table = work.table
    if not table.has("adj_close"):
        raise DataError(f"{table.origin}: scale_to_adjusted needs an adj_close column; this table has none")
    adjusted, close = table.value("adj_close"), table.value("close")
    unusable = np.isnan(usable("close", close) + usable("adj_close", adjusted))
    if unusable.any():
        row = table.where(int(np.argmax(unusable)))
        raise DataError(f"{table.origin}, {row}: close or adj_close is not a price; drop that row first")
    factor = adjusted / close
    for field in PRICES:
        if table.has(field):
            work.put(ask, field, table.value(field) * factor)
    work.table = work.table.drop_fields(ADJUSTMENTS)


def _adjust(work: Work, ask: str, option: str) -> None:
    actions = actions_of(work.table) if work.actions is None else work.actions
    adjusted = apply_actions(work.table, actions)
    for field in (*PRICES, "volume"):
        if work.table.has(field):
            work.put(ask, field, adjusted.value(field))
    work.table = work.table.drop_fields(ADJUSTMENTS)


def _drop_volume(work: Work, ask: str, option: str) -> None:
    named = work.symbols_named(ask)
    others = sorted(set(work.table.names) - named)
    if named and others:
        raise DataError(
            f"{work.table.origin}: volume is one column for all symbols, and {', '.join(others[:5])} trade; "
            "leave the symbols without volume out instead"
        )
    if named:
        work.table = work.table.drop_fields(("volume",))


STEPS: dict[str, Callable[[Work, str, str], None]] = {
    "stack_columns": _stack,
    "merge_columns": _merge,
    "localise": _localise,
    "to_utc": _to_utc,
    "to_dates": _to_dates,
    "stamp_open": _stamp_open,
    "sort": _sort,
    "keep_first": _keep_one,
    "keep_last": _keep_one,
    "clip_wicks": _clip,
    "widen_range": _widen,
    "scale_to_adjusted": _scale,
    "apply_actions": _adjust,
    "drop_volume": _drop_volume,
}
