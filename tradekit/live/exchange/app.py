"""The exchange as an aiohttp application: Alpaca's trading and data REST, and the control of the replay."""

from __future__ import annotations

import hashlib
import hmac
import json
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tradekit.live.exchange import wire
from tradekit.live.exchange.bars import BarPages
from tradekit.live.exchange.orders import (
    BAD_BODY,
    BAD_REQUEST,
    NOT_FOUND,
    UNAUTHORIZED,
    UNPROCESSABLE,
    Order,
    Refusal,
)
from tradekit.live.exchange.store import Store
from tradekit.live.exchange.venue import Settings, Venue
from tradekit.live.times import parse_utc, utc_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MOST_ORDERS, DEFAULT_ORDERS, MOST_ACTIVITIES = 500, 50, 100
FIRST_SESSION, LAST_SESSION = "1970-01-01", "2029-12-31"


class Exchange:
    """One replay: the venue, its bars, and the log it is restored from.

    Args:
        panel: the bars to replay.
        settings: cash, costs, sleeves, where the replay starts.
        benchmark: (T,) closes of the panel's benchmark; None derives an index from its returns.
        store: file that keeps what happened; an exchange opened on it again is where it was.
    """

    def __init__(
        self, panel: Panel, settings: Settings, benchmark: Floats | None = None, store: Path | None = None
    ) -> None:
        self.venue = Venue(panel, settings, benchmark)
        self.bars = BarPages(self.venue)
        self._store: Store | None = None
        if store is not None:
            fingerprint = hashlib.sha256(f"{panel.content_hash} {settings!r}".encode()).hexdigest()
            self._store = Store(store, fingerprint)
            for kind, body in self._store.changes():
                self._apply(kind, body)

    def submit(self, body: Mapping[str, Any]) -> Order:
        """Accept an order, or raise Refusal."""
        order = self.venue.submit(body)
        self._record("submit", {**body, "client_order_id": order.ask.client_order_id})
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an open order, or raise Refusal."""
        self.venue.cancel(order_id)
        self._record("cancel", order_id)

    def advance(self, to: int | None = None) -> None:
        """Move to the next bar, or to bar ``to``; staying where market time stands already is no error."""
        target = self.venue.bar + 1 if to is None else to
        if target < self.venue.bar:
            raise Refusal(422, UNPROCESSABLE, f"market time stands at bar {self.venue.bar} and never goes back")
        while self.venue.bar < target:
            self.venue.advance()
            self._record("advance", None)

    def close(self) -> None:
        """Release the log."""
        if self._store is not None:
            self._store.close()

    def _apply(self, kind: str, body: Any) -> None:
        if kind == "submit":
            self.venue.submit(body)
        elif kind == "cancel":
            self.venue.cancel(body)
        else:
            self.venue.advance()

    def _record(self, kind: str, body: Any) -> None:
        if self._store is not None:
            self._store.record(kind, body)

    def state(self) -> dict[str, Any]:
        """Return where the replay stands and what it replays."""
        venue, panel = self.venue, self.venue.panel
        return {
            "bar": venue.bar,
            "first": venue.settings.start,
            "last": len(panel) - 1,
            "timestamp": utc_text(panel.timestamps[venue.bar]),
            "close_time": utc_text(venue.now),
            "symbols": list(panel.symbols),
            "columns": sorted(panel.columns),
            "frequency": panel.frequency,
            "benchmark": panel.benchmark_name,
            "bars_per_year": venue.settings.bars_per_year or panel.bars_per_year,
            "source": panel.source,
            "fill_at": venue.fills_at,
            "sleeves": venue.settings.sleeves,
            "cash": venue.settings.cash,
        }


def application(exchange: Exchange) -> web.Application:
    """Return the routes over ``exchange``."""
    app = web.Application(middlewares=[answer_refusals, key_check(exchange.venue.settings)])
    routes = _Routes(exchange)
    app.router.add_routes(
        [
            web.get("/v2/account", routes.account),
            web.get("/v2/account/activities", routes.activities),
            web.get("/v2/account/activities/FILL", routes.activities),
            web.get("/v2/clock", routes.clock),
            web.get("/v2/calendar", routes.calendar),
            web.get("/v2/assets", routes.assets),
            web.get("/v2/assets/{key}", routes.asset),
            web.get("/v2/positions", routes.positions),
            web.get("/v2/positions/{key}", routes.position),
            web.post("/v2/orders", routes.submit),
            web.get("/v2/orders", routes.orders),
            web.delete("/v2/orders", routes.cancel_all),
            web.get("/v2/orders:by_client_order_id", routes.order_of_client),
            web.get("/v2/orders/{id}", routes.order),
            web.delete("/v2/orders/{id}", routes.cancel),
            web.get("/v2/stocks/bars", routes.bars),
            web.get("/exchange", routes.state),
            web.get("/exchange/ledger", routes.ledger),
            web.post("/exchange/advance", routes.advance),
        ]
    )
    return app


@web.middleware
async def answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals and unknown paths as Alpaca does: a status, a code and a message."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body, status=refusal.status)
    except web.HTTPNotFound:
        return web.json_response({"code": NOT_FOUND, "message": "endpoint not found."}, status=404)
    except web.HTTPMethodNotAllowed:
        return web.json_response({"code": NOT_FOUND, "message": "method not allowed."}, status=405)


def key_check(settings: Settings) -> Any:
    """Return the middleware that demands the keys of ``settings``."""
    expected = f"{settings.key_id}:{settings.secret_key}".encode()

    @web.middleware
    async def demand_keys(request: web.Request, handler: Handler) -> web.StreamResponse:
        key, secret = request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
        if not hmac.compare_digest(f"{key}:{secret}".encode(), expected):
            raise Refusal(401, UNAUTHORIZED, "request is not authorized")
        return await handler(request)

    return demand_keys


class _Routes:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._venue = exchange, exchange.venue

    async def account(self, request: web.Request) -> web.Response:
        return web.json_response(wire.account(self._venue))

    async def clock(self, request: web.Request) -> web.Response:
        return web.json_response(wire.clock(self._venue))

    async def calendar(self, request: web.Request) -> web.Response:
        start, end = request.query.get("start", FIRST_SESSION)[:10], request.query.get("end", LAST_SESSION)[:10]
        for day in (start, end):
            _time(day)
        return web.json_response(wire.sessions(start, end))

    async def assets(self, request: web.Request) -> web.Response:
        wanted = (request.query.get("status", "active"), request.query.get("asset_class", "us_equity"))
        return web.json_response(wire.assets(self._venue) if wanted == ("active", "us_equity") else [])

    async def asset(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        for item in wire.assets(self._venue):
            if key in (item["symbol"], item["id"]):
                return web.json_response(item)
        raise Refusal(404, NOT_FOUND, f"asset not found for {key}")

    async def positions(self, request: web.Request) -> web.Response:
        return web.json_response(wire.positions(self._venue))

    async def position(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        for item in wire.positions(self._venue):
            if key in (item["symbol"], item["asset_id"]):
                return web.json_response(item)
        raise Refusal(404, NOT_FOUND, "position does not exist")

    async def submit(self, request: web.Request) -> web.Response:
        return web.json_response(wire.order(self._exchange.submit(await _body(request))))

    async def order(self, request: web.Request) -> web.Response:
        return web.json_response(wire.order(self._venue.find(request.match_info["id"])))

    async def order_of_client(self, request: web.Request) -> web.Response:
        return web.json_response(wire.order(self._venue.find_client(request.query.get("client_order_id", ""))))

    async def cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def cancel_all(self, request: web.Request) -> web.Response:
        still_open = [order for order in self._venue.orders.values() if order.is_open]
        for order in still_open:
            self._exchange.cancel(order.id)
        answers = [{"id": order.id, "status": 200, "body": wire.order(order)} for order in still_open]
        return web.json_response(answers, status=207)

    async def orders(self, request: web.Request) -> web.Response:
        query = request.query
        limit = _limit(query.get("limit"), DEFAULT_ORDERS, MOST_ORDERS)
        chosen = list(_orders(self._venue.orders.values(), query))
        if query.get("direction", "desc") == "desc":
            chosen.reverse()
        return web.json_response([wire.order(order) for order in chosen[:limit]])

    async def activities(self, request: web.Request) -> web.Response:
        query, orders = request.query, self._venue.orders
        fills = [wire.activity(fill, orders[fill.order_id].ask.quantity) for fill in self._venue.executions]
        after, until, day = _time(query.get("after")), _time(query.get("until")), query.get("date", "")
        fills = [
            fill
            for fill in fills
            if (after is None or parse_utc(fill["transaction_time"]) > after)
            and (until is None or parse_utc(fill["transaction_time"]) < until)
            and fill["transaction_time"].startswith(day)
        ]
        if query.get("direction", "desc") == "desc":
            fills.reverse()
        token, size = query.get("page_token"), _limit(query.get("page_size"), MOST_ACTIVITIES, MOST_ACTIVITIES)
        seen = [fill["id"] for fill in fills]
        first = seen.index(token) + 1 if token in seen else 0
        return web.json_response(fills[first : first + size])

    async def bars(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.bars.page(request.query))

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.state())

    async def ledger(self, request: web.Request) -> web.Response:
        orders = [wire.order(order) for order in self._venue.orders.values()]
        fills = [wire.execution(fill) for fill in self._venue.executions]
        return web.json_response({"orders": orders, "fills": fills, "account": wire.account(self._venue)})

    async def advance(self, request: web.Request) -> web.Response:
        to = (await _body(request)).get("to") if request.can_read_body else None
        if to is not None and (isinstance(to, bool) or not isinstance(to, int)):
            raise Refusal(422, BAD_REQUEST, "to must be a bar number")
        self._exchange.advance(to)
        return web.json_response(self._exchange.state())


def _orders(orders: Iterable[Order], query: Mapping[str, str]) -> Iterable[Order]:
    status, after, until = query.get("status", "open"), _time(query.get("after")), _time(query.get("until"))
    if status not in ("open", "closed", "all"):
        raise Refusal(422, BAD_REQUEST, f"invalid status {status!r}; use open, closed or all")
    symbols = {name for name in query.get("symbols", "").split(",") if name}
    for order in orders:
        if (
            status in ("all", "open" if order.is_open else "closed")
            and (after is None or order.submitted_at > after)
            and (until is None or order.submitted_at < until)
            and (not symbols or order.ask.symbol in symbols)
            and query.get("side", order.ask.side) == order.ask.side
        ):
            yield order


def _time(text: str | None) -> Any:
    if not text:
        return None
    try:
        return parse_utc(text)
    except ValueError as error:
        raise Refusal(422, BAD_REQUEST, f"invalid time {text!r}; write RFC 3339 or YYYY-MM-DD") from error


def _limit(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise Refusal(422, BAD_REQUEST, f"limit must be between 1 and {most}")
    return int(text)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json(loads=partial(json.loads, parse_float=Decimal))
    except ValueError as error:
        raise Refusal(400, BAD_BODY, "request body format is invalid") from error
    if not isinstance(body, dict):
        raise Refusal(400, BAD_BODY, "request body format is invalid")
    return body
