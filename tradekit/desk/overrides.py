"""What a command line changes in a spec."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tradekit.desk.folder import find_desk
from tradekit.desk.specs import BacktestSpec, DataSpec, demand_once, read_costs
from tradekit.errors import ConfigError, suggest
from tradekit.market.costs import PRESETS, CostModel
from tradekit.market.side_series import SideSeries, side_of

CALIBRATED = "calibrated"

Spec = TypeVar("Spec", bound=BacktestSpec)


@dataclass(frozen=True)
class Overrides:
    """Settings given by hand; None leaves the spec's.

    Attributes:
        data: a source; one that is not the spec's leaves the spec's symbols, dates, benchmark, actions, side series
            and windows aside.
        symbols, strategies: names separated by commas.
        start, end: dates, YYYY-MM-DD.
        actions: a file of splits and dividends.
        side: series beside the bars, each ``NAME=FILE:COLUMN`` or ``NAME=FILE:COLUMN:LAG``; they take the place of the
            spec's of the same names.
        costs: a preset or a file.
        slippage_shock: factor on slippage, spread and impact.
        cost_shock: factor on every cost.
        latency_bars: bars to wait on top of the one that is always waited.
        cash: dollars at the start.
    """

    data: str | None = None
    symbols: str | None = None
    start: str | None = None
    end: str | None = None
    actions: str | None = None
    side: tuple[str, ...] = ()
    strategies: str | None = None
    costs: str | None = None
    slippage_shock: float | None = None
    cost_shock: float | None = None
    latency_bars: int | None = None
    cash: float | None = None

    def apply(self, spec: Spec) -> Spec:
        """Return ``spec`` with what was given.

        Raises:
            ConfigError: an unknown cost preset, a broken cost file, or a value out of range.
        """
        other = self.data is not None and self.data != spec.data.source
        data = DataSpec(str(self.data)) if other else spec.data
        latency = spec.execution.latency_bars if self.latency_bars is None else self.latency_bars
        if self.cash is not None and not (math.isfinite(self.cash) and self.cash > 0):
            raise ConfigError(f"cash is {self.cash}; give dollars above 0")
        return replace(
            spec,
            data=replace(
                data,
                symbols=_names(self.symbols, "symbols") or data.symbols,
                start=self.start or data.start,
                end=self.end or data.end,
                actions=self.actions or data.actions,
                side=self._side(data.side),
            ),
            windows=None if other else spec.windows,
            strategies=_names(self.strategies, "strategies") or spec.strategies,
            costs=self._costs(spec.costs),
            execution=replace(spec.execution, latency_bars=latency),
            cash=spec.cash if self.cash is None else self.cash,
        )

    def _side(self, ours: tuple[SideSeries, ...]) -> tuple[SideSeries, ...]:
        given = side_of([_series(text) for text in self.side])
        names = [one.name for one in given]
        return (*(one for one in ours if one.name not in names), *given)

    def _costs(self, model: CostModel) -> CostModel:
        if self.costs is not None:
            model = named_costs(self.costs)
        if self.slippage_shock is not None:
            model = model.shocked(self.slippage_shock)
        return model if self.cost_shock is None else model.scaled(self.cost_shock)


def named_costs(name: str) -> CostModel:
    """Return the cost model of a preset, of a TOML file, or, under the name ``calibrated``, of the desk's own fills.

    Raises:
        ConfigError: neither, the file is broken, or nothing was calibrated yet.
        DeskError: ``calibrated`` outside a desk.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name == CALIBRATED:
        path = find_desk().paper / f"{CALIBRATED}.toml"
        if not path.is_file():
            raise ConfigError(f"{path}: nothing was calibrated yet; run: tradekit paper calibrate")
        return read_costs(path)
    if name.endswith(".toml") or Path(name).exists():
        return read_costs(Path(name))
    raise ConfigError(f"no cost preset or file {name!r}; {suggest(name, [*PRESETS, CALIBRATED])}")


def _series(text: str) -> SideSeries:
    """Return what ``NAME=FILE:COLUMN:LAG`` says; the lag may be left out."""
    name, _, rest = text.partition("=")
    parts = rest.rsplit(":", 2 if rest.rpartition(":")[2].isdigit() else 1)
    if not all((name, *parts)) or len(parts) < 2:
        raise ConfigError(f"--side is {text!r}; write NAME=FILE:COLUMN, or NAME=FILE:COLUMN:LAG, as vix=vix.csv:close")
    return SideSeries(name, parts[0], parts[1], int(parts[2]) if len(parts) == 3 else 1)


def _names(text: str | None, what: str) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ConfigError(f"{what} is empty; name at least one, as A,B, or leave it out")
    demand_once(names, what)
    return names
