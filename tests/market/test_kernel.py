"""The kernel against a slow second implementation, over random markets, costs and rules."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.reference import Order, Result, run
from tests.worlds import Case, Lockstep, Shares, Table, random_case
from tradekit.engine.ledger import REASONS
from tradekit.engine.simulate import simulate
from tradekit.market import kernel
from tradekit.market.costs import TERMS, cost_rows
from tradekit.market.execution import market_of, open_book
from tradekit.market.sweep import run_weights

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger

BLOCKS, PER_BLOCK = 10, 300
SHARE = 1e-8  # shares: a few lots, where a float and a decimal truncate to different billionths
MONEY = 1e-9  # of the cash at the start


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_cases(block: int) -> None:
    for seed in range(block * PER_BLOCK, (block + 1) * PER_BLOCK):
        case = random_case(seed)
        slow = run(case.panel, case.targets, case.costs, case.execution, case.cash, shares=case.are_shares)
        for driver in (Shares,) if case.are_shares else (Table, Lockstep):
            fast = simulate(driver(case.targets), case.panel, case.costs, case.execution, case.cash)
            assert_same(case, fast, slow, seed)


def test_the_random_cases_meet_every_rule_and_term() -> None:
    """What the cases do not contain, the comparison does not test."""
    met: Counter[str] = Counter()
    for seed in range(1000):
        case = random_case(seed)
        driver = Shares if case.are_shares else Table
        ledger = simulate(driver(case.targets), case.panel, case.costs, case.execution, case.cash)
        filled = ledger.orders[ledger.orders["quantity"] != 0]
        limited = filled[filled["reason"] & kernel.CASH_LIMITED != 0]
        least = case.costs.commission_minimum
        happened = {name: (ledger.orders["reason"] & flag != 0).any() for flag, name in REASONS.items()}
        happened |= {term: (filled[term] > 0).any() for term in TERMS}
        happened |= {
            "borrow": ledger.borrow_paid > 0,
            "interest": ledger.interest_earned > 0,
            "short": (ledger.positions < 0).any(),
            "from long to short": (ledger.positions[1:] * ledger.positions[:-1] < 0).any(),
            "latency": case.execution.latency_bars > 0 and len(filled),
            "whole shares": not case.execution.fractional and len(filled),
            "sampled slippage": case.costs.slippage_mode == "sampled" and (filled["slippage"] > 0).any(),
            "minimum commission": least > 0 and np.isclose(filled["commission"], least).any(),
            f"cash short, impact on {case.costs.impact_basis}": (limited["impact"] > 0).any(),
        }
        met.update(name for name, so in happened.items() if so)
    assert met.keys() == set(happened) | {"cash short, impact on adv", "cash short, impact on equity"}
    assert min(count for name, count in met.items() if name != "ruined") >= 40


def assert_same(case: Case, fast: Ledger, slow: Result, seed: int) -> None:
    money = MONEY * case.cash + SHARE * 400
    for t in range(len(case.panel)):
        assert abs(fast.equity[t] - float(slow.equity[t])) < money, (seed, t)
        assert abs(fast.cash[t] - float(slow.cash[t])) < money, (seed, t)
    assert abs(fast.borrow_paid - float(slow.borrow)) < money, seed
    assert abs(fast.interest_earned - float(slow.interest)) < money, seed
    asked = [order for order in slow.orders if order.asked != 0]
    assert len(fast.orders) == len(asked), seed
    for order, expected in zip(fast.orders, asked, strict=True):
        assert_same_order(order, expected, money, seed)


def assert_same_order(order: np.void, slow: Order, money: float, seed: int) -> None:
    where = (seed, order, slow)
    fast_bars = (order["decision_bar"], order["fill_bar"], order["symbol"])
    assert fast_bars == (slow.decided, slow.filled, slow.symbol), where
    assert abs(order["requested"] - float(slow.asked)) < SHARE + 1e-9 * abs(order["requested"]), where
    assert abs(order["quantity"] - float(slow.done)) < SHARE, where
    assert {text for flag, text in REASONS.items() if order["reason"] & flag} == slow.reasons, where
    if slow.price is not None:
        assert abs(order["price"] - float(slow.price)) < 1e-9 * order["price"], where
    for term in TERMS:
        assert abs(order[term] - float(slow.terms.get(term, 0))) < money, (*where, term)


def test_books_and_streams() -> None:
    """What a portfolio knows of itself at the end: shares, average cost, bars held, peak; and streams of draws."""
    for seed in range(5000, 5400):
        case = random_case(seed)
        if case.are_shares:
            continue
        sampled = dataclasses.replace(case.costs, slippage_mode="sampled", slippage_bps=80)
        case = case._replace(costs=sampled)
        slow = run(case.panel, case.targets, case.costs, case.execution, case.cash, stream=case.stream)
        width, bars = len(case.panel.symbols), len(case.panel)
        book = open_book(case.cash, [0], width, case.execution.latency_bars, stream=[case.stream])
        market = market_of(case.panel, case.execution, [case.costs])
        table, silent = cost_rows([case.costs]), np.empty((1, 0), kernel.ORDER)
        run_weights(market, case.execution.rules, table, book, case.targets, 0, bars, silent)
        money = MONEY * case.cash + SHARE * 400
        assert abs(book.equity[0] - float(slow.equity[-1])) < money, seed
        assert abs(book.peak[0] - max(float(value) for value in slow.equity)) < money, seed
        for j in range(width):
            shares, cost = float(slow.shares[j]), float(slow.average_cost[j])
            assert abs(book.shares[0, j] - shares) < SHARE, seed
            if abs(shares) > 1e-3:
                assert abs(book.average_cost[0, j] - cost) < 1e-6 * max(cost, 1), (seed, j)
                assert book.held[0, j] == bars - entry_bar(slow, j), (seed, j)
            elif shares == 0 == book.shares[0, j]:
                assert book.average_cost[0, j] == book.held[0, j] == 0, (seed, j)


def entry_bar(slow: Result, j: int) -> int:
    """Return the fill bar since which symbol j has been held on the same side."""
    shares, entered = 0.0, 0
    for order in slow.orders:
        if order.symbol == j and order.done != 0:
            before, shares = shares, shares + float(order.done)
            if abs(before) < 1e-10 or before * shares < 0:
                entered = order.filled
    return entered
