"""A run of many portfolios over all bars by one table of target weights. numba, the portfolios in parallel.

Most bars of most runs have no order in them. Between orders the shares of a portfolio stand still, so those bars are
taken in one piece, symbol by symbol instead of bar by bar; each bar's sum has the same terms in the same order as in
``settle``, and the equity the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from tradekit.market.jit import compiled_run, inlined, start_threads
from tradekit.market.kernel import (
    FILL_COLUMNS,
    ORDER_COLUMNS,
    REASON,
    REQUESTED,
    Book,
    Market,
    Rules,
    carry,
    place_weight,
    settle,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Plan(NamedTuple):
    """What every portfolio of a run follows.

    weights (T, n); marks (N, T), the market's by symbol; asks (bars,): whether a row asks for anything; until (bars,):
    where the bars without orders that begin at this one end (exclusive), 0 where orders may be due; start: row of the
    first bar.
    """

    weights: Floats
    marks: Floats
    asks: Bools
    until: Ints
    start: int


class Output(NamedTuple):
    """What a run writes, B portfolios: equity, cash (B, bars), orders as their float64 and their int64 fields."""

    equity: Floats
    cash: Floats
    numbers: Floats
    integers: Ints


@inlined
def _append(out: Output, b: int, count: int, fills: Floats, i: int, latency: int) -> int:
    """Write the fills of portfolio b that somebody asked for behind its ``count`` orders; return the new count."""
    for j in range(fills.shape[1]):
        if fills[0, j, REQUESTED] != 0.0:
            number, integer = out.numbers[b, count], out.integers[b, count]
            integer[0] = i - 1 - latency
            integer[1] = i
            integer[2] = 0
            integer[3] = j
            for item in range(REASON):
                number[4 + item] = fills[0, j, item]
            integer[4 + REASON] = int(fills[0, j, REASON])
            count += 1
    return count


@inlined
def _select(book: Book, b: int) -> Book:
    """Return a book of the one portfolio b that shares its memory, uncounted."""
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
        book.queue[b : b + 1],
    )


@inlined
def _rest(market: Market, row: Floats, one: Book, marks: Floats, t: int, equity: Floats, cash: Floats) -> None:
    """Take the one portfolio of ``one`` through ``len(equity)`` bars from t on in which no order is due."""
    bars = len(equity)
    for i in range(bars):
        carry(market, row, one, 0, t + i)
        equity[i] = cash[i] = one.cash[0]
    for j in range(one.shares.shape[1]):
        shares = one.shares[0, j]
        if shares != 0.0:
            mark = marks[one.column[0] + j, t : t + bars]
            for i in range(bars):
                equity[i] += shares * mark[i]
            one.held[0, j] += bars
    for i in range(bars):
        one.peak[0] = max(one.peak[0], equity[i])
    one.equity[0] = equity[bars - 1]


@inlined
def _run(
    market: Market, rules: Rules, costs: Floats, book: Book, plan: Plan, b: int, fills: Floats, out: Output
) -> int:
    """Drive portfolio b of ``book`` by the plan; return the number of orders."""
    one, count, i = _select(book, b), 0, 0
    equity, cash = out.equity[b], out.cash[b]
    equity[0], cash[0] = one.equity[0], one.cash[0]
    while i < len(equity):
        end = plan.until[i]
        if end > 0:
            _rest(market, costs[one.scenario[0]], one, plan.marks, plan.start + i, equity[i:end], cash[i:end])
            i = end - 1
        elif i > 0:
            settle(market, rules, costs, one, fills, 0, plan.start + i)
            equity[i], cash[i] = one.equity[0], one.cash[0]
            if len(fills) > 0:
                count = _append(out, b, count, fills, i, rules.latency)
        if plan.asks[i]:
            t = plan.start + i
            for j in range(plan.weights.shape[1]):
                place_weight(market, rules, one, 0, t, j, plan.weights[t, j])
        i += 1
    return count


@compiled_run
def _run_all(
    market: Market,
    rules: Rules,
    costs: Floats,
    book: Book,
    plan: Plan,
    fills: Floats,
    out: Output,
    counts: Ints,
) -> None:
    for b in prange(len(counts)):
        counts[b] = _run(market, rules, costs, book, plan, b, fills[b], out)


def _plan(market: Market, weights: Floats, start: int, stop: int, latency: int) -> Plan:
    """Return the plan of the bars start <= t < stop. The decision of the last one is not placed."""
    weights = _read_only(weights)
    asks: Bools = np.any(~np.isnan(weights[start:stop]), axis=1)
    asks[-1] = False
    # Due 1 + latency bars after a row that asks; in the first bars, what was ordered before the start.
    busy = np.ones(stop - start, np.bool_)
    busy[1 + latency :] = asks[: -1 - latency]
    # A piece without orders ends before a bar with some, and with a row that asks: that is sized at its close.
    last = np.flatnonzero(asks | np.append(busy[1:], True))
    ends = last[np.searchsorted(last, np.arange(stop - start))] + 1
    return Plan(weights, _read_only(market.mark.T), asks, np.where(busy, 0, ends), start)


def most_orders(book: Book, weights: Floats, start: int, stop: int) -> int:
    """Return a bound of the orders of one portfolio in ``run_weights``: what waits, and what weights ask for."""
    waiting = np.count_nonzero(book.asked, axis=(1, 2)).max(initial=0)
    return int(waiting + np.count_nonzero(~np.isnan(weights[start : stop - 1])))


def run_weights(
    market: Market,
    rules: Rules,
    costs: Floats,
    book: Book,
    weights: Floats,
    start: int,
    stop: int,
    orders: NDArray[np.void],
) -> tuple[Floats, Floats, Ints]:
    """Drive B portfolios over the bars start <= t < stop by one table of target weights.

    ``book`` stands at the close of bar ``start`` and ends at the close of bar ``stop - 1``, whose decision is not
    placed, so that a run can go on from there. ``weights`` (T, n); a row without finite weights asks for nothing.
    ``orders`` (B, M) of ORDER is filled when M > 0, its bars counted from ``start``. Portfolios run in parallel; the
    result does not depend on the number of threads.

    Returns:
        equity (B, stop - start), cash (B, stop - start), number of orders (B,).

    Raises:
        ValueError: M is neither 0 nor at least ``most_orders``.
    """
    batch, room = orders.shape
    if 0 < room < most_orders(book, weights, start, stop):
        raise ValueError(f"orders has room for {room} a portfolio; there may be more, see most_orders")
    shape, fields = (batch, stop - start), (batch, room, ORDER_COLUMNS)
    numbers, integers = orders.view(np.float64).reshape(fields), orders.view(np.int64).reshape(fields)
    out = Output(np.empty(shape), np.empty(shape), numbers, integers)
    fills, counts = np.zeros((batch, min(1, room), book.shares.shape[1], FILL_COLUMNS)), np.zeros(batch, np.int64)
    start_threads()
    _run_all(market, rules, costs, book, _plan(market, weights, start, stop, rules.latency), fills, out, counts)
    return out.equity, out.cash, counts


def _read_only(array: Floats) -> Floats:
    """Return a contiguous view that cannot be written: to numba another type, and kernels are compiled for one only."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view
