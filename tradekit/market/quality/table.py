"""A price table as it was written, before anything is refused: the form that is checked and repaired."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats, Panel, Times

PRICES = ("open", "high", "low", "close")
LEAST_PRICE, MOST_PRICE, MOST_VOLUME = 1e-9, 1e12, 1e15
"""No market has prices or volumes beyond these, and their products and ratios stay finite."""


def usable(field: str, values: Floats) -> Floats:
    """Return (R,) a field's values, NaN where there is none that a market could have."""
    if field in (*PRICES, "adj_close"):
        return np.where((values >= LEAST_PRICE) & (values <= MOST_PRICE), values, np.nan)
    return np.where((values >= 0) & (values <= MOST_VOLUME), values, np.nan)


@dataclass(frozen=True, eq=False)
class RawTable:
    """R rows of bars with every defect they have.

    Attributes:
        origin: the file, folder or panel it came from.
        times: (R,) datetime64[ns]: UTC where the row names a zone, else the clock as written; NaT if unreadable.
        zones: (R,) zone or offset of each row as ``UTC``, ``-05:00`` or a name; empty where it has none.
        symbols: (R,) whose bar it is.
        columns: numeric columns (R,) under their own names, NaN where a cell holds no number.
        fields: which own columns hold open, high, low, close, volume, adj_close, dividend, split; more than one when
            the table says the same thing twice.
        text: rows whose cell in an own column holds text that is not a number; blank cells are not among them.
        other: columns that are neither of these nor timestamp nor symbol.
        layout: how the symbols lay in the file: ``long``, ``wide`` (one column per field and symbol) or ``header``
            (a second header line that names the symbol).
        counted_in_lines: True for text files, whose rows are named by line.
        starts: where the rows of each file of a folder begin.
        stated_symbols: True when the rows name their symbol themselves.
    """

    origin: str
    times: Times
    zones: NDArray[np.str_]
    symbols: NDArray[np.str_]
    columns: Mapping[str, Floats]
    fields: Mapping[str, tuple[str, ...]]
    text: Mapping[str, tuple[int, ...]]
    other: tuple[str, ...] = ()
    layout: str = "long"
    counted_in_lines: bool = False
    starts: tuple[int, ...] = (0,)
    stated_symbols: bool = True

    def __len__(self) -> int:
        return len(self.times)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The symbols, sorted."""
        return tuple(str(name) for name in np.unique(self.symbols))

    def has(self, *fields: str) -> bool:
        """True when the table has every one of ``fields``."""
        return all(name in self.fields for name in fields)

    def value(self, field: str) -> Floats:
        """Return (R,) a field; where two columns say it, the second fills the first one's gaps. NaN if absent."""
        values = np.full(len(self), np.nan)
        for name in self.fields.get(field, ()):
            values = np.where(np.isnan(values), self.columns[name], values)
        return values

    def where(self, row: int) -> str:
        """Name a row of a file for a message: the line of a text file, else the row, counted from 1."""
        within = row - max(start for start in self.starts if start <= row)
        return f"line {within + 2}" if self.counted_in_lines else f"row {within + 1}"

    def stamp(self, row: int) -> str:
        """Return a row's timestamp as short as it goes, with its zone."""
        moment = self.times[row]
        if np.isnat(moment):
            return "unreadable"
        unit = "D" if moment == moment.astype("M8[D]") and not self.zones[row] else "s"
        return f"{moment.astype(f'M8[{unit}]')}{'Z' if self.zones[row] else ''}"

    def stamps(self, rows: NDArray[np.intp]) -> tuple[str, ...]:
        """Return the timestamps of ``rows``."""
        return tuple(self.stamp(int(row)) for row in rows)

    def keep(self, rows: Bools | NDArray[np.intp]) -> RawTable:
        """Return the table of ``rows`` only (a mask, or positions in their new order)."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else np.asarray(rows, dtype=np.intp)
        new_place = {int(old): new for new, old in enumerate(positions)}
        return replace(
            self,
            times=self.times[positions],
            zones=self.zones[positions],
            symbols=self.symbols[positions],
            columns={name: values[positions] for name, values in self.columns.items()},
            text={
                name: kept
                for name, old in self.text.items()
                if (kept := tuple(new_place[row] for row in old if row in new_place))
            },
            starts=(0,),
        )

    def put(self, field: str, values: Floats) -> RawTable:
        """Return the table with ``values`` (R,) as the only column of ``field``."""
        own = self.fields.get(field, (field,))
        columns = {name: column for name, column in self.columns.items() if name not in own[1:]}
        return replace(self, columns={**columns, own[0]: values}, fields={**self.fields, field: own[:1]})

    def drop_fields(self, fields: tuple[str, ...]) -> RawTable:
        """Return the table without the columns of ``fields``."""
        gone = {own for field in fields for own in self.fields.get(field, ())}
        return replace(
            self,
            columns={name: values for name, values in self.columns.items() if name not in gone},
            fields={field: own for field, own in self.fields.items() if field not in fields},
            text={name: rows for name, rows in self.text.items() if name not in gone},
        )


def from_panel(panel: Panel) -> RawTable:
    """Return a panel's bars as a table, one row for each bar that exists, symbol by symbol."""
    bars, symbols = np.nonzero(~np.isnan(panel.close.T))[::-1]
    fields = [name for name in FIELDS if name in panel.columns]
    return RawTable(
        origin=panel.source,
        times=panel.timestamps[bars].astype("M8[ns]"),
        zones=np.full(len(bars), "" if panel.is_daily else "UTC"),
        symbols=np.array(panel.symbols)[symbols],
        columns={name: getattr(panel, name)[bars, symbols] for name in fields},
        fields={name: (name,) for name in fields},
        text={},
    )
