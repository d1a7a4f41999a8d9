"""Indicators against TA-Lib on real prices, against numpy written the plain way, and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import random_panel
from tradekit import load_panel
from tradekit.market import indicators
from tradekit.market.features import FEATURES, MEMORY

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

SYMBOLS = ("AAPL", "JPM", "XOM")


def column(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)[:, None]


@pytest.fixture(scope="module")
def closes(sample: Panel) -> Floats:
    """Eight years of three symbols, 2008 included."""
    return sample.select(SYMBOLS).between("2005-01-01", "2012-12-31").close


@pytest.fixture(scope="module")
def bars(shared_data: Path) -> Panel:
    """A real year of hourly bars without a gap."""
    return load_panel(str(shared_data / "hourly_ibkr")).select(["SPY", "NVDA"]).between("2023-01-01", "2023-12-31")


class TestAgainstTaLib:
    """The oracle answers for one symbol at a time; ``rows`` are ends of windows spread over the history."""

    rows = range(MEMORY - 1, 2000, 131)

    @pytest.mark.parametrize("window", [20, 50, 100])
    def test_mean(self, closes: Floats, window: int) -> None:
        for n, close in enumerate(closes.T):
            expected = talib.SMA(close, window)
            np.testing.assert_allclose(indicators.mean(closes, window)[:, n], expected, rtol=1e-11)
            gap = indicators.average_gap(closes, window)[:, n]
            np.testing.assert_allclose(gap, close / expected - 1.0, atol=1e-11)

    def test_trend(self, closes: Floats) -> None:
        for n, close in enumerate(closes.T):
            expected = talib.SMA(close, 20) / talib.SMA(close, 100) - 1.0
            np.testing.assert_allclose(indicators.trend(closes, 20, 100)[:, n], expected, atol=1e-11)

    @pytest.mark.parametrize("bars", [1, 5, 20, 60])
    def test_log_return(self, closes: Floats, bars: int) -> None:
        for n, close in enumerate(closes.T):
            expected = np.log(talib.ROCR(close, bars))
            np.testing.assert_allclose(indicators.log_return(closes, bars)[:, n], expected, atol=1e-13)

    def test_volatility_has_ddof_1(self, closes: Floats) -> None:
        for n, close in enumerate(closes.T):
            steps = np.log(close[1:] / close[:-1])
            expected = talib.STDDEV(steps, 20) * np.sqrt(20 / 19)
            np.testing.assert_allclose(indicators.volatility(closes, 20)[1:, n], expected, rtol=1e-8)

    def test_bollinger_position(self, closes: Floats) -> None:
        for n, close in enumerate(closes.T):
            upper, middle, _ = talib.BBANDS(close, 20, nbdevup=1.0, nbdevdn=1.0)
            expected = (close - middle) / (upper - middle)
            np.testing.assert_allclose(indicators.z_score(closes, 20)[:, n], expected, atol=1e-6)

    def test_rsi(self, closes: Floats) -> None:
        ours = indicators.rsi(closes, 14, MEMORY)
        for n, close in enumerate(closes.T):
            for t in self.rows:
                window = np.ascontiguousarray(close[t - MEMORY + 1 : t + 1])
                assert ours[t, n] == pytest.approx(talib.RSI(window, 14)[-1], abs=1e-9)

    def test_macd(self, closes: Floats) -> None:
        ours = indicators.macd_histogram(closes, 12, 26, 9, MEMORY)
        for n, close in enumerate(closes.T):
            for t in self.rows:
                window = np.ascontiguousarray(close[t - MEMORY + 1 : t + 1])
                assert ours[t, n] == pytest.approx(talib.MACD(window, 12, 26, 9)[2][-1] / close[t], abs=1e-13)

    def test_what_truncation_costs(self, sample: Panel) -> None:
        """Against averages that run on for 33 years; the worst case is a crash that has just left the window."""
        rsi, macd = indicators.rsi(sample.close, 14, MEMORY), indicators.macd_histogram(sample.close, 12, 26, 9, MEMORY)
        points, relative = [], []
        for n, close in enumerate(np.ascontiguousarray(sample.close.T)):
            points.append(np.abs(rsi[:, n] - talib.RSI(close, 14))[500:])
            expected = (talib.MACD(close, 12, 26, 9)[2] / close)[500:]
            relative.append(np.abs(macd[500:, n] - expected) / expected.std())
        assert np.quantile(points, 0.999) < 0.02  # of 100
        assert np.max(points) < 0.2
        assert np.quantile(relative, 0.999) < 3e-3  # of a standard deviation
        assert np.max(relative) < 8e-3

    def test_average_true_range(self, bars: Panel) -> None:
        ours = indicators.average_true_range(bars.high, bars.low, bars.close, 14, MEMORY)
        for n in range(len(bars.symbols)):
            high, low, close = (np.ascontiguousarray(a[:, n]) for a in (bars.high, bars.low, bars.close))
            for t in range(MEMORY - 1, len(bars), 97):
                window = slice(t - MEMORY + 1, t + 1)
                expected = talib.ATR(high[window], low[window], close[window], 14)[-1] / close[t]
                assert ours[t, n] == pytest.approx(expected, rel=1e-11)
            whole = talib.ATR(high, low, close, 14) / close
            np.testing.assert_allclose(ours[500:, n], whole[500:], rtol=2e-4)

    def test_volume_z_score(self, bars: Panel) -> None:
        for n in range(len(bars.symbols)):
            volume = np.ascontiguousarray(bars.volume[:, n])
            expected = (volume - talib.SMA(volume, 20)) / talib.STDDEV(volume, 20)
            np.testing.assert_allclose(indicators.z_score(bars.volume, 20)[:, n], expected, atol=1e-8)


class TestByHand:
    def test_weighted_sum_is_oldest_first(self) -> None:
        out = indicators.weighted_sum(column([1.0, 2.0, 4.0]), np.array([10.0, 1.0]))
        np.testing.assert_array_equal(out, column([np.nan, 12.0, 24.0]))

    def test_log_returns(self) -> None:
        out = indicators.log_return(column([100.0, 110.0, 99.0]), 2)
        np.testing.assert_allclose(out[2], np.log(0.99), atol=1e-15)
        assert np.isnan(out[:2]).all()

    def test_relative_strength_takes_the_benchmark_off(self) -> None:
        # +21 % in two bars against 10 % and then nothing: ln(1.21) - ln(1.1) = ln(1.1).
        out = indicators.relative_strength(column([100.0, 110.0, 121.0]), column([np.nan, 0.1, 0.0]), 2)
        np.testing.assert_allclose(out[2], np.log(1.1), rtol=1e-14)

    def test_benchmark_return_reads_the_last_bars_only(self) -> None:
        out = indicators.benchmark_log_return(column([np.nan, 0.5, 0.1, -0.1]), 2)
        np.testing.assert_allclose(out[2:, 0], np.log([1.65, 0.99]), rtol=1e-14)
        assert np.isnan(out[:2]).all()

    def test_volatility(self) -> None:
        # Log returns 0.1 and -0.1: mean 0, squares 0.02, divisor 1.
        out = indicators.volatility(column([1.0, np.exp(0.1), 1.0]), 2)
        np.testing.assert_allclose(out[2], np.sqrt(0.02), rtol=1e-14)

    def test_z_score(self) -> None:
        # 1, 2, 6: mean 3, variance (4 + 1 + 9) / 3.
        np.testing.assert_allclose(indicators.z_score(column([1.0, 2.0, 6.0]), 3)[2], 3.0 / np.sqrt(14.0 / 3.0))

    def test_mid_rank(self) -> None:
        out = indicators.mid_rank(column([3.0, 1.0, 2.0, 2.0, 9.0, 0.0]), 4)
        # 2 among 3 1 2: one below, one equal. 9 above 1 2 2. 0 below 2 2 9.
        np.testing.assert_array_equal(out[3:, 0], [0.5, 1.0, 0.0])

    def test_volatility_rank(self, closes: Floats) -> None:
        out = indicators.volatility_rank(closes, 20, 100)
        t, n = 1017, 1
        spread = [np.std(np.diff(np.log(closes[e - 20 : e + 1, n])), ddof=1) for e in range(t - 99, t + 1)]
        assert out[t, n] == np.mean([value < spread[-1] for value in spread[:-1]])

    @pytest.mark.parametrize(("step", "expected"), [(1.01, 100.0), (0.99, 0.0), (1.0, 50.0)])
    def test_rsi_at_its_ends(self, step: float, expected: float) -> None:
        close = (0.1 * step ** np.arange(40.0))[:, None]
        assert indicators.rsi(close, 14, 30)[-1, 0] == expected

    def test_a_flat_market_is_exactly_flat(self) -> None:
        # 0.1 has no exact binary form, so twenty of them do not add up to 2.
        close = np.full((130, 1), 0.1)
        assert indicators.volatility(close, 20)[-1, 0] == 0.0
        assert indicators.z_score(close, 20)[-1, 0] == 0.0
        assert indicators.volatility_rank(close, 20, 100)[-1, 0] == 0.5

    def test_weights_of_wilder(self) -> None:
        # Seed (a + b) / 2, then one step of 1/2 toward c.
        np.testing.assert_allclose(indicators.wilder_weights(2, 3), [0.25, 0.25, 0.5])
        assert indicators.wilder_weights(14, 127).sum() == pytest.approx(1.0, abs=1e-14)

    def test_weights_of_macd(self) -> None:
        # Spans 1 and 2 and signal 1: the signal is the line, so nothing is left.
        np.testing.assert_array_equal(indicators.macd_weights(1, 2, 1, 5), np.zeros(5))
        # Spans 1 and 2 and signal 2 over closes a, b, c. Fast: b, c. Slow: (a + b) / 2, then (a + b) / 6 + 2c / 3.
        # Line: (b - a) / 2, then c / 3 - (a + b) / 6. The signal is the mean of the two, so half of their difference
        # is left: a / 6 - b / 3 + c / 6.
        np.testing.assert_allclose(indicators.macd_weights(1, 2, 2, 3), [1 / 6, -1 / 3, 1 / 6], atol=1e-15)

    def test_one_bar(self) -> None:
        high, low, close = column([12.0, 10.0]), column([8.0, 10.0]), column([11.0, 10.0])
        np.testing.assert_allclose(indicators.bar_range(high, low, close), column([4.0 / 11.0, 0.0]))
        np.testing.assert_array_equal(indicators.close_location(high, low, close), column([0.75, 0.5]))

    def test_open_gap(self) -> None:
        out = indicators.open_gap(column([10.0, 12.0]), column([10.0, 11.0]))
        np.testing.assert_allclose(out, column([np.nan, np.log(1.2)]))

    def test_true_range_spans_the_gap(self) -> None:
        # Closed at 10, then a bar from 12 to 13 that closes at 12: the range is 13 - 10.
        high, low, close = column([10.0, 13.0]), column([10.0, 12.0]), column([10.0, 12.0])
        np.testing.assert_allclose(indicators.average_true_range(high, low, close, 1, 2)[1], 0.25)


class TestClock:
    def test_the_session_is_a_turn_in_winter_and_summer(self) -> None:
        # 12:45 in New York, half of 9:30 to 16:00, is 17:45 UTC in winter and 16:45 in summer; then both closes.
        times = np.array(
            ["2024-03-08T17:45", "2024-03-11T16:45", "2024-03-08T21:00", "2024-03-11T20:00"], dtype="M8[ns]"
        )
        np.testing.assert_allclose(indicators.session_cos(times, False)[:, 0], [-1, -1, 1, 1], atol=1e-12)
        np.testing.assert_allclose(indicators.session_sin(times, False)[:, 0], [0, 0, 0, 0], atol=1e-12)

    def test_an_early_close_is_not_the_end_of_the_turn(self) -> None:
        # 13:00 in New York on the day after Thanksgiving: 210 of 390 minutes.
        times = np.array(["2024-11-29T18:00"], dtype="M8[ns]")
        np.testing.assert_allclose(indicators.session_sin(times, False)[0], np.sin(2 * np.pi * 210 / 390))

    def test_daily_bars_have_no_time_of_day(self) -> None:
        times = np.array(["2024-03-08", "2024-03-11"], dtype="M8[ns]")
        assert not indicators.session_sin(times, True).any()
        assert not indicators.session_cos(times, True).any()

    def test_weekdays(self) -> None:
        week = np.arange("2024-01-01", "2024-01-08", dtype="M8[D]").astype("M8[ns]")  # from a Monday
        points = np.hstack([indicators.weekday_cos(week), indicators.weekday_sin(week)])
        np.testing.assert_allclose(points[0], [1.0, 0.0])
        np.testing.assert_allclose(points[2], [np.cos(4 * np.pi / 7), np.sin(4 * np.pi / 7)])
        assert len({tuple(point) for point in points.round(6)}) == 7

    def test_real_bars_walk_the_same_circle_every_day(self, bars: Panel) -> None:
        sine, cosine = indicators.session_sin(bars.close_time, False), indicators.session_cos(bars.close_time, False)
        angles = np.arctan2(sine, cosine).round(9)
        assert len(np.unique(angles)) == 7  # 10:00, 11:00 ... 16:00, whatever the season


@given(st.integers(0, 50), st.integers(-8, 8))
def test_prices_in_another_currency_unit_change_nothing(seed: int, power: int) -> None:
    """A factor of two loses no bit, so no feature may move by one."""
    panel = random_panel(140, 2, seed)
    factor = 2.0**power
    scaled = replace(panel, **{name: getattr(panel, name) * factor for name in ("open", "high", "low", "close")})
    for name, feature in FEATURES.items():
        np.testing.assert_array_equal(feature.compute(scaled), feature.compute(panel), err_msg=name)
