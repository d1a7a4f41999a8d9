"""Properties of the step that hold for any market, cost model and rules."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.reference import draw
from tests.worlds import Case, Lockstep, Shares, Sleeves, Table, panel_of, random_case, random_panel, random_weights
from tradekit.engine.simulate import simulate
from tradekit.market import kernel
from tradekit.market.costs import TERMS, CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, copy_book, market_of, open_book
from tradekit.market.kernel import Book
from tradekit.market.panel import FIELDS
from tradekit.market.sweep import most_orders, run_weights

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger

FREE = CostModel.preset("free")
cases = st.integers(0, 2**32).map(random_case)
weight_cases = cases.filter(lambda case: not case.are_shares)


def ledger_of(case: Case, **changes: Any) -> Ledger:
    case = case._replace(**changes)
    driver = Shares if case.are_shares else Table
    return simulate(driver(case.targets), case.panel, case.costs, case.execution, case.cash)


def same(left: Ledger, right: Ledger) -> bool:
    """Return whether two ledgers agree to the last bit, orders included."""
    arrays = [(left.equity, right.equity), (left.cash, right.cash)]
    arrays += [(left.orders[name], right.orders[name]) for name in left.orders.dtype.names or ()]
    return all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in arrays)


# --------------------------------------------------------------------------------------------------------- accounting


@given(cases)
def test_cash_and_shares_account_for_every_cent(case: Case) -> None:
    ledger = ledger_of(case)
    orders, cash = ledger.orders, np.full(len(case.panel), case.cash)
    for order in orders[orders["quantity"] != 0]:
        paid = order["quantity"] * order["price"] + order["commission"] + order["regulatory"]
        cash[order["fill_bar"] :] -= paid
    carry = ledger.interest_earned - ledger.borrow_paid
    assert ledger.cash[-1] == pytest.approx(cash[-1] + carry, rel=1e-11, abs=1e-11 * case.cash)
    if carry == 0:
        np.testing.assert_allclose(ledger.cash, cash, rtol=1e-11, atol=1e-11 * case.cash)
    worth = np.nansum(ledger.positions * case.panel.mark, axis=1)
    np.testing.assert_allclose(ledger.equity, ledger.cash + worth, rtol=1e-11, atol=1e-10 * case.cash)


@given(cases)
def test_every_cost_is_paid_and_together_they_are_what_trading_took(case: Case) -> None:
    ledger = ledger_of(case)
    orders = ledger.orders[ledger.orders["quantity"] != 0]
    assert all((ledger.orders[term] >= 0).all() for term in TERMS)
    assert ledger.borrow_paid >= 0
    assert ledger.interest_earned >= 0
    side = np.sign(orders["quantity"])
    assert (side * (orders["price"] - orders["reference"]) >= -1e-12 * orders["reference"]).all()
    frictionless = -orders["quantity"] * orders["reference"]
    spent = -orders["quantity"] * orders["price"] - orders["commission"] - orders["regulatory"]
    each = sum(orders[term] for term in TERMS)
    np.testing.assert_allclose(frictionless - spent, each, rtol=1e-9, atol=1e-9 * case.cash)
    rest = ledger.cash[-1] - ledger.interest_earned
    assert case.cash + frictionless.sum() - ledger.total_cost == pytest.approx(rest, rel=1e-9, abs=1e-9 * case.cash)


@given(cases)
def test_the_same_orders_without_friction_earn_the_costs_more(case: Case) -> None:
    """What was filled, asked for again in shares where nothing costs, bar by bar."""
    costs = dataclasses.replace(case.costs, borrow_rate_annual=0.0, cash_interest_annual=0.0)
    ledger = ledger_of(case, costs=costs)
    again, paid = np.zeros(case.panel.close.shape), np.zeros(len(case.panel))
    for order in ledger.orders:
        again[order["fill_bar"] - 1, order["symbol"]] += order["quantity"]
        paid[order["fill_bar"]] += sum(order[term] for term in TERMS)
    execution = ExecutionModel(fill_at=case.execution.fill_at, allow_short=case.execution.allow_short)
    free = simulate(Shares(again), case.panel, FREE, execution, case.cash)
    assume((free.equity > 0).all())  # who is ruined trades no more
    scale = case.cash + np.abs(ledger.equity).max() + ledger.traded.max()
    np.testing.assert_allclose(free.equity - ledger.equity, np.cumsum(paid), rtol=1e-9, atol=1e-10 * scale)
    assert ledger.total_cost == pytest.approx(paid.sum())


@given(cases)
def test_a_long_only_portfolio_never_owes(case: Case) -> None:
    targets = case.targets if case.are_shares else np.abs(case.targets)
    ledger = ledger_of(case, targets=targets, execution=dataclasses.replace(case.execution, allow_short=False))
    assert (ledger.cash >= 0).all()
    assert (ledger.positions >= -1e-9).all()


@given(st.integers(0, 2**32), st.sampled_from([1.0, 0.999999, 0.5]), st.booleans())
def test_cash_is_not_negative_however_tight(seed: int, total: float, fractional: bool) -> None:
    rng = np.random.default_rng(seed)
    prices = rng.choice([3.0, 7.1, 1e-3, 1e5]) * np.exp(rng.normal(0, 0.05, (30, 6)))
    weights = rng.dirichlet(np.ones(6), 30) * total
    costs = CostModel(impact_coefficient=float(rng.choice([0, 0.01, 3])), commission_minimum=float(rng.choice([0, 1])))
    cash = float(10 ** rng.uniform(0, 12))
    ledger = simulate(Table(weights), panel_of(prices, prices), costs, ExecutionModel(fractional=fractional), cash)
    assert (ledger.cash >= 0).all()


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_a_position_sold_whole_leaves_no_dust(seed: int, fractional: bool, short: bool) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 30, 4)
    weights = random_weights(rng, 30, 4, short=short)
    weights[-4] = 0.0
    weights[-3:] = np.nan
    execution = ExecutionModel(fractional=fractional, allow_short=short)
    case = Case(panel, weights, FREE, execution, 1e5, 0, are_shares=False)
    book = open_case(case)
    run_kernel(case, book, 0, 30)
    assume(book.equity[0] > 0)
    assert (book.shares == 0).all()
    assert (book.average_cost == 0).all()
    assert book.equity[0] == book.cash[0]


# --------------------------------------------------------------------------------------------------------- symmetries


@given(weight_cases, st.randoms(use_true_random=False))
def test_the_order_of_columns_plays_no_part(case: Case, random: Any) -> None:
    order = list(range(len(case.panel.symbols)))
    random.shuffle(order)
    moved = ledger_of(
        case, panel=case.panel.select([case.panel.symbols[j] for j in order]), targets=case.targets[:, order]
    )
    straight = ledger_of(case)
    scale = case.cash + np.abs(straight.equity).max()
    # A billionth of a share may fall on the other side of the truncation.
    lots = 0 if not case.execution.fractional else 1e-9 * np.nan_to_num(case.panel.high).max() * len(straight.orders)
    np.testing.assert_allclose(moved.equity, straight.equity, rtol=0, atol=1e-12 * scale + lots)
    assert len(moved.orders) == len(straight.orders)


@given(cases)
def test_four_times_the_money_at_four_times_the_prices_is_four_times_the_equity(case: Case) -> None:
    """Four, because its square root is exact too; fees per share sold and the volatility of logarithms stay out."""
    panel, costs = case.panel, dataclasses.replace(case.costs, regulatory=0, impact_basis="equity")
    dearer = dataclasses.replace(panel, **{name: getattr(panel, name) * 4 for name in FIELDS if name != "volume"})
    scaled = dataclasses.replace(
        costs, commission_per_share=costs.commission_per_share * 4, commission_minimum=costs.commission_minimum * 4
    )
    execution = dataclasses.replace(case.execution, min_trade=case.execution.min_trade * 4)
    small = ledger_of(case, costs=costs)
    large = ledger_of(case, panel=dearer, costs=scaled, execution=execution, cash=case.cash * 4)
    assert np.array_equal(large.equity, 4 * small.equity)
    assert np.array_equal(large.orders["quantity"], small.orders["quantity"])
    for term in TERMS:
        assert np.array_equal(large.orders[term], 4 * small.orders[term])


@given(weight_cases, st.integers(0, 1000))
def test_a_later_bar_never_changes_an_earlier_row(case: Case, where: int) -> None:
    t = 1 + where % (len(case.panel) - 1)
    arrays = {name: getattr(case.panel, name).copy() for name in (*FIELDS, "tradable")}
    for name in FIELDS:
        arrays[name][t:] = arrays[name][t:] * 1.5
    arrays["tradable"][t:] = True
    targets = case.targets.copy()
    targets[t:] = 0.0
    # Carry is a yearly rate over the bars of a year, which the panel's length decides; it is the same here.
    later = ledger_of(case, panel=dataclasses.replace(case.panel, **arrays), targets=targets)
    first = ledger_of(case)
    assert np.array_equal(later.equity[:t], first.equity[:t])
    assert np.array_equal(later.cash[:t], first.cash[:t])
    early = [ledger.orders[ledger.orders["fill_bar"] < t] for ledger in (first, later)]
    for name in first.orders.dtype.names or ():
        assert np.array_equal(early[0][name], early[1][name], equal_nan=True)


# ---------------------------------------------------------------------------------- batches, splits, drivers, threads


@given(weight_cases, st.integers(2, 5))
def test_a_batch_is_its_runs_one_by_one(case: Case, scenarios: int) -> None:
    # One run has one window of the adv basis.
    costs = [case.costs.shocked(1 + k / 10) for k in range(scenarios)]
    costs = [dataclasses.replace(cost, slippage_seed=k) for k, cost in enumerate(costs)]
    together = simulate(Table(case.targets), case.panel, costs, case.execution, case.cash)
    lockstep = simulate(Lockstep(case.targets), case.panel, costs, case.execution, case.cash)
    for cost, batched, stepped in zip(costs, together, lockstep, strict=True):
        alone = simulate(Table(case.targets), case.panel, cost, case.execution, case.cash)
        assert same(batched, alone)
        assert same(stepped, alone)


@given(weight_cases)
def test_the_number_of_threads_changes_nothing(case: Case) -> None:
    costs = [case.costs.shocked(1 + k / 10) for k in range(5)]
    many = simulate(Table(case.targets), case.panel, costs, case.execution, case.cash)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = simulate(Table(case.targets), case.panel, costs, case.execution, case.cash)
    finally:
        numba.set_num_threads(threads)
    assert all(same(left, right) for left, right in zip(many, one, strict=True))


def run_kernel(case: Case, book: Book, start: int, stop: int) -> tuple[Any, Any]:
    """Return equity and orders of the bars from ``start``, the orders' bars counted in the panel."""
    market, rules = market_of(case.panel, case.execution, [case.costs]), case.execution.rules
    table = cost_rows([case.costs])
    orders = np.zeros((1, most_orders(book, case.targets, start, stop)), kernel.ORDER)
    equity, _, counts = run_weights(market, rules, table, book, case.targets, start, stop, orders)
    orders["decision_bar"] += start
    orders["fill_bar"] += start
    return equity[0], orders[0, : counts[0]]


def bar_by_bar(case: Case, book: Book, start: int, stop: int) -> tuple[Any, Any]:
    """Do the same by ``settle`` and ``place_weight`` alone, one bar after the other."""
    market, rules = market_of(case.panel, case.execution, [case.costs]), case.execution.rules
    table, latency = cost_rows([case.costs]), case.execution.latency_bars
    fills, equity, orders = np.zeros((1, *book.shares.shape[1:], kernel.FILL_COLUMNS)), [], []
    for t in range(start, stop):
        if t > start:
            kernel.settle(market, rules, table, book, fills, 0, t)
            asked = np.flatnonzero(fills[0, :, kernel.REQUESTED])
            orders += [(t - 1 - latency, t, 0, j, *fills[0, j]) for j in asked]
        equity.append(book.equity[0])
        if t < stop - 1:
            for column, weight in enumerate(case.targets[t]):
                kernel.place_weight(market, rules, book, 0, t, column, weight)
    return np.array(equity), np.array(orders, kernel.ORDER)


def open_case(case: Case) -> Book:
    return open_book(case.cash, [0], len(case.panel.symbols), case.execution.latency_bars, stream=[case.stream])


def same_book(left: Book, right: Book) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in Book._fields if name != "queue")


@given(weight_cases, st.integers(0, 1000))
def test_a_run_may_stop_anywhere_and_go_on_from_its_book(case: Case, where: int) -> None:
    bars = len(case.panel)
    at = where % bars
    whole, split = open_case(case), open_case(case)
    equity, orders = run_kernel(case, whole, 0, bars)
    first, early = run_kernel(case, split, 0, at + 1)
    split = copy_book(split)
    second, late = run_kernel(case, split, at, bars)
    assert np.array_equal(equity, np.concatenate([first, second[1:]]))
    assert orders.tobytes() == np.concatenate([early, late]).tobytes()
    assert same_book(whole, split)


@given(st.integers(0, 2**32), st.integers(0, 1000))
def test_bars_without_orders_are_taken_in_one_piece_to_the_last_bit(seed: int, where: int) -> None:
    """Rare decisions, so that most bars have no order; stopped once, when orders may wait."""
    rng = np.random.default_rng(seed)
    case = random_case(seed)
    panel = random_panel(rng, int(rng.integers(3, 60)), int(rng.integers(1, 12)), holes=rng.random() < 0.5)
    targets = random_weights(rng, *panel.close.shape, short=case.execution.allow_short)
    targets[rng.random(len(panel)) > rng.choice([0.03, 0.1, 0.4])] = np.nan
    case = case._replace(panel=panel, targets=targets)
    at = where % len(panel)
    swept, stepped = open_case(case), open_case(case)
    for start, stop in ((0, at + 1), (at, len(panel))):
        equity, orders = run_kernel(case, swept, start, stop)
        slow_equity, slow_orders = bar_by_bar(case, stepped, start, stop)
        assert equity.tobytes() == slow_equity.tobytes()
        assert orders.tobytes() == slow_orders.tobytes()
        assert same_book(swept, stepped)


def test_orders_without_room_are_refused() -> None:
    case = random_case(0)
    market, table = market_of(case.panel, case.execution, [case.costs]), cost_rows([case.costs])
    weights, book = np.zeros((4, len(case.panel.symbols))), open_case(case)
    short = np.zeros((1, most_orders(book, weights, 0, 4) - 1), kernel.ORDER)
    with pytest.raises(ValueError, match="orders has room for"):
        run_weights(market, case.execution.rules, table, book, weights, 0, 4, short)


@given(weight_cases)
def test_records_cost_nothing_but_memory(case: Case) -> None:
    silent = simulate(Table(case.targets), case.panel, case.costs, case.execution, case.cash, records=False)
    assert np.array_equal(silent.equity, ledger_of(case).equity)
    assert len(silent.orders) == 0


@given(weight_cases)
def test_sleeves_are_portfolios_of_one_symbol(case: Case) -> None:
    ledger = simulate(Sleeves(case.targets), case.panel, case.costs, case.execution, case.cash)
    assert ledger.sleeve_equity is not None
    symbols = case.panel.symbols
    for j, symbol in enumerate(symbols):
        alone = ledger_of(
            case, panel=case.panel.select([symbol]), targets=case.targets[:, [j]], cash=case.cash / len(symbols)
        )
        assert np.array_equal(ledger.sleeve_equity[:, j], alone.equity)
        mine = ledger.orders[ledger.orders["symbol"] == j]
        for name in ("fill_bar", "requested", "quantity", "commission", "slippage", "reason"):
            assert np.array_equal(mine[name], alone.orders[name])
    assert ledger.equity == pytest.approx(ledger.sleeve_equity.sum(axis=1), rel=1e-15)


# --------------------------------------------------------------------------------------------------- sampled slippage


@settings(max_examples=30)
@given(st.integers(0, 2**40), st.integers(0, 2**31), st.integers(0, 3))
def test_a_draw_belongs_to_seed_stream_bar_and_symbol(seed: int, stream: int, drop: int) -> None:
    """Whatever else is in the panel, and from whichever bar on, the same order pays the same share of the worst."""
    prices = np.full((6, 4), 50.0)
    costs = dataclasses.replace(FREE, slippage_mode="sampled", slippage_bps=100, slippage_seed=seed)
    panel = panel_of(prices, prices, symbols=("AA", "BB", "CC", "DD"))
    for cut in (panel, panel[drop:], panel.select(["DD", "BB"])):
        book = open_book(1e6, [0], len(cut.symbols), 0, stream=[stream])
        market, rules = market_of(cut, ExecutionModel(), [costs]), ExecutionModel().rules
        fills = np.zeros((1, len(cut.symbols), kernel.FILL_COLUMNS))
        for t in range(1, len(cut)):
            for j in range(len(cut.symbols)):
                kernel.place_shares(market, rules, book, 0, t - 1, j, 10.0)
            kernel.settle(market, rules, cost_rows([costs]), book, fills, 0, t)
            for j, symbol in enumerate(cut.symbols):
                stamp = int(cut.timestamps[t].astype("M8[ns]").astype(int))
                expected = float(draw(seed, stream, stamp, symbol)) * 0.01 * 500
                assert fills[0, j, kernel.FILL_SLIPPAGE] == pytest.approx(expected, rel=1e-12)


def test_draws_are_uniform_and_differ_by_every_part_of_the_key() -> None:
    stamps = np.arange(20_000, dtype=np.uint64) * np.uint64(86_400_000_000_000)
    draws = np.array([kernel.uniform(1, 0, stamp, np.uint64(5)) for stamp in stamps])
    assert draws.min() >= 0
    assert draws.max() < 1
    histogram = np.histogram(draws, 20, (0, 1))[0]
    assert ((histogram - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, one in a thousand
    for other in ((2, 0, 5), (1, 1, 5), (1, 0, 6)):
        again = np.array([kernel.uniform(other[0], other[1], stamp, np.uint64(other[2])) for stamp in stamps[:2000]])
        assert abs(np.corrcoef(draws[:2000], again)[0, 1]) < 0.08
