"""Trade updates as hints. A message says that something happened to an order; what it was is asked over REST.

The stream forgets what it sent before a reconnect, repeats itself, mixes up its order, and can stay open and mute. So
no number is taken from it: a hint brings the next look at the account forward, and without one it comes all the same.
Every connection is a hint, since nobody says what happened before it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from alpaca.trading.stream import TradingStream

from tradekit.live.transport import demand_allowed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

PAPER_STREAM = "wss://paper-api.alpaca.markets/stream"
SILENCE_SECONDS = 60.0
"""Without a word for so long, a stream may be mute, and the account is looked at."""
JOIN_SECONDS = 2.0


def stream_url(trading: str) -> str:
    """Return the address of the stream that belongs to a trading address.

    >>> stream_url("http://127.0.0.1:8765"), stream_url("https://paper-api.alpaca.markets")
    ('ws://127.0.0.1:8765/stream', 'wss://paper-api.alpaca.markets/stream')
    """
    return f"{trading.replace('http', 'ws', 1)}/stream"


class _Updates(TradingStream):
    """alpaca-py's stream, which says nothing to anybody when it has connected again."""

    joined: Callable[[], None]

    async def _start_ws(self) -> None:
        await super()._start_ws()  # type: ignore[no-untyped-call]  # alpaca-py leaves it without types
        self.joined()


class Hints:
    """Listens in a thread of its own. Use it as a context manager; ``due`` says when to look at the account.

    Args:
        key_id, secret_key: of the paper account.
        trading: address of the trading REST that the stream belongs to.
        silence_seconds: how long nothing may be heard before ``due`` is true all the same.
    """

    def __init__(self, key_id: str, secret_key: str, trading: str, silence_seconds: float = SILENCE_SECONDS) -> None:
        demand_allowed(trading)
        # What it says of its troubles is meant for developers, and it says it again at every attempt.
        logging.getLogger("alpaca.trading.stream").setLevel(logging.CRITICAL)
        self._stream = _Updates(key_id, secret_key, raw_data=True, url_override=stream_url(trading))
        self._stream.joined = self._join
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._known: set[str] = set()
        self._silence, self._looked = silence_seconds, time.monotonic()
        self.heard = self.connections = 0

    def __enter__(self) -> Self:
        self._stream.subscribe_trade_updates(self._hear)
        self._thread = threading.Thread(target=self._stream.run, name="trade updates", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        deadline = time.monotonic() + JOIN_SECONDS
        while self._thread.is_alive() and time.monotonic() < deadline:
            loop: asyncio.AbstractEventLoop | None = vars(self._stream)["_loop"]
            if loop is not None and loop.is_running():
                asyncio.run_coroutine_threadsafe(self._hang_up(), loop)
            self._thread.join(0.05)

    async def _hang_up(self) -> None:
        """Ask the stream to end, and close its socket: it would otherwise wait seconds for one more message first."""
        await self._stream.stop_ws()
        socket = vars(self._stream)["_ws"]
        if socket is not None:
            await socket.close()

    def _join(self) -> None:
        self.connections += 1
        self._queue.put(f"connection {self.connections}")

    async def _hear(self, message: Any) -> None:
        """Queue what happened and return at once: what a handler raises takes the rest of the batch with it."""
        data = message.get("data", {}) if isinstance(message, dict) else {}
        order = data.get("order", {})
        self._queue.put(f"{data.get('execution_id') or data.get('event')}/{order.get('id')}/{order.get('filled_qty')}")

    def due(self) -> bool:
        """Return whether something new was heard since the last time, or nothing at all for too long."""
        fresh = False
        while not self._queue.empty():
            hint = self._queue.get()
            self.heard += 1
            fresh |= hint not in self._known
            self._known.add(hint)
        if fresh or time.monotonic() - self._looked > self._silence:
            self._looked = time.monotonic()
            return True
        return False
