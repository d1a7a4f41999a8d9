"""Masks off, legacy masks, stop rules, stacked bars: the environment and the backtest do the same, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.learn.conftest import random_logits
from tests.panels import random_panel
from tradekit.engine.simulate import simulate
from tradekit.learn.actions import (
    BUY_LARGE,
    HOLD,
    SELL_ALL,
    ActionScheme,
)
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.network import FrozenPolicy, ask
from tradekit.learn.observations import Stacked
from tradekit.learn.task import Task
from tradekit.learn.telemetry import action_statistics
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Panel

SPEC = FeatureSpec.named("return_1", "sma_gap_20")
BARS = 300
SCHEMES: dict[str, dict[str, Any]] = {
    "masks": {},
    "no masks": {"masking": False},
    "no masks, no limit": {"masking": False, "max_consecutive_actions": 0},
    "legacy": {"masking": "legacy", "max_consecutive_actions": 0},
    "stop rules": {"stop_loss": 0.02, "take_profit": 0.03, "max_hold": 12},
    "stop rules, no masks": {"masking": False, "stop_loss": 0.02, "take_profit": 0.03, "max_hold": 12},
    "fewer actions": {"masking": False, "disabled_actions": ["BUY_LARGE", "SELL_PARTIAL"]},
}


@pytest.fixture(scope="module")
def bars() -> Panel:
    """Return bars of which some are halted."""
    panel = random_panel(BARS, 3)
    panel.tradable.setflags(write=True)
    panel.tradable[np.random.default_rng(5).random(panel.tradable.shape) < 0.03] = False
    panel.tradable.setflags(write=False)
    return panel


def both(panel: Panel, task: Task) -> tuple[Ledger, dict[str, Any]]:
    """Return a backtest of a random policy, and what the environments recorded when driven by the same policy."""
    policy = FrozenPolicy(random_logits(len(task.statistics.mean), 3), task.statistics)

    def decide(raw: Any, mask: Any) -> Any:
        return ask(policy, raw, mask)

    agent = SymbolAgent("random", SPEC, task.scheme, decide, task.stacked_bars)
    ledger = simulate(agent, panel, task.costs, task.execution, 3.0 * task.cash, start=task.start)
    env = VectorSymbolEnv(task, 3)
    env.reset()
    kept: dict[str, list[Any]] = {name: [] for name in ("chosen", "executed", "reason", "choices", "equity")}
    for _ in range(task.end - 1 - task.start):
        chosen, _ = decide(env.raw, env.action_masks())
        kept["choices"].append(env.action_masks().sum(axis=1))
        env.lanes.step(chosen, restart=False)
        for name, row in (("chosen", chosen), ("equity", env.lanes.state.book.equity)):
            kept[name].append(row.copy())
        for name in ("executed", "reason"):
            kept[name].append(getattr(env.lanes.outcome, name).copy())
    return ledger, {name: np.array(rows) for name, rows in kept.items()}


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(
    ("costs", "execution"),
    [
        (CostModel(), ExecutionModel()),
        (CostModel(slippage_mode="sampled"), ExecutionModel(latency_bars=2, fractional=False)),
    ],
    ids=["default", "latency"],
)
@pytest.mark.parametrize("stacked", [1, 4])
def test_environment_and_backtest_agree(
    bars: Panel, name: str, costs: CostModel, execution: ExecutionModel, stacked: int
) -> None:
    scheme = ActionScheme.from_dict(SCHEMES[name])
    task = Task(
        bars,
        SPEC,
        scheme=scheme,
        costs=costs,
        execution=execution,
        start=SPEC.lookback + stacked,
        episode_bars=0,
        stacked_bars=stacked,
    )
    ledger, kept = both(bars, task)
    for key in ("chosen", "executed", "reason", "choices"):
        assert np.array_equal(ledger.extras[key][:-1], kept[key]), key
    assert ledger.sleeve_equity is not None
    assert np.array_equal(ledger.sleeve_equity[1:], kept["equity"])
    statistics = action_statistics(ledger)
    if scheme.masking is False:
        assert statistics.not_allowed > 0
    else:
        assert statistics.not_allowed == 0
    assert (statistics.forced_exits > 0) == ("stop rules" in name)


def drive(task: Task, actions: list[int]) -> list[tuple[str, str]]:
    """Return what was executed and why."""
    env = SymbolEnv(task)
    env.reset(options={"start": 24})
    return [(info["executed"], info["reason"]) for *_, info in map(env.step, actions)]


def priced(*closes: float, **settings: Any) -> Task:
    """Return 25 bars at 10 and the given ones; an order fills at the close of the next bar, free of cost."""
    rows = np.array([10.0] * 25 + list(closes))[:, None]
    panel = replace(random_panel(len(rows), 1, close_only=True), close=rows)
    known = {"episode_bars": 0, **settings}
    return Task(panel, FeatureSpec.named("return_1", "sma_gap_20"), costs=CostModel.preset("free"), **known)


@pytest.mark.parametrize(
    ("rule", "closes", "reason"),
    [
        ({"stop_loss": 0.1}, (10.0, 9.1, 8.9, 9.0), "stop_loss"),
        ({"take_profit": 0.1}, (10.0, 10.9, 11.0, 9.0), "take_profit"),
        ({"max_hold": 3}, (10.0, 10.0, 10.0, 10.0), "max_hold"),
    ],
)
def test_a_stop_rule_sells_all_at_the_first_bar_that_meets_it(
    rule: dict[str, float], closes: tuple[float, ...], reason: str
) -> None:
    scheme = ActionScheme.from_dict(rule)
    steps = drive(priced(*closes, 10.0, scheme=scheme), [BUY_LARGE, HOLD, HOLD, HOLD, HOLD])
    held = ("HOLD", "as_chosen")
    assert steps == [("BUY_LARGE", "as_chosen"), held, held, ("SELL_ALL", reason), held]


def test_a_forced_exit_is_all_that_can_be_chosen() -> None:
    env = SymbolEnv(priced(10.0, 8.0, 8.0, scheme=ActionScheme(stop_loss=0.1, disabled_actions=("SELL_ALL",))))
    env.reset(options={"start": 24})
    env.step(BUY_LARGE)
    env.step(HOLD)
    assert np.flatnonzero(env.action_masks()).tolist() == [SELL_ALL]


def test_liquidation_ends_the_episode_in_cash() -> None:
    for latency in (0, 1, 2):
        closes = [10.0] * 8
        task = priced(*closes, liquidate=True, execution=ExecutionModel(latency_bars=latency))
        env = SymbolEnv(task)
        env.reset(options={"start": 24})
        done, steps = False, []
        while not done:
            action = BUY_LARGE if env.action_masks()[BUY_LARGE] else int(env.action_masks().argmax())
            *_, done, info = env.step(action)
            steps.append((info["executed"], info["reason"]))
        assert env.lanes.state.book.shares[0, 0] == 0.0
        assert ("SELL_ALL", "episode_end") in steps
        assert steps.count(("BUY_LARGE", "as_chosen")) == 1
        # Without it the position is marked to market.
        env = SymbolEnv(priced(*closes))
        env.reset(options={"start": 24})
        for action in [BUY_LARGE] + [HOLD] * 7:
            env.step(action)
        assert env.lanes.state.book.shares[0, 0] > 0.0


def test_without_masks_what_is_impossible_is_refused_and_what_is_repeated_is_held() -> None:
    scheme = ActionScheme(masking=False, smallest_trade=1e-9)
    task = priced(*[10.0] * 9, scheme=scheme)
    env = SymbolEnv(task)
    env.reset(options={"start": 24})
    assert env.action_masks().all()
    halves = [4] * 4
    assert [reason for _, reason in drive(task, [SELL_ALL, BUY_LARGE, BUY_LARGE, *halves, 4])] == [
        "not_allowed",
        "as_chosen",
        "not_allowed",
        "as_chosen",
        "as_chosen",
        "as_chosen",
        "repeat_limit",
        "as_chosen",
    ]


def test_a_legacy_buy_adds_to_the_position_until_it_is_whole() -> None:
    env = SymbolEnv(priced(*[10.0] * 6, scheme=ActionScheme(masking="legacy", max_consecutive_actions=0), cash=1000.0))
    env.reset(options={"start": 24})
    shares = []
    for _ in range(6):
        assert env.action_masks()[1:4].all()
        env.step(1)
        shares.append(float(env.lanes.state.book.shares[0, 0]))
    assert shares == [25.0, 50.0, 75.0, 100.0, 100.0, 100.0]


def test_stacked_features_are_those_of_each_bar_alone() -> None:
    panel = random_panel(60, 2)
    stacked = Stacked(SPEC.names, 3)
    table, plain = stacked.compute(panel), SPEC.compute(panel)
    assert stacked.lookback == SPEC.lookback + 2
    assert stacked.content_hash != SPEC.content_hash
    for k in range(3):
        assert np.array_equal(table[2:, :, 2 * k : 2 * k + 2], plain[2 - k : 60 - k], equal_nan=True)
    assert np.isnan(table[0, :, 2:]).all()
    # A window of the lookback's length is enough for its last row.
    assert np.array_equal(stacked.compute(panel[30 : 30 + stacked.lookback])[-1], table[29 + stacked.lookback])
