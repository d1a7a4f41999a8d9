"""The venue: replays a panel bar by bar and fills orders through the market model's own kernel. No HTTP here.

Market time stands just after the close of a bar. Orders accepted then fill in the next bar, sells before buys, at the
model's prices and costs; buying power decides whether an order is accepted, cash how much of it fills. What cannot be
filled in that bar is cancelled: the market model queues nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from tradekit.errors import ConfigError, DataError
from tradekit.live.exchange.orders import (
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    UNPROCESSABLE,
    Ask,
    Execution,
    Order,
    Refusal,
    read_ask,
)
from tradekit.market import kernel
from tradekit.market.calendar import session_open
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of, open_book

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.market.panel import Floats, Panel

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
        bars_per_year: for borrow and interest; None takes the panel's.
        key_id, secret_key: what a client must send.
    """

    cash: float = 100_000.0
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    sleeves: bool = False
    start: int = 0
    bars_per_year: float | None = None
    key_id: str = "local"
    secret_key: str = field(default="local", repr=False)


class Venue:
    """The account, the orders and the clock of one replay. Not thread-safe: one thread talks to it."""

    def __init__(self, panel: Panel, settings: Settings, benchmark: Floats | None = None) -> None:
        if settings.execution.latency_bars:
            raise ConfigError("the exchange fills in the next bar; set latency_bars = 0")
        if not 0 <= settings.start < len(panel):
            raise ConfigError(f"the replay starts at bar {settings.start}, but the data has {len(panel)} bars")
        check_bars(panel)
        self.panel, self.settings, self.bar = panel, settings, settings.start
        self.benchmark = benchmark_closes(panel) if benchmark is None else benchmark
        self.fills_at = settings.execution.fills_at(panel)
        self.orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        self._by_client: dict[str, Order] = {}
        self._open: list[list[Order]] = [[] for _ in panel.symbols]
        self._in_bar = 0
        self._rules = replace(settings.execution, min_trade=0.0, cash_buffer=0.0).rules
        self._market = market_of(panel, settings.execution, [settings.costs])
        self._rows = cost_rows([settings.costs], settings.bars_per_year or panel.bars_per_year)
        columns = range(len(panel.symbols)) if settings.sleeves else [0]
        width = 1 if settings.sleeves else len(panel.symbols)
        self.book = open_book(settings.cash / len(columns), columns, width, latency=0)
        self._fills = np.zeros((len(columns), width, kernel.FILL_COLUMNS))
        self.previous_equity = settings.cash

    # ------------------------------------------------------------------------------------------------- the account

    @property
    def now(self) -> np.datetime64:
        """Market time, UTC: the close of the newest bar."""
        moment: np.datetime64 = self.panel.close_time[self.bar]
        return moment

    @property
    def cash(self) -> float:
        """Dollars, over all sleeves."""
        return float(self.book.cash.sum())

    @property
    def equity(self) -> float:
        """Dollars at the newest marks, over all sleeves."""
        return float(self.book.equity.sum())

    def shares(self, column: int) -> float:
        """Signed shares of a panel column."""
        return float(self.book.shares[self._place(column)])

    def average_cost(self, column: int) -> float:
        """Dollars paid per share of a panel column, costs included."""
        return float(self.book.average_cost[self._place(column)])

    def mark(self, column: int) -> float:
        """Last known close of a panel column; NaN before its first bar."""
        return float(self.panel.mark[self.bar, column])

    def pending(self, column: int) -> float:
        """Signed shares in open orders for a panel column."""
        return float(self.book.due[self._place(column)[0], 0, self._place(column)[1]])

    @property
    def buying_power(self) -> float:
        """Dollars that new orders may still take on; sales count once they have filled."""
        taken = 0.0
        for column in range(len(self.panel.symbols)):
            held, pending = self.shares(column), self.pending(column)
            if held or pending:
                taken += max(abs(held), abs(held + pending)) * self.mark(column)
        return max(MULTIPLIER * self.equity - taken, 0.0)

    def column(self, symbol: str) -> int | None:
        """Return the panel column of a symbol that can be traded, None when there is none."""
        return self.panel.symbols.index(symbol) if symbol in self.panel.symbols else None

    def _lots(self, shares: float) -> float:
        """Round a sum of whole numbers of lots to the whole number of lots it is."""
        units = shares * self._rules.lots
        return shares if abs(units) > LARGEST_EXACT else float(np.rint(units) / self._rules.lots)

    def _place(self, column: int) -> tuple[int, int]:
        return (column, 0) if self.settings.sleeves else (0, column)

    # --------------------------------------------------------------------------------------------------- orders

    def submit(self, body: Mapping[str, Any]) -> Order:
        """Accept an order, or raise Refusal."""
        number = len(self.orders)
        in_force = ("day", "opg") if self.fills_at == "open" else ("day", "cls")
        whole = not self.settings.execution.fractional
        ask = read_ask(body, whole, in_force, str(uuid5(NAMESPACE, f"client/{number}")))
        if ask.client_order_id in self._by_client:
            raise Refusal(422, BAD_REQUEST, "client_order_id must be unique")
        column = self.column(ask.symbol)
        if column is None:
            raise Refusal(422, BAD_REQUEST, f'could not find asset "{ask.symbol}"')
        if np.isnan(self.mark(column)) or self.bar == len(self.panel) - 1:
            raise Refusal(422, UNPROCESSABLE, f'asset "{ask.symbol}" is not tradable')
        self._demand_cover(ask, column)
        # A microsecond apart, so that the order of submission can be told from the times.
        self._in_bar += 1
        submitted = self.now + np.timedelta64(self._in_bar, "us")
        order = Order(str(uuid5(NAMESPACE, f"order/{number}")), ask, self.bar, submitted)
        self.orders[order.id] = self._by_client[ask.client_order_id] = order
        self._open[column].append(order)
        self._route(column)
        return order

    def _demand_cover(self, ask: Ask, column: int) -> None:
        held, pending = self.shares(column), self.pending(column)
        if pending * ask.signed < 0:
            raise Refusal(403, FORBIDDEN, "potential wash trade detected. use complex orders")
        after = held + pending + ask.signed
        if after < -1e-12 and ask.side == "sell":
            self._demand_short(ask, held, pending)
        needed = max(abs(after) - max(abs(held), abs(held + pending)), 0.0) * self.mark(column)
        if needed > self.buying_power * (1.0 + 1e-9):
            has, cost = f"{self.buying_power:.2f}", f"{needed:.2f}"
            raise Refusal(403, FORBIDDEN, "insufficient buying power", buying_power=has, cost_basis=cost)

    def _demand_short(self, ask: Ask, held: float, pending: float) -> None:
        if not self.settings.execution.allow_short:
            available = held + pending
            raise Refusal(
                403,
                FORBIDDEN,
                f"insufficient qty available for order (requested: {ask.quantity}, available: {available})",
                available=str(available),
                existing_qty=str(held),
                held_for_orders=str(abs(pending)),
                symbol=ask.symbol,
            )
        if ask.quantity != int(ask.quantity):
            raise Refusal(422, UNPROCESSABLE, "fractional orders cannot be sold short")

    def cancel(self, order_id: str) -> Order:
        """Cancel an open order, or raise Refusal."""
        order = self.find(order_id)
        if not order.is_open:
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{order.status}" state')
        column = self.panel.symbols.index(order.ask.symbol)
        order.status, order.closed_at = "canceled", self.now
        self._open[column].remove(order)
        self._route(column)
        return order

    def find(self, order_id: str) -> Order:
        """Return the order with the exchange's id, or raise Refusal."""
        if order_id not in self.orders:
            raise Refusal(404, NOT_FOUND, f"order not found for {order_id}")
        return self.orders[order_id]

    def find_client(self, client_order_id: str) -> Order:
        """Return the order with the client's id, or raise Refusal."""
        if client_order_id not in self._by_client:
            raise Refusal(404, NOT_FOUND, f"order not found for {client_order_id}")
        return self._by_client[client_order_id]

    def _route(self, column: int) -> None:
        """Write what the open orders of a column add up to into the book; the kernel knows one order a position."""
        b, j = self._place(column)
        self.book.due[b, 0, j] = self.book.asked[b, 0, j] = 0.0
        self.book.flags[b, 0, j] = 0
        total = self._lots(sum(order.ask.signed for order in self._open[column]))
        if total:
            kernel.place_shares(self._market, self._rules, self.book, b, self.bar, j, total)

    # ---------------------------------------------------------------------------------------------------- clock

    def advance(self) -> None:
        """Move to the close of the next bar and fill what was due in it, or raise Refusal at the end."""
        t = self.bar + 1
        if t >= len(self.panel):
            raise Refusal(409, UNPROCESSABLE, "the replay has ended")
        if self.panel.sessions[t] != self.panel.sessions[self.bar]:
            self.previous_equity = self.equity
        for b in range(len(self.book.cash)):
            kernel.settle(self._market, self._rules, self._rows, self.book, self._fills, b, t)
        self.bar, self._in_bar = t, 0
        for column in range(len(self.panel.symbols)):
            self._close_orders(column, self._fills[self._place(column)])

    def _close_orders(self, column: int, fill: Floats) -> None:
        """Hand the fill of a column to its orders, first come first served, and close them all."""
        left, total = abs(float(fill[kernel.QUANTITY])), abs(float(fill[kernel.QUANTITY]))
        fees = float(fill[kernel.FILL_COMMISSION] + fill[kernel.FILL_REGULATORY])
        time = self._fill_time()
        for order in self._open[column]:
            order.filled = min(left, order.ask.quantity)
            left = self._lots(left - order.filled)
            order.status = "filled" if order.filled == order.ask.quantity else "canceled"
            order.closed_at = time
            if order.filled:
                order.price, order.commission = float(fill[kernel.PRICE]), fees * (order.filled / total)
                self._record(order, float(fill[kernel.REFERENCE]), time)
        self._open[column].clear()

    def _record(self, order: Order, reference: float, time: np.datetime64) -> None:
        assert order.price is not None
        self.executions.append(
            Execution(
                id=str(uuid5(NAMESPACE, f"execution/{len(self.executions)}")),
                order_id=order.id,
                client_order_id=order.ask.client_order_id,
                symbol=order.ask.symbol,
                side=order.ask.side,
                quantity=order.filled,
                price=order.price,
                reference=reference,
                fees=order.commission,
                bar=self.bar,
                time=time,
            )
        )

    def _fill_time(self) -> np.datetime64:
        if self.fills_at == "close":
            return self.now
        if not self.panel.is_daily:
            opened: np.datetime64 = self.panel.timestamps[self.bar]
            return opened
        bell: np.datetime64 = session_open(self.panel.timestamps[self.bar : self.bar + 1])[0]
        return self.panel.timestamps[self.bar] if np.isnat(bell) else bell


def check_bars(panel: Panel) -> None:
    """Demand bars that the wire can carry: every column the source has, wherever there is a close.

    Raises:
        DataError: a bar has a close but lacks another column.
    """
    for name in sorted(panel.columns):
        holes = np.argwhere(np.isnan(getattr(panel, name)) & ~np.isnan(panel.close))
        if len(holes):
            row, column = holes[0]
            where = f"{panel.symbols[column]} at {panel.timestamps[row]}"
            raise DataError(f"{panel.source}: {where} has a close but no {name}; repair or drop that bar")


def benchmark_closes(panel: Panel) -> Floats | None:
    """Return (T,) closes whose returns are the panel's benchmark's, to rounding; None when it is the symbols' mean.

    The panel keeps returns only, so this is an index that starts at 100; NaN where the return is unknown, but for the
    first bar. A benchmark that is also a symbol has its own prices.
    """
    if panel.benchmark_name == "equal_weight":
        return None
    if panel.benchmark_name in panel.symbols:
        closes: Floats = panel.close[:, panel.symbols.index(panel.benchmark_name)]
        return closes
    known = ~np.isnan(panel.benchmark_returns)
    level = 100.0 * np.cumprod(1.0 + np.where(known, panel.benchmark_returns, 0.0))
    known[0] = True
    return np.where(known, level, np.nan)
