"""Orders after the broker has them: what filled, what the model says should have, and whether positions add up.

The account is exact or the session halts: for every symbol, the broker's position is the one it began with plus the sum
of this session's fills, in decimals. Where the broker filled less or more than the model, nothing is wrong with the
account; the difference is the drift, journalled and made good with the next decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import BrokerError
from tradekit.live.outbox import Intent, signed
from tradekit.live.times import parse_utc, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.live.broker import Account, Broker, BrokerOrder
    from tradekit.live.journal import Batch, Event, Journal
    from tradekit.live.shadow import ModelFill

LOOKS = 4
"""How often a position that does not add up, or an order that is being cancelled, is looked at in all."""

ZERO = Decimal(0)
MOMENT = np.timedelta64(1, "us")


@dataclass
class Following:
    """One order at the broker.

    Attributes:
        intent: what was sent.
        order_id, submitted_at: the broker's id and time, UTC.
        filled: unsigned shares, as last seen.
        model: what the model says became of its own order of that bar, None before the bar is over or without one.
        reference: price that costs are measured from, NaN before the bar is over.
        due: the bar in which it was to fill is over.
    """

    intent: Intent
    order_id: str
    submitted_at: np.datetime64
    filled: Decimal = ZERO
    model: ModelFill | None = None
    reference: float = float("nan")
    due: bool = False

    @property
    def sign(self) -> int:
        """1 of a purchase, -1 of a sale."""
        return 1 if self.intent.quantity > 0 else -1


@dataclass(frozen=True)
class Opening:
    """The account before a session's first order: signed shares by symbol, dollars, and the broker's time, UTC."""

    positions: dict[str, Decimal]
    cash: float
    at: np.datetime64

    def to_json(self) -> dict[str, Any]:
        """Return it as the journal keeps it."""
        positions = {symbol: str(quantity) for symbol, quantity in sorted(self.positions.items())}
        return {"positions": positions, "cash": self.cash, "at": utc_text(self.at)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Opening:
        """Return what ``to_json`` wrote."""
        positions = {symbol: Decimal(quantity) for symbol, quantity in body["positions"].items()}
        return cls(positions, body["cash"], parse_utc(body["at"]))


@dataclass(frozen=True)
class Model:
    """The shadow ledger at the close of a bar.

    Attributes:
        fills: what became of its orders in the bar.
        shares: signed, by symbol.
        references: by symbol, the price that fills of this bar are measured from.
        equity, cash, cash_before: dollars; the last before the session.
    """

    fills: Sequence[ModelFill]
    shares: dict[str, float]
    references: dict[str, float]
    equity: float
    cash: float
    cash_before: float

    def ledger(self) -> dict[str, Any]:
        """Return equity, cash and the costs of the newest bar by term, as the journal keeps them."""
        terms: dict[str, float] = {}
        for fill in self.fills:
            terms |= {term: terms.get(term, 0.0) + dollars for term, dollars in fill.costs.items()}
        return {"equity": self.equity, "cash": self.cash, "model_costs": terms}


class Follower:
    """Follows a session's orders at the broker.

    Args:
        broker: patient.
        journal: of the session.
        session: its name, which all its order ids begin with.
        opening: what the account held before the session's first order.
        pause: waits some seconds.
    """

    def __init__(
        self, broker: Broker, journal: Journal, session: str, opening: Opening, pause: Callable[[float], None]
    ) -> None:
        self._broker, self._journal, self._session, self._pause = broker, journal, session, pause
        self._opening, self._positions = opening, dict(opening.positions)
        self._open: dict[str, Following] = {}
        self._order_ids: set[str] = set()
        self._since = opening.at
        self.equity = opening.cash
        """Dollars in the account, positions included, when it was last looked at."""

    # ------------------------------------------------------------------------------------- what is known so far

    @property
    def working(self) -> frozenset[str]:
        """Symbols with an order that may still fill."""
        return frozenset(one.intent.symbol for one in self._open.values())

    @property
    def open_ids(self) -> list[str]:
        """The broker's ids of orders that may still fill."""
        return [one.order_id for one in self._open.values()]

    def traded(self) -> dict[str, Decimal]:
        """Return signed shares by symbol that this session has bought so far, without zeros."""
        gained = {s: held - self._opening.positions.get(s, ZERO) for s, held in self._positions.items()}
        return {symbol: quantity for symbol, quantity in gained.items() if quantity}

    def drift(self, shares: dict[str, float]) -> dict[str, Decimal]:
        """Return signed shares by symbol that the model holds and this session has not bought, without zeros."""
        traded = self.traded()
        missing = {symbol: signed(held) - traded.get(symbol, ZERO) for symbol, held in shares.items()}
        return {symbol: apart for symbol, apart in missing.items() if apart}

    def add(self, intent: Intent, order: BrokerOrder) -> None:
        """Follow an order from now on."""
        self._keep(intent, order.id, order.submitted_at)

    def restore_order(self, intent: Intent, order_id: str, submitted_at: str) -> None:
        """Follow an order that a journal says the broker has."""
        self._keep(intent, order_id, parse_utc(submitted_at))

    def _keep(self, intent: Intent, order_id: str, submitted_at: np.datetime64) -> None:
        self._open[intent.client_order_id] = Following(intent, order_id, submitted_at)
        self._order_ids.add(order_id)

    def restore(self, event: Event) -> None:
        """Learn from an event of the journal what filled."""
        key = event.body.get("client_order_id", "")
        if event.kind in ("event", "fill"):
            self._take(key, Decimal(event.body["filled_shares"]))
        if event.kind == "fill":
            self._drop(key)

    def fall_due(self, model: Model) -> None:
        """Set every order that was to fill in the newest bar beside what the model says of it."""
        fills = {fill.symbol: fill for fill in model.fills}
        for one in self._open.values():
            if not one.due:
                one.model, one.reference = fills.get(one.intent.symbol), model.references[one.intent.symbol]
                one.due = True

    def _take(self, key: str, filled: Decimal) -> None:
        """Book what an order has filled since it was last seen; ``filled`` is unsigned and in all."""
        one = self._open[key]
        if filled < one.filled:
            raise BrokerError(f"{key}: the broker had filled {one.filled} shares of it and now says {filled}")
        gained = (filled - one.filled) * one.sign
        self._positions[one.intent.symbol] = self._positions.get(one.intent.symbol, ZERO) + gained
        one.filled = filled

    def _drop(self, key: str) -> None:
        self._since = max(self._since, self._open.pop(key).submitted_at)

    # --------------------------------------------------------------------------------------------- reconciling

    def reconcile(self, bar: str, model: Model) -> list[str]:
        """Journal what became of the orders that were due in ``bar``, and return whatever does not add up, in words.

        What is left of an order after its bar is cancelled: the model knows no order that waits.

        Raises:
            BrokerUncertain: no answer.
            BrokerError: the broker forgot an order, or took back a fill.
        """
        self.fall_due(model)
        account, orders, faults = self._agree()
        with self._journal.batch() as batch:
            for key, order in orders.items():
                self._record(batch, bar, key, order)
            money = {"broker_cash": account.cash, "broker_equity": account.equity}
            gap = (account.cash - model.cash) - (self._opening.cash - model.cash_before)
            drift = {symbol: float(apart) for symbol, apart in sorted(self.drift(model.shares).items())}
            ledger = {**model.ledger(), "drift": drift, "differences": faults}
            batch.add("reconciliation", bar, {**ledger, **money, "cash_difference": gap})
        return faults

    def check(self, bar: str) -> list[str]:
        """Look at the account between two bars, journal fills as they stand, and return whatever does not add up."""
        _, orders, faults = self._agree()
        with self._journal.batch() as batch:
            for key, order in orders.items():
                if order.filled != self._open[key].filled:
                    self._progress(batch, bar, key, order)
        return faults

    def _agree(self) -> tuple[Account, dict[str, BrokerOrder], list[str]]:
        """Look until orders, positions and account agree, or for long enough that they never will."""
        for look in range(LOOKS):
            if look:
                self._pause(0.05 * 2**look)
            positions, account = self._broker.positions(), self._broker.account()
            self.equity = account.equity
            orders, foreign = self._orders()
            faults = [*self._misplaced(positions, orders), *foreign]
            if not faults:
                break
        if account.blocked:
            faults.append("the broker has blocked the account")
        return account, orders, faults

    def _orders(self) -> tuple[dict[str, BrokerOrder], list[str]]:
        """Return every followed order as the broker has it, those that are due at an end, and whoever else orders."""
        earliest = min([one.submitted_at for one in self._open.values()], default=self._since)
        listed = {order.client_order_id: order for order in self._broker.orders(earliest - MOMENT)}
        foreign = [
            f"{order.symbol}: order {order.client_order_id} is not of this session"
            for order in listed.values()
            if order.id not in self._order_ids and not order.client_order_id.startswith(f"{self._session}.")
        ]
        found = {}
        for key, one in self._open.items():
            order = listed.get(key) or self._broker.find(key)
            if order is None:
                raise BrokerError(f"{key}: the broker no longer knows an order that it had accepted")
            found[key] = self._ended(order) if one.due and not order.is_final else order
        return found, foreign

    def _ended(self, order: BrokerOrder) -> BrokerOrder:
        """Cancel what is left of an order and return it as it is then; a broker may take its time."""
        self._broker.cancel(order.id)
        for look in range(LOOKS):
            if look:
                self._pause(0.02 * 2**look)
            found = self._broker.find(order.client_order_id)
            if found is None or found.is_final:
                break
        return found or order

    def _misplaced(self, positions: dict[str, Decimal], orders: dict[str, BrokerOrder]) -> list[str]:
        expected = dict(self._positions)
        for key, order in orders.items():
            one = self._open[key]
            gained = (order.filled - one.filled) * one.sign
            expected[one.intent.symbol] = expected.get(one.intent.symbol, ZERO) + gained
        pairs = [(s, positions.get(s, ZERO), expected.get(s, ZERO)) for s in sorted({*positions, *expected})]
        return [
            f"{symbol}: the broker holds {held.normalize():f} shares, the session's own orders make it "
            f"{own.normalize():f}{_split(held, own)}"
            for symbol, held, own in pairs
            if held != own
        ]

    def _record(self, batch: Batch, bar: str, key: str, order: BrokerOrder) -> None:
        if not order.is_final:
            self._progress(batch, bar, key, order)
            return
        self._take(key, order.filled)
        batch.add("fill", bar, _fill_body(self._open[key], order))
        self._drop(key)

    def _progress(self, batch: Batch, bar: str, key: str, order: BrokerOrder) -> None:
        self._take(key, order.filled)
        batch.add("event", bar, {"client_order_id": key, "status": order.status, "filled_shares": str(order.filled)})

    # ------------------------------------------------------------------------------------------------- the end

    def cancel_all(self, bar: str) -> int:
        """Cancel every open order, journal what they had filled, and return how many there were."""
        orders = {key: self._broker.find(key) for key in self._open}
        with self._journal.batch() as batch:
            for key, order in orders.items():
                if order is not None:
                    self._record(batch, bar, key, order if order.is_final else self._ended(order))
        return len(orders)

    def close(self) -> dict[str, int]:
        """Return the final count: orders at the broker under this session's name, those too many, those still open."""
        mine = [order for order in self._broker.orders() if order.client_order_id.startswith(f"{self._session}.")]
        return {
            "broker_orders": len(mine),
            "duplicate_orders": sum(order.id not in self._order_ids for order in mine),
            "unresolved_orders": len(self._open),
        }


def _split(held: Decimal, own: Decimal) -> str:
    """Say so when the two quantities are what a split would make of each other."""
    if not held or not own or (held > 0) != (own > 0):
        return ""
    ratio = (max(held, own, key=abs) / min(held, own, key=abs)).normalize()
    whole = ratio == ratio.to_integral_value()
    return f" (exactly {ratio:f} to 1: a split? a new session begins with what the account holds)" if whole else ""


def _fill_body(one: Following, order: BrokerOrder) -> dict[str, Any]:
    """Return an order at its end, what it did beside what the model's own order of that bar did."""
    intent, model = one.intent, one.model
    theirs = float(order.filled) * float(one.sign)
    reference = None if np.isnan(one.reference) else one.reference
    cost = None
    if order.price is not None and reference is not None:
        cost = theirs * (order.price - reference) + (order.commission or 0.0)
    costs = model.costs if model else {}
    return {
        "client_order_id": intent.client_order_id,
        "order_id": order.id,
        "symbol": intent.symbol,
        "status": order.status,
        "filled_shares": str(order.filled),
        "ordered": intent.quantity,
        "catch_up": intent.catch_up,
        "broker_quantity": theirs,
        "broker_price": order.price,
        "broker_commission": order.commission,
        "fill_cost": cost,
        "model_quantity": model.quantity if model else 0.0,
        "reference": reference,
        "model_price": model.price if model and not np.isnan(model.price) else None,
        "model_costs": costs,
        "model_cost": sum(costs.values()),
        "reason": model.reason if model else "",
    }
