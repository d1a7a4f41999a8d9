"""The account of one replay: money, shares and marks over the market model's own book."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from tradekit.errors import ConfigError
from tradekit.market import kernel
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of, open_book

if TYPE_CHECKING:
    from tradekit.live.exchange.orders import Execution, Order
    from tradekit.live.exchange.world import World
    from tradekit.market.panel import Panel

LARGEST_EXACT = 2.0**52
NAMESPACE = uuid5(NAMESPACE_URL, "tradekit/exchange")
MULTIPLIER = 2.0
"""Overnight margin of a standard account; the fills themselves never borrow."""


@dataclass(frozen=True)
class Settings:
    """What the exchange is opened with.

    Attributes:
        cash: dollars in the account.
        costs: what trading costs here.
        execution: when and how much fills; ``latency_bars`` must be 0.
        sleeves: split the cash evenly by symbol and never share it, as a backtest of a symbol policy does.
        start: row of the bar at whose close the market time begins.
        requests_per_minute: of the trading endpoints; Alpaca allows 200. None: no limit.
        key_id, secret_key: what a client must send.
    """

    cash: float = 100_000.0
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    sleeves: bool = False
    start: int = 0
    requests_per_minute: int | None = None
    key_id: str = "local"
    secret_key: str = field(default="local", repr=False)


class Account:
    """Positions and cash at the newest bar, and the orders that wait. Shares are signed, money is dollars.

    A rest that a fault keeps back has traded in the book and is not shown: cash and shares are those without it.
    """

    def __init__(self, panel: Panel, settings: Settings, world: World) -> None:
        if settings.execution.latency_bars:
            raise ConfigError("the exchange fills in the next bar; set latency_bars = 0")
        if not 0 <= settings.start < len(panel):
            raise ConfigError(f"the replay starts at bar {settings.start}, but the data has {len(panel)} bars")
        self.panel, self.settings, self.world, self.bar = panel, settings, world, settings.start
        self.fills_at = settings.execution.fills_at(panel)
        self.orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        self.waiting: list[list[Order]] = [[] for _ in panel.symbols]
        self.kept_back: list[tuple[Order, Execution]] = []
        self.rules = replace(settings.execution, min_trade=0.0, cash_buffer=0.0).rules
        self.market = market_of(panel, settings.execution, [settings.costs])
        self.rows = cost_rows([settings.costs])
        columns = range(len(panel.symbols)) if settings.sleeves else [0]
        width = 1 if settings.sleeves else len(panel.symbols)
        self.book = open_book(settings.cash / len(columns), columns, width, latency=0)
        self.fills = np.zeros((len(columns), width, kernel.FILL_COLUMNS))
        self.previous_equity = settings.cash
        self.history: list[float] = [settings.cash]

    @property
    def cash(self) -> float:
        """Dollars, over all sleeves."""
        kept = sum(_sign(fill) * fill.quantity * fill.price + fill.fees for _, fill in self.kept_back)
        return float(self.book.cash.sum()) + kept

    @property
    def equity(self) -> float:
        """Dollars at the newest marks, over all sleeves."""
        kept = 0.0
        for _, fill in self.kept_back:
            mark = self.mark(self.panel.symbols.index(fill.symbol))
            kept += _sign(fill) * fill.quantity * (fill.price - mark) + fill.fees
        return float(self.book.equity.sum()) + kept

    def shares(self, column: int) -> float:
        """Signed shares of a panel column."""
        held = float(self.book.shares[self.place(column)])
        for _, fill in self.kept_back:
            if fill.symbol == self.panel.symbols[column]:
                held = self.lots(held - _sign(fill) * fill.quantity)
        return held

    def average_cost(self, column: int) -> float:
        """Dollars paid per share of a panel column, costs included."""
        return float(self.book.average_cost[self.place(column)])

    def mark(self, column: int) -> float:
        """Last known close of a panel column; NaN before its first bar."""
        return float(self.panel.mark[self.bar, column])

    def pending(self, column: int, side: str) -> float:
        """Signed shares in the open orders of one side for a panel column; those by value at the newest mark."""
        orders = [order for order in self.waiting[column] if order.ask.side == side]
        total = sum(self.left(order) for order in orders)
        return self.lots(total if side == "buy" else -total) if orders else 0.0

    def left(self, order: Order) -> float:
        """Shares of an open order that have not filled, unsigned."""
        if order.ask.notional is not None:
            return order.ask.notional / self.mark(self.panel.symbols.index(order.ask.symbol))
        return self.lots(order.left)

    @property
    def buying_power(self) -> float:
        """Dollars that new orders may still take on; sales count once they have filled."""
        taken = 0.0
        for column in range(len(self.panel.symbols)):
            held, buys, sells = self.shares(column), self.pending(column, "buy"), self.pending(column, "sell")
            if held or buys or sells:
                taken += max(abs(held), abs(held + buys), abs(held + sells)) * self.mark(column)
        return max(MULTIPLIER * self.equity - taken, 0.0)

    def column(self, symbol: str) -> int | None:
        """Return the panel column of a symbol that can be traded, None when there is none."""
        return self.panel.symbols.index(symbol) if symbol in self.panel.symbols else None

    def lots(self, shares: float) -> float:
        """Round a sum of whole numbers of lots to the whole number of lots it is."""
        units = shares * self.rules.lots
        return shares if abs(units) > LARGEST_EXACT else float(np.rint(units) / self.rules.lots)

    def place(self, column: int) -> tuple[int, int]:
        """Return portfolio and position of a panel column in the book."""
        return (column, 0) if self.settings.sleeves else (0, column)


def _sign(fill: Execution) -> float:
    return 1.0 if fill.side == "buy" else -1.0
