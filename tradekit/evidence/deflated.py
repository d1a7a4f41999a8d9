"""How good the best of many tries looks when none of them is any good.

All Sharpe ratios are per bar. N tries without skill have a best one all the same; the deflated Sharpe ratio asks for
more than that best one would show. Bailey and Lopez de Prado (2014), doi:10.3905/jpm.2014.40.5.094.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.evidence.sharpe import bar_sharpe, difference_of, error_of, probability_above

if TYPE_CHECKING:
    from tradekit.evidence.measures import Floats

SAME_CORRELATION = 0.5
"""Tries whose returns correlate by this much, on average between groups, are one try."""


class Deflated(NamedTuple):
    """A deflated Sharpe ratio: a probability, and the Sharpe ratio per bar that the best of no-skill tries reaches."""

    probability: float
    threshold: float


def expected_best(trials: float, spread: float) -> float:
    """Return the Sharpe ratio expected of the best of ``trials`` independent ones of mean 0 and deviation ``spread``.

    ``spread ((1 - g) z(1 - 1/N) + g z(1 - 1/(N e)))`` with Euler's g: Bailey and Lopez de Prado (2014), equation 1. 0
    for one trial or fewer; NaN where the spread is.

    >>> round(expected_best(100, (0.5 / 250) ** 0.5), 4)
    0.1132
    """
    if math.isnan(spread):
        return math.nan
    if trials <= 1.0:
        return 0.0
    normal = NormalDist()
    gamma = float(np.euler_gamma)
    first, second = normal.inv_cdf(1.0 - 1.0 / trials), normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
    # Below two trials the first term is negative; the best of two is never worse than of one.
    return max(0.0, spread * ((1.0 - gamma) * first + gamma * second))


def deflated_sharpe(returns: Floats, trials: int) -> Deflated:
    """Return the probability that the true Sharpe ratio of ``returns`` exceeds what luck shows in the best of tries.

    The paper takes the spread of the tries from their own Sharpe ratios. Here it is that of tries without skill, the
    standard error of the ratio: what costs and skill add to the spread is not luck. Ten rules that trade too much, with
    ratios down to -5, would else hide any edge; two rules that happen to agree would hide none.

    Args:
        returns: (n,) simple returns per bar of the strategy that was chosen.
        trials: N, every try that could have been chosen, itself included. Those that go together may be counted once,
            see ``clusters_of``; counting each is on the safe side.

    Returns:
        NaN under two bars or without volatility.
    """
    error = error_of(returns)
    threshold = expected_best(trials, error.size)
    return Deflated(probability_above(bar_sharpe(returns), error, threshold), threshold)


def deflated_difference(returns: Floats, other: Floats, trials: int) -> Deflated:
    """Return the same for the difference of the Sharpe ratio of ``returns`` from that of ``other``, bar by bar.

    Where everything rises, anything that holds enough of it has a ratio that no luck explains; the best of several
    ways to hold it exceeds plain holding by luck all the same. Bars where either is NaN are left out.
    """
    gap, error = difference_of(returns, other)
    threshold = expected_best(trials, error.size)
    return Deflated(probability_above(gap, error, threshold), threshold)


def clusters_of(returns: Floats, least: float = SAME_CORRELATION) -> int:
    """Return how many groups the columns of ``returns`` (n, K) form when those that go together count once.

    Average linkage on 1 - correlation, cut at 1 - ``least``; the idea is that of Lopez de Prado and Lewis (2019),
    doi:10.1080/14697688.2019.1622295, with a cut anyone can check in place of their silhouettes. A column without
    volatility is a group of its own; a NaN is not allowed.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    moving = np.ptp(returns, axis=0) > 0.0 if len(returns) else np.zeros(returns.shape[1], bool)
    still = int(np.count_nonzero(~moving))
    if np.count_nonzero(moving) < 2:
        return len(returns.T)
    distance = np.clip(1.0 - np.corrcoef(returns[:, moving], rowvar=False), 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    groups = fcluster(linkage(squareform(distance, checks=False), "average"), 1.0 - least, "distance")
    return still + len(set(groups.tolist()))
