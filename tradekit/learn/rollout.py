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

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, chosen: Ints, choices: Ints, outcome: Outcome) -> None:
        """Take down a step: actions (B,) chosen, how many were allowed (B,), and what the environments answered."""
        self._rows.append((chosen.copy(), outcome.executed.copy(), outcome.reason.copy(), choices.copy()))
        self._filled.append(outcome.filled.copy())
        self._parts.append(outcome.parts.T.copy())
        self._rewards.append(outcome.reward.copy())

    def clear(self) -> None:
        """Forget all steps."""
        for rows in (self._rows, self._filled, self._parts, self._rewards):
            rows.clear()

    @property
    def parts(self) -> Floats:
        """(T, B, C) the reward's components, before weights."""
        return np.stack(self._parts)

    @property
    def rewards(self) -> Floats:
        """(T, B)."""
        return np.stack(self._rewards)

    def statistics(self, policy_entropies: Floats) -> ActionStatistics:
        """Return the statistics of the steps.

        ``policy_entropies`` (T, B) in nats, of the distributions sampled from; minus the log-probabilities of what was
        sampled will do, whose mean is the same. An order that still waits after the last step counts as filled.
        """
        chosen, executed, reason, choices = (np.stack(item) for item in zip(*self._rows, strict=True))
        filled: NDArray[np.bool_] = np.ones(chosen.shape, np.bool_)
        filled[: len(filled) - self._latency] = np.stack(self._filled)[self._latency :]
        return count_actions(chosen, executed, reason, filled, policy_entropies, choices, self.rewards)
