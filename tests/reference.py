"""The execution contract once more, slowly: Decimal arithmetic, dictionaries, no numba, nothing shared with the kernel.

It reads the same configuration (CostModel, ExecutionModel, Panel) and follows docs/execution.md sentence by sentence.
The tests hold the kernel to it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.regulatory import schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel

DIGITS = 34
ZERO, ONE, BPS = Decimal(0), Decimal(1), Decimal("0.0001")
WORD = 2**64


@dataclass
class Order:
    """What was asked after a bar closed and what became of it."""

    decided: int
    symbol: int
    asked: Decimal
    quantity: Decimal
    reasons: set[str] = field(default_factory=set)
    filled: int = -1
    done: Decimal = ZERO
    price: Decimal | None = None
    terms: dict[str, Decimal] = field(default_factory=dict)


@dataclass
class Result:
    """Equity and cash at every close, orders in order of fill bar, then symbol."""

    equity: list[Decimal]
    cash: list[Decimal]
    orders: list[Order]
    shares: dict[int, Decimal]
    average_cost: dict[int, Decimal]
    borrow: Decimal = ZERO
    interest: Decimal = ZERO


def splitmix(key: int) -> int:
    """Return the splitmix64 output for the state ``key``, in plain integers."""
    key = (key + 0x9E3779B97F4A7C15) % WORD
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) % WORD
    return key ^ (key >> 31)


def draw(seed: int, stream: int, nanoseconds: int, symbol: str) -> Decimal:
    """Return the share of the worst slippage that belongs to (seed, stream, bar, symbol)."""
    name = int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "little")
    key = splitmix(seed % WORD)
    for part in (stream, nanoseconds, name):
        key = splitmix(key ^ (part % WORD))
    return Decimal(key >> 11) / Decimal(2**53)


def known(value: Decimal | None) -> Decimal:
    """Return what the caller made sure of."""
    assert value is not None
    return value


class Reference:
    """One portfolio over all symbols of a panel."""

    def __init__(
        self, panel: Panel, costs: CostModel, execution: ExecutionModel, cash: float | str, stream: int = 0
    ) -> None:
        self.panel, self.costs, self.execution, self.stream = panel, costs, execution, stream
        self.symbols = range(len(panel.symbols))
        self.cash = Decimal(cash)
        self.equity = self.cash
        self.shares = dict.fromkeys(self.symbols, ZERO)
        self.average_cost = dict.fromkeys(self.symbols, ZERO)
        self.waiting: list[Order] = []
        self.finished: list[Order] = []
        self.borrow = self.interest = ZERO
        self.lots = Decimal(10**9) if execution.fractional else ONE
        self.fills_at_open = execution.fill_at == "open" or (execution.fill_at == "auto" and panel.has_open)
        self.fees = schedule(panel.timestamps)

    # ------------------------------------------------------------------------------------------------ what a bar says

    def mark(self, t: int, j: int) -> Decimal | None:
        """Return the last known close of symbol j at bar t."""
        for row in range(t, -1, -1):
            if not math.isnan(self.panel.close[row, j]):
                return Decimal(float(self.panel.close[row, j]))
        return None

    def price(self, t: int, j: int) -> Decimal | None:
        """Return the price at which symbol j fills in bar t before costs; None when it cannot."""
        table = self.panel.open if self.fills_at_open else self.panel.close
        if not self.panel.tradable[t, j] or math.isnan(table[t, j]):
            return None
        return Decimal(float(table[t, j]))

    def liquidity(self, t: int, j: int) -> tuple[Decimal, Decimal] | None:
        """Return mean dollar volume and standard deviation of log returns of the bars up to t."""
        first = max(0, t + 1 - self.costs.impact_window_bars)
        dollars, returns = [], []
        for row in range(first, t + 1):
            traded = float(self.panel.close[row, j]) * float(self.panel.volume[row, j])
            step = float(self.panel.close[row, j]) / float(self.panel.close[row - 1, j]) if row else math.nan
            if not math.isnan(traded):
                dollars.append(Decimal(traded))
            if not math.isnan(step):
                returns.append(Decimal(step).ln())
        if not dollars or sum(dollars, ZERO) == 0 or len(returns) < 2:
            return None
        mean = sum(returns, ZERO) / len(returns)
        variance = sum(((value - mean) ** 2 for value in returns), ZERO) / len(returns)
        return sum(dollars, ZERO) / len(dollars), variance.sqrt()

    # -------------------------------------------------------------------------------------------------------- a trade

    def trade(self, t: int, j: int, quantity: Decimal, side: int) -> tuple[Decimal, Decimal, dict[str, Decimal]]:
        """Return (cash moved, fill price, terms) of trading ``quantity`` > 0 shares."""
        costs, value = self.costs, quantity * known(self.price(t, j))
        wide = ONE if self.panel.spread_multiple is None else Decimal(float(self.panel.spread_multiple[t]))
        spread = Decimal(costs.spread_bps) * BPS * wide * value
        slippage = self.slippage(t, j) * value
        impact = known(self.impact(t, j, value))
        executed = value + side * (spread + slippage + impact)
        commission = Decimal(costs.commission_bps) * BPS * executed + Decimal(costs.commission_per_share) * quantity
        commission = max(commission, Decimal(costs.commission_minimum))
        regulatory = ZERO
        if side < 0:
            sec, taf, cap = (Decimal(float(table[t])) for table in self.fees)
            regulatory = Decimal(costs.regulatory) * (sec * executed + min(taf * quantity, cap))
        terms = {
            "commission": commission,
            "spread": spread,
            "slippage": slippage,
            "impact": impact,
            "regulatory": regulatory,
        }
        return executed + side * (commission + regulatory), executed / quantity, terms

    def slippage(self, t: int, j: int) -> Decimal:
        """Return slippage as a fraction of the notional."""
        worst = Decimal(self.costs.slippage_bps) * BPS
        if self.costs.slippage_mode == "worst":
            return worst
        if self.costs.slippage_mode == "expected":
            return worst / 2
        stamp = int(self.panel.timestamps[t].astype("M8[ns]").astype(int))
        return worst * draw(self.costs.slippage_seed, self.stream, stamp, self.panel.symbols[j])

    def impact(self, t: int, j: int, value: Decimal) -> Decimal | None:
        """Return the square-root impact in dollars."""
        coefficient = Decimal(self.costs.impact_coefficient)
        if coefficient == 0:
            return ZERO
        if self.costs.impact_basis == "equity":
            return coefficient * (value / self.equity).sqrt() * value
        answer = self.liquidity(t - 1, j)
        if answer is None:
            return None
        dollar_volume, volatility = answer
        return coefficient * volatility * (value / dollar_volume).sqrt() * value

    # -------------------------------------------------------------------------------------------------------- a bar

    def step(self, t: int) -> None:
        """Take the portfolio through bar t: carry, sells, buys, mark."""
        self.charge_carry(t)
        due = [order for order in self.waiting if order.filled == t]
        self.waiting = [order for order in self.waiting if order.filled != t]
        live = [order for order in due if self.can_fill(t, order)]
        for order in live:
            if order.quantity < 0:
                self.sell(t, order)
        self.buy(t, [order for order in live if order.quantity > 0])
        self.finished += due
        self.equity = self.cash
        for j in self.symbols:
            if self.shares[j] != 0:
                self.equity += self.shares[j] * known(self.mark(t, j))

    def charge_carry(self, t: int) -> None:
        """Charge borrow on short value and credit interest on cash for one night, if one passed before bar t."""
        if self.panel.sessions[t] == self.panel.sessions[t - 1]:
            return
        year = Decimal(252)
        short = ZERO
        for j in self.symbols:
            if self.shares[j] < 0:
                short -= self.shares[j] * (self.mark(t - 1, j) or ZERO)
        borrow = Decimal(self.costs.borrow_rate_annual) / year * short
        interest = Decimal(self.costs.cash_interest_annual) / year * max(self.cash, ZERO)
        self.cash += interest - borrow
        self.borrow += borrow
        self.interest += interest

    def can_fill(self, t: int, order: Order) -> bool:
        """Return whether the bar and the portfolio let the order fill at all."""
        if order.quantity == 0:
            return False
        if self.price(t, order.symbol) is None:
            order.reasons.add("untradable")
        elif self.equity <= 0:
            order.reasons.add("ruined")
        elif self.impact(t, order.symbol, ONE) is None:
            order.reasons.add("unpriced")
        else:
            return True
        return False

    def sell(self, t: int, order: Order) -> None:
        """Sell what is held, or all of it when shorts are allowed."""
        quantity = -order.quantity
        if not self.execution.allow_short and quantity > self.shares[order.symbol]:
            quantity = self.shares[order.symbol]
            order.reasons.add("long_only")
        if quantity == 0:
            return
        answer = self.trade(t, order.symbol, quantity, -1)
        if answer[0] <= 0:
            order.reasons.add("fees_exceed_proceeds")
        else:
            self.book(order, -quantity, *answer)

    def buy(self, t: int, orders: list[Order]) -> None:
        """Buy everything, or the largest common share of everything that the cash pays for."""
        factor = self.affordable(t, orders)
        for order in orders:
            quantity = order.quantity
            if factor < 1:
                order.reasons.add("cash_limited")
                quantity = math.floor(quantity * factor * self.lots) / self.lots
            if quantity > 0:
                self.book(order, quantity, *self.trade(t, order.symbol, quantity, 1))

    def affordable(self, t: int, orders: list[Order]) -> Decimal:
        """Return the common factor by bisection."""

        def outlay(factor: Decimal) -> Decimal:
            return sum((self.trade(t, order.symbol, order.quantity * factor, 1)[0] for order in orders), ZERO)

        if not orders or outlay(ONE) <= self.cash:
            return ONE
        low, high = ZERO, ONE
        for _ in range(64):
            middle = (low + high) / 2
            low, high = (middle, high) if outlay(middle) <= self.cash else (low, middle)
        return low

    def book(self, order: Order, quantity: Decimal, money: Decimal, price: Decimal, terms: dict[str, Decimal]) -> None:
        """Move shares and cash, and keep the average cost per share of what is held."""
        j, before = order.symbol, self.shares[order.symbol]
        after = before + quantity
        if after == 0:
            self.average_cost[j] = ZERO
        elif before == 0 or (before > 0) == (quantity > 0):
            self.average_cost[j] = (self.average_cost[j] * abs(before) + money) / abs(after)
        elif (before > 0) != (after > 0):
            self.average_cost[j] = money / abs(quantity)
        self.shares[j] = after
        self.cash += -money if quantity > 0 else money
        order.done, order.price, order.terms = quantity, price, terms

    # ------------------------------------------------------------------------------------------------- a decision

    def want_weight(self, t: int, j: int, weight: float) -> None:
        """Order what takes symbol j to ``weight`` of the equity, sized at the close of bar t."""
        mark = self.mark(t, j)
        if math.isnan(weight) or mark is None or self.equity <= 0:
            return
        target = Decimal(weight) * self.equity * (ONE - Decimal(self.execution.cash_buffer)) / mark
        self.want_shares(t, j, target - self.expected(j))

    def expected(self, j: int) -> Decimal:
        """Return the shares of symbol j once the waiting orders have filled, as far as they can."""
        shares = self.shares[j]
        for order in sorted(self.waiting, key=lambda order: order.filled):
            if order.symbol == j:
                shares += order.quantity
                if not self.execution.allow_short:
                    shares = max(shares, ZERO)
        return shares

    def want_shares(self, t: int, j: int, asked: Decimal) -> None:
        """Order ``asked`` signed shares of symbol j after the close of bar t."""
        mark = self.mark(t, j)
        if mark is None or asked.is_nan():
            return
        reasons = set()
        quantity = self.truncated(asked)
        if not self.execution.allow_short and quantity < -self.truncated(self.expected(j)):
            quantity = -self.truncated(self.expected(j))
            reasons.add("long_only")
        if (quantity == 0 and not reasons) or abs(asked) * mark < Decimal(self.execution.min_trade):
            return
        if self.execution.max_participation is not None:
            volume = float(self.panel.volume[t, j])
            most = ZERO if math.isnan(volume) else Decimal(self.execution.max_participation) * Decimal(volume)
            most = math.floor(most * self.lots) / self.lots
            if abs(quantity) > most:
                quantity = most.copy_sign(quantity)
                reasons.add("participation")
        fill_bar = t + 1 + self.execution.latency_bars
        self.waiting.append(Order(t, j, asked, quantity, reasons, filled=fill_bar))

    def truncated(self, quantity: Decimal) -> Decimal:
        """Drop the part of a lot, unless only the last digit of a double keeps it from being whole."""
        units = abs(quantity) * self.lots
        whole = units.to_integral_value()
        if abs(units - whole) > Decimal("1e-15") * units:
            whole = Decimal(math.floor(units))
        return (whole / self.lots).copy_sign(quantity)


def run(
    panel: Panel,
    targets: Floats | Sequence[Sequence[float]],
    costs: CostModel,
    execution: ExecutionModel,
    cash: float | str,
    *,
    shares: bool = False,
    stream: int = 0,
) -> Result:
    """Run one table of target weights, or of share requests, over all bars of ``panel``."""
    with localcontext() as context:
        context.prec = DIGITS
        portfolio = Reference(panel, costs, execution, cash, stream)
        equity, money = [], []
        for t in range(len(panel)):
            if t > 0:
                portfolio.step(t)
            equity.append(portfolio.equity)
            money.append(portfolio.cash)
            if t < len(panel) - 1:
                for j, target in enumerate(np.asarray(targets, dtype=np.float64)[t]):
                    if shares:
                        portfolio.want_shares(t, j, Decimal(float(target)))
                    else:
                        portfolio.want_weight(t, j, float(target))
        orders = sorted(portfolio.finished, key=lambda order: (order.filled, order.symbol))
        return Result(
            equity,
            money,
            orders,
            portfolio.shares,
            portfolio.average_cost,
            portfolio.borrow,
            portfolio.interest,
        )
