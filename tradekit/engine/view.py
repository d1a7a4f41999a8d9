"""What a strategy is shown at one bar: everything known at its close, and nothing later.

The bars are copied, as they close, into buffers of the run's own. No array that a strategy is given is a part of a
larger one in which later bars stand, so following ``base`` or ``memoryview`` leads to the past only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.market.features import SIDE
from tradekit.market.panel import FIELDS, Panel, absent

if TYPE_CHECKING:
    from tradekit.market.features import FeatureSpec
    from tradekit.market.panel import Bools, Floats, Times

_ALWAYS = ("timestamps", "close_time", "benchmark_returns", "tradable", "mark")


class Past:
    """The bars of a panel up to the newest revealed one, read-only.

    ``reveal`` copies the bars that are new. Buffers grow by doubling, so a run costs one copy of its bars, and their
    length says nothing about how many bars are still to come.
    """

    def __init__(self, panel: Panel, bars: int = 0) -> None:
        self.symbols, self.columns = panel.symbols, panel.columns
        self._about = {name: getattr(panel, name) for name in ("benchmark_name", "frequency", "source")}
        self._names = (*_ALWAYS, *(name for name in FIELDS if name in panel.columns))
        self._buffers = {name: getattr(panel, name)[:0].copy() for name in self._names}
        self._buffers |= {f"{SIDE}{name}": values[:0].copy() for name, values in panel.side.items()}
        self.side = tuple(panel.side)
        self.bars = 0
        self.reveal(panel, bars)

    def reveal(self, panel: Panel, bars: int) -> None:
        """Copy the bars of ``panel`` up to row ``bars``, exclusive, that are not here yet."""
        if bars > len(self._buffers["mark"]):
            self._grow(bars)
        fresh = slice(self.bars, bars)
        for name, buffer in self._buffers.items():
            known = panel.series(name.removeprefix(SIDE)) if name.startswith(SIDE) else getattr(panel, name)
            buffer.setflags(write=True)
            buffer[fresh] = known[fresh]
            buffer.setflags(write=False)
        self.bars = bars

    def _grow(self, bars: int) -> None:
        capacity = 1 << (bars - 1).bit_length()
        for name, old in self._buffers.items():
            buffer = np.zeros((capacity, *old.shape[1:]), old.dtype)
            buffer[: self.bars] = old[: self.bars]
            self._buffers[name] = buffer

    def rows(self, name: str, bars: int) -> Any:
        """Return the first ``bars`` rows of a column; NaN throughout when the source has no such column."""
        if name not in self._buffers:
            return absent(bars, len(self.symbols))
        return self._buffers[name][:bars]

    def panel(self, first: int, bars: int) -> Panel:
        """Return the rows ``first <= t < bars`` as a panel."""
        names = (*FIELDS, "tradable", "timestamps", "close_time", "benchmark_returns")
        cut = {name: self.rows(name, bars)[first:] for name in names}
        side = {name: self.rows(f"{SIDE}{name}", bars)[first:] for name in self.side}
        return Panel(symbols=self.symbols, columns=self.columns, **self._about, **cut, side=side)


class View:
    """Everything known at the close of one bar. It holds no later bar.

    Arrays have ``bar + 1`` rows, the newest last.
    """

    def __init__(
        self, past: Past, rows: dict[str, Floats] | None = None, asked: dict[str, FeatureSpec] | None = None
    ) -> None:
        self._past, self.bar, self.symbols = past, past.bars - 1, past.symbols
        self._rows, self._asked = rows or {}, asked

    @property
    def panel(self) -> Panel:
        """The bars so far as a panel."""
        return self._past.panel(0, self.bar + 1)

    @property
    def timestamp(self) -> np.datetime64:
        """Open of the newest bar."""
        stamp: np.datetime64 = self.timestamps[-1]
        return stamp

    @property
    def timestamps(self) -> Times:
        """(bar + 1,)."""
        stamps: Times = self._past.rows("timestamps", self.bar + 1)
        return stamps

    @property
    def open(self) -> Floats:
        """(bar + 1, N)."""
        return self._column("open")

    @property
    def high(self) -> Floats:
        """(bar + 1, N)."""
        return self._column("high")

    @property
    def low(self) -> Floats:
        """(bar + 1, N)."""
        return self._column("low")

    @property
    def close(self) -> Floats:
        """(bar + 1, N)."""
        return self._column("close")

    @property
    def volume(self) -> Floats:
        """(bar + 1, N)."""
        return self._column("volume")

    @property
    def mark(self) -> Floats:
        """(N,) last known close."""
        marks: Floats = self._column("mark")[-1]
        return marks

    @property
    def tradable(self) -> Bools:
        """(N,) whether each symbol traded in the newest bar."""
        flags: Bools = self._past.rows("tradable", self.bar + 1)[-1]
        return flags

    def series(self, name: str) -> Floats:
        """Return a side series, (bar + 1,) or (bar + 1, N).

        Raises:
            DataError: the bars come with none of that name.
        """
        if name not in self._past.side:
            return self.panel.series(name)  # it says what there is
        values: Floats = self._past.rows(f"{SIDE}{name}", self.bar + 1)
        return values

    def features(self, spec: FeatureSpec) -> Floats:
        """Return (N, F) features of the newest bar, each a function of its last ``spec.lookback`` bars only."""
        row = self._rows.get(spec.content_hash)
        if row is None:
            if self._asked is not None:
                self._asked[spec.content_hash] = spec  # the run computes it for all bars at once from now on
            row = spec.compute(self._past.panel(max(0, self.bar + 1 - spec.lookback), self.bar + 1))[-1]
        return row

    def _column(self, name: str) -> Floats:
        rows: Floats = self._past.rows(name, self.bar + 1)
        return rows


class Watch:
    """Views of one panel for a run, bar by bar; features that are asked for are computed once for all bars."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._asked: dict[str, FeatureSpec] = {}
        self._tables: dict[str, Floats] = {}

    def view(self, past: Past, bar: int) -> View:
        """Reveal the bars up to ``bar`` and return what is known at its close."""
        past.reveal(self._panel, bar + 1)
        for key, spec in self._asked.items():
            if key not in self._tables:
                self._tables[key] = spec.compute(self._panel)
        return View(past, {key: table[bar].copy() for key, table in self._tables.items()}, self._asked)

    def past(self) -> Past:
        """Return buffers for one window of the run, with nothing revealed."""
        return Past(self._panel)
