"""Limits of a session: what it never does, whatever the strategy says. Crossing one halts it, and nothing is sent."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import ConfigError, demand_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.live.outbox import Intent
    from tradekit.market.panel import Floats


@dataclass(frozen=True)
class Limits:
    """Fractions are of the shadow ledger's equity at the close of the decision bar, unless said otherwise.

    Attributes:
        order: notional of one order.
        position: notional of one symbol's position once its order is filled.
        gross: notional of all positions once all orders are filled.
        orders_per_day: orders for one symbol in one session date.
        turnover_per_day: notional ordered in one session date.
        daily_loss: loss since the close of the session date before, as a fraction of the equity then.
        drawdown: loss from the highest equity of the session, as a fraction of it.
        price_move: change of a symbol's price within one bar from which its price is not believed; a fraction.
        refusals_in_a_row: bars in a row in which the broker refused an order.
        clock_seconds: difference between the broker's clock and the bar's close, or this machine's clock.
        stale_seconds: how long into the next bar one may still act on this; later its decision is only journalled.
            Paper sessions.

    Raises:
        ConfigError: a value out of range.
    """

    order: float = 1.05
    position: float = 1.25
    gross: float = 2.1
    orders_per_day: int = 50
    turnover_per_day: float = 10.0
    daily_loss: float = 0.2
    drawdown: float = 0.5
    price_move: float = 0.6
    refusals_in_a_row: int = 3
    clock_seconds: float = 60.0
    stale_seconds: float = 600.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            whole = item.name in ("orders_per_day", "refusals_in_a_row")
            plain = isinstance(value, int) if whole else isinstance(value, int | float)
            if isinstance(value, bool) or not plain or not 0 < value < math.inf:
                raise ConfigError(f"limit {item.name} is {value!r}; a positive {'whole ' if whole else ''}number")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Limits:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("limit", settings, [item.name for item in fields(cls)])
        return cls(**settings)


class Holdings(NamedTuple):
    """What limits look at: symbols, their marks (N,), the bar before's marks (N,), signed shares (N,), equity in $."""

    symbols: tuple[str, ...]
    mark: Floats
    mark_before: Floats
    shares: Floats
    equity: float


class Watch:
    """Holds a session to its limits. Everything it remembers is told to it again when a journal is replayed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._day, self._day_start, self._ordered = "", math.nan, 0.0
        self._orders: Counter[str] = Counter()
        self._equity = self._peak = math.nan
        self._sent, self._refused, self._streak = "", False, 0

    def see(self, bar: str, equity: float) -> str | None:
        """Note the equity at the close of ``bar`` and return the limit that it crosses, in words."""
        if bar[:10] != self._day:
            self._day, self._day_start, self._ordered = bar[:10], self._equity, 0.0
            self._orders.clear()
        self._equity, self._peak = equity, float(np.fmax(self._peak, equity))
        limits = self._limits
        lost, fallen = 1.0 - equity / self._day_start, 1.0 - equity / self._peak
        if lost > limits.daily_loss:
            return _crossed("daily_loss", f"{lost:.1%} lost since the day before", f"{limits.daily_loss:.1%}")
        if fallen > limits.drawdown:
            return _crossed("drawdown", f"{fallen:.1%} below the highest equity", f"{limits.drawdown:.1%}")
        return None

    @property
    def drawdown(self) -> float:
        """Loss from the highest equity so far, as a fraction of it; 0 before the first bar."""
        return 0.0 if math.isnan(self._peak) else 1.0 - self._equity / self._peak

    @property
    def today(self) -> float:
        """Gain since the close of the session date before, as a fraction; 0 on the first."""
        return 0.0 if math.isnan(self._day_start) else self._equity / self._day_start - 1.0

    def check(self, intents: Sequence[Intent], held: Holdings) -> str | None:
        """Return the limit that these orders would cross, in words; nothing is noted."""
        if not intents:
            return None
        limits, equity = self._limits, held.equity
        column = {symbol: j for j, symbol in enumerate(held.symbols)}
        after, turnover = held.shares.copy(), self._ordered
        for intent in intents:
            j = column[intent.symbol]
            move, notional = held.mark[j] / held.mark_before[j] - 1.0, abs(intent.quantity) * held.mark[j]
            after[j] += intent.quantity
            turnover += notional
            if abs(move) > limits.price_move:
                return _crossed("price_move", f"{intent.symbol} moved {move:+.0%} in a bar", f"{limits.price_move:.0%}")
            if notional > limits.order * equity:
                return _crossed("order", f"{intent.symbol} {notional:,.2f}", f"{limits.order * equity:,.2f}")
            if self._orders[intent.symbol] >= limits.orders_per_day:
                return _crossed("orders_per_day", f"one more order of {intent.symbol}", str(limits.orders_per_day))
        if turnover > limits.turnover_per_day * equity:
            return _crossed("turnover_per_day", f"{turnover:,.2f}", f"{limits.turnover_per_day * equity:,.2f}")
        value = np.abs(np.nan_to_num(after * held.mark))
        largest = int(value.argmax())
        if value[largest] > limits.position * equity:
            text = f"{held.symbols[largest]} {value[largest]:,.2f}"
            return _crossed("position", text, f"{limits.position * equity:,.2f}")
        if value.sum() > limits.gross * equity:
            return _crossed("gross", f"{value.sum():,.2f}", f"{limits.gross * equity:,.2f}")
        return None

    def note(self, intents: Sequence[Intent], held: Holdings) -> None:
        """Count orders that are going out, or that a journal says went out."""
        column = {symbol: j for j, symbol in enumerate(held.symbols)}
        self._orders.update(intent.symbol for intent in intents)
        self._ordered += sum(abs(intent.quantity) * float(held.mark[column[intent.symbol]]) for intent in intents)

    def refused(self, bar: str, count: int) -> str | None:
        """Note how many orders of ``bar`` the broker refused and return the limit that this crosses, in words.

        Bars without orders are left out. Told of one bar twice, as after a restart, it adds up.
        """
        if bar != self._sent:
            self._sent, self._refused, self._streak = bar, False, self._streak + 1 if self._refused else 0
        self._refused |= count > 0
        running = self._streak + self._refused
        if running >= self._limits.refusals_in_a_row:
            return _crossed("refusals_in_a_row", f"orders refused in {running} bars running", "that")
        return None


def _crossed(name: str, what: str, limit: str) -> str:
    return f"limit {name}: {what}, at most {limit}; look why, then raise it in [limits] if that is right"
