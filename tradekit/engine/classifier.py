"""Any scikit-learn classifier as a strategy: it guesses whether a symbol rises after the fill."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import ConfigError, StrategyError
from tradekit.market import indicators
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel

CLOSE = FeatureSpec.named("close")
DIGITS = 9  # of a guess: a product of matrices differs in its last bits with the number of rows


@dataclass(frozen=True)
class ClassifierStrategy:
    """Hold 1/N of a symbol from a high guess until a low one.

    Learnt afresh from every train slice, on all symbols together. Guesses are averaged over a few bars, and what is
    high and low is a quantile of the guesses in training; in between a position is left alone. Both are there because a
    classifier that acts on every change of mind loses most of its money to costs.

    Attributes:
        name: unique.
        classifier: anything with scikit-learn's fit and predict_proba; it is cloned, never fitted itself.
        sell, buy: quantiles of the guesses in training, down to and from which it acts; 0 <= sell < buy <= 1.
        horizon_bars: from the fill to the price that decides whether it rose.
        smooth_bars: guesses that are averaged, the newest included.
        features: what the classifier sees.
        fitted: the classifier after ``fit``; None before.
        levels: guesses at ``sell`` and ``buy``; set by ``fit``.

    Raises:
        ConfigError: a setting out of range.
    """

    name: str
    classifier: Any
    sell: float = 0.02
    buy: float = 0.98
    horizon_bars: int = 5
    smooth_bars: int = 5
    features: FeatureSpec = CLOSE
    fitted: Any = None
    levels: tuple[float, float] = (0.0, 1.0)

    kind = "supervised"

    def __post_init__(self) -> None:
        if not 0.0 <= self.sell < self.buy <= 1.0:
            raise ConfigError(f"{self.name}: sell {self.sell} and buy {self.buy}; 0 <= sell < buy <= 1")
        if self.horizon_bars < 1 or self.smooth_bars < 1:
            raise ConfigError(f"{self.name}: horizon_bars and smooth_bars are whole numbers of bars, 1 or more")

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.features.lookback + self.smooth_bars - 1

    @property
    def label_bars(self) -> int:
        """Bars from a decision to the price that decides whether it was right."""
        return self.horizon_bars + 1

    def fit(self, train: Panel) -> ClassifierStrategy:
        """Return a copy that has learnt from ``train``.

        Raises:
            ValueError: the slice holds no two examples that differ.
        """
        from sklearn.base import clone
        from threadpoolctl import threadpool_limits

        table, rises, known = self.examples(train)
        if len(np.unique(rises[known])) < 2:
            raise ValueError(f"{len(train)} bars hold no two examples to tell apart")
        with threadpool_limits(1):
            model = clone(self.classifier).fit(table[known], rises[known])
        learnt = replace(self, fitted=model)
        guesses = learnt.guesses(table)
        sell, buy = np.quantile(guesses[~np.isnan(guesses)], [self.sell, self.buy])
        return replace(learnt, levels=(float(sell), float(buy)))

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone.

        Raises:
            StrategyError: nothing learnt yet.
        """
        if self.fitted is None:
            raise StrategyError(f"{self.name}: nothing learnt yet; run it with backtest --walk-forward")
        guess = self.guesses(self.features.compute(panel))
        sell, buy = self.levels
        target = np.full(guess.shape, np.nan)
        if buy > sell:  # else the classifier found nothing to tell apart
            target[guess >= buy] = 1.0 / len(panel.symbols)
            target[guess <= sell] = 0.0
        return target

    def guesses(self, table: Floats) -> Floats:
        """Return (T, N) probabilities of a rise, averaged over ``smooth_bars``; NaN where features (T, N, F) are."""
        from threadpoolctl import threadpool_limits

        known = ~np.isnan(table).any(axis=2)
        guess = np.full(known.shape, np.nan)
        if known.any():
            with threadpool_limits(1):
                guess[known] = self.fitted.predict_proba(table[known])[:, 1].round(DIGITS)
        return indicators.mean(guess, self.smooth_bars)

    def examples(self, train: Panel) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return features (T, N, F), whether the price rose after the fill (T, N), and where both are known (T, N).

        Bar d decides, d + 1 fills, and ``horizon_bars`` later it shows: the last ``horizon_bars + 1`` bars of the slice
        have no answer in it, and none is taken from beyond.
        """
        price = train.open if train.has_open else train.close
        growth = np.full(price.shape, np.nan)
        reach = self.horizon_bars + 1
        growth[:-reach] = price[reach:] / price[1 : len(price) - self.horizon_bars]
        table = self.features.compute(train)
        return table, growth > 1.0, ~np.isnan(growth) & ~np.isnan(table).any(axis=2)
