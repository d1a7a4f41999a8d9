"""Round trips: from the fill that opens a position to the one that closes it, with what it brought after costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.report.record import Orders

DIGITS = 9  # shares come in billionths; sums of floats do not


class RoundTrip(NamedTuple):
    """One position from flat to flat, or still open.

    Attributes:
        strategy, symbol: whose.
        side: ``long`` or ``short``.
        entered, exited: opens of the bars of the first and last fill; NaT while it is open.
        fills: orders that filled; one that turns a position around counts for both.
        shares: held at most, > 0.
        entry_price, exit_price: mean reference price of the fills that opened and closed, weighted by shares; NaN
            before the first that closes.
        cost: dollars of all terms, of what has filled so far.
        profit: dollars after costs; NaN while it is open.
        profit_rate: profit over the dollars that the opening fills were worth.
    """

    strategy: str
    symbol: str
    side: str
    entered: np.datetime64
    exited: np.datetime64
    fills: int
    shares: float
    entry_price: float
    exit_price: float
    cost: float
    profit: float
    profit_rate: float


@dataclass
class _Open:
    """A position under way: shares and dollars that opened it and closed it, both > 0 for long and short alike."""

    sign: float
    entered: np.datetime64
    fills: int = 0
    most: float = 0.0
    cost: float = 0.0
    opened: list[float] = field(default_factory=lambda: [0.0, 0.0])
    closed: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, shares: float, price: float, cost: float) -> None:
        """Count ``shares`` filled, signed."""
        side = self.opened if shares * self.sign > 0.0 else self.closed
        side[0] += abs(shares)
        side[1] += abs(shares) * price
        self.fills += 1
        self.cost += cost

    def trip(self, strategy: str, symbol: str, exited: np.datetime64) -> RoundTrip:
        """Return the round trip so far; NaT leaves it open."""
        done = not np.isnat(exited)
        profit = self.sign * (self.closed[1] - self.opened[1]) - self.cost if done else np.nan
        return RoundTrip(
            strategy=strategy,
            symbol=symbol,
            side="long" if self.sign > 0.0 else "short",
            entered=self.entered,
            exited=exited,
            fills=self.fills,
            shares=self.most,
            entry_price=self.opened[1] / self.opened[0],
            exit_price=self.closed[1] / self.closed[0] if self.closed[0] else np.nan,
            cost=self.cost,
            profit=profit,
            profit_rate=profit / self.opened[1],
        )


def round_trips(orders: Orders) -> list[RoundTrip]:
    """Return the round trips of all strategies, by strategy, symbol and time.

    Interest, borrowing fees and price changes of open positions are in none of them: with those they add up to the gain
    of the account.
    """
    found: list[RoundTrip] = []
    for strategy in dict.fromkeys(orders.strategy.tolist()):
        mine = orders.of(strategy)
        for symbol in sorted(set(mine.symbol.tolist())):
            rows = np.flatnonzero((mine.symbol == symbol) & (mine.numbers["quantity"] != 0.0))
            found += _of_symbol(strategy, symbol, _fills(mine, rows))
    return found


class _Fill(NamedTuple):
    moment: np.datetime64
    shares: float
    price: float
    cost: float
    held: float
    """After it."""


def _fills(orders: Orders, rows: Any) -> Iterator[_Fill]:
    shares = orders.numbers["quantity"][rows]
    cost = np.sum([orders.numbers[term][rows] for term in TERMS], axis=0)
    held = np.cumsum(shares).round(DIGITS)
    columns = (shares.tolist(), orders.numbers["reference"][rows].tolist(), cost.tolist(), held.tolist())
    for moment, *numbers in zip(orders.filled[rows], *columns, strict=True):
        yield _Fill(moment, *numbers)


def _of_symbol(strategy: str, symbol: str, fills: Iterator[_Fill]) -> Iterator[RoundTrip]:
    trip, before = None, 0.0
    for fill in fills:
        through = before * fill.held < 0.0
        closing = -before if through else fill.shares
        if trip is None:
            trip = _Open(np.sign(fill.shares), fill.moment)
        trip.add(closing, fill.price, fill.cost * closing / fill.shares)
        trip.most = max(trip.most, abs(fill.held) if not through else 0.0)
        if fill.held == 0.0 or through:
            yield trip.trip(strategy, symbol, fill.moment)
            trip = None
        if through:
            trip = _Open(np.sign(fill.held), fill.moment)
            trip.add(fill.held, fill.price, fill.cost * fill.held / fill.shares)
            trip.most = abs(fill.held)
        before = fill.held
    if trip is not None:
        yield trip.trip(strategy, symbol, np.datetime64("NaT", "ns"))
