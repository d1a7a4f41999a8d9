"""Faults of the market itself: halts, splits, half days, missing bars. They shape the bars before the replay begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import ConfigError, suggest
from tradekit.live.times import NEW_YORK
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from tradekit.live.exchange.faults import Fault, Faults
    from tradekit.market.panel import Floats, Panel

EARLY_CLOSE_HOUR = 13
PRICES = ("open", "high", "low", "close")


class Span(NamedTuple):
    """Bars ``first`` to ``end - 1`` of a panel column; None: of the account."""

    column: int | None
    first: int
    end: int

    def holds(self, column: int | None, bar: int) -> bool:
        """Whether it covers a bar of a column."""
        return self.column in (column, None) and self.first <= bar < self.end


class Split(NamedTuple):
    """Before bar ``bar`` opens, one share of a column becomes ``ratio``."""

    column: int
    bar: int
    ratio: float


@dataclass(frozen=True)
class World:
    """What the bars alone do not say. Bars are rows of the panel; ``early`` are dates that close at 13:00."""

    halts: tuple[Span, ...] = ()
    untradable: tuple[Span, ...] = ()
    blocked: tuple[Span, ...] = ()
    splits: tuple[Split, ...] = ()
    early: frozenset[np.datetime64] = frozenset()

    def is_halted(self, column: int, bar: int) -> bool:
        """Whether the column is halted in a bar."""
        return any(span.holds(column, bar) for span in self.halts)

    def is_untradable(self, column: int, bar: int) -> bool:
        """Whether orders for the column are refused after the close of a bar."""
        return any(span.holds(column, bar) for span in self.untradable)

    def is_blocked(self, bar: int) -> bool:
        """Whether the account is blocked after the close of a bar."""
        return any(span.holds(None, bar) for span in self.blocked)

    def adjustment(self, column: int, bar: int, rows: int) -> Floats | None:
        """Return (rows,) what prices are divided by for the splits that have happened by ``bar``; None: nothing."""
        happened = [split for split in self.splits if split.column == column and split.bar <= bar]
        if not happened:
            return None
        factor = np.ones(rows)
        for split in happened:
            factor[: split.bar] *= split.ratio
        return factor


def shape(panel: Panel, benchmark: Floats | None, start: int, faults: Faults) -> tuple[Panel, Floats | None, World]:
    """Return the bars as the faults leave them, the benchmark's closes beside them, and what else there is to know.

    Args:
        panel: the bars.
        benchmark: (T,) its closes.
        start: row at whose close the replay begins; a fault's bar 1 is the next.
        faults: those of the market itself are read, the others left alone.

    Raises:
        ConfigError: a symbol or a bar that the replay does not have.
    """
    early: set[np.datetime64] = set()
    for fault, settings in faults.world("half_day"):
        day = panel.timestamps[_row(fault, settings, panel, start)].astype("M8[D]")
        early.add(day)
        panel, benchmark = _close_early(panel, benchmark, day)
    spans: dict[str, list[Span]] = {"halt": [], "missing_bar": [], "untradable": [], "account_blocked": []}
    for name, found in spans.items():
        for fault, settings in faults.world(name):
            first = _row(fault, settings, panel, start)
            column = None if name == "account_blocked" else _column(fault, panel)
            found.append(Span(column, first, min(first + settings["bars"], len(panel) + 1)))
    for span in spans["halt"] + spans["missing_bar"]:
        panel = _without(panel, span)
    splits = [
        Split(_column(fault, panel), _row(fault, settings, panel, start), settings["ratio"])
        for fault, settings in faults.world("split")
    ]
    for split in splits:
        panel = _divided(panel, split)
    halts, untradable, blocked = (tuple(spans[name]) for name in ("halt", "untradable", "account_blocked"))
    return panel, benchmark, World(halts, untradable, blocked, tuple(splits), frozenset(early))


def _row(fault: Fault, settings: dict[str, Any], panel: Panel, start: int) -> int:
    row = start + int(settings["bar"])
    if row >= len(panel):
        raise ConfigError(
            f"fault {fault.kinds[0]} begins at bar {settings['bar']} of a replay of {len(panel) - 1 - start}"
        )
    return row


def _column(fault: Fault, panel: Panel) -> int:
    if fault.symbol not in panel.symbols:
        raise ConfigError(
            f"fault {fault.kinds[0]}: no symbol {fault.symbol}; {suggest(str(fault.symbol), panel.symbols)}"
        )
    return panel.symbols.index(str(fault.symbol))


def _close_early(panel: Panel, benchmark: Floats | None, day: np.datetime64) -> tuple[Panel, Floats | None]:
    bell, dates = early_close(day), panel.timestamps.astype("M8[D]")
    closes = np.where(dates == day, np.minimum(panel.close_time, bell), panel.close_time)
    panel = replace(panel, close_time=closes)
    if panel.is_daily:
        return panel, benchmark
    keep = ~((dates == day) & (panel.timestamps >= bell))
    cut: dict[str, Any] = {name: getattr(panel, name)[keep] for name in (*FIELDS, "tradable")}
    times = {name: getattr(panel, name)[keep] for name in ("timestamps", "close_time", "benchmark_returns")}
    wide = panel.spread_multiple if panel.spread_multiple is None else panel.spread_multiple[keep]
    side = panel.each_side(lambda values: values[keep])
    panel = replace(panel, **times, **cut, spread_multiple=wide, side=side)
    return panel, benchmark if benchmark is None else benchmark[keep]


def early_close(day: np.datetime64) -> np.datetime64:
    """Return the close of a half day, UTC."""
    local = datetime.combine(day.astype("M8[D]").item(), time(EARLY_CLOSE_HOUR), NEW_YORK)
    return np.datetime64(local.astimezone(UTC).replace(tzinfo=None), "ns")


def _without(panel: Panel, span: Span) -> Panel:
    rows = slice(span.first, span.end)
    changed: dict[str, Any] = {}
    for name in (*FIELDS, "tradable"):
        array = np.array(getattr(panel, name))
        array[rows, span.column] = False if name == "tradable" else np.nan
        changed[name] = array
    return replace(panel, **changed)


def _divided(panel: Panel, split: Split) -> Panel:
    changed: dict[str, Any] = {}
    for name in FIELDS:
        array = np.array(getattr(panel, name))
        if name in PRICES:
            array[split.bar :, split.column] /= split.ratio
        else:
            array[split.bar :, split.column] *= split.ratio
        changed[name] = array
    return replace(panel, **changed)
