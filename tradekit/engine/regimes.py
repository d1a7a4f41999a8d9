"""Factor regimes: twelve ways to spread money over a universe, the same for 3 symbols or 300."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tradekit.market.panel import Floats, Panel

SCORE_BARS = 20
LOOKBACK = SCORE_BARS + 1
OVERWEIGHT, UNDERWEIGHT = 1.5, 0.5  # of an equal share: the top half of a tilt, and the rest
TOP = 0.3  # share of the symbols that RISK_ON holds


class Regime(NamedTuple):
    """``invested``: fraction of equity; ``score``: higher is better, None without one; ``top``: hold the best only."""

    invested: float
    score: Callable[[Floats], Floats] | None = None
    top: bool = False


def _momentum(close: Floats) -> Floats:
    return indicators.log_return(close, SCORE_BARS)


def _calm(close: Floats) -> Floats:
    return -indicators.volatility(close, SCORE_BARS)


def _quality(close: Floats) -> Floats:
    """Mean over deviation of the log returns; without deviation, the sign of the mean times infinity, or 0."""
    mean, spread = indicators.log_return(close, SCORE_BARS) / SCORE_BARS, indicators.volatility(close, SCORE_BARS)
    steady = np.where(mean == 0.0, 0.0, np.copysign(np.inf, mean))
    ratio: Floats = np.where(spread > 0.0, mean / np.where(spread > 0.0, spread, 1.0), steady)
    return np.where(np.isnan(mean), np.nan, ratio)


def _small(close: Floats) -> Floats:
    return 1.0 / close


REGIMES: Mapping[str, Regime | None] = MappingProxyType(
    {
        "HOLD": None,
        "FULL_CASH": Regime(0.0),
        "DEFENSIVE": Regime(0.5),
        "LIGHT_CASH": Regime(0.75),
        "EQUAL_WEIGHT": Regime(1.0),
        "MOMENTUM": Regime(1.0, _momentum),
        "LOW_VOL": Regime(1.0, _calm),
        "QUALITY": Regime(1.0, _quality),
        "SIZE_SMALL": Regime(1.0, _small),
        "SAFE_MOMENTUM": Regime(0.7, _momentum),
        "SAFE_QUALITY": Regime(0.7, _quality),
        "RISK_ON": Regime(1.0, _momentum, top=True),
    }
)
"""The regimes by name, in the order of their ids; HOLD keeps what there is.

Scores look back 20 bars: price change (MOMENTUM), volatility (LOW_VOL), Sharpe ratio (QUALITY); SIZE_SMALL takes a low
price as the proxy of a small company."""


def regime_weights(name: str, panel: Panel) -> Floats:
    """Return (T, N) weights of the regime called ``name`` on every bar, a function of the last ``LOOKBACK`` bars.

    A tilt gives the better half of the symbols 1.5 equal shares and the others half of one, scaled to the fraction
    invested; RISK_ON gives the best 30 % all. Equal scores go by column. NaN, leave alone, for a symbol without price
    or score; the others share what is theirs, so that the sum leaves room for it.
    """
    regime = REGIMES[name]
    if regime is None:
        return np.full(panel.close.shape, np.nan)
    score = np.zeros(panel.close.shape) if regime.score is None else regime.score(panel.close)
    known = ~np.isnan(panel.close) & ~np.isnan(score)
    count = known.sum(axis=1, keepdims=True)
    shares = known.astype(np.float64)
    if regime.score is not None:
        place = np.argsort(np.argsort(np.where(known, -score, np.inf), axis=1, kind="stable"), axis=1)
        best = place < np.ceil((TOP if regime.top else 0.5) * count)
        shares *= np.where(best, 1.0, 0.0) if regime.top else np.where(best, OVERWEIGHT, UNDERWEIGHT)
    total = np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    weights = regime.invested * count / len(panel.symbols) * shares / total
    return np.where(known, weights, np.nan)
