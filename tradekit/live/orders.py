"""The life of an order, as the journal tells it.

::

    PLANNED -> SENT -> WORKING -> PARTIAL -> FILLED | CANCELED | EXPIRED
                 |        `-----------------> FILLED | CANCELED | EXPIRED | REJECTED
                 |-> UNKNOWN -> WORKING | SENT (once more, under the same id)
                 `-> REJECTED

PLANNED: its intent is durable. UNKNOWN: sent, and no answer could be read. REJECTED: refused, or given up unsent. What
is final stays final: a later word that would change it is an error, not an update.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from tradekit.errors import SessionError
from tradekit.live.broker import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tradekit.live.journal import Event


REFUSED, GIVEN_UP = "refused", "given up"
NEVER_THERE = (REFUSED, GIVEN_UP)
"""What a journal says of an order that the broker refused, or that was found too late to be sent."""


class State(StrEnum):
    """Where an order stands."""

    PLANNED = "planned"
    SENT = "sent"
    UNKNOWN = "unknown"
    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


OPEN = frozenset({State.PLANNED, State.SENT, State.UNKNOWN, State.WORKING, State.PARTIAL})
_ENDS = {
    "filled": State.FILLED,
    "canceled": State.CANCELED,
    "replaced": State.CANCELED,
    "expired": State.EXPIRED,
    "rejected": State.REJECTED,
}
_LIVE = {State.WORKING, State.PARTIAL, State.FILLED, State.CANCELED, State.EXPIRED, State.REJECTED}
NEXT: dict[State, set[State]] = {
    State.PLANNED: {State.SENT, State.UNKNOWN, State.REJECTED, *_LIVE},
    State.SENT: {State.SENT, State.UNKNOWN, State.REJECTED, *_LIVE},
    State.UNKNOWN: {State.SENT, State.UNKNOWN, State.REJECTED, *_LIVE},
    State.WORKING: _LIVE,
    State.PARTIAL: _LIVE - {State.WORKING, State.REJECTED},
}
"""What may follow what. Nothing follows an end but the same end."""


@dataclass(frozen=True)
class OrderLife:
    """One order: signed shares asked for, shares filled so far, and its state."""

    client_order_id: str
    symbol: str
    quantity: float
    bar: str
    state: State = State.PLANNED
    filled: Decimal = Decimal(0)

    @property
    def is_open(self) -> bool:
        """Whether it may still fill, as far as the journal knows."""
        return self.state in OPEN

    def moved(self, state: State, filled: Decimal | None = None) -> OrderLife:
        """Return the order in its next state.

        Raises:
            SessionError: no order goes from the one state to the other, or its fills became fewer.
        """
        filled = self.filled if filled is None else filled
        allowed = NEXT.get(self.state, {self.state})
        if state not in allowed or filled < self.filled:
            raise SessionError(
                f"{self.client_order_id}: from {self.state} with {self.filled} filled to {state} with {filled}; "
                "no order does that: look at the broker's own list"
            )
        return replace(self, state=state, filled=filled)


def state_of(status: str, filled: Decimal) -> State:
    """Return the state that a broker's status means; one that is not known counts as open.

    >>> state_of("pending_cancel", Decimal(0)), state_of("brand_new_word", Decimal(2)), state_of("filled", Decimal(3))
    (<State.WORKING: 'working'>, <State.PARTIAL: 'partial'>, <State.FILLED: 'filled'>)
    """
    if status in FINAL:
        return _ENDS[status]
    return State.PARTIAL if filled else State.WORKING


def lives(events: Iterable[Event]) -> dict[str, OrderLife]:
    """Return every order of a journal by its id, in the order in which they were planned.

    Raises:
        SessionError: an event that cannot follow from those before.
    """
    found: dict[str, OrderLife] = {}
    for event in events:
        body = event.body
        key = body.get("client_order_id", "")
        if event.kind == "intent":
            found[key] = OrderLife(key, body["symbol"], body["quantity"], event.bar)
        elif event.kind == "sent":
            found[key] = found[key].moved(State.SENT)
        elif event.kind == "unknown":
            found[key] = found[key].moved(State.UNKNOWN)
        elif event.kind == "ack":
            status = body["status"]
            state = State.REJECTED if status in NEVER_THERE else state_of(status, Decimal(0))
            found[key] = found[key].moved(state)
        elif event.kind in ("event", "fill"):
            filled = Decimal(body["filled_shares"])
            found[key] = found[key].moved(state_of(body["status"], filled), filled)
    return found
