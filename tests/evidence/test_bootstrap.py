"""The stationary bootstrap against arch's own intervals, numpy by hand, and returns whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length
from numpy.typing import NDArray

from bench.returns import series
from tradekit.evidence import bootstrap as b
from tradekit.evidence import measures as m
from tradekit.evidence.sharpe import bar_sharpe

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def returns() -> Floats:
    return np.column_stack([series("trending", 600, seed, 0.05) * 0.01 for seed in range(3)])


def test_statistics_of_a_resample_are_those_of_its_bars(returns: Floats) -> None:
    drawn = b.resample(returns, 4.0, 5, seed=9)
    source = StationaryBootstrap(4, np.arange(len(returns)), seed=9)
    for draw, ((rows,), _) in enumerate(source.bootstrap(5)):
        for place in range(3):
            picked = returns[np.asarray(rows), place]
            equity = np.concatenate([[1.0], np.cumprod(1.0 + picked)])
            by_hand = [np.mean(picked), np.std(picked, ddof=1), np.log(equity[-1]), m.max_drawdown(equity)]
            assert drawn.table[draw, place] == pytest.approx(by_hand)
            assert drawn.sharpe[draw, place] == pytest.approx(bar_sharpe(picked))
            assert drawn.cagr(252.0)[draw, place] == pytest.approx(m.cagr(picked, 252.0))


def test_archs_percentile_interval(returns: Floats) -> None:
    one = returns[:, 0]
    theirs = StationaryBootstrap(5, one, seed=3).conf_int(
        lambda r: np.array([np.mean(r) / np.std(r, ddof=1)]), reps=800, method="percentile"
    )
    drawn = b.resample(one[:, None], 5.0, 800, seed=3)
    ours = b.percentile_interval(bar_sharpe(one), drawn.sharpe[:, 0])
    assert [ours.low, ours.high] == pytest.approx(theirs.ravel().tolist(), rel=1e-9)


def test_block_length_is_that_of_arch(returns: Floats) -> None:
    assert b.block_length(returns[:, 0]) == pytest.approx(optimal_block_length(returns[:, 0])["stationary"].iloc[0])
    assert b.block_length(series("trending", 3000, 1, 0.0)) > 3.0 * b.block_length(series("normal", 3000, 1, 0.0))
    assert b.block_length(np.zeros(100)) == 1.0
    assert b.block_length(np.array([0.01, -0.02])) == 1.0
    assert math.isnan(b.block_length(np.array([0.01, np.nan] * 20)))


def test_blocks_keep_what_follows_what(returns: Floats) -> None:
    """Resampled means of a trending series spread as its long-run variance says, and singles do not."""
    one = series("trending", 4000, 2, 0.0)
    lone, blocks = (b.resample(one[:, None], size, 800, seed=5).table[:, 0, b.MEAN] for size in (1.0, 20.0))
    assert np.std(lone) * math.sqrt(4000) == pytest.approx(np.std(one), rel=0.1)
    # Autocorrelation 0.2: (1 + 0.2) / (1 - 0.2) = 1.5 times the variance.
    assert np.std(blocks) / np.std(lone) == pytest.approx(math.sqrt(1.5), rel=0.1)


def test_one_seed_one_answer(returns: Floats) -> None:
    first, second, other = (b.resample(returns, 3.0, 20, seed=seed).table for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_strategies_share_their_bars(returns: Floats) -> None:
    drawn = b.resample(np.column_stack([returns, 2.0 * returns[:, 0]]), 3.0, 50)
    assert drawn.sharpe[:, 3] == pytest.approx(drawn.sharpe[:, 0])
    np.testing.assert_array_equal(b.resample(returns[:, :1], 3.0, 50).table[:, 0], drawn.table[:, 0])


def test_ruin_and_emptiness() -> None:
    ruined = np.array([0.01, -1.0, 0.02, 0.01])[:, None]
    drawn = b.resample(ruined, 1.0, 40)
    assert np.isneginf(drawn.table[..., b.GROWTH]).any()
    assert drawn.cagr(252.0).min() == -1.0
    assert drawn.table[..., b.FALL].max() == 1.0
    assert np.isnan(b.resample(np.empty((0, 2)), 1.0, 3).table).all()
    flat = b.resample(np.zeros((30, 1)), 1.0, 3)
    assert (flat.sharpe == 0.0).all()


def test_paired_p_has_its_size() -> None:
    """Of two strategies that are equally good the first is found better at 5 % in about 5 % of samples."""
    random, found = np.random.default_rng(6), []
    for _ in range(300):
        market = random.normal(0.0005, 0.01, 400)
        pair = market[:, None] + random.normal(0.0, 0.004, (400, 2))
        drawn = b.resample(pair, 1.0, 300, seed=int(random.integers(2**31))).sharpe
        gap = b.sharpe_gap(pair[:, 0], pair[:, 1], 1.0)
        found.append(b.paired_p(gap, drawn[:, 0] - drawn[:, 1]))
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.09
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.09)


def test_paired_p_by_hand() -> None:
    # Centred draws -1, 0, 1, 3 against a value of 1: two of four are as high, and the observed one: 3 of 5.
    assert b.paired_p(1.0, np.array([0.0, 1.0, 2.0, 4.0])) == pytest.approx(0.6)
    assert math.isnan(b.paired_p(math.nan, np.zeros(3)))


def test_percentiles_by_hand() -> None:
    found = b.percentile_interval(5.0, np.arange(101.0), 0.9)
    assert found == pytest.approx((5.0, 5.0, 95.0))
    assert math.isnan(b.percentile_interval(1.0, np.array([1.0, np.nan])).low)
