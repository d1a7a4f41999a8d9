"""SMA crossover: hold a symbol while its fast moving average is above its slow one.

It decides on the first bar of a week (numpy's weeks begin on Thursday). Averages this slow do not need more, and a
cross that is undone within days costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class SmaCross:
    """1/N in every symbol whose ``fast``-bar average is above its ``slow``-bar average, else cash."""

    fast: int = 50
    slow: int = 200

    name = "sma_cross"
    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.slow

    def fit(self, train: Panel) -> SmaCross:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        trend = indicators.trend(panel.close, self.fast, self.slow)
        target = np.where(trend > 0.0, 1.0 / len(panel.symbols), 0.0)
        week = panel.timestamps.astype("M8[W]")
        new_week = np.append(False, week[1:] != week[:-1])
        return np.where(new_week[:, None] & ~np.isnan(trend), target, np.nan)


strategy = SmaCross()
