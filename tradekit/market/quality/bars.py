"""One symbol's readable bars in time order: what the checks of prices look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.quality.table import usable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Times
    from tradekit.market.quality.clock import Clock
    from tradekit.market.quality.table import RawTable


@dataclass(frozen=True, eq=False)
class SymbolBars:
    """The bars of one symbol with a readable timestamp and a close, the first row of each timestamp, in time order.

    Attributes:
        table, clock: where they come from.
        symbol: whose.
        rows: (B,) their positions in the table.
        repeated: (Q,) positions of its other rows with a readable timestamp: those that repeat one, or lack a close.
    """

    table: RawTable
    clock: Clock
    symbol: str
    rows: NDArray[np.intp]
    repeated: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def dates(self) -> Times:
        """(B,) session date."""
        return self.clock.dates[self.rows]

    @cached_property
    def wall(self) -> Times:
        """(B,) New York wall clock of the bar's start."""
        return self.clock.wall[self.rows]

    def value(self, field: str) -> Floats:
        """Return (B,) a field, NaN where the table has no value that can be: no price of zero, no negative volume."""
        values = np.full(len(self), np.nan)
        for name in self.table.fields.get(field, ()):
            values = np.where(np.isnan(values), self.table.columns[name][self.rows], values)
        return usable(field, values)

    @cached_property
    def close(self) -> Floats:
        """(B,)."""
        return self.value("close")

    @property
    def all_rows(self) -> NDArray[np.intp]:
        """(B + Q,) positions of every row with a readable timestamp, in time order."""
        rows = np.concatenate([self.rows, self.repeated])
        return rows[np.argsort(self.table.times[rows], kind="stable")]

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """(S,) first bar of each session."""
        return np.flatnonzero(np.concatenate([[True], self.dates[1:] != self.dates[:-1]]))

    @cached_property
    def sessions(self) -> Sessions:
        """The bars joined into sessions; daily bars as they are."""
        open_ = self.value("open")
        last = np.append(self.starts[1:], len(self)) - 1
        volume = np.add.reduceat(np.nan_to_num(self.value("volume")), self.starts)
        return Sessions(
            dates=self.dates[self.starts],
            rows=self.rows[self.starts],
            open=open_[self.starts],
            high=np.fmax.reduceat(self.value("high"), self.starts),
            low=np.fmin.reduceat(self.value("low"), self.starts),
            close=self.close[last],
            volume=volume if self.table.has("volume") else np.full(len(volume), np.nan),
        )


@dataclass(frozen=True, eq=False)
class Sessions:
    """One symbol's sessions (S,): date, first row, prices and volume; NaN for columns that the table lacks."""

    dates: Times
    rows: NDArray[np.intp]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.dates)


def each_symbol(table: RawTable, clock: Clock) -> Iterator[SymbolBars]:
    """Yield the bars of every symbol that has at least two."""
    tradable = ~np.isnat(table.times) & ~np.isnan(usable("close", table.value("close")))
    order = np.lexsort((table.times, ~tradable, table.symbols))
    order = order[~np.isnat(table.times[order])]
    names = table.symbols[order]
    for rows in np.split(order, np.flatnonzero(names[1:] != names[:-1]) + 1):
        times = table.times[rows]
        first = tradable[rows] & np.concatenate([[True], times[1:] != times[:-1]])
        if first.sum() > 1:
            yield SymbolBars(table, clock, str(table.symbols[rows[0]]), rows[first], rows[~first])
