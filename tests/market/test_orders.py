"""Orders by hand: what fills, what does not and for which reason, and what the bars must have for it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.worlds import Shares, Table, panel_of
from tradekit.engine.ledger import reason_text
from tradekit.engine.simulate import simulate
from tradekit.errors import ConfigError, DataError
from tradekit.market import kernel
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of, open_book, trailing_liquidity

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

FREE = CostModel.preset("free")


def flat(bars: int = 4, width: int = 1, price: float = 10.0, **changes: Any) -> Panel:
    prices = np.full((bars, width), price)
    return dataclasses.replace(panel_of(prices, prices), **changes)


def trade(asked: list[float], panel: Panel, cash: float = 1000.0, costs: CostModel = FREE, **rules: Any) -> list[Any]:
    """Return (asked, done, reason) of each order when ``asked`` shares are asked for, bar by bar."""
    table = np.zeros((len(panel), 1))
    table[: len(asked), 0] = asked
    ledger = simulate(Shares(table), panel, costs, ExecutionModel(**rules), cash)
    return [(o["requested"], o["quantity"], reason_text(int(o["reason"]))) for o in ledger.orders]


def test_cash_that_just_reaches_is_enough() -> None:
    assert trade([100], flat()) == [(100, 100, "filled")]
    assert trade([100], flat(), cash=999.99, fractional=False) == [(100, 99, "cash_limited")]


def test_a_factor_that_is_a_round_number_loses_no_share() -> None:
    """800 dollars pay for 80 of 100 shares at 10: the factor 0.8 is no double, and 80 must not become 79."""
    for cash in range(10, 1000, 10):
        assert trade([100], flat(), cash=cash, fractional=False) == [(100, cash // 10, "cash_limited")]
        assert trade([100], flat(), cash=cash) == [(100, cash // 10, "cash_limited")]


def test_one_factor_for_all_purchases() -> None:
    panel = flat(width=3)
    ledger = simulate(Shares(np.tile([30.0, 60.0, 110.0], (4, 1))), panel, FREE, cash=1000)
    assert ledger.orders["quantity"][:3].tolist() == [15, 30, 55]
    assert ledger.cash[1] == 0


def test_a_minimum_commission_that_cannot_be_paid_stops_the_purchase() -> None:
    costs = dataclasses.replace(FREE, commission_minimum=30)
    assert trade([5], flat(), cash=25, costs=costs) == [(5, 0, "cash_limited")]
    assert trade([5], flat(), cash=50, costs=costs) == [(5, 2, "cash_limited")]


def test_a_sale_of_more_than_is_held() -> None:
    assert trade([-5], flat()) == [(-5, 0, "long_only")]
    assert trade([4, -5], flat()) == [(4, 4, "filled"), (-5, -4, "long_only")]
    assert trade([-5], flat(), allow_short=True) == [(-5, -5, "filled")]


def test_a_sale_that_counted_on_a_purchase_that_did_not_come() -> None:
    """With a bar of latency the sale is placed while the purchase waits; the purchase meets a halt."""
    panel = flat(6, tradable=np.array([[True], [True], [False], [True], [True], [True]]))
    asked = [4.0, -4.0]
    assert trade(asked, panel, latency_bars=1) == [(4, 0, "untradable"), (-4, 0, "long_only")]
    weights = np.array([[0.5], [0.0], [0.0], [0.0], [0.0], [0.0]])
    ledger = simulate(Table(weights), panel, FREE, ExecutionModel(latency_bars=1), cash=1000)
    assert (ledger.positions == 0).all()  # the weight of 0 does not buy back the sale that could not happen


def test_an_order_for_a_halted_bar_is_dropped_and_does_not_wait() -> None:
    panel = flat(tradable=np.array([[True], [False], [True], [True]]))
    assert trade([5], panel) == [(5, 0, "untradable")]


def test_participation_and_unknown_volume() -> None:
    volume = np.array([[100.0], [np.nan], [0.0], [100.0]])
    panel = flat(volume=volume)
    assert trade([50], panel, max_participation=0.25) == [(50, 25, "participation")]
    assert trade([0, 50], panel, max_participation=0.25) == [(50, 0, "participation")]
    assert trade([0, 0, 50], panel, max_participation=0.25) == [(50, 0, "participation")]
    assert trade([20], panel, max_participation=0.25) == [(20, 20, "filled")]


def test_a_bar_without_an_order_shows_nothing_of_the_one_before() -> None:
    panel, rules = flat(), ExecutionModel(max_participation=2e-5).rules
    market = market_of(panel, ExecutionModel(max_participation=2e-5), [FREE])
    book, fills = open_book(100.0, [0], 1, 0), np.zeros((1, 1, kernel.FILL_COLUMNS))
    kernel.place_shares(market, rules, book, 0, 0, 0, 50.0)
    kernel.settle(market, rules, cost_rows([FREE]), book, fills, 0, 1)
    assert fills[0, 0, kernel.REASON] == kernel.CASH_LIMITED | kernel.PARTICIPATION
    kernel.settle(market, rules, cost_rows([FREE]), book, fills, 0, 2)
    assert fills[0, 0, [kernel.REQUESTED, kernel.QUANTITY, kernel.REASON]].tolist() == [0, 0, 0]
    assert not any(array.any() for array in (book.due, book.asked, book.flags))


def test_two_reasons_at_once() -> None:
    assert trade([50], flat(), cash=100, max_participation=2e-5) == [(50, 10, "cash_limited+participation")]


def test_a_sale_that_brings_nothing_is_not_made() -> None:
    costs = dataclasses.replace(FREE, commission_minimum=15)
    assert trade([5, -1], flat(), costs=costs)[1] == (-1, 0, "fees_exceed_proceeds")
    shove = dataclasses.replace(FREE, impact_coefficient=1e6)
    assert trade([-5], flat(), costs=shove, allow_short=True) == [(-5, 0, "fees_exceed_proceeds")]


def test_an_impact_that_cannot_be_known_stops_the_order() -> None:
    costs = dataclasses.replace(FREE, impact_coefficient=0.1, impact_basis="adv", impact_window_bars=2)
    panel = flat(5)
    assert trade([5, 0, 0, 5], panel, costs=costs) == [(5, 0, "unpriced"), (5, 5, "filled")]


def test_a_ruined_portfolio_trades_no_more() -> None:
    prices = np.array([[10.0], [10.0], [40.0], [40.0]])
    asked = [-50.0, 0.0, 10.0]
    panel = panel_of(prices, prices)
    assert trade(asked, panel, allow_short=True) == [(-50, -50, "filled"), (10, 0, "ruined")]


def test_trades_below_the_least_are_not_ordered() -> None:
    assert trade([9.9], flat(), min_trade=100) == []
    assert trade([10], flat(), min_trade=100) == [(10, 10, "filled")]


def test_whole_shares_are_truncated_toward_zero() -> None:
    orders = trade([9.9, -3.9, -0.5], flat(), fractional=False)
    assert orders == [(9.9, 9, "filled"), (-3.9, -3, "filled")]


def test_a_symbol_that_was_never_priced_is_left_alone() -> None:
    closes = np.array([[np.nan], [10.0], [10.0], [10.0]])
    assert trade([5, 5], panel_of(closes, closes)) == [(5, 5, "filled")]


def test_latency_waits_and_sizing_counts_what_waits() -> None:
    """A weight of one half asked for at every bar buys once, not three times."""
    panel = flat(8)
    ledger = simulate(Table(np.full((8, 1), 0.5)), panel, FREE, ExecutionModel(latency_bars=2), cash=1000)
    assert ledger.orders[["decision_bar", "fill_bar", "quantity"]].tolist() == [(0, 3, 50)]


def test_the_buffer_leaves_cash() -> None:
    ledger = simulate(Table(np.ones((3, 1))), flat(3), FREE, ExecutionModel(cash_buffer=0.25), cash=1000)
    assert ledger.cash.tolist() == [1000, 250, 250]


def test_carry_is_charged_before_the_bar_trades() -> None:
    """Short 10 at 10: the next bar charges a 252nd of the yearly rate on 100 dollars and pays one on 1,100 of cash."""
    costs = dataclasses.replace(FREE, borrow_rate_annual=0.252, cash_interest_annual=0.0252)
    ledger = simulate(
        Shares(np.array([[-10.0], [0], [0]])), flat(3), costs, ExecutionModel(allow_short=True), cash=1000
    )
    first, second = 1000 * 0.0001, (1000.1 + 100) * 0.0001
    assert ledger.borrow_paid == pytest.approx(0.1)
    assert ledger.interest_earned == pytest.approx(first + second)
    assert ledger.equity.tolist() == pytest.approx([1000, 1000 + first, 1000 + first + second - 0.1])


def test_carry_is_charged_by_the_night() -> None:
    """Three sessions of two bars: the first bar of the second and of the third pay a 252nd of the year each."""
    days, hours = np.array(["2024-01-02", "2024-01-03", "2024-01-05"], "M8[ns]"), np.array([870, 930], "m8[m]")
    opened = (days[:, None] + hours).ravel()
    closed = opened + np.array(60, "m8[m]")
    panel = dataclasses.replace(flat(6), timestamps=opened, close_time=closed, frequency="1h")
    costs = dataclasses.replace(FREE, cash_interest_annual=0.0252)
    ledger = simulate(Shares(np.zeros((6, 1))), panel, costs, cash=1000)
    assert ledger.equity.tolist() == pytest.approx([1000, 1000, 1000.1, 1000.1, 1000.1 * 1.0001, 1000.1 * 1.0001])
    cut = simulate(Shares(np.zeros((5, 1))), panel[:5], costs, cash=1000)
    assert cut.equity.tolist() == ledger.equity[:5].tolist()


# ------------------------------------------------------------------------------------------------ what a panel allows


def test_fills_are_at_the_open_where_there_are_opens() -> None:
    opens, closes = np.full((3, 1), 10.0), np.full((3, 1), 12.0)
    panel = panel_of(opens, closes)
    only = dataclasses.replace(panel, columns=frozenset({"close"}))
    assert ExecutionModel().fills_at(panel) == "open"
    assert ExecutionModel().fills_at(only) == "close"
    assert ExecutionModel(fill_at="close").fills_at(panel) == "close"
    with pytest.raises(DataError, match="fill_at='open' needs open, which this data does not have"):
        ExecutionModel(fill_at="open").fills_at(only)


@pytest.mark.parametrize(
    ("execution", "costs", "message"),
    [
        (ExecutionModel(max_participation=0.1), FREE, "max_participation needs volume"),
        (ExecutionModel(), CostModel(impact_basis="adv"), 'impact_basis="adv" needs volume'),
    ],
)
def test_a_rule_that_needs_volume_refuses_data_without(
    execution: ExecutionModel, costs: CostModel, message: str
) -> None:
    panel = flat(columns=frozenset({"open", "close"}))
    with pytest.raises(DataError, match=message):
        market_of(panel, execution, [costs])


def test_scenarios_share_one_impact_window() -> None:
    costs = [CostModel(impact_basis="adv", impact_window_bars=window) for window in (5, 10)]
    with pytest.raises(DataError, match="share impact_window_bars"):
        market_of(flat(), ExecutionModel(), costs)


def test_liquidity_by_hand() -> None:
    closes = np.array([[100.0], [110.0], [99.0], [np.nan], [99.0]])
    volume = np.array([[10.0], [20.0], [30.0], [np.nan], [0.0]])
    dollars, volatility = trailing_liquidity(panel_of(closes, closes, volume), 3)
    up, down = np.log(1.1), np.log(0.9)
    assert dollars[:4, 0].tolist() == pytest.approx([1000, 1600, (1000 + 2200 + 2970) / 3, (2200 + 2970) / 2])
    assert dollars[4, 0] == pytest.approx(2970 / 2)
    assert np.isnan(volatility[:2, 0]).all()
    assert volatility[2:4, 0].tolist() == pytest.approx([np.std([up, down])] * 2)
    assert np.isnan(volatility[4, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latency": 1}, "unknown execution setting 'latency'; did you mean latency_bars?"),
        ({"fill_at": "vwap"}, "fill_at is 'vwap'; choose auto, open or close"),
        ({"latency_bars": -1}, "latency_bars is -1; a whole number of bars, 0 or more"),
        ({"latency_bars": 1.0}, "latency_bars is 1.0; a whole number of bars, 0 or more"),
        ({"max_participation": 0}, "max_participation is 0; a fraction of volume in (0, 1]"),
        ({"max_participation": "all"}, "max_participation is 'all'; it must be a number"),
        ({"min_trade": -1}, "min_trade is -1; dollars, 0 or more"),
        ({"cash_buffer": 1}, "cash_buffer is 1; a fraction of equity in [0, 1)"),
        ({"fractional": 1}, "fractional is 1; choose true or false"),
        ({"allow_short": "no"}, "allow_short is 'no'; choose true or false"),
    ],
)
def test_a_wrong_rule_is_named_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExecutionModel.from_dict(settings)
    assert str(caught.value) == message


@given(st.floats(-1e12, 1e12), st.sampled_from([1.0, 1e9]))
def test_truncation_never_adds_and_keeps_whole_lots(quantity: float, lots: float) -> None:
    floor, near = kernel.floor_lots(quantity, lots), kernel.nearest_lots(quantity, lots)
    assert abs(floor) <= abs(quantity) * (1 + 2e-16)
    assert abs(near) <= abs(quantity) * (1 + 2e-15)
    assert abs(quantity) - abs(near) <= 1 / lots + 1e-15 * abs(quantity)
    assume(abs(quantity) < 1e6)
    whole = round(abs(quantity) * lots) / lots
    assert kernel.nearest_lots(whole, lots) == whole


def test_a_spread_that_widens_is_paid_in_the_bars_that_have_it() -> None:
    # 100 bp of 10 shares at 10 are one dollar; four times that in bar 2, nothing in bar 3.
    panel = flat(spread_multiple=np.array([1.0, 1.0, 4.0, 0.0]))
    costs = CostModel(commission_bps=0.0, spread_bps=100.0, slippage_bps=0.0, impact_coefficient=0.0)
    weights = np.array([[0.1], [0.0], [0.1], [0.0]])
    ledger = simulate(Table(weights), panel, costs, cash=1000.0)
    assert ledger.orders["fill_bar"].tolist() == [1, 2, 3]
    assert ledger.orders["spread"] == pytest.approx([1.0, 4.0, 0.0])
