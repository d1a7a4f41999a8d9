"""Exchanges to talk to: over a small made-up panel, and the clients that alpaca-py ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

from tests.panels import random_panel
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.market.panel import Panel


class Open(NamedTuple):
    """A running exchange and alpaca-py's own clients on it, untyped: their methods answer models or raw data."""

    server: ExchangeServer
    trading: Any
    data: Any
    replay: Replay
    panel: Panel


@pytest.fixture
def market() -> Iterator[Open]:
    """Return an exchange over 60 daily bars of 3 symbols, standing at bar 40, with alpaca-py's clients."""
    panel = random_panel(60, 3, seed=5)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server:
        trading = TradingClient("local", "local", url_override=server.url)
        data = StockHistoricalDataClient("local", "local", url_override=server.url)
        replay = Replay("local", "local", server.url)
        yield Open(server, trading, data, replay, panel)
        trading._session.close()
        data._session.close()
        replay.close()


def step(market: Open, bars: int = 1) -> None:
    """Move the market on."""
    market.replay.advance(market.replay.moment().bar + bars)
