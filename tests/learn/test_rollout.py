"""What a roll-out took down."""

from __future__ import annotations

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.learn.actions import BUY_SMALL, HOLD, SELL_ALL
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.rewards import Reward
from tradekit.learn.rollout import ActionLog, reward_to_go
from tradekit.learn.task import Task
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec


@pytest.mark.parametrize("latency", [0, 2])
def test_an_order_counts_as_executed_when_it_fills_later(latency: int) -> None:
    panel = random_panel(60, 1)
    task = Task(
        panel, FeatureSpec.named("return_1"), execution=ExecutionModel(latency_bars=latency), start=10, episode_bars=0
    )
    env, log = VectorSymbolEnv(task, 1), ActionLog(latency)
    env.reset()
    for action in [BUY_SMALL, *[HOLD] * 5, SELL_ALL, *[HOLD] * 5]:
        choices = env.action_masks().sum(axis=1)
        env.step(np.array([action]))
        log.note(np.array([action]), choices, env.lanes.outcome)
    said = log.statistics(np.zeros((12, 1)))
    assert (said.total_trades, said.unfilled, said.decisions, len(log)) == (2, 0, 12, 12)
    log.clear()
    assert len(log) == 0


def test_parts_are_those_of_every_step() -> None:
    task = Task(random_panel(60, 2), FeatureSpec.named("return_1"), reward=Reward("stage5"), episode_bars=7)
    env, log, rng = VectorSymbolEnv(task, 4), ActionLog(), np.random.default_rng(0)
    env.reset()
    rewards = []
    for _ in range(20):
        chosen = rng.integers(0, 7, 4)
        rewards.append(env.step(chosen)[1])
        log.note(chosen, env.action_masks().sum(axis=1), env.lanes.outcome)
    assert log.parts.shape == (20, 4, 12)
    assert (log.parts @ task.world.shape.weights) == pytest.approx(log.rewards)
    assert log.rewards.astype(np.float32).tolist() == np.array(rewards).tolist()
    assert np.flatnonzero(log.ended[:, 0]).tolist() == [6, 13]


def test_reward_to_go_stops_at_the_end_of_an_episode_and_adds_up_over_components() -> None:
    rng = np.random.default_rng(1)
    parts, ended = rng.normal(size=(30, 3, 4)), rng.random((30, 3)) < 0.2
    whole = reward_to_go(parts.sum(axis=2), ended, 0.9)
    assert reward_to_go(parts, ended, 0.9).sum(axis=2) == pytest.approx(whole)
    for b in range(3):
        for t in range(30):
            stop = next((s for s in range(t, 30) if ended[s, b]), 29)
            expected = sum(0.9 ** (s - t) * parts[s, b].sum() for s in range(t, stop + 1))
            assert whole[t, b] == pytest.approx(expected)
