"""The exported policy against SB3's own predict, on as many observations as a session of decades sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.panels import random_panel
from tradekit.learn.actions import ACTIONS
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.network import ask, from_torchscript, frozen, to_torchscript
from tradekit.learn.ppo import build_model
from tradekit.learn.recipe import Recipe
from tradekit.learn.task import Task
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

OBSERVATIONS = 100_000
# Logits that differ by less than float32 resolves, which is what SB3 computes in, are no decision of the network.
RESOLVED = 1e-5


def test_a_hundred_thousand_decisions_are_sb3s() -> None:
    task = Task(random_panel(300, 3), FeatureSpec.named("ohlcv"))
    # An untrained actor of the default gain has almost equal logits and prefers HOLD; one that has learnt does not.
    model = build_model(Recipe().changed(actor_gain=1.0, hold_bias=0.0), VectorSymbolEnv(task, 64))
    said = task.statistics
    rng = np.random.default_rng(2)
    raw = said.mean + said.scale * rng.normal(0.0, 3.0, (OBSERVATIONS, len(said.mean)))
    mask = rng.random((OBSERVATIONS, ACTIONS)) < 0.6
    mask[:, 0] = True
    seen = np.clip((raw - said.mean) / said.scale, -said.clip, said.clip).astype(np.float32)

    policy = frozen(model, said)
    expected, _ = model.predict(seen, deterministic=True, action_masks=mask)
    decided, probabilities = ask(from_torchscript(to_torchscript(policy)), raw, mask)
    logits = masked_logits(policy, seen, mask)
    best = np.sort(logits, axis=1)
    with np.errstate(invalid="ignore"):  # where HOLD alone is allowed, minus infinity stands beside it
        clear = ~(best[:, -1] - best[:, -2] < RESOLVED)
    assert np.array_equal(decided[clear], np.asarray(expected)[clear])
    assert (~clear).mean() < 1e-4
    assert len(np.unique(decided)) == ACTIONS
    assert mask[np.arange(OBSERVATIONS), decided].all()
    assert probabilities.sum(axis=1) == pytest.approx(1.0)


def masked_logits(policy: Any, seen: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (B, 7) logits of the actor, minus infinity where an action is not allowed."""
    with torch.no_grad():
        logits: NDArray[np.float64] = policy.logits(torch.from_numpy(seen.astype(np.float64))).numpy()
    return np.where(mask, logits, -np.inf)
