"""The kernel against a slow second implementation, over random markets, costs and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reference import Order, Result, run
from tests.worlds import Case, Lockstep, Shares, Table, random_case
from tradekit.engine.ledger import REASONS
from tradekit.engine.simulate import simulate
from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    import numpy as np

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
