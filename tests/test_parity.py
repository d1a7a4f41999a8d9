"""Parity: one bundle on the same bars decides and earns the same in environment, backtest and paper session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learn.conftest import untrained
from tradekit import load_panel, simulate
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.recipe import Recipe
from tradekit.learn.task import Task
from tradekit.live.journal import read_events
from tradekit.live.session import start as run_session
from tradekit.live.spec import SessionSpec
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Floats, Panel

CASH = 100_000.0
RULES = [
    (CostModel(), ExecutionModel()),
    (CostModel(slippage_mode="sampled", commission_minimum=1.0), ExecutionModel(latency_bars=2, fractional=False)),
]


def task_of(policy: PolicyStrategy, panel: Panel, costs: CostModel, execution: ExecutionModel, start: int) -> Task:
    """Return all bars from ``start``, in order, as the policy's environment: one equal sleeve a symbol."""
    return Task(
        panel,
        policy.features,
        scheme=policy.scheme,
        costs=costs,
        execution=execution,
        start=start,
        episode_bars=0,
        cash=CASH / len(panel.symbols),
    )


def walk(policy: PolicyStrategy, env: SymbolEnv) -> tuple[list[int], Floats]:
    """Return the actions and the equity of one episode driven by the bundle, one observation at a time."""
    env.reset()
    actions, equity, ended = [], [env.equity], False
    while not ended:
        action, _ = policy.bundle.decide(env.raw[None], env.action_masks()[None])
        actions.append(int(action[0]))
        _, _, terminated, truncated, _ = env.step(action[0])
        equity.append(env.equity)
        ended = terminated or truncated
    return actions, np.array(equity)


def walk_all(policy: PolicyStrategy, env: VectorSymbolEnv) -> tuple[Floats, Floats]:
    """Return actions (T - 1, B) and equity (T, B) of one episode in every lane."""
    env.reset()
    actions, equity = [], [env.lanes.state.book.equity.copy()]
    for _ in range(env.lanes.task.end - 1 - env.lanes.task.start):
        action, _ = policy.bundle.decide(env.raw, env.action_masks())
        # Stepped as the environment steps, but without the new episode, which would hide the last equity.
        env.lanes.step(action, restart=False)
        actions.append(action)
        equity.append(env.lanes.state.book.equity.copy())
    return np.array(actions), np.array(equity)


def demand_session(policy: PolicyStrategy, ledger: Ledger, spec: SessionSpec, desk: Path) -> None:
    """Run a local session and demand, bar by bar, the orders and the equity of ``ledger``, of the same bars."""
    session = run_session(spec, policy, desk)
    said = {key: session.report[key] for key in ("decision_parity", "equity_difference", "duplicate_orders")}
    assert said == {"decision_parity": 1.0, "equity_difference": 0.0, "duplicate_orders": 0}
    assert session.report["equity"] == pytest.approx(ledger.equity.tolist(), rel=1e-9)
    decisions = [event.body["orders"] for event in read_events(session.journal) if event.kind == "decision"]
    asked: list[dict[str, float]] = [{} for _ in decisions]
    for order in ledger.orders:
        asked[order["decision_bar"]][ledger.symbols[order["symbol"]]] = float(order["requested"])
    assert [{symbol: shares for symbol, shares, _ in orders} for orders in decisions] == asked


def demand_parity(policy: PolicyStrategy, panel: Panel, rules: tuple[CostModel, ExecutionModel], start: int) -> Ledger:
    ledger = simulate(policy, panel, rules[0], rules[1], CASH, start=start)
    chosen, sleeves = ledger.extras["chosen"][:-1], ledger.sleeve_equity
    assert sleeves is not None
    task = task_of(policy, panel, rules[0], rules[1], start)
    many, equities = walk_all(policy, VectorSymbolEnv(task, len(panel.symbols)))
    assert np.array_equal(many, chosen)
    assert np.array_equal(equities, sleeves)
    for column in (0, len(panel.symbols) - 1):
        actions, equity = walk(policy, SymbolEnv(task, panel.symbols[column]))
        assert actions == chosen[:, column].tolist()
        assert np.array_equal(equity, sleeves[:, column])
    assert ledger.equity == pytest.approx(equities.sum(axis=1), rel=1e-9)
    assert len(ledger.orders) > 20
    assert len(np.unique(chosen)) > 2
    return ledger


@pytest.fixture(scope="module")
def shipped(repository: Path) -> PolicyStrategy:
    return PolicyStrategy.load(repository / "policies" / "symbol_ppo")


@pytest.mark.parametrize("rules", RULES, ids=["default", "latency, whole shares, sampled slippage"])
def test_the_shipped_bundle_on_the_sample(
    shipped: PolicyStrategy, sample: Panel, rules: tuple[CostModel, ExecutionModel]
) -> None:
    demand_parity(shipped, sample, rules, int(np.searchsorted(sample.timestamps, shipped.seen_end)) + 1)


@pytest.mark.parametrize("rules", RULES, ids=["default", "latency, whole shares, sampled slippage"])
def test_a_policy_of_hourly_bars(shared_data: Path, tmp_path: Path, rules: tuple[CostModel, ExecutionModel]) -> None:
    panel = load_panel(shared_data / "hourly_ibkr", start="2024-06-01")
    policy = PolicyStrategy(untrained(Recipe(name="hourly"), panel, tmp_path / "bundle"))
    assert policy.bundle.data["fill_at"] == "open"
    demand_parity(policy, panel, rules, policy.lookback)


def test_the_shipped_bundle_in_all_three(shipped: PolicyStrategy, sample: Panel, tmp_path: Path) -> None:
    bars = 400
    ledger = demand_parity(shipped, sample, RULES[0], len(sample) - bars)
    demand_session(shipped, ledger, SessionSpec(bars=bars), tmp_path)


def test_hourly_bars_in_all_three(shared_data: Path, tmp_path: Path) -> None:
    source, bars = str(shared_data / "hourly_ibkr"), 150
    panel = load_panel(source)
    policy = PolicyStrategy(untrained(Recipe(name="hourly"), panel, tmp_path / "bundle"))
    ledger = demand_parity(policy, panel, RULES[0], len(panel) - bars)
    demand_session(policy, ledger, SessionSpec(data=source, bars=bars), tmp_path)
