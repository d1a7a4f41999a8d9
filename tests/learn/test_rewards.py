"""Rewards: settings, presets, and every component worked by hand on a small market."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.panels import random_panel
from tradekit.errors import ConfigError
from tradekit.learn.actions import (
    ADD_POSITION,
    BUY_LARGE,
    BUY_SMALL,
    HOLD,
    SELL_ALL,
    SELL_PARTIAL,
    ActionScheme,
)
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.rewards import PRESETS, SHAPING, Reward, Shaping
from tradekit.learn.scoring import COMPONENTS
from tradekit.learn.task import Task
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Floats, Panel

FREE = CostModel.preset("free")
START = 24


def market(*closes: float) -> Panel:
    """Return a panel whose 25th close is 10 and whose next ones are given; orders fill at the close of the next bar."""
    rows = np.array([10.0] * (START + 1) + list(closes))[:, None]
    base = random_panel(len(rows), 1, close_only=True)
    return replace(base, close=rows)


def earned(
    reward: Reward,
    closes: Sequence[float],
    actions: Sequence[int],
    costs: CostModel = FREE,
    scheme: ActionScheme | None = None,
) -> list[dict[str, float]]:
    """Return the components of every step of a sleeve of 1,000 dollars."""
    task = Task(
        market(*closes),
        FeatureSpec.named("return_1", "sma_gap_20"),
        reward=reward,
        costs=costs,
        scheme=scheme or ActionScheme(),
        episode_bars=0,
        cash=1000.0,
    )
    env = SymbolEnv(task)
    env.reset(options={"start": START})
    return [dict(env.step(action)[4]["reward_parts"]) for action in actions]


def only(component: str, **shaping: Any) -> Reward:
    return Reward("minimal", 1.0, {"log_return": 0.0, component: 1.0}, shaping)


def series(component: str, closes: Sequence[float], actions: Sequence[int], **more: Any) -> list[float]:
    shaping = {name: value for name, value in more.items() if name not in ("costs", "scheme")}
    said = {name: value for name, value in more.items() if name in ("costs", "scheme")}
    return [row[component] for row in earned(only(component, **shaping), closes, actions, **said)]


def test_minimal_is_the_log_return_in_percent() -> None:
    reward = Reward()
    task = Task(market(20.0, 30.0), FeatureSpec.named("return_1"), reward=reward, costs=FREE, episode_bars=0)
    env = SymbolEnv(task)
    env.reset(options={"start": START})
    env.step(BUY_LARGE)  # filled at 20
    assert env.step(HOLD)[1] == pytest.approx(100.0 * np.log(1.5))
    assert reward.of_components == {**dict.fromkeys(COMPONENTS, 0.0), "log_return": 1.0}


# A quarter of 1,000 dollars at 10 is 25 shares.


def test_pnl_is_the_change_of_equity_over_the_initial_capital() -> None:
    # Bought at 10, then 12, then sold at 8.
    assert series("pnl", [10.0, 12.0, 8.0], [BUY_SMALL, HOLD, SELL_ALL]) == pytest.approx([0.0, 0.05, -0.1])


def test_realised_only() -> None:
    # Half of 25 shares are sold at 12 and the rest at 8: +2 x 12.5, then -2 x 12.5 dollars.
    actions = [BUY_SMALL, SELL_PARTIAL, SELL_ALL]
    assert series("pnl", [10.0, 12.0, 8.0], actions, unrealised_weight=0.0) == pytest.approx([0.0, 0.025, -0.025])
    # A quarter of what is unrealised: +2 x 12.5 is left open at 12, and lost at 8 with 2 x 12.5 more realised.
    quarter = series("pnl", [10.0, 12.0, 8.0], actions, unrealised_weight=0.25)
    assert quarter == pytest.approx([0.0, 0.025 + 0.00625, -0.025 - 0.00625])


def test_realised_and_unrealised_add_up_to_the_change_of_equity() -> None:
    closes, actions = [10.0, 11.0, 12.0, 9.0], [BUY_SMALL, ADD_POSITION, SELL_PARTIAL, SELL_ALL]
    costs = CostModel()
    whole = series("pnl", closes, actions, costs=costs)
    realised = series("pnl", closes, actions, costs=costs, unrealised_weight=0.0)
    doubled = series("pnl", closes, actions, costs=costs, unrealised_weight=2.0)
    assert 2.0 * np.array(whole) - np.array(realised) == pytest.approx(np.array(doubled))
    assert np.sum(whole) == pytest.approx(np.sum(realised))  # all is sold in the end


def test_the_roi_multiplier_is_clamped() -> None:
    # +20 % of 250 dollars multiplies by 1.4, -50 % by the least, 1/2, and a five-fold rise by the most, 3.
    assert series("pnl", [10.0, 12.0], [BUY_SMALL, HOLD], roi_multiplier=True)[1] == pytest.approx(0.05 * 1.4)
    assert series("pnl", [10.0, 5.0], [BUY_SMALL, HOLD], roi_multiplier=True)[1] == pytest.approx(-0.125 * 0.5)
    assert series("pnl", [10.0, 50.0], [BUY_SMALL, HOLD], roi_multiplier=True)[1] == pytest.approx(1.0 * 3.0)


def test_multipliers_of_how_a_position_was_entered_added_to_and_sold() -> None:
    professional = dict(SHAPING["professional"])
    # 25 shares, +2 each: 12.5 sold in part (1.2 x 0.8), the rest after a part (1.2 x 1.1).
    staged = series("pnl", [10.0, 12.0, 12.0], [BUY_SMALL, SELL_PARTIAL, SELL_ALL], **professional)
    assert staged == pytest.approx([0.0, 0.025 * 1.2 * 0.8, 0.025 * 1.2 * 1.1])
    # All 100 shares at once (0.8), +2 each.
    assert series("pnl", [10.0, 12.0], [BUY_LARGE, SELL_ALL], **professional)[1] == pytest.approx(0.2 * 0.8)
    # Added to (1.3): 25 shares at 10; at 11 a quarter of 1,025 dollars is ordered, which fills at 12; all sold at 12.
    actions = [BUY_SMALL, HOLD, ADD_POSITION, SELL_ALL]
    added = series("pnl", [10.0, 11.0, 12.0, 12.0], actions, **professional)
    assert added == pytest.approx([0.0, 0.0, 0.0, 0.05 * 1.2 * 1.3])
    # The next position starts afresh.
    again = [BUY_SMALL, SELL_PARTIAL, SELL_ALL, BUY_LARGE, SELL_ALL]
    last = series("pnl", [10.0, 10.0, 10.0, 10.0, 12.0], again, **professional)[-1]
    assert last == pytest.approx(0.2 * 0.8)


def test_cost() -> None:
    # 10 bp of 250 dollars bought at 10 and of 300 sold at 12.
    costs = replace(FREE, spread_bps=10.0)
    assert series("cost", [10.0, 12.0, 12.0], [BUY_SMALL, SELL_ALL, HOLD], costs=costs) == pytest.approx(
        [-0.00025, -0.0003, 0.0]
    )


def test_time() -> None:
    # Held for two bars when it is sold: 1/2 for a win, -2/120 for a loss; a part is not a closed trade.
    actions = [BUY_SMALL, HOLD, SELL_ALL]
    assert series("time", [10.0, 11.0, 12.0], actions) == pytest.approx([0.0, 0.0, 0.5])
    assert series("time", [10.0, 11.0, 9.0], actions) == pytest.approx([0.0, 0.0, -2.0 / 120.0])
    assert series("time", [10.0, 12.0], [BUY_SMALL, SELL_PARTIAL]) == [0.0, 0.0]


def test_sharpe() -> None:
    rows = series("sharpe", [10.0, 11.0, 12.1, 12.1], [BUY_LARGE, HOLD, HOLD, HOLD], sharpe_window_bars=3)
    # Returns 0, 10 %, 10 %, 0 of equity; the first of the window of three leaves in the fourth step.
    windows = [[0.0, 0.1], [0.0, 0.1, 0.1], [0.1, 0.1, 0.0]]
    ratios = [min(max(float(np.mean(window) / np.std(window)) - 1.0, -2.0), 2.0) for window in windows]
    assert rows == pytest.approx([0.0, *ratios])
    # Nothing that varies: no ratio. Steady losses: the least.
    assert series("sharpe", [10.0, 10.0], [HOLD, HOLD]) == [0.0, 0.0]
    falling = series("sharpe", [10.0, 9.0, 8.1, 7.2], [BUY_LARGE, HOLD, HOLD, HOLD], sharpe_window_bars=2)
    assert falling[-1] == -2.0


@pytest.mark.parametrize(
    ("price", "monotone", "original"),
    [(9.6, 0.0, 0.0), (9.0, -0.1, -0.1), (8.6, -0.14, -0.14), (8.0, -0.25, -0.04), (5.0, -0.85, -0.25)],
)
def test_drawdown(price: float, monotone: float, original: float) -> None:
    actions = [BUY_LARGE, HOLD]
    assert series("drawdown", [10.0, price], actions)[1] == pytest.approx(monotone)
    assert series("drawdown", [10.0, price], actions, drawdown="original")[1] == pytest.approx(original)


@given(st.lists(st.floats(0.3, 1.0), min_size=2, max_size=2).map(sorted))
@settings(max_examples=25, deadline=None)
def test_the_default_drawdown_is_monotone(prices: list[float]) -> None:
    low, high = (series("drawdown", [10.0, 10.0 * price], [BUY_LARGE, HOLD])[1] for price in prices)
    assert low <= high


def test_sizing() -> None:
    # A market that alternates +10 % and -1/11 has one-bar log returns of the same size, ln 1.1.
    closes = [10.0, 11.0] * 12
    ratio = 0.15 / math.sqrt(252.0) / np.std([math.log(1.1), -math.log(1.1)] * 10, ddof=1)
    rows = series("sizing", closes, [HOLD] * 22 + [BUY_LARGE, HOLD])
    assert rows[:22] == [0.0] * 22
    assert rows[22] == pytest.approx(-(10.0 / 11.0 - ratio))  # all of the equity at 11, which fills at 10
    assert rows[23] == 0.0  # only entries are sized


def test_hold() -> None:
    rows = series("hold", [10.0, 11.0, 9.0, 9.0], [BUY_SMALL, HOLD, HOLD, HOLD])
    assert rows == [0.0, -0.005, -0.01, -0.005]  # at 10, at 11 and at 9 for what cost 10
    assert series("hold", [10.0], [HOLD]) == [0.0]


def test_diversity() -> None:
    scheme = ActionScheme(max_consecutive_actions=0)
    actions = [BUY_SMALL, SELL_PARTIAL, ADD_POSITION, SELL_ALL] + [HOLD] * 60
    closes = [10.0] + [12.0] * 63
    rows = series("diversity", closes, actions, scheme=scheme)
    assert rows[:9] == [0.0] * 9  # too early to tell
    assert rows[9:50] == pytest.approx([0.3] * 41)  # five kinds in the last fifty
    # One kind after the other leaves the last fifty.
    assert rows[50:54] == pytest.approx([0.2, 0.1, 0.0, 0.0])


def test_action_repeat() -> None:
    free = ActionScheme(max_consecutive_actions=0, smallest_trade=1e-9)
    rows = series("action_repeat", [10.0] * 9, [BUY_LARGE] + [SELL_PARTIAL] * 8, scheme=free)
    assert rows == pytest.approx([0.0] * 4 + [-1 / 6, -2 / 6, -0.5, -0.5, -0.5])


def test_intrinsic_is_for_what_was_chosen_and_executed() -> None:
    scheme = ActionScheme(masking=False, stop_loss=0.1)
    rows = series("intrinsic", [10.0, 10.0, 8.0, 8.0], [SELL_ALL, BUY_SMALL, HOLD, HOLD], scheme=scheme)
    assert rows == [0.0, 0.1, 0.0, 0.0]  # a refusal, a purchase, nothing, a forced exit


def test_a_refusal_costs_its_penalty_whatever_the_scale() -> None:
    scheme = ActionScheme(masking=False, failed_action_penalty=-0.05)
    task = Task(market(10.0, 10.0), FeatureSpec.named("return_1"), scheme=scheme, costs=FREE, episode_bars=0)
    env = SymbolEnv(task)
    env.reset(options={"start": START})
    _, reward, *_, info = env.step(SELL_ALL)
    assert (reward, info["reason"], info["reward_parts"]["failed_action"]) == (-0.05, "not_allowed", -0.05)
    assert env.step(HOLD)[1] == 0.0


@given(
    seed=st.integers(0, 2**32 - 1),
    preset=st.sampled_from(sorted(PRESETS)),
    masking=st.sampled_from([True, False, "legacy"]),
    unrealised=st.floats(0.0, 1.0),
    latency=st.integers(0, 2),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_components_add_up_to_the_reward(
    seed: int, preset: str, masking: bool | str, unrealised: float, latency: int
) -> None:
    """To the last bit, in the order of the components, for whatever is chosen."""
    task = Task(
        PANEL,
        FeatureSpec.named("return_1"),
        reward=Reward(preset, 37.0, shaping={"unrealised_weight": unrealised}),
        scheme=ActionScheme(masking=masking, stop_loss=0.03, max_hold=9),
        execution=ExecutionModel(latency_bars=latency),
        episode_bars=40,
        liquidate=bool(seed % 2),
    )
    env = VectorSymbolEnv(task, 6, seed)
    env.reset()
    rng, weights = np.random.default_rng(seed), task.world.shape.weights
    for _ in range(90):
        env.step(rng.integers(0, 7, 6))
        outcome = env.lanes.outcome
        total = np.zeros(6)
        for weight, part in zip(weights, outcome.parts, strict=True):
            total += weight * part
        assert np.array_equal(total, outcome.reward)
        assert np.isfinite(outcome.parts).all()


PANEL = random_panel(200, 3)


def test_presets_have_these_numbers_and_no_others() -> None:
    names = ("pnl", "cost", "time", "sharpe", "drawdown", "sizing", "hold", "diversity", "action_repeat", "intrinsic")
    table = {
        "stage5": (0.75, 0.10, 0.0, 0.03, 0.02, 0.0, 0.0, 0.07, 0.05, 0.01),
        "v1": (0.40, 0.15, 0.15, 0.05, 0.10, 0.05, 0.0, 0.0, 0.0, 0.0),
        "professional": (0.75, 0.10, 0.0, 0.03, 0.02, 0.0, 1.0, 0.07, 0.05, 0.01),
    }
    for preset, weights in table.items():
        assert Reward(preset).of_components == {
            **dict.fromkeys(COMPONENTS, 0.0),
            **dict(zip(names, weights, strict=True)),
        }
    assert Reward().of_components == {**dict.fromkeys(COMPONENTS, 0.0), "log_return": 1.0}
    assert {*PRESETS} == {*table, "minimal"}
    assert Reward("stage5").shape == Reward("v1").shape == Shaping()
    assert Reward("professional").shape == Shaping(
        unrealised_weight=0.0,
        entry_multipliers=(1.2, 1.0, 0.8),
        partial_exit_multiplier=0.8,
        full_exit_multiplier=1.0,
        staged_exit_multiplier=1.1,
        pyramiding_multiplier=1.3,
        hold_winner=-0.01,
        hold_loser=-0.005,
    )
    assert (Shaping().sharpe_target, Shaping().drawdown, Shaping().roi_multiplier) == (1.0, "monotone", False)
    assert {*SHAPING} == {"professional"}


def test_components_without_a_weight_are_not_computed() -> None:
    rows = earned(Reward(), [10.0, 5.0, 6.0], [BUY_SMALL, HOLD, SELL_ALL], costs=CostModel())
    assert all(value == 0.0 for row in rows for name, value in row.items() if name != "log_return")


def test_ruin_is_finite() -> None:
    rows = earned(Reward(), [10.0, 1e-9], [BUY_LARGE, HOLD])
    assert rows[1]["log_return"] == pytest.approx(np.log(1e-6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "minimum"}, "unknown reward preset 'minimum'; did you mean minimal?"),
        ({"scale": -1.0}, "the reward's scale is -1.0; a number above 0"),
        ({"scales": 1.0}, "unknown reward setting 'scales'; did you mean scale?"),
        ({"weights": {"pln": 1.0}}, "unknown reward component 'pln'; did you mean pnl?"),
        ({"weights": {"pnl": math.nan}}, "the weight of pnl is nan; a number above -inf"),
        ({"weights": 3}, "reward.weights is 3; write it as a table, [reward.weights]"),
        ({"shaping": {"drawdwn": 1}}, "unknown reward.shaping setting 'drawdwn'; did you mean drawdown?"),
        ({"shaping": {"drawdown": "orginal"}}, "unknown drawdown 'orginal'; did you mean original?"),
        ({"shaping": {"entry_multipliers": [1.0]}}, "entry_multipliers has 1 numbers; 3, for small, medium, large"),
        ({"shaping": {"max_hold_bars": 1}}, "max_hold_bars is 1; a whole number, 2 or more"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Reward.from_dict(settings)
    assert str(caught.value) == message


def weights_of(reward: Reward) -> Floats:
    return reward.kernel(-1.0, 1000.0, 252.0).weights


def test_own_weights_take_the_place_of_the_presets() -> None:
    reward = Reward("stage5", 2.0, {"pnl": 0.5, "hold": 0.1})
    said = dict(zip(COMPONENTS, weights_of(reward).tolist(), strict=True))
    assert (said["pnl"], said["hold"], said["cost"], said["failed_action"]) == (1.0, 0.2, 0.2, 1.0)
