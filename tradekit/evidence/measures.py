"""Measures of one strategy: pure functions of arrays.

Two kinds of input. ``returns`` is (n,) simple returns per bar as fractions, after costs. ``equity`` is (n + 1,) dollars
at each close; ``bar_returns`` turns one into the other.

One rule for what is undefined: too few bars, no volatility, no losing bar, a profit that is not there. The answer is
NaN, never an exception and never infinity. A NaN among the inputs makes the answer NaN, save in the measures against
another series, which use the bars that both have.

Annual figures use ``bars_per_year``, the bars in a year of 252 sessions. docs/metrics.md sets every definition beside
those of quantstats and vectorbt.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT = 1e-12
"""Volatility per bar below which a series counts as constant: what is left is the rounding of equity."""


def bar_returns(equity: Floats) -> Floats:
    """Return the (n,) simple returns of (n + 1,) equity; 0 for an account that was ruined before (equity <= 0).

    >>> bar_returns(np.array([100.0, 110.0, 0.0, 0.0])).round(12).tolist()
    [0.1, -1.0, 0.0]
    """
    before, after = equity[:-1], equity[1:]
    alive = ~(before <= 0.0)
    return np.where(alive, after / np.where(alive, before, 1.0) - 1.0, 0.0)


def session_returns(returns: Floats, session: NDArray[np.int64]) -> Floats:
    """Return the compounded return of each session from (n,) returns per bar and the (n,) session each bar lies in.

    Bars of a session stand together. A NaN makes its session NaN.

    >>> session_returns(np.array([0.1, 0.1, -0.5]), np.array([7, 7, 8])).round(12).tolist()
    [0.21, -0.5]
    """
    if not len(returns):
        return np.empty(0)
    starts = np.flatnonzero(np.diff(session, prepend=session[0] - 1))
    return np.multiply.reduceat(1.0 + returns, starts) - 1.0


# ------------------------------------------------------------------------------------------------- return and risk


def total_return(returns: Floats) -> float:
    """Return the compounded return, a fraction; NaN without bars."""
    return float(np.prod(1.0 + returns) - 1.0) if len(returns) else math.nan


def cagr(returns: Floats, bars_per_year: float) -> float:
    """Return the compound annual growth rate, ``(1 + total)^(bars_per_year / n) - 1``.

    -1 after ruin; NaN without bars, or where a short run annualises to more than a float can hold.
    """
    total = total_return(returns)
    if math.isnan(total):
        return math.nan
    if total <= -1.0:
        return -1.0
    log_growth = math.log1p(total) * bars_per_year / len(returns)
    return math.expm1(log_growth) if log_growth < 700.0 else math.nan


def deviation(returns: Floats) -> float:
    """Return the sample standard deviation per bar (n - 1); exactly 0 for a constant series, NaN under two bars."""
    if len(returns) < 2:
        return math.nan
    spread = float(np.std(returns, ddof=1))
    return 0.0 if spread < FLAT else spread


def volatility(returns: Floats, bars_per_year: float) -> float:
    """Return the annual standard deviation, ``deviation x sqrt(bars_per_year)``; NaN under two bars."""
    return deviation(returns) * math.sqrt(bars_per_year)


def drawdown(equity: Floats) -> Floats:
    """Return (n + 1,) the fraction by which each close lies under the highest so far; 0 at a peak."""
    return 1.0 - equity / np.maximum.accumulate(equity)


def max_drawdown(equity: Floats) -> float:
    """Return the deepest drawdown, a fraction >= 0; NaN without bars."""
    return float(drawdown(equity).max()) if len(equity) else math.nan


def longest_drawdown(equity: Floats) -> float:
    """Return the most bars in a row that closed under the highest close before them; NaN without bars.

    >>> longest_drawdown(np.array([100.0, 90.0, 95.0, 100.0, 99.0]))
    2.0
    """
    if not len(equity) or np.isnan(equity).any():
        return math.nan
    at_peak = np.flatnonzero(equity >= np.maximum.accumulate(equity))
    return float(np.diff(np.append(at_peak, len(equity))).max() - 1)


def sortino(returns: Floats, bars_per_year: float) -> float:
    """Return the mean over the downside deviation ``sqrt(mean(min(r, 0)^2))``, both over all n bars, annual.

    NaN without a losing bar. Sortino and Price (1994), doi:10.3905/joi.3.3.59, with a target of 0.
    """
    if not len(returns):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(np.mean(returns)) / downside * math.sqrt(bars_per_year) if downside >= FLAT else math.nan


def calmar(returns: Floats, bars_per_year: float) -> float:
    """Return compound annual growth over the deepest drawdown; NaN where equity never fell. Young (1991)."""
    fall = max_drawdown(np.concatenate([[1.0], np.cumprod(1.0 + returns)]))
    return cagr(returns, bars_per_year) / fall if fall >= FLAT else math.nan


def hit_rate(returns: Floats) -> float:
    """Return the share of gaining bars among those that moved; NaN where none did."""
    moved = np.count_nonzero(returns)
    return np.count_nonzero(returns > 0.0) / moved if moved and not np.isnan(returns).any() else math.nan


def profit_factor(returns: Floats) -> float:
    """Return the sum of gaining bars over the sum of losing bars; 0 if all lose, NaN if none does."""
    losses = -float(np.minimum(returns, 0.0).sum())
    return float(np.maximum(returns, 0.0).sum()) / losses if losses > 0.0 else math.nan


# ----------------------------------------------------------------------------------------------- trading and costs


def turnover(traded: Floats, equity: Floats, bars_per_year: float) -> float:
    """Return how many times equity was bought or sold in a year: the mean of traded dollars over equity before, annual.

    Purchases and sales both count, so that swapping the whole account for another asset is 2.

    Args:
        traded: (n,) dollars bought plus sold in each bar.
        equity: (n + 1,) dollars; row t is equity before bar t + 1.
        bars_per_year: bars in a year.

    NaN without bars; a bar after ruin counts 0.
    """
    return annual_share(traded, equity, bars_per_year)


def annual_share(dollars: Floats, equity: Floats, bars_per_year: float) -> float:
    """Return the mean of (n,) ``dollars`` per bar over (n + 1,) equity before the bar, a year; NaN without bars."""
    if not len(dollars):
        return math.nan
    before = equity[:-1]
    alive = ~(before <= 0.0)
    return float(np.mean(np.where(alive, dollars / np.where(alive, before, 1.0), 0.0))) * bars_per_year


def cost_ratio(costs: float, profit: float) -> float:
    """Return the share of the profit before costs that costs took: ``costs / (profit + costs)``, all in dollars.

    NaN where there was no profit before costs, of which costs could be a share.
    """
    gross = profit + costs
    return costs / gross if gross > 0.0 else math.nan


# -------------------------------------------------------------------------------------------- against a benchmark


def excess_over_benchmark(returns: Floats, benchmark: Floats, bars_per_year: float) -> float:
    """Return the compound annual growth less the benchmark's, over the bars that both have; NaN without any."""
    returns, benchmark = both_known(returns, benchmark)
    return cagr(returns, bars_per_year) - cagr(benchmark, bars_per_year)


def information_ratio(returns: Floats, benchmark: Floats, bars_per_year: float) -> float:
    """Return mean over deviation of the difference in return per bar, annual; NaN where the two never differ.

    Grinold and Kahn (2000), over the bars that both have.
    """
    returns, benchmark = both_known(returns, benchmark)
    spread = deviation(returns - benchmark)
    return float(np.mean(returns - benchmark)) / spread * math.sqrt(bars_per_year) if spread > 0.0 else math.nan


def ceiling_capture(returns: Floats, ceiling: Floats) -> float:
    """Return the share of the log growth of ``ceiling`` that ``returns`` brought, over the same bars.

    Growth compounds, so shares of it are taken in logs: half the ceiling's log growth for half the time is half of it.
    Negative for a loss; NaN after ruin, or where the ceiling did not grow.
    """
    mine, most = total_return(returns), total_return(ceiling)
    return math.log1p(mine) / math.log1p(most) if mine > -1.0 and most > FLAT else math.nan


def both_known(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return both series without the bars where either is NaN."""
    known = ~(np.isnan(first) | np.isnan(second))
    return first[known], second[known]
