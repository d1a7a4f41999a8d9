"""The step: how orders fill, what they cost and how a portfolio is sized. numba, one portfolio at a time.

Everything that moves money runs through ``settle`` and the two ``place`` functions: the open-loop backtest, the
lockstep roll-out, the training environment and the session's shadow ledger. A run over bars is, for every bar t:

1. ``settle(t)``: carry is charged, the orders due in t fill (sells, then buys), equity is marked at the close of t;
2. ``place_*(t)``: a decision made from bars <= t becomes orders due ``1 + latency`` bars later.

Arrays: T bars, N panel columns, S cost scenarios, B portfolios of n consecutive columns each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradekit.market.costs import BORROW, INTEREST, TERMS
from tradekit.market.jit import compiled, inlined
from tradekit.market.pricing import (
    WHOLE,
    Charge,
    Rates,
    affordable,
    charge,
    floor_lots,
    nearest_lots,
    outlay_slope,
    rates_of,
    slippage_of,
    uniform,
)

__all__ = [
    "ORDER",
    "Book",
    "Market",
    "Rules",
    "advance",
    "carry",
    "floor_lots",
    "nearest_lots",
    "pending",
    "place",
    "place_shares",
    "place_weight",
    "settle",
    "uniform",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Why an order did not fill as asked: bit flags, so that several can hold at once.
CASH_LIMITED, PARTICIPATION, UNTRADABLE, LONG_ONLY, FEES_EXCEED, RUINED, UNPRICED = 1, 2, 4, 8, 16, 32, 64

# Columns of a fill.
(
    REQUESTED,
    QUANTITY,
    REFERENCE,
    PRICE,
    FILL_COMMISSION,
    FILL_SPREAD,
    FILL_SLIPPAGE,
    FILL_IMPACT,
    FILL_REGULATORY,
    REASON,
    FILL_COLUMNS,
) = range(11)
ORDER = np.dtype(
    [
        ("decision_bar", "i8"),
        ("fill_bar", "i8"),
        ("portfolio", "i8"),
        ("symbol", "i8"),
        ("requested", "f8"),
        ("quantity", "f8"),
        ("reference", "f8"),
        ("price", "f8"),
        *((term, "f8") for term in TERMS),
        ("reason", "i8"),
    ]
)
"""One order: decision and fill row, portfolio, symbol column, then the columns of its fill."""
ORDER_COLUMNS = 4 + FILL_COLUMNS


class Market(NamedTuple):
    """What the kernels read of a panel. Arrays a rule does not use may have shape (1, 1).

    reference (T, N) fill price before costs, NaN where nothing can fill; mark (T, N) last known close; volume (T, N)
    shares, for participation; dollar_volume, volatility (T, N) trailing, for the ``adv`` impact basis; time_key (T,),
    symbol_key (N,) uint64 keys of the sampled slippage; sec_rate, taf_rate, taf_cap (T,) regulatory schedule;
    nights (T,) sessions that began between the bar before and this one, for borrow and interest; spread_multiple (T,)
    factor on the spread, or (1,) where it never changes.
    """

    reference: Floats
    mark: Floats
    volume: Floats
    dollar_volume: Floats
    volatility: Floats
    time_key: NDArray[np.uint64]
    symbol_key: NDArray[np.uint64]
    sec_rate: Floats
    taf_rate: Floats
    taf_cap: Floats
    nights: Floats
    spread_multiple: Floats


class Rules(NamedTuple):
    """The execution model as the kernels read it: lots is shares' resolution, 1 / smallest quantity."""

    latency: int
    lots: float
    participation: float
    min_trade: float
    cash_buffer: float
    allow_short: bool


class Book(NamedTuple):
    """State of B portfolios, changed in place.

    cash, equity, peak (B,); shares, average_cost (costs included; 0 when flat), held (bars since entry) (B, n);
    due, asked, flags (B, 1 + latency, n) orders waiting, by fill bar modulo 1 + latency; carry (B, 2) borrow paid and
    interest earned so far; column (B,) first panel column; scenario (B,) cost row; stream (B,) slippage stream; queue
    (B, n) room to sort orders in, meaningless between steps.
    """

    cash: Floats
    equity: Floats
    peak: Floats
    shares: Floats
    average_cost: Floats
    held: Ints
    due: Floats
    asked: Floats
    flags: Ints
    carry: Floats
    column: Ints
    scenario: Ints
    stream: Ints
    queue: Ints


@inlined
def _impact(market: Market, rates: Rates, t: int, column: int) -> float:
    """Return k of the impact k v^1.5 in dollars, from bars before t; NaN when it cannot be known."""
    if rates.adv:
        return float(rates.impact * market.volatility[t - 1, column] / np.sqrt(market.dollar_volume[t - 1, column]))
    return rates.impact


@inlined
def carry(market: Market, row: Floats, book: Book, b: int, t: int) -> None:
    """Charge borrow on shorts and credit interest on cash for the nights before bar t, at the last marks."""
    nights = market.nights[t]
    if nights == 0.0 or (row[BORROW] == 0.0 and row[INTEREST] == 0.0):
        return
    short = 0.0
    for j in range(book.shares.shape[1]):
        if book.shares[b, j] < 0.0:
            short -= book.shares[b, j] * market.mark[t - 1, book.column[b] + j]
    borrow = row[BORROW] * nights * short
    interest = row[INTEREST] * nights * max(book.cash[b], 0.0)
    book.cash[b] += interest - borrow
    book.carry[b, 0] += borrow
    book.carry[b, 1] += interest


@inlined
def _enter(rules: Rules, book: Book, b: int, j: int, quantity: float, money: float) -> None:
    """Move ``quantity`` signed shares into position j at ``money`` cash (outlay or proceeds, positive)."""
    before = book.shares[b, j]
    units = (before + quantity) * rules.lots
    after = np.rint(units) / rules.lots if abs(units) < WHOLE else before + quantity
    if after == 0.0:
        book.average_cost[b, j] = 0.0
    elif before * quantity >= 0.0:
        book.average_cost[b, j] = (book.average_cost[b, j] * abs(before) + money) / abs(after)
    elif before * after < 0.0:
        book.average_cost[b, j] = money / abs(quantity)
    if before * after <= 0.0:
        book.held[b, j] = 0
    book.shares[b, j] = after


@inlined
def _flag(fills: Floats, b: int, j: int, reason: int) -> None:
    if len(fills) > 0:
        fills[b, j, REASON] = int(fills[b, j, REASON]) | reason


@inlined
def _record(fills: Floats, b: int, j: int, quantity: float, paid: Charge, regulatory: float) -> None:
    """Write what a fill of ``quantity`` signed shares cost."""
    if len(fills) > 0:
        fills[b, j, QUANTITY] = quantity
        fills[b, j, PRICE] = paid.executed / abs(quantity)
        fills[b, j, FILL_COMMISSION] = paid.commission
        fills[b, j, FILL_SPREAD] = paid.spread
        fills[b, j, FILL_SLIPPAGE] = paid.slippage
        fills[b, j, FILL_IMPACT] = paid.impact
        fills[b, j, FILL_REGULATORY] = regulatory


@inlined
def _begin_fills(market: Market, book: Book, fills: Floats, b: int, t: int, slot: int) -> None:
    """Overwrite the fills of portfolio b with what is due and nothing filled."""
    for j in range(fills.shape[1]):
        fills[b, j, REQUESTED] = book.asked[b, slot, j]
        fills[b, j, QUANTITY] = 0.0
        fills[b, j, REFERENCE] = market.reference[t, book.column[b] + j]
        fills[b, j, PRICE] = np.nan
        for item in range(FILL_COMMISSION, REASON):
            fills[b, j, item] = 0.0
        fills[b, j, REASON] = book.flags[b, slot, j]


@inlined
def _sell(
    market: Market, rules: Rules, rates: Rates, book: Book, fills: Floats, b: int, t: int, j: int, quantity: float
) -> None:
    """Sell ``quantity`` > 0 shares of position j, or what is held of them, at the reference price less costs."""
    if not rules.allow_short and quantity > book.shares[b, j]:
        quantity = book.shares[b, j]
        _flag(fills, b, j, LONG_ONLY)
        if quantity == 0.0:
            return
    column = book.column[b] + j
    slippage = slippage_of(rates, market.symbol_key[column])
    paid = charge(rates, -1.0, quantity, market.reference[t, column], slippage, _impact(market, rates, t, column))
    regulatory = 0.0
    if rates.regulatory > 0.0:
        taf = min(market.taf_rate[t] * quantity, market.taf_cap[t])
        regulatory = rates.regulatory * (market.sec_rate[t] * paid.executed + taf)
    proceeds = paid.executed - paid.commission - regulatory
    if not proceeds > 0.0:
        _flag(fills, b, j, FEES_EXCEED)
        return
    book.cash[b] += proceeds
    _enter(rules, book, b, j, -quantity, proceeds)
    _record(fills, b, j, -quantity, paid, regulatory)


@inlined
def _buy(
    market: Market, rules: Rules, rates: Rates, book: Book, fills: Floats, b: int, t: int, j: int, quantity: float
) -> None:
    """Buy ``quantity`` > 0 shares of position j at the reference price plus costs, or what the cash pays for."""
    column = book.column[b] + j
    price, impact = market.reference[t, column], _impact(market, rates, t, column)
    slippage = slippage_of(rates, market.symbol_key[column])
    while quantity > 0.0:
        paid = charge(rates, 1.0, quantity, price, slippage, impact)
        outlay = paid.executed + paid.commission
        if outlay <= book.cash[b]:
            book.cash[b] -= outlay
            _enter(rules, book, b, j, quantity, outlay)
            _record(fills, b, j, quantity, paid, 0.0)
            return
        # The common scale is exact up to rounding, and what rounding leaves above the cash is not bought.
        _flag(fills, b, j, CASH_LIMITED)
        excess = max((outlay - book.cash[b]) / price, 0.5 / rules.lots)
        # Truncation divides, which may round up; the quantity must come down all the same.
        lower = min(quantity - excess, np.nextafter(quantity, 0.0))
        quantity = min(floor_lots(lower, rules.lots), lower)


@inlined
def _sort_due(market: Market, rates: Rates, book: Book, fills: Floats, b: int, t: int, slot: int) -> tuple[int, int]:
    """Queue the due orders that can fill, sells from the left and buys from the right; return the number of each.

    Whether the next order buys or sells is a coin toss to the processor; with the queue it need not guess.
    """
    sells = buys = 0
    last = book.due.shape[2] - 1
    for j in range(last + 1):
        quantity = book.due[b, slot, j]
        if quantity == 0.0:
            continue
        reason = 0
        if np.isnan(market.reference[t, book.column[b] + j]):
            reason = UNTRADABLE
        elif not book.equity[b] > 0.0:
            reason = RUINED
        elif rates.adv and np.isnan(_impact(market, rates, t, book.column[b] + j)):
            reason = UNPRICED
        if reason != 0:
            _flag(fills, b, j, reason)
            continue
        book.queue[b, sells] = book.queue[b, last - buys] = j
        sells += quantity < 0.0
        buys += quantity > 0.0
    return sells, buys


@inlined
def _outlay(market: Market, rates: Rates, book: Book, b: int, t: int, slot: int, buys: int) -> tuple[float, float]:
    """Return what the queued buys take at scale s, ``linear s + power s^1.5`` dollars, minimum commissions left out."""
    linear = power = 0.0
    for i in range(buys):
        j = book.queue[b, book.queue.shape[1] - 1 - i]
        column = book.column[b] + j
        quantity = book.due[b, slot, j]
        value = quantity * market.reference[t, column]
        slippage = slippage_of(rates, market.symbol_key[column])
        linear += (1.0 + rates.commission) * (value + rates.spread * value + slippage * value)
        linear += rates.per_share * quantity
        power += (1.0 + rates.commission) * _impact(market, rates, t, column) * value * np.sqrt(value)
    return linear, power


@inlined
def _affordable_above_minimum(market: Market, rates: Rates, book: Book, b: int, t: int, slot: int, buys: int) -> float:
    """Return the common scale of the queued buys when commissions have a minimum; 0 when not even those can be paid.

    Each outlay is the larger of two convex functions of the scale, so Newton's method comes down on the root as in
    ``affordable``.
    """
    scale = 1.0
    while True:
        excess, slope = -book.cash[b], 0.0
        for i in range(buys):
            j = book.queue[b, book.queue.shape[1] - 1 - i]
            column = book.column[b] + j
            quantity, price = book.due[b, slot, j] * scale, market.reference[t, column]
            slippage, impact = slippage_of(rates, market.symbol_key[column]), _impact(market, rates, t, column)
            paid = charge(rates, 1.0, quantity, price, slippage, impact)
            excess += paid.executed + paid.commission
            slope += outlay_slope(rates, quantity, price, slippage, impact)
        if excess <= 0.0:
            return scale
        lower = scale - excess / (slope / scale)
        if not lower > 0.0:
            return 0.0
        if lower >= scale * (1.0 - 2.3e-16):
            return scale
        scale = lower


@inlined
def _fill_buys(
    market: Market, rules: Rules, rates: Rates, book: Book, fills: Floats, b: int, t: int, slot: int, buys: int
) -> None:
    """Fill the queued buys of portfolio b, all scaled by one factor when the cash does not reach."""
    if rates.minimum > 0.0:
        scale = _affordable_above_minimum(market, rates, book, b, t, slot, buys)
    else:
        linear, power = _outlay(market, rates, book, b, t, slot, buys)
        scale = affordable(linear, power, book.cash[b])
    for i in range(buys):
        j = book.queue[b, book.queue.shape[1] - 1 - i]
        quantity = book.due[b, slot, j]
        if scale < 1.0:
            _flag(fills, b, j, CASH_LIMITED)
            quantity = nearest_lots(quantity * scale, rules.lots)
        _buy(market, rules, rates, book, fills, b, t, j, quantity)


@compiled
def settle(market: Market, rules: Rules, costs: Floats, book: Book, fills: Floats, b: int, t: int) -> None:
    """Take portfolio b through bar t >= 1: carry, sells, buys, mark.

    ``fills`` (B, n, FILL_COLUMNS) is overwritten; with B = 0 nothing is recorded.
    """
    row = costs[book.scenario[b]]
    slot = t % (rules.latency + 1)
    carry(market, row, book, b, t)
    if len(fills) > 0:
        _begin_fills(market, book, fills, b, t, slot)
    wide = market.spread_multiple[t] if len(market.spread_multiple) > 1 else 1.0
    rates = rates_of(row, wide, book.equity[b], book.stream[b], market.time_key[t])
    sells, buys = _sort_due(market, rates, book, fills, b, t, slot)
    for i in range(sells):
        j = book.queue[b, i]
        _sell(market, rules, rates, book, fills, b, t, j, -book.due[b, slot, j])
    if buys > 0:
        _fill_buys(market, rules, rates, book, fills, b, t, slot, buys)
    _mark(market, book, b, t, slot)


@inlined
def _mark(market: Market, book: Book, b: int, t: int, slot: int) -> None:
    """Clear the orders that were due and value portfolio b at the close of bar t."""
    equity = book.cash[b]
    for j in range(book.shares.shape[1]):
        book.due[b, slot, j] = book.asked[b, slot, j] = 0.0
        book.flags[b, slot, j] = 0
        if book.shares[b, j] != 0.0:
            equity += book.shares[b, j] * market.mark[t, book.column[b] + j]
            book.held[b, j] += 1
    book.equity[b] = equity
    book.peak[b] = max(book.peak[b], equity)


@compiled
def pending(book: Book, b: int, j: int) -> float:
    """Return the signed shares of position j that are ordered and not yet filled."""
    total = 0.0
    for slot in range(book.due.shape[1]):
        total += book.due[b, slot, j]
    return total


@compiled
def expected(rules: Rules, book: Book, b: int, t: int, j: int) -> float:
    """Return the shares of position j once the orders that wait at the close of bar t have filled.

    A sale that waits cannot take a long-only position below zero, even if the purchase it counted on was dropped.
    """
    shares = float(book.shares[b, j])
    for wait in range(1, rules.latency + 1):
        shares += book.due[b, (t + wait) % (rules.latency + 1), j]
        if not rules.allow_short:
            shares = max(shares, 0.0)
    return shares


@compiled
def place_shares(market: Market, rules: Rules, book: Book, b: int, t: int, j: int, quantity: float) -> None:
    """After the close of bar t, order ``quantity`` signed shares of position j; 0 and NaN ask for nothing."""
    _order(market, rules, book, b, t, j, quantity, expected(rules, book, b, t, j))


@compiled
def place_weight(market: Market, rules: Rules, book: Book, b: int, t: int, j: int, weight: float) -> None:
    """After the close of bar t, order what takes position j to ``weight`` of equity; NaN leaves it alone."""
    if np.isnan(weight) or not book.equity[b] > 0.0:
        return
    holding = expected(rules, book, b, t, j)
    target = weight * (book.equity[b] * (1.0 - rules.cash_buffer)) / market.mark[t, book.column[b] + j]
    _order(market, rules, book, b, t, j, target - holding, holding)


@inlined
def _order(market: Market, rules: Rules, book: Book, b: int, t: int, j: int, asked: float, holding: float) -> None:
    """Order ``asked`` shares of position j, of which ``holding`` will be held by then, as far as the rules allow."""
    mark = market.mark[t, book.column[b] + j]
    if np.isnan(asked) or np.isnan(mark):
        return
    quantity, flags = nearest_lots(asked, rules.lots), 0
    if not rules.allow_short and -quantity > holding + 0.5 / rules.lots:
        quantity, flags = -nearest_lots(holding, rules.lots), LONG_ONLY
    if (quantity == 0.0 and flags == 0) or abs(asked) * mark < rules.min_trade:
        return
    if np.isfinite(rules.participation):
        volume = market.volume[t, book.column[b] + j]
        most = 0.0 if np.isnan(volume) else floor_lots(rules.participation * volume, rules.lots)
        if abs(quantity) > most:
            quantity, flags = np.copysign(most, quantity), flags | PARTICIPATION
    slot = t % (rules.latency + 1)
    book.due[b, slot, j] = quantity
    book.asked[b, slot, j] = asked
    book.flags[b, slot, j] = flags


@compiled
def advance(market: Market, rules: Rules, costs: Floats, book: Book, fills: Floats, bars: Ints) -> None:
    """Settle every portfolio b in its own bar ``bars[b]`` (B,), in place."""
    for b in range(len(bars)):
        settle(market, rules, costs, book, fills, b, bars[b])


@compiled
def place(market: Market, rules: Rules, book: Book, bars: Ints, targets: Floats, are_shares: bool) -> None:
    """Place ``targets`` (B, n), weights or signed shares, after the close of ``bars`` (B,), in place."""
    for b in range(len(bars)):
        for j in range(targets.shape[1]):
            if are_shares:
                place_shares(market, rules, book, b, bars[b], j, targets[b, j])
            else:
                place_weight(market, rules, book, b, bars[b], j, targets[b, j])
