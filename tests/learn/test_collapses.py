"""The collapses that happened, by real training on small markets: seen, named, and mended by what the finding says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback

from tests.panels import random_panel
from tradekit.engine.simulate import simulate
from tradekit.learn.actions import BUYS, HOLD, SELL_PARTIAL, SELLS, ActionScheme
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.diagnosis import diagnose
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.network import ask, frozen
from tradekit.learn.rollout import ActionLog
from tradekit.learn.task import Task
from tradekit.learn.telemetry import ActionStatistics, action_statistics, verdict
from tradekit.market.costs import CostModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

SPEC = FeatureSpec.named("return_1", "sma_gap_20")
ENVIRONMENTS, STEPS = 16, 32


def drifting(drift: float) -> Panel:
    """Return 400 bars of two symbols that drift by so much a bar."""
    rng = np.random.default_rng(0)
    closes = 100.0 * np.exp(np.cumsum(rng.normal(drift, 0.004, (400, 2)), axis=0))
    return replace(random_panel(400, 2, close_only=True), close=closes)


def task_of(drift: float, costs: CostModel | None = None, **scheme: Any) -> Task:
    return Task(drifting(drift), SPEC, scheme=ActionScheme(**scheme), costs=costs or CostModel(), episode_bars=64)


class Counting(BaseCallback):
    """Keeps the statistics of the newest roll-out."""

    def __init__(self, env: VectorSymbolEnv) -> None:
        super().__init__()
        self._lanes, self._log, self._entropies = env.lanes, ActionLog(), [np.empty(0)]
        self.newest: ActionStatistics | None = None

    def _on_rollout_start(self) -> None:
        self._log.clear()
        self._entropies.clear()

    def _on_step(self) -> bool:
        self._log.note(self.locals["actions"], self.locals["action_masks"].sum(axis=1), self._lanes.outcome)
        distribution: Any = self.model.policy.action_dist
        self._entropies.append(distribution.distribution.entropy().double().numpy())
        return True

    def _on_rollout_end(self) -> None:
        self.newest = self._log.statistics(np.stack(self._entropies))


def train(env: VectorSymbolEnv, steps: int, **settings: Any) -> tuple[MaskablePPO, ActionStatistics]:
    """Train without any guard: no entropy bonus, a fast learning rate."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = MaskablePPO(
            "MlpPolicy",
            env,
            n_steps=STEPS,
            batch_size=128,
            n_epochs=4,
            gamma=0.9,
            gae_lambda=0.9,
            ent_coef=0.0,
            seed=1,
            device="cpu",
            policy_kwargs={"net_arch": [32]},
            **settings,
        )
        counting = Counting(env)
        model.learn(steps, callback=counting)
    finally:
        torch.set_num_threads(threads)
    assert counting.newest is not None
    return model, counting.newest


def deterministic(model: MaskablePPO, task: Task) -> ActionStatistics:
    """Return what the trained policy does in a backtest."""
    policy = frozen(model, task.statistics)
    agent = SymbolAgent("collapsed", SPEC, task.scheme, partial(ask, policy))
    return action_statistics(simulate(agent, task.panel, task.costs, start=SPEC.lookback))


def named(statistics: ActionStatistics) -> dict[str, str]:
    return {found.name: found.what_to_change for found in diagnose(statistics) if found.is_collapse}


# (a) A rising market pays for being long, and nothing ends a repetition.


def test_always_buying_in_a_rising_market() -> None:
    free = task_of(0.004, masking="legacy", max_consecutive_actions=0)
    _, said = train(VectorSymbolEnv(free, ENVIRONMENTS), 8192, learning_rate=1e-3)
    assert said.chosen[list(BUYS)].sum() > 0.8 * said.decisions
    assert said.total_trades < 0.05 * said.decisions  # there is nothing left to buy with
    found = named(said)
    assert "actions.masking = true" in found["always_buy"]
    assert "actions.max_consecutive_actions = 3" in found["always_buy"]
    # What the advice says ends it.
    guarded = task_of(0.004)
    _, mended = train(VectorSymbolEnv(guarded, ENVIRONMENTS), 8192, learning_rate=1e-3)
    assert named(mended) == {}
    assert mended.chosen[list(BUYS)].sum() < 0.2 * mended.decisions


# (b) In a falling market a sale is the best there is for a position, and costs hardly anything without one.


@pytest.fixture(scope="module")
def spammer() -> tuple[MaskablePPO, ActionStatistics, Task]:
    cheap = task_of(-0.03, masking=False, max_consecutive_actions=0, failed_action_penalty=-0.05)
    model, said = train(VectorSymbolEnv(cheap, ENVIRONMENTS), 8192, learning_rate=3e-3, normalize_advantage=False)
    return model, said, cheap


def test_spamming_refused_sales(spammer: tuple[MaskablePPO, ActionStatistics, Task]) -> None:
    _, said, _ = spammer
    assert said.not_allowed > 0.8 * said.decisions
    assert said.total_trades < 0.05 * said.decisions
    found = named(said)
    assert set(found) == {"rejected_spam"}
    assert "actions.masking = true" in found["rejected_spam"]
    assert "failed_action_penalty = -1.0" in found["rejected_spam"]


@pytest.mark.parametrize("scheme", [{"masking": False, "max_consecutive_actions": 0}, {}], ids=["penalty", "masks"])
def test_a_penalty_or_masks_end_the_spamming(scheme: dict[str, Any]) -> None:
    task = task_of(-0.03, **scheme)
    assert task.scheme.failed_action_penalty == -1.0
    settings = {"learning_rate": 3e-3, "normalize_advantage": False}
    _, said = train(VectorSymbolEnv(task, ENVIRONMENTS), 8192, **settings)
    assert said.not_allowed < 0.05 * said.decisions
    assert "rejected_spam" not in named(said)


def test_sales_that_never_happened_cannot_be_reported_as_sales(
    spammer: tuple[MaskablePPO, ActionStatistics, Task],
) -> None:
    """The backtest of the collapsed policy: 100 % SELL_PARTIAL chosen, nothing executed, and the reason between."""
    model, _, task = spammer
    said = deterministic(model, task)
    assert said.chosen[SELL_PARTIAL] == said.decisions
    assert (said.total_trades, said.executed[HOLD]) == (0, said.decisions)
    told = said.to_dict()
    assert told["chosen"]["SELL_PARTIAL"] == told["decisions"]
    assert told["executed"] == {**dict.fromkeys(told["executed"], 0), "HOLD": told["decisions"]}
    assert told["reasons"]["not_allowed"] == told["decisions"]
    assert (told["total_trades"], told["voluntary_trade_rate"], told["sanitizer_trade_delta"]) == (0, 0.0, 1.0)
    assert told["executed_action_entropy_mean"] == 0.0
    assert set(named(said)) == {"rejected_spam", "no_trades"}
    assert verdict(said, 0.0)[0] is False


# (c) A quota of sales beside a penalty for refused ones: every choice without a position is punished.


class Quota(VectorSymbolEnv):
    """Demands that 8 of the last 20 actions executed are sales; until then only asking for one is not punished."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, ENVIRONMENTS)
        self._sales = np.zeros((20, ENVIRONMENTS), np.bool_)

    def step_wait(self) -> Any:
        seen, rewards, ended, infos = super().step_wait()
        outcome = self.lanes.outcome
        self._sales = np.vstack([self._sales[1:], np.isin(outcome.executed, SELLS)])
        punished = (self._sales.mean(axis=0) < 0.4) & ~np.isin(self._chosen, SELLS)
        outcome.reward[punished] -= 2.0
        return seen, rewards - 2.0 * punished.astype(np.float32), ended, infos


def test_a_quota_and_a_refusal_are_a_double_bind() -> None:
    dear = CostModel(spread_bps=500.0)
    unmasked = task_of(-0.01, dear, masking=False, max_consecutive_actions=0)
    _, said = train(Quota(unmasked), 8192, learning_rate=3e-3)
    assert said.not_allowed > 0.8 * said.decisions
    assert said.total_trades < 0.05 * said.decisions
    found = named(said)
    assert "double_bind" in found
    assert "rejected_spam" not in found
    assert "quota" in found["double_bind"]
    assert "actions.masking = true" in found["double_bind"]
    # Without the quota the same penalty teaches the same policy to leave refused sales alone.
    _, mended = train(VectorSymbolEnv(unmasked, ENVIRONMENTS), 8192, learning_rate=3e-3)
    assert "double_bind" not in named(mended)
    assert mended.not_allowed < 0.05 * mended.decisions
