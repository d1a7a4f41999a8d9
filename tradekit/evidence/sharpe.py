"""The Sharpe ratio and how far it can be trusted.

All on (n,) simple returns per bar as fractions, after costs and over cash at 0 %. Annual figures are those per bar
times ``sqrt(bars_per_year)``. NaN where there are under two bars or no volatility; a NaN among the inputs makes NaN.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from tradekit.evidence.measures import Floats, both_known, deviation

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate between its bounds."""

    value: float
    low: float
    high: float


def bar_sharpe(returns: Floats) -> float:
    """Return mean over standard deviation per bar, not annual; NaN under two bars or without volatility."""
    spread = deviation(returns)
    return float(np.mean(returns)) / spread if spread > 0.0 else math.nan


def sharpe(returns: Floats, bars_per_year: float) -> float:
    """Return ``mean / deviation x sqrt(bars_per_year)``. Sharpe (1994), doi:10.3905/jpm.1994.409501.

    NaN under two bars or without volatility.
    """
    return bar_sharpe(returns) * math.sqrt(bars_per_year)


def skewness(returns: Floats) -> float:
    """Return the third standardised moment (population); 0 for a normal series, NaN without volatility."""
    return _standard_moment(returns, 3)


def kurtosis(returns: Floats) -> float:
    """Return the fourth standardised moment (population): 3 for a normal series, NaN without volatility."""
    return _standard_moment(returns, 4)


def sharpe_error(sharpe_per_bar: float, skew: float, kurt: float, bars: int) -> float:
    """Return the standard error of a Sharpe ratio per bar.

    ``sqrt((1 - skew S + (kurt - 1) / 4 S^2) / (n - 1))``: Mertens (2002), as in Bailey and Lopez de Prado (2012),
    doi:10.21314/JOR.2012.255. With skew 0 and kurt 3 it is Lo's (2002), doi:10.2469/faj.v58.n4.2453, for independent
    normal returns. Returns that follow each other (autocorrelation) make it too small or too large.
    """
    if bars < 2 or math.isnan(sharpe_per_bar + skew + kurt):
        return math.nan
    variance = 1.0 - skew * sharpe_per_bar + (kurt - 1.0) / 4.0 * sharpe_per_bar**2
    # Zero at the least by Pearson's inequality; rounding may put it below.
    return math.sqrt(max(variance, 0.0) / (bars - 1))


def sharpe_interval(returns: Floats, bars_per_year: float, level: float = LEVEL) -> Interval:
    """Return the annual Sharpe ratio with its ``level`` normal interval, by ``sharpe_error``; NaN as ``sharpe``."""
    per_bar, scale = bar_sharpe(returns), math.sqrt(bars_per_year)
    error = sharpe_error(per_bar, skewness(returns), kurtosis(returns), len(returns))
    return _normal_interval(per_bar * scale, error * scale, level)


def probabilistic_sharpe(returns: Floats, bars_per_year: float, threshold: float = 0.0) -> float:
    """Return the probability that the true annual Sharpe ratio exceeds ``threshold``, an annual figure too.

    Bailey and Lopez de Prado (2012), doi:10.21314/JOR.2012.255. NaN under two bars or without volatility.
    """
    per_bar = bar_sharpe(returns)
    error = sharpe_error(per_bar, skewness(returns), kurtosis(returns), len(returns))
    return probability_above(per_bar, error, threshold / math.sqrt(bars_per_year))


def probability_above(estimate: float, error: float, threshold: float) -> float:
    """Return the normal probability that what ``estimate`` estimates lies above ``threshold``; NaN without an error."""
    return NormalDist().cdf((estimate - threshold) / error) if error > 0.0 else math.nan


def sharpe_difference(returns: Floats, other: Floats, bars_per_year: float, level: float = LEVEL) -> Interval:
    """Return the annual Sharpe ratio of ``returns`` less that of ``other`` over the same bars, with its interval.

    The error is that of the delta method on paired bars, without assuming normal returns: Ledoit and Wolf (2008),
    doi:10.1016/j.jempfin.2008.03.002, for independent bars. With normal returns it is Memmel's (2003) correction of
    Jobson and Korkie. Bars where either is NaN are left out; NaN where either has no Sharpe ratio.
    """
    returns, other = both_known(returns, other)
    gap = bar_sharpe(returns) - bar_sharpe(other)
    if math.isnan(gap):
        return Interval(math.nan, math.nan, math.nan)
    moves = _influence(returns) - _influence(other)
    error = math.sqrt(float(np.mean(moves**2)) / (len(returns) - 1))
    scale = math.sqrt(bars_per_year)
    return _normal_interval(gap * scale, error * scale, level)


def _standard_moment(returns: Floats, order: int) -> float:
    if not deviation(returns) > 0.0:
        return math.nan
    away = returns - np.mean(returns)
    return float(np.mean(away**order) / np.mean(away**2) ** (order / 2))


def _influence(returns: Floats) -> Floats:
    """Return (n,) how far each bar moves the Sharpe ratio; the mean square is the variance of Mertens (2002)."""
    away = (returns - np.mean(returns)) / np.std(returns)
    moved: Floats = away - bar_sharpe(returns) / 2.0 * (away**2 - 1.0)
    return moved


def _normal_interval(value: float, error: float, level: float) -> Interval:
    reach = NormalDist().inv_cdf(0.5 + level / 2.0) * error
    return Interval(value, value - reach, value + reach)
