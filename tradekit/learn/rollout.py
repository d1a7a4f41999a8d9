"""What many environments did since it was last asked: decisions as ``telemetry`` counts them, rewards by component."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.learn.telemetry import ActionStatistics, count_actions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.learn.actions import Bools, Floats, Ints
    from tradekit.learn.lanes import Outcome


class ActionLog:
    """The decisions of B environments over the steps noted, T of them.

    Args:
        latency: of the execution, in bars: an order fills so many steps after the one that placed it.
    """

    def __init__(self, latency: int = 0) -> None:
        self._latency = latency
        self._rows: list[tuple[Ints, ...]] = []
        self._filled: list[Bools] = []
        self._parts: list[Floats] = []
        self._rewards: list[Floats] = []
        self._ended: list[Bools] = []

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, chosen: Ints, choices: Ints, outcome: Outcome) -> None:
        """Take down a step: actions (B,) chosen, how many were allowed (B,), and what the environments answered."""
        self._rows.append((chosen.copy(), outcome.executed.copy(), outcome.reason.copy(), choices.copy()))
        self._filled.append(outcome.filled.copy())
        self._parts.append(outcome.parts.T.copy())
        self._rewards.append(outcome.reward.copy())
        self._ended.append(outcome.ended.copy())

    def clear(self) -> None:
        """Forget all steps."""
        for rows in (self._rows, self._filled, self._parts, self._rewards, self._ended):
            rows.clear()

    @property
    def parts(self) -> Floats:
        """(T, B, C) the reward's components, before weights."""
        return np.stack(self._parts)

    @property
    def rewards(self) -> Floats:
        """(T, B)."""
        return np.stack(self._rewards)

    @property
    def ended(self) -> Bools:
        """(T, B) whether an episode ended with the step."""
        return np.stack(self._ended)

    def statistics(self, policy_entropies: Floats) -> ActionStatistics:
        """Return the statistics of the steps.

        ``policy_entropies`` (T, B) in nats, of the distributions sampled from; minus the log-probabilities of what was
        sampled will do, whose mean is the same. An order that still waits after the last step counts as filled.
        """
        chosen, executed, reason, choices = (np.stack(item) for item in zip(*self._rows, strict=True))
        filled: NDArray[np.bool_] = np.ones(chosen.shape, np.bool_)
        filled[: len(filled) - self._latency] = np.stack(self._filled)[self._latency :]
        return count_actions(chosen, executed, reason, filled, policy_entropies, choices, self.rewards)


def reward_to_go(rewards: Floats, ended: Bools, gamma: float) -> Floats:
    """Return (T, ...) the discounted sum of the rewards from each step to the end of its episode.

    Args:
        rewards: (T, B) of steps in order, or (T, B, C) of components.
        ended: (T, B) whether an episode ended with the step; the last step's episode is cut off where the steps end.
        gamma: discount per step.

    >>> reward_to_go(np.array([[1.0], [2.0], [4.0]]), np.array([[False], [True], [False]]), 0.5).tolist()
    [[2.0], [2.0], [4.0]]
    """
    goes_on = ~ended.reshape(ended.shape + (1,) * (rewards.ndim - ended.ndim))
    answer = rewards.astype(np.float64)
    for t in range(len(rewards) - 2, -1, -1):
        answer[t] += gamma * goes_on[t] * answer[t + 1]
    return answer
