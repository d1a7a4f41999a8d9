"""Regime aware: how much of a symbol to hold depends on its trend and on how volatile it is by its own standards.

========= ===== =========
trend     calm  turbulent
========= ===== =========
up        all   half
down      half  none
========= ===== =========

It decides on the first bar of a week (numpy's weeks begin on Thursday).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class RegimeAware:
    """A share of 1/N per symbol, by regime.

    Attributes:
        average: bars of the moving average; above it the trend is up.
        volatility: bars of the volatility.
        year: bars over which today's volatility is ranked.
        turbulent: rank in [0, 1] from which a symbol counts as turbulent.
    """

    average: int = 200
    volatility: int = 20
    year: int = 252
    turbulent: float = 0.8

    name = "regime_aware"
    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return max(self.average, self.volatility + self.year)

    def fit(self, train: Panel) -> RegimeAware:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        gap = indicators.average_gap(panel.close, self.average)
        rank = indicators.volatility_rank(panel.close, self.volatility, self.year)
        exposure = 0.5 * (gap > 0.0) + 0.5 * (rank < self.turbulent)
        week = panel.timestamps.astype("M8[W]")
        new_week = np.append(False, week[1:] != week[:-1])
        known = ~np.isnan(gap) & ~np.isnan(rank)
        return np.where(new_week[:, None] & known, exposure / len(panel.symbols), np.nan)


strategy = RegimeAware()
