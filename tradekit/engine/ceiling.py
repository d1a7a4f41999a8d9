"""The ceiling: what perfect foresight of every price would have earned, as one more run beside the strategies.

It is a ruler and no baseline. It peeks, so it is not audited, and nothing is ever compared with it but as a share.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.engine.walk_forward import StrategyRun, WalkForward
from tradekit.market.optimum import foresight, side_cost

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel

NAME, KIND = "perfect_foresight", "ceiling"
# A purchase asks for this many times the equity, and the kernel cuts it to all that the cash pays for.
MORE_THAN_ALL = 1e3


def with_ceiling(result: WalkForward) -> WalkForward:
    """Return ``result`` with the run of perfect foresight over the bars that its strategies were judged on, the last.

    Without any strategy that ran there is nothing to measure, and the result is returned as it is.
    """
    ledger = next((run.ledger for run in result.runs if run.ledger is not None), None)
    if ledger is None:
        return result
    start = int(np.searchsorted(result.panel.timestamps, ledger.timestamps[0]))
    best = ceiling(result.panel, start, start + len(ledger.equity), result.costs, result.execution, result.cash)
    return replace(result, runs=(*result.runs, StrategyRun(NAME, KIND, best)))


def ceiling(panel: Panel, start: int, stop: int, costs: CostModel, execution: ExecutionModel, cash: float) -> Ledger:
    """Return what perfect foresight earns on the bars ``start <= t < stop``, in a sleeve of its own for each symbol.

    Each sleeve holds all or nothing, by exact dynamic programming (``foresight``). Of the costs it pays those that are
    in proportion to what is traded, and no more: impact, minimum commissions and dated fees depend on the size of an
    order, and without them the ceiling lies above whatever a strategy that pays them could do.

    Args:
        panel: all bars.
        start: row of the first decision.
        stop: row after the last bar.
        costs: of the run.
        execution: of the run; fills are at the same price of the bar, and nothing else of its rules binds.
        cash: dollars at the start, shared equally.
    """
    fair = replace(
        costs,
        impact_coefficient=0.0,
        commission_per_share=0.0,
        commission_minimum=0.0,
        regulatory=0.0,
        borrow_rate_annual=0.0,
        slippage_mode="expected" if costs.slippage_mode == "sampled" else costs.slippage_mode,
    )
    free = replace(
        execution,
        latency_bars=0,
        fractional=True,
        max_participation=None,
        min_trade=0.0,
        cash_buffer=0.0,
        allow_short=False,
    )
    wanted = np.zeros(panel.close.shape)
    wanted[start:stop] = foresight(panel[start:stop], side_cost(fair), execution.fills_at(panel)).exposure
    return simulate(_Oracle(wanted), panel, fair, free, cash, start=start, stop=stop)


class _Oracle:
    """A closed loop over sleeves that holds what a table (T, N) of 0 and 1 says."""

    name, sleeves = NAME, True

    def __init__(self, wanted: Floats) -> None:
        self._wanted = wanted

    def fit(self, train: Panel) -> _Oracle:
        return self

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        wanted = self._wanted[view.bar, portfolios.column][:, None]
        shares = portfolios.shares
        purchase = MORE_THAN_ALL * portfolios.equity[:, None] / view.mark[portfolios.column][:, None]
        return Targets(np.where(wanted > 0.0, np.where(shares > 0.0, 0.0, purchase), -shares), are_shares=True)
