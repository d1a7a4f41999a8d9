"""The Sharpe ratio and how far it can be trusted.

All on (n,) simple returns per bar as fractions, after costs and over cash at 0 %. Annual figures are those per bar
times ``sqrt(bars_per_year)``. NaN where there are under two bars or no volatility; a NaN among the inputs makes NaN.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from tradekit.evidence.measures import Floats, both_known, deviation
from tradekit.evidence.serial import long_run_variance

LEVEL = 0.95


class Interval(NamedTuple):
    """An estimate between its bounds."""

    value: float
    low: float
    high: float


class Error(NamedTuple):
    """The standard error of an estimate, and the degrees of freedom of the Student-t that belongs to it."""

    size: float
    freedom: float


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
    normal returns. Returns that follow each other (autocorrelation) make it too small or too large: ``error_of``
    allows for that.
    """
    if bars < 2 or math.isnan(sharpe_per_bar + skew + kurt):
        return math.nan
    variance = 1.0 - skew * sharpe_per_bar + (kurt - 1.0) / 4.0 * sharpe_per_bar**2
    # Zero at the least by Pearson's inequality; rounding may put it below.
    return math.sqrt(max(variance, 0.0) / (bars - 1))


def error_of(returns: Floats) -> Error:
    """Return the standard error of ``bar_sharpe`` of ``returns``, also where bars follow each other.

    The delta method: what each bar moves the ratio by, whose mean square is the variance of Mertens (2002), with the
    long-run variance in place of the mean square, as Lo (2002), doi:10.2469/faj.v58.n4.2453, does for autocorrelated
    returns. A bar that the estimate leans on counts for more: MacKinnon and White (1985), their HC3,
    doi:10.1016/0304-4076(85)90158-7. NaN under two bars or without volatility.
    """
    if not deviation(returns) > 0.0:
        return Error(math.nan, math.nan)
    return _error_of_mean(_moves(returns))


def sharpe_interval(returns: Floats, bars_per_year: float, level: float = LEVEL) -> Interval:
    """Return the annual Sharpe ratio with its ``level`` interval, by ``error_of``; NaN as ``sharpe``."""
    return _interval(bar_sharpe(returns), error_of(returns), math.sqrt(bars_per_year), level)


def probabilistic_sharpe(returns: Floats, bars_per_year: float, threshold: float = 0.0) -> float:
    """Return the probability that the true annual Sharpe ratio exceeds ``threshold``, an annual figure too.

    Bailey and Lopez de Prado (2012), doi:10.21314/JOR.2012.255, with ``error_of`` in place of the error for independent
    bars. NaN under two bars or without volatility.
    """
    return probability_above(bar_sharpe(returns), error_of(returns), threshold / math.sqrt(bars_per_year))


def probability_above(estimate: float, error: Error, threshold: float) -> float:
    """Return the probability that what ``estimate`` estimates lies above ``threshold``; NaN without an error."""
    if not error.size > 0.0:
        return math.nan
    distance = (estimate - threshold) / error.size
    return NormalDist().cdf(distance) if math.isinf(error.freedom) else float(stdtr(error.freedom, distance))


def least_bars(sharpe_per_bar: float, skew: float, kurt: float, threshold: float = 0.0, level: float = LEVEL) -> float:
    """Return how many bars it takes to say with probability ``level`` that the true ratio exceeds ``threshold``.

    The minimum track record length of Bailey and Lopez de Prado (2012), equation 13, for independent bars; both ratios
    per bar. NaN where the estimate is not above the threshold: no number of such bars would do.
    """
    if not sharpe_per_bar > threshold:
        return math.nan
    variance = max(1.0 - skew * sharpe_per_bar + (kurt - 1.0) / 4.0 * sharpe_per_bar**2, 0.0)
    return 1.0 + variance * (NormalDist().inv_cdf(level) / (sharpe_per_bar - threshold)) ** 2


def least_track_record(returns: Floats, level: float = LEVEL) -> float:
    """Return how many bars like these it takes for ``probabilistic_sharpe`` to reach ``level`` above zero.

    ``least_bars`` with ``error_of``, which falls with the root of the bars, in place of the error for independent
    bars. NaN where the ratio is not above zero, under two bars or without volatility.
    """
    per_bar, error = bar_sharpe(returns), error_of(returns)
    if not (per_bar > 0.0 and error.size > 0.0):
        return math.nan
    return 1.0 + (len(returns) - 1) * (float(stdtrit(error.freedom, level)) * error.size / per_bar) ** 2


def sharpe_difference(returns: Floats, other: Floats, bars_per_year: float, level: float = LEVEL) -> Interval:
    """Return the annual Sharpe ratio of ``returns`` less that of ``other`` over the same bars, with its interval.

    The error is that of the delta method on paired bars, without assuming normal or independent returns: Ledoit and
    Wolf (2008), doi:10.1016/j.jempfin.2008.03.002, with another estimator of the long-run variance. For independent
    normal returns it is Memmel's (2003) correction of Jobson and Korkie. Bars where either is NaN are left out; NaN
    where either has no Sharpe ratio.
    """
    gap, error = difference_of(returns, other)
    return _interval(gap, error, math.sqrt(bars_per_year), level)


def difference_of(returns: Floats, other: Floats) -> tuple[float, Error]:
    """Return the difference per bar of two Sharpe ratios and its error; see ``sharpe_difference``."""
    returns, other = both_known(returns, other)
    gap = bar_sharpe(returns) - bar_sharpe(other)
    if math.isnan(gap):
        return math.nan, Error(math.nan, math.nan)
    return gap, _error_of_mean(_moves(returns) - _moves(other))


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


def _moves(returns: Floats) -> Floats:
    """Return (n,) the influences, each over one less its leverage, with a mean of zero."""
    square = (returns - np.mean(returns)) ** 2
    # As of a line fitted through the bars. One that carries everything has leverage 1: it counts double, not for ever.
    leverage = np.minimum((1.0 + square / np.mean(square)) / len(returns), 0.5)
    moved: Floats = _influence(returns) / (1.0 - leverage)
    return moved - float(np.mean(moved))


def _error_of_mean(moves: Floats) -> Error:
    """Return the error of the mean of ``moves`` (n,)."""
    found = long_run_variance(moves)
    return Error(math.sqrt(found.variance / (len(moves) - 1)), found.freedom)


def _interval(value: float, error: Error, scale: float, level: float) -> Interval:
    reach = float(stdtrit(error.freedom, 0.5 + level / 2.0)) * error.size
    return Interval(value * scale, (value - reach) * scale, (value + reach) * scale)
