"""Every fault that can be asked for, as alpaca-py and plain HTTP meet it, and that the ledger stays right under it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import ClosePositionRequest, MarketOrderRequest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.panels import intraday, random_panel
from tradekit.live.exchange import Exchange, ExchangeServer, Fault, Faults, Settings
from tradekit.live.exchange.orders import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PANEL = random_panel(30, 2, seed=5)
START = 20
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local"}


@contextmanager
def opened(*faults: Fault, seed: int = 0, **settings: Any) -> Iterator[tuple[ExchangeServer, Any]]:
    """Return an exchange with faults, and alpaca-py's client on it, which tries nothing again by itself."""
    exchange = Exchange(PANEL, Settings(start=START, **settings), faults=Faults(faults, seed))
    with ExchangeServer(exchange) as server:
        client = TradingClient("local", "local", url_override=server.url)
        client._retry_codes = []
        try:
            yield server, client
        finally:
            client._session.close()


def order(quantity: float = 2.0, side: str = "buy", **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol="S0", qty=quantity, side=OrderSide(side), time_in_force=TimeInForce.DAY, **more)


def body(side: str = "buy", quantity: float = 2.0, symbol: str = "S0") -> dict[str, Any]:
    return {"symbol": symbol, "qty": quantity, "side": side, "type": "market", "time_in_force": "day"}


# ------------------------------------------------------------------------------------------------ answers to requests


@pytest.mark.parametrize(
    ("kind", "accepted", "error", "status"),
    [
        ("429", None, APIError, 429),
        ("500", None, APIError, 500),
        ("500", True, APIError, 500),
        ("502", None, APIError, 502),
        ("503", None, APIError, 503),
        ("504", None, APIError, 504),
        ("504", False, APIError, 504),
        ("reset", None, requests.ConnectionError, None),
        ("reset", True, requests.ConnectionError, None),
        ("truncated", None, requests.exceptions.ChunkedEncodingError, None),
        ("empty", None, TypeError, None),  # Order(**None)
        ("redirect", None, TypeError, None),  # not followed, and no error to alpaca-py
        ("redirect", True, TypeError, None),
        ("hang", None, requests.ConnectionError, None),
        ("hang", True, requests.ConnectionError, None),
    ],
)
def test_an_order_under_each_fault_is_accepted_once_or_not_at_all(
    kind: str, accepted: bool | None, error: type[Exception], status: int | None
) -> None:
    seconds = 0.05 if kind == "hang" else None
    fault = Fault(kind, on="submit", accepted=accepted, seconds=seconds)
    taken = accepted if accepted is not None else kind in ("504", "truncated", "empty")
    with opened(fault) as (server, client):
        with pytest.raises(error) as caught:
            client.submit_order(order(client_order_id="mine"))
        if status is not None:
            assert getattr(caught.value, "status_code", None) == status
        assert len(server.exchange.venue.orders) == taken
        if taken:  # the look-up tells, and sending it again is refused
            assert client.get_order_by_client_id("mine").status == OrderStatus.ACCEPTED
            with pytest.raises(APIError) as caught:
                client.submit_order(order(client_order_id="mine"))
            assert (caught.value.status_code, caught.value.code) == (422, 40010001)
        else:
            assert client.submit_order(order(client_order_id="mine")).client_order_id == "mine"


def test_what_a_429_and_an_html_page_look_like() -> None:
    with opened(Fault("429", on="account", seconds=30), Fault("502", on="clock")) as (server, client):
        answer = requests.get(server.url + "/v2/account", headers=HEADERS, timeout=5)
        assert (answer.json()["code"], answer.headers["X-RateLimit-Remaining"]) == (42910000, "0")
        assert 25 < int(answer.headers["X-RateLimit-Reset"]) - time.time() < 35
        with pytest.raises(APIError) as caught:
            client.get_clock()
        assert "<html>" in str(caught.value)
        with pytest.raises(ValueError, match="Expecting value"):
            _ = caught.value.code  # alpaca-py cannot read it either


def test_alpaca_py_doubles_an_order_without_an_id_on_a_504() -> None:
    """What the fault is for: the client library tries again by itself, after the order was accepted."""
    with opened(Fault("504", on="submit")) as (server, client):
        client._retry_codes, client._retry_wait = [429, 504], 0
        client.submit_order(order())
        assert len(server.exchange.venue.orders) == 2


def test_slow_answers_are_right_and_late() -> None:
    with opened(Fault("slow", on="account", seconds=0.15)) as (_, client):
        before = time.monotonic()
        assert client.get_account().cash == "100000"
        assert time.monotonic() - before >= 0.15


def test_a_skewed_clock() -> None:
    with opened(Fault("clock_skew", seconds=300.0, rate=1.0)) as (server, client):
        truth = server.exchange.venue.now.astype("M8[s]").item()
        assert client.get_clock().timestamp.replace(tzinfo=None) + timedelta(hours=5) == truth + timedelta(minutes=5)


def test_faults_count_what_they_can_strike() -> None:
    faults = [Fault("500", on="submit", symbol="S1", nth=2, times=2), Fault("503", on=("clock", "data"), nth=1)]
    with opened(*faults) as (server, client):
        client.get_account()
        client.submit_order(order())
        found = []
        for number in range(4):
            try:
                client.submit_order(MarketOrderRequest(
                    symbol="S1", qty=1 + number, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
                ))  # fmt: skip
                found.append(200)
            except APIError as error:
                found.append(error.status_code or 0)
        assert found == [200, 500, 500, 200]
        with pytest.raises(APIError):
            client.get_clock()
        told = requests.get(server.url + "/exchange/faults", headers=HEADERS, timeout=5).json()
        assert [item["struck"] for item in told["fault"]] == [2, 1]


def test_faults_can_be_changed_while_it_runs() -> None:
    with opened() as (server, client):
        url = server.url + "/exchange/faults"
        wanted: Any = {"seed": 3, "fault": [{"kind": "500", "on": "account"}]}
        assert requests.post(url, json=wanted, headers=HEADERS, timeout=5).json()["fault"][0]["struck"] == 0
        with pytest.raises(APIError):
            client.get_account()
        typo = requests.post(url, json={"fault": [{"kind": "50O"}]}, headers=HEADERS, timeout=5)
        assert (typo.status_code, "did you mean" in typo.json()["message"]) == (422, True)
        late: Any = {"fault": [{"kind": "half_day", "bar": 1}]}
        assert requests.post(url, json=late, headers=HEADERS, timeout=5).status_code == 422


def test_the_limit_on_requests_a_minute() -> None:
    if (left := 60.0 - time.time() % 60.0) < 10.0:
        time.sleep(left)  # the wall clock's minute must not end in the middle
    with opened(requests_per_minute=5) as (server, _):
        answers = [requests.get(server.url + "/v2/clock", headers=HEADERS, timeout=5) for _ in range(7)]
        data = requests.get(server.url + "/v2/stocks/bars/latest?symbols=S0", headers=HEADERS, timeout=5)
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200] * 5 + [429] * 2
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "1", "0", "0", "0"]
    assert int(answers[-1].headers["X-RateLimit-Reset"]) > time.time() - 1
    assert data.status_code == 200


# ------------------------------------------------------------------------------------------------ refusals and orders


@pytest.mark.parametrize(
    ("kind", "status", "code", "says"),
    [
        ("buying_power", 403, 40310000, "insufficient buying power"),
        ("wash_trade", 403, 40310000, "wash trade"),
        ("not_tradable", 422, 42210000, "not tradable"),
    ],
)
def test_refusals_on_request(kind: str, status: int, code: int, says: str) -> None:
    with opened(Fault(kind, nth=2)) as (server, client):
        client.submit_order(order())
        with pytest.raises(APIError, match=says) as caught:
            client.submit_order(order())
        assert (caught.value.status_code, caught.value.code) == (status, code)
        client.submit_order(order())
        assert len(server.exchange.venue.orders) == 2


def test_a_partial_fill_shows_its_rest_after_some_answers() -> None:
    with opened(Fault("partial_fill", share=0.25, reads=2)) as (server, client):
        sent = client.submit_order(order(quantity=2.0))
        server.exchange.advance()
        seen = []
        for _ in range(3):
            held = client.get_open_position("S0").qty
            account = client.get_account()
            now = client.get_order_by_id(sent.id)
            seen.append((now.status.value, now.filled_qty, held))
            value = float(account.cash) + float(held) * float(PANEL.close[START + 1, 0])
            assert float(account.equity) == pytest.approx(value, abs=1e-9)
        activities = client.get("/account/activities/FILL", {"direction": "asc"})
        final = client.get_account().equity
    assert seen == [("partially_filled", "0.5", "0.5")] * 2 + [("filled", "2", "2")]
    assert [(item["type"], item["qty"], item["cum_qty"], item["leaves_qty"]) for item in activities] == [
        ("partial_fill", "0.5", "0.5", "1.5"),
        ("fill", "1.5", "2", "0"),
    ]
    assert float(final) == pytest.approx(float(server.exchange.venue.equity), abs=1e-12)


def test_a_partial_fill_ends_as_the_undisturbed_one_would() -> None:
    plain, split = (Exchange(PANEL, Settings(start=START), faults=Faults(f)) for f in ([], [Fault("partial_fill")]))
    for one in (plain, split):
        one.submit(body(quantity=3.3))
        one.advance()
        one.advance()
    mine, theirs = next(iter(split.venue.orders.values())), next(iter(plain.venue.orders.values()))
    assert (mine.status, mine.filled, mine.price) == (theirs.status, theirs.filled, theirs.price)
    assert mine.commission == pytest.approx(theirs.commission, rel=1e-12)
    assert (split.venue.cash, split.venue.equity) == (plain.venue.cash, plain.venue.equity)
    assert len({fill.id for fill in split.venue.executions}) == 2


def test_a_cancelled_rest() -> None:
    with opened(Fault("partial_cancel", share=0.25)) as (server, client):
        sent = client.submit_order(order(quantity=2.0))
        server.exchange.advance()
        done = client.get_order_by_id(sent.id)
        assert (done.status, done.filled_qty) == (OrderStatus.CANCELED, "0.5")
        assert client.get_open_position("S0").qty == "0.5"


def test_an_unknown_status_breaks_typed_answers_until_it_is_over() -> None:
    with opened(Fault("unknown_status", reads=2)) as (_, client):
        sent = client.submit_order(order())
        with pytest.raises(ValidationError):
            client.get_orders()
        raw = client.get("/orders", {})
        assert raw[0]["status"] == "under_consideration"
        assert client.get_order_by_id(sent.id).status == OrderStatus.ACCEPTED


def test_a_cancel_that_comes_too_late() -> None:
    with opened(Fault("cancel_race")) as (server, client):
        sent = client.submit_order(order())
        client.cancel_order_by_id(sent.id)
        assert client.get_order_by_id(sent.id).status == OrderStatus.PENDING_CANCEL
        with pytest.raises(APIError) as caught:
            client.cancel_order_by_id(sent.id)
        assert caught.value.code == 42210000
        server.exchange.advance()
        assert client.get_order_by_id(sent.id).status == OrderStatus.FILLED


def test_a_stuck_cancel_ends_after_some_answers_or_never() -> None:
    with opened(Fault("stuck_cancel", reads=2), Fault("stuck_cancel", nth=1, reads=0)) as (server, client):
        first, second = client.submit_order(order()), client.submit_order(order())
        client.cancel_order_by_id(first.id)
        server.exchange.advance()
        seen = [client.get_order_by_id(first.id).status.value for _ in range(3)]
        assert seen == ["pending_cancel", "pending_cancel", "canceled"]
        assert client.get_order_by_id(second.id).status == OrderStatus.FILLED
        assert client.get_open_position("S0").qty == "2"
    with opened(Fault("stuck_cancel", reads=0)) as (server, client):
        sent = client.submit_order(order())
        client.cancel_order_by_id(sent.id)
        server.exchange.advance(len(PANEL) - 1)
        assert client.get_order_by_id(sent.id).status == OrderStatus.PENDING_CANCEL
        assert client.get_all_positions() == []


def test_a_restart_keeps_what_faults_have_done(tmp_path: Path) -> None:
    path, settings = tmp_path / "log.sqlite", Settings(start=START)
    faults = [Fault("partial_fill", share=0.5, reads=1), Fault("partial_cancel", nth=2), Fault("stuck_cancel", reads=1)]
    first = Exchange(PANEL, settings, store=path, faults=Faults(faults))
    orders = [first.submit(body()), first.submit(body(symbol="S1")), first.submit(body(symbol="S1"))]
    first.cancel(orders[2].id)
    first.advance()
    first.shown(*orders)
    told = [(item.status, item.filled, item.price) for item in orders]
    assert [status for status, _, _ in told] == ["filled", "canceled", "canceled"]
    cash = first.venue.cash
    first.close()
    again = Exchange(PANEL, settings, store=path)
    assert [(item.status, item.filled, item.price) for item in again.venue.orders.values()] == told
    assert again.venue.cash == cash
    again.close()


# --------------------------------------------------------------------------------------------------- the market itself


def test_a_halt_and_a_missing_bar() -> None:
    for kind in ("halt", "missing_bar"):
        exchange = Exchange(PANEL, Settings(start=START), faults=Faults([Fault(kind, symbol="S0", bar=2, bars=2)]))
        filled = exchange.submit(body())
        exchange.advance()
        lost = exchange.submit(body())
        exchange.advance()
        assert (filled.status, lost.status) == ("filled", "canceled")
        exchange.advance(START + 4)
        query = {"symbols": "S0", "timeframe": "1Day", "start": "2010-01-24"}
        closes = [bar["c"] for bar in exchange.bars.page(query)["bars"]["S0"]]
        assert closes == PANEL.close[[20, 21, 24], 0].tolist()
        assert exchange.venue.equity == pytest.approx(exchange.venue.cash + 2.0 * float(PANEL.close[24, 0]), abs=1e-9)


def test_a_split_changes_prices_positions_and_adjusted_history() -> None:
    settings = Settings(start=START)
    plain = Exchange(PANEL, settings)
    split = Exchange(PANEL, settings, faults=Faults([Fault("split", symbol="S0", bar=3, ratio=4.0)]))
    for exchange in (plain, split):
        exchange.submit(body(quantity=2.5))
        exchange.advance(START + 2)
    resting = split.submit({**body(), "type": "limit", "limit_price": "1.00", "time_in_force": "gtc", "qty": 1})
    for exchange in (plain, split):
        exchange.advance(START + 5)
    assert split.venue.shares(0) == 10.0
    assert split.venue.average_cost(0) == pytest.approx(plain.venue.average_cost(0) / 4.0, rel=1e-12)
    assert split.venue.cash == plain.venue.cash
    assert split.venue.equity == pytest.approx(plain.venue.equity, rel=1e-12)
    assert resting.status == "canceled"
    query = {"symbols": "S0", "timeframe": "1Day", "start": "2010-01-04"}
    raw, adjusted = (
        [bar["c"] for bar in split.bars.page({**query, "adjustment": how})["bars"]["S0"]] for how in ("raw", "all")
    )
    assert adjusted == (PANEL.close[:26, 0] / 4.0).tolist()
    assert raw == [*PANEL.close[:23, 0].tolist(), *(PANEL.close[23:26, 0] / 4.0).tolist()]


def test_a_split_is_an_activity_and_the_rest_sold_closes_the_position() -> None:
    with ExchangeServer(
        Exchange(PANEL, Settings(start=START), faults=Faults([Fault("split", symbol="S0", bar=2, ratio=2.0)]))
    ) as server:
        client: Any = TradingClient("local", "local", url_override=server.url)
        client.submit_order(order(quantity=3.0))
        server.exchange.advance(START + 2)
        (found,) = client.get("/account/activities/SPLIT", {})
        assert (found["symbol"], found["qty"]) == ("S0", "3")
        assert len(client.get("/account/activities", {})) == 2
        half = client.close_position("S0", ClosePositionRequest(percentage="50"))
        assert half.qty == "3"
        server.exchange.advance()
        assert client.get_open_position("S0").qty == "3"
        client._session.close()


def test_a_half_day_closes_at_one() -> None:
    panel = intraday(random_panel(21, 1, seed=4), 7)  # from 14:00 UTC: 09:00 in New York
    exchange = Exchange(panel, Settings(start=6), faults=Faults([Fault("half_day", bar=1)]))
    shaped = exchange.venue.panel
    day = shaped.timestamps.astype("M8[D]") == np.datetime64("2024-01-02")
    assert len(shaped) == 21 - 3
    assert str(shaped.close_time[day][-1]) == "2024-01-02T18:00:00.000000000"  # 13:00 in New York
    with ExchangeServer(exchange) as server:
        client: Any = TradingClient("local", "local", url_override=server.url)
        found = {str(item.date): item.close.hour for item in client.get_calendar()[-10:]}
        assert set(found.values()) <= {13, 16}
        answer = client.get("/calendar", {"start": "2024-01-02", "end": "2024-01-03"})
        assert [item["close"] for item in answer] == ["13:00", "16:00"]
        server.exchange.advance(9)
        clock = client.get_clock()
        assert (clock.is_open, clock.next_close.hour) == (True, 13)
        client._session.close()


def test_a_symbol_turned_untradable_and_a_blocked_account() -> None:
    with opened(Fault("untradable", symbol="S0", bar=2), Fault("account_blocked", bar=3, bars=1)) as (server, client):
        server.exchange.advance()
        client.submit_order(order())
        server.exchange.advance()
        assert not client.get_asset("S0").tradable
        assert client.get_open_position("S0").qty == "2"  # what was sent before stands
        with pytest.raises(APIError, match="not tradable"):
            client.submit_order(order())
        server.exchange.advance()
        assert client.get_account().account_blocked
        with pytest.raises(APIError, match="not allowed to trade"):
            client.submit_order(order())
        server.exchange.advance()
        assert not client.get_account().trading_blocked


# ----------------------------------------------------------------------------------------------------- the ledger

SEND = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 50), st.booleans()), min_size=1, max_size=12)
MISHAPS = st.lists(st.sampled_from(["partial_fill", "partial_cancel", "cancel_race", "stuck_cancel"]), max_size=6)


@given(SEND, MISHAPS, st.integers(0, 5))
def test_the_ledger_balances_under_any_mishap(sent: list[Any], mishaps: list[str], cancels: int) -> None:
    listed = [Fault(kind, nth=1 + number) for number, kind in enumerate(mishaps)]
    exchange = Exchange(PANEL, Settings(start=START), faults=Faults(listed))
    venue = exchange.venue
    for number, (side, quantity, read) in enumerate(sent):
        try:
            taken = exchange.submit(body(side, quantity))
            if number < cancels:
                exchange.cancel(taken.id)
        except Refusal:
            pass
        if number % 3 == 2 and venue.bar < len(PANEL) - 2:
            exchange.advance()
        if read:
            exchange.shown(*venue.orders.values())
        assert all(item.is_open for item, _ in venue.kept_back)
        shown = sum((1 if f.side == "buy" else -1) * Decimal(repr(f.quantity)) for f in venue.executions)
        assert Decimal(repr(venue.shares(0))) == shown
        paid = sum((1 if f.side == "buy" else -1) * f.quantity * f.price + f.fees for f in venue.executions)
        assert venue.cash == pytest.approx(100_000.0 - paid, abs=1e-6)
        assert venue.equity == pytest.approx(venue.cash + venue.shares(0) * venue.mark(0), abs=1e-6)
        for item in venue.orders.values():
            own = sum(fill.quantity for fill in venue.executions if fill.order_id == item.id)
            assert item.filled == pytest.approx(own, abs=1e-9)
