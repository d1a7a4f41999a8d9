"""The step over tensors: ``settle`` and ``place`` of ``tradekit.market.kernel`` for B portfolios, on any device.

For training that stays on a GPU. The rules are those of docs/execution.md, the arithmetic that of the kernel: in
float64 the two agree to rounding, reasons and draws included. No call waits for the device, loops over portfolios or
columns, or writes to what it is given; each returns a new book that shares what did not change. Portfolio b stands at
bar ``bars[b]`` and holds n consecutive columns of the market from ``book.column[b]``.

With float32 the step moves half the memory: prices and money are then good to about seven digits, a fractional share
is not cut to billionths, and the long-only cash is still never negative.

>>> from tradekit import CostModel, ExecutionModel, load_panel
>>> from tradekit.market.costs import cost_rows
>>> from tradekit.market.execution import market_of, open_book
>>> panel, execution = load_panel("sample"), ExecutionModel()
>>> market = to_torch(market_of(panel, execution, [CostModel()]))
>>> costs = costs_to_torch(cost_rows([CostModel()]))
>>> book = book_to_torch(open_book(1e5, columns=[0, 7], width=1, latency=0))
>>> bars = torch.tensor([300, 900])
>>> book = place_weights(market, execution.rules, book, bars, torch.tensor([[0.5], [0.2]], dtype=torch.float64))
>>> book, fills = settle(market, execution.rules, costs, book, bars + 1)
>>> (book.shares * mark_of(market, book, bars + 1) / book.equity[:, None]).squeeze(1).round(decimals=2).tolist()
[0.5, 0.2]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from tradekit.learn.torch_pricing import (
    Charge,
    Rates,
    TorchCosts,
    affordable,
    charge,
    costs_to_torch,
    floor_lots,
    nearest_lots,
    uniform,
    whole,
)
from tradekit.learn.torch_state import (
    TorchBook,
    TorchMarket,
    at,
    book_to_numpy,
    book_to_torch,
    columns_of,
    mark_of,
    put,
    to_torch,
    waiting,
)
from tradekit.market.kernel import (
    CASH_LIMITED,
    FEES_EXCEED,
    LONG_ONLY,
    PARTICIPATION,
    RUINED,
    UNPRICED,
    UNTRADABLE,
    Rules,
)

__all__ = [
    "TorchBook",
    "TorchMarket",
    "book_to_numpy",
    "book_to_torch",
    "costs_to_torch",
    "mark_of",
    "place_shares",
    "place_weights",
    "settle",
    "to_torch",
]

# How often the first purchase that rounding leaves above the cash is cut before it is given up. The common factor is
# exact to the last bits of a double, so that one cut is nearly always enough.
CUTS = 3


class _Bar(NamedTuple):
    """One bar of the columns a portfolio holds, (B, n): cells of the bar and of the one before it; time (B, 1) bars."""

    now: Tensor
    before: Tensor
    columns: Tensor
    time: Tensor
    price: Tensor


class _Trades(NamedTuple):
    """What filled, (B, n): shares >= 0, 0 where nothing did, what they cost, money moved >= 0, regulatory, reasons."""

    quantity: Tensor
    paid: Charge
    money: Tensor
    regulatory: Tensor
    reasons: Tensor


def _bar_of(market: TorchMarket, book: TorchBook, bars: Tensor) -> _Bar:
    columns, width, time = columns_of(book), market.mark.shape[1], bars[:, None]
    now = time * width + columns
    return _Bar(now, now - width, columns, time, at(market.reference, now))


def _pick(values: Tensor, book: TorchBook) -> Tensor:
    """Return the (S, 1) scenario values of each portfolio, (B, 1), or (1, 1) when there is one scenario."""
    return values if len(values) == 1 else values[book.scenario]


def _rates_of(market: TorchMarket, costs: TorchCosts, book: TorchBook, bar: _Bar) -> Rates:
    """Return the rates of the orders due in ``bar``; impact is NaN where it cannot be known."""
    dtype = book.cash.dtype
    slippage = _pick(costs.slippage, book)
    if costs.terms.sampled:
        key, stream = _pick(costs.seed_key, book), book.stream[:, None]
        draw = uniform(key, stream, market.time_key[bar.time], market.symbol_key[bar.columns])
        slippage = torch.where(_pick(costs.sampled, book), (slippage * draw).to(dtype), slippage)
    impact = None
    if costs.terms.impact:
        most = _pick(costs.impact, book)
        impact = most / book.equity[:, None].sqrt()
        if costs.terms.adv:
            volatility, dollars = at(market.volatility, bar.before), at(market.dollar_volume, bar.before)
            impact = torch.where(_pick(costs.adv, book), most * volatility / dollars.sqrt(), impact)
    spread = _pick(costs.spread, book)
    if len(market.spread_multiple) > 1:
        spread = spread * market.spread_multiple[bar.time]
    return Rates(
        commission=_pick(costs.commission, book),
        per_share=_pick(costs.per_share, book),
        minimum=_pick(costs.minimum, book),
        spread=spread,
        slippage=slippage,
        impact=impact,
    )


# --------------------------------------------------------------------------------------------------------------- settle


def settle(
    market: TorchMarket, rules: Rules, costs: TorchCosts, book: TorchBook, bars: Tensor, *, record: bool = False
) -> tuple[TorchBook, Tensor | None]:
    """Take every portfolio through its own bar ``bars`` (B,) int64 >= 1: carry, sells, buys, mark.

    Returns:
        The book at the closes of ``bars``, and with ``record`` the fills (B, n, FILL_COLUMNS) as the kernel writes
        them, else None.
    """
    bar, slot = _bar_of(market, book, bars), bars % (rules.latency + 1)
    carried = _carry(market, costs, book, bar) if costs.terms.carry else book
    due, rates = waiting(book.due, slot), _rates_of(market, costs, book, bar)
    live, barred = _live(costs, book, bar, rates, due)
    sold = _sell(market, rules, costs, carried, bar, rates, torch.where(live, -due, 0.0).clamp(min=0.0))
    cash = carried.cash[:, None] + sold.money.sum(1, keepdim=True)
    bought, cash = _buy(rules, costs, cash, bar, rates, torch.where(live, due, 0.0).clamp(min=0.0))
    after = _enter(rules, carried, bought.quantity - sold.quantity, bought.money + sold.money)
    fills = None
    if record:
        fills = _fills(book, bar, slot, sold, bought, waiting(book.flags, slot) | barred)
    return _mark(market, after._replace(cash=cash.squeeze(1)), bar, slot), fills


def _carry(market: TorchMarket, costs: TorchCosts, book: TorchBook, bar: _Bar) -> TorchBook:
    """Charge borrow on shorts and credit interest on cash for the nights before the bar, at the last marks."""
    nights = market.nights[bar.time]
    short = torch.where(book.shares < 0.0, -book.shares * at(market.mark, bar.before), 0.0).sum(1, keepdim=True)
    borrow = _pick(costs.borrow, book) * nights * short
    interest = _pick(costs.interest, book) * nights * book.cash[:, None].clamp(min=0.0)
    return book._replace(
        cash=book.cash + (interest - borrow).squeeze(1), carry=book.carry + torch.cat([borrow, interest], 1)
    )


def _live(costs: TorchCosts, book: TorchBook, bar: _Bar, rates: Rates, due: Tensor) -> tuple[Tensor, Tensor]:
    """Return (B, n) which orders can fill in the bar, and why the others cannot."""
    untradable, ruined = bar.price.isnan(), ~(book.equity[:, None] > 0.0)
    reason = torch.where(untradable, UNTRADABLE, torch.where(ruined, RUINED, 0))
    if costs.terms.adv and rates.impact is not None:
        unpriced = _pick(costs.adv, book) & rates.impact.isnan()
        reason = torch.where((reason == 0) & unpriced, UNPRICED, reason)
    wanted = due != 0.0
    return wanted & (reason == 0), torch.where(wanted, reason, 0)


def _sell(
    market: TorchMarket, rules: Rules, costs: TorchCosts, book: TorchBook, bar: _Bar, rates: Rates, quantity: Tensor
) -> _Trades:
    """Sell ``quantity`` >= 0 shares, or what is held of them, at the reference price less costs."""
    reasons = torch.zeros_like(book.held)
    if not rules.allow_short:
        over = quantity > book.shares
        quantity, reasons = torch.where(over, book.shares, quantity), torch.where(over, LONG_ONLY, 0)
    paid = charge(rates, -1.0, quantity, bar.price)
    regulatory = torch.zeros_like(quantity)
    if costs.terms.regulatory:
        taf = torch.minimum(market.taf_rate[bar.time] * quantity, market.taf_cap[bar.time])
        regulatory = _pick(costs.regulatory, book) * (market.sec_rate[bar.time] * paid.executed + taf)
    proceeds = paid.executed - paid.commission - regulatory
    done = (quantity > 0.0) & (proceeds > 0.0)
    reasons = torch.where((quantity > 0.0) & ~done, reasons | FEES_EXCEED, reasons)
    return _Trades(torch.where(done, quantity, 0.0), paid, torch.where(done, proceeds, 0.0), regulatory, reasons)


def _buy(
    rules: Rules, costs: TorchCosts, cash: Tensor, bar: _Bar, rates: Rates, wanted: Tensor
) -> tuple[_Trades, Tensor]:
    """Buy ``wanted`` >= 0 shares, all scaled by one factor when the cash (B, 1) does not reach; return what is left."""
    buying = wanted > 0.0
    price = torch.where(buying, bar.price, 0.0)
    rates = rates if rates.impact is None else rates._replace(impact=torch.where(buying, rates.impact, 0.0))
    scale = affordable(rates, wanted, price, cash, minimum=costs.terms.minimum)
    limited = buying & (scale < 1.0)
    quantity = torch.where(limited, nearest_lots(wanted * scale, rules.lots), wanted)
    for _ in range(CUTS):
        left, _, over = _spend(rates, quantity, price, cash)
        first = over & (_running(over) == 1)
        quantity = torch.where(first, _cut(rules, quantity, -left / price), quantity)
        limited = limited | first
    left, paid, over = _spend(rates, quantity, price, cash)
    dropped = _running(over) > 0
    done = (quantity > 0.0) & ~dropped
    money = torch.where(done, paid.executed + paid.commission, 0.0)
    reasons = torch.where(limited | (buying & dropped), CASH_LIMITED, 0)
    bought = _Trades(torch.where(done, quantity, 0.0), paid, money, torch.zeros_like(money), reasons)
    return bought, torch.where(done, left, cash).amin(1, keepdim=True)


def _spend(rates: Rates, quantity: Tensor, price: Tensor, cash: Tensor) -> tuple[Tensor, Charge, Tensor]:
    """Return the cash left after each purchase in the order of the columns, costs, and which come out below zero."""
    paid = charge(rates, 1.0, quantity, price)
    left = cash - _running(torch.where(quantity > 0.0, paid.executed + paid.commission, 0.0))
    return left, paid, (quantity > 0.0) & (left < 0.0)


def _cut(rules: Rules, quantity: Tensor, excess: Tensor) -> Tensor:
    """Return ``quantity`` less ``excess`` shares, and a lot less at the least; never less than nothing."""
    # Beyond 2**53 lots truncation rounds, possibly up; the quantity must come down all the same.
    lower = torch.minimum(quantity - excess.clamp(min=0.5 / rules.lots), quantity.nextafter(torch.zeros_like(quantity)))
    return torch.minimum(floor_lots(lower, rules.lots), lower).clamp(min=0.0)


def _running(values: Tensor) -> Tensor:
    """Return the sums of each row up to and including each column."""
    return values if values.shape[1] == 1 else values.cumsum(1)


def _enter(rules: Rules, book: TorchBook, quantity: Tensor, money: Tensor) -> TorchBook:
    """Move signed shares (B, n), 0 where nothing filled, into the positions at ``money`` cash (positive)."""
    before, cost, moved = book.shares, book.average_cost, quantity != 0.0
    units = (before + quantity) * rules.lots
    exact = units.abs() < whole(units.dtype)
    after = torch.where(exact, units.round() / rules.lots, before + quantity)
    turned = torch.where(before * after < 0.0, money / quantity.abs(), cost)
    added = (cost * before.abs() + money) / after.abs()
    average = torch.where(after == 0.0, 0.0, torch.where(before * quantity >= 0.0, added, turned))
    return book._replace(
        shares=torch.where(moved, after, before),
        average_cost=torch.where(moved, average, cost),
        held=torch.where(moved & (before * after <= 0.0), 0, book.held),
    )


def _fills(book: TorchBook, bar: _Bar, slot: Tensor, sold: _Trades, bought: _Trades, reasons: Tensor) -> Tensor:
    """Return (B, n, FILL_COLUMNS) what was due and what became of it; an order is a sale or a purchase."""
    buys, quantity = bought.quantity > 0.0, bought.quantity - sold.quantity
    executed, *terms = (torch.where(buys, *pair) for pair in zip(bought.paid, sold.paid, strict=True))
    terms.append(torch.where(buys, bought.regulatory, sold.regulatory))
    done = quantity != 0.0
    return torch.stack(
        [
            waiting(book.asked, slot),
            quantity,
            bar.price,
            torch.where(done, executed / quantity.abs(), torch.nan),
            *(torch.where(done, term, 0.0) for term in terms),
            (reasons | sold.reasons | bought.reasons).to(quantity.dtype),
        ],
        dim=2,
    )


def _mark(market: TorchMarket, book: TorchBook, bar: _Bar, slot: Tensor) -> TorchBook:
    """Clear the orders that were due and value the portfolios at the close of the bar."""
    holds = book.shares != 0.0
    worth = torch.where(holds, book.shares * at(market.mark, bar.now), 0.0).sum(1)
    equity, nothing = book.cash + worth, torch.zeros_like(book.held)
    return book._replace(
        equity=equity,
        peak=torch.maximum(book.peak, equity),
        held=book.held + holds,
        due=put(book.due, slot, nothing, None),
        asked=put(book.asked, slot, nothing, None),
        flags=put(book.flags, slot, nothing, None),
    )


# ---------------------------------------------------------------------------------------------------------------- place


def expected(rules: Rules, book: TorchBook, bars: Tensor) -> Tensor:
    """Return (B, n) shares once the orders that wait at the closes of ``bars`` (B,) have filled, as far as they can."""
    shares = book.shares
    for wait in range(1, rules.latency + 1):
        shares = shares + waiting(book.due, (bars + wait) % (rules.latency + 1))
        if not rules.allow_short:
            shares = shares.clamp(min=0.0)
    return shares


def place_shares(market: TorchMarket, rules: Rules, book: TorchBook, bars: Tensor, quantity: Tensor) -> TorchBook:
    """After the closes of ``bars`` (B,) int64, order ``quantity`` (B, n) signed shares; 0 and NaN ask for nothing."""
    asked, mark = quantity.to(book.cash.dtype), mark_of(market, book, bars)
    return _order(market, rules, book, bars, asked, expected(rules, book, bars), mark)


def place_weights(market: TorchMarket, rules: Rules, book: TorchBook, bars: Tensor, weights: Tensor) -> TorchBook:
    """After the closes of ``bars`` (B,) int64, order what takes positions to ``weights`` (B, n) of equity.

    NaN leaves a position alone, and without equity nothing is ordered.
    """
    equity, mark = book.equity[:, None], mark_of(market, book, bars)
    holding = expected(rules, book, bars)
    target = weights.to(book.cash.dtype) * (equity * (1.0 - rules.cash_buffer)) / mark
    asked = torch.where(equity > 0.0, target - holding, torch.nan)
    return _order(market, rules, book, bars, asked, holding, mark)


def _order(
    market: TorchMarket, rules: Rules, book: TorchBook, bars: Tensor, asked: Tensor, holding: Tensor, mark: Tensor
) -> TorchBook:
    """Order ``asked`` shares, NaN for nothing, of which ``holding`` will be held by then, as far as the rules allow."""
    quantity, flags = nearest_lots(asked, rules.lots), torch.zeros_like(book.held)
    if not rules.allow_short:
        over = -quantity > holding + 0.5 / rules.lots
        quantity = torch.where(over, -nearest_lots(holding, rules.lots), quantity)
        flags = torch.where(over, LONG_ONLY, flags)
    ordered = ((quantity != 0.0) | (flags != 0)) & (asked.abs() * mark >= rules.min_trade)
    if math.isfinite(rules.participation):
        volume = at(market.volume, bars[:, None] * market.volume.shape[1] + columns_of(book))
        most = floor_lots(rules.participation * volume, rules.lots).nan_to_num(0.0)
        over = quantity.abs() > most
        quantity = torch.where(over, torch.copysign(most, quantity), quantity)
        flags = torch.where(over, flags | PARTICIPATION, flags)
    slot = bars % (rules.latency + 1)
    return book._replace(
        due=put(book.due, slot, quantity, ordered),
        asked=put(book.asked, slot, asked, ordered),
        flags=put(book.flags, slot, flags, ordered),
    )
