"""A learner is a distribution of results, one per seed: what holds across seeds.

Scores are (R, M): R seeds on M tasks, such as windows or markets. Agarwal, Schwarzer, Castro, Courville and Bellemare
(2021), "Deep reinforcement learning at the edge of the statistical precipice", arXiv:2108.13264.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tradekit.evidence.bootstrap import percentile_interval
from tradekit.evidence.sharpe import LEVEL, Interval

if TYPE_CHECKING:
    from tradekit.evidence.measures import Floats

DRAWS = 2000


def interquartile_mean(scores: Floats) -> float:
    """Return the mean of the middle half of all ``scores``; NaN without any or with a NaN.

    A quarter of them, rounded down, is cut from either end, as scipy's ``trim_mean`` does.

    >>> interquartile_mean(np.array([[1.0, 2.0], [3.0, 100.0]]))
    2.5
    """
    ordered = np.sort(scores, axis=None)
    cut = len(ordered) // 4
    return float(np.mean(ordered[cut : len(ordered) - cut])) if len(ordered) else math.nan


def interquartile_interval(scores: Floats, draws: int = DRAWS, *, seed: int = 0, level: float = LEVEL) -> Interval:
    """Return the interquartile mean between stratified bootstrap bounds: seeds are drawn afresh within each task.

    Bounds are NaN with fewer than two seeds.
    """
    value = interquartile_mean(scores)
    if len(scores) < 2:
        return Interval(value, math.nan, math.nan)
    drawn = [interquartile_mean(one) for one in _resamples(scores, draws, np.random.default_rng(seed))]
    return percentile_interval(value, np.array(drawn), level)


def probability_of_improvement(scores: Floats, other: Floats) -> float:
    """Return the mean over tasks of the chance that a seed of ``scores`` beats one of ``other``; ties count half.

    Args:
        scores: (R, M).
        other: (Q, M) on the same tasks.

    Returns:
        NaN without a seed or a task on either side, or with a NaN.
    """
    if not scores.size or not other.size or np.isnan(scores).any() or np.isnan(other).any():
        return math.nan
    mine, theirs = scores[:, None, :], other[None, :, :]
    return float(np.mean((mine > theirs) + 0.5 * (mine == theirs)))


def improvement_interval(
    scores: Floats, other: Floats, draws: int = DRAWS, *, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Return the probability of improvement between stratified bootstrap bounds; NaN bounds under two seeds on both."""
    value = probability_of_improvement(scores, other)
    if max(len(scores), len(other)) < 2:
        return Interval(value, math.nan, math.nan)
    random = np.random.default_rng(seed)
    pairs = zip(_resamples(scores, draws, random), _resamples(other, draws, random), strict=True)
    return percentile_interval(value, np.array([probability_of_improvement(*pair) for pair in pairs]), level)


def _resamples(scores: Floats, draws: int, random: np.random.Generator) -> list[Floats]:
    """Return ``draws`` tables like ``scores``, each column's entries drawn from that column with replacement."""
    rows = random.integers(0, len(scores), (draws, *scores.shape))
    return [np.take_along_axis(scores, one, axis=0) for one in rows]
