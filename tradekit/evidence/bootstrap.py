"""The stationary bootstrap: what else the same bars might have looked like.

Blocks of random, geometric length keep what follows what inside a block. Politis and Romano (1994),
doi:10.1080/01621459.1994.10476870. The indices come from arch; one set of indices serves every strategy of a run, so
that differences between strategies are resampled on the same bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from tradekit.evidence.measures import FLAT
from tradekit.evidence.sharpe import LEVEL, Interval, bar_sharpe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.evidence.measures import Floats

DRAWS = 2000
MEAN, DEVIATION, GROWTH, FALL = range(4)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Statistics of every strategy in every resample.

    Attributes:
        table: (R, S, 4) mean and standard deviation (n - 1) of the returns, log of final over initial equity (-inf
            after ruin), and deepest drawdown.
        bars: n.
        block: mean length of the blocks.
    """

    table: Floats
    bars: int
    block: float

    @property
    def sharpe(self) -> Floats:
        """(R, S) Sharpe ratios per bar; 0 where a resample has no volatility."""
        mean, spread = self.table[..., MEAN], self.table[..., DEVIATION]
        return np.where(spread < FLAT, 0.0, mean / np.where(spread < FLAT, 1.0, spread))

    def cagr(self, bars_per_year: float) -> Floats:
        """(R, S) compound annual growth rates."""
        return np.expm1(np.minimum(self.table[..., GROWTH] * bars_per_year / self.bars, 700.0))


def block_length(returns: Floats) -> float:
    """Return the mean block length that suits ``returns`` (n,): Politis and White (2004), doi:10.1081/ETC-120028836.

    As corrected by Patton, Politis and White (2009), by arch. From 1 to a third of the bars; 1 for a series without
    volatility or under ten bars, NaN where a value is NaN.
    """
    from arch.bootstrap import optimal_block_length

    if np.isnan(returns).any():
        return math.nan
    if len(returns) < 10 or np.ptp(returns) < FLAT:
        return 1.0
    found = float(optimal_block_length(returns)["stationary"].iloc[0])
    return float(np.clip(found, 1.0, len(returns) / 3.0)) if math.isfinite(found) else 1.0


def resample(returns: Floats, block: float, draws: int = DRAWS, *, seed: int = 0) -> Resampled:
    """Return the statistics of ``draws`` resamples of ``returns`` (n, S), simple returns per bar of S strategies.

    Every strategy is resampled by the same bars. Memory does not grow with n x draws.
    """
    from arch.bootstrap import StationaryBootstrap

    columns = np.ascontiguousarray(returns.T)
    table = np.full((draws, len(columns), 4), math.nan)
    if returns.size and len(returns) > 1:
        source = StationaryBootstrap(max(1, round(block)), np.arange(len(returns)), seed=seed)
        for draw, ((rows,), _) in enumerate(source.bootstrap(draws)):
            _statistics(columns, np.asarray(rows, np.int64), table[draw])
    return Resampled(table, len(returns), block)


@njit(cache=True)
def _statistics(columns: Floats, rows: NDArray[np.int64], out: Floats) -> None:
    """Fill ``out`` (S, 4) for the ``rows`` (n,) of ``columns`` (S, n)."""
    bars = len(rows)
    for which in range(len(columns)):
        returns = columns[which]
        total, equity, peak, fall = 0.0, 1.0, 1.0, 0.0
        for row in rows:
            gain = returns[row]
            total += gain
            equity *= max(0.0, 1.0 + gain)
            if equity > peak:
                peak = equity
            elif 1.0 - equity / peak > fall:
                fall = 1.0 - equity / peak
        mean = total / bars
        square = 0.0
        for row in rows:
            square += (returns[row] - mean) ** 2
        out[which, 0] = mean
        out[which, 1] = math.sqrt(square / (bars - 1))
        out[which, 2] = math.log(equity) if equity > 0.0 else -math.inf
        out[which, 3] = fall


def percentile_interval(value: float, draws: Floats, level: float = LEVEL) -> Interval:
    """Return ``value`` between the outer quantiles of ``draws`` (R,), which hold ``level`` of them; NaN with a NaN."""
    if math.isnan(value) or np.isnan(draws).any():
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(draws, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return Interval(value, float(low), float(high))


def paired_p(value: float, draws: Floats) -> float:
    """Return the one-sided p-value of a difference of ``value`` against one of zero or less.

    The share of resampled differences (R,) that lie above their centre by as much as ``value`` lies above zero, the
    observed one counted among them, so never 0. NaN with a NaN.
    """
    if math.isnan(value) or np.isnan(draws).any():
        return math.nan
    return (1.0 + float(np.count_nonzero(draws - value >= value))) / (1.0 + len(draws))


def sharpe_gap(returns: Floats, other: Floats, bars_per_year: float) -> float:
    """Return the annual Sharpe ratio of ``returns`` (n,) less that of ``other`` (n,); NaN where either has none."""
    return (bar_sharpe(returns) - bar_sharpe(other)) * math.sqrt(bars_per_year)
