"""A strategy in the worlds of scenarios that change its bars, where it decides anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.paths import MAKERS
from tradekit.engine.seen import scored_from
from tradekit.engine.stress_setup import Cell, Draws

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.account import Account
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.scenarios import Scenario
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress_setup import Setup
    from tradekit.market.panel import Panel


def elsewhere(strategy: AnyStrategy, account: Account, scenarios: Sequence[Scenario], setup: Setup) -> dict[str, Cell]:
    """Return the cell of each scenario that has worlds of its own.

    A drawn path keeps the first window's fit throughout: later windows learn from bars that the path is drawn from. The
    worlds of all shocks run together, and so do all paths: first for equity alone, where there are several of a
    scenario, and then those that are shown.
    """
    cells: dict[str, Cell] = {}
    carried = [one for one in scenarios if isinstance(setup.worlds[one.name], tuple)]
    for one in scenarios:
        if isinstance(why := setup.worlds[one.name], str):
            cells[one.name] = Cell(strategy.name, one.name, None, skipped=why)
    drawn = [one for one in carried if one.kind in MAKERS]
    moved = [one for one in carried if one.kind not in MAKERS]
    for group, fitted in ((moved, account), (drawn, account.first_fit())):
        cells |= _Group(strategy, fitted, setup).cells(group)
    return cells


class _Group:
    """Scenarios that meet one fitted strategy."""

    def __init__(self, strategy: AnyStrategy, fitted: Account, setup: Setup) -> None:
        self.strategy, self.fitted, self.setup = strategy, fitted, setup

    def cells(self, scenarios: Sequence[Scenario]) -> dict[str, Cell]:
        """Return the cell of each scenario."""
        drawn = self._drawn(scenarios)
        faults = {name: why for name, runs in drawn.items() if (why := _fault(runs)) is not None}
        shown = [one for one in scenarios if one.name not in faults]
        draw = {one.name: _median(drawn[one.name]) if one.name in drawn else 0 for one in shown}
        ledgers = self._run([self.setup.world(one, draw[one.name]) for one in shown], records=True)
        cells = {one.name: self._lost(one, faults[one.name]) for one in scenarios if one.name in faults}
        for one, ledger in zip(shown, ledgers, strict=True):
            cells[one.name] = self._cell(one, ledger, drawn.get(one.name), draw[one.name])
        return cells

    def _drawn(self, scenarios: Sequence[Scenario]) -> dict[str, list[Ledger | str]]:
        """Return what the strategy makes of every world, of scenarios that have several; equity alone."""
        several = {one.name: [self.setup.world(one, k) for k in range(one.draws)] for one in scenarios if one.draws > 1}
        runs = iter(self._run([panel for panels in several.values() for panel in panels], records=False))
        return {name: [next(runs) for _ in panels] for name, panels in several.items()}

    def _run(self, panels: Sequence[Panel], *, records: bool) -> list[Ledger | str]:
        setup = self.setup
        return self.fitted.run_in(panels, setup.windowing, setup.costs, setup.execution, setup.cash, records=records)

    def _cell(self, scenario: Scenario, ledger: Ledger | str, drawn: Sequence[Ledger | str] | None, draw: int) -> Cell:
        if isinstance(ledger, str):
            return self._lost(scenario, ledger)
        first, draws = scored_from(self.strategy, ledger), None
        if drawn is not None:
            draws = Draws.of([one.equity for one in _whole(drawn)], self.setup.panel.bars_per_year)
        return Cell(self.strategy.name, scenario.name, ledger, first, draws=draws, draw=draw)

    def _lost(self, scenario: Scenario, why: str) -> Cell:
        return Cell(self.strategy.name, scenario.name, None, skipped=why, failed=True)


def _whole(runs: Sequence[Ledger | str]) -> list[Ledger]:
    return [one for one in runs if not isinstance(one, str)]


def _fault(runs: Sequence[Ledger | str]) -> str | None:
    """Return why there is no ledger of a world, the first for which there is none."""
    return next((one for one in runs if isinstance(one, str)), None)


def _median(runs: Sequence[Ledger | str]) -> int:
    """Return which ledger has the median final equity, the lower of two."""
    return int(np.argsort([one.equity[-1] for one in _whole(runs)], kind="stable")[(len(runs) - 1) // 2])
