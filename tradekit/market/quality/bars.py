"""One symbol's readable bars in time order: what the checks of prices look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

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
    """

    table: RawTable
    clock: Clock
    symbol: str
    rows: NDArray[np.intp]

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
        """Return (B,) a field, NaN where the table does not have it."""
        values = np.full(len(self), np.nan)
        for name in self.table.fields.get(field, ()):
            values = np.where(np.isnan(values), self.table.columns[name][self.rows], values)
        return values

    @cached_property
    def close(self) -> Floats:
        """(B,)."""
        return self.value("close")

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
    close = table.value("close")
    usable = ~np.isnat(table.times) & (close > 0) & np.isfinite(close)
    order = np.lexsort((table.times, table.symbols))
    order = order[usable[order]]
    first = np.ones(len(order), dtype=bool)
    same = (table.symbols[order][1:] == table.symbols[order][:-1]) & (table.times[order][1:] == table.times[order][:-1])
    first[1:] = ~same
    order = order[first]
    names = table.symbols[order]
    for rows in np.split(order, np.flatnonzero(names[1:] != names[:-1]) + 1):
        if len(rows) > 1:
            yield SymbolBars(table, clock, str(table.symbols[rows[0]]), rows)
