"""How far return and drawdown of a scenario might have been elsewhere: bounds from resamples of its bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tradekit.evidence.bootstrap import FALL, GROWTH, percentile_interval, resample
from tradekit.report.evidence import SEED
from tradekit.report.metrics import FEWEST_BARS, scored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.market.panel import Floats
    from tradekit.report.record import Track

DRAWS = 500
"""Resamples of a scenario: a quarter of those of the run, since there are dozens of scenarios."""

BOUNDED = ("total_return", "max_drawdown")
NAMES = tuple(f"{name}_{end}" for name in BOUNDED for end in ("low", "high"))


def scenario_bounds(tracks: Mapping[str, Track], block: float | None) -> dict[str, dict[str, float]]:
    """Return bounds of 95 % by strategy, NaN on too few bars; every strategy resampled by the same bars.

    Args:
        tracks: of one scenario, by strategy.
        block: mean length of a block in bars, that of the run; None: it has too few bars.
    """
    returns = [scored(track).returns for track in tracks.values()]
    if block is None or not returns or len(returns[0]) < FEWEST_BARS:
        return {name: dict.fromkeys(NAMES, math.nan) for name in tracks}
    table = resample(np.column_stack(returns), min(block, len(returns[0]) / 3.0), DRAWS, seed=SEED).table
    return {name: _bounds(table[:, k]) for k, name in enumerate(tracks)}


def _bounds(drawn: Floats) -> dict[str, float]:
    """Return the bounds of one strategy from its (R, 4) statistics."""
    values = (np.expm1(np.minimum(drawn[:, GROWTH], 700.0)), drawn[:, FALL])
    found = [percentile_interval(0.0, one) for one in values]
    return dict(zip(NAMES, (bound for one in found for bound in (one.low, one.high)), strict=True))
