"""The job on the engines that take all scenarios in one call: tradekit and vectorbt.

Each function returns how to prepare the work of a job: what happens before the work starts is not timed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from bench.engine import Given
from bench.job import BARS, CASH, FEE, SLIPPAGE, STEP, SYMBOLS, Answer, before
from tradekit import CostModel, simulate

if TYPE_CHECKING:
    from bench.job import Job, Prepare, Work
    from tradekit.market.panel import Floats

COST = CostModel(
    commission_bps=FEE * 1e4,
    spread_bps=0,
    slippage_bps=SLIPPAGE * 1e4,
    slippage_mode="worst",
    impact_coefficient=0,
)


def tradekit(*, records: bool, threads: int) -> Prepare:
    """Return ``prepare`` of simulate, ledgers included."""

    def prepare(given: Job) -> Work:
        strategy, first = Given(given.weights), SLIPPAGE * 1e4
        costs = [replace(COST, slippage_bps=first + STEP * 1e4 * number) for number in range(given.scenarios)]

        def work() -> Answer:
            numba.set_num_threads(threads)
            ledgers = simulate(strategy, given.panel, costs, cash=CASH, records=records)
            return Answer(float(ledgers[0].equity[-1]), len(ledgers[0].orders))

        return work

    return prepare


def tiled(rows: Floats, scenarios: int) -> Floats:
    """Return the columns once for every scenario, which is how vectorbt takes them."""
    return np.tile(rows, (1, scenarios))


def slippages(scenarios: int) -> Floats:
    """Return the slippage of every column."""
    return np.repeat([SLIPPAGE + STEP * number for number in range(scenarios)], SYMBOLS)


def answered(portfolio: Any) -> Answer:
    """Have the portfolio valued, and read the first scenario."""
    value = np.asarray(portfolio.value()).reshape(BARS, -1)
    return Answer(float(value[-1, 0]), int((portfolio.order_records["col"] < SYMBOLS).sum()))


def from_orders(engine: str) -> Prepare:
    """Return ``prepare`` of vectorbt's from_orders, one group of columns per scenario."""

    def prepare(given: Job) -> Work:
        import vectorbt

        panel, scenarios = given.panel, given.scenarios
        options = {
            "close": tiled(panel.close, scenarios),
            "size": tiled(before(given.weights), scenarios),
            "price": tiled(panel.open, scenarios),
            "val_price": tiled(before(panel.close), scenarios),
            "slippage": slippages(scenarios)[None, :],
            "group_by": np.repeat(np.arange(scenarios), SYMBOLS),
            "max_orders": int(np.isfinite(given.weights).sum()) * scenarios,
        }

        def work() -> Answer:
            return answered(
                vectorbt.Portfolio.from_orders(
                    **options,
                    size_type="targetpercent",
                    fees=FEE,
                    init_cash=CASH,
                    cash_sharing=True,
                    call_seq="auto",
                    engine=engine,
                )
            )

        return work

    return prepare


def from_order_func(given: Job) -> Work:
    """Prepare vectorbt's from_order_func: sells first, skipping the bars in which nothing was asked."""
    import vectorbt
    from vectorbt.portfolio.enums import Direction, SizeType
    from vectorbt.portfolio.nb import order_nb, sort_call_seq_nb

    panel, scenarios = given.panel, given.scenarios
    share, long = int(SizeType.TargetPercent), int(Direction.LongOnly)

    @numba.njit
    def sells_first(c, weights, kind, side, size, value):  # type: ignore[no-untyped-def]
        for k in range(c.group_len):
            size[k] = weights[c.i, (c.from_col + k) % weights.shape[1]]
        sort_call_seq_nb(c, size, kind, side, value, ctx_select=False)
        return ()

    @numba.njit
    def ordered(c, weights, opens, slips):  # type: ignore[no-untyped-def]
        j = c.col % weights.shape[1]
        return order_nb(
            size=weights[c.i, j], price=opens[c.i, j], size_type=share, direction=long, fees=FEE, slippage=slips[c.col]
        )

    lagged = before(given.weights)
    options = {
        "close": tiled(panel.close, scenarios),
        "group_by": np.repeat(np.arange(scenarios), SYMBOLS),
        "segment_mask": np.tile(np.isfinite(lagged).any(axis=1, keepdims=True), (1, scenarios)),
        "max_orders": int(np.isfinite(given.weights).sum()) * scenarios,
    }
    arguments = (lagged, panel.open, slippages(scenarios))

    def work() -> Answer:
        return answered(
            vectorbt.Portfolio.from_order_func(
                options["close"],
                ordered,
                *arguments,
                pre_segment_func_nb=sells_first,
                pre_segment_args=(lagged, np.asarray(share), np.asarray(long), np.empty(SYMBOLS), np.empty(SYMBOLS)),
                group_by=options["group_by"],
                segment_mask=options["segment_mask"],
                max_orders=options["max_orders"],
                init_cash=CASH,
                cash_sharing=True,
                fill_pos_record=False,
                engine="numba",
            )
        )

    return work
