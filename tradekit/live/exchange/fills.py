"""What the kernel's netted market orders do not cover: limit orders, orders at the close and orders by value, on bars.

The price is the market model's own, never worse than the limit. Money and shares move through the kernel, one order at
a time, at that price and without further costs but commission and fees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.market import kernel
from tradekit.market.costs import (
    BORROW,
    COMMISSION,
    IMPACT,
    IMPACT_ADV,
    INTEREST,
    MINIMUM,
    PER_SHARE,
    SAMPLED,
    SEED,
    SLIPPAGE,
    SLIPPAGE_MODE,
    SPREAD,
    WORST,
)
from tradekit.market.pricing import Rates, charge, floor_lots, nearest_lots, uniform

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.live.exchange.orders import Ask
    from tradekit.market.kernel import Book, Market, Rules
    from tradekit.market.panel import Floats, Panel
    from tradekit.market.pricing import Charge

# A handful of orders a bar are priced here: interpreted, they cost less than compiling would.
_charge: Callable[[Rates, float, float, float, float, float], Charge] = getattr(charge, "py_func", charge)
SHARE_STEPS = 60


class Filled(NamedTuple):
    """What became of one order in one bar: shares, dollars a share before and with costs, dollars beside the price.

    ``whole`` is False where cash or shares did not reach for all of it.
    """

    quantity: float
    reference: float
    price: float
    fees: float
    whole: bool = True


def touch(ask: Ask, panel: Panel, fills_at: str, column: int, t: int, edges: tuple[bool, bool]) -> float | None:
    """Return the price at which bar ``t`` meets an order, before costs; None when it does not.

    Args:
        ask: the order.
        panel: the bars; one without highs and lows trades at its closes only.
        fills_at: ``open`` or ``close``, where market orders fill.
        column: of the symbol.
        t: the bar.
        edges: whether it is the first, and the last bar of its session.
    """
    if (ask.time_in_force == "opg" and not edges[0]) or (ask.time_in_force == "cls" and not edges[1]):
        return None
    close = float(panel.close[t, column])
    at_close = ask.time_in_force == "cls" or fills_at == "close"
    price = close if at_close else float(panel.open[t, column])
    if not panel.tradable[t, column] or np.isnan(price):
        return None
    if ask.limit is None or ask.sign * (ask.limit - price) >= 0.0:
        return price
    if ask.time_in_force in ("opg", "cls", "ioc", "fok"):
        return None
    name = "low" if ask.side == "buy" else "high"
    extreme = float(getattr(panel, name)[t, column]) if name in panel.columns else close
    # Through, not at: whoever came first is served first, and nobody knows the queue.
    return ask.limit if ask.sign * (ask.limit - extreme) > 0.0 else None


class Desk(NamedTuple):
    """What fills one order: the kernel's arrays, and ``reference`` (T, N), the writable array under the market's."""

    market: Market
    rules: Rules
    row: Floats
    reference: Floats

    @classmethod
    def of(cls, market: Market, rules: Rules, row: Floats) -> Desk:
        """Return a desk over the market of a venue, with a reference of its own."""
        reference = np.array(market.reference)
        view = reference.view()
        view.setflags(write=False)
        return cls(market._replace(reference=view), rules._replace(participation=np.inf), row, reference)

    def price(self, equity: float, ask: Ask, quantity: float, reference: float, t: int, column: int) -> float:
        """Return dollars a share for ``quantity`` > 0 shares of a portfolio worth ``equity``, costs in the price.

        NaN where the model has no price: no liquidity known yet.
        """
        rates = self._rates(equity, t, column)
        paid = _charge(rates, ask.sign, quantity, reference, self._slippage(t, column), rates.impact)
        price = paid.executed / quantity
        if ask.limit is None:
            return price
        return min(price, ask.limit) if ask.side == "buy" else max(price, ask.limit)

    def shares(self, equity: float, ask: Ask, reference: float, t: int, column: int) -> float:
        """Return the shares that ``ask.notional`` dollars trade, to a lot; their price depends on their number."""
        assert ask.notional is not None
        quantity = ask.notional / reference
        for _ in range(SHARE_STEPS):
            closer = ask.notional / self.price(equity, ask, quantity, reference, t, column)
            if not abs(closer - quantity) > 1e-15 * quantity:
                break
            quantity = closer
        return floor_lots(quantity, self.rules.lots) if np.isfinite(quantity) else 0.0

    def fill(
        self, book: Book, b: int, j: int, ask: Ask, left: float, reference: float, t: int, equity: float
    ) -> Filled | None:
        """Trade ``left`` shares of position j of portfolio b in bar t as far as cash and shares reach, in place.

        ``equity`` is what the portfolio was worth at the close before.
        """
        column = int(book.column[b]) + j
        if not equity > 0.0:
            return None
        quantity = self.shares(equity, ask, reference, t, column) if ask.notional is not None else left
        if not quantity > 0.0:
            return None
        price = self.price(equity, ask, quantity, reference, t, column)
        if np.isnan(price) or (ask.time_in_force == "fok" and not self._whole(book, b, j, ask, quantity, price)):
            return None
        fills = np.zeros((*book.shares.shape, kernel.FILL_COLUMNS))
        waiting = book.due[b, 0].copy(), book.asked[b, 0].copy(), book.flags[b, 0].copy(), book.held[b].copy()
        before, self.reference[t, column] = self.reference[t, column], price
        book.due[b, 0] = 0.0
        book.due[b, 0, j] = ask.sign * quantity
        kernel.settle(self.market, self.rules, self._paid_in_cash(), book, fills, b, t)
        self.reference[t, column] = before
        book.due[b, 0], book.asked[b, 0], book.flags[b, 0], book.held[b] = waiting
        done = fills[b, j]
        traded = abs(float(done[kernel.QUANTITY]))
        if not traded:
            return None
        return Filled(
            nearest_lots(traded, self.rules.lots),
            reference,
            price,
            float(done[kernel.FILL_COMMISSION] + done[kernel.FILL_REGULATORY]),
            whole=traded >= quantity,
        )

    def _whole(self, book: Book, b: int, j: int, ask: Ask, quantity: float, price: float) -> bool:
        if ask.side == "sell":
            return self.rules.allow_short or quantity <= book.shares[b, j]
        outlay = quantity * price
        commission = self.row[COMMISSION] * outlay + self.row[PER_SHARE] * quantity
        return bool(outlay + max(commission, self.row[MINIMUM]) <= book.cash[b])

    def _paid_in_cash(self) -> Floats:
        """Return the cost table of an order whose price holds its costs already."""
        row = self.row.copy()
        row[[SPREAD, SLIPPAGE, IMPACT, BORROW, INTEREST]] = 0.0
        return row[None, :]

    def _rates(self, equity: float, t: int, column: int) -> Rates:
        row, market = self.row, self.market
        wide = float(market.spread_multiple[t]) if len(market.spread_multiple) > 1 else 1.0
        impact = float(row[IMPACT])
        if impact and row[IMPACT_ADV]:
            impact *= float(market.volatility[t - 1, column] / np.sqrt(market.dollar_volume[t - 1, column]))
        elif impact:
            impact /= float(np.sqrt(equity))
        return Rates(
            commission=float(row[COMMISSION]),
            per_share=float(row[PER_SHARE]),
            minimum=float(row[MINIMUM]),
            spread=float(row[SPREAD]) * wide,
            slippage=0.0,
            sampled=False,
            draws=np.uint64(0),
            impact=impact,
            adv=False,
            regulatory=0.0,
        )

    def _slippage(self, t: int, column: int) -> float:
        """Return slippage as a fraction of the notional."""
        row, market = self.row, self.market
        if row[SLIPPAGE_MODE] == SAMPLED:
            drawn = uniform(int(row[SEED]), 0, market.time_key[t], market.symbol_key[column])
            return float(row[SLIPPAGE] * drawn)
        return float(row[SLIPPAGE]) if row[SLIPPAGE_MODE] == WORST else 0.5 * float(row[SLIPPAGE])
