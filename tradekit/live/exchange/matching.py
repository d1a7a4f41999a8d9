"""The step of the exchange: take the account through the next bar and fill what it meets there.

Market orders of one symbol go through the market model's kernel as one, sells before buys, and share its fill first
come first served. Then limit orders, orders at the close and orders by value fill one by one. What is left ends as its
time in force says; a market order for the day that cannot fill is cancelled, because the market model queues nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid5

import numpy as np

from tradekit.live.exchange.account import NAMESPACE, Account, Settings
from tradekit.live.exchange.fills import Desk, Filled, touch
from tradekit.live.exchange.orders import UNPROCESSABLE, Execution, Refusal
from tradekit.market import kernel
from tradekit.market.calendar import session_open
from tradekit.market.pricing import floor_lots

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.live.exchange.orders import Order
    from tradekit.live.exchange.world import Split, World
    from tradekit.market.panel import Floats, Panel

    Listener = Callable[[str, Order, Execution | None], None]


class Matching(Account):
    """An account that orders can fill in. ``listener`` hears of everything that happens to an order."""

    def __init__(self, panel: Panel, settings: Settings, world: World) -> None:
        super().__init__(panel, settings, world)
        self.listener: Listener | None = None
        self.moment: np.datetime64 | None = None
        self.splits: list[tuple[Split, float]] = []
        """Every split of a position, and the shares before it."""
        self._desk = Desk.of(self.market, self.rules, self.rows[0])

    @property
    def now(self) -> np.datetime64:
        """Market time, UTC: the close of the newest bar, or later where a pace lets time run between closes."""
        close: np.datetime64 = self.panel.close_time[self.bar]
        return close if self.moment is None else max(close, self.moment)

    def edges(self, t: int) -> tuple[bool, bool]:
        """Return whether bar ``t`` is the first, and the last of its session."""
        sessions = self.panel.sessions
        return t == 0 or sessions[t] != sessions[t - 1], t + 1 == len(self.panel) or sessions[t] != sessions[t + 1]

    def step(self) -> None:
        """Move to the close of the next bar and fill what was due in it, or raise Refusal at the end."""
        t = self.bar + 1
        if t >= len(self.panel):
            raise Refusal(409, UNPROCESSABLE, "the replay has ended")
        for order, _ in list(self.kept_back):
            self.release(order)
        if self.panel.sessions[t] != self.panel.sessions[self.bar]:
            self.previous_equity = self.equity
        self._split(t)
        self._route(t)
        equity = self.book.equity.copy()
        for b in range(len(self.book.cash)):
            kernel.settle(self.market, self.rules, self.rows, self.book, self.fills, b, t)
        self.bar, self.moment = t, None
        for column, orders in enumerate(self.waiting):
            if orders:
                self._hand_out(column, self.fills[self.place(column)])
        self._fill_singly(t, equity)
        for orders in self.waiting:
            for order in list(orders):
                self._end_of_bar(order, t)
        self.history.append(self.equity)

    # ----------------------------------------------------------------------------------------------- before the bar

    def _split(self, t: int) -> None:
        """Multiply what is held of a symbol that splits before bar ``t``; its open orders are cancelled."""
        for split in self.world.splits:
            if split.bar != t:
                continue
            place = self.place(split.column)
            for order in list(self.waiting[split.column]):
                self.close_order(order, "canceled")
            if self.book.shares[place]:
                self.splits.append((split, float(self.book.shares[place])))
            self.book.shares[place] = self.lots(float(self.book.shares[place]) * split.ratio)
            self.book.average_cost[place] /= split.ratio

    def _is_netted(self, order: Order, t: int) -> bool:
        """Whether the kernel fills an order in bar ``t`` together with the others of its symbol."""
        ask, (first, last) = order.ask, self.edges(t)
        if ask.limit is not None or ask.notional is not None or ask.time_in_force == "fok" or self._is_stuck(order):
            return False
        if ask.time_in_force == "cls":
            return self.fills_at == "close" and last
        return ask.time_in_force != "opg" or first

    @staticmethod
    def _is_stuck(order: Order) -> bool:
        return order.stuck_reads is not None

    def _fillable(self, order: Order) -> float:
        """Shares of an order that may fill: all that is left, or the part that a fault leaves of it."""
        left, share = self.lots(order.left), order.behaviour.share
        if share == 1.0 or order.behaviour.rest_reads is not None:
            return left
        return floor_lots(left * share, self.rules.lots)

    def _route(self, t: int) -> None:
        """Write what the market orders of a column add up to into the book; the kernel knows one order a position."""
        for column, orders in enumerate(self.waiting):
            if not orders:
                continue
            due = [order.ask.sign * self._fillable(order) for order in orders if self._is_netted(order, t)]
            total = self.lots(sum(due))
            if total:
                b, j = self.place(column)
                kernel.place_shares(self.market, self.rules, self.book, b, self.bar, j, total)

    # ----------------------------------------------------------------------------------------------- in the bar

    def _hand_out(self, column: int, fill: Floats) -> None:
        """Share the fill of a column out to its market orders, first come first served."""
        left = total = abs(float(fill[kernel.QUANTITY]))
        fees = float(fill[kernel.FILL_COMMISSION] + fill[kernel.FILL_REGULATORY])
        for order in list(self.waiting[column]):
            if left and self._is_netted(order, self.bar):
                quantity = min(left, self._fillable(order))
                left = self.lots(left - quantity)
                share = Filled(
                    quantity, float(fill[kernel.REFERENCE]), float(fill[kernel.PRICE]), fees * (quantity / total)
                )
                self._execute(order, share)

    def _fill_singly(self, t: int, equity: Floats) -> None:
        """Fill what the bar meets of the other orders: sales first, then purchases, each in the order they came."""
        resting = [o for orders in self.waiting for o in orders if not self._is_netted(o, t) and not self._is_stuck(o)]
        for order in sorted(resting, key=lambda order: (order.ask.side == "buy", order.submitted_at)):
            column = self.panel.symbols.index(order.ask.symbol)
            reference = touch(order.ask, self.panel, self.fills_at, column, t, self.edges(t))
            if reference is None:
                continue
            b, j = self.place(column)
            left = min(self._fillable(order), self._most(column, t))
            fill = self._desk.fill(self.book, b, j, order.ask, left, reference, t, float(equity[b]))
            if fill is not None:
                self._execute(order, fill)

    def _most(self, column: int, t: int) -> float:
        """Return the most shares that one order may fill, by the volume of the bar before."""
        if np.isinf(self.rules.participation):
            return np.inf
        volume = float(self.panel.volume[t - 1, column])
        return 0.0 if np.isnan(volume) else floor_lots(self.rules.participation * volume, self.rules.lots)

    def _execute(self, order: Order, fill: Filled) -> None:
        """Book a fill to its order; a fault may keep the rest of it back for a while."""
        rest = order.behaviour.rest_reads
        first = fill.quantity if rest is None else floor_lots(fill.quantity * order.behaviour.share, self.rules.lots)
        if rest is None or not 0.0 < first < fill.quantity:
            self._show(order, self._execution(order, fill))
            return
        fees = fill.fees * (first / fill.quantity)
        self._show(order, self._execution(order, fill._replace(quantity=first, fees=fees, whole=False)))
        later = fill._replace(quantity=self.lots(fill.quantity - first), fees=fill.fees - fees)
        self.kept_back.append((order, self._execution(order, later)))

    def _execution(self, order: Order, fill: Filled) -> Execution:
        cumulative = self.lots(order.filled + fill.quantity)
        by_value = order.ask.notional is not None
        whole = fill.whole if by_value else cumulative == order.ask.quantity
        return Execution(
            id=str(uuid5(NAMESPACE, f"execution/{order.id}/{order.fills}")),
            order_id=order.id,
            client_order_id=order.ask.client_order_id,
            symbol=order.ask.symbol,
            side=order.ask.side,
            quantity=fill.quantity,
            price=fill.price,
            reference=fill.reference,
            fees=fill.fees,
            bar=self.bar,
            time=self._fill_time(order),
            cumulative=cumulative,
            status="filled" if whole else "partially_filled",
        )

    def _show(self, order: Order, fill: Execution) -> None:
        """Let everybody know of a fill."""
        if order.status == "accepted":
            self.tell("new", order, status="new")
        value = (order.price or 0.0) * order.filled + fill.price * fill.quantity
        # The average of equal prices is that price, to the last bit.
        order.price = fill.price if order.price in (None, fill.price) else value / fill.cumulative
        order.filled, order.fills = fill.cumulative, order.fills + 1
        order.commission += fill.fees
        order.filled_at = order.updated_at = fill.time
        self.executions.append(fill)
        if fill.status == "filled":
            order.status, order.closed_at = "filled", fill.time
            self.waiting[self.panel.symbols.index(order.ask.symbol)].remove(order)
        elif order.status != "pending_cancel":
            order.status = "partially_filled"
        self.tell("fill" if fill.status == "filled" else "partial_fill", order, fill)

    def release(self, order: Order) -> None:
        """Let the rest of an order show that a fault kept back."""
        for item in [item for item in self.kept_back if item[0] is order]:
            self.kept_back.remove(item)
            self._show(order, item[1])

    # ----------------------------------------------------------------------------------------------- after the bar

    def _end_of_bar(self, order: Order, t: int) -> None:
        """End what the bar has ended: by its time in force, or because the market model queues nothing."""
        if self._is_stuck(order) or any(order is kept for kept, _ in self.kept_back):
            return
        ask, (first, last) = order.ask, self.edges(t)
        lost = order.status == "pending_cancel" or (order.behaviour.share != 1.0 and order.filled > 0.0)
        over = {"ioc": True, "fok": True, "opg": first, "cls": last, "day": ask.limit is None, "gtc": False}
        if lost or over[ask.time_in_force]:
            self.close_order(order, "canceled")
        elif ask.time_in_force == "day" and last:
            self.close_order(order, "expired")

    def close_order(self, order: Order, status: str, at: np.datetime64 | None = None) -> None:
        """End an open order without a fill."""
        column = self.panel.symbols.index(order.ask.symbol)
        self.waiting[column].remove(order)
        order.stuck_reads = None
        order.closed_at = order.updated_at = self.now if at is None else at
        self.tell(status, order, status=status)

    def tell(self, event: str, order: Order, fill: Execution | None = None, status: str | None = None) -> None:
        """Set an order's status and say what happened to it."""
        order.status = status or order.status
        if self.listener is not None:
            self.listener(event, order, fill)

    def _fill_time(self, order: Order) -> np.datetime64:
        if self.fills_at == "close" or order.ask.time_in_force == "cls":
            return self.now
        return self.opens_at(self.bar)

    def opens_at(self, t: int) -> np.datetime64:
        """Return when bar ``t`` begins, UTC."""
        stamp: np.datetime64 = self.panel.timestamps[t]
        if not self.panel.is_daily:
            return stamp
        bell: np.datetime64 = session_open(self.panel.timestamps[t : t + 1])[0]
        return stamp if np.isnat(bell) else bell
