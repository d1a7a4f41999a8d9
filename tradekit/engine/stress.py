"""Stress: strategies under worse costs, later fills, harder times and other histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tradekit.engine.break_even import break_even
from tradekit.engine.fits import Spread, learner_of
from tradekit.engine.scenarios import Scenario, default_scenarios
from tradekit.engine.seeds import has_seed
from tradekit.engine.seen import unseen
from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.stress_cells import run_all
from tradekit.engine.stress_setup import Cell, Setup, worlds_of
from tradekit.engine.walk_forward import demand_distinct
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.compute import Progress, Store
    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stressed import Stressed
    from tradekit.market.panel import Panel


@dataclass(frozen=True)
class Stress:
    """Every strategy in every scenario.

    break_even: of each strategy, see ``tradekit.engine.break_even``.
    kinds: of each strategy by name.
    audits: the causality audit of each strategy that was walked forward, by name.
    lost: by name, of each strategy that failed in some windows and held cash there, in how many, and why.
    seeds: by name, of each strategy that was run under seeds other than its own.
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
    lost: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, tuple[int, ...]] = field(default_factory=dict)

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
        """What went wrong, strategy by strategy: those that raised, or answered nonsense, in any world or window."""
        found = {
            cell.strategy: f"in {cell.scenario}: {str(cell.skipped).removeprefix(f'{cell.strategy}: ')}"
            for cell in reversed(self.cells)
            if cell.failed
        }
        return tuple(f"{name} {why}" for name, why in sorted([*self.lost.items(), *found.items()]))

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
    seeds: Sequence[int] = (),
    workers: int = 1,
    ray: str | None = None,
    store: Store | None = None,
    identities: Mapping[str, str] | None = None,
    here_seconds: float = 0.0,
) -> Stress:
    """Walk every strategy forward once and run it under every scenario.

    Scenarios that change costs alone share one kernel call (open loop) or one lockstep roll-out (closed loop); closed
    loops meet all worlds whose bars were moved, and all that were drawn, in a roll-out each. What the data cannot
    carry, such as a replay of years that it does not cover, is skipped by name.

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
        seeds: run every strategy that has a ``seed`` under each of these; it stands for the account that holds an equal
            part of each, in every world.
        workers: processes to spread the work over; numbers do not depend on it, nor on the next two.
        ray: address of a Ray cluster to spread it over instead, or ``local``.
        store: where finished work is kept and looked up, the fits of a walk-forward among it.
        identities: as in ``walk_forward``.
        here_seconds: as in ``walk_forward``.

    Raises:
        StrategyError, ConfigError: as in ``walk_forward``; ConfigError also for two scenarios of one name.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    windowing = windowing or Windowing.for_panel(panel)
    several = [learner_of(one, windowing.refit) for one in several]
    chosen = _distinct(default_scenarios() if scenarios is None else scenarios)
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    windows = tuple(unseen(several, panel, windowing.cut(panel), execution, windowing.embargo_sessions))
    made = {scenario.name: worlds_of(scenario, panel, windows) for scenario in chosen}
    setup = Setup(panel, history or panel, windowing, windows, costs, execution, cash, chosen, made)
    spread = Spread(workers, ray, store, identities or {}, progress, here_seconds)
    drawn = {one.name: tuple(seeds) for one in several if seeds and has_seed(one)}
    return replace(_joined(several, run_all(several, setup, tuple(seeds), spread), setup), seeds=drawn)


def _distinct(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    names = [scenario.name for scenario in scenarios]
    if len(set(names)) < len(names):
        raise ConfigError(f"two scenarios share a name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    return tuple(scenarios)


def _joined(strategies: Sequence[AnyStrategy], results: Sequence[Stressed], setup: Setup) -> Stress:
    """Return the result of all strategies; break-even multiples need them together."""
    found = dict(zip([strategy.name for strategy in strategies], results, strict=True))
    growths = {name: one.growth for name, one in found.items() if one.growth is not None}
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
        audits={name: one.audit for name, one in found.items() if one.audit is not None},
        lost={name: one.told for name, one in found.items() if any(one.lost)},
    )
