from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import random_panel
from tradekit.errors import DataError
from tradekit.learn.actions import SELL_ALL, ActionScheme, Memory, Own, remember_nothing
from tradekit.learn.observations import (
    CLIP,
    STATE,
    Normalisation,
    default_features,
    first_usable,
    names,
    normalise,
    observe,
    usable_bars,
)
from tradekit.market.features import FeatureSpec

SCHEME = ActionScheme().kernel


def state_of(own: Own, memory: Memory | None = None) -> dict[str, float]:
    raw = np.full(2 + len(STATE), np.nan)
    observe(SCHEME, memory or remember_nothing(1), 0, own, np.array([7.0, np.nan]), raw)
    assert raw[0] == 7.0
    assert np.isnan(raw[1])
    return dict(zip(STATE, raw[2:].tolist(), strict=True))


def test_the_state_of_a_position() -> None:
    # 100 shares bought at 40, now 50, twenty of them on sale; 5,000 dollars cash, down from a peak of 12,500.
    own = Own(100.0, 80.0, 40.0, 6, 5_000.0, 10_000.0, 12_500.0, 50.0)
    state = state_of(own, Memory(np.array([SELL_ALL]), np.array([2])))
    assert state == pytest.approx(
        {
            "weight": 0.4,
            "pending_weight": -0.1,
            "unrealised_return": 0.25,
            "bars_held": np.log(7.0),
            "cash_fraction": 0.5,
            "drawdown": -0.2,
            "repeats": 2.0 / 3.0,
            **{name: 0.0 for name in STATE if name.startswith("last_")},
            "last_sell_all": 1.0,
        }
    )


def test_the_state_of_cash_has_no_nan_even_before_the_first_price() -> None:
    state = state_of(Own(0.0, 0.0, 0.0, 0, 100.0, 100.0, 100.0, np.nan))
    assert state == pytest.approx({**dict.fromkeys(STATE, 0.0), "cash_fraction": 1.0, "last_hold": 1.0})


def test_statistics_are_pooled_over_usable_bars() -> None:
    table = np.array([[[1.0, 5.0], [3.0, 5.0]], [[5.0, 5.0], [999.0, 5.0]]])
    fitted = Normalisation.fit(table, np.array([[True, True], [True, False]]))
    assert fitted.mean[:2].tolist() == [3.0, 5.0]
    assert fitted.scale[:2] == pytest.approx([np.sqrt(8.0 / 3.0), 1.0])  # what never varies is only centred
    assert fitted.mean[2:].tolist() == [0.0] * len(STATE)
    assert fitted.scale[2:].tolist() == list(STATE.values())


def test_no_usable_bar_is_an_error() -> None:
    with pytest.raises(DataError, match="no bar has all features"):
        Normalisation.fit(np.zeros((2, 1, 3)), np.zeros((2, 1), np.bool_))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=3, max_size=3))
def test_what_the_network_sees_is_finite_and_bounded(raw: list[float]) -> None:
    values = np.array(raw)
    normalisation = Normalisation(np.array([0.0, 1.0, -2.0]), np.array([1.0, 0.5, 100.0]))
    seen = np.empty(3, np.float32)
    normalise(values, normalisation.mean, normalisation.scale, normalisation.clip, seen)
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() <= CLIP
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = (values - normalisation.mean) / normalisation.scale
    expected = np.where(np.isfinite(values), np.clip(scaled, -CLIP, CLIP), 0.0)
    assert seen.tolist() == expected.astype(np.float32).tolist()


def test_usable_bars() -> None:
    panel = random_panel(150, 2, close_only=True)
    tradable = panel.tradable.copy()
    tradable[140, 0] = False
    panel = replace(panel, tradable=tradable)
    spec = FeatureSpec.named("close")
    usable = usable_bars(panel, spec.compute(panel))
    assert first_usable(usable, 0, 150).tolist() == [spec.lookback - 1] * 2
    assert not usable[140, 0]
    assert usable[140, 1]
    assert first_usable(usable, 140, 150).tolist() == [141, 140]
    assert first_usable(usable, 0, 10).tolist() == [10, 10]


def test_names_and_defaults() -> None:
    spec = FeatureSpec.named("return_1")
    assert names(spec) == ("return_1", *STATE)
    assert default_features(random_panel(5, 1)) == "ohlcv"
    assert default_features(random_panel(5, 1, close_only=True)) == "close"
