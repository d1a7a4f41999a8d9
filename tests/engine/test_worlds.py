"""Worlds are bars: whatever a scenario does, a panel stays one, and the past stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import worlds as small
from tests.panels import intraday, random_panel
from tradekit.engine.paths import MAKERS, fit_garch, paths, simulated
from tradekit.engine.scenarios import CHANGES_BARS, SHIPPED, Scenario
from tradekit.engine.worlds import Span, log_steps, worlds
from tradekit.errors import DataError

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

MOVED = [one for one in SHIPPED if one.kind in CHANGES_BARS]
SPAN = Span(100, 400)


def made(scenario: Scenario, panel: Panel, span: Span = SPAN) -> list[Panel]:
    """Return the worlds of a scenario, two where it draws several."""
    few = replace(scenario, draws=min(2, scenario.draws))
    return list((paths if scenario.kind in MAKERS else worlds)(few, panel, span))


@given(
    seed=st.integers(0, 2**32),
    scenario=st.sampled_from([one for one in MOVED if one.kind != "garch"]),
    holes=st.booleans(),
)
def test_a_world_is_made_of_bars_and_begins_as_the_data_did(seed: int, scenario: Scenario, holes: bool) -> None:
    panel = small.random_panel(np.random.default_rng(seed), 40, 3, holes=holes)
    span = Span(10, 40)
    for world in made(replace(scenario, seed=seed) if "seed" in _keys(scenario) else scenario, panel, span):
        _holds(world)
        _begins_alike(world, panel, span)


def _keys(scenario: Scenario) -> tuple[str, ...]:
    from tradekit.engine.scenarios import KINDS

    return KINDS[scenario.kind].may


def _holds(world: Panel) -> None:
    known = ~np.isnan(world.close)
    low, high = np.minimum(world.open, world.close)[known], np.maximum(world.open, world.close)[known]
    assert (world.low[known] <= low).all()
    assert (world.high[known] >= high).all()
    assert (world.low[known] > 0.0).all()
    assert np.isfinite(world.high[known]).all()
    assert (world.volume[known & ~np.isnan(world.volume)] >= 0.0).all()
    assert not (world.tradable & ~known).any()
    for name in ("open", "high", "low"):
        assert np.isnan(getattr(world, name)[~known]).all()
    assert np.isfinite(world.benchmark_returns[1:][known[1:].any(axis=1) & known[:-1].any(axis=1)]).mean() > 0.5


def _begins_alike(world: Panel, panel: Panel, span: Span) -> None:
    cut, given = world[: span.first + 1], panel[: span.first + 1]
    assert cut.content_hash == given.content_hash
    assert np.array_equal(world.timestamps, panel.timestamps[: len(world)])


@pytest.mark.parametrize("scenario", MOVED, ids=lambda one: one.name)
@pytest.mark.parametrize("close_only", [True, False])
def test_a_world_has_the_columns_of_the_data(scenario: Scenario, close_only: bool) -> None:
    panel = random_panel(400, 3, close_only=close_only)
    for world in made(scenario, panel):
        assert world.columns == panel.columns
        assert (world.source, world.frequency, world.symbols) == (panel.source, panel.frequency, panel.symbols)
        _begins_alike(world, panel, SPAN)
        assert world.content_hash != panel[: len(world)].content_hash
        if not close_only:
            _holds(world)


def test_a_gap_is_one_jump_that_stays() -> None:
    panel = random_panel(400, 3)
    (world,) = made(Scenario("gap", "gap", size=-0.2), panel)
    ratio = world.close / panel.close
    bar = int(np.argmax(ratio[:, 0] < 0.9))
    assert SPAN.first + 2 <= bar < SPAN.stop
    assert ratio[:bar] == pytest.approx(1.0)
    assert ratio[bar:] == pytest.approx(0.8)
    assert world.open[bar] == pytest.approx(0.8 * panel.open[bar])  # overnight: the open is there already
    moved = (1.0 + world.benchmark_returns) / (1.0 + panel.benchmark_returns)
    assert np.flatnonzero(np.abs(moved - 1.0) > 1e-9).tolist() == [bar]
    assert moved[bar] == pytest.approx(0.8)


def test_a_crash_falls_within_a_bar_and_is_made_good() -> None:
    panel = random_panel(400, 2)
    (world,) = made(Scenario("crash", "crash", size=-0.1, recovery_bars=4), panel)
    ratio = (world.close / panel.close)[:, 0]
    bar = int(np.argmax(ratio < 0.95))
    assert ratio[bar : bar + 5] == pytest.approx([0.9, 0.925, 0.95, 0.975, 1.0])
    assert ratio[bar + 5 :] == pytest.approx(1.0)
    assert world.open[bar] == pytest.approx(panel.open[bar])
    assert world.open[bar + 1] == pytest.approx(0.9 * panel.open[bar + 1])
    assert (world.high[bar] >= panel.open[bar]).all()


def test_volatility_doubles_about_the_same_mean_return() -> None:
    panel = random_panel(3000, 2, seed=5)
    span = Span(10, 3000)
    (world,) = made(Scenario("wild", "volatility", factor=2.0), panel, span)
    before, after = (one.close[12:] / one.close[11:-1] - 1.0 for one in (panel, world))
    assert np.log1p(after).std(axis=0) == pytest.approx(2.0 * np.log1p(before).std(axis=0))
    assert after.mean(axis=0) == pytest.approx(before.mean(axis=0), abs=3e-6)
    width_before, width_after = (np.log(one.high / one.low)[11:] for one in (panel, world))
    assert width_after == pytest.approx(2.0 * width_before)


def test_correlation_is_one_and_each_symbol_keeps_its_own_size() -> None:
    panel = random_panel(400, 4, seed=2)
    (world,) = made(Scenario("one", "correlation"), panel)
    before, after = (np.diff(np.log(one.close[SPAN.first :]), axis=0) for one in (panel, world))
    assert np.corrcoef(after.T) == pytest.approx(np.ones((4, 4)))
    assert after.std(axis=0) == pytest.approx(before.std(axis=0))
    assert after.mean(axis=0) == pytest.approx(before.mean(axis=0))


def test_missing_and_stale_bars_are_as_many_as_said_and_each_symbol_s_own() -> None:
    panel = random_panel(2100, 4)
    span = Span(100, 2100)
    (gone,) = made(Scenario("holes", "missing", share=0.05), panel, span)
    (stuck,) = made(Scenario("stuck", "stale", share=0.05), panel, span)
    # 7,996 draws at 5 %: a standard deviation of 0.24 points, five of them allowed.
    for flags in (np.isnan(gone.close), (stuck.volume == 0.0)):
        assert flags[101:].mean() == pytest.approx(0.05, abs=0.0122)
    (fewer,) = made(Scenario("holes", "missing", share=0.05), panel.select(panel.symbols[2:]), span)
    assert np.array_equal(fewer.close, gone.close[:, 2:], equal_nan=True)
    rows, columns = np.nonzero(stuck.volume == 0.0)
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(getattr(stuck, name)[rows, columns], stuck.close[rows - 1, columns])
    assert not stuck.tradable[rows, columns].any()
    assert not gone.tradable[np.isnan(gone.close)].any()


def test_a_bootstrapped_path_is_made_of_judged_bars_in_blocks() -> None:
    panel = random_panel(400, 3, seed=7)
    first, second = made(Scenario("paths", "bootstrap", bars=120, block_sessions=10, draws=2), panel)
    assert len(first) == SPAN.first + 1 + 120
    steps, judged = log_steps(first)[101:], log_steps(panel)[101:400]
    source = [int(np.argmin(np.abs(judged - row).sum(axis=1))) for row in steps[:, :]]
    assert np.abs(judged[source] - steps).max() < 1e-12
    follows = np.diff(source) == 1
    assert 0.8 < follows.mean() < 0.99  # nine in ten go on with the next bar
    assert np.array_equal(first.volume[101:], panel.volume[101:400][source])
    assert np.log(first.high / first.close)[101:] == pytest.approx(np.log(panel.high / panel.close)[101:400][source])
    assert not np.array_equal(first.close, second.close)


def test_intraday_paths_take_whole_sessions() -> None:
    panel = intraday(random_panel(420, 2, seed=7), 7)
    span = Span(104, 420)  # the last bar of a session
    (world,) = made(Scenario("paths", "bootstrap", bars=70, block_sessions=3), panel, span)
    steps, every = log_steps(world)[105:], log_steps(panel)
    for session in range(10):
        start = int(np.argmin(np.abs(every[105:] - steps[7 * session]).sum(axis=1)))
        assert start % 7 == 0
        assert steps[7 * session : 7 * session + 7] == pytest.approx(every[105 + start : 112 + start], abs=1e-12)


def test_garch_recursion_by_hand() -> None:
    panel = random_panel(400, 2, seed=11)
    model = fit_garch(panel, SPAN)
    taken = np.array([5, 17, 200])
    steps, wide = simulated(model, taken)
    variance = model.variance[0]
    for t, row in enumerate(taken):
        surprise = np.sqrt(variance) * model.shocks[row, 0]
        assert steps[t, 0] == pytest.approx((model.mean[0] + surprise) / 100.0)
        assert wide[t, 0] == pytest.approx(np.sqrt(variance) / model.deviation[row, 0])
        variance = model.omega[0] + model.alpha[0] * surprise**2 + model.beta[0] * variance


def test_garch_taken_in_order_is_the_history_itself() -> None:
    """Shocks are what the model has not foreseen: put back in their order, they give the returns back."""
    panel = random_panel(400, 2, seed=11)
    model = fit_garch(panel, SPAN)
    steps, wide = simulated(model, np.arange(299))
    assert steps == pytest.approx(log_steps(panel)[101:400], abs=1e-9)
    assert wide == pytest.approx(1.0, abs=1e-6)


def test_garch_says_why_it_cannot() -> None:
    panel = random_panel(400, 2)
    close = panel.close.copy()
    close[:200, 1] = np.nan
    late = replace(panel, close=close, tradable=~np.isnan(close))
    with pytest.raises(DataError, match="random: GARCH needs every judged bar of S1"):
        fit_garch(late, SPAN)
    flat: Any = replace(panel, close=np.where([True, False], 50.0, panel.close))
    with pytest.raises(DataError, match="random: GARCH needs every judged bar of S0"):
        fit_garch(flat, SPAN)


def test_too_few_judged_bars() -> None:
    panel = random_panel(103, 2)
    with pytest.raises(DataError, match="3 judged bars are too few"):
        made(Scenario("gap", "gap", size=-0.1), panel, Span(100, 103))
    with pytest.raises(DataError, match="2 judged bars are too few"):
        made(Scenario("paths", "bootstrap"), panel, Span(101, 103))
