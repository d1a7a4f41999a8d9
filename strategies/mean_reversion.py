"""Mean reversion: buy a symbol that fell far below its average, sell it when it is back.

Far is two standard deviations of its own closes, the Bollinger band; in between a position is left alone. That losers
of some weeks recover is in Lehmann 1990 (doi:10.2307/2937816).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class MeanReversion:
    """1/N in a symbol from ``enter`` standard deviations below its ``bars``-bar average until it closes above it."""

    bars: int = 60
    enter: float = -2.0

    name = "mean_reversion"
    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.bars

    def fit(self, train: Panel) -> MeanReversion:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        score = indicators.z_score(panel.close, self.bars)
        target = np.full(score.shape, np.nan)
        target[score <= self.enter] = 1.0 / len(panel.symbols)
        target[score > 0.0] = 0.0
        return target


strategy = MeanReversion()
