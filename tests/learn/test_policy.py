"""PolicyStrategy in the engine: what it records, and which data it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learn.conftest import quick, untrained
from tests.panels import intraday, random_panel
from tradekit.engine.audit import audit
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import ClosedLoop, KeepsExtras
from tradekit.errors import BundleError
from tradekit.learn.actions import (
    BUY_LARGE,
    BUY_MEDIUM,
    BUY_SMALL,
    HOLD,
    NO_DECISION,
    NOT_TRADABLE,
    SELL_ALL,
    SELL_PARTIAL,
)
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.recipe import DataChoice
from tradekit.learn.telemetry import action_statistics, verdict
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.bundle import Bundle
    from tradekit.market.panel import Panel


@pytest.fixture
def policy(bundle: Bundle) -> PolicyStrategy:
    return PolicyStrategy.load(bundle.folder)


def test_is_a_closed_loop_in_sleeves(policy: PolicyStrategy) -> None:
    assert isinstance(policy, ClosedLoop)
    assert isinstance(policy, KeepsExtras)
    assert (policy.sleeves, policy.kind, policy.lookback) == (True, "policy", 20)


def test_what_it_did_matches_what_was_ordered(policy: PolicyStrategy, panel: Panel) -> None:
    ledger = simulate(policy, panel)
    chosen, executed = ledger.extras["chosen"], ledger.extras["executed"]
    assert chosen.shape == executed.shape == ledger.extras["reason"].shape == (300, 3)
    assert (chosen[-1] == NO_DECISION).all()
    assert np.isnan(ledger.extras["entropy"][-1]).all()
    ordered = np.zeros((300, 3), np.bool_)
    ordered[ledger.orders["decision_bar"], ledger.orders["portfolio"]] = True
    assert np.array_equal(ordered[:-1], executed[:-1] != HOLD)
    assert np.array_equal(chosen, executed)  # the mask is part of the policy, so nothing is refused
    sells = np.isin(executed[ledger.orders["decision_bar"], ledger.orders["portfolio"]], (SELL_PARTIAL, SELL_ALL))
    assert np.array_equal(sells, ledger.orders["requested"] < 0.0)
    assert (ledger.extras["entropy"][:-1] >= 0.0).all()


def test_scenarios_do_not_share_memory(policy: PolicyStrategy, panel: Panel) -> None:
    costs = [CostModel(), CostModel().shocked(5.0)]
    together = simulate(policy, panel, costs)
    for cost, ledger in zip(costs, together, strict=True):
        alone = simulate(policy, panel, cost)
        assert np.array_equal(alone.equity, ledger.equity)
        assert np.array_equal(alone.extras["executed"], ledger.extras["executed"])


def test_what_is_on_order_counts_as_a_position(policy: PolicyStrategy, panel: Panel) -> None:
    ledger = simulate(policy, panel, execution=ExecutionModel(latency_bars=3))
    assert ledger.positions.min() >= 0.0
    for column in ledger.extras["executed"][:-1].T:
        acted = column[column != HOLD]
        bought = np.isin(acted, (BUY_SMALL, BUY_MEDIUM, BUY_LARGE))
        assert bought.any()
        assert not (bought[1:] & bought[:-1]).any()  # a buy on its way is not repeated


def test_a_halt_is_held(policy: PolicyStrategy, panel: Panel) -> None:
    tradable = panel.tradable.copy()
    tradable[100:105, 1] = False
    ledger = simulate(policy, replace(panel, tradable=tradable))
    assert (ledger.extras["executed"][100:105, 1] == HOLD).all()
    assert (ledger.extras["reason"][100:105, 1] == NOT_TRADABLE).all()
    assert (ledger.extras["reason"][100:105, 0] != NOT_TRADABLE).all()


def test_passes_the_audit(policy: PolicyStrategy, panel: Panel) -> None:
    assert audit(policy, panel).passed


def test_the_data_it_was_trained_for(policy: PolicyStrategy, panel: Panel) -> None:
    policy.check(panel, ExecutionModel(latency_bars=3))
    mend = "train there with: tradekit train --data random"
    with pytest.raises(BundleError) as caught:
        policy.check(intraday(panel, 7), ExecutionModel())
    assert str(caught.value) == (
        f"quick was trained on 1D bars with fills at the open, and random has 1h bars with fills at the open; {mend}"
    )
    with pytest.raises(BundleError, match=f"random has 1D bars with fills at the close; {mend}"):
        policy.check(random_panel(300, 3, close_only=True), ExecutionModel())


def test_fills_are_those_of_the_run(panel: Panel, policy: PolicyStrategy, tmp_path: Path) -> None:
    at_close = ExecutionModel(fill_at="close")
    closes = PolicyStrategy(untrained(replace(quick(), execution=at_close), panel, tmp_path / "bundle"))
    closes.check(panel, at_close)
    closes.check(random_panel(300, 3, close_only=True), ExecutionModel())
    for refused, execution, trained, given in (
        (closes, ExecutionModel(), "close", "open"),
        (policy, at_close, "open", "close"),
    ):
        with pytest.raises(BundleError) as caught:
            refused.check(panel, execution)
        assert str(caught.value) == (
            f"quick was trained on 1D bars with fills at the {trained}, and random has 1D bars with fills at the "
            f'{given}; set fill_at = "{trained}" in [execution]'
        )


def test_a_feature_of_another_benchmark_is_refused(panel: Panel, policy: PolicyStrategy, tmp_path: Path) -> None:
    recipe = replace(quick(), data=DataChoice(features=("return_1", "relative_strength_20")))
    against = PolicyStrategy(untrained(recipe, panel, tmp_path / "bundle"))
    against.check(panel, ExecutionModel())
    other = replace(panel, benchmark_name="SPY")
    with pytest.raises(BundleError) as caught:
        against.check(other, ExecutionModel())
    assert str(caught.value) == (
        "quick: relative_strength_20 was trained with the benchmark equal_weight, and random has SPY; "
        'set benchmark = "equal_weight" in the spec, or train there with: tradekit train --data random'
    )
    policy.check(other, ExecutionModel())  # it sees nothing of the benchmark


def test_statistics_count_what_filled(policy: PolicyStrategy, panel: Panel) -> None:
    free = action_statistics(simulate(policy, panel))
    assert free.decisions == 299 * 3
    assert free.total_trades == int(free.chosen[1:].sum())
    assert np.array_equal(free.chosen, free.executed)
    # Where hardly any volume may be taken, orders come to nothing and do not count as trades.
    shut = replace(panel, volume=np.where(np.arange(300)[:, None] % 2, panel.volume, 0.0))
    stuck = action_statistics(simulate(policy, shut, execution=ExecutionModel(max_participation=0.01)))
    assert stuck.unfilled > 0
    assert stuck.total_trades == int(stuck.chosen[1:].sum()) - stuck.unfilled
    assert stuck.executed.sum() == stuck.chosen.sum() == stuck.decisions


def test_the_verdict(policy: PolicyStrategy, panel: Panel) -> None:
    statistics = action_statistics(simulate(policy, panel))
    assert verdict(statistics, 0.5)[0]
    assert verdict(statistics, 0.5)[1].startswith("trades: validation Sharpe 0.50, ")
    assert verdict(replace(statistics, exposure=0.049), 0.5)[1].startswith("hardly invests: ")
    assert verdict(replace(statistics, trades_per_year=0.5), 0.5)[1].startswith("buys and holds: ")
    assert "entropy 0.05 nats is low" in verdict(replace(statistics, policy_entropy=0.05), 0.5)[1]
    assert verdict(replace(statistics, policy_entropy=np.nan), 0.5) == (
        False,
        "collapsed: the policy's probabilities are not finite; lower the learning rate",
    )
    assert not verdict(statistics, np.nan)[0]
    assert not verdict(replace(statistics, executed=np.array([5, 0, 0, 0, 0, 0, 0])), 0.5)[0]
