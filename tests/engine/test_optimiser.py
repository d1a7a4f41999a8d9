"""An optimiser as a strategy: what it is given, what is left out, and that a kept solution is the solution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from tests.panels import random_panel
from tradekit.engine import optimiser
from tradekit.engine.optimiser import OptimiserStrategy

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

SEEN: list[Floats] = []


class Proportional(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Weights in proportion to the last return, an optimiser that shows what it was given."""

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def fit(self, returns: Any) -> Proportional:
        SEEN.append(returns)
        size = np.abs(returns[-1]) ** self.power
        self.weights_ = size / size.sum()
        return self


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimiser, "SOLVED", {})
    SEEN.clear()


def firsts(panel: Panel) -> list[int]:
    return [t for t in range(1, len(panel)) if str(panel.timestamps[t])[8:10] == "01"]


def test_it_is_given_the_returns_of_the_window_on_the_first_bar_of_a_month() -> None:
    panel = random_panel(130, 3, seed=1)
    weights = OptimiserStrategy("p", Proportional(), window_bars=30).weights(panel)
    rows = [t for t in firsts(panel) if t >= 30]
    assert np.flatnonzero(np.isfinite(weights).any(axis=1)).tolist() == rows
    for t, given in zip(rows, SEEN, strict=True):
        assert given == pytest.approx(panel.close[t - 29 : t + 1] / panel.close[t - 30 : t] - 1.0, abs=1e-10)
        assert weights[t] == pytest.approx(np.abs(given[-1]) / np.abs(given[-1]).sum(), abs=1e-6)


def test_a_solution_is_kept_for_the_same_returns_and_settings_only() -> None:
    panel = random_panel(130, 3, seed=1)
    strategy = OptimiserStrategy("p", Proportional(), window_bars=30)
    first = strategy.weights(panel)
    asked = len(SEEN)
    assert np.array_equal(strategy.weights(panel), first, equal_nan=True)
    assert len(SEEN) == asked
    other = OptimiserStrategy("p", Proportional(power=2.0), window_bars=30).weights(panel)
    assert len(SEEN) == 2 * asked
    assert not np.array_equal(other, first, equal_nan=True)
    strategy.weights(random_panel(130, 3, seed=2))
    assert len(SEEN) == 3 * asked


def test_what_is_kept_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimiser, "MOST_SOLVED", 2)
    OptimiserStrategy("p", Proportional(), window_bars=30).weights(random_panel(300, 2))
    assert len(SEEN) > 4
    assert len(optimiser.SOLVED) <= 2


def test_a_symbol_with_a_hole_or_without_movement_is_left_out() -> None:
    panel = random_panel(130, 4, seed=1)
    close = panel.close.copy()
    close[:, 0] = 50.0
    close[20, 1] = np.nan
    row = firsts(panel)[1]  # bars 29 to 59: the hole at 20 lies before, but the one at 40 in the window
    close[40, 1] = np.nan
    weights = OptimiserStrategy("p", Proportional(), window_bars=30).weights(replace(panel, close=close))
    assert weights[row, :2].tolist() == [0.0, 0.0]
    assert weights[row, 2:].sum() == pytest.approx(1.0, abs=1e-5)


def test_one_symbol_is_held_whole_and_no_symbol_is_no_decision() -> None:
    panel = random_panel(130, 1, seed=1)
    weights = OptimiserStrategy("p", Proportional(), window_bars=30).weights(panel)
    assert set(weights[np.isfinite(weights)]) == {1.0}
    assert not SEEN
    flat = replace(panel, close=np.full(panel.close.shape, 10.0))
    assert np.isnan(OptimiserStrategy("p", Proportional(), window_bars=30).weights(flat)).all()


@dataclass
class Short(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Answers weights below zero and above one."""

    def fit(self, returns: Any) -> Short:
        self.weights_ = np.array([-0.5, 0.9, 0.9])
        return self


def test_weights_are_long_only_and_never_more_than_all() -> None:
    panel = random_panel(130, 3, seed=1)
    weights = OptimiserStrategy("short", Short(), window_bars=30).weights(panel)
    decided = weights[np.isfinite(weights[:, 0])]
    assert len(decided)
    assert decided == pytest.approx(np.tile([0.0, 0.5, 0.5], (len(decided), 1)))


def test_symbols_that_move_as_one_still_have_a_portfolio() -> None:
    from skfolio.optimization import HierarchicalRiskParity, MeanRisk, RiskBudgeting

    one = random_panel(130, 1, seed=1).close
    panel = replace(random_panel(130, 3, seed=1), close=one * np.array([1.0, 2.0, 3.0]))
    for number, kind in enumerate((MeanRisk, RiskBudgeting, HierarchicalRiskParity)):
        weights = OptimiserStrategy(f"s{number}", kind(), window_bars=30).weights(panel)
        decided = weights[np.isfinite(weights[:, 0])]
        assert len(decided) == 3
        assert decided.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
