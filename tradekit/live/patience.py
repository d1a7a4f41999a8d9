"""Asking again: what an answer that did not come, or could not be read, is worth waiting for.

Questions are repeated until they are answered or patience ends. An order is never simply repeated: without an answer it
is looked up by its id, more than once, and only when the broker says that it has no such order does it go out again
under the same id. An id is accepted once, so the worst that can happen is a refusal, which is looked up as well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from tradekit.errors import ConfigError, SessionError, demand_known
from tradekit.live.broker import BrokerUncertain, OrderRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    import numpy as np

    from tradekit.live.broker import Account, Broker, BrokerClock, BrokerOrder, Execution, Ticket

    Sleep = Callable[[float], None]

Answer = TypeVar("Answer")

LOOKS = 2
"""How often an order without an answer has to be unknown to the broker before it is sent again."""
LOOK_SECONDS = 0.1
"""Pause between two such looks."""


@dataclass(frozen=True)
class Patience:
    """How long a session waits for an answer.

    Attributes:
        timeout_seconds: silence after which one request counts as lost.
        patience_seconds: how long a question is repeated before the session stops.
        first_wait_seconds: pause before the first repetition; doubled for each further one.
        longest_wait_seconds: where the doubling ends.
        requests_per_minute: requests sent to the broker in any minute at most; 0: no limit.
        late_seconds: how long a bar that some symbols still lack is waited for; 0: they count as not traded.
        delay_seconds: how long after its close a bar is asked for. Paper sessions.
        poll_seconds: longest time between two looks at the broker's clock. Paper sessions.

    Raises:
        ConfigError: a value out of range.
    """

    timeout_seconds: float = 15.0
    patience_seconds: float = 120.0
    first_wait_seconds: float = 0.05
    longest_wait_seconds: float = 5.0
    requests_per_minute: int = 0
    late_seconds: float = 0.0
    delay_seconds: float = 15.0
    poll_seconds: float = 30.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name == "requests_per_minute":
                continue
            value, least = getattr(self, item.name), 0.0 if item.name in ("late_seconds", "delay_seconds") else 1e-3
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 3600:
                raise ConfigError(f"{item.name} is {value!r}; seconds, {least:g} to 3600")
        budget: Any = self.requests_per_minute
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
            raise ConfigError(f"requests_per_minute is {budget!r}; a whole number, 0 for no limit")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Patience:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("key of [connection]", settings, [item.name for item in fields(cls)])
        return cls(**settings)


class Persistence:
    """Repeats questions, and keeps to a budget of requests.

    Args:
        patience: how long.
        stop: called before every wait; raises when the session is to end.
    """

    def __init__(self, patience: Patience, stop: Callable[[], None] = lambda: None) -> None:
        self._patience, self._stop = patience, stop
        self._sent: list[float] = []
        self.repeated = 0

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return the answer, however often the question has to be put.

        Raises:
            BrokerUncertain: patience ended; the last failure.
        """
        deadline, wait = time.monotonic() + self._patience.patience_seconds, self._patience.first_wait_seconds
        while True:
            try:
                return self.once(question)
            except BrokerUncertain as error:
                wanted = max(wait, error.retry_after or 0.0)
                if time.monotonic() + wanted > deadline:
                    raise
            self.repeated += 1
            self.pause(wanted)
            wait = min(2.0 * wait, self._patience.longest_wait_seconds)

    def once(self, question: Callable[[], Answer]) -> Answer:
        """Put the question once, within the budget."""
        self._spend()
        return question()

    def pause(self, seconds: float) -> None:
        """Wait, in slices short enough that a request to stop is heard."""
        until = time.monotonic() + seconds
        while True:
            self._stop()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.25))

    def _spend(self) -> None:
        budget = self._patience.requests_per_minute
        if not budget:
            return
        now = time.monotonic()
        self._sent = [moment for moment in self._sent if moment > now - 60.0]
        if len(self._sent) >= budget:
            self.pause(self._sent[0] + 60.0 - now)
        self._sent.append(time.monotonic())


class PatientBroker:
    """A broker whose questions are repeated and whose orders are looked up before they are sent again."""

    def __init__(self, broker: Broker, persistence: Persistence) -> None:
        self._broker, self._again = broker, persistence

    def submit(self, ticket: Ticket) -> BrokerOrder:
        """Send an order once.

        Raises:
            OrderRefused: the broker said no, and has no order of this id.
            BrokerUncertain: patience ended; the order may or may not be there.
        """
        return self._again.ask(lambda: self._attempt(ticket))

    def _attempt(self, ticket: Ticket) -> BrokerOrder:
        try:
            return self._broker.submit(ticket)
        except OrderRefused as refusal:
            # Refused as a duplicate: an earlier attempt, or an earlier life of this session, arrived.
            return self._look(ticket, 1, refusal)
        except BrokerUncertain as silence:
            return self._look(ticket, LOOKS, silence)

    def _look(self, ticket: Ticket, looks: int, otherwise: Exception) -> BrokerOrder:
        """Return the order when it is there; raise ``otherwise`` when it is not, however late one looks."""
        for look in range(looks):
            if look:
                self._again.pause(LOOK_SECONDS)
            found = self.find(ticket.client_order_id)
            if found is not None:
                return found
        raise otherwise

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """Return the order with our id, None when the broker has none."""
        return self._again.ask(lambda: self._broker.find(client_order_id))

    def account(self) -> Account:
        """Return cash, equity and flags."""
        return self._again.ask(self._broker.account)

    def positions(self) -> dict[str, Decimal]:
        """Return signed shares by symbol."""
        return self._again.ask(self._broker.positions)

    def orders(self, after: np.datetime64 | None = None) -> list[BrokerOrder]:
        """Return every order submitted after a time."""
        return self._again.ask(lambda: self._broker.orders(after))

    def cancel(self, order_id: str) -> None:
        """Ask to cancel; repeated until it is heard. Being too late is no failure: the order is looked at next."""
        try:
            self._again.ask(lambda: self._broker.cancel(order_id))
        except OrderRefused:
            return

    def clock(self) -> BrokerClock:
        """Return the broker's time."""
        return self._again.ask(self._broker.clock)

    def executions(self, after: np.datetime64 | None = None) -> list[Execution]:
        """Return every fill after a time."""
        return self._again.ask(lambda: self._broker.executions(after))

    def is_tradable(self, symbol: str) -> bool:
        """Return whether orders for a symbol are taken."""
        return self._again.ask(lambda: self._broker.is_tradable(symbol))


class Stopped(SessionError):
    """Somebody asked the session to stop. Nothing is wrong; started again it goes on."""


class Killed(SessionError):
    """The kill switch was pulled."""
