"""The Sharpe ratio's error against published figures, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tradekit.evidence import sharpe as sr

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def fat_tailed() -> Floats:
    return np.random.default_rng(1).standard_t(4, 1500) * 0.01 + 0.0005


@pytest.fixture(scope="module")
def market() -> Floats:
    return np.random.default_rng(2).normal(0.0003, 0.01, 1500)


def test_probabilistic_sharpe_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2012): 24 monthly returns, S = 0.458, skew -2.448, kurtosis 10.164."""
    normal = sr.sharpe_error(0.458, 0.0, 3.0, 24)
    skewed = sr.sharpe_error(0.458, -2.448, 10.164, 24)
    assert sr.probability_above(0.458, normal, 0.0) == pytest.approx(0.982, abs=5e-4)
    assert sr.probability_above(0.458, skewed, 0.0) == pytest.approx(0.913, abs=5e-4)


def test_probability_above_the_deflated_threshold_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2014): annual S = 2.5 over 1250 days, skew -3, kurtosis 10, threshold 0.1132 a day."""
    per_day = 2.5 / math.sqrt(250)
    assert sr.probability_above(per_day, sr.sharpe_error(per_day, -3.0, 10.0, 1250), 0.1132) == pytest.approx(
        0.9004, abs=5e-4
    )


def test_lo_for_normal_returns() -> None:
    """Lo (2002), table 1: the standard error of a monthly Sharpe ratio of 1.5 over 60 observations is 0.188."""
    # The table divides by n where the formula here divides by n - 1.
    assert sr.sharpe_error(1.5, 0.0, 3.0, 61) == pytest.approx(0.188, abs=5e-4)


def test_sharpe_interval_covers() -> None:
    """Of 400 samples of fat-tailed returns of a known Sharpe ratio, about 95 % hold it in their interval."""
    random, truth = np.random.default_rng(5), 0.1 / math.sqrt(5.0 / 3.0)
    inside = 0
    for _ in range(400):
        _, low, high = sr.sharpe_interval(random.standard_t(5, 500) + 0.1, 1.0)
        inside += low <= truth <= high
    assert 0.93 <= inside / 400 <= 0.975


def test_difference_of_normal_returns_is_memmels(market: Floats) -> None:
    """Memmel (2003): n Var = 2 - 2 rho + (S1^2 + S2^2 - 2 S1 S2 rho^2) / 2."""
    random = np.random.default_rng(6)
    first = random.normal(0.001, 0.01, 200_000)
    second = 0.6 * first + random.normal(0.0005, 0.008, 200_000)
    rho = np.corrcoef(first, second)[0, 1]
    one, two = sr.bar_sharpe(first), sr.bar_sharpe(second)
    error = math.sqrt((2 - 2 * rho + (one**2 + two**2 - 2 * one * two * rho**2) / 2) / len(first))
    found = sr.sharpe_difference(first, second, 1.0)
    assert found.value == pytest.approx(one - two)
    assert found.high - found.value == pytest.approx(stats.norm.ppf(0.975) * error, rel=0.01)
    assert sr.sharpe_difference(market, market, 252.0) == (0.0, 0.0, 0.0)


def test_error_of_one_is_the_mean_square_influence(fat_tailed: Floats) -> None:
    """Mertens' formula in moments and the delta method bar by bar are one number, but for n - 1 in the deviation."""
    moments = sr.skewness(fat_tailed), sr.kurtosis(fat_tailed)
    error = sr.sharpe_error(sr.bar_sharpe(fat_tailed), *moments, len(fat_tailed))
    per_bar = sr._influence(fat_tailed)
    assert error == pytest.approx(math.sqrt(np.mean(per_bar**2) / (len(per_bar) - 1)), rel=1e-3)


def test_scipy_moments(fat_tailed: Floats) -> None:
    assert sr.skewness(fat_tailed) == pytest.approx(stats.skew(fat_tailed))
    assert sr.kurtosis(fat_tailed) == pytest.approx(stats.kurtosis(fat_tailed, fisher=False))
