"""Does any of several strategies beat a benchmark, once it is allowed for that several were looked at?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.evidence.measures import deviation

if TYPE_CHECKING:
    from tradekit.evidence.measures import Floats

DRAWS = 1000


class Spa(NamedTuple):
    """P-values of the test for superior predictive ability: least conservative, Hansen's choice, White's."""

    lower: float
    consistent: float
    upper: float


def superior_ability(returns: Floats, benchmark: Floats, block: float, draws: int = DRAWS, *, seed: int = 0) -> Spa:
    """Return p-values of the hypothesis that no strategy has a higher mean return than the benchmark.

    Hansen (2005), doi:10.1198/073500105000000063, and White's reality check (``upper``) by arch, with the stationary
    bootstrap. Each difference is divided by its standard deviation first, so that a volatile strategy does not drown
    the others.

    Args:
        returns: (n, K) simple returns per bar of the strategies.
        benchmark: (n,) those of what they are to beat.
        block: mean length of the bootstrap's blocks, in bars.
        draws: resamples.
        seed: of the bootstrap.

    Returns:
        NaN where there is no strategy, no bar, or no strategy that ever differs from the benchmark.
    """
    from arch.bootstrap import SPA

    gains, _ = _scaled(returns, benchmark)
    if not gains.size:
        return Spa(math.nan, math.nan, math.nan)
    test = SPA(np.zeros(len(gains)), -gains, block_size=_whole(block), reps=draws, seed=seed)
    test.compute()
    return Spa(*(float(test.pvalues[name]) for name in Spa._fields))


def step_m(
    returns: Floats, benchmark: Floats, block: float, draws: int = DRAWS, *, size: float = 0.05, seed: int = 0
) -> list[int]:
    """Return the columns of ``returns`` that beat the benchmark, wrongly naming any with probability ``size`` at most.

    The stepwise test of Romano and Wolf (2005), doi:10.1111/j.1468-0262.2005.00615.x, by arch. Arguments as in
    ``superior_ability``.
    """
    from arch.bootstrap import StepM

    gains, columns = _scaled(returns, benchmark)
    if not gains.size:
        return []
    test = StepM(np.zeros(len(gains)), -gains, size=size, block_size=_whole(block), reps=draws, seed=seed)
    test.compute()
    # Places, not labels: the losses were given without any.
    return [columns[place] for place in test.superior_models if isinstance(place, int | np.integer)]


def _scaled(returns: Floats, benchmark: Floats) -> tuple[Floats, list[int]]:
    """Return (n, k) differences from the benchmark over their deviation, and which columns of ``returns`` they are."""
    gains = returns - benchmark[:, None]
    spread = np.array([deviation(column) for column in gains.T])
    columns = np.flatnonzero(spread > 0.0)
    return gains[:, columns] / spread[columns], columns.tolist()


def _whole(block: float) -> int:
    return max(1, round(block))
