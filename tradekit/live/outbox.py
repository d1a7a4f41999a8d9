"""Orders on their way out: planned, made durable, sent once, found again after a crash.

An intent is in the journal before it is sent. While it has no ``ack`` event nobody knows whether the broker has it, so
it is looked up by its id before anything else happens.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.errors import BrokerError
from tradekit.live.broker import BrokerUncertain, OrderRefused, Side, Ticket, quantise
from tradekit.live.orders import GIVEN_UP, NEVER_THERE, REFUSED
from tradekit.live.patience import LOOK_SECONDS, LOOKS
from tradekit.live.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tradekit.live.broker import Broker, BrokerOrder
    from tradekit.live.follow import Follower
    from tradekit.live.journal import Batch, Event, Journal
    from tradekit.live.shadow import Placed

LONGEST_ID = 128


class Intent(NamedTuple):
    """One order that was decided: signed shares, and the id it goes by whatever happens.

    ``catch_up`` is the part of the shares that the model never ordered: what the broker missed before, or did too much.
    """

    client_order_id: str
    symbol: str
    quantity: float
    catch_up: float = 0.0

    @property
    def side(self) -> Side:
        """In the broker's words."""
        return "buy" if self.quantity > 0 else "sell"

    @property
    def ticket(self) -> Ticket:
        """What is sent."""
        return Ticket(self.client_order_id, self.symbol, self.side, quantise(self.quantity))

    @classmethod
    def of(cls, body: dict[str, Any]) -> Intent:
        """Return the intent of a journal event."""
        return cls(body["client_order_id"], body["symbol"], body["quantity"], body["catch_up"])


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


def plan(
    session: str, bar: str, placed: Sequence[Placed], drift: dict[str, Decimal], working: frozenset[str]
) -> tuple[list[Intent], list[str]]:
    """Return the orders that take the broker where the model goes, sales first, and the symbols that have to wait.

    ``placed`` is what the model ordered, ``drift`` the signed shares by symbol that it holds and the broker does not.
    Symbols that wait are those of ``working``, with an order that may still fill: a second one could trade twice.
    """
    ordered = {order.symbol: order.quantity for order in placed}
    wanted = {symbol: (ordered.get(symbol, 0.0), drift.get(symbol, Decimal(0))) for symbol in [*ordered, *drift]}
    held_back = sorted(symbol for symbol in wanted if symbol in working)
    intents = []
    for symbol, (quantity, missing) in wanted.items():
        total = quantity if not missing else float(signed(quantity) + missing)
        if symbol not in working and quantise(total):
            intents.append(Intent(client_order_id(session, bar, symbol, total), symbol, total, float(missing)))
    return sorted(intents, key=lambda intent: intent.quantity > 0), held_back


def signed(shares: float) -> Decimal:
    """Return signed shares in billionths, exactly."""
    return quantise(shares) if shares >= 0 else -quantise(shares)


class Outbox:
    """Sends intents and knows which of them nobody has confirmed.

    Args:
        broker: patient.
        journal: of the session.
        follower: is told of every order that the broker has.
        check: called before each order; raises when no order may go out any more.
        pause: waits some seconds.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        follower: Follower,
        check: Callable[[], None],
        pause: Callable[[float], None],
    ) -> None:
        self._broker, self._journal, self._follower, self._check, self._pause = broker, journal, follower, check, pause
        self._unknown: dict[str, tuple[str, Intent]] = {}

    @property
    def unknown(self) -> list[Intent]:
        """Intents of which it is not known whether they arrived."""
        return [intent for _, intent in self._unknown.values()]

    def restore(self, event: Event) -> bool:
        """Learn from an event of the journal which intents may have arrived; return whether one was refused."""
        body = event.body
        if event.kind == "intent":
            intent = Intent.of(body)
            self._unknown[intent.client_order_id] = (event.bar, intent)
        elif event.kind == "ack":
            _, intent = self._unknown.pop(body["client_order_id"])
            if body["status"] in NEVER_THERE:
                return bool(body["status"] == REFUSED)
            self._follower.restore_order(intent, body["order_id"], body["submitted_at"])
        return False

    def send(self, bar: str, intents: Iterable[Intent], *, whatever: bool = False) -> int:
        """Send intents that are in the journal; return how many were refused.

        Args:
            bar: they were decided after.
            intents: to send.
            whatever: ask nobody whether orders may still go out; to sell everything after the kill switch.

        Raises:
            BrokerUncertain: no answer, and the order cannot be looked up either; a restart goes on from here.
        """
        intents = list(intents)
        if not intents:
            return 0
        self._unknown |= {intent.client_order_id: (bar, intent) for intent in intents}
        with self._journal.batch() as batch:
            for intent in intents:
                batch.add("sent", bar, {"client_order_id": intent.client_order_id})
        return self._send_all(bar, intents, (lambda: None) if whatever else self._check)

    def resolve(self, *, late: bool = False) -> int:
        """Look up every intent without an ack; adopt what the broker has, send what it has not, return the refused.

        What the broker has not is given up when it is too ``late``: the next decision that is in time makes it good.
        """
        refused = 0
        for bar, intent in list(self._unknown.values()):
            found = self._look(intent)
            if found is not None:
                with self._journal.batch() as batch:
                    self._acknowledge(batch, bar, intent, found, adopted=True)
            elif late:
                body = {"client_order_id": intent.client_order_id, "status": GIVEN_UP, "message": "too late to act on"}
                self._journal.append("ack", bar, body)
                del self._unknown[intent.client_order_id]
            else:
                refused += self.send(bar, [intent])
        return refused

    def _look(self, intent: Intent) -> BrokerOrder | None:
        """Look an intent up, more than once: its request may have been on its way when the process died."""
        for look in range(LOOKS):
            if look:
                self._pause(LOOK_SECONDS)
            found = self._broker.find(intent.client_order_id)
            if found is not None:
                return found
        return None

    def _send_all(self, bar: str, intents: list[Intent], check: Callable[[], None]) -> int:
        answers: list[tuple[Intent, BrokerOrder | OrderRefused]] = []
        silent: Intent | None = None
        try:
            for intent in intents:
                check()
                silent = intent
                answers.append((intent, self._submit(intent)))
                silent = None
        finally:
            with self._journal.batch() as batch:
                for intent, answer in answers:
                    self._acknowledge(batch, bar, intent, answer, adopted=False)
                if silent is not None:
                    batch.add("unknown", bar, {"client_order_id": silent.client_order_id})
        return sum(isinstance(answer, OrderRefused) for _, answer in answers)

    def _submit(self, intent: Intent) -> BrokerOrder | OrderRefused:
        try:
            return self._broker.submit(intent.ticket)
        except BrokerUncertain:
            raise
        except OrderRefused as refusal:
            return refusal

    def _acknowledge(
        self, batch: Batch, bar: str, intent: Intent, answer: BrokerOrder | OrderRefused, adopted: bool
    ) -> None:
        body: dict[str, Any] = {"client_order_id": intent.client_order_id}
        if isinstance(answer, OrderRefused):
            batch.add("ack", bar, {**body, "status": REFUSED, "code": answer.code, "message": str(answer)})
            del self._unknown[intent.client_order_id]
            return
        if not answer.fulfils(intent.ticket):
            raise BrokerError(f"{intent.client_order_id}: the broker has another order under this id; nothing was sent")
        submitted_at = utc_text(answer.submitted_at)
        known = {"order_id": answer.id, "status": answer.status, "submitted_at": submitted_at, "adopted": adopted}
        batch.add("ack", bar, {**body, **known})
        del self._unknown[intent.client_order_id]
        self._follower.add(intent, answer)
