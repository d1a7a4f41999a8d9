"""The deflated Sharpe ratio against the paper's example, skfolio, vectorbt and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skfolio.measures import expected_max_sharpe_ratio
from vectorbt.returns.metrics import approx_exp_max_sharpe, deflated_sharpe_ratio

from tradekit.evidence import deflated as d
from tradekit.evidence import sharpe as sr


def test_the_example_of_the_paper() -> None:
    """Bailey and Lopez de Prado (2014): annual S 2.5 over 1250 days, skew -3, kurtosis 10, ratios of variance 1/2.

    The best of 100 shows 0.1132 a day by luck, and the deflated ratio is 0.90; had there been 46, it would be 0.95.
    """
    spread, per_day = math.sqrt(0.5 / 250.0), 2.5 / math.sqrt(250.0)
    error = sr.Error(sr.sharpe_error(per_day, -3.0, 10.0, 1250), math.inf)
    assert d.expected_best(100, spread) == pytest.approx(0.1132, abs=5e-5)
    assert sr.probability_above(per_day, error, d.expected_best(100, spread)) == pytest.approx(0.9004, abs=5e-5)
    assert sr.probability_above(per_day, error, d.expected_best(46, spread)) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize("trials", [2, 10, 46, 1000])
def test_skfolio_and_vectorbt(trials: int) -> None:
    assert d.expected_best(trials, 0.05) == pytest.approx(expected_max_sharpe_ratio(trials, 0.05))
    assert d.expected_best(trials, 0.05) == pytest.approx(approx_exp_max_sharpe(0.0, 0.05**2, trials))
    error = sr.Error(sr.sharpe_error(0.15, -1.0, 6.0, 800), math.inf)
    theirs = deflated_sharpe_ratio(
        est_sharpe=np.array([0.15]),
        var_sharpe=0.05**2,
        nb_trials=trials,
        backtest_horizon=800,
        skew=np.array([-1.0]),
        kurtosis=np.array([6.0]),
    )
    assert sr.probability_above(0.15, error, d.expected_best(trials, 0.05)) == pytest.approx(float(theirs[0]))


@pytest.mark.parametrize("trials", [5, 20, 100])
def test_the_best_of_many_by_simulation(trials: int) -> None:
    best = np.random.default_rng(1).standard_normal((20_000, trials)).max(axis=1)
    assert d.expected_best(trials, 1.0) == pytest.approx(best.mean(), rel=0.04)


def test_one_trial_is_not_deflated() -> None:
    returns = np.random.default_rng(2).normal(0.001, 0.01, 800)
    assert d.expected_best(1, 0.05) == 0.0
    assert d.expected_best(2, 0.05) > 0.0
    alone = d.deflated_sharpe(returns, 1)
    assert alone.threshold == 0.0
    assert alone.probability == pytest.approx(sr.probabilistic_sharpe(returns, 252.0))
    assert d.deflated_sharpe(returns, 50).probability < alone.probability


def test_luck_passes_seldom() -> None:
    """The best of ten strategies without skill passes at 95 % in far fewer than 5 % of samples."""
    random, passed = np.random.default_rng(3), 0
    for _ in range(400):
        returns = random.normal(0.0, 0.01, (500, 10))
        best = returns[:, np.argmax(returns.mean(axis=0) / returns.std(axis=0))]
        passed += d.deflated_sharpe(best, 10).probability > 0.95
    assert passed / 400 <= 0.05


def test_what_luck_adds_to_holding() -> None:
    """In a market that rises, the best of ten ways to hold passes the first test often and the second seldom."""
    random, alone, beside = np.random.default_rng(4), 0, 0
    for _ in range(200):
        market = random.normal(0.001, 0.008, 1000)
        ways = market[:, None] + random.normal(0.0, 0.003, (1000, 10))
        best = ways[:, np.argmax(ways.mean(axis=0) / ways.std(axis=0))]
        alone += d.deflated_sharpe(best, 10).probability > 0.95
        beside += d.deflated_difference(best, market, 10).probability > 0.95
    assert alone / 200 > 0.5
    assert beside / 200 <= 0.05


def test_groups_by_hand() -> None:
    random = np.random.default_rng(5)
    one, two = random.normal(size=(2, 2000))
    near = one + 0.3 * random.normal(size=2000)
    assert d.clusters_of(np.column_stack([one, near, two])) == 2
    assert d.clusters_of(np.column_stack([one, -one])) == 2
    assert d.clusters_of(np.column_stack([one, one, one])) == 1
    assert d.clusters_of(np.column_stack([one, np.zeros(2000)])) == 2
    assert d.clusters_of(np.column_stack([one, np.zeros(2000), near, np.zeros(2000)])) == 3
    assert d.clusters_of(one[:, None]) == 1
    assert d.clusters_of(random.normal(size=(2000, 12))) == 12


def test_undefined() -> None:
    assert math.isnan(d.deflated_sharpe(np.zeros(50), 3).probability)
    assert math.isnan(d.deflated_difference(np.zeros(50), np.arange(50.0), 3).probability)
    assert math.isnan(d.expected_best(5, math.nan))
