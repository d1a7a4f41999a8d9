"""Repairs of what is asked for, and a report of every row that they touched. Nothing else is changed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import DataError, suggest
from tradekit.market.quality.steps import DROPS, STEPS, Work

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

    from tradekit.market.actions import Actions
    from tradekit.market.quality.findings import Finding
    from tradekit.market.quality.steps import Change
    from tradekit.market.quality.table import RawTable

# One order for all, whatever the order of asking: readable, then on one clock, then unique, then right in value.
ASKS = {
    "stack_columns": "symbols side by side become a symbol column",
    "merge_columns": "two columns of one field become one: the first, its gaps filled from the second",
    "drop_unreadable": "drop rows whose timestamp cannot be read",
    "localise": "naive times are taken as those of a zone (localise:America/New_York) and written in UTC",
    "to_utc": "times with several offsets are written in UTC",
    "to_dates": "daily times of day become the session date",
    "stamp_open": "stamps of a bar's end become those of its open",
    "sort": "rows in order of symbol and time",
    "drop_duplicates": "drop rows that repeat one with the same values",
    "keep_first": "of rows that repeat a timestamp with other values, keep the first",
    "keep_last": "of rows that repeat a timestamp with other values, keep the last",
    "drop_bad_values": "drop rows with a blank, impossible or unreadable price or volume",
    "drop_outside_calendar": "drop rows on days without a session",
    "drop_extended_hours": "drop bars before the open and after the close",
    "drop_spikes": "drop bars that stand away from both neighbours",
    "drop_stale": "drop bars that repeat the one before",
    "clip_wicks": "highs and lows where nothing traded become those of open and close",
    "widen_range": "high and low are made to hold the bar's open and close",
    "drop_zero_volume": "drop bars without volume",
    "scale_to_adjusted": "prices are multiplied by adj_close / close",
    "apply_actions": "raw prices are adjusted for the actions given, else for the table's own",
    "drop_volume": "a volume column that is always zero is left out",
}
"""What can be asked for, in the order in which it is done."""


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired table and what was done to it.

    Attributes:
        table: the result.
        changes: every change, in the order of the repairs.
        unused: repairs that were asked for and had nothing to do.
    """

    table: RawTable
    changes: tuple[Change, ...]
    unused: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Changes by repair."""
        return dict(Counter(change.ask for change in self.changes))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it, without the table."""
        return {
            "source": self.table.origin,
            "rows": len(self.table),
            "counts": self.counts,
            "unused": list(self.unused),
            "changes": [asdict(change) for change in self.changes],
        }

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write the table (.parquet or .csv) and, beside it, its report; return both paths.

        Raises:
            DataError: it would overwrite its own source, or cannot be written.
        """
        from tradekit.market.sources.raw import write_raw

        target = Path(path)
        if target.resolve() == Path(self.table.origin).resolve():
            raise DataError(f"{target}: a repair is never written over its source; choose another file")
        written = write_raw(self.table, target)
        report = target.with_name(f"{target.name}.repairs.json")
        report.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return written, report


def repair_table(
    table: RawTable, findings: Iterable[Finding], ask: Sequence[str], actions: Actions | None = None
) -> Repaired:
    """Return the table with the repairs that are asked for done on the rows that the findings name, and no others.

    Args:
        table: as it was checked.
        findings: of that table; leave some out to leave their rows as they are.
        ask: which repairs, see ``ASKS``; their order does not matter.
        actions: for ``apply_actions``; the table's own split and dividend columns if None.

    Raises:
        DataError: an unknown repair, one that contradicts another, or one that cannot be done on this table.
    """
    wanted = _wanted(table, ask)
    work = Work(table, tuple(findings), actions)
    unused = []
    for name in ASKS:
        if name not in wanted:
            continue
        before = work.table
        if name in DROPS:
            work.drop(name, work.named(name))
        else:
            STEPS[name](work, name, wanted[name])
        if work.table is before:
            unused.append(name)
    return Repaired(work.table, tuple(work.changes), tuple(unused))


def _wanted(table: RawTable, ask: Sequence[str]) -> dict[str, str]:
    """Return the repairs that are asked for, each with what follows its colon."""
    wanted = {name: option for name, _, option in (item.partition(":") for item in ask)}
    for name in wanted:
        if name not in ASKS:
            raise DataError(f"unknown repair {name!r}; {suggest(name, ASKS)}")
    if not wanted:
        raise DataError(f"no repair asked for; choose from {', '.join(ASKS)}")
    if {"keep_first", "keep_last"} <= set(wanted):
        raise DataError("keep_first and keep_last contradict each other; ask for one")
    if "localise" in wanted and not wanted["localise"]:
        raise DataError("localise needs the zone that the times were written in, as localise:America/New_York")
    if table.layout != "long" and "stack_columns" not in wanted:
        raise DataError(f"{table.origin}: symbols lie side by side; ask for stack_columns too, a repair writes rows")
    return wanted
