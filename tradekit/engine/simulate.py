"""Drive a strategy over a panel under one or many cost scenarios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from tradekit.engine.ledger import ORDER, Ledger, order_table
from tradekit.engine.strategy import (
    AnyStrategy,
    ClosedLoop,
    EventAdapter,
    EventStrategy,
    KeepsExtras,
    Portfolios,
    Strategy,
    Targets,
    View,
    checked_weights,
    is_open_loop,
    numbers,
)
from tradekit.errors import StrategyError
from tradekit.market import kernel
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
    ledgers = _open_loop(strategy, run) if is_open_loop(strategy) else _closed_loop(as_closed_loop(strategy), run)
    return ledgers if many else ledgers[0]


def as_closed_loop(strategy: AnyStrategy) -> ClosedLoop:
    """Return ``strategy`` as a closed loop; event-style ones are wrapped."""
    if hasattr(strategy, "decide"):
        return strategy  # type: ignore[return-value]
    if not isinstance(strategy, EventStrategy):
        raise StrategyError(f"{type(strategy).__name__} is no strategy; an event strategy has name, fit and on_bar")
    return EventAdapter(strategy)


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
    table = cost_rows(run.costs, panel.bars_per_year)
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


def _closed_loop(strategy: ClosedLoop, run: Run) -> list[Ledger]:
    panel, execution, scenarios = run.panel, run.execution, len(run.costs)
    per = len(panel.symbols) if strategy.sleeves else 1
    width = 1 if strategy.sleeves else len(panel.symbols)
    batch = scenarios * per
    market = market_of(panel, execution, run.costs)
    table = cost_rows(run.costs, panel.bars_per_year)
    columns, scenario = np.tile(np.arange(per), scenarios), np.repeat(np.arange(scenarios), per)
    book = open_book(run.cash / per, columns, width, execution.latency_bars, scenario)
    fills = np.zeros((batch, width, kernel.FILL_COLUMNS))
    portfolios, state = Portfolios(book, fills), strategy.start(batch)
    equity, cash = np.empty((run.stop - run.start, batch)), np.empty((run.stop - run.start, batch))
    kept: list[Floats] = []
    tables: dict[str, Floats] = {}
    for t in range(run.start, run.stop):
        bars = np.full(batch, t)
        if t > run.start:
            kernel.advance(market, execution.rules, table, book, fills, bars)
            if run.records:
                kept.append(_order_rows(fills, t, execution.latency_bars))
        equity[t - run.start], cash[t - run.start] = book.equity, book.cash
        if t < run.stop - 1:
            targets = checked_targets(strategy, strategy.decide(View(panel, t, tables), portfolios, state), fills)
            kernel.place(market, execution.rules, book, bars, targets.values, targets.are_shares)
        if run.progress:
            run.progress(t - run.start + 1, run.stop - run.start)
    rows = np.concatenate(kept) if kept else np.empty((0, kernel.ORDER_COLUMNS))
    return [
        _closed_ledger(strategy, run, s, per, equity, cash, rows, book.carry.reshape(scenarios, per, 2), state)
        for s in range(scenarios)
    ]


def _closed_ledger(
    strategy: ClosedLoop,
    run: Run,
    s: int,
    per: int,
    equity: Floats,
    cash: Floats,
    rows: Floats,
    carry: Floats,
    state: Any,
) -> Ledger:
    mine = slice(s * per, (s + 1) * per)
    chosen = (rows[:, 2] >= mine.start) & (rows[:, 2] < mine.stop)
    orders = order_table(rows[chosen], run.start, first_portfolio=mine.start)
    if strategy.sleeves:
        orders["symbol"] = orders["portfolio"]
    return Ledger(
        name=strategy.name,
        panel=run.panel[run.start : run.stop],
        equity=equity[:, mine].sum(axis=1),
        cash=cash[:, mine].sum(axis=1),
        orders=orders,
        cost_model=run.costs[s],
        execution=run.execution,
        sleeve_equity=equity[:, mine].copy() if strategy.sleeves else None,
        borrow_paid=float(carry[s, :, 0].sum()),
        interest_earned=float(carry[s, :, 1].sum()),
        extras=strategy.extras(state, mine) if isinstance(strategy, KeepsExtras) else {},
    )


def _order_rows(fills: Floats, t: int, latency: int) -> Floats:
    """Return the (M, ORDER_COLUMNS) rows of the orders that were due in bar t."""
    portfolio, position = np.nonzero(fills[:, :, kernel.REQUESTED])
    rows = np.empty((len(portfolio), kernel.ORDER_COLUMNS))
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = t - 1 - latency, t, portfolio, position
    rows[:, 4:] = fills[portfolio, position]
    return rows


def checked_targets(strategy: ClosedLoop, targets: Targets, fills: Floats) -> Targets:
    """Return a closed loop's targets as a contiguous float64 (B, n) table, ``fills`` being (B, n, FILL_COLUMNS).

    Raises:
        StrategyError: wrong shape, infinite, or weights that ask for more than the whole equity.
    """
    if not isinstance(targets, Targets):
        raise StrategyError(f"{strategy.name}: decide answered {type(targets).__name__}; return Targets(values)")
    values = numbers(strategy.name, targets.values)
    if values.shape != fills.shape[:2]:
        raise StrategyError(f"{strategy.name}: targets have shape {values.shape}, expected {fills.shape[:2]}")
    if np.isinf(values).any():
        raise StrategyError(f"{strategy.name}: a target is infinite; use NaN to leave a position alone")
    if not targets.are_shares and (np.nansum(np.abs(values), axis=1) > 1.0 + 1e-9).any():
        raise StrategyError(f"{strategy.name}: weights add up to more than the whole equity; leverage is not modelled")
    return Targets(values, targets.are_shares)
