"""The Alpaca broker: where it may connect, what it makes of bad answers, and that keys stay where they belong."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import requests
from alpaca.common.constants import DEFAULT_RETRY_EXCEPTION_CODES
from hypothesis import given
from hypothesis import strategies as st

from tests.live.conftest import step
from tradekit.errors import BrokerError
from tradekit.live.alpaca import AlpacaBars, AlpacaBroker
from tradekit.live.broker import Broker, BrokerUncertain, OrderRefused, Ticket, quantise
from tradekit.live.replay import Replay
from tradekit.live.transport import demand_allowed, guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.conftest import Open

KEY, SECRET = "PKTESTKEY0123456789", "s3cr3t/VeryLongSecret+Value"

REAL_MONEY = [
    "https://api.alpaca.markets",
    "https://broker-api.alpaca.markets",
    "https://API.alpaca.markets",
    "https://paper-api.alpaca.markets.evil.example",
    "https://paper-api.alpaca.markets@api.alpaca.markets",
    "https://paper-api.alpaca.markets:8443",
    "https://paper-api.alpaca.markets\\@api.alpaca.markets",
    "http://paper-api.alpaca.markets",
    "http://10.0.0.1:8000",
    "http://127.0.0.1.nip.io",
    "ftp://127.0.0.1",
    "paper-api.alpaca.markets",
    "http://[::1",
    "",
]


@pytest.mark.parametrize("url", REAL_MONEY)
def test_other_hosts_are_refused(url: str) -> None:
    for build in (AlpacaBroker, AlpacaBars, Replay):
        with pytest.raises(BrokerError) as caught:
            build(KEY, SECRET, url)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://paper-api.alpaca.markets", "https://data.alpaca.markets", "http://127.0.0.1:9", "http://[::1]:9"]
)
def test_allowed_hosts(url: str) -> None:
    demand_allowed(url)


def test_every_request_is_checked_not_only_the_first_address() -> None:
    session = requests.Session()
    guard(session)
    with pytest.raises(BrokerError, match=r"api\.alpaca\.markets is refused"):
        session.get("https://api.alpaca.markets/v2/account")
    session.close()


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the server was told to."""

    def _answer(self) -> None:
        status, headers, content = self.server.answer  # type: ignore[attr-defined]
        self.server.seen.append((self.command, self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


class Rogue(http.server.ThreadingHTTPServer):
    """A server that gives one answer to everything."""

    daemon_threads = True
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
    seen: list[tuple[str, str, dict[str, str]]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def rogue() -> Iterator[Rogue]:
    server = Rogue(("127.0.0.1", 0), _Answers)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def broker(rogue: Rogue) -> Iterator[AlpacaBroker]:
    one = AlpacaBroker(KEY, SECRET, rogue.url)
    yield one
    one.close()


TICKET = Ticket("id", "S0", "buy", Decimal("1.5"))


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b"boom"),
        (502, {"Content-Type": "text/html"}, b"<html>bad gateway</html>"),
        (503, {}, b'{"message": "busy"}'),
        (504, {}, b'{"code": 50410000, "message": "timed out"}'),
        (429, {}, b'{"code": 42910000, "message": "too many requests."}'),
        (404, {}, b"<html>no such page</html>"),
        (200, {}, b""),
        (200, {}, b'{"id": "cut off'),
        (200, {}, b"[]"),
        (200, {}, b'{"id": 1}'),
    ],
)
def test_unreadable_answers_leave_the_order_in_doubt_and_are_not_sent_again(
    rogue: Rogue, broker: AlpacaBroker, answer: tuple[int, dict[str, str], bytes]
) -> None:
    rogue.answer = answer
    with pytest.raises(BrokerUncertain) as caught:
        broker.submit(TICKET)
    assert "\n" not in str(caught.value)
    assert [request[0] for request in rogue.seen] == ["POST"]


def test_a_recognised_refusal_is_a_refusal(rogue: Rogue, broker: AlpacaBroker) -> None:
    rogue.answer = (403, {}, json.dumps({"code": 40310000, "message": "insufficient buying power"}).encode())
    with pytest.raises(OrderRefused, match=r"buy 1\.5 S0: insufficient buying power .*HTTP 403, code 40310000"):
        broker.submit(TICKET)
    rogue.answer = (404, {}, json.dumps({"code": 40410000, "message": "order not found"}).encode())
    assert broker.find("id") is None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(rogue: Rogue, broker: AlpacaBroker, status: int) -> None:
    rogue.answer = (status, {"Location": "https://api.alpaca.markets/v2/orders"}, b"")
    with pytest.raises(BrokerError, match="redirect"):
        broker.submit(TICKET)
    assert len(rogue.seen) == 1


def test_no_answer_at_all(rogue: Rogue) -> None:
    rogue.server_close()
    one = AlpacaBroker(KEY, SECRET, rogue.url)
    with pytest.raises(BrokerUncertain, match="no answer from 127"):
        one.account()
    one.close()


def test_environment_proxies_are_ignored(rogue: Rogue, market: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, rogue.url)
    monkeypatch.delenv("no_proxy", raising=False)
    one = AlpacaBroker("local", "local", market.server.url)
    assert one.account().cash == 100_000.0
    one.close()
    assert rogue.seen == []


def test_the_clients_shared_retry_list_is_left_alone(broker: AlpacaBroker) -> None:
    assert DEFAULT_RETRY_EXCEPTION_CODES == [429, 504]
    assert broker._client._retry_codes == []


def test_keys_go_into_headers_and_nowhere_else(
    rogue: Rogue, broker: AlpacaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    # A server that echoes what it was sent.
    rogue.answer = (401, {}, json.dumps({"code": 40110000, "message": f"who is {KEY} with {SECRET}?"}).encode())
    texts = [repr(broker), str(broker)]
    for ask in (broker.account, broker.positions, lambda: broker.submit(TICKET), broker.orders):
        with pytest.raises(BrokerError) as caught:
            ask()
        texts += [str(caught.value), repr(caught.value)]
    assert rogue.seen[0][2]["APCA-API-SECRET-KEY"] == SECRET
    texts.append(caplog.text)
    for text in texts:
        assert KEY not in text
        assert SECRET not in text


def test_an_order_status_that_nobody_knows(rogue: Rogue, broker: AlpacaBroker) -> None:
    raw: dict[str, Any] = {
        "id": "1", "client_order_id": "a", "symbol": "S0", "side": "buy", "qty": "2", "filled_qty": "0.5",
        "filled_avg_price": "10.1", "status": "pondering", "submitted_at": "2024-01-02T14:30:00.123456789Z",
    }  # fmt: skip
    rogue.answer = (200, {}, json.dumps([raw, {**raw, "id": "2", "status": "filled"}]).encode())
    first, second = broker.orders()
    assert (first.is_final, second.is_final, first.commission) == (False, True, None)
    assert (first.filled, first.price) == (Decimal("0.5"), 10.1)
    assert str(first.submitted_at) == "2024-01-02T14:30:00.123456789"


def test_against_the_exchange(market: Open) -> None:
    one = AlpacaBroker("local", "local", market.server.url)
    assert isinstance(one, Broker)
    sent = one.submit(TICKET)
    assert sent.fulfils(TICKET)
    assert not sent.is_final
    step(market)
    found = one.find("id")
    assert found is not None
    assert (found.status, found.filled) == ("filled", Decimal("1.5"))
    assert found.commission is not None
    assert found.commission > 0.0
    assert one.positions() == {"S0": Decimal("1.5")}
    assert one.orders() == [found]
    assert one.orders(after=found.submitted_at) == []
    open_one = one.submit(Ticket("other", "S1", "buy", Decimal(1)))
    one.cancel(open_one.id)
    assert [order.status for order in one.orders()] == ["filled", "canceled"]
    one.close()


def test_more_orders_than_one_answer_holds(market: Open) -> None:
    one = AlpacaBroker("local", "local", market.server.url)
    for k in range(1005):
        one.submit(Ticket(f"n{k}", "S0", "buy", Decimal("0.001")))
    assert [order.client_order_id for order in one.orders()] == [f"n{k}" for k in range(1005)]
    one.close()


@given(st.integers(0, 9_007_199_254_740_992))
def test_a_whole_number_of_billionths_stays_what_it_is(billionths: int) -> None:
    shares = billionths / 1e9
    assert float(quantise(shares)) == shares
    assert -quantise(shares).as_tuple().exponent <= 9  # type: ignore[operator]


@given(st.floats(0.0, 1e9))
def test_quantities_are_never_rounded_up(shares: float) -> None:
    assert Decimal(repr(shares)) - Decimal("1e-9") < quantise(shares) <= Decimal(repr(shares))
