"""Across seeds: Agarwal et al. (2021) against scipy, counting by hand, and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tradekit.evidence import seeds as s


def test_interquartile_mean_by_hand_and_by_scipy() -> None:
    # Eight scores: two go from either end; 3, 4, 5, 6 remain.
    assert s.interquartile_mean(np.array([[8.0, 1.0, 6.0, 3.0], [5.0, 2.0, 100.0, 4.0]])) == 4.5
    scores = np.random.default_rng(1).standard_t(2, (7, 5))
    assert s.interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None))
    assert s.interquartile_mean(np.array([[3.0]])) == 3.0
    assert math.isnan(s.interquartile_mean(np.empty((0, 3))))


def test_interval_is_stratified() -> None:
    """Tasks differ by a thousand times as much as seeds: drawn within tasks, the interval does not see it."""
    random = np.random.default_rng(2)
    scores = random.normal(0.0, 1.0, (12, 4)) + np.array([0.0, 1000.0, 1000.0, 2000.0])
    found = s.interquartile_interval(scores, 500)
    assert found.low < found.value < found.high
    assert found.high - found.low < 3.0
    assert found == s.interquartile_interval(scores, 500)


def test_interval_covers() -> None:
    random, inside = np.random.default_rng(3), 0
    for _ in range(200):
        found = s.interquartile_interval(random.normal(0.0, 1.0, (20, 5)), 200, seed=int(random.integers(2**31)))
        inside += found.low <= 0.0 <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_probability_of_improvement_by_hand() -> None:
    mine, theirs = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 5.0], [0.0, 4.0], [3.0, 6.0]])
    # First task: 1 beats 0; 3 beats 2 and 0 and ties 3: 3.5 of 6. Second: each 5 ties 5, beats 4: 1.5 of 3.
    assert s.probability_of_improvement(mine, theirs) == pytest.approx((3.5 / 6.0 + 0.5) / 2.0)
    assert s.probability_of_improvement(mine, theirs) + s.probability_of_improvement(theirs, mine) == pytest.approx(1.0)


def test_probability_of_improvement_is_mann_whitneys() -> None:
    random = np.random.default_rng(4)
    mine, theirs = random.normal(0.3, 1.0, (9, 1)), random.normal(0.0, 1.0, (6, 1))
    u = stats.mannwhitneyu(mine.ravel(), theirs.ravel()).statistic
    found = s.improvement_interval(mine, theirs, 400)
    assert found.value == pytest.approx(u / 54.0)
    assert found.low < found.value < found.high


def test_one_seed_has_no_interval() -> None:
    alone = s.interquartile_interval(np.array([[1.0, 2.0]]))
    assert alone.value == 1.5
    assert math.isnan(alone.low)
    assert math.isnan(s.improvement_interval(np.ones((1, 2)), np.zeros((1, 2))).high)
    assert math.isnan(s.probability_of_improvement(np.empty((0, 2)), np.ones((1, 2))))
