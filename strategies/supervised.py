"""Supervised: a gradient-boosted classifier guesses whether a symbol rises in the bar after the fill.

Learnt afresh in every walk-forward window, on its train slice alone and on all symbols together. It acts on its firmest
guesses only and leaves a position alone in between: otherwise most trades would be the classifier changing its mind,
and each one costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tradekit.errors import StrategyError
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel


CLOSE = FeatureSpec.named("close")


@dataclass(frozen=True)
class Supervised:
    """1/N in a symbol once a rise is likely, nothing once it is unlikely.

    Attributes:
        firm: share of the guesses in training that were high enough to buy on, and the share low enough to sell on.
        features: what the classifier sees.
        seed: of the classifier.
        model: fitted; None before ``fit``.
        sell, buy: probabilities of a rise down to and up from which it acts; set by ``fit``.
    """

    firm: float = 0.02
    features: FeatureSpec = CLOSE
    seed: int = 0
    model: HistGradientBoostingClassifier | None = None
    sell: float = 0.0
    buy: float = 1.0

    name = "supervised"
    kind = "supervised"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.features.lookback

    def fit(self, train: Panel) -> Supervised:
        """Return a copy that has learnt from ``train``."""
        table, rises, known = self._examples(train)
        if len(np.unique(rises[known])) < 2:
            raise ValueError(f"{len(train)} bars hold no two examples to tell apart")
        model = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=60,
            max_leaf_nodes=8,
            min_samples_leaf=100,
            early_stopping=False,
            random_state=self.seed,
        )
        with threadpool_limits(1, user_api="openmp"):
            model.fit(table[known], rises[known])
            guesses = model.predict_proba(table[known])[:, 1]
        sell, buy = np.quantile(guesses, [self.firm, 1.0 - self.firm])
        return replace(self, model=model, sell=float(sell), buy=float(buy))

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        if self.model is None:
            raise StrategyError("supervised: nothing learnt yet; run it with backtest --walk-forward")
        table = self.features.compute(panel)
        known = ~np.isnan(table).any(axis=2)
        guess = np.full(known.shape, np.nan)
        if known.any():
            with threadpool_limits(1, user_api="openmp"):
                guess[known] = self.model.predict_proba(table[known])[:, 1]
        target = np.full(known.shape, np.nan)
        if self.buy > self.sell:  # else the classifier found nothing to tell apart
            target[guess >= self.buy] = 1.0 / len(panel.symbols)
            target[guess <= self.sell] = 0.0
        return target

    def _examples(self, train: Panel) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return features (T, N, F), whether the bar after the fill rose (T, N), and where both are known (T, N).

        Bar d decides, d+1 fills, d+2 tells: the last two bars of the slice have no answer in it.
        """
        price = train.open if train.has_open else train.close
        growth = np.full(price.shape, np.nan)
        growth[:-2] = price[2:] / price[1:-1]
        table = self.features.compute(train)
        return table, growth > 1.0, ~np.isnan(growth) & ~np.isnan(table).any(axis=2)


strategy = Supervised()
