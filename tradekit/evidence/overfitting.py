"""Is the choice of the best configuration worth anything on bars it was not chosen on?"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from tradekit.evidence.measures import FLAT

if TYPE_CHECKING:
    from tradekit.evidence.measures import Floats

BLOCKS = 16


def overfitting_probability(returns: Floats, blocks: int = BLOCKS) -> float:
    """Return the share of splits in which the best configuration in sample ranks in the lower half out of sample.

    Combinatorially symmetric cross-validation: the bars are cut into ``blocks`` of equal length, every half of the
    blocks is in sample once, and the Sharpe ratio ranks. Bailey, Borwein, Lopez de Prado and Zhu (2017),
    doi:10.21314/JCF.2016.322. With the relative rank w = rank / (K + 1), in the lower half means w <= 1/2; equal
    ratios share the mean of their ranks, and among equal ones in sample the first is taken.

    Args:
        returns: (n, K) simple returns per bar of the configurations that could be chosen, on the same bars.
        blocks: even, 2 or more.

    Returns:
        NaN under two configurations, under two bars a block, or where a value is NaN. A configuration without
        volatility in a half has a ratio of 0 there.
    """
    bars, several = returns.shape
    if several < 2 or bars < 2 * blocks or np.isnan(returns).any():
        return math.nan
    chosen = _halves(blocks)
    sums, squares, counts = _block_sums(returns, blocks)
    inside, outside = (_ratios(half, sums, squares, counts) for half in (chosen, 1.0 - chosen))
    best = np.argmax(inside, axis=1)
    theirs = np.take_along_axis(outside, best[:, None], axis=1)
    rank = (outside < theirs).sum(axis=1) + ((outside == theirs).sum(axis=1) + 1) / 2
    return float(np.mean(rank / (several + 1) <= 0.5))


def _halves(blocks: int) -> Floats:
    """Return (C, blocks) every choice of half of the blocks, 1 where chosen."""
    picks = np.array(list(combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(picks), blocks))
    np.put_along_axis(chosen, picks, 1.0, axis=1)
    return chosen


def _block_sums(returns: Floats, blocks: int) -> tuple[Floats, Floats, Floats]:
    """Return (blocks, K) sums and sums of squares, and (blocks, 1) bars."""
    starts = np.array([piece[0] for piece in np.array_split(np.arange(len(returns)), blocks)])
    counts = np.diff(np.append(starts, len(returns))).astype(float)
    return np.add.reduceat(returns, starts), np.add.reduceat(returns**2, starts), counts[:, None]


def _ratios(half: Floats, sums: Floats, squares: Floats, counts: Floats) -> Floats:
    """Return (C, K) mean over deviation on the blocks of each ``half`` (C, blocks)."""
    # einsum adds in one order whatever the machine's BLAS does, so that equal configurations tie everywhere.
    total, square, bars = (np.einsum("cb,bk->ck", half, part) for part in (sums, squares, counts))
    mean = total / bars
    variance = (square / bars - mean**2) * bars / (bars - 1.0)
    # Under 1e-12 a bar it is rounding, as in ``measures.deviation``.
    moving = variance > FLAT**2
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
