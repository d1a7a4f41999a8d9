"""Trades won and lost: by hand, and the same from the lanes' tally as from the ledger of the same decisions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.learn.conftest import random_logits
from tests.panels import random_panel
from tradekit.engine.simulate import simulate
from tradekit.learn.actions import BUY_SMALL, HOLD, SELL_ALL, SELL_PARTIAL
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.lanes import FILLS, GAINED, LOST, PAID, SALES, TALLIES, TRADED, WINS
from tradekit.learn.network import FrozenPolicy, ask
from tradekit.learn.task import Task
from tradekit.learn.trades import tally_of, trades_of, trades_of_tally
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec

SPEC = FeatureSpec.named("return_1", "sma_gap_20")


def test_by_hand() -> None:
    """25 shares at 10, half sold at 12, the rest at 7, with 10 bp of spread on each fill."""
    rows = np.array([10.0] * 26 + [12.0, 7.0])[:, None]
    panel = replace(random_panel(len(rows), 1, close_only=True), close=rows)
    costs = replace(CostModel.preset("free"), spread_bps=10.0)
    env = SymbolEnv(Task(panel, SPEC, costs=costs, episode_bars=0, cash=1000.0))
    env.reset(options={"start": 24})
    for action in (BUY_SMALL, SELL_PARTIAL, SELL_ALL):
        env.step(action)
    tally = env.lanes.state.tally
    said = {name: tally[name] for name in range(TALLIES)}
    assert said == pytest.approx(
        {
            FILLS: 3,
            TRADED: 250.0 + 150.0 + 87.5,
            PAID: 0.25 + 0.15 + 0.0875,
            SALES: 2,
            WINS: 1,
            GAINED: 12.5 * (12.0 - 10.01) - 0.15,
            LOST: 12.5 * (10.01 - 7.0) + 0.0875,
        }
    )
    told = trades_of_tally(tally, steps=3, cash=1000.0, bars_per_year=252.0)
    assert (told.total_trades, told.win_rate) == (3, 0.5)
    assert told.turnover == pytest.approx(0.4875 / 3 * 252.0)
    assert math.isnan(told.cost_ratio)  # there was no profit for costs to take a share of


@pytest.mark.parametrize(
    ("costs", "execution"),
    [
        (CostModel(), ExecutionModel()),
        (CostModel(cash_interest_annual=0.05, commission_minimum=1.0, regulatory=1.0), ExecutionModel(latency_bars=1)),
    ],
)
def test_lanes_and_ledger_count_the_same(costs: CostModel, execution: ExecutionModel) -> None:
    panel = random_panel(300, 3)
    task = Task(panel, SPEC, costs=costs, execution=execution, start=30, episode_bars=0)
    policy = FrozenPolicy(random_logits(len(task.statistics.mean), 3), task.statistics)
    agent = SymbolAgent("random", SPEC, task.scheme, lambda raw, mask: ask(policy, raw, mask))
    ledger = simulate(agent, panel, costs, execution, 3.0 * task.cash, start=30)
    env = VectorSymbolEnv(task, 3)
    env.reset()
    for _ in range(269):
        env.lanes.step(ask(policy, env.raw, env.action_masks())[0], restart=False)
    assert tally_of(ledger) == pytest.approx(env.lanes.state.tally, rel=1e-9)
    told = trades_of(ledger)
    assert told.total_trades == len(ledger.orders) > 50
    gross = ledger.equity[-1] - ledger.equity[0] + ledger.total_cost
    assert told.cost_ratio == pytest.approx(ledger.total_cost / gross if gross > 0.0 else math.nan, nan_ok=True)
    assert 0.0 < told.win_rate < 1.0


def test_nothing_traded_has_no_ratios() -> None:
    env = SymbolEnv(Task(random_panel(60, 1), SPEC, episode_bars=0))
    env.reset()
    env.step(HOLD)
    told = trades_of_tally(env.lanes.state.tally, 1, 1e5, 252.0)
    assert told.total_trades == 0
    assert math.isnan(told.win_rate)
    assert math.isnan(told.profit_factor)
    assert told.turnover == 0.0
