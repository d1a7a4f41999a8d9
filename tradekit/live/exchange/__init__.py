"""A loopback exchange that speaks Alpaca's REST and streams and replays a panel at the market model's prices."""

from __future__ import annotations

from tradekit.live.exchange.exchange import Exchange
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.exchange.pace import Pace
from tradekit.live.exchange.server import ExchangeServer, serve
from tradekit.live.exchange.venue import Settings

__all__ = ["Exchange", "ExchangeServer", "Fault", "Faults", "Pace", "Settings", "serve"]
