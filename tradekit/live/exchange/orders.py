"""An order at the exchange, and what the exchange refuses, in Alpaca's codes and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Side = Literal["buy", "sell"]

BAD_REQUEST = 40010001
BAD_BODY = 40010000
UNAUTHORIZED = 40110000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
UNPROCESSABLE = 42210000
RATE_LIMITED = 42910000

LONGEST_CLIENT_ID = 128
DECIMALS = 9
OPEN = frozenset(("accepted", "new", "partially_filled", "pending_cancel"))
TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")


class Refusal(Exception):
    """The exchange says no: HTTP status, Alpaca's code and message, and further fields of the answer."""

    def __init__(self, status: int, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details

    @property
    def body(self) -> dict[str, Any]:
        """The answer as JSON."""
        return {"code": self.code, "message": self.message, **self.details}


class Ask(NamedTuple):
    """What a valid request asks for: shares, or dollars in ``notional`` with ``quantity`` 0; a price when limited."""

    symbol: str
    side: Side
    quantity: float
    time_in_force: str
    client_order_id: str
    limit: float | None = None
    notional: float | None = None

    @property
    def sign(self) -> float:
        """1 for a purchase, -1 for a sale."""
        return 1.0 if self.side == "buy" else -1.0


@dataclass(frozen=True)
class Behaviour:
    """How an order departs from the model on request; see the faults of the same names.

    ``share`` of it fills at once; the rest is cancelled, or shows after ``rest_reads`` answers. ``odd_reads`` answers
    give a status that nobody knows.
    """

    share: float = 1.0
    rest_reads: int | None = None
    odd_reads: int = 0


@dataclass
class Order:
    """One accepted order. ``bar`` is the bar after whose close it came; quantities are shares, unsigned."""

    id: str
    ask: Ask
    bar: int
    submitted_at: np.datetime64
    behaviour: Behaviour = field(default_factory=Behaviour)
    status: str = "accepted"
    filled: float = 0.0
    price: float | None = None
    commission: float = 0.0
    closed_at: np.datetime64 | None = None
    updated_at: np.datetime64 | None = None
    filled_at: np.datetime64 | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    fills: int = 0
    odd_reads: int = 0
    """Answers that will still show a status nobody knows."""
    rest_shown: int = 0
    """Answers that have shown it without the rest that a fault keeps back."""
    stuck_reads: int | None = None
    """Answers that will still show a cancel pending, 0 for ever; None when no cancel is stuck."""

    def behave(self, behaviour: Behaviour) -> None:
        """Depart from the model from now on as a fault says."""
        self.behaviour, self.odd_reads = behaviour, behaviour.odd_reads

    @property
    def is_open(self) -> bool:
        """Whether the order can still fill."""
        return self.status in OPEN

    @property
    def left(self) -> float:
        """Shares not filled yet, unrounded; 0 for an order by value that has not filled."""
        return max(self.ask.quantity - self.filled, 0.0)


class Execution(NamedTuple):
    """One fill, the exchange's own record of it: money in dollars, ``fees`` what was taken beside the price.

    ``cumulative`` is what the order has filled with this; ``status`` what the order became by it.
    """

    id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: float
    price: float
    reference: float
    fees: float
    bar: int
    time: np.datetime64
    cumulative: float
    status: str


def read_ask(body: Mapping[str, Any], whole: bool, opens: bool, fallback_id: str) -> Ask:
    """Return what the JSON ``body`` of POST /v2/orders asks for; numbers in it are Decimal or text.

    Args:
        body: the request.
        whole: refuse fractions of a share, and orders by value.
        opens: whether the data has opens, so that something can fill at the open.
        fallback_id: client order id when there is none.

    Raises:
        Refusal: a field is missing, wrong, or asks for something that a bar replay cannot do honestly.
    """
    symbol, side = body.get("symbol"), body.get("side")
    if not isinstance(symbol, str) or not symbol:
        raise Refusal(422, BAD_REQUEST, "symbol is required")
    if side not in ("buy", "sell"):
        raise Refusal(422, BAD_REQUEST, "invalid side; use buy or sell")
    _demand_replayable(body, opens)
    client_id = body.get("client_order_id") or fallback_id
    if not isinstance(client_id, str) or len(client_id) > LONGEST_CLIENT_ID:
        raise Refusal(422, BAD_REQUEST, f"client_order_id must be no more than {LONGEST_CLIENT_ID} characters")
    limit = _limit(body) if body["type"] == "limit" else None
    quantity, notional = _size(body, symbol, whole)
    ask = Ask(symbol, side, quantity, str(body["time_in_force"]), client_id, limit, notional)
    if (notional is not None or quantity != int(quantity)) and (limit is not None or ask.time_in_force != "day"):
        raise Refusal(422, UNPROCESSABLE, "fractional orders must be DAY market orders")
    return ask


def _demand_replayable(body: Mapping[str, Any], opens: bool) -> None:
    if body.get("type") not in ("market", "limit"):
        raise Refusal(422, UNPROCESSABLE, f"invalid order type {body.get('type')!r}: bars replay market and limit")
    if body.get("order_class") not in (None, "", "simple"):
        raise Refusal(422, UNPROCESSABLE, f"order class {body['order_class']!r} is not replayed on bars; use simple")
    if body.get("time_in_force") not in TIMES_IN_FORCE:
        raise Refusal(422, BAD_REQUEST, f"invalid time_in_force; use {', '.join(TIMES_IN_FORCE)}")
    if body["time_in_force"] == "opg" and not opens:
        raise Refusal(422, UNPROCESSABLE, "opg orders need opens, and this replay fills at the close; use day or cls")
    if body.get("extended_hours"):
        raise Refusal(422, UNPROCESSABLE, "extended hours are not replayed")
    for name in ("stop_price", "trail_price", "trail_percent", "take_profit", "stop_loss", "legs"):
        if body.get(name) is not None:
            raise Refusal(422, UNPROCESSABLE, f"{name} is not replayed on bars")


def _limit(body: Mapping[str, Any]) -> float:
    if body.get("limit_price") is None:
        raise Refusal(422, BAD_REQUEST, "limit orders require a limit_price")
    price = positive("limit_price", body["limit_price"])
    if _decimals(price) > (2 if price >= 1 else 4):
        raise Refusal(
            422,
            UNPROCESSABLE,
            f"invalid limit_price {price}. sub-penny increment does not fulfill minimum pricing criteria",
        )
    return float(price)


def _size(body: Mapping[str, Any], symbol: str, whole: bool) -> tuple[float, float | None]:
    value, notional = body.get("qty"), body.get("notional")
    if (value is None) == (notional is None):
        raise Refusal(422, BAD_REQUEST, "qty or notional is required, and only one of them")
    if notional is not None:
        dollars = positive("notional", notional)
        if _decimals(dollars) > 2:
            raise Refusal(422, UNPROCESSABLE, "notional amounts must be limited to 2 decimal places")
        if whole:
            raise Refusal(403, FORBIDDEN, f'asset "{symbol}" is not fractionable')
        return 0.0, float(dollars)
    amount = positive("qty", value)
    if _decimals(amount) > DECIMALS:
        raise Refusal(422, UNPROCESSABLE, f"qty must be limited to {DECIMALS} decimal places")
    if whole and amount != amount.to_integral_value():
        raise Refusal(403, FORBIDDEN, f'asset "{symbol}" is not fractionable')
    return float(amount), None


def positive(name: str, value: Any) -> Decimal:
    """Return a number of a request, or raise Refusal."""
    try:
        amount = Decimal("nan") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation as error:
        raise Refusal(422, BAD_REQUEST, f"{name} must be a number") from error
    if not (amount.is_finite() and amount > 0):
        raise Refusal(422, BAD_REQUEST, f"{name} must be > 0")
    return amount


def _decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0
