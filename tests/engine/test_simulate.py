"""simulate: the clock, what a strategy is shown, scenarios, and what it refuses."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import EventStyle, Lockstep, Shares, Sleeves, Table, panel_of, random_case, random_weights
from tradekit.engine.ledger import ORDER, Ledger
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Targets
from tradekit.errors import StrategyError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.engine.strategy import Portfolios, View
    from tradekit.market.panel import Floats, Panel

FREE = CostModel.preset("free")


def rising(bars: int = 6, width: int = 2) -> Panel:
    """Return opens 10, 20, 30, ... and closes one above them, the same for every symbol."""
    opens = np.tile(np.arange(1.0, bars + 1)[:, None] * 10, (1, width))
    return panel_of(opens, opens + 1)


# ------------------------------------------------------------------------------------------------------------ the clock


@pytest.mark.parametrize("driver", [Table, EventStyle, Lockstep])
@pytest.mark.parametrize("latency", [0, 1, 2])
def test_a_decision_fills_one_bar_later_plus_the_latency(driver: type[Table], latency: int) -> None:
    weights = np.full((6, 2), np.nan)
    weights[1, 0] = 0.21
    ledger = simulate(driver(weights), rising(), FREE, ExecutionModel(latency_bars=latency), cash=1000)
    (order,) = ledger.orders
    assert (order["decision_bar"], order["fill_bar"], order["symbol"]) == (1, 2 + latency, 0)
    assert order["quantity"] == 10  # 0.21 x 1000 dollars at the close of 21, whatever the fill costs
    assert order["price"] == (3 + latency) * 10
    assert ledger.cash.tolist() == [1000] * (2 + latency) + [1000 - 10 * order["price"]] * (4 - latency)


def test_the_last_decision_has_no_bar_to_fill_in() -> None:
    weights = np.full((3, 2), np.nan)
    weights[2] = 0.5
    assert len(simulate(Table(weights), rising(3), FREE).orders) == 0


def test_a_run_starts_and_stops_where_it_is_told() -> None:
    weights = np.full((6, 2), 0.1)
    ledger = simulate(Table(weights), rising(), FREE, cash=1000, start=2, stop=5)
    assert ledger.panel.timestamps.tolist() == rising().timestamps[2:5].tolist()
    assert len(ledger.equity) == len(ledger.cash) == 3
    assert ledger.equity[0] == ledger.cash[0] == 1000
    assert ledger.orders["decision_bar"].min() == 0
    assert ledger.orders["fill_bar"].min() == 1


@given(st.integers(0, 2**32), st.sampled_from([Table, Lockstep]), st.integers(0, 100), st.integers(0, 100))
def test_a_part_of_a_panel_is_run_as_if_it_were_all(seed: int, driver: type[Table], one: int, other: int) -> None:
    """For a strategy without memory, history before the start changes nothing but what is carried per bar."""
    case = random_case(seed)
    start = one % (len(case.panel) - 1)
    stop = start + 1 + other % (len(case.panel) - start)
    costs = CostModel(impact_basis=case.costs.impact_basis, impact_coefficient=0)
    weights = random_weights(np.random.default_rng(seed), *case.panel.close.shape)
    part = case.panel[start:stop]
    execution = ExecutionModel(latency_bars=case.execution.latency_bars)
    inside = simulate(driver(weights), case.panel, costs, execution, 1e5, start=start, stop=stop)
    # Marks of a symbol without a bar at the start come from before it.
    if not np.isnan(part.close[0]).any():
        alone = simulate(driver(weights[start:stop]), part, costs, execution, 1e5)
        assert np.array_equal(inside.equity, alone.equity)
        assert np.array_equal(inside.orders["quantity"], alone.orders["quantity"])


# -------------------------------------------------------------------------------------------------------- what is shown


class Witness(Lockstep):
    """Keep what was shown at every bar."""

    def __init__(self, weights: Floats) -> None:
        super().__init__(weights)
        self.seen: list[dict[str, Any]] = []

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        self.seen.append(
            {
                "bar": view.bar,
                "rows": {len(getattr(view, name)) for name in ("open", "high", "low", "close", "volume", "timestamps")},
                "last": view.close[-1].tolist(),
                "panel": len(view.panel),
                "equity": portfolios.equity.tolist(),
                "cash": portfolios.cash.tolist(),
                "shares": portfolios.shares.tolist(),
                "pending": portfolios.pending.tolist(),
                "batch": len(portfolios),
                "writeable": [getattr(portfolios, name).flags.writeable for name in ("cash", "equity", "shares")],
            }
        )
        return super().decide(view, portfolios, state)


def test_a_closed_loop_sees_the_bars_so_far_and_its_own_portfolios() -> None:
    weights = np.full((6, 2), [0.3, 0.2])
    witness, costs = Witness(weights), [FREE, CostModel(), CostModel().shocked(3)]
    ledgers = simulate(witness, rising(), costs, ExecutionModel(latency_bars=1), cash=1000)
    assert [seen["bar"] for seen in witness.seen] == [
        0,
        1,
        2,
        3,
        4,
    ]  # once a bar for all portfolios, not after the last
    for t, seen in enumerate(witness.seen):
        assert seen["rows"] == {t + 1}
        assert seen["panel"] == t + 1
        assert seen["last"] == [10 * (t + 1) + 1] * 2
        assert seen["batch"] == 3
        assert seen["writeable"] == [False] * 3
        for s, ledger in enumerate(ledgers):
            assert seen["equity"][s] == ledger.equity[t]
            assert seen["cash"][s] == ledger.cash[t]
            assert seen["shares"][s] == pytest.approx(ledger.positions[t].tolist())
            waiting = ledger.orders[(ledger.orders["decision_bar"] < t) & (ledger.orders["fill_bar"] > t)]
            assert sum(seen["pending"][s]) == pytest.approx(waiting["requested"].sum(), abs=1e-8)


def test_what_is_shown_cannot_be_changed() -> None:
    class Vandal(Lockstep):
        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            for array in (view.close, view.mark, portfolios.cash, portfolios.shares):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
            return super().decide(view, portfolios, state)

    simulate(Vandal(np.full((6, 2), 0.1)), rising(), FREE)


# ------------------------------------------------------------------------------------------------------------ scenarios


def test_one_cost_model_is_one_ledger_and_a_sequence_is_as_many() -> None:
    weights = np.full((6, 2), 0.4)
    for driver in (Table, Lockstep):
        one = simulate(driver(weights), rising())
        several = simulate(driver(weights), rising(), [CostModel(), FREE])
        assert isinstance(one, Ledger)
        assert one.cost_model == CostModel.preset("realistic")
        assert [ledger.cost_model for ledger in several] == [CostModel(), FREE]
        assert np.array_equal(several[0].equity, one.equity)
        assert several[1].equity[-1] > one.equity[-1]
        assert simulate(driver(weights), rising(), []) == []


@pytest.mark.parametrize("driver", [Table, Lockstep, Sleeves])
def test_dearer_scenarios_earn_less(driver: type[Table]) -> None:
    rng = np.random.default_rng(2)
    prices = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (200, 3)), axis=0))
    weights = rng.dirichlet(np.ones(3), 200) * 0.9
    costs = [CostModel().scaled(factor) for factor in range(8)]
    ledgers = simulate(driver(weights), panel_of(prices, prices), costs)
    assert (np.diff([ledger.equity[-1] for ledger in ledgers]) < 0).all()
    assert ledgers[0].total_cost == 0


def test_sleeves_share_the_cash_and_never_each_others() -> None:
    weights = np.zeros((6, 2))
    weights[:, 0] = 1.0
    ledger = simulate(Sleeves(weights), rising(), FREE, cash=1000)
    assert ledger.sleeve_equity is not None
    assert ledger.sleeve_equity[:, 1].tolist() == [500] * 6
    assert ledger.sleeve_equity[0].tolist() == [500, 500]
    assert set(ledger.orders["symbol"]) == set(ledger.orders["portfolio"]) == {0}


def test_progress_is_told_bar_by_bar() -> None:
    told: list[tuple[int, int]] = []
    simulate(Lockstep(np.zeros((6, 2))), rising(), FREE, progress=lambda done, of: told.append((done, of)), start=1)
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_without_records_equity_is_the_same() -> None:
    weights = np.full((6, 2), 0.4)
    for driver in (Table, Lockstep, Sleeves, Shares):
        kept = simulate(driver(weights), rising(), CostModel())
        silent = simulate(driver(weights), rising(), CostModel(), records=False)
        assert np.array_equal(kept.equity, silent.equity)
        assert len(kept.orders) > 0
        assert len(silent.orders) == 0


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that ``work`` holds at once; what it returns counts."""
    work()  # compiled, and what the panel computes once is there
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_output() -> None:
    """A value for every scenario, bar and symbol would be 41 MB; the output is 2 MB without orders, 10 MB with them."""
    bars, width, scenarios = 2000, 40, 64
    panel = rising(bars, width)
    weights = np.full((bars, width), np.nan)
    weights[::100] = 0.5 / width
    costs = [CostModel().shocked(1 + k / 100) for k in range(scenarios)]
    values = scenarios * bars * 2 * 8
    records = scenarios * 20 * width * ORDER.itemsize
    state = scenarios * width * 8 * 20  # what each portfolio holds, waits for and is told of one bar
    shared = 6 * panel.close.nbytes  # the weights, what a fill costs, and marks by symbol
    silent = peak_bytes(lambda: simulate(Table(weights), panel, costs, records=False))
    assert values < silent < values + state + shared
    kept = peak_bytes(lambda: simulate(Table(weights), panel, costs))
    assert values + records < kept < values + records + state + shared
    assert values + state + shared < scenarios * panel.close.nbytes / 5


# ------------------------------------------------------------------------------------------------------------- refusals


def refusal(strategy: Any, **changes: Any) -> str:
    with pytest.raises(StrategyError) as caught:
        simulate(strategy, rising(), **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(row: int, values: list[float]) -> Floats:
    weights = np.zeros((6, 2))
    weights[row] = values
    return weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros((5, 2)), "table: weights have shape (5, 2), expected (6, 2) (bars, symbols)"),
        (
            table(3, [0.0, np.inf]),
            "table: weight of B at 2024-01-04 is infinite; use a finite fraction of equity, or NaN",
        ),
        (table(2, [0.7, 0.4]), "table: weights at 2024-01-03 add up to 1.1000 of equity; leverage is not modelled"),
        (table(1, [-0.1, 0.4]), "table: weight of A at 2024-01-02 is negative; set allow_short = true"),
        (None, "table: weights have shape (1,), expected (6, 2)"),
        ("half", "table: answered str, not an array of numbers; return a float array"),
    ],
)
def test_an_open_loop_that_answers_nonsense(weights: Any, message: str) -> None:
    class Nonsense(Table):
        def weights(self, panel: Panel) -> Floats:
            return self.table

    assert refusal(Nonsense(weights)).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2)), "table: targets have shape (2, 2), expected (1, 2)"),
        (np.full((1, 2), np.inf), "table: a target is infinite; use NaN to leave a position alone"),
        (np.full((1, 2), 0.6), "table: weights add up to more than the whole equity; leverage is not modelled"),
        (np.array([["a", "b"]]), "table: answered ndarray, not an array of numbers; return a float array"),
    ],
)
def test_a_closed_loop_that_answers_nonsense(values: Any, message: str) -> None:
    class Nonsense(Lockstep):
        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            return Targets(values)

    assert refusal(Nonsense(np.zeros((6, 2)))) == message


def test_what_is_no_strategy() -> None:
    class Bare:
        name = "bare"

    class Returns(Lockstep):
        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Any:
            return np.zeros((1, 2))

    class Event(EventStyle):
        def on_bar(self, view: View) -> Floats:
            return np.zeros(3)

    assert refusal(Bare()) == "Bare is no strategy; it has name, fit, and one of weights, on_bar or decide"
    assert refusal(Returns(np.zeros((6, 2)))) == "table: decide answered ndarray; return Targets(values)"
    assert refusal(Event(np.zeros((6, 2)))) == "table: on_bar answered shape (3,), expected (2,)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 3, "stop": 3}, "cannot run bars 3 to 3 of 6"),
        ({"start": -1}, "cannot run bars -1 to 6 of 6"),
        ({"stop": 7}, "cannot run bars 0 to 7 of 6"),
        ({"cash": 0}, "cash is 0; it must be positive dollars"),
        ({"cash": float("nan")}, "cash is nan; it must be positive dollars"),
    ],
)
def test_a_run_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    assert refusal(Table(np.zeros((6, 2))), **changes) == message
