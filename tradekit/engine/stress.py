"""Stress: strategies under worse costs, later fills, harder times and other histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit import compute
from tradekit.compute import hash_of, run_cells
from tradekit.compute.store import code_hash
from tradekit.engine.break_even import break_even
from tradekit.engine.fits import learner_of
from tradekit.engine.scenarios import Scenario, default_scenarios
from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.stressed import Cell, Setup, Stressed, stressed, worlds_of
from tradekit.engine.walk_forward import demand_distinct, unseen
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.compute import Store
    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Stress:
    """Every strategy in every scenario.

    break_even: of each strategy, see ``tradekit.engine.break_even``.
    kinds: of each strategy by name.
    audits: the causality audit of each strategy that was walked forward, by name.
    """

    panel: Panel
    windowing: Windowing
    scenarios: tuple[Scenario, ...]
    cells: tuple[Cell, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float
    break_even: dict[str, dict[str, float | None]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    audits: dict[str, AuditReport] = field(default_factory=dict)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names in the order given."""
        return tuple(dict.fromkeys(cell.strategy for cell in self.cells))

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """What each strategy did in the world as it was, by name, of those that could run."""
        base = next((one.name for one in self.scenarios if one.kind == "base"), self.scenarios[0].name)
        return {cell.strategy: cell.ledger for cell in self.cells if cell.scenario == base and cell.ledger is not None}

    @property
    def scored_from(self) -> int:
        """First ledger row on which all strategies can be compared in that world."""
        base = set(map(id, self.ledgers.values()))
        return max((cell.scored_from for cell in self.cells if id(cell.ledger) in base), default=0)

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, strategy by strategy: those that raised, or answered nonsense, in any world."""
        found = {cell.strategy: cell for cell in reversed(self.cells) if cell.failed}
        return tuple(f"{name} in {cell.scenario}: {cell.skipped}" for name, cell in sorted(found.items()))

    def cell(self, strategy: str, scenario: str) -> Cell:
        """Return one cell."""
        return next(cell for cell in self.cells if (cell.strategy, cell.scenario) == (strategy, scenario))


def stress(
    strategies: AnyStrategy | Sequence[AnyStrategy],
    panel: Panel,
    scenarios: Sequence[Scenario] | None = None,
    windowing: Windowing | None = None,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    progress: Progress | None = None,
    history: Panel | None = None,
    *,
    workers: int = 1,
    ray: str | None = None,
    store: Store | None = None,
    identities: Mapping[str, str] | None = None,
) -> Stress:
    """Walk every strategy forward once and run it under every scenario.

    Scenarios that change costs alone share one kernel call (open loop) or one lockstep roll-out (closed loop). What the
    data cannot carry, such as a replay of years that it does not cover, is skipped by name.

    Args:
        strategies: one, or several with distinct names.
        panel: all bars.
        scenarios: default: ``default_scenarios()``.
        windowing: default: ``Windowing.for_panel``.
        costs: the model that scenarios worsen; default: the ``realistic`` preset.
        execution: as in ``simulate``.
        cash: dollars at the start, > 0.
        progress: called with (done, in all, label).
        history: the bars that replays draw on, where ``panel`` does not reach back as far; default: ``panel``.
        workers: processes over which strategies are spread; the result is the same.
        ray: address of a Ray cluster, or ``local``, instead; see ``run_cells``.
        store: where finished strategies are kept and looked up.
        identities: by name of the strategy, a hash of whatever it is made from; only those are kept in ``store``.

    Raises:
        StrategyError, ConfigError: as in ``walk_forward``; ConfigError also for two scenarios of one name.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    chosen = tuple(default_scenarios() if scenarios is None else scenarios)
    names = [scenario.name for scenario in chosen]
    if len(set(names)) < len(names):
        raise ConfigError(f"two scenarios share a name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    windowing = windowing or Windowing.for_panel(panel)
    several = [learner_of(one, windowing.refit) for one in several]
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    windows = tuple(unseen(several, panel, windowing.cut(panel), execution))
    made = {scenario.name: worlds_of(scenario, panel, windows) for scenario in chosen}
    setup = Setup(panel, history or panel, windowing, windows, costs, execution, cash, chosen, made)
    if workers > 1 or ray is not None or store is not None:
        cells = [_cell_of(strategy, setup, (identities or {}).get(strategy.name)) for strategy in several]
        outcomes = run_cells(cells, shared=setup, workers=workers, ray=ray, store=store, progress=progress)
        found = [outcomes[cell.key] for cell in cells]
        results = [
            _failed(strategy, setup, one.failure) if one.failure else _clothed(one.value, setup)
            for strategy, one in zip(several, found, strict=True)
        ]
        return _joined(several, results, setup)
    results = []
    for done, strategy in enumerate(several):
        if progress:
            progress(done, len(several), strategy.name)
        results.append(stressed(strategy, setup))
    if progress:
        progress(len(several), len(several), "done")
    return _joined(several, results, setup)


def _joined(strategies: Sequence[AnyStrategy], results: Sequence[Stressed], setup: Setup) -> Stress:
    """Return the result of all strategies; break-even multiples need them together."""
    names = [strategy.name for strategy in strategies]
    growths = {name: one.growth for name, one in zip(names, results, strict=True) if one.growth is not None}
    return Stress(
        panel=setup.panel,
        windowing=setup.windowing,
        scenarios=setup.scenarios,
        cells=tuple(cell for one in results for cell in one.cells),
        costs=setup.costs,
        execution=setup.execution,
        cash=setup.cash,
        break_even={name: break_even(name, growths) for name in growths},
        kinds={strategy.name: getattr(strategy, "kind", "custom") for strategy in strategies},
        audits={name: one.audit for name, one in zip(names, results, strict=True) if one.audit is not None},
    )


def _cell_of(strategy: AnyStrategy, setup: Setup, identity: str | None) -> compute.Cell:
    """Return the work of one strategy; it can be kept when its identity says what the strategy is made from."""
    key = strategy.name if identity is None else hash_of("stress", code_hash(), strategy.name, identity, setup.identity)
    return compute.Cell(key, strategy.name, _bare, (strategy,), keep=identity is not None)


def _bare(setup: Setup, strategy: AnyStrategy) -> Stressed:
    """Run one strategy; its ledgers leave their bars behind, which the other side has."""
    result = stressed(strategy, setup)
    cells = [
        cell if cell.ledger is None else replace(cell, ledger=replace(cell.ledger, panel=cell.ledger.panel[:1]))
        for cell in result.cells
    ]
    return result._replace(cells=cells)


def _clothed(result: Stressed, setup: Setup) -> Stressed:
    """Give the ledgers of ``_bare`` their bars back."""
    cells = []
    for scenario, cell in zip(setup.scenarios, result.cells, strict=True):
        if cell.ledger is None:
            cells.append(cell)
            continue
        panel = setup.history if scenario.kind == "replay" else setup.world(scenario, cell.draw)
        first = int(np.searchsorted(panel.timestamps, cell.ledger.timestamps[0]))
        bars = panel[first : first + len(cell.ledger.equity)]
        cells.append(replace(cell, ledger=replace(cell.ledger, panel=bars)))
    return result._replace(cells=cells)


def _failed(strategy: AnyStrategy, setup: Setup, why: str) -> Stressed:
    return Stressed([Cell(strategy.name, one.name, None, skipped=why) for one in setup.scenarios], None, None)
