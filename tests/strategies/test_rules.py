"""Each strategy's rule, on prices where the answer is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.desk.loader import load_strategy
from tradekit.engine.simulate import simulate
from tradekit.errors import StrategyError
from tradekit.market.costs import CostModel
from tradekit.market.panel import equal_weight_returns

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk
    from tradekit.market.panel import Floats, Panel

FREE = CostModel.preset("free")


def shipped(desk: Desk, name: str) -> Any:
    return load_strategy(name, desk).strategy


def closes(prices: Floats, start: str = "2010-01-04") -> Panel:
    """Return a panel of one bar a day from ``start`` with the given (T, N) closes."""
    base = random_panel(len(prices), prices.shape[1], close_only=True)
    stamps = (np.datetime64(start) + np.arange(len(prices))).astype("M8[ns]")
    return replace(
        base,
        timestamps=stamps,
        close_time=(stamps + np.timedelta64(21, "h")).astype("M8[ns]"),
        close=np.ascontiguousarray(prices, dtype=np.float64),
        benchmark_returns=equal_weight_returns(np.asarray(prices, dtype=np.float64)),
    )


def steady(growth: list[float], bars: int) -> Floats:
    """Return (bars, N) closes from 100, each symbol growing by its own rate per bar."""
    prices = 100.0 * np.cumprod(np.tile(1.0 + np.array(growth), (bars, 1)), axis=0)
    return np.asarray(prices, dtype=np.float64)


class TestBuyAndHold:
    def test_buys_once_and_keeps(self, desk: Desk) -> None:
        panel = random_panel(50, 4, close_only=True)
        ledger = simulate(shipped(desk, "buy_and_hold"), panel, FREE)
        assert len(ledger.orders) == 4
        assert set(ledger.orders["decision_bar"]) == {0}
        # a quarter of 100,000 dollars at the close of the first bar, in shares, to a billionth
        assert ledger.orders["requested"] == pytest.approx(25_000.0 / panel.close[0], abs=1e-9)

    def test_asks_again_after_a_halt(self, desk: Desk) -> None:
        panel = random_panel(10, 2, close_only=True)
        tradable = panel.tradable.copy()
        tradable[1:4, 1] = False
        ledger = simulate(shipped(desk, "buy_and_hold"), replace(panel, tradable=tradable), FREE)
        bought = ledger.orders[ledger.orders["quantity"] > 0]
        assert [(int(row["fill_bar"]), int(row["symbol"])) for row in bought] == [(1, 0), (5, 1)]

    def test_does_not_buy_twice_while_an_order_is_on_its_way(self, desk: Desk) -> None:
        from tradekit.market.execution import ExecutionModel

        panel = random_panel(20, 2, close_only=True)
        ledger = simulate(shipped(desk, "buy_and_hold"), panel, FREE, ExecutionModel(latency_bars=3))
        assert len(ledger.orders) == 2


class TestEqualWeight:
    def test_trades_only_when_the_band_is_left(self, desk: Desk) -> None:
        # Half and half; the first doubles at once: weights 2/3 and 1/3 are 33 % off 1/2, beyond the band of 25 %.
        prices = np.full((12, 2), 100.0)
        prices[6:, 0] = 200.0
        ledger = simulate(shipped(desk, "equal_weight"), closes(prices), FREE)
        assert sorted({int(bar) for bar in ledger.orders["decision_bar"]}) == [0, 6]
        # 500 shares at 200 and 500 at 100 are 150,000 dollars; 75,000 each is 375 and 750 shares.
        assert ledger.positions[-1] == pytest.approx([375.0, 750.0])

    def test_a_drift_inside_the_band_is_left_alone(self, desk: Desk) -> None:
        prices = np.full((12, 2), 100.0)
        prices[6:, 0] = 140.0  # weights 0.583 and 0.417: 17 % off
        ledger = simulate(shipped(desk, "equal_weight"), closes(prices), FREE)
        assert {int(bar) for bar in ledger.orders["decision_bar"]} == {0}


class TestSmaCross:
    def test_holds_what_rises_and_sells_what_falls(self, desk: Desk) -> None:
        panel = closes(steady([0.001, -0.001], 260))
        weights = shipped(desk, "sma_cross").weights(panel)
        decided = np.flatnonzero(np.isfinite(weights[:, 0]))
        assert np.array_equal(weights[decided], np.tile([0.5, 0.0], (len(decided), 1)))
        assert decided[0] >= 199

    def test_decides_on_the_first_bar_of_a_week(self, desk: Desk) -> None:
        panel = closes(steady([0.001], 260), start="2010-01-04")
        decided = np.isfinite(shipped(desk, "sma_cross").weights(panel)[:, 0])
        weekday = (panel.timestamps.astype("M8[D]").astype(int) + 3) % 7  # Monday 0
        assert set(weekday[decided]) == {3}
        assert np.array_equal(decided[199:], weekday[199:] == 3)

    def test_the_cross_is_where_the_averages_say(self, desk: Desk) -> None:
        rng = np.random.default_rng(5)
        panel = closes(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (600, 3)), axis=0)))
        strategy = replace(shipped(desk, "sma_cross"), fast=5, slow=20)
        weights = strategy.weights(panel)
        for t in np.flatnonzero(np.isfinite(weights[:, 0])):
            fast, slow = (panel.close[t - n + 1 : t + 1].mean(axis=0) for n in (5, 20))
            assert np.array_equal(weights[t] > 0.0, fast > slow)


class TestMomentum:
    def test_holds_the_top_third_of_what_rose(self, desk: Desk) -> None:
        panel = closes(steady([0.003, 0.001, 0.002, -0.001, -0.002, -0.003], 400))
        weights = shipped(desk, "momentum").weights(panel)
        decided = np.isfinite(weights[:, 0])
        assert np.unique(weights[decided], axis=0).tolist() == [[0.5, 0.0, 0.5, 0.0, 0.0, 0.0]]

    def test_holds_nothing_that_fell(self, desk: Desk) -> None:
        panel = closes(steady([0.001, -0.001, -0.002, -0.001, -0.002, -0.003], 400))
        weights = shipped(desk, "momentum").weights(panel)
        assert np.nansum(weights, axis=1).max() == 0.5

    def test_leaves_the_last_month_out(self, desk: Desk) -> None:
        # A rise of a year that turns in the last 21 bars still counts as a rise.
        prices = steady([0.002], 300)
        prices[-21:] = prices[-22] * 0.5
        strategy = shipped(desk, "momentum")
        first_of_a_month = closes(prices, start=str(np.datetime64("2011-01-01") - 299))
        assert strategy.weights(first_of_a_month)[-1].tolist() == [1.0]

    def test_decides_on_the_first_bar_of_a_month(self, desk: Desk) -> None:
        panel = closes(steady([0.001, 0.002, 0.003], 400))
        decided = np.isfinite(shipped(desk, "momentum").weights(panel)[:, 0])
        first = [str(stamp)[8:10] for stamp in panel.timestamps[decided].astype("M8[D]")]
        assert first == ["01"] * len(first)
        assert len(first) == 5  # 253 bars reach into September 2010; the last bar is 2011-02-07


class TestRegimeAware:
    @pytest.mark.parametrize(
        ("drift", "turbulent", "exposure"),
        [(0.002, False, 1.0), (0.002, True, 0.5), (-0.002, False, 0.5), (-0.002, True, 0.0)],
    )
    def test_each_regime_has_its_share(self, desk: Desk, drift: float, turbulent: bool, exposure: float) -> None:
        bars = 420
        # Swings of one size that die down or grow towards the end, around a steady drift.
        swing = np.linspace(0.0005, 0.001, bars) if turbulent else np.linspace(0.001, 0.0005, bars)
        steps = drift + swing * np.where(np.arange(bars) % 2, 1.0, -1.0)
        weights = shipped(desk, "regime_aware").weights(closes(100.0 * np.exp(np.cumsum(steps))[:, None]))
        decided = weights[np.isfinite(weights)]
        assert decided[-1] == exposure


class TestRandomActions:
    def test_a_draw_belongs_to_its_bar_and_symbol(self, desk: Desk) -> None:
        strategy, panel = shipped(desk, "random_actions"), random_panel(400, 4)
        weights = strategy.weights(panel)
        assert np.array_equal(strategy.weights(panel[150:]), weights[150:], equal_nan=True)
        turned = strategy.weights(panel.select(tuple(reversed(panel.symbols))))
        assert np.array_equal(turned[:, ::-1], weights, equal_nan=True)

    def test_rate_and_levels_are_as_declared(self, desk: Desk) -> None:
        weights = shipped(desk, "random_actions").weights(random_panel(5000, 4))
        acted = np.isfinite(weights)
        # 20,000 draws at 5 %: a standard deviation of 0.15 points, five of them allowed.
        assert acted.mean() == pytest.approx(0.05, abs=0.0077)
        levels, counts = np.unique(weights[acted] * 4, return_counts=True)
        assert levels.tolist() == [0.0, 0.25, 0.5, 1.0]
        # about 1,000 draws at 25 %: a standard deviation of 1.4 points, five of them allowed.
        assert counts / acted.sum() == pytest.approx(0.25, abs=0.07)

    def test_another_seed_acts_differently(self, desk: Desk) -> None:
        strategy, panel = shipped(desk, "random_actions"), random_panel(200, 4)
        other = replace(strategy, seed=1).weights(panel)
        assert not np.array_equal(strategy.weights(panel), other, equal_nan=True)


class TestSupervised:
    def test_an_example_pairs_a_bar_with_the_return_after_its_fill(self, desk: Desk) -> None:
        strategy = shipped(desk, "supervised")
        panel = random_panel(200, 2, seed=4)
        table, rises, known = strategy._examples(panel)
        d = 150
        assert rises[d].tolist() == (panel.open[d + 2] > panel.open[d + 1]).tolist()
        assert np.array_equal(table[d], strategy.features.compute(panel)[d])
        assert not known[-2:].any()
        assert known[-3].all()
        assert not known[: strategy.lookback - 1].any()

    def test_close_only_data_is_judged_at_the_close(self, desk: Desk) -> None:
        panel = random_panel(200, 2, seed=4, close_only=True)
        _, rises, _ = shipped(desk, "supervised")._examples(panel)
        assert rises[150].tolist() == (panel.close[152] > panel.close[151]).tolist()

    def test_finds_a_planted_edge(self, desk: Desk) -> None:
        """The bar after the fill goes on in the direction of the decision bar: d up means d+2 up."""
        rng = np.random.default_rng(3)
        steps = rng.normal(0.0, 0.01, (1500, 3))
        for t in range(2, 1500):
            steps[t] += 0.01 * np.sign(steps[t - 2])
        panel = closes(100.0 * np.exp(np.cumsum(steps, axis=0)))
        fitted = replace(shipped(desk, "supervised"), firm=0.1).fit(panel[:1000])
        weights, test = fitted.weights(panel), slice(1000, 1498)
        later = panel.close[1002:] / panel.close[1001:-1] - 1.0
        bought, sold = weights[test] > 0.0, weights[test] == 0.0
        assert bought.sum() > 20
        assert sold.sum() > 20
        assert (later[bought] > 0.0).mean() > 0.75
        assert (later[sold] < 0.0).mean() > 0.75

    def test_learns_the_same_twice_and_leaves_the_original_alone(self, desk: Desk) -> None:
        strategy, panel = shipped(desk, "supervised"), random_panel(600, 3, seed=6)
        first, second = strategy.fit(panel[:400]), strategy.fit(panel[:400])
        assert strategy.model is None
        assert np.array_equal(first.weights(panel), second.weights(panel), equal_nan=True)

    def test_must_learn_first(self, desk: Desk) -> None:
        with pytest.raises(StrategyError, match="nothing learnt yet; run it with backtest --walk-forward"):
            shipped(desk, "supervised").weights(random_panel(200, 2))

    def test_too_few_bars_to_learn_from(self, desk: Desk) -> None:
        with pytest.raises(ValueError, match="20 bars hold no two examples"):
            shipped(desk, "supervised").fit(random_panel(20, 2))
