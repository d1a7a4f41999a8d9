"""lockstep: what portfolios have together is what each has alone, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.panels import intraday
from tests.worlds import EventStyle, Lockstep, Table, random_costs, random_execution, random_panel, random_weights
from tradekit.engine.lockstep import Job, Rollout, Stretch, lockstep, run_lockstep
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Portfolios, Targets
from tradekit.errors import DataError, StrategyError
from tradekit.market import kernel
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel, open_book

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import View
    from tradekit.market.panel import Floats, Panel


class Recurrent:
    """Buys and sells on a moving average that each portfolio keeps for itself, on what it holds, and on a draw.

    It is asked window by window; ``calls`` counts the questions of all runs.
    """

    name = "recurrent"

    def __init__(self, *, sleeves: bool) -> None:
        self.sleeves = sleeves
        self.calls: list[int] = []

    def __deepcopy__(self, memo: Any) -> Recurrent:
        return self

    def fit(self, train: Panel) -> Recurrent:
        return self

    def start(self, portfolios: int) -> dict[str, Any]:
        return {"average": np.zeros(portfolios), "said": []}

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        return self.answer([view], portfolios, state)

    def answer(self, views: Sequence[View], portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        self.calls.append(len(portfolios))
        average, width = state["average"], portfolios.shares.shape[1]
        targets = np.empty((len(portfolios), width))
        expected = portfolios.expected(np.array([view.bar for view in views])[portfolios.window])
        for b in range(len(portfolios)):
            view, first = views[portfolios.window[b]], portfolios.column[b]
            mark = view.mark[first : first + width]
            held = np.where(expected[b] > 0, mark * portfolios.shares[b], 0.0).sum()
            average[b] = 0.7 * average[b] + 0.3 * np.nan_to_num(np.log(mark)).sum() - 0.01 * held / portfolios.equity[b]
            draw = np.random.default_rng([portfolios.seed[b], int(view.timestamp.astype("i8")), first]).random()
            targets[b] = np.where(np.log(mark) + draw > average[b], 1.0 / width, 0.0)
        state["said"].append(targets.sum(axis=1))
        return Targets(targets)

    def extras(self, state: dict[str, Any], portfolios: slice) -> dict[str, Any]:
        rows = [row[portfolios] for row in state["said"] if len(row) >= portfolios.stop]
        return {"said": np.array([*rows, np.full(portfolios.stop - portfolios.start, np.nan)])}


class Batched(Recurrent):
    """The same, asked for all windows at once."""

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        return self.answer(views, portfolios, state)


def demand_same(one: Ledger, other: Ledger) -> None:
    assert one.equity.tobytes() == other.equity.tobytes()
    assert one.cash.tobytes() == other.cash.tobytes()
    assert one.orders.tobytes() == other.orders.tobytes()
    assert (one.sleeve_equity is None) == (other.sleeve_equity is None)
    if one.sleeve_equity is not None and other.sleeve_equity is not None:
        assert np.array_equal(one.sleeve_equity, other.sleeve_equity)
    assert (one.borrow_paid, one.interest_earned) == (other.borrow_paid, other.interest_earned)
    assert (one.cost_model, one.execution) == (other.cost_model, other.execution)
    assert one.panel.timestamps.tolist() == other.panel.timestamps.tolist()
    assert one.extras.keys() == other.extras.keys()
    for name, rows in one.extras.items():
        assert np.array_equal(rows, other.extras[name], equal_nan=True)


def random_windows(rng: np.random.Generator, bars: int) -> list[tuple[int, int]]:
    starts = rng.integers(0, bars, int(rng.integers(1, 6)))
    return [(int(start), int(rng.integers(start + 1, bars + 1))) for start in starts]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([Recurrent, Batched]))
def test_together_is_alone(seed: int, sleeves: bool, kind: type[Recurrent]) -> None:
    """Over windows that overlap, of any length, x seeds x costs x symbols; a memory and draws of one's own."""
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, int(rng.integers(3, 15)), int(rng.integers(1, 4)), holes=rng.random() < 0.5)
    costs = [random_costs(rng) for _ in range(int(rng.integers(1, 4)))]
    costs = [replace(cost, impact_basis=costs[0].impact_basis, impact_window_bars=3) for cost in costs]
    execution = replace(random_execution(rng), allow_short=False)
    windows, seeds = random_windows(rng, len(panel)), [0, *map(int, rng.integers(1, 9, int(rng.integers(0, 3))))]
    together = lockstep(kind(sleeves=sleeves), panel, windows, costs, execution, 1e5, seeds=seeds)
    runs = [(window, one, cost) for window in windows for one in seeds for cost in costs]
    assert len(together) == len(runs)
    for rollout, ((start, stop), one, cost) in zip(together, runs, strict=True):
        assert rollout[:3] == (start, stop, one)
        assert rollout.ledger.cost_model == cost
        (alone,) = lockstep(kind(sleeves=sleeves), panel, [(start, stop)], cost, execution, 1e5, seeds=[one])
        demand_same(rollout.ledger, alone.ledger)
        if one == 0:
            by_itself = simulate(kind(sleeves=sleeves), panel, cost, execution, 1e5, start=start, stop=stop)
            demand_same(rollout.ledger, by_itself)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([Recurrent, Batched]))
def test_together_on_several_panels_is_alone(seed: int, sleeves: bool, kind: type[Recurrent]) -> None:
    """Panels of any length and of as many bars a day, some of whose spreads widen."""
    rng = np.random.default_rng(seed)
    symbols = int(rng.integers(1, 4))
    panels = [
        intraday(
            random_panel(rng, int(rng.integers(3, 15)), symbols, holes=rng.random() < 0.5), int(rng.integers(1, 5))
        )
        for _ in range(int(rng.integers(2, 5)))
    ]
    wide = 1.0 + rng.random(len(panels[0]))
    panels[0] = replace(panels[0], spread_multiple=wide if rng.random() < 0.5 else None)
    costs = [random_costs(rng) for _ in range(int(rng.integers(1, 3)))]
    costs = [replace(cost, impact_basis=costs[0].impact_basis, impact_window_bars=3) for cost in costs]
    execution = replace(random_execution(rng), allow_short=False)
    stretches = [Stretch(panel, *window) for panel in panels for window in random_windows(rng, len(panel))]
    stretches = [stretches[k] for k in rng.permutation(len(stretches))]
    together = run_lockstep(kind(sleeves=sleeves), Job(stretches, [0], costs, execution, 1e5, True, None))
    runs = [(stretch, cost) for stretch in stretches for cost in costs]
    for ledger, ((panel, start, stop), cost) in zip(together, runs, strict=True):
        demand_same(ledger, simulate(kind(sleeves=sleeves), panel, cost, execution, 1e5, start=start, stop=stop))


def test_panels_of_other_symbols_do_not_run_together() -> None:
    rng = np.random.default_rng(6)
    stretches = [Stretch(random_panel(rng, 8, symbols), 0, 8) for symbols in (1, 2)]
    with pytest.raises(DataError, match="have the same symbols"):
        run_lockstep(Recurrent(sleeves=True), Job(stretches, [0], [CostModel()], ExecutionModel(), 1e5, True, None))


def test_there_is_one_call_a_step_for_all_that_still_run() -> None:
    """Windows of 5, 3 and 1 bars, two seeds, three cost models, two symbols: 12 portfolios a window."""
    panel = random_panel(np.random.default_rng(1), 9, 2)
    costs = [CostModel().scaled(factor) for factor in (0, 1, 2)]
    windows = [(0, 3), (2, 7), (8, 9)]
    batched, apart = Batched(sleeves=True), Recurrent(sleeves=True)
    lockstep(batched, panel, windows, costs, seeds=[0, 1])
    assert batched.calls == [24, 24, 12, 12]  # the last bar of a window asks for no decision
    lockstep(apart, panel, windows, costs, seeds=[0, 1])
    assert apart.calls == [12, 12, 12, 12, 12, 12]


def test_seeds_are_streams_of_sampled_slippage() -> None:
    panel = random_panel(np.random.default_rng(2), 12, 2)
    sampled = CostModel(slippage_mode="sampled", slippage_bps=50)
    strategy = Lockstep(random_weights(np.random.default_rng(3), 12, 2))
    first, second, again = lockstep(strategy, panel, [(0, 12)], sampled, seeds=[0, 1, 1])
    assert first.ledger.equity[-1] != second.ledger.equity[-1]
    demand_same(second.ledger, again.ledger)


def test_an_event_strategy_keeps_what_it_remembers_to_its_window() -> None:
    class Counts:
        """Holds half until it has been asked three times."""

        name, asked = "counts", 0

        def fit(self, train: Panel) -> Counts:
            return self

        def on_bar(self, view: View) -> Floats:
            self.asked += 1
            return np.array([0.5 if self.asked <= 3 else 0.0])

    panel = random_panel(np.random.default_rng(4), 12, 1)
    rollouts = lockstep(Counts(), panel, [(0, 12), (3, 10), (3, 10)])
    for rollout in rollouts:
        demand_same(rollout.ledger, simulate(Counts(), panel, start=rollout.start, stop=rollout.stop))
    assert Counts.asked == 0


def test_a_strategy_that_keeps_its_memory_in_itself_is_copied_for_each_window() -> None:
    class Forgetful(Lockstep):
        asked = 0

        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            self.asked += 1
            return Targets(np.full(portfolios.shares.shape, 0.4 if self.asked % 2 else 0.1))

    panel = random_panel(np.random.default_rng(4), 12, 2)
    for rollout in lockstep(Forgetful(np.zeros((12, 2))), panel, [(0, 9), (2, 12)]):
        alone = simulate(Forgetful(np.zeros((12, 2))), panel, start=rollout.start, stop=rollout.stop)
        demand_same(rollout.ledger, alone)


def test_without_records_and_with_progress() -> None:
    panel = random_panel(np.random.default_rng(5), 8, 2)
    weights = np.full((8, 2), 0.4)
    told: list[tuple[int, int]] = []
    kept = lockstep(EventStyle(weights), panel, [(0, 8), (1, 4)])
    silent = lockstep(
        EventStyle(weights), panel, [(0, 8), (1, 4)], records=False, progress=lambda *done: told.append(done)
    )
    assert told == [(step, 8) for step in range(1, 9)]
    for one, other in zip(kept, silent, strict=True):
        assert one.ledger.equity.tobytes() == other.ledger.equity.tobytes()
        assert len(one.ledger.orders) > 0
        assert len(other.ledger.orders) == 0


def test_nothing_to_run() -> None:
    panel = random_panel(np.random.default_rng(5), 8, 2)
    strategy = EventStyle(np.full((8, 2), 0.4))
    assert lockstep(strategy, panel, []) == []
    assert lockstep(strategy, panel, [(0, 8)], []) == []
    assert lockstep(strategy, panel, [(0, 8)], seeds=[]) == []
    (only,) = lockstep(strategy, panel, [(7, 8)])
    assert isinstance(only, Rollout)
    assert only.ledger.equity.tolist() == [100_000.0]


class Undecided(Lockstep):
    """Answers shares after an odd number of bars and weights after an even one."""

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        return Targets(np.zeros(portfolios.shares.shape), view.bar % 2 == 1)


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        (Table(np.zeros((8, 2))), {}, "table: weights of bars alone need no lockstep; use simulate"),
        (EventStyle(np.zeros((8, 2))), {"windows": [(0, 9)]}, "cannot run bars 0 to 9 of 8"),
        (EventStyle(np.zeros((8, 2))), {"windows": [(3, 3)]}, "cannot run bars 3 to 3 of 8"),
        (EventStyle(np.zeros((8, 2))), {"cash": 0.0}, "cash is 0.0; it must be positive dollars"),
        (EventStyle(np.zeros((8, 2))), {"seeds": [-1]}, "seed -1: seeds are whole numbers, 0 or more"),
        (Undecided(np.zeros((8, 2))), {}, "table: answers shares in one window and weights in another; choose one"),
    ],
)
def test_what_cannot_run(strategy: Any, changes: dict[str, Any], message: str) -> None:
    panel = random_panel(np.random.default_rng(5), 8, 2)
    arguments: dict[str, Any] = {"windows": [(0, 8), (1, 4)], "execution": ExecutionModel()} | changes
    with pytest.raises(StrategyError) as caught:
        lockstep(strategy, panel, **arguments)
    assert str(caught.value) == message


def test_a_sale_that_waits_cannot_take_a_long_position_below_zero() -> None:
    """5 held; sold 10 in the next bar, when a purchase was dropped, and bought 8 in the one after: 8 and not 3."""
    book = open_book(1e5, [0], 1, latency=2)
    book.shares[0, 0] = 5.0
    book.due[0, (7 + 1) % 3, 0], book.due[0, (7 + 2) % 3, 0] = -10.0, 8.0
    fills = np.zeros((1, 1, kernel.FILL_COLUMNS))
    assert Portfolios(book, fills).expected(7).tolist() == [[8.0]]
    assert Portfolios(book, fills, allow_short=True).expected(7).tolist() == [[3.0]]
    assert Portfolios(book, fills).pending.tolist() == [[-2.0]]


@given(st.integers(0, 2**32), st.integers(0, 3), st.booleans())
def test_what_is_expected_is_what_the_kernel_expects(seed: int, latency: int, allow_short: bool) -> None:
    rng = np.random.default_rng(seed)
    book = open_book(1e5, [0, 0, 0], 2, latency)
    book.shares[:], book.due[:] = rng.normal(size=(3, 2)), rng.normal(size=book.due.shape)
    bars = rng.integers(0, 9, 3)
    rules = ExecutionModel(latency_bars=latency, allow_short=allow_short).rules
    fills = np.zeros((3, 2, kernel.FILL_COLUMNS))
    wanted = [[kernel.expected(rules, book, b, bars[b], j) for j in range(2)] for b in range(3)]
    assert Portfolios(book, fills, allow_short=allow_short).expected(bars).tolist() == wanted
