"""The broker seam: the few things a session asks of a broker, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from tradekit.errors import BrokerError

if TYPE_CHECKING:
    import numpy as np

Side = Literal["buy", "sell"]

FINAL = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})
"""Order statuses after which nothing more fills. Every other one, known or not, counts as open."""

QUANTUM = Decimal("1e-9")
"""The finest quantity a broker takes, in shares."""


class OrderRefused(BrokerError):
    """The broker understood the request and said no: nothing was ordered."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class BrokerUncertain(BrokerError):
    """No readable answer: whether the request was carried out is not known. Look before sending again.

    ``retry_after`` is how many seconds the broker asks to be left alone for, None when it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Ticket:
    """A market order for the next bar. ``quantity`` is in shares, > 0, a whole number of billionths."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    time_in_force: str = "day"


@dataclass(frozen=True)
class BrokerOrder:
    """What the broker knows about one order.

    Attributes:
        id, client_order_id: the broker's id and ours.
        symbol, side, quantity: as ordered; shares.
        filled: shares filled so far.
        price: average fill price, None before the first fill.
        commission: dollars taken beside the price; None where the broker does not say.
        status: in the broker's words.
        submitted_at: UTC.
    """

    id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    price: float | None
    commission: float | None
    status: str
    submitted_at: np.datetime64

    @property
    def is_final(self) -> bool:
        """Whether nothing more will fill."""
        return self.status in FINAL

    def fulfils(self, ticket: Ticket) -> bool:
        """Whether this is the order that ``ticket`` asks for."""
        mine = (self.client_order_id, self.symbol, self.side, self.quantity)
        return mine == (ticket.client_order_id, ticket.symbol, ticket.side, ticket.quantity)


@dataclass(frozen=True)
class Account:
    """Dollars in the account, and whether it may trade."""

    cash: float
    equity: float
    blocked: bool


@dataclass(frozen=True)
class BrokerClock:
    """The broker's time, UTC, and whether its market is open."""

    now: np.datetime64
    is_open: bool


@dataclass(frozen=True)
class Execution:
    """One fill of an order: shares > 0, price per share, the order's id at the broker."""

    id: str
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: float


@runtime_checkable
class Broker(Protocol):
    """What a session needs of a broker. Every method may raise BrokerUncertain."""

    def account(self) -> Account:
        """Return cash, equity and flags."""

    def positions(self) -> dict[str, Decimal]:
        """Return signed shares by symbol, without the flat ones."""

    def submit(self, ticket: Ticket) -> BrokerOrder:
        """Order, and return what the broker made of it; raise OrderRefused when it said no."""

    def find(self, client_order_id: str) -> BrokerOrder | None:
        """Return the order with our id, None when the broker has none."""

    def orders(self, after: np.datetime64 | None = None) -> list[BrokerOrder]:
        """Return every order submitted after a UTC time, oldest first; all there are without one."""

    def cancel(self, order_id: str) -> None:
        """Ask to cancel the order with the broker's id; OrderRefused when nothing of it is left to cancel."""

    def clock(self) -> BrokerClock:
        """Return the broker's time."""

    def executions(self, after: np.datetime64 | None = None) -> list[Execution]:
        """Return every fill after a UTC time, oldest first; all there are without one."""

    def is_tradable(self, symbol: str) -> bool:
        """Return whether orders for a symbol are taken."""


def quantise(shares: float) -> Decimal:
    """Return unsigned shares as a whole number of billionths, never more than given.

    >>> quantise(-1.5), quantise(0.1 + 0.2), quantise(1e-10)
    (Decimal('1.500000000'), Decimal('0.300000000'), Decimal('0E-9'))
    """
    return Decimal(repr(abs(float(shares)))).quantize(QUANTUM, rounding=ROUND_DOWN)
