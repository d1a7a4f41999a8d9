"""The step over tensors against the numba kernel, over random markets, costs and rules, on every device there is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden.tables import number, table
from tests.golden.test_golden import COSTS, EVERY_TERM, EXECUTION, golden, near, two_trades
from tests.worlds import panel_of, random_case, random_costs, random_panel, random_weights
from tradekit.learn import torch_pricing
from tradekit.learn.torch_step import (
    book_to_numpy,
    book_to_torch,
    costs_to_torch,
    place_shares,
    place_weights,
    settle,
    to_torch,
)
from tradekit.market import kernel
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of, open_book

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.learn.torch_step import TorchBook
    from tradekit.market.kernel import Book
    from tradekit.market.panel import Floats, Panel

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
DEVICES = [pytest.param("cpu", id="cpu"), pytest.param("cuda", id="cuda", marks=needs_gpu)]
SHARE = 1e-8  # shares: a few lots, where another last bit of the common factor truncates to another billionth
PORTFOLIOS = 16


class World(NamedTuple):
    """B portfolios of n columns of one panel, each at a bar, in a scenario and with a stream of its own."""

    panel: Panel
    costs: list[CostModel]
    execution: ExecutionModel
    cash: Floats
    start: np.ndarray[Any, np.dtype[np.int64]]
    column: np.ndarray[Any, np.dtype[np.int64]]
    targets: Floats
    are_shares: bool

    def open(self) -> Book:
        """Return the book at the start."""
        lanes, width = np.arange(len(self.column)), self.targets.shape[2]
        return open_book(self.cash, self.column, width, self.execution.latency_bars, lanes % len(self.costs), lanes)


def random_world(seed: int) -> World:
    """Return a world in which every rule and cost term has a fair chance to matter."""
    rng = np.random.default_rng(seed)
    case = random_case(seed)
    symbols = len(case.panel.symbols)
    width = int(rng.integers(1, symbols + 1))
    costs = [random_costs(rng) for _ in range(int(rng.choice([1, 5])))]
    costs = [dataclasses.replace(cost, impact_window_bars=3) for cost in costs]
    steps = int(rng.integers(2, len(case.panel)))
    cash = np.round(10 ** rng.uniform(1.5, 6.5, PORTFOLIOS), 2)
    targets = np.stack([random_weights(rng, PORTFOLIOS, width, short=case.execution.allow_short) for _ in range(steps)])
    if case.are_shares:
        targets = np.round(targets * rng.choice([-1.0, 1.0], targets.shape) * cash[:, None] / 50.0, 3)
    return World(
        case.panel,
        costs,
        case.execution,
        cash,
        rng.integers(0, len(case.panel) - steps, PORTFOLIOS),
        rng.integers(0, symbols - width + 1, PORTFOLIOS),
        targets,
        case.are_shares,
    )


def by_kernel(world: World) -> Iterator[tuple[Book, Floats]]:
    """Yield book and fills after every bar, from numba."""
    rules, book = world.execution.rules, world.open()
    market = market_of(world.panel, world.execution, world.costs)
    rows = cost_rows(world.costs)
    fills = np.zeros((*book.shares.shape, kernel.FILL_COLUMNS))
    for step, targets in enumerate(world.targets):
        kernel.place(market, rules, book, world.start + step, np.ascontiguousarray(targets), world.are_shares)
        kernel.advance(market, rules, rows, book, fills, world.start + step + 1)
        yield book, fills


def by_tensors(
    world: World, device: str = "cpu", dtype: torch.dtype = torch.float64
) -> Iterator[tuple[TorchBook, Floats]]:
    """Yield book and fills after every bar, from torch."""
    rules, place = world.execution.rules, place_shares if world.are_shares else place_weights
    market = to_torch(market_of(world.panel, world.execution, world.costs), device, dtype)
    costs = costs_to_torch(cost_rows(world.costs), device, dtype)
    book, bars = book_to_torch(world.open(), device, dtype), torch.tensor(world.start, device=device)
    for targets in world.targets:
        book = place(market, rules, book, bars, torch.tensor(targets, device=device))
        bars = bars + 1
        book, fills = settle(market, rules, costs, book, bars, record=True)
        assert fills is not None
        yield book, fills.cpu().numpy().astype(np.float64)


def assert_same(world: World, device: str, *, exact: bool = False) -> None:
    """Hold the two to each other bar for bar: money to 1e-9, shares to a few lots, reasons and bars held exactly."""
    price = float(np.nan_to_num([world.panel.open, world.panel.close]).max())
    money = 0.0 if exact else 1e-9 * world.cash[:, None] + SHARE * price
    share = 0.0 if exact else SHARE
    for (slow, slow_fills), (book, fills) in zip(by_kernel(world), by_tensors(world, device), strict=True):
        fast = book_to_numpy(book)
        for name in ("cash", "equity", "peak"):
            difference = np.abs(getattr(fast, name) - getattr(slow, name))
            assert (difference[:, None] <= money).all(), name
        assert (np.abs(fast.carry - slow.carry) <= money).all()
        for name in ("shares", "due"):
            np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=0, atol=share, err_msg=name)
        np.testing.assert_allclose(fast.asked, slow.asked, rtol=0 if exact else 1e-9, atol=share)
        for name in ("held", "flags", "column", "scenario", "stream"):
            assert np.array_equal(getattr(fast, name), getattr(slow, name)), name
        firm = np.abs(slow.shares) > 1e-3
        np.testing.assert_allclose(fast.average_cost[firm], slow.average_cost[firm], rtol=0 if exact else 1e-6)
        assert_same_fills(fills, slow_fills, money, share)


def assert_same_fills(fast: Floats, slow: Floats, money: Any, share: float) -> None:
    for item in (kernel.REQUESTED, kernel.QUANTITY):
        np.testing.assert_allclose(fast[..., item], slow[..., item], rtol=0 if share == 0 else 1e-9, atol=share)
    assert np.array_equal(fast[..., kernel.REFERENCE], slow[..., kernel.REFERENCE], equal_nan=True)
    np.testing.assert_allclose(fast[..., kernel.PRICE], slow[..., kernel.PRICE], rtol=0 if share == 0 else 1e-9)
    for item in range(kernel.FILL_COMMISSION, kernel.REASON):
        assert (np.abs(fast[..., item] - slow[..., item]) <= money).all(), item
    assert np.array_equal(fast[..., kernel.REASON], slow[..., kernel.REASON])


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=150)
@given(seed=st.integers(0, 2**32))
def test_the_kernel_and_the_tensors_agree(device: str, seed: int) -> None:
    assert_same(random_world(seed), device)


@pytest.mark.parametrize("device", DEVICES)
def test_one_symbol_with_cash_enough_is_the_kernel_to_the_last_bit(device: str) -> None:
    """No sum over symbols, no search for a common factor and no square root: nothing is left that rounds otherwise."""
    compared = 0
    for seed in range(120):
        world = random_world(seed)
        costs = [dataclasses.replace(cost, impact_coefficient=0.0) for cost in world.costs]
        world = world._replace(costs=costs, targets=np.ascontiguousarray(world.targets[..., :1]))
        reasons = [fills[..., kernel.REASON].astype(np.int64) for _, fills in by_kernel(world)]
        if not any((reason & kernel.CASH_LIMITED).any() for reason in reasons):
            assert_same(world, device, exact=True)
            compared += 1
    assert compared > 30


def test_the_random_worlds_meet_every_rule() -> None:
    """The comparison above is worth what its cases are."""
    met = [0] * 7
    for seed in range(150):
        for _, fills in by_kernel(random_world(seed)):
            reasons = fills[..., kernel.REASON].astype(np.int64)
            met = [count + int((reasons >> bit & 1).sum()) for bit, count in enumerate(met)]
    assert min(met) > 5, met


@pytest.mark.parametrize("device", DEVICES)
@given(words=st.tuples(*[st.integers(0, 2**64 - 1)] * 2), seed=st.integers(0, 2**53 - 1), stream=st.integers(0, 2**62))
def test_draws_are_the_kernels(device: str, words: tuple[int, int], seed: int, stream: int) -> None:
    time_key, symbol_key = np.array(words, np.uint64)
    expected = kernel.uniform(seed, stream, time_key, symbol_key)
    seed_key = torch_pricing.mix(torch.tensor([seed], device=device))
    keys = [torch.tensor(np.array([word]).view(np.int64), device=device) for word in (time_key, symbol_key)]
    assert torch_pricing.uniform(seed_key, torch.tensor([stream], device=device), *keys).item() == expected


@given(
    quantity=st.floats(-1e14, 1e14) | st.integers(-(10**6), 10**6).map(lambda units: units * 0.1),
    lots=st.sampled_from([1.0, 1e9]),
)
def test_lots_are_the_kernels(quantity: float, lots: float) -> None:
    value = torch.tensor([quantity], dtype=torch.float64)
    assert torch_pricing.nearest_lots(value, lots).item() == kernel.nearest_lots(quantity, lots)
    assert torch_pricing.floor_lots(value, lots).item() == kernel.floor_lots(quantity, lots)


# ------------------------------------------------------------------------------------------------ the ledger by hand


@pytest.mark.parametrize("device", DEVICES)
def test_ten_bars_by_hand(device: str) -> None:
    panel, weights = golden()
    one = np.zeros(1, np.int64)
    world = World(panel, [COSTS], EXECUTION, np.array([1e5]), one, one, weights[:-1, None], False)
    closes, orders = table("Closes")[1:], iter(table("Orders"))
    for t, (row, (book, fills)) in enumerate(zip(closes, by_tensors(world, device), strict=True), 1):
        assert book.cash.item() == near(row["cash"])
        assert book.equity.item() == near(row["equity"])
        assert book.shares[0].tolist() == [number(row["A"]), number(row["B"])]
        for j in np.flatnonzero(fills[0, :, kernel.REQUESTED]):
            assert_order(fills[0, j], next(orders), t, "AB"[j])
    assert next(orders, None) is None


def assert_order(fill: Floats, row: dict[str, str], t: int, symbol: str) -> None:
    reason = {"filled": 0, "cash_limited": 1, "participation": 2, "untradable": 4}[row["reason"]]
    assert (t, symbol, fill[kernel.REASON]) == (number(row["filled"]), row["symbol"], reason)
    assert fill[kernel.REQUESTED] == near(row["asked"], rounded=True)
    assert fill[kernel.QUANTITY] == number(row["done"])
    for item, name in (
        (kernel.REFERENCE, "reference"),
        (kernel.PRICE, "price"),
        (kernel.FILL_SPREAD, "spread"),
        (kernel.FILL_SLIPPAGE, "slippage"),
        (kernel.FILL_COMMISSION, "commission"),
    ):
        assert fill[item] == near(row[name]), name


@pytest.mark.parametrize("device", DEVICES)
def test_two_trades_with_every_term_by_hand(device: str) -> None:
    one, wanted = np.zeros(1, np.int64), np.array([[[500.0]], [[-400.0]]])
    world = World(two_trades(), [EVERY_TERM], ExecutionModel(), np.array([1e5]), one, one, wanted, True)
    items = {
        "done": kernel.QUANTITY,
        "price": kernel.PRICE,
        "spread": kernel.FILL_SPREAD,
        "slippage": kernel.FILL_SLIPPAGE,
        "impact": kernel.FILL_IMPACT,
        "commission": kernel.FILL_COMMISSION,
        "regulatory": kernel.FILL_REGULATORY,
    }
    for row, (book, fills) in zip(table("Terms"), by_tensors(world, device), strict=True):
        assert book.cash.item() == near(row["cash"])
        for name, item in items.items():
            assert fills[0, 0, item] == near(row[name]), name


# -------------------------------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(
    seed=st.integers(0, 2**32),
    total=st.sampled_from([1.0, 0.999999, 0.5]),
    fractional=st.booleans(),
    minimum=st.booleans(),
)
def test_cash_is_never_negative_however_tight(
    dtype: torch.dtype, seed: int, total: float, fractional: bool, minimum: bool
) -> None:
    rng = np.random.default_rng(seed)
    prices = rng.choice([3.0, 7.1, 1e-3, 1e5]) * np.exp(rng.normal(0, 0.05, (8, 6)))
    costs = CostModel(impact_coefficient=float(rng.choice([0, 0.01, 3])), commission_minimum=float(minimum))
    targets, zeros = total * rng.dirichlet(np.ones(6), (7, PORTFOLIOS)), np.zeros(PORTFOLIOS, np.int64)
    cash, rules = 10 ** rng.uniform(0, 12, PORTFOLIOS), ExecutionModel(fractional=fractional)
    world = World(panel_of(prices, prices), [costs], rules, cash, zeros, zeros, targets, False)
    for book, _ in by_tensors(world, dtype=dtype):
        assert (book.cash >= 0).all()
        assert (book.shares >= 0).all()
        assert book.cash.dtype == book.equity.dtype == book.due.dtype == dtype


@given(seed=st.integers(0, 2**32))
def test_float32_keeps_the_equity_to_a_few_parts_in_a_hundred_thousand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, 12, 3)
    targets = np.stack([random_weights(rng, PORTFOLIOS, 3) for _ in range(11)])
    cash, zeros = 10 ** rng.uniform(3, 7, PORTFOLIOS), np.zeros(PORTFOLIOS, np.int64)
    world = World(panel, [CostModel()], ExecutionModel(), cash, zeros, zeros, targets, False)
    for (exact, _), (book, _) in zip(by_kernel(world), by_tensors(world, dtype=torch.float32), strict=True):
        np.testing.assert_allclose(book.equity, exact.equity, rtol=3e-5)


@given(seed=st.integers(0, 2**32))
def test_either_may_go_on_where_the_other_stopped(seed: int) -> None:
    world = random_world(seed)
    half = len(world.targets) // 2
    first, second = world._replace(targets=world.targets[:half]), world._replace(targets=world.targets[half:])
    *_, (handed, _) = by_tensors(first)
    book, rules = book_to_numpy(handed), world.execution.rules
    market = market_of(world.panel, world.execution, world.costs)
    rows = cost_rows(world.costs)
    for step, targets in enumerate(second.targets, half):
        kernel.place(market, rules, book, world.start + step, np.ascontiguousarray(targets), world.are_shares)
        kernel.advance(market, rules, rows, book, np.zeros((0, 0, 0)), world.start + step + 1)
    *_, (whole, _) = by_tensors(world)
    money = 1e-9 * world.cash + SHARE * float(np.nan_to_num([world.panel.open, world.panel.close]).max())
    assert (np.abs(book.equity - whole.equity.numpy()) <= money).all()


def test_arguments_are_not_written_to() -> None:
    world = random_world(7)
    market, rules = to_torch(market_of(world.panel, world.execution, world.costs)), world.execution.rules
    costs = costs_to_torch(cost_rows(world.costs))
    book, bars = book_to_torch(world.open()), torch.tensor(world.start)
    before = [item.clone() for item in book]
    placed = place_weights(market, rules, book, bars, torch.tensor(world.targets[0]))
    ordered = [item.clone() for item in placed]
    settle(market, rules, costs, placed, bars + 1, record=True)
    assert all(torch.equal(now, then) for now, then in zip(book, before, strict=True))
    assert all(torch.equal(now, then) for now, then in zip(placed, ordered, strict=True))


def test_the_step_is_one_graph() -> None:
    """Nothing in it asks the device for a number, or torch could not compile it whole."""
    world = random_world(11)
    market, rules = to_torch(market_of(world.panel, world.execution, world.costs)), world.execution.rules
    costs = costs_to_torch(cost_rows(world.costs))

    def step(book: TorchBook, bars: torch.Tensor, targets: torch.Tensor) -> TorchBook:
        return settle(market, rules, costs, place_weights(market, rules, book, bars, targets), bars + 1)[0]

    arguments = book_to_torch(world.open()), torch.tensor(world.start), torch.tensor(world.targets[0])
    whole = torch.compile(step, backend="eager", fullgraph=True)(*arguments)
    assert all(torch.equal(one, other) for one, other in zip(whole, step(*arguments), strict=True))
