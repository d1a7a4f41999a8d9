"""Both streams as alpaca-py's unmodified stream clients hear them, and what faults do to the messages."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests
from alpaca.data.live.stock import StockDataStream
from alpaca.data.models import Bar, Quote, Trade, TradingStatus
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce, TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import MarketOrderRequest
from alpaca.trading.stream import TradingStream
from websockets.sync.client import connect

from tests.panels import random_panel
from tradekit.live.exchange import Exchange, ExchangeServer, Fault, Faults, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PANEL = random_panel(30, 2, seed=5)
START = 20
KEYS = ("local", "local")
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local"}
PATIENCE_SECONDS = 10.0


@contextmanager
def opened(*faults: Fault, seed: int = 0) -> Iterator[ExchangeServer]:
    with ExchangeServer(Exchange(PANEL, Settings(start=START), faults=Faults(faults, seed))) as server:
        yield server


def socket_of(server: ExchangeServer, path: str) -> str:
    return server.url.replace("http://", "ws://") + path


@contextmanager
def running(client: Any) -> Iterator[None]:
    """Run a stream client in a thread, as programs do, and stop it again."""
    client._reconnect_min_backoff = client._reconnect_max_backoff = 0.05
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield
    finally:
        # stop() lets up to five seconds pass before it looks; closing the socket wakes it.
        if client._loop is not None and client._loop.is_running():
            asyncio.run_coroutine_threadsafe(_stop(client), client._loop).result(PATIENCE_SECONDS)
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


async def _stop(client: Any) -> None:
    await client.stop_ws()
    if client._ws is not None:
        await client._ws.close()


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end, "nothing heard"
        time.sleep(0.005)


def listeners(server: ExchangeServer, stream: str) -> list[Any]:
    return [one for one in server.exchange.hub._listeners[stream] if one.channels]


@contextmanager
def updates(server: ExchangeServer, raw: bool = False) -> Iterator[list[Any]]:
    """Listen to trade updates with alpaca-py and return what it hears."""
    heard: list[Any] = []
    client = TradingStream(*KEYS, url_override=socket_of(server, "/stream"), raw_data=raw)

    async def note(update: Any) -> None:
        heard.append(update)

    client.subscribe_trade_updates(note)
    with running(client):
        wait_for(lambda: bool(listeners(server, "trade_updates")))
        yield heard


def buy(server: ExchangeServer, quantity: float = 2.0, symbol: str = "S0", **more: Any) -> Any:
    client = TradingClient(*KEYS, url_override=server.url)
    request = MarketOrderRequest(symbol=symbol, qty=quantity, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, **more)
    order = client.submit_order(request)
    client._session.close()
    return order


def advance(server: ExchangeServer) -> None:
    answer = requests.post(server.url + "/exchange/advance", headers=HEADERS, timeout=5)
    assert answer.status_code == 200


def test_trade_updates_follow_an_orders_life() -> None:
    with opened() as server, updates(server) as heard:
        order = buy(server)
        wait_for(lambda: len(heard) == 1)
        advance(server)
        wait_for(lambda: len(heard) == 3)
        (fill,) = server.exchange.venue.executions
    assert all(isinstance(update, TradeUpdate) for update in heard)
    assert [update.event for update in heard] == [TradeEvent.ACCEPTED, TradeEvent.NEW, TradeEvent.FILL]
    assert {update.order.id for update in heard} == {order.id}
    last = heard[-1]
    assert (str(last.execution_id), last.qty, last.price, last.position_qty) == (fill.id, 2.0, fill.price, 2.0)
    assert last.order.filled_qty == "2"


def test_a_cancel_and_a_replacement_are_told() -> None:
    with opened() as server, updates(server) as heard:
        client: Any = TradingClient(*KEYS, url_override=server.url)
        order = buy(server)
        newer = client._request("PATCH", f"/orders/{order.id}", {"qty": "3"})
        client.cancel_order_by_id(newer["id"])
        client._session.close()
        wait_for(lambda: len(heard) == 4)
    assert [update.event for update in heard] == ["accepted", "replaced", "accepted", "canceled"]
    assert str(heard[1].order.replaced_by) == newer["id"]


@contextmanager
def market(server: ExchangeServer, *symbols: str) -> Iterator[list[Any]]:
    """Subscribe alpaca-py's data stream to everything it offers and return what it hears."""
    heard: list[Any] = []
    client = StockDataStream(*KEYS, url_override=socket_of(server, "/v2/iex"))

    async def note(item: Any) -> None:
        heard.append(item)

    for subscribe in (
        client.subscribe_bars,
        client.subscribe_daily_bars,
        client.subscribe_updated_bars,
        client.subscribe_trades,
        client.subscribe_quotes,
        client.subscribe_trading_statuses,
    ):
        subscribe(note, *symbols)
    before = len(listeners(server, "market_data"))
    with running(client):
        wait_for(lambda: len(listeners(server, "market_data")) > before)
        yield heard


def test_market_data_carries_each_bar_to_the_last_bit_once_it_has_closed() -> None:
    with opened() as server, market(server, "S0", "S1") as heard:
        time.sleep(0.05)
        assert heard == []
        advance(server)
        wait_for(lambda: len(heard) == 8)
    bars = [item for item in heard if isinstance(item, Bar)]
    assert [bar.symbol for bar in bars] == ["S0", "S1", "S0", "S1"]  # bars, then daily bars
    assert bars[0].close == PANEL.close[21, 0]
    assert bars[0].timestamp == datetime(2010, 1, 25, 5, tzinfo=UTC)
    trade = next(item for item in heard if isinstance(item, Trade))
    quote = next(item for item in heard if isinstance(item, Quote))
    assert trade.price == PANEL.close[21, 0]
    assert quote.ask_price == pytest.approx(PANEL.close[21, 0] * 1.0002, rel=1e-15)
    assert quote.bid_price == pytest.approx(PANEL.close[21, 0] * 0.9998, rel=1e-15)


def test_a_star_subscribes_to_all_and_a_symbol_to_itself() -> None:
    with opened() as server, market(server, "*") as all_of_them, market(server, "S1") as one:
        advance(server)
        wait_for(lambda: len(all_of_them) == 8 and len(one) == 4)
    assert {item.symbol for item in one} == {"S1"}


def test_a_halt_is_told_and_sends_no_bar() -> None:
    with opened(Fault("halt", symbol="S0", bar=1, bars=1)) as server, market(server, "S0") as heard:
        advance(server)
        wait_for(lambda: len(heard) == 1)
        advance(server)
        wait_for(lambda: len(heard) == 6)
    statuses = [item for item in heard if isinstance(item, TradingStatus)]
    assert [status.status_code for status in statuses] == ["H", "T"]
    assert [item.close for item in heard if isinstance(item, Bar)] == [PANEL.close[22, 0]] * 2


def test_a_late_bar_comes_as_an_updated_one() -> None:
    with opened(Fault("late_bar", symbol="S0", reads=2)) as server, market(server, "S0") as heard:
        advance(server)
        query = {"symbols": "S0", "timeframe": "1Day", "start": "2010-01-25"}
        seen = []
        for _ in range(3):
            answer = requests.get(server.url + "/v2/stocks/bars", query, headers=HEADERS, timeout=5)
            seen.append(len(answer.json()["bars"].get("S0", [])))
        wait_for(lambda: len(heard) == 1)
    assert seen == [0, 0, 1]
    assert heard[0].close == PANEL.close[21, 0]


# ------------------------------------------------------------------------------------------------ faults of messages


def events(fault: Fault | None, orders: int = 1, expected: int = 3, settle: float = 0.1) -> list[str]:
    """Return what alpaca-py hears of orders that fill in one bar, with a fault on the way."""
    with opened(*([fault] if fault else [])) as server, updates(server) as heard:
        for number in range(orders):
            buy(server, symbol=f"S{number}")
        advance(server)
        wait_for(lambda: len(heard) >= expected)
        time.sleep(settle)
        return [f"{update.event} {update.order.symbol}" for update in heard]


def test_faults_of_the_messages() -> None:
    plain = ["accepted S0", "new S0", "fill S0"]
    assert events(None) == plain
    assert events(Fault("drop", on="trade_updates", nth=2), expected=2) == ["accepted S0", "fill S0"]
    assert events(Fault("duplicate", nth=3), expected=4) == [*plain, "fill S0"]
    assert events(Fault("reorder", nth=2)) == ["accepted S0", "fill S0", "new S0"]
    assert events(Fault("fill_before_ack")) == ["fill S0", "accepted S0", "new S0"]
    assert events(Fault("delay", nth=1, seconds=0.2)) == ["new S0", "fill S0", "accepted S0"]
    assert events(Fault("mute", nth=2), expected=1) == ["accepted S0"]
    both = events(Fault("drop", symbol="S1", nth=1, times=9), orders=2)
    assert both == plain


def test_a_closed_stream_is_connected_again_and_nothing_is_replayed() -> None:
    with opened(Fault("close", nth=1)) as server, updates(server) as heard:
        before = listeners(server, "trade_updates")
        buy(server)
        wait_for(lambda: listeners(server, "trade_updates") not in ([], before))
        advance(server)
        wait_for(lambda: len(heard) == 2)
    assert [update.event for update in heard] == ["new", "fill"]


def test_an_unauthorised_stream_tries_again_until_it_is_let_in() -> None:
    with opened(Fault("402", on="trade_updates", times=2)) as server, updates(server) as heard:
        buy(server)
        wait_for(lambda: len(heard) == 1)
        assert server.exchange.faults.struck == {0: 2}


@pytest.mark.parametrize(("code", "again"), [("402", True), ("406", True), ("409", False)])
def test_refused_data_streams_do_as_alpaca_py_does(code: str, again: bool) -> None:
    """402 and 406 are tried again for ever; 409 ends ``run()`` without a word to the caller."""
    with opened(Fault(code, on="market_data", times=2)) as server:
        client: Any = StockDataStream(*KEYS, url_override=socket_of(server, "/v2/iex"))

        async def ignore(item: Any) -> None: ...

        client.subscribe_bars(ignore, "S0")
        with running(client):
            if again:
                wait_for(lambda: bool(listeners(server, "market_data")))
                assert server.exchange.faults.struck == {0: 2}
            else:
                wait_for(lambda: server.exchange.faults.struck[0] == 1)
                wait_for(lambda: not client._loop.is_running())
                assert not listeners(server, "market_data")


def test_a_refused_subscription_leaves_alpaca_py_connected_and_deaf() -> None:
    """405 is logged, neither raised nor tried again: no bar comes, and nothing says so to the caller."""
    heard: list[Bar] = []
    with opened(Fault("405", times=100)) as server:
        client: Any = StockDataStream(*KEYS, url_override=socket_of(server, "/v2/iex"))

        async def note(bar: Bar) -> None:
            heard.append(bar)

        client.subscribe_bars(note, "S0")
        with running(client):
            wait_for(lambda: server.exchange.faults.struck == {0: 1})
            advance(server)
            time.sleep(0.3)
            assert client._running
            assert server.exchange.faults.struck == {0: 1}
            assert not server.exchange.hub.subscribed
    assert not heard


# ------------------------------------------------------------------------------------------------- the plain protocol


def test_the_data_stream_speaks_json_to_whoever_does_not_ask_for_msgpack() -> None:
    with (
        opened(Fault("405", symbol="S1")) as server,
        connect(socket_of(server, "/v2/iex")) as socket,
    ):

        def say(**what: Any) -> Any:
            socket.send(json.dumps(what))
            return json.loads(socket.recv(timeout=5))

        assert json.loads(socket.recv(timeout=5)) == [{"T": "success", "msg": "connected"}]
        assert say(action="auth", key="local", secret="local") == [{"T": "success", "msg": "authenticated"}]
        assert say(action="subscribe", bars=["S0"])[0]["bars"] == ["S0"]
        assert say(action="subscribe", bars=["S1"])[0]["code"] == 405
        assert say(action="subscribe", bars=["S1"])[0]["bars"] == ["S0", "S1"]
        assert say(action="unsubscribe", bars=["S0"])[0]["bars"] == ["S1"]
        assert say(action="sing")[0]["code"] == 410
        assert say(action="auth")[0]["code"] == 403
        advance(server)
        (bar,) = json.loads(socket.recv(timeout=5))
        assert (bar["T"], bar["S"], bar["c"], bar["t"]) == ("b", "S1", PANEL.close[21, 1], "2010-01-25T05:00:00Z")


@pytest.mark.parametrize(
    ("said", "code"), [({"action": "auth", "key": "local", "secret": "guess"}, 402), ({"action": "subscribe"}, 401)]
)
def test_the_data_stream_lets_nobody_in_without_keys(said: dict[str, str], code: int) -> None:
    with opened() as server, connect(socket_of(server, "/v2/iex")) as socket:
        socket.recv(timeout=5)
        socket.send(json.dumps(said))
        assert json.loads(socket.recv(timeout=5))[0]["code"] == code


def test_trade_updates_are_for_those_with_keys() -> None:
    with opened() as server, connect(socket_of(server, "/stream")) as socket:
        for said in (
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
            {"action": "authenticate", "data": {"key_id": "local", "secret_key": "guess"}},
        ):
            socket.send(json.dumps(said))
            assert json.loads(socket.recv(timeout=5))["data"]["status"] == "unauthorized"
        buy(server)
        socket.send(json.dumps({"action": "auth", "key": "local", "secret": "local"}))
        assert json.loads(socket.recv(timeout=5))["data"]["status"] == "authorized"
