"""Alpaca through its own unmodified Python clients, made safe: see transport for hosts, time-outs and redirects.

Answers are read raw, so that an order status the client library does not know cannot hide the orders beside it.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest
from requests import RequestException

from tradekit.live.broker import (
    Account,
    BrokerClock,
    BrokerOrder,
    BrokerUncertain,
    Execution,
    OrderRefused,
    Ticket,
)
from tradekit.live.times import parse_utc, timeframe, utc_text
from tradekit.live.transport import (
    MARKET_DATA,
    PAPER_TRADING,
    TIMEOUT_SECONDS,
    Redirected,
    demand_allowed,
    guard,
    scrub,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import numpy as np
    from alpaca.common.rest import RESTClient

    from tradekit.errors import BrokerError

Answer = TypeVar("Answer")

PAGE, ACTIVITIES = 500, 100
"""The most orders, and the most fills, that one answer holds."""


class _Caller:
    """Calls a client and turns everything that can go wrong into one line without the keys."""

    def __init__(self, client: RESTClient, url: str, secrets: tuple[str, str], timeout: float) -> None:
        demand_allowed(url)
        guard(client._session, timeout)
        # The list is shared by all clients of the process, so it is replaced, not emptied. An order that was accepted
        # and answered with 504 must be looked up, not sent again.
        client._retry_codes = []
        self._host, self._secrets = urlsplit(url).netloc, secrets

    def __call__(self, what: str, call: Callable[[], Answer]) -> Answer:
        try:
            return call()
        except APIError as error:
            raise self._refusal(what, error) from None
        except Redirected as error:
            raise BrokerUncertain(f"{what}: {error}") from None
        except RequestException as error:
            raise BrokerUncertain(f"{what}: no answer from {self._host} ({type(error).__name__})") from None
        except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise BrokerUncertain(f"{what}: unreadable answer from {self._host} ({type(error).__name__})") from None

    def _refusal(self, what: str, error: APIError) -> BrokerError:
        status = error.status_code
        try:
            body = json.loads(str(error))
            code, message = body.get("code"), str(body["message"])
        except (AttributeError, KeyError, TypeError, ValueError):
            code, message = None, ""
        text = scrub(f"{what}: {message or 'refused'} ({self._host}, HTTP {status}, code {code})", self._secrets)
        if message and status is not None and 400 <= status < 500 and status not in (408, 429):
            return OrderRefused(text, code if isinstance(code, int) else None)
        return BrokerUncertain(text, _retry_after(error))


class AlpacaBroker:
    """A Broker over Alpaca's trading REST: the paper account, or an exchange on this machine.

    Args:
        key_id, secret_key: of the paper account. They go into request headers and nowhere else.
        url: ``https://paper-api.alpaca.markets`` or a loopback address.
        timeout: seconds of silence after which a request counts as lost.

    Raises:
        BrokerError: any other host; a real-money one above all.
    """

    def __init__(
        self, key_id: str, secret_key: str, url: str = PAPER_TRADING, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        demand_allowed(url)
        self._client = TradingClient(key_id, secret_key, paper=True, raw_data=True, url_override=url)
        self._call, self._url = _Caller(self._client, url, (secret_key, key_id), timeout), url

    def __repr__(self) -> str:
        return f"AlpacaBroker({self._url})"

    def account(self) -> Account:
        """Return cash, equity and whether trading is blocked."""
        return self._call("account", lambda: _account(self._client.get_account()))

    def positions(self) -> dict[str, Decimal]:
        """Return signed shares by symbol."""
        return self._call("positions", lambda: _positions(self._client.get_all_positions()))

    def submit(self, ticket: Ticket) -> BrokerOrder:
        """Send a market order."""
        request = MarketOrderRequest(
            symbol=ticket.symbol,
            qty=float(ticket.quantity),
            side=OrderSide(ticket.side),
            time_in_force=TimeInForce(ticket.time_in_force),
            client_order_id=ticket.client_order_id,
        )
        what = f"{ticket.side} {ticket.quantity.normalize():f} {ticket.symbol}"
        return self._call(what, lambda: _order(self._client.submit_order(request)))

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """Look an order up by our id."""
        try:
            return self._call(
                f"order {client_order_id}", lambda: _order(self._client.get_order_by_client_id(client_order_id))
            )
        except OrderRefused as error:
            if error.code == 40410000:
                return None
            raise

    def orders(self, after: np.datetime64 | None = None) -> list[BrokerOrder]:
        """Return all orders submitted after a time. Answers have no pages: the next begins at the last one's time."""
        found: dict[str, BrokerOrder] = {}
        while True:
            page = self._page(after)
            fresh = [order for order in page if order.id not in found]
            found |= {order.id: order for order in fresh}
            if len(page) < PAGE or not fresh:
                return list(found.values())
            after = page[-1].submitted_at

    def _page(self, after: np.datetime64 | None) -> list[BrokerOrder]:
        query: dict[str, Any] = {"status": "all", "limit": PAGE, "direction": "asc"}
        if after is not None:
            query["after"] = utc_text(after)
        return self._call("orders", lambda: [_order(item) for item in _list(self._client.get("/orders", query))])

    def cancel(self, order_id: str) -> None:
        """Ask to cancel."""
        self._call(f"cancel {order_id}", lambda: self._client.cancel_order_by_id(order_id))

    def clock(self) -> BrokerClock:
        """Return the broker's time."""
        return self._call("clock", lambda: _clock(self._client.get_clock()))

    def executions(self, after: np.datetime64 | None = None) -> list[Execution]:
        """Return every fill after a time: account activities, page after page."""
        found: dict[str, Execution] = {}
        query: dict[str, Any] = {"direction": "asc", "page_size": ACTIVITIES}
        if after is not None:
            query["after"] = utc_text(after)
        while True:
            page = self._call("fills", partial(self._activities, query))
            fresh = [item for item in page if item.id not in found]
            found |= {item.id: item for item in fresh}
            if len(page) < ACTIVITIES or not fresh:
                return list(found.values())
            query = {**query, "page_token": page[-1].id}

    def _activities(self, query: dict[str, Any]) -> list[Execution]:
        return [_execution(item) for item in _list(self._client.get("/account/activities/FILL", query))]

    def is_tradable(self, symbol: str) -> bool:
        """Return whether the asset is active and tradable."""
        try:
            asset: Any = self._call(f"asset {symbol}", lambda: self._client.get_asset(symbol))
        except OrderRefused as error:
            if error.code == 40410000:
                return False
            raise
        return bool(asset["tradable"]) and asset["status"] == "active"

    def close(self) -> None:
        """Close the connections."""
        self._client._session.close()


class AlpacaBars:
    """Bars over Alpaca's market data REST, raw.

    Args:
        key_id, secret_key: as for the broker.
        url: ``https://data.alpaca.markets`` or a loopback address.
        timeout: as for the broker.
    """

    def __init__(self, key_id: str, secret_key: str, url: str = MARKET_DATA, timeout: float = TIMEOUT_SECONDS) -> None:
        demand_allowed(url)
        self._client = StockHistoricalDataClient(key_id, secret_key, raw_data=True, url_override=url)
        self._call = _Caller(self._client, url, (secret_key, key_id), timeout)

    def fetch(
        self, symbols: Sequence[str], frequency: str, start: datetime, end: datetime
    ) -> dict[str, list[dict[str, Any]]]:
        """Return the complete bars from ``start`` to ``end`` (by their open, UTC, both inclusive), by symbol."""
        amount, unit = timeframe(frequency)
        request = StockBarsRequest(
            symbol_or_symbols=list(symbols),
            timeframe=TimeFrame(amount, TimeFrameUnit(unit)),
            start=start,
            end=end,
            adjustment=Adjustment.ALL,
            feed=DataFeed.IEX,
        )
        return self._call("bars", lambda: dict(self._client.get_stock_bars(request)))

    def close(self) -> None:
        """Close the connections."""
        self._client._session.close()


def _retry_after(error: APIError) -> float | None:
    """Return the seconds to wait that a 429 names: ``Retry-After``, or the moment of ``X-RateLimit-Reset``."""
    response = getattr(error, "response", None)
    headers = {} if response is None else response.headers
    try:
        if "Retry-After" in headers:
            return max(0.0, float(headers["Retry-After"]))
        if "X-RateLimit-Reset" in headers:
            return max(0.0, float(headers["X-RateLimit-Reset"]) - time.time())
    except ValueError:  # a date, or noise: no wish that could be honoured
        return None
    return None


def _account(raw: Any) -> Account:
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    blocked = raw["status"] != "ACTIVE" or any(raw.get(flag) for flag in flags)
    return Account(cash=float(raw["cash"]), equity=float(raw["equity"]), blocked=blocked)


def _clock(raw: Any) -> BrokerClock:
    return BrokerClock(now=parse_utc(raw["timestamp"]), is_open=bool(raw["is_open"]))


def _execution(raw: Any) -> Execution:
    return Execution(
        id=str(raw["id"]),
        order_id=str(raw["order_id"]),
        symbol=str(raw["symbol"]),
        side="buy" if raw["side"] == "buy" else "sell",  # "sell_short" is a sale
        quantity=Decimal(raw["qty"]),
        price=float(raw["price"]),
    )


def _positions(raw: Any) -> dict[str, Decimal]:
    return {str(item["symbol"]): Decimal(item["qty"]) for item in _list(raw)}


def _order(raw: Any) -> BrokerOrder:
    price, commission = raw.get("filled_avg_price"), raw.get("commission")
    return BrokerOrder(
        id=str(raw["id"]),
        client_order_id=str(raw["client_order_id"]),
        symbol=str(raw["symbol"]),
        side=raw["side"],
        quantity=Decimal(raw["qty"] or 0),  # none on orders by value, which are never ours
        filled=Decimal(raw["filled_qty"] or 0),
        price=None if price is None else float(price),
        commission=None if commission is None else float(commission),
        status=str(raw["status"]),
        submitted_at=parse_utc(raw["submitted_at"]),
    )


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise TypeError("not a list")
    return raw
