"""An order at the exchange, and what the exchange refuses, in Alpaca's codes and words."""

from __future__ import annotations

from dataclasses import dataclass
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

LONGEST_CLIENT_ID = 128
DECIMALS = 9


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
    """What a valid request asks for."""

    symbol: str
    side: Side
    quantity: float
    time_in_force: str
    client_order_id: str

    @property
    def signed(self) -> float:
        """Shares, negative for a sale."""
        return self.quantity if self.side == "buy" else -self.quantity


@dataclass
class Order:
    """One accepted order. ``bar`` is the bar after whose close it came; quantities are shares, unsigned."""

    id: str
    ask: Ask
    bar: int
    submitted_at: np.datetime64
    status: str = "accepted"
    filled: float = 0.0
    price: float | None = None
    commission: float = 0.0
    closed_at: np.datetime64 | None = None

    @property
    def is_open(self) -> bool:
        """Whether the order can still fill."""
        return self.status == "accepted"


class Execution(NamedTuple):
    """One fill, the exchange's own record of it: money in dollars, ``fees`` what was taken beside the price."""

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


def read_ask(body: Mapping[str, Any], whole: bool, in_force: tuple[str, ...], fallback_id: str) -> Ask:
    """Return what the JSON ``body`` of POST /v2/orders asks for; numbers in it are Decimal or text.

    Raises:
        Refusal: a field is missing, wrong, or asks for something that a bar replay cannot do honestly.
    """
    symbol, side = body.get("symbol"), body.get("side")
    if not isinstance(symbol, str) or not symbol:
        raise Refusal(422, BAD_REQUEST, "symbol is required")
    if side not in ("buy", "sell"):
        raise Refusal(422, BAD_REQUEST, "invalid side; use buy or sell")
    if body.get("type") != "market":
        raise Refusal(422, UNPROCESSABLE, "only market orders can be replayed on bars")
    if body.get("order_class") not in (None, "", "simple"):
        raise Refusal(422, UNPROCESSABLE, "only simple orders can be replayed on bars")
    if body.get("time_in_force") not in in_force:
        raise Refusal(422, UNPROCESSABLE, f"time_in_force must be {' or '.join(in_force)} where orders fill on bars")
    if body.get("notional") is not None:
        raise Refusal(422, UNPROCESSABLE, "notional orders are not replayed; send qty")
    client_id = body.get("client_order_id") or fallback_id
    if not isinstance(client_id, str) or len(client_id) > LONGEST_CLIENT_ID:
        raise Refusal(422, BAD_REQUEST, f"client_order_id must be no more than {LONGEST_CLIENT_ID} characters")
    quantity = _quantity(body.get("qty"), symbol, whole)
    return Ask(symbol, side, quantity, str(body["time_in_force"]), client_id)


def _quantity(value: Any, symbol: str, whole: bool) -> float:
    if value is None or isinstance(value, bool):
        raise Refusal(422, BAD_REQUEST, "qty or notional is required")
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise Refusal(422, BAD_REQUEST, "qty must be a number") from error
    if not (amount.is_finite() and amount > 0):
        raise Refusal(422, BAD_REQUEST, "qty must be > 0")
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DECIMALS:
        raise Refusal(422, UNPROCESSABLE, f"qty must be limited to {DECIMALS} decimal places")
    if whole and amount != amount.to_integral_value():
        raise Refusal(403, FORBIDDEN, f'asset "{symbol}" is not fractionable')
    return float(amount)
