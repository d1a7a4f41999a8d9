"""CostModel: units, presets, shocks, and the errors of a wrong setting."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.errors import ConfigError
from tradekit.market import costs
from tradekit.market.costs import PRESETS, CostModel, cost_rows

EVERY = CostModel(
    commission_bps=1,
    commission_per_share=0.005,
    commission_minimum=2,
    spread_bps=3,
    slippage_bps=4,
    impact_coefficient=0.05,
    regulatory=1,
    borrow_rate_annual=0.252,
    cash_interest_annual=0.0504,
)


def test_the_row_holds_fractions_per_trade_and_rates_per_session() -> None:
    row = replace(EVERY, slippage_mode="sampled", slippage_seed=7, impact_basis="adv").row()
    expected = {
        costs.COMMISSION: 0.0001,
        costs.PER_SHARE: 0.005,
        costs.MINIMUM: 2,
        costs.SPREAD: 0.0003,
        costs.SLIPPAGE: 0.0004,
        costs.SLIPPAGE_MODE: costs.SAMPLED,
        costs.SEED: 7,
        costs.IMPACT: 0.05,
        costs.IMPACT_ADV: 1,
        costs.REGULATORY: 1,
        costs.BORROW: 0.001,
        costs.INTEREST: 0.0002,
    }
    assert len(row) == len(expected) == costs.COST_COLUMNS
    for column, value in expected.items():
        assert row[column] == pytest.approx(value, rel=1e-15)


def test_the_presets_are_the_published_ones() -> None:
    realistic = CostModel(commission_bps=0.2, spread_bps=2, slippage_bps=5, impact_coefficient=0.01)
    assert CostModel() == CostModel.preset("realistic") == realistic
    assert (PRESETS["realistic"].impact_basis, PRESETS["realistic"].slippage_mode) == ("equity", "expected")
    assert CostModel.preset("alpaca_low") == CostModel(0.2, spread_bps=0, slippage_bps=1, impact_coefficient=0)
    free = CostModel.preset("free").row()
    assert (free[[costs.COMMISSION, costs.PER_SHARE, costs.MINIMUM, costs.SPREAD, costs.SLIPPAGE]] == 0).all()
    assert (free[[costs.IMPACT, costs.REGULATORY, costs.BORROW, costs.INTEREST]] == 0).all()


def test_a_shock_multiplies_what_the_market_charges_and_a_scale_everything_but_income() -> None:
    shocked, scaled = EVERY.shocked(2), EVERY.scaled(2)
    market = {"spread_bps", "slippage_bps", "impact_coefficient"}
    paid = {"commission_bps", "commission_per_share", "commission_minimum", "regulatory", "borrow_rate_annual"}
    for item in fields(CostModel):
        before, in_shock, in_scale = (getattr(model, item.name) for model in (EVERY, shocked, scaled))
        assert in_shock == (2 * before if item.name in market else before), item.name
        assert in_scale == (2 * before if item.name in market | paid else before), item.name
    assert EVERY.scaled(0).row()[[costs.COMMISSION, costs.MINIMUM, costs.SPREAD, costs.BORROW]].sum() == 0


def test_scenarios_are_rows_of_one_table() -> None:
    table = cost_rows([EVERY, EVERY.shocked(3)])
    assert table.shape == (2, costs.COST_COLUMNS)
    assert table[1, costs.SPREAD] == pytest.approx(3 * table[0, costs.SPREAD])


def test_settings_start_from_a_preset() -> None:
    model = CostModel.from_dict({"preset": "alpaca_low", "commission_minimum": 1.0})
    assert model == replace(PRESETS["alpaca_low"], commission_minimum=1.0)
    assert CostModel.from_dict({}) == CostModel()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"comission_bps": 1}, "unknown cost 'comission_bps'; did you mean commission_bps?"),
        ({"preset": "realistc"}, "unknown cost preset 'realistc'; did you mean realistic?"),
        ({"spread_bps": -1}, "spread_bps is -1; a cost is finite and never negative"),
        ({"spread_bps": float("nan")}, "spread_bps is nan; a cost is finite and never negative"),
        ({"impact_coefficient": float("inf")}, "impact_coefficient is inf; a cost is finite and never negative"),
        ({"commission_bps": "2"}, "commission_bps is '2'; it must be a number"),
        ({"commission_bps": True}, "commission_bps is True; it must be a number"),
        ({"slippage_mode": "random"}, "slippage_mode is 'random'; choose expected or worst or sampled"),
        ({"impact_basis": "volume"}, "impact_basis is 'volume'; choose equity or adv"),
        ({"impact_window_bars": 1}, "impact_window_bars is 1; a whole number of bars, at least 2"),
        ({"impact_window_bars": 2.5}, "impact_window_bars is 2.5; a whole number of bars, at least 2"),
        ({"slippage_seed": 0.5}, "slippage_seed is 0.5; a whole number below 2^53"),
        ({"slippage_seed": 2**53}, "slippage_seed is 9007199254740992; a whole number below 2^53"),
        ({"spread_bps": 9000, "slippage_bps": 1000}, "spread_bps + slippage_bps reach the whole price"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CostModel.from_dict(settings)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.floats(0, 10), st.floats(0, 10))
def test_shocks_compose(first: float, second: float) -> None:
    once, twice = EVERY.shocked(first * second), EVERY.shocked(first).shocked(second)
    for name in ("spread_bps", "slippage_bps", "impact_coefficient"):
        assert getattr(twice, name) == pytest.approx(getattr(once, name), rel=1e-12, abs=1e-300)
