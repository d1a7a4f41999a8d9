"""The environments: conformance, episodes, and that many lanes are the same as one."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from tests.panels import random_panel
from tradekit.errors import ConfigError, DataError
from tradekit.learn.actions import ADD_POSITION, BUY_LARGE, BUY_SMALL, HOLD, SELL_ALL, SELL_PARTIAL
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.task import Task
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

SPEC = FeatureSpec.named("return_1", "sma_gap_20")
FREE = CostModel.preset("free")


def task_of(panel: Panel | None = None, **settings: Any) -> Task:
    return Task(panel or random_panel(200, 3), SPEC, **({"episode_bars": 30} | settings))


def test_passes_gymnasiums_checker() -> None:
    with warnings.catch_warnings():
        # Only environments registered by name have other render modes to try.
        warnings.filterwarnings("ignore", message=".*alternative render modes.*")
        check_env(SymbolEnv(task_of()))


def test_passes_sb3s_checker() -> None:
    check_env_of_sb3(SymbolEnv(task_of()))


def test_a_round_trip_by_hand() -> None:
    """Buy a quarter, sell half of it, sell the rest; fills at the next open, no costs."""
    closes = np.array([10.0] * 25 + [20.0, 16.0, 25.0, 40.0])[:, None]
    opens = np.array([10.0] * 25 + [10.0, 20.0, 20.0, 50.0])[:, None]
    base = random_panel(29, 1)
    panel = replace(base, open=opens, close=closes, high=np.maximum(opens, closes), low=np.minimum(opens, closes))
    env = SymbolEnv(task_of(panel, costs=FREE, cash=1000.0))
    env.reset(options={"start": 24})
    equity, rewards = [], []
    for action in (BUY_SMALL, HOLD, SELL_PARTIAL, SELL_ALL):
        _, reward, terminated, truncated, _ = env.step(action)
        equity.append(env.equity)
        rewards.append(reward)
    # 25 shares at 10 close at 20; then at 16; half are sold at 20, 12.5 close at 25; the rest is sold at 50.
    assert equity == pytest.approx([750 + 500, 750 + 400, 1000 + 312.5, 1000 + 625])
    assert rewards == pytest.approx(100.0 * np.diff(np.log([1000.0, *equity])))
    assert (terminated, truncated) == (False, True)  # the bars end


def test_an_action_that_is_not_allowed_executes_as_hold() -> None:
    env = SymbolEnv(task_of())
    env.reset(seed=1)
    assert env.action_masks().tolist() == [True] * 4 + [False] * 3
    _, reward, _, _, info = env.step(SELL_ALL)
    assert (reward, info["executed"], info["reason"]) == (0.0, "HOLD", "not_allowed")
    assert env.equity == env.lanes.task.cash


def test_episodes_start_at_random_and_have_their_length() -> None:
    env = SymbolEnv(task_of())
    starts = []
    for _ in range(20):
        _, info = env.reset()
        starts.append(info["bar"])
        steps, ended = 0, False
        while not ended:
            *_, terminated, ended, info = env.step(HOLD)
            assert not terminated
            steps += 1
        assert steps == 30
        assert info["bar"] == starts[-1] + 30 <= 199
    assert min(starts) >= SPEC.lookback - 1
    assert len(set(starts)) > 10


def test_a_slice_shorter_than_an_episode_is_one_episode() -> None:
    env = SymbolEnv(task_of(start=100, stop=110))
    _, info = env.reset(seed=3)
    assert info["bar"] == 100
    steps = 0
    while not env.step(HOLD)[3]:
        steps += 1
    assert steps + 1 == 9


def test_rewards_of_an_episode_add_up_to_its_log_return() -> None:
    env = SymbolEnv(task_of(costs=CostModel(), episode_bars=0))
    env.reset()
    rng, total, ended = np.random.default_rng(0), 0.0, False
    while not ended:
        _, reward, _, ended, _ = env.step(rng.choice(np.flatnonzero(env.action_masks())))
        total += reward
    assert total == pytest.approx(100.0 * np.log(env.equity / env.lanes.task.cash), abs=1e-9)
    assert env.lanes.state.bar[0] == 199


@pytest.mark.parametrize(
    ("costs", "execution"),
    [
        (CostModel(), ExecutionModel()),
        (CostModel(commission_minimum=1.0), ExecutionModel(latency_bars=2)),
        (CostModel(regulatory=1.0), ExecutionModel(fractional=False, max_participation=1e-5, min_trade=10.0)),
    ],
)
def test_many_lanes_are_the_same_as_one(costs: CostModel, execution: ExecutionModel) -> None:
    task = task_of(costs=costs, execution=execution)
    vector = VectorSymbolEnv(task, 7, seed=5)
    seen: Any = vector.reset()
    rng = np.random.default_rng(0)
    singles = [SymbolEnv(task, task.panel.symbols[b % 3]) for b in range(7)]
    for b, single in enumerate(singles):
        first, _ = single.reset(options={"start": vector.lanes.state.bar[b]})
        assert np.array_equal(first, seen[b])
    for step in range(30):
        masks = np.stack(vector.env_method("action_masks"))
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        raw = vector.raw
        seen, rewards, ended, infos = vector.step(actions)
        for b, single in enumerate(singles):
            assert np.array_equal(single.action_masks(), masks[b])
            assert np.array_equal(single.raw, raw[b])
            after, reward, _, truncated, _ = single.step(actions[b])
            assert rewards[b] == np.float32(reward)
            assert ended[b] == truncated == (step == 29)
            assert np.array_equal(after, infos[b]["terminal_observation"] if truncated else seen[b])
    assert vector.lanes.state.length.tolist() == [0] * 7


def test_an_ended_episode_tells_its_end_and_begins_anew() -> None:
    vector = VectorSymbolEnv(task_of(costs=FREE), 2, seed=0)
    vector.reset()
    for _ in range(29):
        *_, ended, infos = vector.step(np.array([BUY_LARGE, HOLD]))
        assert not ended.any()
        assert [dict(info) for info in infos] == [{}, {}]
    after: Any = vector.step(np.array([HOLD, HOLD]))
    seen, _, ended, infos = after
    assert ended.all()
    for b, info in enumerate(infos):
        assert info["TimeLimit.truncated"]
        assert info["episode"]["l"] == 30
        assert not np.array_equal(info["terminal_observation"], seen[b])
    assert infos[1]["episode"]["r"] == 0.0
    assert infos[0]["episode"]["r"] != 0.0
    assert vector.lanes.state.book.shares.ravel().tolist() == [0.0, 0.0]
    assert vector.action_masks()[:, SELL_PARTIAL].tolist() == [False, False]


def test_the_seed_decides_the_episodes_and_the_batch_does_not() -> None:
    def starts(environments: int, seed: int) -> list[int]:
        vector = VectorSymbolEnv(task_of(), environments, seed)
        vector.reset()
        for _ in range(30):
            vector.step(np.zeros(environments, np.int64))
        bars: list[int] = vector.lanes.state.bar.tolist()
        return bars

    assert starts(6, 1) == starts(6, 1)
    assert starts(6, 1) != starts(6, 2)
    assert starts(9, 1)[:6] == starts(6, 1)


def test_seeding_through_sb3_begins_the_same_episodes_again() -> None:
    vector = VectorSymbolEnv(task_of(), 4, seed=9)
    first = vector.reset()
    assert not np.array_equal(vector.reset(), first)
    vector.seed(9)
    assert np.array_equal(vector.reset(), first)


def test_parallel_lanes_do_not_share_sampled_slippage() -> None:
    costs = CostModel(slippage_mode="sampled", slippage_bps=50.0)
    vector = VectorSymbolEnv(task_of(random_panel(200, 1), costs=costs, start=100, stop=110), 3)
    vector.reset()
    vector.step(np.full(3, BUY_SMALL))
    assert len(set(vector.lanes.state.book.equity.tolist())) == 3


def test_a_symbol_without_enough_bars_is_left_out() -> None:
    panel = random_panel(60, 2)
    closes = panel.close.copy()
    closes[:45, 0] = np.nan  # 15 bars, and the average wants 20
    task = task_of(replace(panel, close=closes, tradable=~np.isnan(closes)))
    assert task.columns.tolist() == [1]
    assert set(VectorSymbolEnv(task, 4).lanes.state.book.column.tolist()) == {1}
    with pytest.raises(ConfigError, match="no episode of S0 in these bars"):
        SymbolEnv(task, "S0")


def test_late_listings_are_held_in_cash_until_they_can_be_seen() -> None:
    panel = random_panel(60, 1)
    closes = panel.close.copy()
    closes[:10] = np.nan
    task = task_of(replace(panel, close=closes, tradable=~np.isnan(closes)), episode_bars=0)
    env = SymbolEnv(task)
    seen, _ = env.reset()
    for bar in range(59):
        assert np.isfinite(seen).all()
        assert env.action_masks()[1:].any() == (bar >= 29)
        seen, *_ = env.step(BUY_SMALL if bar < 29 else HOLD)
    assert env.equity == task.cash


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"episode_bars": -1}, ConfigError, "episode_bars is -1"),
        ({"cash": 0.0}, ConfigError, "the sleeve's cash is 0.0; positive dollars"),
        ({"start": 5, "stop": 5}, DataError, "random: no bars 5 to 5; there are 200"),
        ({"stop": 15}, DataError, "random: no symbol has two tradable bars with all features (20 bars of history)"),
    ],
)
def test_a_task_that_cannot_be(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        task_of(**settings)
    assert str(caught.value).startswith(message)


def test_what_an_environment_refuses() -> None:
    env, vector = SymbolEnv(task_of()), VectorSymbolEnv(task_of(), 2)
    with pytest.raises(ConfigError, match="no episode of S9 in these bars; known: S0, S1, S2"):
        SymbolEnv(task_of(), "S9")
    with pytest.raises(ConfigError, match="an episode cannot start at row 199; choose 0 to 198"):
        env.reset(options={"start": 199})
    with pytest.raises(ConfigError, match="environments is 0"):
        VectorSymbolEnv(task_of(), 0)
    with pytest.raises(ValueError, match="actions are numbers from 0 to 6, not 7"):
        env.step(7)
    with pytest.raises(ValueError, match=r"not \[0, -1\]"):
        vector.step(np.array([0, -1]))
    with pytest.raises(AttributeError, match="no method render"):
        vector.env_method("render")
    with pytest.raises(AttributeError, match="build the environment from another task"):
        vector.set_attr("task", None)


def test_adding_is_offered_in_profit_only() -> None:
    rising = np.linspace(10.0, 30.0, 40)[:, None]
    base = random_panel(40, 1, close_only=True)
    env = SymbolEnv(task_of(replace(base, close=rising), episode_bars=0))
    env.reset(options={"start": 25})
    env.step(BUY_SMALL)
    assert not env.action_masks()[ADD_POSITION]  # bought at this close, costs on top
    env.step(HOLD)
    assert env.action_masks()[ADD_POSITION]
