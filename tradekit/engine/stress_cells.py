"""The cells of a stress test: the fits of a walk-forward and of replays, and a cell that runs what was fitted.

Fits are those of ``walk_forward``, key by key, so that a store that has them spares a stress test the training.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.compute import Cell as Work
from tradekit.compute import hash_of
from tradekit.engine.fits import fit_cells, versions_hash
from tradekit.engine.seeds import has_seed, with_seed
from tradekit.engine.seen import reason_to_skip
from tradekit.engine.stress_replay import replay_window
from tradekit.engine.stressed import WALK, Skip, Stressed, Variant, stressed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.compute import Outcome
    from tradekit.engine.fits import Spread
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress_setup import Setup
    from tradekit.engine.stressed import Plan
    from tradekit.market.panel import Panel


def run_all(several: Sequence[AnyStrategy], setup: Setup, seeds: tuple[int, ...], spread: Spread) -> list[Stressed]:
    """Run every strategy under every scenario, side by side, each that draws under each of ``seeds``."""
    job = _Job(setup, seeds, spread)
    keys = [job.add(strategy) for strategy in several]
    outcomes = spread.run(list(job.cells.values()), setup)
    return [_answer(strategy, setup, outcomes[key]) for strategy, key in zip(several, keys, strict=True)]


@dataclass(frozen=True)
class _Job:
    """The cells of a stress test by key: two windows that learn from the same bars share a fit."""

    setup: Setup
    seeds: tuple[int, ...]
    spread: Spread
    cells: dict[str, Work] = field(default_factory=dict)

    def add(self, strategy: AnyStrategy) -> str:
        """Add the cells of a strategy and return the key of the one that has its result."""
        plan, after, variants = _plan(strategy, self.setup), [], []
        for seed in self.seeds if self.seeds and has_seed(strategy) else (None,):
            one = strategy if seed is None else with_seed(strategy, seed)
            after += self._fits(one, plan, "" if seed is None else f" seed {seed}")
            variants.append((seed, one))
        identities = [self.spread.identity(one) for _, one in variants]
        keep = None not in identities
        parts = ("stress", *identities, *after, self.setup.identity, versions_hash())
        key = hash_of(*parts) if keep else f"stress {strategy.name}"
        call = (tuple(variants), plan)
        self.cells[key] = Work(key, f"{strategy.name}, stressed", _stressed, call, tuple(after), keep=keep)
        return key

    def _fits(self, one: AnyStrategy, plan: Plan, tag: str) -> list[str]:
        """Add the fits of a strategy under one seed, and return their keys in the order of the plan."""
        identity, keys = self.spread.identity(one), []
        for name, windows in plan.items():
            if isinstance(windows, str):
                continue
            panel = self.setup.panel if name == WALK else self.setup.history
            label = f"{tag}, {name}" if name != WALK else tag
            for cell in fit_cells(one, panel, windows, self.setup.windowing.refit, identity, label):
                fit = replace(cell, call=_fit, args=(name, cell.call, *cell.args))
                self.cells.setdefault(cell.key, fit)
                keys.append(cell.key)
        return keys


def _plan(strategy: AnyStrategy, setup: Setup) -> Plan:
    """Return the windows that a strategy is fitted in, or why it cannot be, for the walk-forward and each replay."""
    unfit = reason_to_skip(strategy, setup.panel, setup.windows, setup.execution, setup.windowing.embargo_sessions)
    plan: dict[str, Any] = {WALK: setup.windows if unfit is None else unfit}
    for one in setup.scenarios:
        if one.kind == "replay":
            window = replay_window(strategy, one, setup)
            plan[one.name] = window if isinstance(window, str) else (window,)
    return plan


def _fit(setup: Setup, name: str, call: Callable[..., Any], *args: Any, **before: Any) -> Any:
    """Fit on the bars of the walk-forward, or on those that replays draw on."""
    panel: Panel = setup.panel if name == WALK else setup.history
    return call(panel, *args, **before)


def _stressed(
    setup: Setup,
    variants: Sequence[tuple[int | None, AnyStrategy]],
    plan: Plan,
    before: tuple[Outcome, ...] = (),
) -> Stressed:
    """Run one strategy; its ledgers leave their bars behind, which the other side has."""
    ended = iter(before)
    fitted = [
        Variant(
            seed,
            one,
            {name: [next(ended) for _ in windows] for name, windows in plan.items() if not isinstance(windows, str)},
        )
        for seed, one in variants
    ]
    result = stressed(fitted, plan, setup)
    cells = [
        cell if cell.ledger is None else replace(cell, ledger=replace(cell.ledger, panel=cell.ledger.panel[:1]))
        for cell in result.cells
    ]
    return result._replace(cells=cells)


def _answer(strategy: AnyStrategy, setup: Setup, outcome: Outcome) -> Stressed:
    """Return what a cell found, with the bars that its ledgers left behind."""
    if outcome.failure is not None:
        return Stressed([Skip(outcome.failure).cell(strategy, one) for one in setup.scenarios])
    result: Stressed = outcome.value
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
