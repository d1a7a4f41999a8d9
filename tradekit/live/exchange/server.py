"""Serve an exchange on loopback: in a thread beside a session, or in the foreground for any client."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from tradekit.errors import SessionError
from tradekit.live.exchange.app import application
from tradekit.live.exchange.exchange import Exchange
from tradekit.live.exchange.venue import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from tradekit.live.exchange.faults import Faults
    from tradekit.live.exchange.pace import Pace
    from tradekit.market.panel import Floats, Panel

LOOPBACK = "127.0.0.1"
PATIENCE_SECONDS = 10.0


class ExchangeServer:
    """An exchange with an event loop and a thread of its own. Use it as a context manager.

    Args:
        exchange: what to serve.
        host: address to bind; only loopback ones.
        port: 0 takes a free one.
        pace: how market time passes; by requests only when left out.

    Raises:
        SessionError: not a loopback address, or the port is taken.
    """

    def __init__(self, exchange: Exchange, host: str = LOOPBACK, port: int = 0, pace: Pace | None = None) -> None:
        demand_loopback(host)
        self.exchange, self._host, self._port = exchange, host, port
        self._app = application(exchange, pace)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._failure: OSError | None = None

    @property
    def url(self) -> str:
        """What to give alpaca-py as ``url_override``."""
        return f"http://{self._host}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(PATIENCE_SECONDS):
            raise SessionError(f"the exchange did not come up on {self._host} within {PATIENCE_SECONDS:.0f} s")
        if self._failure:
            self._thread.join()
            self.exchange.close()
            raise SessionError(f"cannot listen on {self._host}:{self._port}: {self._failure.strerror}")
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_SECONDS)
        self.exchange.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            runner, self._port = await listen(self._app, self._host, self._port)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._stop.wait()
        await runner.cleanup()


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start to answer on ``host`` and return the runner and the port it got.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])


def serve(
    panel: Panel,
    host: str = LOOPBACK,
    port: int = 0,
    *,
    settings: Settings | None = None,
    benchmark: Floats | None = None,
    store: Path | None = None,
    faults: Faults | None = None,
    pace: Pace | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve ``panel`` in the foreground until SIGINT or SIGTERM.

    Args:
        panel: the bars to replay.
        host: address to bind; only loopback ones.
        port: 0 takes a free one.
        settings: cash, costs, sleeves, where the replay starts.
        benchmark: (T,) closes of the panel's benchmark.
        store: file to restore the exchange from and to keep it in.
        faults: what is to go wrong.
        pace: how market time passes; by requests only when left out.
        ready: called with the URL once it answers.

    Raises:
        SessionError: not a loopback address, or the port is taken.
    """
    demand_loopback(host)
    exchange = Exchange(panel, settings or Settings(), benchmark, store, faults)
    try:
        asyncio.run(_foreground(exchange, host, port, pace, ready))
    except OSError as error:
        raise SessionError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    finally:
        exchange.close()


async def _foreground(
    exchange: Exchange, host: str, port: int, pace: Pace | None, ready: Callable[[str], None] | None
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner, taken = await listen(application(exchange, pace), host, port)
    if ready:
        ready(f"http://{host}:{taken}")
    await stop.wait()
    await runner.cleanup()


def demand_loopback(host: str) -> None:
    """Raise SessionError unless ``host`` is a loopback address: an exchange is for this machine only."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise SessionError(f"the exchange listens on this machine only, not on {host}; use {LOOPBACK}")
