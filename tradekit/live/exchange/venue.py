"""The venue: replays a panel bar by bar and fills orders through the market model's own kernel. No HTTP here.

Market time stands just after the close of a bar. Orders accepted then meet the next bar. Buying power decides whether
an order is accepted, cash how much of it fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid5

import numpy as np

from tradekit.errors import DataError
from tradekit.live.exchange.account import MULTIPLIER, NAMESPACE, Settings
from tradekit.live.exchange.matching import Matching
from tradekit.live.exchange.orders import (
    BAD_REQUEST,
    FORBIDDEN,
    NOT_FOUND,
    UNPROCESSABLE,
    Ask,
    Order,
    Refusal,
    positive,
    read_ask,
)
from tradekit.live.exchange.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.market.panel import Floats, Panel

__all__ = ["MULTIPLIER", "NAMESPACE", "Settings", "Venue", "benchmark_closes", "check_bars"]

REPLACEABLE = ("qty", "time_in_force", "limit_price", "client_order_id")


class Venue(Matching):
    """The account, the orders and the clock of one replay. Not thread-safe: one thread talks to it."""

    def __init__(
        self, panel: Panel, settings: Settings, benchmark: Floats | None = None, world: World | None = None
    ) -> None:
        super().__init__(panel, settings, world or World())
        check_bars(panel)
        self.benchmark = benchmark_closes(panel) if benchmark is None else benchmark
        self.suspended = False
        """Whether the user has suspended trading in the account's configuration."""
        self._by_client: dict[str, Order] = {}
        self._in_bar = 0

    @property
    def is_open(self) -> bool:
        """Whether the market is open at market time: the next bar has begun."""
        t = self.bar + 1
        if t >= len(self.panel):
            return False
        same = self.panel.sessions[t] == self.panel.sessions[self.bar]
        return bool(same or self.opens_at(t) <= self.now)

    # --------------------------------------------------------------------------------------------------- orders

    def submit(self, body: Mapping[str, Any]) -> Order:
        """Accept an order, or raise Refusal."""
        number = len(self.orders)
        whole = not self.settings.execution.fractional
        ask = read_ask(body, whole, self.fills_at == "open", str(uuid5(NAMESPACE, f"client/{number}")))
        column = self._demand_tradable(ask)
        self._demand_cover(ask, column)
        return self._accept(ask, column)

    def _accept(self, ask: Ask, column: int) -> Order:
        # A microsecond apart, so that the order of submission can be told from the times.
        self._in_bar += 1
        submitted = self.now + np.timedelta64(self._in_bar, "us")
        identity = str(uuid5(NAMESPACE, f"order/{len(self.orders)}"))
        order = Order(identity, ask, self.bar, submitted)
        self.orders[order.id] = self._by_client[ask.client_order_id] = order
        self.waiting[column].append(order)
        status = "new" if self.is_open else "accepted"
        self.tell(status, order, status=status)
        return order

    def _demand_tradable(self, ask: Ask) -> int:
        if self.world.is_blocked(self.bar) or self.suspended:
            raise Refusal(403, FORBIDDEN, "account is not allowed to trade: new orders are rejected")
        if ask.client_order_id in self._by_client:
            raise Refusal(422, BAD_REQUEST, "client_order_id must be unique")
        column = self.column(ask.symbol)
        if column is None:
            raise Refusal(422, BAD_REQUEST, f'could not find asset "{ask.symbol}"')
        if not self.is_tradable(column) or self.bar == len(self.panel) - 1:
            raise Refusal(422, UNPROCESSABLE, f'asset "{ask.symbol}" is not tradable')
        return column

    def is_tradable(self, column: int) -> bool:
        """Whether orders for a column are taken now."""
        return not (np.isnan(self.mark(column)) or self.world.is_untradable(column, self.bar))

    def _demand_cover(self, ask: Ask, column: int) -> None:
        self._demand_no_wash(ask, column)
        held, pending = self.shares(column), self.pending(column, ask.side)
        price = self.mark(column) if ask.limit is None else ask.limit
        quantity = ask.quantity if ask.notional is None else ask.notional / price
        after = held + pending + ask.sign * quantity
        if after < -1e-12 and ask.side == "sell":
            self._demand_short(ask, quantity, held, pending)
        needed = max(abs(after) - max(abs(held), abs(held + pending)), 0.0) * price
        if needed > self.buying_power * (1.0 + 1e-9):
            has, cost = f"{self.buying_power:.2f}", f"{needed:.2f}"
            raise Refusal(403, FORBIDDEN, "insufficient buying power", buying_power=has, cost_basis=cost)

    def _demand_no_wash(self, ask: Ask, column: int) -> None:
        """Refuse what could trade with an open order of the other side."""
        for order in self.waiting[column]:
            if order.ask.side == ask.side:
                continue
            mine, theirs = ask.limit, order.ask.limit
            if mine is None or theirs is None or ask.sign * (mine - theirs) >= 0.0:
                raise Refusal(
                    403,
                    FORBIDDEN,
                    "potential wash trade detected. use complex orders",
                    existing_order_id=order.id,
                    reject_reason="opposite side order exists",
                )

    def _demand_short(self, ask: Ask, quantity: float, held: float, pending: float) -> None:
        if not self.settings.execution.allow_short:
            available = self.lots(held + pending)
            raise Refusal(
                403,
                FORBIDDEN,
                f"insufficient qty available for order (requested: {quantity}, available: {available})",
                available=str(available),
                existing_qty=str(held),
                held_for_orders=str(abs(pending)),
                symbol=ask.symbol,
            )
        if quantity != int(quantity):
            raise Refusal(422, UNPROCESSABLE, "fractional orders cannot be sold short")

    def cancel(self, order_id: str, outcome: str = "", reads: int = 0) -> Order:
        """Cancel an open order, or raise Refusal.

        Args:
            order_id: the exchange's id.
            outcome: empty; ``cancel_race``: it waits for the cancel and fills; ``stuck_cancel``: it only waits.
            reads: answers after which a stuck cancel is done; 0 for ever.
        """
        order = self.find(order_id)
        if not order.is_open or order.status == "pending_cancel":
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{order.status}" state')
        if not outcome:
            self.release_or_close(order)
            return order
        order.updated_at = self.now
        order.stuck_reads = reads if outcome == "stuck_cancel" else None
        self.tell("pending_cancel", order, status="pending_cancel")
        return order

    def release_or_close(self, order: Order) -> None:
        """Cancel an order; one whose rest has traded already and only was not shown cannot be, and shows it."""
        if any(order is kept for kept, _ in self.kept_back):
            self.release(order)
        else:
            self.close_order(order, "canceled")

    def replace(self, order_id: str, body: Mapping[str, Any]) -> Order:
        """Replace an open order by a new one with other terms, or raise Refusal and leave it as it is."""
        old = self.find(order_id)
        if not old.is_open or old.status == "pending_cancel" or any(old is kept for kept, _ in self.kept_back):
            raise Refusal(422, UNPROCESSABLE, f'order is already in "{old.status}" state')
        for key in body:
            if key not in REPLACEABLE:
                raise Refusal(422, UNPROCESSABLE, f"{key} of an order cannot be replaced on bars")
        ask, column = self._changed(old, body), self.panel.symbols.index(old.ask.symbol)
        place = self.waiting[column].index(old)
        self.waiting[column].remove(old)
        try:
            self._demand_tradable(ask)
            self._demand_cover(ask, column)
        except Refusal:
            self.waiting[column].insert(place, old)
            raise
        old.replaced_by = str(uuid5(NAMESPACE, f"order/{len(self.orders)}"))
        old.closed_at = old.updated_at = self.now
        self.tell("replaced", old, status="replaced")
        order = self._accept(ask, column)
        order.replaces = old.id
        return order

    def _changed(self, old: Order, body: Mapping[str, Any]) -> Ask:
        quantity = float(positive("qty", body["qty"])) if body.get("qty") is not None else old.ask.quantity
        if quantity <= old.filled:
            raise Refusal(422, UNPROCESSABLE, f"qty must be above what has filled, {old.filled}")
        plain: dict[str, Any] = {
            "symbol": old.ask.symbol,
            "side": old.ask.side,
            "type": "market" if old.ask.limit is None else "limit",
            "time_in_force": body.get("time_in_force") or old.ask.time_in_force,
            "qty": repr(self.lots(quantity - old.filled)),
            "limit_price": body.get("limit_price") or old.ask.limit,
            "client_order_id": body.get("client_order_id"),
        }
        if old.ask.notional is not None:
            raise Refusal(422, UNPROCESSABLE, "notional orders cannot be replaced")
        fallback = str(uuid5(NAMESPACE, f"client/{len(self.orders)}"))
        return read_ask(plain, not self.settings.execution.fractional, self.fills_at == "open", fallback)

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

    def shown(self, order: Order) -> bool:
        """Count an answer that showed an order; return whether that ends what a fault kept back (see ``finish``)."""
        order.odd_reads = max(order.odd_reads - 1, 0)
        if order.stuck_reads:
            order.stuck_reads -= 1
            return order.stuck_reads == 0
        rest = order.behaviour.rest_reads
        if rest is None or not any(order is kept for kept, _ in self.kept_back):
            return False
        order.rest_shown += 1
        return order.rest_shown >= rest

    def finish(self, order_id: str) -> None:
        """End what a fault kept back of an order: its rest shows, or its cancel is done."""
        order = self.find(order_id)
        if order.stuck_reads is not None:
            self.close_order(order, "canceled")
        else:
            self.release(order)

    # ---------------------------------------------------------------------------------------------------- clock

    def advance(self) -> None:
        """Move to the close of the next bar and fill what was due in it, or raise Refusal at the end."""
        self.step()
        self._in_bar = 0


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
