"""HTTP as faults leave it: errors, resets, half answers, silence; and the limit on requests a minute."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tradekit.live.exchange.kinds import HTTP, TRADING
from tradekit.live.exchange.orders import RATE_LIMITED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tradekit.live.exchange.exchange import Exchange
    from tradekit.live.exchange.faults import Struck

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Kind = Callable[[web.Request], str | None]

MINUTE = 60.0
LOOK_SECONDS = 0.05
REDIRECT_TO = "https://example.com/"
BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"
ERRORS = {
    "500": (500, 50010000, "internal server error occurred"),
    "503": (503, 50310000, "service unavailable"),
    "504": (504, 50410000, "upstream request timeout"),
}


def sabotage(exchange: Exchange, kind_of: Kind) -> Any:
    """Return the middleware that lets faults strike the requests whose kind ``kind_of`` names; None is never struck."""

    @web.middleware
    async def strike(request: web.Request, handler: Handler) -> web.StreamResponse:
        kind = kind_of(request)
        if kind is None or not any(fault.group == HTTP for fault in exchange.faults.listed):
            return await handler(request)
        struck = exchange.faults.strike(HTTP, kind, await _symbols(request, exchange))
        return await (_suffer(struck, request, handler) if struck else handler(request))

    return strike


async def _suffer(struck: Struck, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer as the fault says, after the request was carried out where it says that too."""
    kind, settings = struck.kind, struck.settings
    if kind == "slow":
        await asyncio.sleep(settings["seconds"])
        return await handler(request)
    done = await handler(request) if settings.get("accepted") or kind in ("truncated", "empty") else None
    if kind == "429":
        return too_many(200, time.time() + settings["seconds"])
    if kind in ERRORS:
        status, code, message = ERRORS[kind]
        return web.json_response({"code": code, "message": message}, status=status)
    if kind == "502":
        return web.Response(text=BAD_GATEWAY, status=502, content_type="text/html")
    if kind == "redirect":
        return web.Response(status=302, headers={"Location": REDIRECT_TO})
    if kind == "empty":
        return web.Response(status=200)
    if kind == "truncated" and isinstance(done, web.Response):
        return await _half(request, done)
    if kind == "hang":
        await _keep_silent(request, settings["seconds"])
    return reset(request)


async def _half(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Announce the whole answer, send half of it, and reset the connection."""
    body = whole.body if isinstance(whole.body, bytes) and whole.body else b"{}"
    part = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
    part.content_length = len(body)
    await part.prepare(request)
    await part.write(body[: len(body) // 2])
    await asyncio.sleep(LOOK_SECONDS)  # a reset would overtake what is not read yet
    return reset(request, part)


async def _keep_silent(request: web.Request, seconds: float) -> None:
    """Wait, or stop early when the client has gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(LOOK_SECONDS)


def reset(request: web.Request, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Reset the connection, so that the client sees an error and not an end."""
    transport = request.transport
    if transport is not None:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return answer or web.Response(status=500)


async def _symbols(request: web.Request, exchange: Exchange) -> list[str]:
    """Return the symbols a request is about, as far as it says."""
    named = [*request.query.get("symbols", "").split(","), request.match_info.get("key", "")]
    orders = exchange.venue.orders
    if request.match_info.get("id") in orders:
        named.append(orders[request.match_info["id"]].ask.symbol)
    if request.method == "POST" and request.can_read_body:
        try:
            named.append(str((await request.json()).get("symbol")))
        except (ValueError, AttributeError):
            return named
    return named


class RateLimit:
    """Counts the requests of every minute by the wall clock, as Alpaca does by account.

    Args:
        most: requests in a minute; None: any number.
        now: seconds since 1970.
    """

    def __init__(self, most: int | None, now: Callable[[], float] = time.time) -> None:
        self._most, self._now = most, now
        self._window, self._count = -1.0, 0

    def middleware(self, kind_of: Kind) -> Any:
        """Return the middleware that counts trading requests and refuses those that are too many."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._most is None or kind_of(request) not in TRADING:
                return await handler(request)
            left, reset_at = self.take()
            if left < 0:
                return too_many(self._most, reset_at)
            answer = await handler(request)
            answer.headers.update(limit_headers(self._most, left, reset_at))
            return answer

        return count

    def take(self) -> tuple[int, float]:
        """Count one request; return how many are left of this minute (-1: this one is too many), and when it ends."""
        window = self._now() // MINUTE
        if window != self._window:
            self._window, self._count = window, 0
        self._count += 1
        assert self._most is not None
        return max(self._most - self._count, -1), (window + 1) * MINUTE


def limit_headers(most: int, left: int, reset_at: float) -> dict[str, str]:
    """Return the headers that tell a client how much it may still ask."""
    return {
        "X-RateLimit-Limit": str(most),
        "X-RateLimit-Remaining": str(max(left, 0)),
        "X-RateLimit-Reset": str(int(-(-reset_at // 1))),
    }


def too_many(most: int, reset_at: float) -> web.Response:
    """Return the refusal of one request too many."""
    body = json.dumps({"code": RATE_LIMITED, "message": "too many requests"})
    return web.Response(
        text=body, status=429, content_type="application/json", headers=limit_headers(most, 0, reset_at)
    )
