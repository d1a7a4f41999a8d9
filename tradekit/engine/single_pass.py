"""One pass over all bars: what a strategy that has nothing to learn, or learnt elsewhere, would have done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradekit.engine.audit import audit
from tradekit.engine.simulate import DEFAULT_CASH, simulate
from tradekit.engine.walk_forward import StrategyRun, WalkForward, demand_distinct, reason_to_skip, scored_from
from tradekit.engine.windows import Window
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel

LEARNS = "it learns from bars, and a single pass has none to set aside; use --walk-forward"


def single_pass(
    strategies: Sequence[AnyStrategy],
    panel: Panel,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    progress: Callable[[int, int, str], None] | None = None,
) -> WalkForward:
    """Run every strategy over all of ``panel`` without fitting it, and audit it.

    A strategy whose ``fit`` answers another object than itself has something to learn; it is skipped by name, since whatever it
    learnt here it would be judged on.

    Returns:
        a result without windows.

    Raises:
        StrategyError: two strategies of one name, or a strategy answers nonsense.
    """
    demand_distinct(strategies)
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    runs = []
    for done, strategy in enumerate(strategies):
        if progress:
            progress(done, len(strategies), strategy.name)
        runs.append(_run(strategy, panel, costs, execution, cash))
    if progress:
        progress(len(strategies), len(strategies), "done")
    return WalkForward(panel, None, tuple(runs), costs, execution, cash)


def _run(
    strategy: AnyStrategy, panel: Panel, costs: CostModel, execution: ExecutionModel, cash: float
) -> StrategyRun:
    kind = getattr(strategy, "kind", "custom")
    skip = reason_to_skip(strategy, panel, [Window(0, 0, 0, len(panel))])
    if skip is None and _learns(strategy, kind, panel):
        skip = LEARNS
    if skip is not None:
        return StrategyRun(strategy.name, kind, None, skipped=skip)
    ledger = simulate(strategy, panel, costs, execution, cash)
    return StrategyRun(
        strategy.name, kind, ledger, scored_from=scored_from(strategy, ledger), audit=audit(strategy, panel)
    )


def _learns(strategy: AnyStrategy, kind: str, panel: Panel) -> bool:
    """Return whether ``fit`` makes another strategy; the declared kind saves a fit whose result is thrown away."""
    return kind == "supervised" or strategy.fit(panel) is not strategy
