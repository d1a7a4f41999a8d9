"""Time-series momentum: each month, hold every symbol that rose over a year, whatever the others did.

Moskowitz, Ooi and Pedersen 2012 (doi:10.1016/j.jfineco.2011.11.003), without shorts and without leverage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class TimeSeriesMomentum:
    """1/N in every symbol whose return over ``bars`` bars is positive, on the first bar of a month, else cash."""

    bars: int = 252

    name = "time_series_momentum"
    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.bars + 1

    def fit(self, train: Panel) -> TimeSeriesMomentum:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        rise = indicators.log_return(panel.close, self.bars)
        target = np.where(rise > 0.0, 1.0 / len(panel.symbols), 0.0)
        month = panel.timestamps.astype("M8[M]")
        new_month = np.append(False, month[1:] != month[:-1])
        return np.where(new_month[:, None] & ~np.isnan(rise), target, np.nan)


strategy = TimeSeriesMomentum()
