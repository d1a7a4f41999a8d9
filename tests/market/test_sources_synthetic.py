"""Synthetic markets: what they promise about their own truth, measured on their bars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.sources import load_panel
from tradekit.market.sources.synthetic import (
    LEVEL_WEIGHTS,
    LEVELS,
    MOVES,
    SyntheticSpec,
    planted_signal,
    shock_nodes,
    truth,
)

NOISE = "synthetic:noise?bars=8000&symbols=20"
PLANTED = "synthetic:planted?bars=8000&symbols=20"


def _returns(
    close: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(close[1:] / close[:-1] - 1.0)


def test_bars_are_consistent_and_on_consecutive_sessions() -> None:
    panel = load_panel("synthetic:planted?bars=600&symbols=3&start=2010-01-01")
    assert panel.close.shape == (600, 3)
    assert panel.symbols == ("SYN00", "SYN01", "SYN02")
    np.testing.assert_array_equal(panel.timestamps.astype("M8[D]"), calendar.sessions_from("2010-01-01", 600))
    assert (panel.high >= np.maximum(panel.open, panel.close)).all()
    assert (panel.low <= np.minimum(panel.open, panel.close)).all()
    assert (panel.low > 0).all()
    assert (panel.volume > 0).all()
    assert panel.tradable.all()
    assert panel.benchmark_name == "equal_weight"
    assert panel.source == "synthetic:planted?bars=600&symbols=3&start=2010-01-01"


def test_close_only_has_the_same_closes() -> None:
    whole, closes = load_panel("synthetic:noise?bars=50"), load_panel("synthetic:noise?bars=50&columns=close")
    np.testing.assert_array_equal(whole.close, closes.close)
    assert closes.columns == {"close"}
    assert np.isnan(closes.open).all()


def test_the_seed_decides_and_more_bars_or_symbols_only_add() -> None:
    base = load_panel("synthetic:planted?bars=100&symbols=2&seed=7")
    assert base.content_hash == load_panel("synthetic:planted?seed=7&symbols=2&bars=100").content_hash
    more = load_panel("synthetic:planted?bars=150&symbols=4&seed=7")
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(more, name)[:100, :2], getattr(base, name))
    other = load_panel("synthetic:planted?bars=100&symbols=2&seed=8")
    assert (other.close != base.close).mean() > 0.9


def test_noise_is_planted_without_strength() -> None:
    quiet = load_panel("synthetic:planted?strength=0&bars=300")
    np.testing.assert_array_equal(quiet.close, load_panel("synthetic:noise?bars=300").close)


def test_noise_has_fat_tails_and_volatility_clusters_of_the_size_asked() -> None:
    returns = _returns(load_panel(NOISE).close)
    assert returns.std() == pytest.approx(0.012, rel=0.02)
    assert (returns**4).mean() / (returns**2).mean() ** 2 > 6.0
    size = np.abs(returns)
    for lag, least in ((1, 0.07), (20, 0.04)):
        follow = [np.corrcoef(size[:-lag, i], size[lag:, i])[0, 1] for i in range(20)]
        assert np.mean(follow) > least


def test_the_level_after_a_bar_is_the_volatility_of_the_next() -> None:
    panel = load_panel(NOISE)
    market, _, _ = truth(panel)
    returns = _returns(panel.close)
    # Where the level has just moved, the return after the move has the new one and the return before it the old.
    for old, new in ((0, 1), (1, 0), (1, 2), (2, 1)):
        moved = (market.level[:-2] == old) & (market.level[1:-1] == new)
        assert returns[:-1][moved].std() == pytest.approx(0.012 * LEVELS[old], rel=0.15)
        assert returns[1:][moved].std() == pytest.approx(0.012 * LEVELS[new], rel=0.15)


def test_a_fifth_of_the_variance_is_overnight() -> None:
    panel = load_panel(NOISE)
    gap = panel.open[1:] / panel.close[:-1] - 1.0
    assert gap.var() / _returns(panel.close).var() == pytest.approx(0.2, rel=0.03)


def test_noise_is_a_martingale_to_everything_that_was_known() -> None:
    panel = load_panel(NOISE)
    returns = _returns(panel.close)
    # From the open as well: a gap says nothing about the session after it.
    session = panel.close[1:] / panel.open[1:] - 1.0
    gap = panel.open[1:] / panel.close[:-1] - 1.0
    error = returns.std() / np.sqrt(returns.size)
    assert abs(returns.mean()) < 4 * error
    known = {
        "return": returns[:-1],
        "size": np.abs(returns[:-1]) - np.abs(returns[:-1]).mean(),
        "trend": np.sign(panel.close[20:-1] - panel.close[:-21]),
        "wick": (panel.high / panel.close)[1:-1] - (panel.high / panel.close)[1:-1].mean(),
        "volume": np.log(panel.volume[1:-1]) - np.log(panel.volume[1:-1]).mean(),
    }
    for name, signal in known.items():
        after = returns[-len(signal) :]
        score = (signal * after).sum() / np.sqrt(((signal * after) ** 2).sum())
        assert abs(score) < 4.0, name
    score = (gap * session).sum() / np.sqrt(((gap * session) ** 2).sum())
    assert abs(score) < 4.0
    assert (planted_signal(panel) == 0.0).all()


def test_planted_signal_is_the_expected_next_return_from_close_and_from_open() -> None:
    panel = load_panel(PLANTED)
    signal = planted_signal(panel)[:-1]
    for realised in (_returns(panel.close), panel.close[1:] / panel.open[1:] - 1.0):
        surprise = realised - signal
        for side in (signal > 0, signal < 0):
            error = surprise[side].std() / np.sqrt(side.sum())
            assert abs(surprise[side].mean()) < 4 * error
            # The edge itself is far beyond the error of the test.
            assert abs(signal[side].mean()) > 20 * error


def test_planted_signal_by_hand_from_the_closes_alone() -> None:
    panel = load_panel("synthetic:planted?bars=200&symbols=2&strength=0.1&half_life=5&volatility=0.02")
    decay = 0.5 ** (1 / 5)
    for column in range(2):
        trend, before = 0.0, 100.0
        for bar, close in enumerate(panel.close[:, column]):
            trend = decay * trend + (1 - decay) * (close / before - 1.0) / 0.02
            expected = 0.1 * 0.02 * np.sign(trend)
            assert planted_signal(panel)[bar, column] == pytest.approx(expected, abs=1e-15)
            before = close


def test_planted_signal_lasts_long_enough_for_a_late_fill() -> None:
    panel = load_panel(PLANTED)
    signal = planted_signal(panel)
    assert 1.0 / (np.sign(signal[1:]) != np.sign(signal[:-1])).mean() > 20.0
    late = (_returns(panel.close)[1:] * np.sign(signal[:-2])).mean()
    assert late > 0.8 * abs(signal).mean()


def test_planted_signal_of_a_part_is_that_part_of_the_signal() -> None:
    panel = load_panel("synthetic:planted?bars=300&symbols=4")
    part = panel.select(["SYN03", "SYN01"])[100:200]
    np.testing.assert_array_equal(planted_signal(part), planted_signal(panel)[100:200][:, [3, 1]])


def test_planted_signal_needs_a_synthetic_panel() -> None:
    with pytest.raises(DataError, match="sample: not a synthetic market"):
        planted_signal(load_panel("sample", "KO", end="1990-02-01"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("synthetic", "no synthetic market ''; known: noise, planted"),
        ("synthetic:", "no synthetic market ''"),
        ("synthetic:nois", "did you mean noise"),
        ("synthetic:planted?strenght=1", "unknown option 'strenght' of synthetic:planted; did you mean strength"),
        ("synthetic:noise?strength=0.1", "unknown option 'strength' of synthetic:noise"),
        ("synthetic:planted?kind=noise", "unknown option 'kind'"),
        ("synthetic:planted?strength", "strength is ''; give a number from 0 to 0.5"),
        ("synthetic:planted?strength=nan", "strength is 'nan'; give a number from 0 to 0.5"),
        ("synthetic:noise?bars=1", "bars is '1'; give a whole number from 2 to 12000"),
        ("synthetic:noise?bars=1e3", "bars is '1e3'; give a whole number"),
        ("synthetic:noise?symbols=0", "symbols is '0'"),
        ("synthetic:noise?volatility=0.5", "volatility is '0.5'; give a number from 1e-06 to 0.05"),
        ("synthetic:noise?columns=ohlc", "columns is 'ohlc'; choose ohlcv or close"),
        ("synthetic:noise?start=soon", "start is 'soon'; write YYYY-MM-DD"),
        ("synthetic:noise?start=2049-01-01", "no exchange calendar for 2000 sessions from 2049-01-01"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_line(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("?", r"\?").replace("[", r"\[")) as caught:
        load_panel(source)
    assert "\n" not in str(caught.value)


def test_unknown_symbol_is_refused() -> None:
    with pytest.raises(DataError, match="no symbol SYN08; did you mean SYN0"):
        load_panel("synthetic:noise?bars=10", "SYN08")


def test_levels_are_as_stationary_as_they_say() -> None:
    np.testing.assert_allclose(MOVES.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(LEVEL_WEIGHTS @ MOVES, LEVEL_WEIGHTS, rtol=1e-12)
    np.testing.assert_allclose(LEVEL_WEIGHTS @ LEVELS**2, 1.0, rtol=1e-12)


@pytest.mark.parametrize("count", [2, 5, 25, 400])
def test_shock_nodes_stand_for_a_unit_shock(count: int) -> None:
    nodes = shock_nodes(count)
    assert len(nodes) == count
    assert nodes.mean() == pytest.approx(0.0, abs=1e-12)
    assert (nodes**2).mean() == pytest.approx(1.0)
    assert (np.diff(nodes) > 0).all()


@given(
    strength=st.floats(0.0, 0.5),
    half_life=st.floats(1.0, 100.0),
    volatility=st.floats(1e-6, 0.05),
    seed=st.integers(0, 2**63),
)
def test_every_spec_in_range_makes_a_valid_market(
    strength: float, half_life: float, volatility: float, seed: int
) -> None:
    options = f"strength={strength!r}&half_life={half_life!r}&volatility={volatility!r}&seed={seed}"
    source = f"synthetic:planted?bars=80&symbols=2&{options}"
    assert SyntheticSpec.parse(source) == SyntheticSpec(
        "planted", strength=strength, half_life=half_life, volatility=volatility, seed=seed, bars=80, symbols=2
    )
    panel = load_panel(source)
    assert np.isfinite(panel.close).all()
    assert (panel.low > 0).all()
