"""Orders on their way: sent once, found again after a crash, set beside the model's fills.

An intent is in the journal before it is sent. While it has no ``ack`` event nobody knows whether the broker has it, so
it is looked up by its id before anything else happens.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import BrokerError
from tradekit.live.broker import BrokerUncertain, OrderRefused, Side, Ticket, quantise
from tradekit.live.times import parse_utc, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tradekit.live.broker import Broker, BrokerOrder
    from tradekit.live.journal import Batch, Event, Journal
    from tradekit.live.shadow import ModelFill

LONGEST_ID = 128


class Intent(NamedTuple):
    """One order that was decided: signed shares, and the id it goes by whatever happens."""

    client_order_id: str
    symbol: str
    quantity: float

    @property
    def side(self) -> Side:
        """In the broker's words."""
        return "buy" if self.quantity > 0 else "sell"

    @property
    def ticket(self) -> Ticket:
        """What is sent."""
        return Ticket(self.client_order_id, self.symbol, self.side, quantise(self.quantity))


def client_order_id(session: str, bar: str, symbol: str, quantity: float, sequence: int = 0) -> str:
    """Return the id of an order: a function of what it is, so that a restart gives the same one.

    >>> client_order_id("local", "2022-01-03T14:30:00Z", "AAPL", -2.0)
    'local.20220103T143000Z.AAPL.sell.0'
    """
    side = "buy" if quantity > 0 else "sell"
    text = f"{session}.{bar.replace('-', '').replace(':', '')}.{symbol}.{side}.{sequence}"
    if len(text) <= LONGEST_ID:
        return text
    return f"{session}.{hashlib.sha256(text.encode()).hexdigest()}"


class Outbox:
    """Sends intents and follows them. ``waiting`` are those the broker has and that have not been accounted for."""

    def __init__(self, broker: Broker, journal: Journal, session: str) -> None:
        self._broker, self._journal, self._session = broker, journal, session
        self._unknown: dict[str, tuple[str, Intent]] = {}
        self._waiting: dict[str, tuple[Intent, str, np.datetime64]] = {}
        self._order_ids: set[str] = set()

    def restore(self, events: Iterable[Event]) -> None:
        """Learn from the journal which intents are unknown to have arrived, waiting, or done."""
        for event in events:
            body = event.body
            if event.kind == "intent":
                intent = Intent(body["client_order_id"], body["symbol"], body["quantity"])
                self._unknown[intent.client_order_id] = (event.bar, intent)
            elif event.kind == "ack" and body["status"] != "refused":
                _, intent = self._unknown.pop(body["client_order_id"])
                self._keep(intent, body["order_id"], parse_utc(body["submitted_at"]))
            elif event.kind == "fill":
                self._waiting.pop(body["client_order_id"])

    def _keep(self, intent: Intent, order_id: str, submitted_at: np.datetime64) -> None:
        self._waiting[intent.client_order_id] = (intent, order_id, submitted_at)
        self._order_ids.add(order_id)

    # ------------------------------------------------------------------------------------------------- sending

    def send(self, bar: str, intents: Iterable[Intent]) -> None:
        """Send intents that are in the journal.

        Raises:
            OrderRefused: the broker said no to one; those before it are sent and journalled.
            BrokerUncertain: no answer, and the order cannot be looked up either; a restart goes on from here.
        """
        intents = list(intents)
        self._unknown |= {intent.client_order_id: (bar, intent) for intent in intents}
        with self._journal.batch() as batch:
            for intent in intents:
                batch.add("sent", bar, {"client_order_id": intent.client_order_id})
        self._send_all(bar, intents)

    def resolve(self) -> None:
        """Look up every intent without an ack; adopt what the broker has and send what it has not."""
        for bar, intent in list(self._unknown.values()):
            found = self._broker.find(intent.client_order_id)
            if found is None:
                self.send(bar, [intent])
            else:
                with self._journal.batch() as batch:
                    self._acknowledge(batch, bar, intent, found, adopted=True)

    def _send_all(self, bar: str, intents: list[Intent]) -> None:
        answers: list[tuple[Intent, BrokerOrder | OrderRefused, bool]] = []
        try:
            for intent in intents:
                answers.append((intent, *self._submit(intent)))
                if isinstance(answers[-1][1], OrderRefused):
                    raise answers[-1][1]
        finally:
            with self._journal.batch() as batch:
                for intent, answer, adopted in answers:
                    self._acknowledge(batch, bar, intent, answer, adopted)

    def _submit(self, intent: Intent) -> tuple[BrokerOrder | OrderRefused, bool]:
        """Send one intent and return the answer, and whether an order that was there already was adopted."""
        try:
            return self._broker.submit(intent.ticket), False
        except (OrderRefused, BrokerUncertain) as error:
            # Refused as a duplicate, or accepted by a broker whose answer was lost: either way it knows the id.
            found = self._broker.find(intent.client_order_id)
            if found is not None:
                return found, True
            if isinstance(error, OrderRefused):
                return error, False
            raise

    def _acknowledge(
        self, batch: Batch, bar: str, intent: Intent, answer: BrokerOrder | OrderRefused, adopted: bool
    ) -> None:
        body: dict[str, Any] = {"client_order_id": intent.client_order_id}
        if isinstance(answer, OrderRefused):
            batch.add("ack", bar, {**body, "status": "refused", "code": answer.code, "message": str(answer)})
            return
        if not answer.fulfils(intent.ticket):
            raise BrokerError(f"{intent.client_order_id}: the broker has another order under this id; nothing was sent")
        submitted_at = utc_text(answer.submitted_at)
        known = {"order_id": answer.id, "status": answer.status, "submitted_at": submitted_at, "adopted": adopted}
        batch.add("ack", bar, {**body, **known})
        del self._unknown[intent.client_order_id]
        self._keep(intent, answer.id, answer.submitted_at)

    # --------------------------------------------------------------------------------------------- reconciling

    def reconcile(
        self, bar: str, model: list[ModelFill], holdings: dict[str, float], ledger: dict[str, float]
    ) -> list[str]:
        """Journal the broker's fills beside the model's and return every difference in shares, in words.

        Args:
            bar: the newest bar.
            model: what the model says became of the orders due in it.
            holdings: signed shares by symbol that the model holds.
            ledger: the model's equity and cash.

        Raises:
            BrokerUncertain: no answer.
        """
        filled = {fill.symbol: fill for fill in model}
        differences: list[str] = []
        with self._journal.batch() as batch:
            for intent, order in self._due():
                fill = filled.pop(intent.symbol)
                difference = _difference(intent, order, fill)
                if difference:
                    differences.append(difference)
                batch.add("fill", bar, _fill_body(intent, order, fill))
            unsent = [symbol for symbol, fill in filled.items() if fill.quantity]
            differences += [f"{symbol}: the model filled an order that was never sent" for symbol in unsent]
            differences += self._positions(holdings)
            account = self._broker.account()
            cash = {"broker_cash": account.cash, "broker_equity": account.equity}
            gap = {"cash_difference": account.cash - ledger["cash"]}
            batch.add("reconciliation", bar, {**ledger, **cash, **gap, "differences": differences})
        self._waiting.clear()
        return differences

    def _due(self) -> list[tuple[Intent, BrokerOrder]]:
        """Return every waiting intent with what the broker says of it now."""
        if not self._waiting:
            return []
        earliest = min(submitted for _, _, submitted in self._waiting.values())
        known = {order.client_order_id: order for order in self._broker.orders(earliest - np.timedelta64(1, "us"))}
        found = []
        for key, (intent, _, _) in self._waiting.items():
            order = known.get(key) or self._broker.find(key)
            if order is None:
                raise BrokerError(f"{key}: the broker no longer knows an order that it had accepted")
            found.append((intent, order))
        return found

    def _positions(self, holdings: dict[str, float]) -> list[str]:
        theirs = {symbol: float(quantity) for symbol, quantity in self._broker.positions().items()}
        return [
            f"{symbol}: the broker holds {theirs.get(symbol, 0.0)!r} shares, the model {holdings.get(symbol, 0.0)!r}"
            for symbol in sorted({*theirs, *holdings})
            if theirs.get(symbol, 0.0) != holdings.get(symbol, 0.0)
        ]

    def close(self) -> dict[str, int]:
        """Return the final count: orders at the broker under this session's name, those too many, those in doubt."""
        mine = [order for order in self._broker.orders() if order.client_order_id.startswith(f"{self._session}.")]
        return {
            "broker_orders": len(mine),
            "duplicate_orders": sum(order.id not in self._order_ids for order in mine),
            "unresolved_orders": len(self._unknown) + len(self._waiting),
        }


def _difference(intent: Intent, order: BrokerOrder, fill: ModelFill) -> str | None:
    theirs = float(order.filled) * (1.0 if order.side == "buy" else -1.0)
    if not order.is_final:
        return f"{intent.symbol}: order still {order.status} after the bar it was due in"
    if theirs != fill.quantity:
        return f"{intent.symbol}: the broker filled {theirs!r} shares, the model {fill.quantity!r} ({fill.reason})"
    return None


def _fill_body(intent: Intent, order: BrokerOrder, fill: ModelFill) -> dict[str, Any]:
    theirs = float(order.filled) * (1.0 if order.side == "buy" else -1.0)
    cost = None
    if order.price is not None and not np.isnan(fill.reference):
        cost = theirs * (order.price - fill.reference) + (order.commission or 0.0)
    return {
        "client_order_id": intent.client_order_id,
        "order_id": order.id,
        "symbol": intent.symbol,
        "status": order.status,
        "ordered": intent.quantity,
        "broker_quantity": theirs,
        "broker_price": order.price,
        "broker_commission": order.commission,
        "fill_cost": cost,
        "model_quantity": fill.quantity,
        "reference": None if np.isnan(fill.reference) else fill.reference,
        "model_price": None if np.isnan(fill.price) else fill.price,
        "model_costs": fill.costs,
        "model_cost": sum(fill.costs.values()),
        "reason": fill.reason,
    }
