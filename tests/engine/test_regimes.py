"""The twelve regimes on prices whose order is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.engine.regimes import LOOKBACK, REGIMES, regime_weights

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

ORDER = (
    "HOLD FULL_CASH DEFENSIVE LIGHT_CASH EQUAL_WEIGHT MOMENTUM LOW_VOL QUALITY SIZE_SMALL "
    "SAFE_MOMENTUM SAFE_QUALITY RISK_ON"
)


def four() -> Panel:
    """Return 30 bars: A rises most and swings most, B rises a little, C falls, D falls most and costs least."""
    drift = np.array([0.02, 0.004, -0.004, -0.01])
    swing = np.array([0.02, 0.001, 0.004, 0.008])
    steps = drift + swing * np.where(np.arange(30)[:, None] % 2, 1.0, -1.0)
    close = np.array([100.0, 200.0, 300.0, 10.0]) * np.exp(np.cumsum(steps, axis=0))
    return replace(random_panel(30, 4, close_only=True), close=close)


def test_ids_are_places_in_the_table() -> None:
    assert list(REGIMES) == ORDER.split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FULL_CASH", [0.0, 0.0, 0.0, 0.0]),
        ("DEFENSIVE", [0.125] * 4),
        ("LIGHT_CASH", [0.1875] * 4),
        ("EQUAL_WEIGHT", [0.25] * 4),
        ("MOMENTUM", [0.375, 0.375, 0.125, 0.125]),  # 1.5 and 0.5 quarters
        ("LOW_VOL", [0.125, 0.375, 0.375, 0.125]),
        ("QUALITY", [0.375, 0.375, 0.125, 0.125]),  # means over deviations 1, 4, -1, -1.25
        ("SIZE_SMALL", [0.375, 0.125, 0.125, 0.375]),  # the last closes are 178, 225, 267 and 7.4
        ("SAFE_MOMENTUM", [0.2625, 0.2625, 0.0875, 0.0875]),
        ("SAFE_QUALITY", [0.2625, 0.2625, 0.0875, 0.0875]),
        ("RISK_ON", [0.5, 0.5, 0.0, 0.0]),  # 30 % of four symbols are two, rounded up
    ],
)
def test_weights_by_hand(name: str, expected: list[float]) -> None:
    assert regime_weights(name, four())[-1] == pytest.approx(expected, abs=1e-12)


def test_hold_leaves_everything_alone() -> None:
    assert np.isnan(regime_weights("HOLD", four())).all()


@pytest.mark.parametrize("name", [name for name in REGIMES if name != "HOLD"])
@pytest.mark.parametrize("symbols", [1, 3, 5, 300])
def test_any_number_of_symbols(name: str, symbols: int) -> None:
    panel = random_panel(40, symbols, seed=symbols)
    weights = regime_weights(name, panel)
    regime = REGIMES[name]
    assert regime is not None
    assert weights[LOOKBACK - 1 :].sum(axis=1) == pytest.approx(regime.invested)
    assert (weights[LOOKBACK - 1 :] >= 0.0).all()
    newest = regime_weights(name, panel[len(panel) - LOOKBACK :])[-1]
    assert np.array_equal(newest, weights[-1])


def test_a_symbol_without_a_price_is_left_alone_and_its_share_too() -> None:
    panel = four()
    close = panel.close.copy()
    close[-1, 2] = np.nan
    weights = regime_weights("EQUAL_WEIGHT", replace(panel, close=close))[-1]
    assert np.isnan(weights[2])
    assert weights[[0, 1, 3]] == pytest.approx([0.25] * 3)


def test_prices_that_do_not_move_tie_by_column() -> None:
    panel = replace(random_panel(30, 4, close_only=True), close=np.full((30, 4), 10.0))
    for name in ("MOMENTUM", "LOW_VOL", "QUALITY", "SIZE_SMALL"):
        assert regime_weights(name, panel)[-1] == pytest.approx([0.375, 0.375, 0.125, 0.125])
