"""The Sharpe ratio's error against published figures, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from skfolio.measures import probabilistic_sharpe_ratio

from bench.returns import series
from tradekit.evidence import sharpe as sr
from tradekit.evidence.serial import long_run_variance

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def fat_tailed() -> Floats:
    return np.random.default_rng(1).standard_t(4, 1500) * 0.01 + 0.0005


@pytest.fixture(scope="module")
def market() -> Floats:
    return np.random.default_rng(2).normal(0.0003, 0.01, 1500)


def independent(sharpe_per_bar: float, skew: float, kurt: float, bars: int) -> sr.Error:
    return sr.Error(sr.sharpe_error(sharpe_per_bar, skew, kurt, bars), math.inf)


def test_probabilistic_sharpe_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2012): 24 monthly returns, S = 0.458, skew -2.448, kurtosis 10.164."""
    assert sr.probability_above(0.458, independent(0.458, 0.0, 3.0, 24), 0.0) == pytest.approx(0.982, abs=5e-4)
    assert sr.probability_above(0.458, independent(0.458, -2.448, 10.164, 24), 0.0) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(("a_year", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
def test_least_track_record_of_the_paper(a_year: int, years: float) -> None:
    """Bailey and Lopez de Prado (2012): a Sharpe ratio of 2 to be told from 1 at 95 %, normal returns."""
    scale = math.sqrt(a_year)
    bars = sr.least_bars(2.0 / scale, 0.0, 3.0, 1.0 / scale)
    assert bars / a_year == pytest.approx(years, abs=5e-3)
    # So many bars are just enough.
    error = independent(2.0 / scale, 0.0, 3.0, 1)._replace(size=math.sqrt((1.0 + 2.0 / a_year) / (bars - 1.0)))
    assert sr.probability_above(2.0 / scale, error, 1.0 / scale) == pytest.approx(0.95)
    assert math.isnan(sr.least_bars(0.05, 0.0, 3.0, 0.05))


def test_least_track_record_of_a_series(fat_tailed: Floats) -> None:
    found = sr.least_track_record(fat_tailed)
    # For bars that do not follow each other it is the paper's, but for the estimate of what they do.
    known = sr.least_bars(sr.bar_sharpe(fat_tailed), sr.skewness(fat_tailed), sr.kurtosis(fat_tailed))
    assert found == pytest.approx(known, rel=0.3)
    assert sr.least_track_record(np.repeat(fat_tailed, 3)) > 2.0 * found  # three bars that say the same are one
    assert math.isnan(sr.least_track_record(-fat_tailed))


@given(st.integers(0, 10_000), st.floats(0.0, 0.2), st.floats(-0.5, 0.5))
def test_a_record_is_long_enough_where_the_probability_is(seed: int, mean: float, follows: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(301)
    returns = 0.01 * (mean + noise[1:] + follows * noise[:-1])
    assume(sr.bar_sharpe(returns) > 0.0)
    enough = sr.least_track_record(returns) <= len(returns)
    assert enough == (sr.probabilistic_sharpe(returns, 252.0) >= sr.LEVEL)


def test_lo_for_normal_returns() -> None:
    """Lo (2002), table 1: the standard error of a monthly Sharpe ratio of 1.5 over 60 observations is 0.188."""
    # The table divides by n where the formula here divides by n - 1.
    assert sr.sharpe_error(1.5, 0.0, 3.0, 61) == pytest.approx(0.188, abs=5e-4)


@pytest.mark.parametrize("world", ["normal", "fat_tails", "garch", "trending", "reverting"])
def test_sharpe_interval_covers(world: str) -> None:
    """Of 600 series of a known Sharpe ratio about 95 % hold it: within three standard errors of that rate."""
    inside = 0
    for seed in range(600):
        _, low, high = sr.sharpe_interval(series(world, 500, seed, 0.05), 1.0)
        inside += low <= 0.05 <= high
    assert inside / 600 == pytest.approx(0.95, abs=3.0 * math.sqrt(0.95 * 0.05 / 600))


def test_the_interval_for_independent_bars_does_not_cover_a_trend() -> None:
    """Autocorrelation of 0.2 leaves 88 % inside; the test above would notice."""
    inside = 0
    for seed in range(600):
        returns = series("trending", 500, seed, 0.05)
        per_bar = sr.bar_sharpe(returns)
        error = sr.sharpe_error(per_bar, sr.skewness(returns), sr.kurtosis(returns), 500)
        inside += abs(per_bar - 0.05) <= 1.96 * error
    assert inside / 600 < 0.91


def test_difference_of_normal_returns_is_memmels(market: Floats) -> None:
    """Memmel (2003): n Var = 2 - 2 rho + (S1^2 + S2^2 - 2 S1 S2 rho^2) / 2."""
    random = np.random.default_rng(6)
    first = random.normal(0.001, 0.01, 200_000)
    second = 0.6 * first + random.normal(0.0005, 0.008, 200_000)
    rho = np.corrcoef(first, second)[0, 1]
    one, two = sr.bar_sharpe(first), sr.bar_sharpe(second)
    error = math.sqrt((2 - 2 * rho + (one**2 + two**2 - 2 * one * two * rho**2) / 2) / len(first))
    found, size = sr.difference_of(first, second)
    assert found == pytest.approx(one - two)
    assert size.size == pytest.approx(error, rel=0.08)  # its own error is 2 %
    low, high = sr.sharpe_difference(first, second, 1.0)[1:]
    assert high - low == pytest.approx(2.0 * stats.t.ppf(0.975, size.freedom) * size.size)
    assert sr.sharpe_difference(market, market, 252.0) == (0.0, 0.0, 0.0)


def test_error_of_one_is_the_mean_square_influence(fat_tailed: Floats) -> None:
    """Mertens' formula in moments and the delta method bar by bar are one number, but for n - 1 in the deviation."""
    moments = sr.skewness(fat_tailed), sr.kurtosis(fat_tailed)
    error = sr.sharpe_error(sr.bar_sharpe(fat_tailed), *moments, len(fat_tailed))
    per_bar = sr._influence(fat_tailed)
    assert error == pytest.approx(math.sqrt(np.mean(per_bar**2) / (len(per_bar) - 1)), rel=1e-3)


def test_influence_is_what_a_bar_moves_the_ratio_by(fat_tailed: Floats) -> None:
    """The derivative of the Sharpe ratio in the weight of a bar, by leaving it out."""
    whole, influence = np.mean(fat_tailed) / np.std(fat_tailed), sr._influence(fat_tailed)
    for bar in (0, 10, 999):
        rest = np.delete(fat_tailed, bar)
        left_out = len(rest) * (whole - np.mean(rest) / np.std(rest))
        assert left_out == pytest.approx(influence[bar], rel=0.01, abs=0.01)


def test_a_bar_that_the_estimate_leans_on_counts_for_more(fat_tailed: Floats) -> None:
    """Leaving bars out one by one, the jackknife, is a check that knows no formula."""
    few = fat_tailed[:60]
    left_out = np.array([sr.bar_sharpe(np.delete(few, bar)) for bar in range(60)])
    jackknife = math.sqrt(np.sum((left_out - left_out.mean()) ** 2) * 59 / 60)
    moves = sr._moves(few)
    assert jackknife < math.sqrt(np.mean(moves**2) / 59) < 1.2 * jackknife
    assert np.mean(moves) == pytest.approx(0.0, abs=1e-12)
    assert np.mean(moves**2) > np.mean(sr._influence(few) ** 2)


def test_one_bar_that_moved_has_an_error() -> None:
    found = sr.error_of(np.eye(50)[7])
    assert 0.0 < found.size < math.inf


def test_long_run_variance_by_hand_and_of_a_known_process() -> None:
    # Two values: one cosine, (a - b) / 2 x sqrt(2) by the transform, so its square is (a - b)^2 / 2.
    assert long_run_variance(np.array([3.0, 1.0])) == pytest.approx((2.0, 1))
    # An autoregression of slope 0.5 and variance 1 has a long-run variance of (1 + 0.5) / (1 - 0.5) = 3.
    random, found = np.random.default_rng(3), []
    for _ in range(40):
        values = np.zeros(5000)
        for bar, shock in enumerate(random.normal(0.0, math.sqrt(0.75), 4999), 1):
            values[bar] = 0.5 * values[bar - 1] + shock
        found.append(long_run_variance(values).variance)
    assert np.mean(found) == pytest.approx(3.0, rel=0.05)
    assert math.isnan(long_run_variance(np.array([1.0])).variance)


def test_skfolio(fat_tailed: Floats) -> None:
    per_bar, moments = sr.bar_sharpe(fat_tailed), (sr.skewness(fat_tailed), sr.kurtosis(fat_tailed))
    ours = sr.probability_above(per_bar, independent(per_bar, *moments, len(fat_tailed)), 0.02)
    # They take the bias out of skewness and kurtosis.
    assert ours == pytest.approx(probabilistic_sharpe_ratio(fat_tailed, 0.02), abs=1e-3)


def test_scipy_moments(fat_tailed: Floats) -> None:
    assert sr.skewness(fat_tailed) == pytest.approx(stats.skew(fat_tailed))
    assert sr.kurtosis(fat_tailed) == pytest.approx(stats.kurtosis(fat_tailed, fisher=False))
