"""Equal weight: 1/N of every symbol, put right when a position has drifted too far.

A closed loop: it compares what it holds with what it wants, and trades only when the band is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.strategy import Portfolios, Targets, View

if TYPE_CHECKING:
    from tradekit.market.panel import Panel


@dataclass(frozen=True)
class EqualWeight:
    """Rebalance all symbols to 1/N once any of them is off by more than ``band``.

    band: fraction of 1/N; at 0.25 and ten symbols a position may move between 7.5 % and 12.5 % of equity.
    """

    band: float = 0.25

    name = "equal_weight"
    kind = "heuristic"
    lookback = 1
    sleeves = False

    def fit(self, train: Panel) -> EqualWeight:
        """Nothing to learn."""
        return self

    def start(self, portfolios: int) -> None:
        """Nothing to remember."""

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        """Return (B, N) weights; NaN leaves a position alone."""
        share = 1.0 / len(view.symbols)
        weight = (portfolios.shares + portfolios.pending) * view.mark / portfolios.equity[:, None]
        outside = view.tradable & (np.abs(weight - share) > self.band * share)
        rebalance = outside.any(axis=1, keepdims=True)
        return Targets(np.where(rebalance & view.tradable, share, np.nan))


strategy = EqualWeight()
