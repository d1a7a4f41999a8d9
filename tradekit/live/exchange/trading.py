"""The trading endpoints: parameters in, the exchange asked, Alpaca's JSON out."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web

from tradekit.live.exchange import bells, wire
from tradekit.live.exchange.kinds import CLOCK
from tradekit.live.exchange.orders import BAD_BODY, BAD_REQUEST, NOT_FOUND, Order, Refusal, positive
from tradekit.live.times import parse_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tradekit.live.exchange.exchange import Exchange

Json = dict[str, Any]

MOST_ORDERS, DEFAULT_ORDERS, MOST_ACTIVITIES = 500, 50, 100
FIRST_SESSION, LAST_SESSION = "1970-01-01", "2029-12-31"
PERIODS = {"D": "D", "W": "W", "M": "M", "A": "Y"}


class Trading:
    """The handlers of /v2 that concern the account, its orders and its positions."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._venue = exchange, exchange.venue

    # ------------------------------------------------------------------------------------------- account and market

    async def account(self, request: web.Request) -> web.Response:
        """Answer GET /v2/account."""
        return web.json_response(wire.account(self._venue))

    async def configurations(self, request: web.Request) -> web.Response:
        """Answer GET /v2/account/configurations."""
        return web.json_response(wire.configuration(self._venue))

    async def configure(self, request: web.Request) -> web.Response:
        """Set what can be set, whether trading is suspended; the rest is the market model's and has to be as it is."""
        asked, has = await read_body(request), wire.configuration(self._venue)
        for key, value in asked.items():
            if key not in has:
                raise Refusal(422, BAD_REQUEST, f"unknown configuration {key}")
            if key != "suspend_trade" and value is not None and str(value) != str(has[key]):
                raise Refusal(422, BAD_REQUEST, f"{key} cannot be changed here: the market model sets it")
        if "suspend_trade" in asked:
            self._exchange.suspend(bool(asked["suspend_trade"]))
        return web.json_response(wire.configuration(self._venue))

    async def clock(self, request: web.Request) -> web.Response:
        """Answer GET /v2/clock."""
        struck = self._exchange.faults.strike(CLOCK, "clock")
        return web.json_response(bells.clock(self._venue, struck.settings["seconds"] if struck else 0.0))

    async def calendar(self, request: web.Request) -> web.Response:
        """Answer GET /v2/calendar."""
        start, end = request.query.get("start", FIRST_SESSION)[:10], request.query.get("end", LAST_SESSION)[:10]
        for day in (start, end):
            read_time(day)
        return web.json_response(bells.sessions(self._venue, start, end))

    async def assets(self, request: web.Request) -> web.Response:
        """Answer GET /v2/assets."""
        wanted = (request.query.get("status", "active"), request.query.get("asset_class", "us_equity"))
        return web.json_response(wire.assets(self._venue) if wanted == ("active", "us_equity") else [])

    async def asset(self, request: web.Request) -> web.Response:
        """Answer GET /v2/assets/{symbol or id}."""
        key = request.match_info["key"]
        for item in wire.assets(self._venue):
            if key in (item["symbol"], item["id"]):
                return web.json_response(item)
        raise Refusal(404, NOT_FOUND, f"asset not found for {key}")

    async def history(self, request: web.Request) -> web.Response:
        """Answer GET /v2/account/portfolio/history: equity at the close of bars, or of sessions for 1D."""
        venue, query = self._venue, request.query
        frame = query.get("timeframe") or ("1D" if venue.panel.is_daily else "1H")
        rows = np.arange(venue.settings.start, venue.bar + 1)
        if frame == "1D":
            sessions = venue.panel.sessions[rows]
            rows = rows[np.append(sessions[1:] != sessions[:-1], True)]
        end = read_time(query.get("end") or query.get("date_end"))
        first = read_time(query.get("start"))
        closes = venue.panel.close_time[rows]
        last = venue.now if end is None else end
        if first is None and query.get("period"):
            first = _period_before(last, query["period"])
        keep = (closes <= last) & (closes >= (closes[:1] if first is None else first))
        return web.json_response(wire.portfolio(venue, rows[keep].tolist(), frame))

    async def activities(self, request: web.Request) -> web.Response:
        """Answer GET /v2/account/activities: fills, and splits of positions."""
        query, kind = request.query, request.match_info.get("type")
        kinds = (kind or query.get("activity_types") or query.get("activity_type") or "FILL,SPLIT").split(",")
        found = [item for item in self._activities() if item["activity_type"] in kinds]
        after, until, day = read_time(query.get("after")), read_time(query.get("until")), query.get("date", "")
        found = [item for item in found if _is_between(item, after, until, day)]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        token, size = query.get("page_token"), _limit(query.get("page_size"), MOST_ACTIVITIES, MOST_ACTIVITIES)
        seen = [item["id"] for item in found]
        first = seen.index(token) + 1 if token in seen else 0
        return web.json_response(found[first : first + size])

    def _activities(self) -> list[Json]:
        venue = self._venue
        fills = [wire.activity(fill, venue.orders[fill.order_id].ask.quantity) for fill in venue.executions]
        splits = [wire.split_activity(venue, split, before) for split, before in venue.splits]
        return sorted(fills + splits, key=_when) if splits else fills

    # ---------------------------------------------------------------------------------------------------- positions

    async def positions(self, request: web.Request) -> web.Response:
        """Answer GET /v2/positions."""
        return web.json_response(wire.positions(self._venue))

    async def position(self, request: web.Request) -> web.Response:
        """Answer GET /v2/positions/{symbol or id}."""
        return web.json_response(self._position(request.match_info["key"]))

    async def close(self, request: web.Request) -> web.Response:
        """Sell or buy back a position, or the part of it that ``qty`` or ``percentage`` says."""
        held = self._position(request.match_info["key"])
        quantity = held["qty"].lstrip("-")
        if request.query.get("qty"):
            quantity = request.query["qty"]
        elif request.query.get("percentage"):
            part = positive("percentage", request.query["percentage"]) / 100
            quantity = format((Decimal(quantity) * part).quantize(Decimal("1e-9")), "f")
        return web.json_response(wire.order(self._exchange.submit(_closing(held, quantity))))

    async def close_all(self, request: web.Request) -> web.Response:
        """Answer DELETE /v2/positions."""
        if request.query.get("cancel_orders", "").lower() == "true":
            self._cancel_open()
        answers = []
        for held in wire.positions(self._venue):
            status, body, identity = 200, {}, None
            try:
                order = self._exchange.submit(_closing(held, held["qty"].lstrip("-")))
                body, identity = wire.order(order), order.id
            except Refusal as refusal:
                status, body = refusal.status, refusal.body
            answers.append({"symbol": held["symbol"], "status": status, "order_id": identity, "body": body})
        return web.json_response(answers, status=207)

    def _position(self, key: str) -> Json:
        for item in wire.positions(self._venue):
            if key in (item["symbol"], item["asset_id"]):
                return item
        raise Refusal(404, NOT_FOUND, "position does not exist")

    # ------------------------------------------------------------------------------------------------------- orders

    async def submit(self, request: web.Request) -> web.Response:
        """Answer POST /v2/orders."""
        return web.json_response(wire.order(self._exchange.submit(await read_body(request))))

    async def replace(self, request: web.Request) -> web.Response:
        """Answer PATCH /v2/orders/{id}."""
        order = self._exchange.replace(request.match_info["id"], await read_body(request))
        return web.json_response(wire.order(order))

    async def order(self, request: web.Request) -> web.Response:
        """Answer GET /v2/orders/{id}."""
        return self._show_one(self._venue.find(request.match_info["id"]))

    async def order_of_client(self, request: web.Request) -> web.Response:
        """Answer GET /v2/orders:by_client_order_id."""
        return self._show_one(self._venue.find_client(request.query.get("client_order_id", "")))

    def _show_one(self, order: Order) -> web.Response:
        answer = web.json_response(wire.order(order, odd=order.odd_reads > 0))
        self._exchange.shown(order)
        return answer

    async def orders(self, request: web.Request) -> web.Response:
        """Answer GET /v2/orders."""
        query = request.query
        limit = _limit(query.get("limit"), DEFAULT_ORDERS, MOST_ORDERS)
        placed = self._venue.orders.values()
        ordered = reversed(placed) if query.get("direction", "desc") == "desc" else placed
        chosen = list(islice(_chosen(ordered, query), limit))
        answer = web.json_response([wire.order(order, odd=order.odd_reads > 0) for order in chosen])
        self._exchange.shown(*chosen)
        return answer

    async def cancel(self, request: web.Request) -> web.Response:
        """Answer DELETE /v2/orders/{id}."""
        self._exchange.cancel(request.match_info["id"])
        return web.Response(status=204)

    async def cancel_all(self, request: web.Request) -> web.Response:
        """Answer DELETE /v2/orders."""
        answers = [{"id": order.id, "status": 200, "body": wire.order(order)} for order in self._cancel_open()]
        return web.json_response(answers, status=207)

    def _cancel_open(self) -> list[Order]:
        asked = [order for order in self._venue.orders.values() if order.is_open and order.status != "pending_cancel"]
        for order in asked:
            self._exchange.cancel(order.id)
        return asked


def _closing(held: Json, quantity: str) -> Json:
    side = "sell" if held["side"] == "long" else "buy"
    return {"symbol": held["symbol"], "qty": quantity, "side": side, "type": "market", "time_in_force": "day"}


def _chosen(orders: Iterable[Order], query: Mapping[str, str]) -> Iterable[Order]:
    status, after, until = query.get("status", "open"), read_time(query.get("after")), read_time(query.get("until"))
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


def _when(item: Json) -> np.datetime64:
    return parse_utc(item.get("transaction_time") or item["date"])


def _is_between(item: Json, after: np.datetime64 | None, until: np.datetime64 | None, day: str) -> bool:
    when = _when(item)
    return bool((after is None or when > after) and (until is None or when < until) and str(when).startswith(day))


def _period_before(end: np.datetime64, period: str) -> np.datetime64:
    """Return the start of a period like 1D, 2W, 3M or 1A that ends at ``end``."""
    amount, unit = period[:-1], PERIODS.get(period[-1:])
    if unit is None or not amount.isdecimal():
        raise Refusal(422, BAD_REQUEST, f"invalid period {period!r}; use 1D, 1W, 1M or 1A")
    if unit in ("D", "W"):
        return end - np.timedelta64(int(amount) * (7 if unit == "W" else 1), "D")
    months = np.timedelta64(int(amount) * (12 if unit == "Y" else 1), "M")
    begins: np.datetime64 = (end.astype("M8[M]") - months).astype("M8[ns]") + (end - end.astype("M8[M]"))
    return begins


def read_time(text: str | None) -> np.datetime64 | None:
    """Return a time of a query, None when there is none; or raise Refusal."""
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


async def read_body(request: web.Request) -> Json:
    """Return the JSON object of a request, numbers as Decimal; or raise Refusal."""
    try:
        body = await request.json(loads=partial(json.loads, parse_float=Decimal))
    except ValueError as error:
        raise Refusal(400, BAD_BODY, "request body format is invalid") from error
    if not isinstance(body, dict):
        raise Refusal(400, BAD_BODY, "request body format is invalid")
    return body
