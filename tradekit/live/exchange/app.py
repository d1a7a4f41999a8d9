"""The exchange as an aiohttp application: every route, who may use it, and what stands between it and the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tradekit.errors import ConfigError
from tradekit.live.exchange import sockets, wire
from tradekit.live.exchange.exchange import Exchange
from tradekit.live.exchange.faults import Faults
from tradekit.live.exchange.kinds import DATA, REQUESTS, WORLD
from tradekit.live.exchange.orders import BAD_REQUEST, NOT_FOUND, UNAUTHORIZED, Refusal
from tradekit.live.exchange.pace import Activity, Pace
from tradekit.live.exchange.sabotage import RateLimit, sabotage
from tradekit.live.exchange.trading import Trading, read_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["Exchange", "application"]

CONTROL, SOCKET = "control", "socket"


def application(exchange: Exchange, pace: Pace | None = None) -> web.Application:
    """Return the routes over ``exchange``, whose market time passes as ``pace`` says."""
    activity, limit = Activity(), RateLimit(exchange.venue.settings.requests_per_minute)
    table = _table(exchange, pace or Pace())
    kinds = {(method, path): kind for method, path, kind, _ in table}

    def kind_of(request: web.Request) -> str | None:
        resource = request.match_info.route.resource
        kind = None if resource is None else kinds.get((request.method, resource.canonical))
        return kind if kind in REQUESTS else None

    app = web.Application(
        middlewares=[
            _watch(exchange, activity, kind_of),
            sabotage(exchange, kind_of),
            limit.middleware(kind_of),
            _answer_refusals,
            _demand_keys(exchange, kinds),
        ]
    )
    app.router.add_routes([web.route(method, path, handler) for method, path, _, handler in table])

    async def passing_time(app: web.Application) -> AsyncIterator[None]:
        passing = asyncio.create_task((pace or Pace()).run(exchange, activity))
        passing.add_done_callback(_say_what_failed)
        yield
        passing.cancel()
        await asyncio.wait([passing])

    async def hang_up(app: web.Application) -> None:
        await exchange.hub.close()

    app.cleanup_ctx.append(passing_time)
    app.on_shutdown.append(hang_up)
    return app


def _say_what_failed(task: asyncio.Task[None]) -> None:
    """Report at once what has stopped market time, and not when the exchange ends."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        asyncio.get_running_loop().call_exception_handler({"message": "market time has stopped", "exception": error})


def _table(exchange: Exchange, pace: Pace) -> list[tuple[str, str, str, Handler]]:
    """Return every route: method, path, the kind of request it is, and what answers it."""
    trading, data, control = Trading(exchange), _Data(exchange), _Control(exchange, pace)
    streams = _Streams(exchange)
    return [
        ("GET", "/v2/account", "account", trading.account),
        ("GET", "/v2/account/configurations", "configurations", trading.configurations),
        ("PATCH", "/v2/account/configurations", "configurations", trading.configure),
        ("GET", "/v2/account/activities", "activities", trading.activities),
        ("GET", "/v2/account/activities/{type}", "activities", trading.activities),
        ("GET", "/v2/account/portfolio/history", "history", trading.history),
        ("GET", "/v2/clock", "clock", trading.clock),
        ("GET", "/v2/calendar", "calendar", trading.calendar),
        ("GET", "/v2/assets", "assets", trading.assets),
        ("GET", "/v2/assets/{key}", "assets", trading.asset),
        ("GET", "/v2/positions", "positions", trading.positions),
        ("DELETE", "/v2/positions", "close", trading.close_all),
        ("GET", "/v2/positions/{key}", "positions", trading.position),
        ("DELETE", "/v2/positions/{key}", "close", trading.close),
        ("POST", "/v2/orders", "submit", trading.submit),
        ("GET", "/v2/orders", "orders", trading.orders),
        ("DELETE", "/v2/orders", "cancel", trading.cancel_all),
        ("GET", "/v2/orders:by_client_order_id", "order", trading.order_of_client),
        ("GET", "/v2/orders/{id}", "order", trading.order),
        ("PATCH", "/v2/orders/{id}", "replace", trading.replace),
        ("DELETE", "/v2/orders/{id}", "cancel", trading.cancel),
        *(("GET", f"/v2/stocks/{what}", what, data.pages(what)) for what in ("bars", "quotes", "trades")),
        *(("GET", f"/v2/stocks/{what}/latest", what, data.latest(what)) for what in ("bars", "quotes", "trades")),
        ("GET", "/v2/stocks/snapshots", "snapshots", data.snapshots),
        ("GET", "/stream", SOCKET, streams.trade_updates),
        *(("GET", f"/v2/{feed}", SOCKET, streams.market_data) for feed in ("iex", "sip")),
        ("GET", "/exchange", CONTROL, control.state),
        ("GET", "/exchange/ledger", CONTROL, control.ledger),
        ("POST", "/exchange/advance", CONTROL, control.advance),
        ("GET", "/exchange/faults", CONTROL, control.faults),
        ("POST", "/exchange/faults", CONTROL, control.set_faults),
    ]


@web.middleware
async def _answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer refusals and unknown paths as Alpaca does: a status, a code and a message."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return web.json_response(refusal.body, status=refusal.status)
    except web.HTTPNotFound:
        return web.json_response({"code": NOT_FOUND, "message": "endpoint not found."}, status=404)
    except web.HTTPMethodNotAllowed:
        return web.json_response({"code": NOT_FOUND, "message": "method not allowed."}, status=405)


def _demand_keys(exchange: Exchange, kinds: Mapping[tuple[str, str], str]) -> Any:
    """Return the middleware that demands the keys; the streams ask for them in their own way."""

    @web.middleware
    async def demand_keys(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if resource is None or kinds.get((request.method, resource.canonical)) != SOCKET:
            key, secret = request.headers.get("APCA-API-KEY-ID", ""), request.headers.get("APCA-API-SECRET-KEY", "")
            if not sockets.may_enter(exchange.venue.settings, key, secret):
                raise Refusal(401, UNAUTHORIZED, "request is not authorized")
        return await handler(request)

    return demand_keys


def _watch(exchange: Exchange, activity: Activity, kind_of: Callable[[web.Request], str | None]) -> Any:
    """Return the middleware that notes what clients are doing, for a pace that waits for them."""

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        kind = kind_of(request)
        if kind is None:
            return await handler(request)
        activity.under_way += 1
        try:
            return await handler(request)
        finally:
            activity.under_way -= 1
            activity.last = asyncio.get_running_loop().time()
            if kind in DATA:
                activity.bar_read = exchange.venue.bar

    return watch


class _Data:
    """The handlers of market data."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def pages(self, what: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            page = self._exchange.bars.page(request.query, what)
            self._exchange.answered(request.query)
            return web.json_response(page)

        return answer

    def latest(self, what: str) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            newest = self._exchange.bars.latest(request.query, what)
            self._exchange.answered(request.query)
            return web.json_response(newest)

        return answer

    async def snapshots(self, request: web.Request) -> web.Response:
        return web.json_response(self._exchange.bars.snapshots(request.query))


class _Streams:
    """The handlers of the streams."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def trade_updates(self, request: web.Request) -> web.WebSocketResponse:
        return await sockets.trade_updates(request, self._exchange)

    async def market_data(self, request: web.Request) -> web.WebSocketResponse:
        return await sockets.market_data(request, self._exchange)


class _Control:
    """The handlers of the replay itself: no faults strike here."""

    def __init__(self, exchange: Exchange, pace: Pace) -> None:
        self._exchange, self._pace = exchange, pace

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response(self._state())

    def _state(self) -> dict[str, Any]:
        return {**self._exchange.state(), "speed": self._pace.speed, "auto": self._pace.auto}

    async def ledger(self, request: web.Request) -> web.Response:
        venue = self._exchange.venue
        return web.json_response(
            {
                "orders": [wire.order(order) for order in venue.orders.values()],
                "fills": [wire.execution(fill) for fill in venue.executions],
                "positions": wire.positions(venue),
                "account": wire.account(venue),
            }
        )

    async def advance(self, request: web.Request) -> web.Response:
        to = (await read_body(request)).get("to") if request.can_read_body else None
        if to is not None and (isinstance(to, bool) or not isinstance(to, int)):
            raise Refusal(422, BAD_REQUEST, "to must be a bar number")
        self._exchange.advance(to)
        return web.json_response(self._state())

    async def faults(self, request: web.Request) -> web.Response:
        found = self._exchange.faults
        return web.json_response({"seed": found.seed, "fault": found.describe()})

    async def set_faults(self, request: web.Request) -> web.Response:
        """Put other faults in the place of those that strike; those of the market itself are there from the start."""
        try:
            faults = Faults.from_dict(await request.json())
        except (ValueError, AttributeError) as error:
            raise Refusal(422, BAD_REQUEST, "faults must be a JSON object with seed and fault") from error
        except ConfigError as error:
            raise Refusal(422, BAD_REQUEST, str(error)) from error
        if any(fault.group == WORLD for fault in faults.listed):
            raise Refusal(422, BAD_REQUEST, "faults of the market itself are given when the exchange is opened")
        self._exchange.faults = faults
        return await self.faults(request)
