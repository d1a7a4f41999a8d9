"""The two ceilings against brute force, against a walk through the bars, and against each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.errors import ConfigError, DataError
from tradekit.market.costs import CostModel
from tradekit.market.optimum import _expect, changes, foresight, planted_optimum, side_cost
from tradekit.market.sources import load_panel
from tradekit.market.sources.synthetic import planted_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Floats, Panel

Side = Literal["open", "close"]


def walk(panel: Panel, column: int, targets: Sequence[float], cost: float, fill_at: Side) -> float:
    """Return the wealth of one symbol's sleeve that starts with 1 and wants ``targets[d]`` after bar d, share by share.

    Written from the rules, unlike the kernels: cash and shares, a purchase of all that cash can pay for.
    """
    cash, shares = 1.0, 0.0
    price = getattr(panel, fill_at)[:, column]
    for bar in range(1, len(panel)):
        if not (panel.tradable[bar, column] and np.isfinite(price[bar])):
            continue
        if targets[bar - 1] and not shares:
            shares, cash = cash / (price[bar] * (1.0 + cost)), 0.0
        elif not targets[bar - 1] and shares:
            cash, shares = shares * price[bar] * (1.0 - cost), 0.0
    return float(cash + shares * panel.mark[-1, column])


def brute_force(panel: Panel, column: int, cost: float, fill_at: Side) -> float:
    paths = itertools.product((0, 1), repeat=len(panel) - 1)
    return max(walk(panel, column, path, cost, fill_at) for path in paths)


def test_foresight_by_hand() -> None:
    # Closes 100, 100, 110, 90, 99 at 1 % a side: in at the second, out at 110, in at 90.
    # 110/100 x 0.99/1.01 = 1.0782; 99/90/1.01 = 1.0891; together 1.1743.
    panel = load_panel("synthetic:noise?bars=5&symbols=1&columns=close")
    panel = replace(panel, close=np.array([[100.0], [100.0], [110.0], [90.0], [99.0]]))
    found = foresight(panel, 0.01)
    assert np.exp(found.log_wealth[0]) == pytest.approx(1.1 * 0.99 / 1.01 * 1.1 / 1.01, rel=1e-12)
    assert found.exposure.ravel().tolist() == [1.0, 0.0, 1.0, 1.0, 1.0]


@given(
    seed=st.integers(0, 2**32),
    bars=st.integers(2, 9),
    cost=st.floats(0.0, 0.2),
    fill_at=st.sampled_from(["open", "close"]),
)
def test_foresight_equals_brute_force(seed: int, bars: int, cost: float, fill_at: Side) -> None:
    panel = load_panel(f"synthetic:noise?bars={bars}&symbols=2&seed={seed}&volatility=0.05")
    found = foresight(panel, cost, fill_at)
    for column in range(2):
        best = brute_force(panel, column, cost, fill_at)
        assert found.log_wealth[column] == pytest.approx(np.log(best), abs=1e-12)
        taken = walk(panel, column, found.exposure[:, column].tolist(), cost, fill_at)
        assert taken == pytest.approx(best, rel=1e-12)


@given(seed=st.integers(0, 2**32), fill_at=st.sampled_from(["open", "close"]))
def test_foresight_trades_only_where_it_can(seed: int, fill_at: Side) -> None:
    panel = load_panel(f"synthetic:noise?bars=9&symbols=1&seed={seed}&volatility=0.05")
    rng = np.random.default_rng(seed)
    missing, halted = rng.random(panel.close.shape) < 0.2, rng.random(panel.close.shape) < 0.2
    missing[0] = False
    gaps: dict[str, Any] = {
        name: np.where(missing, np.nan, getattr(panel, name)) for name in ("open", "high", "low", "close", "volume")
    }
    panel = replace(panel, **gaps, tradable=~(missing | halted))
    found = foresight(panel, 0.01, fill_at)
    assert found.log_wealth[0] == pytest.approx(np.log(brute_force(panel, 0, 0.01, fill_at)), abs=1e-12)


def test_foresight_never_loses_and_costs_only_lower_it() -> None:
    panel = load_panel("synthetic:noise?bars=500&symbols=4")
    dear, cheap, free = (foresight(panel, cost).log_wealth for cost in (0.02, 0.002, 0.0))
    assert (dear >= 0).all()
    assert (dear < cheap).all()
    assert (cheap < free).all()
    rises = np.clip(np.diff(np.log(panel.open[1:]), axis=0), 0, None).sum(axis=0)
    last = np.clip(np.log(panel.close[-1] / panel.open[-1]), 0, None)
    np.testing.assert_allclose(free, rises + last, rtol=1e-9)


def walk_many(panel: Panel, exposure: Floats, cost: float, fill_at: Side) -> Floats:
    return np.log([walk(panel, c, exposure[:, c].tolist(), cost, fill_at) for c in range(len(panel.symbols))])


@pytest.mark.parametrize("fill_at", ["open", "close"])
@pytest.mark.parametrize("cost", [0.0005, 0.0105])
def test_planted_optimum_earns_what_it_expects(fill_at: Side, cost: float) -> None:
    panel = load_panel("synthetic:planted?bars=8000&symbols=16&seed=3")
    best = planted_optimum(panel, cost, fill_at)
    earned = walk_many(panel, best.exposure, cost, fill_at) / (len(panel) - 1)
    error = earned.std(ddof=1) / np.sqrt(len(earned))
    assert abs(earned.mean() - best.growth) < 4 * error
    assert best.growth > 10 * error


@pytest.mark.parametrize("fill_at", ["open", "close"])
def test_planted_optimum_beats_other_policies_of_the_same_state(fill_at: Side) -> None:
    panel, cost = load_panel("synthetic:planted?bars=8000&symbols=16&seed=5"), 0.0105
    signal = planted_signal(panel)
    trend = _trend(panel)
    best = walk_many(panel, planted_optimum(panel, cost, fill_at).exposure, cost, fill_at)
    others = {
        "always": np.ones_like(signal),
        "sign": (signal > 0).astype(float),
        "never": np.zeros_like(signal),
        "narrow band": _band(trend, 0.02),
        "wide band": _band(trend, 0.6),
    }
    for name, exposure in others.items():
        ahead = best - walk_many(panel, exposure, cost, fill_at)
        assert ahead.mean() > 2 * ahead.std(ddof=1) / np.sqrt(len(ahead)), name


def _trend(panel: Panel) -> Floats:
    """Return (T, N) the planted trend of a default spec, from the closes."""
    decay, trend = 0.5**0.1, np.zeros_like(panel.close)
    before, now = np.full(panel.close.shape[1], 100.0), np.zeros(panel.close.shape[1])
    for bar, close in enumerate(panel.close):
        now = decay * now + (1.0 - decay) * (close / before - 1.0) / 0.012
        trend[bar], before = now, close
    return trend


def _band(trend: Floats, width: float) -> Floats:
    exposure, now = np.zeros_like(trend), np.zeros(trend.shape[1])
    for bar, value in enumerate(trend):
        now = np.where(value > width, 1.0, np.where(value < -width, 0.0, now))
        exposure[bar] = now
    return exposure


def test_expectation_over_levels_and_shocks_by_hand() -> None:
    # Two levels, two grid points; from level 0 to 1 a quarter of the time, from level 1 always to 0.
    moves = np.array([[0.75, 0.25], [1.0, 0.0]])
    value = np.array([[[0.0, 8.0], [4.0, 16.0]]] * 2) * np.array([1.0, 10.0])[:, None, None]
    place = np.array([[[0.0, 1.0], [0.5, 0.5]], [[0.25, 0.25], [1.0, 0.5]]])
    # Level 0 mixes to (1, 10), level 1 to (0, 8); then the mean of two interpolations each.
    expected = np.array([[5.5, 5.5], [2.0, 6.0]])
    np.testing.assert_allclose(_expect(value, place, moves), [expected, 10.0 * expected], rtol=1e-12)


def test_nothing_to_earn_in_noise() -> None:
    panel = load_panel("synthetic:noise?bars=300&symbols=3")
    best = planted_optimum(panel, 0.001)
    assert best.growth == pytest.approx(0.0, abs=1e-12)
    assert (best.exposure == 0.0).all()


def test_planted_optimum_depends_on_the_past_only() -> None:
    short = load_panel("synthetic:planted?bars=200&symbols=3")
    longer = load_panel("synthetic:planted?bars=400&symbols=3")
    np.testing.assert_array_equal(planted_optimum(longer, 0.001).exposure[:200], planted_optimum(short, 0.001).exposure)


def test_costs_widen_what_it_waits_for() -> None:
    panel = load_panel("synthetic:planted?bars=3000&symbols=4")
    cheap, dear = planted_optimum(panel, 0.0005), planted_optimum(panel, 0.0105)
    assert dear.growth < cheap.growth
    turns = [np.abs(np.diff(best.exposure, axis=0)).sum() for best in (cheap, dear)]
    assert turns[1] < 0.6 * turns[0]
    assert planted_optimum(panel, 0.0005, "open").growth > planted_optimum(panel, 0.0005, "close").growth


def test_side_cost_is_that_of_a_trade_of_the_whole_sleeve() -> None:
    # 0.2 + 2 + 5/2 basis points, and 0.01 sqrt(1) of impact.
    assert side_cost(CostModel()) == pytest.approx(0.00047 + 0.01)
    assert side_cost(CostModel(slippage_mode="worst", impact_coefficient=0.0)) == pytest.approx(0.00072)
    assert side_cost(CostModel.preset("free")) == 0.0


def test_changes_leaves_alone_what_stays() -> None:
    weights = changes(np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_array_equal(weights, [[np.nan, 1.0], [1.0, np.nan], [np.nan, 0.0]])


def test_refuses() -> None:
    panel = load_panel("synthetic:planted?bars=50&columns=close")
    for cost in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="a fraction of the traded value"):
            foresight(panel, cost)
    with pytest.raises(ConfigError, match="fill_at is open but the data has no opens"):
        planted_optimum(panel, 0.001, "open")
    with pytest.raises(ConfigError, match="turns too seldom"):
        planted_optimum(load_panel("synthetic:planted?bars=50&strength=0.5&half_life=100"), 0.001)
    with pytest.raises(DataError, match="not a synthetic market"):
        planted_optimum(load_panel("sample", "KO", end="1990-02-01"), 0.001)
