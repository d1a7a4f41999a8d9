"""SPA and step-M: Hansen's statistic by hand, and the rates at which they err."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap

from tradekit.evidence.superiority import Spa, step_m, superior_ability


def test_whites_reality_check_by_hand() -> None:
    """The upper p-value: how often the best centred mean of a resample exceeds the best observed mean."""
    random = np.random.default_rng(1)
    benchmark, returns = random.normal(0.0, 0.01, 250), random.normal(0.0005, 0.01, (250, 4))
    gains = (returns - benchmark[:, None]) / np.std(returns - benchmark[:, None], axis=0, ddof=1)
    best, above = gains.mean(axis=0).max(), 0
    for (rows,), _ in StationaryBootstrap(3, np.arange(250), seed=7).bootstrap(500):
        above += (gains[np.asarray(rows)].mean(axis=0) - gains.mean(axis=0)).max() > best
    found = superior_ability(returns, benchmark, 3.0, 500, seed=7)
    assert found.upper == pytest.approx(above / 500, abs=0.02)
    assert found.lower <= found.consistent <= found.upper


def test_one_that_is_better_is_found_among_many() -> None:
    random = np.random.default_rng(2)
    benchmark, returns = random.normal(0.0, 0.01, 1000), random.normal(0.0, 0.01, (1000, 6))
    returns[:, 3] += 0.0025
    assert superior_ability(returns, benchmark, 1.0).consistent < 0.01
    assert step_m(returns, benchmark, 1.0) == [3]


def test_scale_does_not_decide() -> None:
    """A wild strategy without an edge does not hide a calm one with an edge."""
    random = np.random.default_rng(3)
    benchmark = random.normal(0.0, 0.001, 1000)
    calm, wild = benchmark + random.normal(0.0002, 0.001, 1000), random.normal(0.0, 0.1, 1000)
    assert step_m(np.column_stack([wild, calm]), benchmark, 1.0) == [1]


def test_luck_is_seldom_called_superior() -> None:
    random, called, p_values = np.random.default_rng(4), 0, []
    for _ in range(120):
        benchmark, returns = random.normal(0.0, 0.01, 250), random.normal(0.0, 0.01, (250, 5))
        called += bool(step_m(returns, benchmark, 1.0, 200, seed=int(random.integers(2**31))))
        p_values.append(superior_ability(returns, benchmark, 1.0, 200, seed=int(random.integers(2**31))).consistent)
    assert called / 120 <= 0.1
    assert np.mean(np.array(p_values) < 0.05) <= 0.1


def test_undefined() -> None:
    benchmark = np.random.default_rng(5).normal(size=50)
    undefined = superior_ability(benchmark[:, None], benchmark, 1.0)
    assert all(math.isnan(value) for value in undefined)
    assert len(undefined) == len(Spa._fields)
    assert step_m(benchmark[:, None], benchmark, 1.0) == []
    assert step_m(np.empty((50, 0)), benchmark, 1.0) == []
    mixed = np.column_stack([benchmark, benchmark + 5.0 + 0.1 * np.arange(50)])
    assert step_m(mixed, benchmark, 1.0) == [1]
