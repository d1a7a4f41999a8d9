"""Series that follow each other: what autocorrelation does to the variance of a mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.fft import dct

if TYPE_CHECKING:
    from tradekit.evidence.measures import Floats


class LongRun(NamedTuple):
    """A long-run variance and the degrees of freedom it was estimated with."""

    variance: float
    freedom: int


def long_run_variance(series: Floats) -> LongRun:
    """Return n times the variance of the mean of ``series`` (n,), a stationary series, and its degrees of freedom.

    The mean square of the first v cosine transforms, v = 0.4 n^(2/3); a mean over its error is then Student-t with v
    degrees of freedom, which allows for how little a short series says of its own persistence. Lazarus, Lewis, Stock
    and Watson (2018), doi:10.1080/07350015.2018.1506926. For independent values it estimates their variance. NaN
    under two values, or where a value is NaN.
    """
    bars = len(series)
    if bars < 2:
        return LongRun(math.nan, 0)
    freedom = min(bars - 1, max(1, round(0.4 * bars ** (2.0 / 3.0))))
    waves = dct(series, type=2, norm="ortho")[1 : freedom + 1]
    return LongRun(float(np.mean(waves**2)), freedom)
