"""How quickly the local exchange answers, over one kept connection: ``python -m bench.exchange``.

A client as sessions are: at every bar it advances the replay, reads the bar of 20 symbols, sends an order for each, and
asks for all orders. 200 bars; the bars with a log behind the exchange alternate with those of one without.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import requests

from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Panel

BARS = 200
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local"}


class Client:
    """One client and what it measured, seconds by what was asked."""

    def __init__(self, server: ExchangeServer, panel: Panel) -> None:
        self._url, self._panel, self._session = server.url, panel, requests.Session()
        self._session.trust_env = False
        self._session.headers.update(HEADERS)
        self.seconds: dict[str, list[float]] = {}

    def bar(self, row: int) -> None:
        """Live through one bar."""
        session, symbols = self._session, self._panel.symbols
        self._timed("advance", lambda: session.post(f"{self._url}/exchange/advance"))
        day = str(self._panel.timestamps[row])[:10]
        query = {"symbols": ",".join(symbols), "timeframe": "1Day", "start": day}
        self._timed("bars of 20 symbols", lambda: session.get(f"{self._url}/v2/stocks/bars", params=query))
        began = time.perf_counter()
        for symbol in symbols:
            side = "buy" if row % 2 else "sell"
            order: Any = {"symbol": symbol, "qty": 1, "side": side, "type": "market", "time_in_force": "day"}
            self._timed("one order", partial(session.post, f"{self._url}/v2/orders", json=order))
        self.seconds.setdefault("20 orders, one after another", []).append(time.perf_counter() - began)
        recent = {"status": "all", "limit": "40"}
        self._timed("the last 40 orders", lambda: session.get(f"{self._url}/v2/orders", params=recent))

    def _timed(self, what: str, ask: Callable[[], Any]) -> None:
        began = time.perf_counter()
        ask().raise_for_status()
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)


def main() -> None:
    """Print p50 and p99 in milliseconds, without and with a log."""
    panel = load_panel("sample")
    start = len(panel) - BARS - 2
    start -= start % 2  # the first orders are purchases
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        clients = []
        for store in (None, Path(folder) / "log.sqlite"):
            server = stack.enter_context(ExchangeServer(Exchange(panel, Settings(start=start), store=store)))
            clients.append(Client(server, panel))
        for row in range(start + 1, start + 1 + BARS):
            for client in clients:
                client.bar(row)
    print(f"{'ms':>30}  {'p50':>6} {'p99':>6}   {'p50':>6} {'p99':>6} with a log")
    for what in clients[0].seconds:
        figures = [1000.0 * np.percentile(client.seconds[what], (50, 99)) for client in clients]
        print(f"{what:>30}  " + "   ".join(f"{half:6.2f} {most:6.2f}" for half, most in figures))


if __name__ == "__main__":
    main()
