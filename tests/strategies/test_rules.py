"""Each strategy's rule, on prices where the answer is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.desk.loader import load_strategy
from tradekit.engine.simulate import simulate
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


class TestTimeSeriesMomentum:
    def test_holds_all_that_rose_and_nothing_that_fell(self, desk: Desk) -> None:
        weights = shipped(desk, "time_series_momentum").weights(closes(steady([0.002, 0.001, -0.001, 0.0005], 400)))
        decided = np.isfinite(weights[:, 0])
        assert np.unique(weights[decided], axis=0).tolist() == [[0.25, 0.25, 0.0, 0.25]]

    def test_a_rise_is_the_return_of_the_last_year(self, desk: Desk) -> None:
        rng = np.random.default_rng(8)
        panel = closes(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (600, 3)), axis=0)))
        weights = shipped(desk, "time_series_momentum").weights(panel)
        decided = np.flatnonzero(np.isfinite(weights[:, 0]))
        assert len(decided) > 8
        assert str(panel.timestamps[decided[0]])[8:10] == "01"
        for t in decided:
            assert np.array_equal(weights[t] > 0.0, panel.close[t] > panel.close[t - 252])


class TestMeanReversion:
    def test_buys_at_two_deviations_below_and_sells_above_the_average(self, desk: Desk) -> None:
        import pandas as pd

        rng = np.random.default_rng(12)
        panel = closes(100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, (900, 3)), axis=0)))
        weights = shipped(desk, "mean_reversion").weights(panel)
        frame = pd.DataFrame(panel.close)
        score = ((frame - frame.rolling(60).mean()) / frame.rolling(60).std(ddof=0)).to_numpy()
        expected = np.where(score <= -2.0, 1.0 / 3.0, np.where(score > 0.0, 0.0, np.nan))
        assert np.isfinite(expected[score <= -2.0]).sum() > 20
        assert np.array_equal(weights, expected, equal_nan=True)


class TestVolatilityTarget:
    def test_holds_target_over_volatility(self, desk: Desk) -> None:
        # Up and down by 2 % in turn: sixty steps deviate by 0.02 sqrt(60 / 59), 32.0 % a year, 2.7 times the 12 %.
        steps = 0.02 * np.where(np.arange(80) % 2, 1.0, -1.0)
        panel = closes(np.tile(100.0 * np.cumprod(1.0 + steps)[:, None], (1, 2)))
        ledger = simulate(shipped(desk, "volatility_target"), panel, FREE)
        wanted = 0.12 / (0.02 * np.sqrt(60.0 / 59.0) * np.sqrt(252.0))
        assert set(ledger.orders["decision_bar"]) == {60}
        assert ledger.orders["requested"] == pytest.approx(0.5 * wanted * 100_000.0 / panel.close[60], rel=1e-9)

    def test_never_borrows_and_trades_only_when_the_band_is_left(self, desk: Desk) -> None:
        steps = np.where(np.arange(300) % 2, 1.0, -1.0) * np.where(np.arange(300) < 150, 0.002, 0.03)
        panel = closes(np.asarray(100.0 * np.cumprod(1.0 + steps)[:, None], dtype=np.float64))
        ledger = simulate(shipped(desk, "volatility_target"), panel, FREE)
        assert ledger.exposure[100] == pytest.approx(1.0)  # 3 % a year would ask for four times the money
        assert 0.2 < ledger.exposure[-1] < 0.36  # 47.6 % a year asks for a quarter
        bars = ledger.orders["decision_bar"]
        assert bars[0] == 60
        assert 2 <= len(bars) <= 9


class TestFactorRegimes:
    def test_each_is_kept_and_put_in_order_monthly(self, desk: Desk) -> None:
        from tradekit.engine.regimes import regime_weights

        panel = closes(steady([0.003, 0.001, -0.001, 0.002], 120))
        for name in ("LOW_VOL", "RISK_ON", "DEFENSIVE"):
            weights = shipped(desk, f"factor_regimes:regime_{name.lower()}").weights(panel)
            decided = np.isfinite(weights[:, 0])
            assert decided.sum() == 4  # the firsts of February, March, April and May
            assert np.array_equal(weights[decided], regime_weights(name, panel)[decided])

    def test_all_but_cash_are_shipped(self, desk: Desk) -> None:
        from tradekit.desk.loader import load_file
        from tradekit.engine.regimes import REGIMES

        names = [one.strategy.name for one in load_file("factor_regimes", desk)]
        assert len(REGIMES) == 12
        assert names == [f"regime_{name.lower()}" for name in REGIMES if name not in ("HOLD", "FULL_CASH")]


class TestSupervised:
    @pytest.mark.parametrize("name", ["logistic", "logistic_decile", "boosting", "boosting_decile"])
    def test_learns_the_same_twice_and_leaves_the_original_alone(self, desk: Desk, name: str) -> None:
        strategy, panel = shipped(desk, name), random_panel(600, 3, seed=6)
        first, second = strategy.fit(panel[:400]), strategy.fit(panel[:400])
        assert strategy.fitted is None
        assert np.array_equal(first.weights(panel), second.weights(panel), equal_nan=True)

    def test_thresholds_act_on_the_extremes_and_filters_on_the_top_tenth(self, desk: Desk) -> None:
        for learner in ("logistic", "boosting"):
            assert (shipped(desk, learner).sell, shipped(desk, learner).buy) == (0.02, 0.98)
            decile = shipped(desk, f"{learner}_decile")
            assert (decile.sell, decile.buy) == (0.5, 0.9)


class TestClassicalPortfolios:
    @pytest.mark.parametrize("name", ["minimum_variance", "risk_parity", "hierarchical_risk_parity"])
    def test_weights_are_those_that_skfolio_gives_the_last_year(self, desk: Desk, name: str) -> None:
        strategy = shipped(desk, name)
        panel = closes(random_panel(330, 4, seed=3).close)
        weights = strategy.weights(panel)
        decided = np.flatnonzero(np.isfinite(weights[:, 0]))
        assert [str(stamp)[5:10] for stamp in panel.timestamps[decided].astype("M8[D]")] == ["10-01", "11-01"]
        returns = panel.close[1:] / panel.close[:-1] - 1.0
        for t in decided:
            alone = strategy.optimiser.fit(returns[t - 252 : t]).weights_
            assert weights[t] == pytest.approx(alone, abs=2e-4)
            assert np.nansum(weights[t]) == pytest.approx(1.0, abs=1e-5)

    def test_weights_of_uncorrelated_symbols_by_hand(self, desk: Desk) -> None:
        """Uncorrelated, deviations 1 : 2 : 4: minimum variance holds 16 : 4 : 1, risk parity 4 : 2 : 1."""
        rng = np.random.default_rng(0)
        shocks = np.linalg.qr(np.column_stack([np.ones(252), rng.normal(size=(252, 3))]))[0][:, 1:]  # no mean either
        steps = 0.05 * shocks * np.array([1.0, 2.0, 4.0])
        prices = 100.0 * np.cumprod(np.vstack([np.ones(3), 1.0 + steps]), axis=0)
        panel = closes(prices, start=str(np.datetime64("2011-01-01") - 252))
        assert shipped(desk, "minimum_variance").weights(panel)[-1] * 21 == pytest.approx([16, 4, 1], abs=0.05)
        assert shipped(desk, "risk_parity").weights(panel)[-1] * 7 == pytest.approx([4, 2, 1], abs=0.05)
