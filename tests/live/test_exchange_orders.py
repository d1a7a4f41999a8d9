"""Orders beyond the market order of the day, against fills worked out by hand; and who may send what."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import intraday, random_panel
from tradekit.live.exchange import Exchange, Settings, wire
from tradekit.live.exchange.orders import Refusal
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

START = 10
PRICES = {"open": [100.0, 104.0, 103.0, 98.0], "high": [106.0, 108.0, 107.0, 101.0]}
PRICES |= {"low": [99.0, 102.0, 97.0, 95.0], "close": [105.0, 103.0, 98.0, 96.0]}
COSTS = CostModel(commission_bps=1.0, spread_bps=10.0, slippage_bps=0.0, impact_coefficient=0.0)


def exchange(**settings: Any) -> Exchange:
    """Return an exchange at bar 10 of S0, whose bars 11 to 14 are PRICES."""
    panel = random_panel(16, 2, seed=3)
    changed: dict[str, Any] = {}
    for name, values in PRICES.items():
        array = np.array(getattr(panel, name))
        array[START + 1 : START + 5, 0] = values
        changed[name] = array
    return Exchange(replace(panel, **changed), Settings(start=START, costs=COSTS, **settings))


def body(side: str, quantity: float = 10.0, **more: Any) -> dict[str, Any]:
    return {"symbol": "S0", "qty": quantity, "side": side, "type": "market", "time_in_force": "day", **more}


def limit(side: str, price: float, quantity: float = 10.0, **more: Any) -> dict[str, Any]:
    return body(side, quantity, type="limit", limit_price=price, **more)


def holding(quantity: float = 20.0) -> Exchange:
    """Return an exchange at bar 11 that bought at its open."""
    opened = exchange()
    opened.submit(body("buy", quantity))
    opened.advance()
    return opened


def refused(opened: Exchange, asked: dict[str, Any]) -> tuple[int, int]:
    with pytest.raises(Refusal) as caught:
        opened.submit(asked)
    return caught.value.status, caught.value.code


def test_a_resting_limit_fills_at_its_price_once_the_bar_trades_through() -> None:
    opened = exchange()
    order = opened.submit(limit("buy", 97.5, time_in_force="gtc"))
    cash = 100_000.0
    for status in ("accepted", "accepted", "filled"):  # lows 99, 102, 97
        opened.advance()
        assert order.status == status
    assert (order.price, order.filled) == (97.5, 10.0)
    # A limit is never passed: no spread on top, only the commission of one basis point in cash.
    assert opened.venue.cash == pytest.approx(cash - 975.0 * (1.0 + 1e-4), abs=1e-9)
    (fill,) = opened.venue.executions
    assert fill.reference == 97.5
    assert fill.fees == pytest.approx(975.0 * 1e-4, abs=1e-12)


def test_touching_the_limit_is_not_trading_through_it() -> None:
    opened = exchange()
    at, through = opened.submit(limit("buy", 99.0)), opened.submit(limit("buy", 99.01))
    opened.advance()  # low 99
    assert (at.status, through.status) == ("expired", "filled")


def test_a_marketable_limit_pays_the_open_and_its_costs_up_to_the_limit() -> None:
    opened = exchange()
    wide, tight = opened.submit(limit("buy", 103.0)), opened.submit(limit("buy", 100.05))
    opened.advance()  # open 100, spread 10 bp: 100.1
    assert wide.price == pytest.approx(100.1, abs=1e-12)
    assert tight.price == 100.05


def test_a_sale_mirrors_a_purchase() -> None:
    opened = holding()
    at, through = opened.submit(limit("sell", 108.0)), opened.submit(limit("sell", 107.99, quantity=5.0))
    opened.advance()  # high 108
    assert (at.status, through.status, through.price) == ("expired", "filled", 107.99)
    marketable = opened.submit(limit("sell", 95.0))
    opened.advance()  # open 103 less 10 bp
    assert marketable.price == pytest.approx(103.0 * (1.0 - 1e-3), abs=1e-12)
    assert opened.venue.shares(0) == 5.0


def test_orders_at_the_open_and_at_the_close() -> None:
    opened = exchange()
    first = opened.submit(body("buy", time_in_force="opg"))
    last = opened.submit(body("buy", time_in_force="cls"))
    unmet = opened.submit(limit("buy", 99.5, time_in_force="opg"))
    opened.advance()  # open 100, low 99, close 105
    assert first.price == pytest.approx(100.0 * 1.001, abs=1e-12)
    assert last.price == pytest.approx(105.0 * 1.001, abs=1e-12)
    assert (unmet.status, unmet.filled) == ("canceled", 0.0)
    assert opened.venue.executions[0].time < opened.venue.executions[1].time == opened.venue.now


def test_at_once_or_not_at_all() -> None:
    opened = exchange()
    rests = opened.submit(limit("buy", 99.5, time_in_force="ioc"))
    whole = opened.submit(body("buy", 400.0, time_in_force="fok"))
    too_much = opened.submit(body("buy", 700.0, time_in_force="fok"))
    opened.advance()
    assert [order.status for order in (rests, whole, too_much)] == ["canceled", "filled", "canceled"]
    assert (rests.filled, too_much.filled) == (0.0, 0.0)


def test_an_order_by_value_trades_its_dollars() -> None:
    impact = CostModel(commission_bps=0.0, spread_bps=10.0, slippage_bps=4.0, impact_coefficient=0.02)
    opened = exchange()
    opened = Exchange(opened.venue.panel, Settings(start=START, costs=impact))
    asked = {**body("buy"), "notional": "25000.00"}
    asked.pop("qty")
    order = opened.submit(asked)
    assert wire.order(order)["qty"] is None
    opened.advance()
    assert order.status == "filled"
    assert order.price is not None
    # q p(q) = 25000 to a billionth of a share, p(q) = 100 (1 + 10 bp + 2 bp + 0.02 sqrt(100 q / E)).
    value = 100.0 * order.filled
    assert order.price == pytest.approx(100.0 * (1.0 + 12e-4 + 0.02 * np.sqrt(value / 100_000.0)), rel=1e-12)
    assert order.filled * order.price == pytest.approx(25_000.0, abs=2e-7)


def test_good_till_cancelled_outlives_a_halt_and_the_day_does_not() -> None:
    opened = exchange()
    tradable = opened.venue.panel.tradable.copy()
    tradable[START + 1, 0] = False
    opened = Exchange(replace(opened.venue.panel, tradable=tradable), Settings(start=START, costs=COSTS))
    day, kept = opened.submit(body("buy", 1.0)), opened.submit(body("buy", 2.0, time_in_force="gtc"))
    opened.advance()
    assert (day.status, kept.status) == ("canceled", "accepted")
    opened.advance()
    assert kept.status == "filled"
    assert kept.price == pytest.approx(104.0 * 1.001, abs=1e-12)


def test_day_orders_of_hourly_bars_live_to_the_end_of_the_session() -> None:
    opened = Exchange(intraday(random_panel(12, 1, seed=2), 4), Settings(start=1))
    away = opened.submit(limit("buy", 1.0))
    kept = opened.submit(limit("buy", 1.0, time_in_force="gtc"))
    next_open = opened.submit(body("buy", 1.0, time_in_force="opg"))
    assert away.status == "new"  # the market is open between two bars of one session
    seen = []
    for _ in range(3):
        opened.advance()
        seen.append((away.status, kept.status, next_open.status))
    assert seen == [("new",) * 3, ("expired", "new", "new"), ("expired", "new", "filled")]
    assert opened.venue.executions[0].time == opened.venue.panel.timestamps[4]


def test_replacing_keeps_the_place_of_neither_and_the_money_of_one() -> None:
    opened = exchange()
    old = opened.submit(limit("buy", 99.0, quantity=1500.0))  # three quarters of the buying power
    with pytest.raises(Refusal, match="insufficient buying power"):
        opened.submit(limit("buy", 99.0, quantity=1500.0))
    new = opened.replace(old.id, {"qty": "1600", "limit_price": Decimal("99.5"), "client_order_id": "again"})
    assert (old.status, old.replaced_by, new.replaces) == ("replaced", new.id, old.id)
    assert (new.ask.quantity, new.ask.limit, new.ask.client_order_id) == (1600.0, 99.5, "again")
    with pytest.raises(Refusal, match="insufficient buying power"):
        opened.replace(new.id, {"qty": "5000"})
    assert new.status == "accepted"
    with pytest.raises(Refusal, match="replaced"):
        opened.replace(old.id, {"qty": "1"})
    with pytest.raises(Refusal, match="cannot be replaced"):
        opened.replace(new.id, {"side": "sell"})


def test_only_orders_that_could_cross_are_a_wash_trade() -> None:
    opened = holding()
    opened.submit(limit("buy", 90.0))
    assert refused(opened, body("sell")) == (403, 40310000)
    assert refused(opened, limit("sell", 90.0)) == (403, 40310000)
    assert opened.submit(limit("sell", 120.0)).is_open


def test_what_is_held_for_orders_cannot_be_sold_again() -> None:
    opened = holding(20.0)
    opened.submit(limit("sell", 120.0, quantity=15.0, time_in_force="gtc"))
    assert refused(opened, limit("sell", 121.0, quantity=6.0)) == (403, 40310000)
    assert wire.position(opened.venue, 0)["qty_available"] == "5"


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (body("buy", order_class="bracket"), 422, 42210000),
        (body("buy", type="stop", stop_price=90), 422, 42210000),
        (body("buy", type="trailing_stop", trail_percent=1), 422, 42210000),
        (body("buy", extended_hours=True), 422, 42210000),
        (body("buy", time_in_force="fortnight"), 422, 40010001),
        (body("buy", time_in_force="gtc", quantity=1.5), 422, 42210000),
        (limit("buy", 99.0, quantity=1.5), 422, 42210000),
        (limit("buy", 99.001), 422, 42210000),
        (limit("buy", 0.50001), 422, 42210000),
        (body("buy", type="limit"), 422, 40010001),
        (limit("buy", -1.0), 422, 40010001),
        (body("buy", notional=100), 422, 40010001),
        ({**body("buy"), "qty": None, "notional": "10.001"}, 422, 42210000),
        ({**body("buy"), "qty": None}, 422, 40010001),
        ({**body("buy"), "qty": True}, 422, 40010001),
        ({**body("buy"), "qty": "NaN"}, 422, 40010001),
    ],
)
def test_alpacas_codes_for_what_is_not_taken(asked: dict[str, Any], status: int, code: int) -> None:
    opened = exchange()
    assert refused(opened, asked) == (status, code)
    assert opened.venue.orders == {}


def test_a_replay_of_closes_takes_no_order_at_the_open() -> None:
    panel = random_panel(12, 1, seed=1)
    opened = Exchange(panel, Settings(start=5, execution=ExecutionModel(fill_at="close")))
    with pytest.raises(Refusal, match="opg orders need opens"):
        opened.submit(body("buy", 1.0, time_in_force="opg"))
    order = opened.submit(body("buy", 1.0, time_in_force="cls"))
    opened.advance()
    assert order.status == "filled"


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 400),
        st.sampled_from(["day", "gtc", "opg", "cls", "ioc", "fok"]),
        st.one_of(st.none(), st.integers(9000, 11000)),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@given(ORDERS, st.booleans())
def test_cash_and_shares_are_the_sum_of_the_fills_whatever_is_sent(asked: list[Any], sleeves: bool) -> None:
    opened = exchange(sleeves=sleeves)
    for side, quantity, in_force, cents, then_advance in asked:
        wanted = body(side, float(quantity), time_in_force=in_force)
        if cents is not None:
            wanted |= {"type": "limit", "limit_price": f"{cents / 100:.2f}"}
        with contextlib.suppress(Refusal):
            opened.submit(wanted)
        if then_advance and opened.venue.bar < 14:
            opened.advance()
    opened.advance(15)
    venue = opened.venue
    held = sum((1 if fill.side == "buy" else -1) * Decimal(repr(fill.quantity)) for fill in venue.executions)
    spent = sum(fill.quantity * fill.price * (1 if fill.side == "buy" else -1) + fill.fees for fill in venue.executions)
    assert Decimal(repr(venue.shares(0))) == held
    assert venue.shares(0) >= 0.0
    assert venue.cash >= 0.0
    assert venue.cash == pytest.approx(100_000.0 - spent, abs=1e-6)
    assert venue.equity == pytest.approx(venue.cash + venue.shares(0) * venue.mark(0), abs=1e-6)
    for order in venue.orders.values():
        own = [fill for fill in venue.executions if fill.order_id == order.id]
        assert order.filled == pytest.approx(sum(fill.quantity for fill in own), abs=1e-9)
        assert order.filled <= order.ask.quantity
        for fill in own:
            worse = None if order.ask.limit is None else order.ask.sign * (fill.price - order.ask.limit)
            assert worse is None or worse <= 0.0
        assert not order.is_open or order.ask.time_in_force == "gtc"
