"""The step: how orders fill, what they cost and how a portfolio is sized. numba, one portfolio at a time.

Everything that moves money runs through ``settle`` and the two ``place`` functions: the open-loop backtest, the lockstep
roll-out, the training environment and the session's shadow ledger. A run over bars is, for every bar t:

1. ``settle(t)``: carry is charged, the orders due in t fill (sells, then buys), equity is marked at the close of t;
2. ``place_*(t)``: a decision made from bars <= t becomes orders due ``1 + latency`` bars later.

Arrays: T bars, N panel columns, S cost scenarios, B portfolios of n consecutive columns each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from tradekit.market.costs import (
    BORROW,
    COMMISSION,
    IMPACT,
    IMPACT_ADV,
    INTEREST,
    MINIMUM,
    PER_SHARE,
    REGULATORY,
    SAMPLED,
    SEED,
    SLIPPAGE,
    SLIPPAGE_MODE,
    SPREAD,
    WORST,
)

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
# A recorded order is its decision bar, fill bar, portfolio, symbol column, then the fill.
ORDER_COLUMNS = 4 + FILL_COLUMNS


class Market(NamedTuple):
    """What the kernels read of a panel. Arrays a rule does not use may have shape (1, 1).

    reference (T, N) fill price before costs, NaN where nothing can fill; mark (T, N) last known close; volume (T, N)
    shares, for participation; dollar_volume, volatility (T, N) trailing, for the ``adv`` impact basis; time_key (T,),
    symbol_key (N,) uint64 keys of the sampled slippage; sec_rate, taf_rate, taf_cap (T,) regulatory schedule.
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
    interest earned so far; column (B,) first panel column; scenario (B,) cost row; stream (B,) slippage stream.
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


@njit(cache=True)
def _mix(key: np.uint64) -> np.uint64:
    """splitmix64 finaliser (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195)."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@njit(cache=True)
def uniform(seed: int, stream: int, time_key: np.uint64, symbol_key: np.uint64) -> float:
    """Return the draw in [0, 1) that belongs to (seed, stream, bar, symbol), in any order of asking."""
    key = _mix(_mix(_mix(_mix(np.uint64(seed)) ^ np.uint64(stream)) ^ time_key) ^ symbol_key)
    return np.float64(key >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def floor_lots(quantity: float, lots: float) -> float:
    """Truncate shares toward zero to a whole number of lots."""
    return np.copysign(np.floor(abs(quantity) * lots) / lots, quantity)


@njit(cache=True)
def nearest_lots(quantity: float, lots: float) -> float:
    """Truncate toward zero, but keep a quantity that is a whole number of lots up to rounding of the product."""
    units = abs(quantity) * lots
    whole = np.rint(units)
    if abs(units - whole) > 8.9e-16 * units:
        whole = np.floor(units)
    return np.copysign(whole / lots, quantity)


@njit(cache=True)
def _slippage(market: Market, row: Floats, stream: int, t: int, column: int) -> float:
    """Return slippage as a fraction of notional."""
    mode = row[SLIPPAGE_MODE]
    if mode == WORST:
        return row[SLIPPAGE]
    if mode == SAMPLED:
        return row[SLIPPAGE] * uniform(int(row[SEED]), stream, market.time_key[t], market.symbol_key[column])
    return 0.5 * row[SLIPPAGE]


@njit(cache=True)
def _impact(market: Market, row: Floats, equity: float, t: int, column: int) -> float:
    """Return k of the impact k v^1.5 in dollars, from bars before t; NaN when it cannot be known."""
    if row[IMPACT] == 0.0:
        return 0.0
    if row[IMPACT_ADV] == 0.0:
        return row[IMPACT] / np.sqrt(equity)
    return row[IMPACT] * market.volatility[t - 1, column] / np.sqrt(market.dollar_volume[t - 1, column])


@njit(cache=True)
def _commission(row: Floats, quantity: float, notional: float) -> float:
    return max(row[COMMISSION] * notional + row[PER_SHARE] * quantity, row[MINIMUM])


@njit(cache=True)
def _outlay(row: Floats, quantity: float, price: float, slippage: float, impact: float) -> float:
    """Return the cash that buying ``quantity`` > 0 shares takes, every cost included."""
    value = quantity * price
    notional = value + row[SPREAD] * value + slippage * value + impact * value * np.sqrt(value)
    return notional + _commission(row, quantity, notional)


@njit(cache=True)
def _outlay_slope(row: Floats, quantity: float, price: float, slippage: float, impact: float) -> float:
    """Return quantity x d(outlay)/d(quantity); the minimum commission counts as flat."""
    value = quantity * price
    notional = value + row[SPREAD] * value + slippage * value + impact * value * np.sqrt(value)
    slope = value + row[SPREAD] * value + slippage * value + 1.5 * impact * value * np.sqrt(value)
    if row[COMMISSION] * notional + row[PER_SHARE] * quantity > row[MINIMUM]:
        return slope * (1.0 + row[COMMISSION]) + row[PER_SHARE] * quantity
    return slope


@njit(cache=True)
def _buys(market: Market, row: Floats, book: Book, b: int, t: int, slot: int, scale: float, slope: bool) -> float:
    """Return the cash all due buys take at ``scale``, or the derivative of that by scale."""
    total = 0.0
    for j in range(book.shares.shape[1]):
        quantity = book.due[b, slot, j]
        column = book.column[b] + j
        if quantity > 0.0 and not np.isnan(market.reference[t, column]):
            price = market.reference[t, column]
            slip = _slippage(market, row, book.stream[b], t, column)
            impact = _impact(market, row, book.equity[b], t, column)
            if np.isnan(impact):
                continue
            if slope:
                total += _outlay_slope(row, quantity * scale, price, slip, impact) / scale
            else:
                total += _outlay(row, quantity * scale, price, slip, impact)
    return total


@njit(cache=True)
def _affordable(market: Market, row: Floats, book: Book, b: int, t: int, slot: int) -> float:
    """Return the largest common factor in [0, 1] at which the due buys cost no more than the cash.

    The outlay is convex and increasing in the factor (linear terms, a 3/2 power and a maximum), so Newton's method from
    the right approaches the root from above and never passes it; the last step stops at the first float on the
    affordable side. 0 when even the minimum commissions cannot be paid.
    """
    cash, scale = book.cash[b], 1.0
    while True:
        excess = _buys(market, row, book, b, t, slot, scale, False) - cash
        if excess <= 0.0:
            return scale
        slope = _buys(market, row, book, b, t, slot, scale, True)
        scale = min(scale - excess / slope, np.nextafter(scale, 0.0))
        if not scale > 0.0:
            return 0.0


@njit(cache=True)
def _enter(book: Book, b: int, j: int, quantity: float, money: float, lots: float) -> None:
    """Move ``quantity`` signed shares into position j at ``money`` cash (outlay or proceeds, positive)."""
    before = book.shares[b, j]
    after = np.rint((before + quantity) * lots) / lots
    if abs(after) * lots > 4503599627370496.0:
        after = before + quantity
    if after == 0.0:
        book.average_cost[b, j] = 0.0
    elif before * quantity >= 0.0:
        book.average_cost[b, j] = (book.average_cost[b, j] * abs(before) + money) / abs(after)
    elif before * after < 0.0:
        book.average_cost[b, j] = money / abs(quantity)
    if before * after <= 0.0:
        book.held[b, j] = 0
    book.shares[b, j] = after


@njit(cache=True)
def _sell(
    market: Market, rules: Rules, row: Floats, book: Book, fill: Floats, b: int, t: int, j: int, quantity: float
) -> None:
    """Sell ``quantity`` > 0 shares of position j at the reference price less costs."""
    column = book.column[b] + j
    price = market.reference[t, column]
    value = quantity * price
    spread = row[SPREAD] * value
    slip = _slippage(market, row, book.stream[b], t, column) * value
    impact = _impact(market, row, book.equity[b], t, column) * value * np.sqrt(value)
    impact = min(impact, value - spread - slip)
    notional = value - spread - slip - impact
    commission = _commission(row, quantity, notional)
    regulatory = 0.0
    if row[REGULATORY] > 0.0:
        taf = min(market.taf_rate[t] * quantity, market.taf_cap[t])
        regulatory = row[REGULATORY] * (market.sec_rate[t] * notional + taf)
    proceeds = notional - commission - regulatory
    if np.isnan(proceeds):
        fill[REASON] = int(fill[REASON]) | UNPRICED
        return
    if proceeds < 0.0:
        fill[REASON] = int(fill[REASON]) | FEES_EXCEED
        return
    book.cash[b] += proceeds
    _enter(book, b, j, -quantity, proceeds, rules.lots)
    _record(fill, -quantity, price, notional / quantity, commission, spread, slip, impact, regulatory)


@njit(cache=True)
def _buy(
    market: Market, rules: Rules, row: Floats, book: Book, fill: Floats, b: int, t: int, j: int, quantity: float
) -> None:
    """Buy ``quantity`` > 0 shares of position j at the reference price plus costs."""
    column = book.column[b] + j
    price = market.reference[t, column]
    value = quantity * price
    spread = row[SPREAD] * value
    slippage = _slippage(market, row, book.stream[b], t, column)
    k = _impact(market, row, book.equity[b], t, column)
    outlay = _outlay(row, quantity, price, slippage, k)
    if np.isnan(outlay):
        fill[REASON] = int(fill[REASON]) | UNPRICED
        return
    impact = k * value * np.sqrt(value)
    notional = value + spread + slippage * value + impact
    book.cash[b] -= outlay
    _enter(book, b, j, quantity, outlay, rules.lots)
    commission = _commission(row, quantity, notional)
    _record(fill, quantity, price, notional / quantity, commission, spread, slippage * value, impact, 0.0)


@njit(cache=True)
def _record(
    fill: Floats,
    quantity: float,
    reference: float,
    price: float,
    commission: float,
    spread: float,
    slippage: float,
    impact: float,
    regulatory: float,
) -> None:
    fill[QUANTITY] = quantity
    fill[REFERENCE] = reference
    fill[PRICE] = price
    fill[FILL_COMMISSION] = commission
    fill[FILL_SPREAD] = spread
    fill[FILL_SLIPPAGE] = slippage
    fill[FILL_IMPACT] = impact
    fill[FILL_REGULATORY] = regulatory


@njit(cache=True)
def _carry(market: Market, row: Floats, book: Book, b: int, t: int) -> None:
    """Charge borrow on shorts and credit interest on cash for the bar that passed, at the last marks."""
    if row[BORROW] == 0.0 and row[INTEREST] == 0.0:
        return
    short = 0.0
    for j in range(book.shares.shape[1]):
        if book.shares[b, j] < 0.0:
            short -= book.shares[b, j] * market.mark[t - 1, book.column[b] + j]
    borrow = row[BORROW] * short
    interest = row[INTEREST] * max(book.cash[b], 0.0)
    book.cash[b] += interest - borrow
    book.carry[b, 0] += borrow
    book.carry[b, 1] += interest


@njit(cache=True)
def _fill_sells(market: Market, rules: Rules, row: Floats, book: Book, fills: Floats, b: int, t: int, slot: int) -> bool:
    """Fill the due sells of portfolio b; return whether a buy is due as well."""
    has_buys = False
    for j in range(book.shares.shape[1]):
        quantity = book.due[b, slot, j]
        fill = fills[b, j]
        fill[REQUESTED] = book.asked[b, slot, j]
        fill[REASON] = book.flags[b, slot, j]
        _record(fill, 0.0, market.reference[t, book.column[b] + j], np.nan, 0.0, 0.0, 0.0, 0.0, 0.0)
        if quantity == 0.0:
            continue
        if np.isnan(market.reference[t, book.column[b] + j]):
            fill[REASON] = int(fill[REASON]) | UNTRADABLE
        elif not book.equity[b] > 0.0:
            fill[REASON] = int(fill[REASON]) | RUINED
        elif quantity > 0.0:
            has_buys = True
        else:
            if not rules.allow_short and -quantity > book.shares[b, j]:
                quantity = -book.shares[b, j]
                fill[REASON] = int(fill[REASON]) | LONG_ONLY
            if quantity < 0.0:
                _sell(market, rules, row, book, fill, b, t, j, -quantity)
    return has_buys


@njit(cache=True)
def _fill_buys(market: Market, rules: Rules, row: Floats, book: Book, fills: Floats, b: int, t: int, slot: int) -> None:
    """Fill the due buys of portfolio b, all scaled by one factor when cash does not reach."""
    scale = _affordable(market, row, book, b, t, slot)
    for j in range(book.shares.shape[1]):
        quantity = book.due[b, slot, j]
        if quantity <= 0.0 or np.isnan(market.reference[t, book.column[b] + j]):
            continue
        if scale < 1.0:
            fills[b, j, REASON] = int(fills[b, j, REASON]) | CASH_LIMITED
            quantity = floor_lots(quantity * scale, rules.lots)
        if quantity > 0.0:
            _buy(market, rules, row, book, fills[b, j], b, t, j, quantity)


@njit(cache=True)
def settle(market: Market, rules: Rules, costs: Floats, book: Book, fills: Floats, b: int, t: int) -> None:
    """Take portfolio b through bar t >= 1: carry, sells, buys, mark. ``fills`` (B, n, FILL_COLUMNS) is overwritten."""
    row = costs[book.scenario[b]]
    slot = t % (rules.latency + 1)
    _carry(market, row, book, b, t)
    if _fill_sells(market, rules, row, book, fills, b, t, slot):
        _fill_buys(market, rules, row, book, fills, b, t, slot)
    book.due[b, slot] = 0.0
    book.asked[b, slot] = 0.0
    book.flags[b, slot] = 0
    equity = book.cash[b]
    for j in range(book.shares.shape[1]):
        if book.shares[b, j] != 0.0:
            equity += book.shares[b, j] * market.mark[t, book.column[b] + j]
            book.held[b, j] += 1
    book.equity[b] = equity
    book.peak[b] = max(book.peak[b], equity)


@njit(cache=True)
def pending(book: Book, b: int, j: int) -> float:
    """Return the signed shares of position j that are ordered and not yet filled."""
    total = 0.0
    for slot in range(book.due.shape[1]):
        total += book.due[b, slot, j]
    return total


@njit(cache=True)
def place_shares(market: Market, rules: Rules, book: Book, b: int, t: int, j: int, quantity: float) -> None:
    """After the close of bar t, order ``quantity`` signed shares of position j; 0 and NaN ask for nothing."""
    mark = market.mark[t, book.column[b] + j]
    if np.isnan(quantity) or np.isnan(mark):
        return
    asked, flags = quantity, 0
    if not rules.allow_short and quantity < 0.0:
        holding = book.shares[b, j] + pending(book, b, j)
        if -quantity > holding:
            quantity, flags = -holding, LONG_ONLY
    quantity = nearest_lots(quantity, rules.lots)
    if quantity == 0.0 and flags == 0 or abs(asked) * mark < rules.min_trade:
        return
    if np.isfinite(rules.participation):
        most = floor_lots(rules.participation * market.volume[t, book.column[b] + j], rules.lots)
        if not abs(quantity) <= most:
            quantity, flags = np.copysign(most, quantity), flags | PARTICIPATION
    slot = t % (rules.latency + 1)
    book.due[b, slot, j] = quantity
    book.asked[b, slot, j] = asked
    book.flags[b, slot, j] = flags


@njit(cache=True)
def place_weight(market: Market, rules: Rules, book: Book, b: int, t: int, j: int, weight: float) -> None:
    """After the close of bar t, order what takes position j to ``weight`` of equity; NaN leaves it alone."""
    if np.isnan(weight) or not book.equity[b] > 0.0:
        return
    target = weight * book.equity[b] * (1.0 - rules.cash_buffer) / market.mark[t, book.column[b] + j]
    place_shares(market, rules, book, b, t, j, target - book.shares[b, j] - pending(book, b, j))


@njit(cache=True)
def advance(market: Market, rules: Rules, costs: Floats, book: Book, fills: Floats, bars: Ints) -> None:
    """Settle every portfolio b in its own bar ``bars[b]`` (B,), in place."""
    for b in range(len(bars)):
        settle(market, rules, costs, book, fills, b, bars[b])


@njit(cache=True)
def place(market: Market, rules: Rules, book: Book, bars: Ints, targets: Floats, are_shares: bool) -> None:
    """Place ``targets`` (B, n), weights or signed shares, after the close of ``bars`` (B,), in place."""
    for b in range(len(bars)):
        for j in range(targets.shape[1]):
            if are_shares:
                place_shares(market, rules, book, b, bars[b], j, targets[b, j])
            else:
                place_weight(market, rules, book, b, bars[b], j, targets[b, j])


@njit(cache=True)
def _append(orders: Floats, count: int, fills: Floats, b: int, t: int, latency: int) -> int:
    """Copy the fills of portfolio b that somebody asked for to the order table; return the new count."""
    for j in range(fills.shape[1]):
        if fills[b, j, REQUESTED] != 0.0:
            order = orders[count]
            order[0] = t - 1 - latency
            order[1] = t
            order[2] = b
            order[3] = j
            order[4:] = fills[b, j]
            count += 1
    return count


@njit(cache=True, parallel=True, nogil=True)
def run_weights(
    market: Market,
    rules: Rules,
    costs: Floats,
    book: Book,
    weights: Floats,
    start: int,
    stop: int,
    orders: Floats,
) -> tuple[Floats, Floats, Ints]:
    """Drive B portfolios over the bars start <= t < stop by one table of target weights.

    ``book`` stands at the close of bar ``start`` and ends at the close of bar ``stop - 1``, whose decision is not
    placed, so that a run can go on from there. ``weights`` (T, n); a row without finite weights asks for nothing.
    ``orders`` (B, M, ORDER_COLUMNS) is filled when M > 0; M must be at least the number of finite weights. Portfolios run in
    parallel; the result does not depend on the number of threads.

    Returns:
        equity (B, stop - start), cash (B, stop - start), number of orders (B,).
    """
    batch, bars = len(book.cash), stop - start
    equity, cash = np.empty((batch, bars)), np.empty((batch, bars))
    counts = np.zeros(batch, np.int64)
    asks = np.zeros(bars, np.bool_)
    for t in range(bars - 1):
        asks[t] = not np.isnan(weights[start + t]).all()
    for b in prange(batch):
        fills = np.zeros((1, book.shares.shape[1], FILL_COLUMNS))
        equity[b, 0], cash[b, 0] = book.equity[b], book.cash[b]
        one = select(book, b)
        for i in range(bars):
            t = start + i
            if i > 0:
                settle(market, rules, costs, one, fills, 0, t)
                equity[b, i], cash[b, i] = one.equity[0], one.cash[0]
                if orders.shape[1] > 0:
                    counts[b] = _append(orders[b], counts[b], fills, 0, t, rules.latency)
            if asks[i]:
                for j in range(weights.shape[1]):
                    place_weight(market, rules, one, 0, t, j, weights[t, j])
    return equity, cash, counts


@njit(cache=True)
def select(book: Book, b: int) -> Book:
    """Return a book of the one portfolio b that shares its memory."""
    return Book(
        book.cash[b : b + 1],
        book.equity[b : b + 1],
        book.peak[b : b + 1],
        book.shares[b : b + 1],
        book.average_cost[b : b + 1],
        book.held[b : b + 1],
        book.due[b : b + 1],
        book.asked[b : b + 1],
        book.flags[b : b + 1],
        book.carry[b : b + 1],
        book.column[b : b + 1],
        book.scenario[b : b + 1],
        book.stream[b : b + 1],
    )
