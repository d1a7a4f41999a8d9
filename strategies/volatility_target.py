"""Volatility target: equal weights, held back when the whole swings more than it should.

Moreira and Muir 2017 (doi:10.1111/jofi.12513), without leverage: never more than everything is invested. A closed
loop: it compares what it holds with what it wants, and trades only when the band is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.market.panel import SESSIONS_PER_YEAR

if TYPE_CHECKING:
    from tradekit.market.panel import Panel


@dataclass(frozen=True)
class VolatilityTarget:
    """Equal weights times target over volatility, at most 1, once the exposure is off by more than ``band``.

    Attributes:
        target: volatility a year.
        bars: over which the volatility of the equally weighted whole is measured.
        band: in exposure; at 0.1 a wanted 60 % may be anything from 50 % to 70 %.
    """

    target: float = 0.12
    bars: int = 60
    band: float = 0.1

    name = "volatility_target"
    kind = "heuristic"
    sleeves = False

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.bars + 1

    def fit(self, train: Panel) -> VolatilityTarget:
        """Nothing to learn."""
        return self

    def start(self, portfolios: int) -> None:
        """Nothing to remember."""

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        """Return (B, N) weights; NaN leaves a position alone."""
        wanted = self.exposure(view)
        held = (portfolios.shares + portfolios.pending) * np.nan_to_num(view.mark)
        off = np.abs(held.sum(axis=1) / portfolios.equity - wanted) > self.band
        share = np.where(view.tradable, wanted / len(view.symbols), np.nan)
        return Targets(np.where(off[:, None], share, np.nan))

    def exposure(self, view: View) -> float:
        """Return the fraction of equity to hold; NaN before there are enough bars or without movement."""
        if view.bar + 1 < self.lookback:
            return np.nan
        close, days = view.close[-self.lookback :], view.timestamps[-self.lookback :].astype("M8[D]")
        steps = close[1:] / close[:-1] - 1.0
        known = ~np.isnan(steps)
        whole = np.where(known, steps, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        bars_per_year = self.lookback / len(np.unique(days)) * SESSIONS_PER_YEAR
        swings = float(whole.std(ddof=1) * np.sqrt(bars_per_year))
        return min(1.0, self.target / swings) if swings > 0.0 else np.nan


strategy = VolatilityTarget()
