"""Drive a strategy over a panel under one or many cost scenarios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from tradekit.engine.ledger import ORDER, Ledger
from tradekit.engine.lockstep import Job, Stretch, run_lockstep
from tradekit.engine.strategy import AnyStrategy, Strategy, as_closed_loop, checked_weights, is_open_loop
from tradekit.errors import StrategyError
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of, open_book
from tradekit.market.sweep import most_orders, run_weights

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

Progress = Callable[[int, int], None]
DEFAULT_CASH = 100_000.0


class Run(NamedTuple):
    """What every run of one call shares."""

    panel: Panel
    costs: Sequence[CostModel]
    execution: ExecutionModel
    cash: float
    start: int
    stop: int
    records: bool
    progress: Progress | None


@overload
def simulate(
    strategy: AnyStrategy,
    panel: Panel,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    *,
    start: int = 0,
    stop: int | None = None,
    records: bool = True,
    progress: Progress | None = None,
) -> Ledger: ...
@overload
def simulate(
    strategy: AnyStrategy,
    panel: Panel,
    costs: Sequence[CostModel],
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    *,
    start: int = 0,
    stop: int | None = None,
    records: bool = True,
    progress: Progress | None = None,
) -> list[Ledger]: ...
def simulate(
    strategy: AnyStrategy,
    panel: Panel,
    costs: CostModel | Sequence[CostModel] | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    *,
    start: int = 0,
    stop: int | None = None,
    records: bool = True,
    progress: Progress | None = None,
) -> Ledger | list[Ledger]:
    """Run ``strategy`` over the bars ``start <= t < stop`` of ``panel``.

    The first decision is made after bar ``start`` closed and fills at ``start + 1``; bars before ``start`` are history
    that the strategy may look at, as many as its ``lookback`` says, all when it says nothing. Open-loop strategies run
    all scenarios in one kernel call, closed-loop ones in lockstep with one ``decide`` call per bar for all portfolios
    of every scenario.

    Args:
        strategy: see tradekit.engine.strategy.
        panel: the bars.
        costs: one cost model, or a sequence: one scenario, and one Ledger, each. Default: the ``realistic`` preset.
        execution: default: fills at the next open, or the next close of close-only data.
        cash: dollars at the start, > 0.
        start: row of the first decision.
        stop: row after the last bar; default: all.
        records: keep order records; without them a Ledger has equity and cash only, and thousands of scenarios are
            cheap.
        progress: called with (bars done, bars in all) by closed-loop runs.

    Raises:
        StrategyError: the strategy answers targets of a wrong shape, infinite, or above the whole equity.
        DataError: the data lacks a column that a model needs.
    """
    many = isinstance(costs, Sequence)
    scenarios = list(costs) if isinstance(costs, Sequence) else [costs or CostModel()]
    if not scenarios:
        return []
    stop = len(panel) if stop is None else stop
    if not 0 <= start < stop <= len(panel):
        raise StrategyError(f"cannot run bars {start} to {stop} of {len(panel)}")
    if not (np.isfinite(cash) and cash > 0):
        raise StrategyError(f"cash is {cash}; it must be positive dollars")
    run = Run(panel, scenarios, execution or ExecutionModel(), float(cash), start, stop, records, progress)
    ledgers = _open_loop(strategy, run) if is_open_loop(strategy) else _closed_loop(strategy, run)
    return ledgers if many else ledgers[0]


def _open_loop(strategy: AnyStrategy, run: Run) -> list[Ledger]:
    if not isinstance(strategy, Strategy):
        raise StrategyError(
            f"{type(strategy).__name__} is no strategy; it has name, fit, and one of weights, on_bar or decide"
        )
    lookback = getattr(strategy, "lookback", None)
    first = 0 if lookback is None else max(0, run.start + 1 - lookback)
    piece = run.panel[first : run.stop]
    table = np.full(run.panel.close.shape, np.nan)
    table[first : run.stop] = checked_weights(strategy.name, strategy.weights(piece), piece, run.execution)
    return run_table(strategy.name, table, run)


def run_table(name: str, weights: Floats, run: Run) -> list[Ledger]:
    """Run one checked (T, N) table of weights under every scenario of ``run``."""
    panel, execution, scenarios = run.panel, run.execution, len(run.costs)
    market = market_of(panel, execution, run.costs)
    book = open_book(run.cash, [0] * scenarios, len(panel.symbols), execution.latency_bars, range(scenarios))
    most = most_orders(book, weights, run.start, run.stop) if run.records else 0
    orders = np.empty((scenarios, most), ORDER)
    table = cost_rows(run.costs)
    equity, cash, counts = run_weights(market, execution.rules, table, book, weights, run.start, run.stop, orders)
    piece = panel[run.start : run.stop]
    return [
        Ledger(
            name=name,
            panel=piece,
            equity=equity[s],
            cash=cash[s],
            orders=orders[s, : counts[s]],
            cost_model=cost,
            execution=execution,
            borrow_paid=float(book.carry[s, 0]),
            interest_earned=float(book.carry[s, 1]),
        )
        for s, cost in enumerate(run.costs)
    ]


def _closed_loop(strategy: AnyStrategy, run: Run) -> list[Ledger]:
    windows = [Stretch(run.panel, run.start, run.stop)]
    job = Job(windows, [0], run.costs, run.execution, run.cash, run.records, run.progress)
    return run_lockstep(as_closed_loop(strategy), job)
