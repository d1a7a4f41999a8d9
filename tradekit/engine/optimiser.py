"""Any skfolio optimiser as a strategy: a portfolio of the whole, chosen anew on the first bar of a month."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

# A solution depends on the optimiser and the returns it was given, and on nothing else, so that it may be kept: an
# audit or a stress test asks for most of them many times. Returns and weights are rounded so that worlds which differ
# in their last bits share one.
SOLVED: dict[bytes, Floats] = {}
MOST_SOLVED = 20_000
RETURN_DIGITS, WEIGHT_DIGITS = 10, 6


@dataclass(frozen=True)
class OptimiserStrategy:
    """The weights that ``optimiser`` gives the returns of the last ``window_bars`` bars, once a month.

    Symbols without a price in every bar of the window, or whose price never moved, are left out; of a single symbol
    that is left everything is held.

    Attributes:
        name: unique.
        optimiser: anything with skfolio's fit(returns) and weights_; it is cloned, never fitted itself.
        window_bars: simple returns that it sees.
    """

    name: str
    optimiser: Any
    window_bars: int = 252

    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.window_bars + 1

    def fit(self, train: Panel) -> OptimiserStrategy:
        """Nothing to learn beyond the window that every decision looks back on."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        returns = np.full(panel.close.shape, np.nan)
        returns[1:] = panel.close[1:] / panel.close[:-1] - 1.0
        month = panel.timestamps.astype("M8[M]")
        first = np.flatnonzero(month[1:] != month[:-1]) + 1
        target = np.full(panel.close.shape, np.nan)
        settings = pickle.dumps(self.optimiser)
        for row in first[first >= self.window_bars]:
            seen = returns[row + 1 - self.window_bars : row + 1].round(RETURN_DIGITS)
            usable = ~np.isnan(seen).any(axis=0) & (np.ptp(np.nan_to_num(seen), axis=0) > 0.0)
            if usable.any():
                target[row, usable] = self._solution(settings, np.ascontiguousarray(seen[:, usable]))
                target[row, ~usable & ~np.isnan(panel.close[row])] = 0.0
        return target

    def _solution(self, settings: bytes, returns: Floats) -> Floats:
        if returns.shape[1] == 1:
            return np.ones(1)
        key = hashlib.sha256(settings + str(returns.shape).encode() + returns.tobytes()).digest()
        if key not in SOLVED:
            if len(SOLVED) >= MOST_SOLVED:
                SOLVED.clear()
            SOLVED[key] = _solve(self.optimiser, returns)
        return SOLVED[key]


def _solve(optimiser: Any, returns: Floats) -> Floats:
    """Return (N,) weights >= 0 that add up to at most 1.

    Where symbols move as one, many portfolios vary equally little. A solver warns that its answer is one of them, and
    any will do.
    """
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = np.maximum(np.asarray(clone(optimiser).fit(returns).weights_, dtype=np.float64), 0.0)
    rounded: Floats = found.round(WEIGHT_DIGITS)
    weights: Floats = rounded / max(1.0, float(rounded.sum()))
    return weights
