"""Buy and hold: an equal share of every symbol, bought once and kept. The bar that every other strategy has to clear.

A closed loop: it looks at what it holds, so an order that could not be filled is tried again and a restarted session
does not buy twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.strategy import Portfolios, Targets, View

if TYPE_CHECKING:
    from tradekit.market.panel import Panel


class BuyAndHold:
    """Ask for 1/N of equity in each symbol that is not held yet; leave the others alone."""

    name = "buy_and_hold"
    kind = "heuristic"
    lookback = 1
    sleeves = False

    def fit(self, train: Panel) -> BuyAndHold:
        """Nothing to learn."""
        return self

    def start(self, portfolios: int) -> None:
        """Nothing to remember."""

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        """Return (B, N) weights; NaN leaves a position alone."""
        absent = (portfolios.shares == 0.0) & (portfolios.pending == 0.0)
        return Targets(np.where(absent & view.tradable, 1.0 / len(view.symbols), np.nan))


strategy = BuyAndHold()
