"""One pass over all bars: what a strategy that has nothing to learn, or learnt elsewhere, would have done."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tradekit.engine.audit import audit
from tradekit.engine.copies import fit, fresh
from tradekit.engine.simulate import DEFAULT_CASH, simulate
from tradekit.engine.strategy import attempt
from tradekit.engine.walk_forward import StrategyRun, WalkForward, demand_distinct, reason_to_skip, scored_from, unseen
from tradekit.engine.windows import Window
from tradekit.errors import StrategyError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.engine.ledger import Ledger
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

    A strategy that ``fit`` changes, or that answers another object, has something to learn; it is skipped by name,
    since whatever it learnt here it would be judged on. So is one that raises or answers nonsense, which counts as a
    failure.

    Returns:
        a result without windows.

    Raises:
        StrategyError: two strategies of one name.
    """
    demand_distinct(strategies)
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    (span,) = unseen(strategies, panel, [Window(0, 0, 0, len(panel))], execution) or [Window(0, 0, 0, len(panel))]
    runs = []
    for done, strategy in enumerate(strategies):
        if progress:
            progress(done, len(strategies), strategy.name)
        runs.append(_run(strategy, panel, span.test_start, costs, execution, cash))
    if progress:
        progress(len(strategies), len(strategies), "done")
    return WalkForward(panel, None, tuple(runs), costs, execution, cash)


def _run(
    strategy: AnyStrategy, panel: Panel, start: int, costs: CostModel, execution: ExecutionModel, cash: float
) -> StrategyRun:
    kind = getattr(strategy, "kind", "custom")
    unfit = reason_to_skip(strategy, panel, [Window(0, 0, 0, len(panel))], execution)
    if unfit is not None:
        return StrategyRun(strategy.name, kind, None, skipped=unfit)
    try:
        ledger, failure = attempt(partial(_judge, strategy, kind, panel, start, costs, execution, cash))
    except StrategyError as error:
        return StrategyRun(strategy.name, kind, None, skipped=str(error), failed=True)
    if failure is not None:
        return StrategyRun(strategy.name, kind, None, skipped=f"it raised {failure}", failed=True)
    if ledger is None:
        return StrategyRun(strategy.name, kind, None, skipped=LEARNS)
    seen = scored_from(strategy, ledger)
    return StrategyRun(
        strategy.name, kind, ledger, scored_from=seen, audit=audit(strategy, panel, start=start, execution=execution)
    )


def _judge(
    strategy: AnyStrategy, kind: str, panel: Panel, start: int, costs: CostModel, execution: ExecutionModel, cash: float
) -> Ledger | None:
    """Return the ledger, None when there is something to learn; ``supervised`` saves a fit that is thrown away."""
    if kind == "supervised" or fit(strategy, panel).learnt:
        return None
    return simulate(fresh(strategy), panel, costs, execution, cash, start=start)
