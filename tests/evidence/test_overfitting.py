"""Backtest overfitting against a loop written from the paper, and where the answer is known."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from tradekit.evidence.overfitting import overfitting_probability

Floats = NDArray[np.float64]


def by_loop(returns: Floats, blocks: int) -> float:
    """Section 2 of the paper, step by step."""
    pieces = np.array_split(returns, blocks)
    logits = []
    for picked in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([pieces[k] for k in picked])
        outside = np.concatenate([pieces[k] for k in range(blocks) if k not in picked])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        ratios = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        relative = (np.sum(ratios < ratios[best]) + 1) / (returns.shape[1] + 1)
        logits.append(math.log(relative / (1.0 - relative)))
    return float(np.mean(np.array(logits) <= 0.0))


@pytest.mark.parametrize(("bars", "several", "blocks"), [(64, 5, 4), (103, 2, 6), (230, 9, 8), (500, 4, 10)])
def test_the_paper_step_by_step(bars: int, several: int, blocks: int) -> None:
    returns = np.random.default_rng(bars).normal(0.0002, 0.01, (bars, several))
    assert overfitting_probability(returns, blocks) == pytest.approx(by_loop(returns, blocks))


def test_by_hand() -> None:
    """Two blocks: the first strategy is better in one, the second in the other, so the choice is always wrong."""
    first = np.array([0.03, 0.01, 0.03, 0.01, -0.01, 0.01, -0.01, 0.00])
    assert overfitting_probability(np.column_stack([first, first[::-1]]), 2) == 1.0
    # The first is better in both: the choice is always right.
    assert overfitting_probability(np.column_stack([first + 0.02, first[::-1] * 0.1 - 0.02]), 2) == 0.0


def test_one_that_is_better_is_not_overfitted_and_equals_are() -> None:
    returns = np.random.default_rng(1).normal(0.0, 0.01, (1000, 8))
    better = returns + np.eye(8)[0] * 0.003
    assert overfitting_probability(better) == 0.0
    assert overfitting_probability(np.repeat(returns[:, :1], 4, axis=1)) == 1.0


def test_luck_alone_is_a_coin_at_best() -> None:
    """The mean over samples of strategies that are all the same is a half or more."""
    random = np.random.default_rng(2)
    found = [overfitting_probability(random.normal(0.0, 0.01, (400, 10)), 8) for _ in range(60)]
    assert 0.45 < np.mean(found) < 0.7


def test_undefined() -> None:
    returns = np.random.default_rng(3).normal(size=(100, 3))
    assert math.isnan(overfitting_probability(returns[:, :1]))
    assert math.isnan(overfitting_probability(returns[:31]))
    returns[5, 1] = np.nan
    assert math.isnan(overfitting_probability(returns))


def test_a_strategy_that_never_moves_ranks_as_a_ratio_of_zero() -> None:
    gains = np.random.default_rng(4).normal(0.005, 0.01, 320)
    assert overfitting_probability(np.column_stack([gains, np.zeros(320)])) == 0.0
