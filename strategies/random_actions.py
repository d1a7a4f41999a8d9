"""Random actions: the null. What does trading without any information earn, after costs?

The draws depend on the seed, the time of the bar and the symbol, and on nothing else: not on the other symbols, not on
where the data starts, not on the order of calls. A strategy that cannot beat this one has found nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.execution import symbol_key
from tradekit.market.kernel import uniform

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

ACT, CHOOSE = 0, 1


@dataclass(frozen=True)
class RandomActions:
    """In a share ``rate`` of the bars, set a symbol to one of ``levels``, each a fraction of 1/N."""

    seed: int = 0
    rate: float = 0.05
    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)

    name = "random_actions"
    kind = "null"
    lookback = 1

    def fit(self, train: Panel) -> RandomActions:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        choice = (self._draws(panel, CHOOSE) * len(self.levels)).astype(np.int64)
        target = np.array(self.levels)[choice] / len(panel.symbols)
        return np.where(self._draws(panel, ACT) < self.rate, target, np.nan)

    def _draws(self, panel: Panel, stream: int) -> Floats:
        times = panel.timestamps.astype("M8[ns]").view(np.uint64)
        symbols = [np.uint64(symbol_key(symbol)) for symbol in panel.symbols]
        return np.array([[uniform(self.seed, stream, time, symbol) for symbol in symbols] for time in times])


strategy = RandomActions()
