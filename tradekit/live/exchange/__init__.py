"""A loopback exchange that speaks Alpaca's REST and replays a panel at the market model's prices and costs."""

from __future__ import annotations

from tradekit.live.exchange.app import Exchange
from tradekit.live.exchange.server import ExchangeServer, serve
from tradekit.live.exchange.venue import Settings

__all__ = ["Exchange", "ExchangeServer", "Settings", "serve"]
