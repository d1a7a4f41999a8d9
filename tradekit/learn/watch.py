"""What a learner's roll-out did, as one row of numbers for the metrics of the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from tradekit.learn.actions import NAMES
from tradekit.learn.rollout import ActionLog, reward_to_go
from tradekit.learn.scoring import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tradekit.learn.env import VectorSymbolEnv
    from tradekit.learn.telemetry import ActionStatistics
    from tradekit.market.panel import Floats

BINS = 41


class Watch(BaseCallback):
    """Notes every step of the roll-out that is being collected; T steps of B environments.

    Args:
        environments: stepped by the learner.
        each: called after every step with the number of steps so far.
    """

    def __init__(self, environments: VectorSymbolEnv, each: Callable[[int], None]) -> None:
        super().__init__()
        self._lanes, self._each = environments.lanes, each
        self.log = ActionLog(environments.lanes.task.execution.latency_bars)
        self._entropies: list[NDArray[np.float32]] = []
        self._episodes: list[float] = []

    def _on_rollout_start(self) -> None:
        self.log.clear()
        self._entropies, self._episodes = [], []

    def _on_step(self) -> bool:
        outcome = self._lanes.outcome
        self.log.note(self.locals["actions"], self.locals["action_masks"].sum(axis=1), outcome)
        self._entropies.append(self._entropy())
        self._episodes += outcome.total[outcome.ended].tolist()
        self._each(self.num_timesteps)
        return True

    def _entropy(self) -> NDArray[np.float32]:
        """Return (B,) the entropies of the distributions that were just sampled from, nats."""
        sampled: Any = self.model.policy.action_dist
        entropies: NDArray[np.float32] = sampled.distribution.entropy().numpy()
        return entropies

    def statistics(self) -> ActionStatistics:
        """Return what was asked for and what became of it."""
        return self.log.statistics(np.stack(self._entropies).astype(np.float64))

    def weighted(self) -> Floats:
        """Return (T, B, C) what each component added to the reward."""
        parts: Floats = self.log.parts * self._lanes.world.shape.weights
        return parts

    def figures(self, statistics: ActionStatistics) -> dict[str, float]:
        """Return rewards, entropies, and the share of each action, chosen and executed."""
        said = {
            "episodes": float(len(self._episodes)),
            "episode_reward": float(np.mean(self._episodes)) if self._episodes else math.nan,
            "entropy": statistics.policy_entropy,
            "entropy_normalised": statistics.policy_entropy_share,
            "executed_entropy": statistics.executed_entropy,
            **_rates(statistics),
            **_rewards(self.log.rewards, self.weighted()),
        }
        for kind in ("chosen", "executed"):
            counts = getattr(statistics, kind)
            said |= {f"{kind}.{name}": float(n / counts.sum()) for name, n in zip(NAMES, counts, strict=True)}
        return said


def _rates(statistics: ActionStatistics) -> dict[str, float]:
    """Return how often an action traded, was refused, or hit the limit of repeats, as shares of the decisions."""
    decisions = max(statistics.decisions, 1)
    return {
        "voluntary_trade_rate": statistics.voluntary_trades / decisions,
        "executed_trade_rate": statistics.total_trades / decisions,
        "not_allowed": statistics.not_allowed / decisions,
        "repeat_violations": statistics.repeat_violations / decisions,
    }


def _rewards(rewards: Floats, weighted: Floats) -> dict[str, float]:
    """Return the moments of the rewards (T, B), and the mean and the share of each component (T, B, C) in its size.

    ``reward_unexplained`` is the largest difference between a reward and the sum of its components.
    """
    sizes = np.abs(weighted).sum(axis=(0, 1))
    said = {
        "reward_mean": float(rewards.mean()),
        "reward_deviation": float(rewards.std()),
        "reward_unexplained": float(np.abs(rewards - weighted.sum(axis=2)).max()),
    }
    for number, name in enumerate(COMPONENTS):
        if sizes[number] > 0.0:
            said[f"reward.{name}"] = float(weighted[..., number].mean())
            said[f"reward_share.{name}"] = float(sizes[number] / sizes.sum())
    return said


def telling(log: ActionLog, weighted: Floats, gamma: float) -> dict[str, Any]:
    """Return how the rewards of a roll-out are spread, and how the components (T, B, C) that have a weight go together.

    Returns:
        ``histogram``: counts between ``edges``; ``components``: their names; ``correlation``: of each with each and,
        last, with the reward, NaN where one does not vary; ``to_go``: mean of each component's and, last, of the whole
        reward from a step to the end of its episode or of the roll-out, discounted by ``gamma``.
    """
    rewards, ended = log.rewards, log.ended
    used = [number for number in range(len(COMPONENTS)) if np.abs(weighted[..., number]).max() > 0.0]
    counts, edges = np.histogram(rewards, bins=BINS)
    columns = np.stack([*(weighted[..., number].ravel() for number in used), rewards.ravel()])
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.corrcoef(columns)
    return {
        "histogram": counts.tolist(),
        "edges": edges.tolist(),
        "components": [COMPONENTS[number] for number in used],
        "correlation": np.atleast_2d(correlation).tolist(),
        "to_go": [
            *reward_to_go(weighted[..., used], ended, gamma).mean(axis=(0, 1)).tolist(),
            float(reward_to_go(rewards, ended, gamma).mean()),
        ],
    }
