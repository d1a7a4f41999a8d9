"""Small panels and strategies that many tests share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.panel import Panel, absent, equal_weight_returns

if TYPE_CHECKING:
    from tradekit.market.panel import Floats


def random_panel(bars: int, symbols: int, seed: int = 0, *, close_only: bool = False) -> Panel:
    """Return a daily random walk with consistent OHLCV."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (bars, symbols)), axis=0))
    opens = close * np.exp(rng.normal(0.0, 0.003, close.shape))
    stamps = (np.datetime64("2010-01-04") + np.arange(bars)).astype("M8[ns]")
    gone = absent(bars, symbols)
    return Panel(
        timestamps=stamps,
        symbols=tuple(f"S{i}" for i in range(symbols)),
        open=gone if close_only else opens,
        high=gone if close_only else np.maximum(opens, close) * 1.002,
        low=gone if close_only else np.minimum(opens, close) * 0.998,
        close=close,
        volume=gone if close_only else rng.uniform(1e6, 2e6, close.shape),
        tradable=np.ones(close.shape, np.bool_),
        close_time=(stamps + np.timedelta64(21, "h")).astype("M8[ns]"),
        benchmark_returns=equal_weight_returns(close),
        columns=frozenset({"close"} if close_only else {"open", "high", "low", "close", "volume"}),
        source="random",
    )


def intraday(panel: Panel, bars_per_session: int) -> Panel:
    """Return ``panel`` restamped as hourly bars, ``bars_per_session`` a day."""
    row = np.arange(len(panel))
    days, hours = row // bars_per_session, row % bars_per_session
    stamps = np.datetime64("2024-01-01T14:00", "ns") + days * np.timedelta64(1, "D") + hours * np.timedelta64(1, "h")
    return replace(panel, timestamps=stamps, close_time=stamps + np.timedelta64(1, "h"), frequency="1h")


@dataclass
class Table:
    """An open-loop strategy that holds the same weights whatever happens."""

    weight: float | Floats
    name: str = "table"
    lookback: int = 1

    def fit(self, train: Panel) -> Table:
        return self

    def weights(self, panel: Panel) -> Floats:
        return np.full(panel.close.shape, self.weight)


@dataclass
class BuyOnce:
    """Equal weights on the first bar it sees, then hands off."""

    name: str = "buy_and_hold"
    lookback: int = 1

    def fit(self, train: Panel) -> BuyOnce:
        return self

    def weights(self, panel: Panel) -> Floats:
        table = np.full(panel.close.shape, np.nan)
        table[0] = 1.0 / len(panel.symbols)
        return table
