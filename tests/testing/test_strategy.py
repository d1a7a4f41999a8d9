"""The contract holds for honest strategies, and each of its tests fails for a strategy that breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import Table
from tradekit.desk.folder import find_desk
from tradekit.desk.loader import load_strategies
from tradekit.errors import CausalityError
from tradekit.testing import StrategyContract

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Floats, Panel


class Trend:
    """Long above the mean of the last ``bars`` closes."""

    name = "trend"

    def __init__(self, bars: int = 20, lookback: int = 20) -> None:
        self.bars, self.lookback = bars, lookback

    def fit(self, train: Panel) -> Trend:
        return self

    def weights(self, panel: Panel) -> Floats:
        table = np.zeros(panel.close.shape)
        if len(panel) >= self.bars:
            mean = np.lib.stride_tricks.sliding_window_view(panel.close, self.bars, axis=0).mean(axis=-1)
            table[self.bars - 1 :] = (panel.close[self.bars - 1 :] > mean) / len(panel.symbols)
        return table


class TestTrend(StrategyContract):
    def make(self) -> AnyStrategy:
        return Trend()


class Peeks(Trend):
    def weights(self, panel: Panel) -> Floats:
        return np.vstack([super().weights(panel)[1:], np.zeros((1, len(panel.symbols)))])


class Forgets(Trend):
    def __init__(self) -> None:
        super().__init__(bars=40, lookback=20)


class Restless(Table):
    def weights(self, panel: Panel) -> Floats:
        return np.random.default_rng().dirichlet(np.ones(len(panel.symbols)), len(panel))


class Hoards(Trend):
    """Learns on top of what it learnt before."""

    seen = 0

    def fit(self, train: Panel) -> Hoards:
        self.seen += len(train)
        self.bars = 20 + self.seen % 7
        self.lookback = self.bars
        return self


def broken(strategy: Any) -> StrategyContract:
    class Contract(StrategyContract):
        def make(self) -> AnyStrategy:
            made: AnyStrategy = strategy()
            return made

    return Contract()


def test_each_promise_can_be_broken_and_is_noticed() -> None:
    with pytest.raises(CausalityError, match="uses the future"):
        broken(Peeks).test_it_does_not_use_the_future()
    with pytest.raises(AssertionError, match="more history"):
        broken(Forgets).test_the_declared_lookback_is_enough()
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        broken(lambda: Restless(0.1)).test_the_same_bars_give_the_same_decisions()
    with pytest.raises(AssertionError, match="return a fitted copy"):
        broken(Hoards).test_fitting_leaves_the_original_alone()
    with pytest.raises(AssertionError, match="nothing was tested"):
        broken(lambda: Table(float("nan"))).test_it_does_not_use_the_future()
    with pytest.raises(AssertionError):
        broken(lambda: Table(0.1, name="")).test_it_has_a_name()
    with pytest.raises(AssertionError, match="must override make"):
        StrategyContract().make()


@pytest.mark.parametrize(
    "name", ["equal_weight", "sma_cross", "momentum", "regime_aware", "boosting", "random_actions"]
)
def test_shipped_strategies_keep_it(name: str, repository: Path) -> None:
    class Contract(StrategyContract):
        def make(self) -> AnyStrategy:
            return load_strategies(find_desk(repository), [name])[0].strategy

    for promise in [one for one in dir(Contract) if one.startswith("test_")]:
        getattr(Contract(), promise)()
