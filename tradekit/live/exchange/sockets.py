"""The websockets of the two streams: who may listen, and to what, in Alpaca's messages."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

import msgpack
from aiohttp import WSMsgType, web

from tradekit.live.exchange.kinds import CONNECT, SUBSCRIBE
from tradekit.live.times import parse_utc

if TYPE_CHECKING:
    from tradekit.live.exchange.account import Settings
    from tradekit.live.exchange.exchange import Exchange
    from tradekit.live.exchange.streams import Connection, Encode

Json = dict[str, Any]

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors")
AUTH_SECONDS = 10.0
PING_SECONDS = 20.0
MSGPACK = "application/msgpack"
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
}


def may_enter(settings: Settings, key: Any, secret: Any) -> bool:
    """Whether these are the keys of the account."""
    expected = f"{settings.key_id}:{settings.secret_key}".encode()
    return hmac.compare_digest(f"{key}:{secret}".encode(), expected)


# ------------------------------------------------------------------------------------------------------ trade updates


def encode_updates(messages: list[Json]) -> list[bytes | str]:
    """Return each update as JSON in a binary frame of its own."""
    return [json.dumps(message).encode() for message in messages]


async def trade_updates(request: web.Request, exchange: Exchange) -> web.WebSocketResponse:
    """Serve /stream: authenticate, listen, and updates of orders from then on."""
    socket = web.WebSocketResponse(heartbeat=PING_SECONDS)
    await socket.prepare(request)
    entered = False
    async with exchange.hub.joined("trade_updates", socket, encode_updates) as connection:
        async for frame in socket:
            asked = _read(frame, packed=False)
            action = asked.get("action")
            if action in ("authenticate", "auth"):
                entered = _enters(exchange, asked)
                answer: Json = {"status": "authorized" if entered else "unauthorized", "action": action}
                await socket.send_bytes(_updates("authorization", answer))
            elif action == "listen" and entered:
                wanted = (asked.get("data") or {}).get("streams") or []
                connection.channels.clear()
                if "trade_updates" in wanted:
                    connection.channels["trade_updates"] = {"*"}
                await socket.send_bytes(_updates("listening", {"streams": sorted(connection.channels)}))
            else:
                await socket.send_bytes(_updates("authorization", {"status": "unauthorized", "action": action}))
    return socket


def _enters(exchange: Exchange, asked: Json) -> bool:
    data = asked.get("data") or {}
    key, secret = data.get("key_id", asked.get("key")), data.get("secret_key", asked.get("secret"))
    refused = exchange.faults.strike(CONNECT, "trade_updates")
    return refused is None and may_enter(exchange.venue.settings, key, secret)


def _updates(stream: str, data: Json) -> bytes:
    return json.dumps({"stream": stream, "data": data}).encode()


# -------------------------------------------------------------------------------------------------------- market data


def pack(messages: list[Json]) -> list[bytes | str]:
    """Return messages as one msgpack frame, times as its own kind of timestamp."""
    return [msgpack.packb([_stamped(message) for message in messages], datetime=False)]


def as_text(messages: list[Json]) -> list[bytes | str]:
    """Return messages as one JSON frame."""
    return [json.dumps(messages)]


async def market_data(request: web.Request, exchange: Exchange) -> web.WebSocketResponse:
    """Serve /v2/{feed}: auth within ten seconds, then subscriptions; msgpack to whoever asks for it, else JSON."""
    socket = web.WebSocketResponse(heartbeat=PING_SECONDS)
    await socket.prepare(request)
    packed = request.headers.get("Content-Type") == MSGPACK
    encode = pack if packed else as_text
    await _send(socket, encode, {"T": "success", "msg": "connected"})
    if not await _admitted(socket, exchange, encode, packed):
        return socket
    async with exchange.hub.joined("market_data", socket, encode) as connection:
        async for frame in socket:
            await _send(socket, encode, _subscription(exchange, connection, _read(frame, packed)))
    return socket


async def _admitted(socket: web.WebSocketResponse, exchange: Exchange, encode: Encode, packed: bool) -> bool:
    """Wait for the keys and answer; Alpaca closes the connection of whoever has none."""
    try:
        frame = await socket.receive(AUTH_SECONDS)
    except TimeoutError:
        await _refuse(socket, encode, 404)
        return False
    if frame.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
        return False
    asked = _read(frame, packed)
    struck = exchange.faults.strike(CONNECT, "market_data")
    if struck:
        await _refuse(socket, encode, int(struck.kind))
        return False
    if asked.get("action") != "auth":
        await _refuse(socket, encode, 401)
        return False
    if not may_enter(exchange.venue.settings, asked.get("key"), asked.get("secret")):
        await _refuse(socket, encode, 402)
        return False
    await _send(socket, encode, {"T": "success", "msg": "authenticated"})
    return True


def _subscription(exchange: Exchange, connection: Connection, asked: Json) -> Json:
    """Change what a connection is subscribed to and return the answer."""
    action = asked.get("action")
    if action == "auth":
        return _error(403)
    if action not in ("subscribe", "unsubscribe"):
        return _error(400 if action is None else 410)
    named = {channel: asked.get(channel) or [] for channel in CHANNELS}
    if not all(isinstance(names, list) for names in named.values()):
        return _error(400)
    symbols = {symbol for names in named.values() for symbol in names}
    if action == "subscribe" and exchange.faults.strike(SUBSCRIBE, "market_data", symbols):
        return _error(405)
    for channel, names in named.items():
        if action == "subscribe":
            connection.channels[channel] |= set(names)
        else:
            connection.channels[channel] -= set(names)
    return {"T": "subscription", **{channel: sorted(connection.channels[channel]) for channel in CHANNELS}}


def _error(code: int) -> Json:
    return {"T": "error", "code": code, "msg": ERRORS[code]}


async def _refuse(socket: web.WebSocketResponse, encode: Encode, code: int) -> None:
    await _send(socket, encode, _error(code))
    await socket.close()


async def _send(socket: web.WebSocketResponse, encode: Encode, message: Json) -> None:
    for frame in encode([message]):
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)


def _read(frame: Any, packed: bool) -> Json:
    """Return what a client says; nothing when it cannot be read."""
    try:
        said = msgpack.unpackb(frame.data) if packed and isinstance(frame.data, bytes) else json.loads(frame.data)
    except (ValueError, TypeError, msgpack.UnpackException):
        return {}
    return said if isinstance(said, dict) else {}


def _stamped(message: Json) -> Json:
    """Return a message with its time as msgpack writes times."""
    if "t" not in message:
        return message
    nanoseconds = int(parse_utc(message["t"]).astype("M8[ns]").astype(int))
    return {**message, "t": msgpack.Timestamp.from_unix_nano(nanoseconds)}
