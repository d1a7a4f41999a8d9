"""One strategy under every scenario.

A strategy is fitted once, on the bars as they were, window by window as in the walk-forward. Scenarios change what
comes after the first judged decision: a model learnt in the world that was meets one that it has not seen, which is
what a stress test asks. It decides anew wherever prices differ. Two kinds differ in what is fitted: a replay fits on
the train slice before its own dates, and a drawn path keeps the first window's fit throughout, since later windows
learn from bars that the path is drawn from.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tradekit.engine.account import Account
from tradekit.engine.break_even import Growth, growth_of
from tradekit.engine.fits import prepared_of
from tradekit.engine.prepared import first_run
from tradekit.engine.scenarios import CHANGES_BARS
from tradekit.engine.seen import scored_from
from tradekit.engine.strategy import attempt
from tradekit.engine.stress_replay import replayed
from tradekit.engine.stress_setup import Cell
from tradekit.engine.stress_worlds import elsewhere
from tradekit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tradekit.compute import Outcome
    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.prepared import Prepared
    from tradekit.engine.scenarios import Scenario
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress_setup import Setup
    from tradekit.engine.windows import Window
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel

    Plan = Mapping[str, tuple[Window, ...] | str]


WALK = ""
"""Name of the walk-forward beside those of the replays."""


class Stressed(NamedTuple):
    """One strategy under stress; lost: by window of the walk-forward, why it failed in it and held cash."""

    cells: list[Cell]
    growth: Growth | None = None
    audit: AuditReport | None = None
    lost: tuple[str | None, ...] = ()

    @property
    def told(self) -> str:
        """Return in how many windows it failed, and why in the first of them."""
        reasons = [why for why in self.lost if why]
        return f"failed in {len(reasons)} of {len(self.lost)} windows: {reasons[0]}"


class Variant(NamedTuple):
    """A strategy under one seed, None where none was asked for, and how its fits for WALK and each replay ended."""

    seed: int | None
    strategy: AnyStrategy
    fits: Mapping[str, Sequence[Outcome]]


class Skip(NamedTuple):
    """Why a strategy has no ledger; failed: through a fault of its own, rather than for not fitting the bars."""

    why: str
    failed: bool = True

    def cell(self, strategy: AnyStrategy, scenario: Scenario) -> Cell:
        """Return the cell of a strategy that is skipped in a scenario."""
        return Cell(strategy.name, scenario.name, None, skipped=self.why, failed=self.failed)


def stressed(variants: Sequence[Variant], plan: Plan, setup: Setup) -> Stressed:
    """Run one strategy under every scenario; what cannot run is skipped by name, and the rest goes on.

    Args:
        variants: the strategy under each seed, fitted as planned.
        plan: the windows of WALK and of each replay by name, or why there are none.
        setup: what it meets.
    """
    strategy, cells = variants[0].strategy, {}
    for one in setup.scenarios:
        if one.kind == "replay":
            found = _fitted(variants, one.name, plan, setup)
            cells[one.name] = (
                found.cell(strategy, one) if isinstance(found, Skip) else replayed(strategy, one, setup, found)
            )
    walked = [one for one in setup.scenarios if one.kind != "replay"]
    found = _fitted(variants, WALK, plan, setup)
    made = found if isinstance(found, Skip) else _walked(strategy, found, walked, setup)
    if isinstance(made, Skip):
        made = Stressed([made.cell(strategy, one) for one in walked])
    cells |= {cell.scenario: cell for cell in made.cells}
    return made._replace(cells=[cells[one.name] for one in setup.scenarios])


def _fitted(variants: Sequence[Variant], name: str, plan: Plan, setup: Setup) -> Account | Skip:
    """Return the account of a strategy that was fitted for WALK or a replay, and has run once."""
    windows, parts = plan[name], []
    if isinstance(windows, str):
        return Skip(windows, failed=False)
    panel = setup.panel if name == WALK else setup.history
    for one in variants:
        part = _part(prepared_of(one.strategy, windows, one.fits[name]), panel, setup)
        if isinstance(part, str):
            return Skip(part if one.seed is None else f"seed {one.seed}: {part}")
        parts.append(part)
    return Account(tuple(parts))


def _part(fitted: Prepared, panel: Panel, setup: Setup) -> Prepared | str:
    """Return a fitted strategy that has run once, with the windows in which it failed; or why, if it did in all."""
    if not all(fitted.failures):
        told = (fitted, panel, setup.windowing, setup.execution, setup.costs, setup.cash)
        ran, failure = attempt(partial(first_run, *told, records=False))
        if failure is not None:
            return f"it raised {failure}"
        fitted = ran[0]
    if not all(fitted.failures):
        return fitted
    return f"it {'raised' if len(fitted.failures) == 1 else 'failed in every window:'} {fitted.failures[0]}"


def _walked(strategy: AnyStrategy, account: Account, scenarios: Sequence[Scenario], setup: Setup) -> Stressed | Skip:
    """Return what became of a strategy that was walked forward, in every scenario but replays."""
    made, failure = attempt(partial(_everywhere, strategy, account, scenarios, setup))
    return Skip(f"it raised {failure}") if made is None else made


def _everywhere(strategy: AnyStrategy, account: Account, scenarios: Sequence[Scenario], setup: Setup) -> Stressed:
    cells = _priced(strategy, account, [one for one in scenarios if one.kind not in CHANGES_BARS], setup)
    cells |= elsewhere(strategy, account, [one for one in scenarios if one.kind in CHANGES_BARS], setup)

    def run(models: Sequence[CostModel]) -> list[Ledger]:
        return account.run(setup.panel, models, setup.execution, setup.cash, records=False)

    growth = growth_of(run, setup.costs, partial(scored_from, strategy))
    return Stressed([cells[one.name] for one in scenarios], growth, account.audit(setup.panel), account.failures)


def _priced(strategy: AnyStrategy, account: Account, scenarios: Sequence[Scenario], setup: Setup) -> dict[str, Cell]:
    """Run scenarios in which the same decisions meet other costs or fills; those that differ in costs run together."""
    cells: dict[str, Cell] = {}
    groups: dict[tuple[ExecutionModel, int], list[tuple[Scenario, CostModel]]] = {}
    for scenario in scenarios:
        world, made = setup.world(scenario), setup.worlds[scenario.name]
        try:
            model, execution = scenario.costs(setup.costs), scenario.execution(setup.execution)
        except ConfigError as error:
            cells[scenario.name] = Skip(str(error), failed=False).cell(strategy, scenario)
            continue
        if isinstance(made, str):
            cells[scenario.name] = Skip(made, failed=False).cell(strategy, scenario)
        else:
            groups.setdefault((execution, id(world)), []).append((scenario, model))
    for (execution, _), group in groups.items():
        world = setup.world(group[0][0])
        try:
            ledgers = account.run(world, [model for _, model in group], execution, setup.cash)
        except DataError as error:  # a limit that needs a column which the data lacks
            cells |= {one.name: Skip(str(error), failed=False).cell(strategy, one) for one, _ in group}
            continue
        for (scenario, _), ledger in zip(group, ledgers, strict=True):
            cells[scenario.name] = Cell(strategy.name, scenario.name, ledger, scored_from(strategy, ledger))
    return cells
