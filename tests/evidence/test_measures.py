"""Measures against numpy by hand, published figures, and libraries that define the same thing."""

from __future__ import annotations

import math
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tradekit.evidence import measures as m
from tradekit.evidence import sharpe as sr
from tradekit.evidence.deflated import deflated_sharpe

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]

DAYS = 252.0
# Four bars, worked by hand: equity 100, 110, 99, 99, 108.9; returns +0.1, -0.1, 0, +0.1.
EQUITY = np.array([100.0, 110.0, 99.0, 99.0, 108.9])
RETURNS = np.array([0.1, -0.1, 0.0, 0.1])


@pytest.fixture(scope="module")
def fat_tailed() -> Floats:
    return np.random.default_rng(1).standard_t(4, 1500) * 0.01 + 0.0005


@pytest.fixture(scope="module")
def market() -> Floats:
    return np.random.default_rng(2).normal(0.0003, 0.01, 1500)


def test_by_hand() -> None:
    assert m.bar_returns(EQUITY) == pytest.approx(RETURNS, abs=1e-15)
    assert m.total_return(RETURNS) == pytest.approx(0.089)
    assert m.cagr(RETURNS, 4.0) == pytest.approx(0.089)
    assert m.cagr(RETURNS, 8.0) == pytest.approx(1.089**2 - 1.0)
    # Mean 0.025; squared distances 0.075^2 + 0.125^2 + 0.025^2 + 0.075^2 = 0.0275, over 3 = 0.0091667.
    deviation = math.sqrt(0.0275 / 3.0)
    assert m.volatility(RETURNS, 4.0) == pytest.approx(2.0 * deviation)
    assert sr.sharpe(RETURNS, 4.0) == pytest.approx(2.0 * 0.025 / deviation)
    # One losing bar of -0.1 among 4: downside sqrt(0.01 / 4) = 0.05.
    assert m.sortino(RETURNS, 4.0) == pytest.approx(2.0 * 0.025 / 0.05)
    assert m.drawdown(EQUITY) == pytest.approx([0.0, 0.0, 0.1, 0.1, 0.01])
    assert m.max_drawdown(EQUITY) == pytest.approx(0.1)
    assert m.longest_drawdown(EQUITY) == 3.0
    assert m.calmar(RETURNS, 4.0) == pytest.approx(0.089 / 0.1)
    assert m.hit_rate(RETURNS) == pytest.approx(2.0 / 3.0)
    assert m.profit_factor(RETURNS) == pytest.approx(2.0)


def test_trading_by_hand() -> None:
    # 50 of 100, 0 of 110, 99 of 99 and 0 of 99 dollars: 0.5 + 0 + 1 + 0 in 4 bars, two of which make a year.
    traded = np.array([50.0, 0.0, 99.0, 0.0])
    assert m.turnover(traded, EQUITY, 2.0) == pytest.approx(0.75)
    assert m.annual_share(np.array([1.0, 0.0, 0.0, 0.99]), EQUITY, 4.0) == pytest.approx(0.02)
    assert m.cost_ratio(25.0, 75.0) == 0.25
    assert m.cost_ratio(150.0, -50.0) == 1.5
    assert math.isnan(m.cost_ratio(50.0, -50.0))
    assert math.isnan(m.cost_ratio(50.0, -80.0))


def test_benchmark_by_hand() -> None:
    benchmark = np.array([np.nan, 0.05, 0.05, 0.05])
    # Over the three bars both have: 0.9 x 1 x 1.1 = 0.99 against 1.157625, a year each.
    assert m.excess_over_benchmark(RETURNS, benchmark, 3.0) == pytest.approx(-0.01 - 0.157625)
    # Differences -0.15, -0.05, 0.05: mean -0.05, deviation 0.1.
    assert m.information_ratio(RETURNS, benchmark, 4.0) == pytest.approx(-1.0)
    assert math.isnan(m.information_ratio(RETURNS, RETURNS, 4.0))
    assert math.isnan(m.excess_over_benchmark(RETURNS, np.full(4, np.nan), 4.0))


def _series(returns: Floats) -> Any:
    return pd.Series(returns, index=pd.bdate_range("2015-01-01", periods=len(returns)))


def test_quantstats(fat_tailed: Floats, market: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        qs: Any = import_module("quantstats.stats")
        one, two = _series(fat_tailed), _series(market)
        theirs = {
            "total": qs.comp(one),
            "cagr": qs.cagr(one),
            "volatility": qs.volatility(one, periods=252),
            "sharpe": qs.sharpe(one, periods=252),
            "sortino": qs.sortino(one, periods=252),
            "calmar": qs.calmar(one),
            "fall": -qs.max_drawdown(one),
            "hits": qs.win_rate(one),
            "factor": qs.profit_factor(one),
            "information": qs.information_ratio(one, two) * math.sqrt(252),
        }
        psr = qs.probabilistic_sharpe_ratio(one)
    equity = np.concatenate([[1.0], np.cumprod(1.0 + fat_tailed)])
    ours = {
        "total": m.total_return(fat_tailed),
        "cagr": m.cagr(fat_tailed, DAYS),
        "volatility": m.volatility(fat_tailed, DAYS),
        "sharpe": sr.sharpe(fat_tailed, DAYS),
        "sortino": m.sortino(fat_tailed, DAYS),
        "calmar": m.calmar(fat_tailed, DAYS),
        "fall": m.max_drawdown(equity),
        "hits": m.hit_rate(fat_tailed),
        "factor": m.profit_factor(fat_tailed),
        "information": m.information_ratio(fat_tailed, market, DAYS),
    }
    assert ours == pytest.approx(theirs)
    # They take bars for independent, and the bias out of skewness and kurtosis.
    per_bar, moments = sr.bar_sharpe(fat_tailed), (sr.skewness(fat_tailed), sr.kurtosis(fat_tailed))
    independent = sr.Error(sr.sharpe_error(per_bar, *moments, len(fat_tailed)), math.inf)
    assert sr.probability_above(per_bar, independent, 0.0) == pytest.approx(psr, abs=1e-4)


def test_vectorbt(fat_tailed: Floats, market: Floats) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("vectorbt")  # gives every Series its .vbt
        returns = _series(fat_tailed).vbt.returns(freq="1D", year_freq="252D")
        theirs = {
            "cagr": returns.annualized(),
            "volatility": returns.annualized_volatility(),
            "sharpe": returns.sharpe_ratio(),
            "sortino": returns.sortino_ratio(),
            "calmar": returns.calmar_ratio(),
            "information": returns.information_ratio(_series(market)) * math.sqrt(252),
        }
        equity = np.concatenate([[1.0], np.cumprod(1.0 + fat_tailed)])
        under_water = _series(equity).vbt.drawdowns.duration.values.max()
    ours = {
        "cagr": m.cagr(fat_tailed, DAYS),
        "volatility": m.volatility(fat_tailed, DAYS),
        "sharpe": sr.sharpe(fat_tailed, DAYS),
        "sortino": m.sortino(fat_tailed, DAYS),
        "calmar": m.calmar(fat_tailed, DAYS),
        "information": m.information_ratio(fat_tailed, market, DAYS),
    }
    assert ours == pytest.approx(theirs)
    assert m.longest_drawdown(equity) == under_water


OF_RETURNS: dict[str, Callable[[Floats], float]] = {
    "total_return": m.total_return,
    "cagr": lambda r: m.cagr(r, DAYS),
    "volatility": lambda r: m.volatility(r, DAYS),
    "sharpe": lambda r: sr.sharpe(r, DAYS),
    "sharpe_low": lambda r: sr.sharpe_interval(r, DAYS).low,
    "sharpe_high": lambda r: sr.sharpe_interval(r, DAYS).high,
    "probabilistic_sharpe": lambda r: sr.probabilistic_sharpe(r, DAYS),
    "deflated_sharpe": lambda r: deflated_sharpe(r, 7).probability,
    "sortino": lambda r: m.sortino(r, DAYS),
    "calmar": lambda r: m.calmar(r, DAYS),
    "hit_rate": m.hit_rate,
    "profit_factor": m.profit_factor,
    "skewness": sr.skewness,
    "kurtosis": sr.kurtosis,
}


@pytest.mark.parametrize("name", OF_RETURNS)
def test_no_bars_is_nan(name: str) -> None:
    assert math.isnan(OF_RETURNS[name](np.empty(0)))


@pytest.mark.parametrize("name", OF_RETURNS)
def test_a_nan_makes_nan(name: str) -> None:
    assert math.isnan(OF_RETURNS[name](np.array([0.01, np.nan, -0.02])))


@pytest.mark.parametrize(
    ("returns", "undefined"),
    [
        (np.array([0.01]), {"volatility", "sharpe", "sortino", "calmar", "profit_factor", "skewness", "kurtosis"}),
        (np.zeros(5), {"sharpe", "sortino", "calmar", "hit_rate", "profit_factor", "skewness", "kurtosis"}),
        # Growth of exactly 1 % a bar, as equity rounds it: no volatility, however the last digits fall.
        (
            m.bar_returns(100.0 * np.power(1.01, np.arange(60))),
            {"sharpe", "sortino", "calmar", "profit_factor", "skewness"},
        ),
        (np.array([-0.01, -0.02, -0.01, -0.03]), set()),
        (np.array([0.1, -1.0, 0.0]), set()),
    ],
    ids=["one bar", "flat", "constant", "all losses", "ruin"],
)
def test_degenerate(returns: Floats, undefined: set[str]) -> None:
    answers = {name: measure(returns) for name, measure in OF_RETURNS.items()}
    assert not any(math.isinf(value) for value in answers.values())
    assert {name for name, value in answers.items() if math.isnan(value)} >= undefined
    if not undefined:
        assert not any(math.isnan(value) for value in answers.values())
        assert answers["cagr"] < 0.0


def test_sessions_compound_their_bars() -> None:
    # Three bars of one session and one of the next: 1.1 x 0.9 x 1 - 1 = -0.01, then +0.1.
    found = m.session_returns(RETURNS, np.array([5, 5, 5, 6]))
    assert found == pytest.approx([-0.01, 0.1])
    assert m.hit_rate(found) == 0.5
    assert m.profit_factor(found) == pytest.approx(10.0)
    assert m.session_returns(RETURNS, np.arange(4)) == pytest.approx(RETURNS)
    assert len(m.session_returns(np.empty(0), np.empty(0, np.int64))) == 0


def test_capture_is_a_share_of_log_growth() -> None:
    ceiling = np.array([0.21, 0.0, 0.21, 0.0])
    assert m.ceiling_capture(np.array([0.1, 0.0, 0.1, 0.0]), ceiling) == pytest.approx(0.5)
    assert m.ceiling_capture(ceiling, ceiling) == pytest.approx(1.0)
    assert m.ceiling_capture(-np.array([0.1, 0.0, 0.0, 0.0]), ceiling) < 0.0
    assert math.isnan(m.ceiling_capture(ceiling, np.zeros(4)))
    assert math.isnan(m.ceiling_capture(np.array([-1.0, 0.0]), np.array([0.1, 0.1])))


def test_all_losses() -> None:
    losses = np.array([-0.01, -0.02])
    assert m.profit_factor(losses) == 0.0
    assert m.hit_rate(losses) == 0.0


def test_after_ruin_nothing_is_earned() -> None:
    equity = np.array([100.0, 0.0, 0.0])
    assert m.bar_returns(equity).tolist() == [-1.0, 0.0]
    assert m.total_return(m.bar_returns(equity)) == -1.0
    assert m.cagr(m.bar_returns(equity), DAYS) == -1.0
    assert m.turnover(np.array([50.0, 10.0]), equity, 2.0) == pytest.approx(0.5)


def test_a_short_run_that_annualises_beyond_a_float() -> None:
    assert math.isnan(m.cagr(np.array([1.0]), 1764.0))


RANDOM = arrays(np.float64, st.integers(0, 40), elements=st.floats(-1.0, 2.0, allow_subnormal=False))


@given(RANDOM)
def test_never_an_exception_nor_infinity(returns: Floats) -> None:
    for name, measure in OF_RETURNS.items():
        assert not math.isinf(measure(returns)), name


@given(RANDOM.filter(lambda r: m.deviation(r) > 1e-6), st.floats(0.01, 10.0))
def test_sharpe_ignores_leverage(returns: Floats, leverage: float) -> None:
    assert sr.sharpe(leverage * returns, DAYS) == pytest.approx(sr.sharpe(returns, DAYS), rel=1e-6, abs=1e-9)


@given(RANDOM.filter(lambda r: len(r) > 0))
def test_returns_and_equity_agree(returns: Floats) -> None:
    equity = 100.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    assert m.total_return(m.bar_returns(equity)) == pytest.approx(equity[-1] / equity[0] - 1.0, rel=1e-6, abs=1e-9)
