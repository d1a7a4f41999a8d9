"""Who listens to the two streams, trade updates and market data, and what faults do to the messages on their way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.live.exchange.kinds import ACK, STREAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiohttp import web

    from tradekit.live.exchange.faults import Faults

    Encode = Callable[[list[dict[str, Any]]], list[bytes | str]]

Json = dict[str, Any]

ACKS, FILLS = ("accepted", "new"), ("fill", "partial_fill")


class Message(NamedTuple):
    """One message: the symbol it is about, its body, its channel or event, and the order of an update."""

    symbol: str
    body: Json
    event: str
    order_id: str = ""


class Hub:
    """Everybody who listens. Messages may come from any thread; they are sent in the server's."""

    def __init__(self, faults: Callable[[], Faults]) -> None:
        self._faults = faults
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[str, list[Connection]] = defaultdict(list)

    def is_heard(self, stream: str) -> bool:
        """Whether anybody listens to a stream."""
        return bool(self._listeners[stream])

    def trade_update(self, message: Message) -> None:
        """Tell everybody who listens to trade updates."""
        self._tell("trade_updates", [message])

    def market(self, messages: Sequence[Message]) -> None:
        """Tell everybody who subscribed to what the messages are about."""
        if messages:
            self._tell("market_data", messages)

    def _tell(self, stream: str, messages: Sequence[Message]) -> None:
        loop = self._loop
        if loop is not None:
            for connection in list(self._listeners[stream]):
                loop.call_soon_threadsafe(connection.offer, messages)

    @contextlib.asynccontextmanager
    async def joined(self, stream: str, socket: web.WebSocketResponse, encode: Encode) -> AsyncIterator[Connection]:
        """Let a connection listen while the context lasts; it hears only what it asks for."""
        self._loop = asyncio.get_running_loop()
        connection = Connection(stream, socket, encode, self._faults)
        self._listeners[stream].append(connection)
        pump = asyncio.create_task(connection.pump())
        try:
            yield connection
        finally:
            self._listeners[stream].remove(connection)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    @property
    def subscribed(self) -> bool:
        """Whether somebody is pushed bars."""
        return any(connection.wants("bars") for connection in self._listeners["market_data"])

    async def close(self) -> None:
        """Close every connection."""
        for connection in [one for listeners in self._listeners.values() for one in listeners]:
            await connection.socket.close(code=1001)


class Connection:
    """One listener: what it asked for, and the frames on their way to it."""

    def __init__(
        self, stream: str, socket: web.WebSocketResponse, encode: Encode, faults: Callable[[], Faults]
    ) -> None:
        self.stream, self.socket = stream, socket
        self.channels: dict[str, set[str]] = defaultdict(set)
        self._encode, self._faults = encode, faults
        self._frames: asyncio.Queue[list[Message] | None] = asyncio.Queue()
        self._is_mute = False
        self._overtaken: list[Message] = []
        self._acks: dict[str, list[Message]] = {}

    def wants(self, channel: str, symbol: str | None = None) -> bool:
        """Whether it asked for a channel, or for a symbol on it."""
        names = self.channels[channel]
        return bool(names) if symbol is None else bool(names & {symbol, "*"})

    def offer(self, messages: Sequence[Message]) -> None:
        """Send what of the messages it asked for and faults leave of it."""
        wanted = [one for one in messages if self.stream == "trade_updates" or self.wants(one.event, one.symbol)]
        ready: list[Message] = []
        for message in wanted:
            if self._is_mute or not self.channels:
                break
            if self._waits_for_fill(message):
                continue
            struck = self._faults().strike(STREAM, self.stream, [message.symbol])
            kind = struck.kind if struck else ""
            if kind == "close":
                self._send(ready)
                self._frames.put_nowait(None)
                return
            self._is_mute = kind == "mute"
            if kind == "delay" and struck:
                asyncio.get_running_loop().call_later(struck.settings["seconds"], self._send, [message])
            elif kind == "reorder":
                self._overtaken.append(message)
            elif kind not in ("drop", "mute"):
                ready += [message, message] if kind == "duplicate" else [message]
                ready += self._overtaken
                self._overtaken.clear()
            if message.event in FILLS:
                ready += self._acks.pop(message.order_id, [])
        self._send(ready)

    def _waits_for_fill(self, message: Message) -> bool:
        """Keep an order's acknowledgement until its fill has been sent, where a fault says so."""
        if message.event not in ACKS or not message.order_id:
            return False
        if message.order_id not in self._acks:
            if not self._faults().strike(ACK, self.stream, [message.symbol]):
                return False
            self._acks[message.order_id] = []
        self._acks[message.order_id].append(message)
        return True

    def _send(self, messages: list[Message]) -> None:
        if messages:
            self._frames.put_nowait(messages)

    async def pump(self) -> None:
        """Write the frames until the connection closes; None closes it."""
        while not self.socket.closed:
            messages = await self._frames.get()
            if messages is None:
                await self.socket.close(code=1011)
                return
            for frame in self._encode([message.body for message in messages]):
                with contextlib.suppress(ConnectionError):  # the client has gone; it asks over REST when it is back
                    if isinstance(frame, str):
                        await self.socket.send_str(frame)
                    else:
                        await self.socket.send_bytes(frame)
