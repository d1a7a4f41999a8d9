from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import BuyOnce, Table, random_panel
from tradekit.engine.simulate import simulate
from tradekit.engine.single_pass import LEARNS, single_pass
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError, StrategyError

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

WINDOWS = Windowing(train_sessions=50, test_sessions=20)


TRAINED_ON: list[tuple[np.datetime64, np.datetime64]] = []


class Learner:
    """Holds what fell below its training mean; remembers what it was given."""

    name, lookback = "learner", 1

    def __init__(self, mean: Floats | None = None) -> None:
        self.mean = mean

    def fit(self, train: Panel) -> Learner:
        TRAINED_ON.append((train.timestamps[0], train.timestamps[-1]))
        return Learner(train.close.mean(axis=0))

    def weights(self, panel: Panel) -> Floats:
        assert self.mean is not None
        return (panel.close < self.mean) / len(panel.symbols)


def test_every_window_learns_only_from_bars_before_it() -> None:
    panel = random_panel(130, 3)
    TRAINED_ON.clear()
    result = walk_forward(Learner(), panel, WINDOWS)
    windows = [one.window for one in result.runs[0].windows]
    assert len(windows) == 4
    assert [(panel.timestamps[w.train_start], panel.timestamps[w.train_stop - 1]) for w in windows] == TRAINED_ON
    assert all(panel.timestamps[w.train_stop - 1] < panel.timestamps[w.test_start] for w in windows)


def test_the_stitched_ledger_equals_one_run_of_the_decisions_by_hand() -> None:
    panel = random_panel(130, 3)
    run = walk_forward(Learner(), panel, WINDOWS).run("learner")
    table = np.full(panel.close.shape, np.nan)
    for begin in range(50, 130, 20):
        mean = panel.close[begin - 50 : begin].mean(axis=0)
        table[begin : begin + 20] = (panel.close[begin : begin + 20] < mean) / 3
    by_hand = simulate(Table(table[50:], lookback=1), panel[50:])
    assert run.ledger is not None
    np.testing.assert_array_equal(run.ledger.equity, by_hand.equity)
    assert [(one.first, one.last) for one in run.windows] == [(1, 21), (21, 41), (41, 61), (61, 80)]


def test_buy_and_hold_buys_once_over_all_windows() -> None:
    run = walk_forward(BuyOnce(), random_panel(130, 3), WINDOWS).runs[0]
    assert run.ledger is not None
    assert len(run.ledger.orders) == 3
    assert set(run.ledger.orders["fill_bar"]) == {1}


def test_flatten_ends_every_window_in_cash() -> None:
    flat = Windowing(train_sessions=50, test_sessions=20, carry="flatten")
    ledger = walk_forward(Table(0.3), random_panel(130, 3), flat).runs[0].ledger
    assert ledger is not None
    for first_of_next in (20, 40, 60):
        assert not ledger.positions[first_of_next].any()
        assert ledger.positions[first_of_next - 1].all()


def test_a_failing_window_is_named_and_holds_cash_while_the_rest_goes_on() -> None:
    class Fails(Learner):
        name = "fails"

        def fit(self, train: Panel) -> Learner:
            if train.timestamps[0] == panel.timestamps[20]:
                raise ValueError("no such column")
            return super().fit(train)

    panel = random_panel(130, 3)
    result = walk_forward([Fails(), Table(0.2)], panel, WINDOWS)
    failures = [one.failure for one in result.run("fails").windows]
    assert failures == [None, "ValueError: no such column", None, None]
    ledger = result.run("fails").ledger
    assert ledger is not None
    assert not ledger.positions[21:41].any()
    assert ledger.positions[42:].any()
    assert result.run("table").ledger is not None


def test_a_strategy_that_raises_is_listed_with_its_reason() -> None:
    class Broken(Table):
        def weights(self, panel: Panel) -> Floats:
            raise KeyError("volume_z")

    result = walk_forward([Broken(0.1, "broken"), Table(0.2)], random_panel(130, 3), WINDOWS)
    said = str(result.run("broken").skipped)
    assert said.startswith("it failed in every window: KeyError: 'volume_z' (test_walk_forward.py, line ")
    assert result.run("table").ledger is not None


def test_a_policy_is_never_scored_on_bars_it_was_trained_on() -> None:
    class Policy(Table):
        kind = "policy"

        def __init__(self, seen_end: np.datetime64) -> None:
            super().__init__(0.2, "policy")
            self.seen_end = seen_end

    panel = random_panel(130, 3)
    result = walk_forward([Policy(panel.timestamps[69]), Table(0.3)], panel, WINDOWS)
    # Tests would start at row 50, but the policy has seen row 69: that is the first decision of every strategy.
    policy, table = result.run("policy").ledger, result.run("table").ledger
    assert policy is not None
    assert table is not None
    assert policy.timestamps[0] == table.timestamps[0] == panel.timestamps[69]
    assert policy.equity[0] == table.equity[0] == result.cash
    assert result.scored_from == 1
    assert [one.window.test_start for one in result.run("table").windows] == [69, 70, 90, 110]
    np.testing.assert_array_equal(policy.equity, simulate(Table(0.2), panel, start=69).equity)
    seen_all = walk_forward(Policy(panel.timestamps[-1]), panel, WINDOWS).runs[0]
    assert seen_all.ledger is None
    assert "trained on bars up to" in str(seen_all.skipped)


class Contrarian:
    """A closed loop over sleeves with memory: buys after a fall, at most every third bar."""

    name, sleeves = "contrarian", True

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold

    def fit(self, train: Panel) -> Contrarian:
        return Contrarian(float(np.median(np.diff(train.close[:, 0]))))

    def start(self, portfolios: int) -> dict[str, Any]:
        return {"bars": np.zeros(portfolios, np.int64), "seen": []}

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        fell = (view.close[-1] - view.close[-2] < self.threshold)[portfolios.column]
        state["bars"] += 1
        state["seen"].append(fell)
        weight = np.where(state["bars"] % 3 == 0, np.where(fell, 0.9, 0.0), np.nan)
        return Targets(weight[:, None])

    def extras(self, state: dict[str, Any], portfolios: slice) -> dict[str, Any]:
        return {"fell": np.array(state["seen"])[:, portfolios]}


def test_a_closed_loop_is_refitted_per_window_and_carries_its_positions() -> None:
    panel = random_panel(130, 3)
    run = walk_forward(Contrarian(), panel, WINDOWS).runs[0]
    assert run.ledger is not None
    assert run.ledger.sleeve_equity is not None
    np.testing.assert_allclose(run.ledger.sleeve_equity.sum(axis=1), run.ledger.equity, rtol=1e-15)
    # A row for each of the 80 bars; the last has no decision.
    assert run.ledger.extras["fell"].shape == (80, 3)
    assert run.audit is not None
    assert run.audit.passed
    first = float(np.median(np.diff(panel.close[:50, 0])))
    expected = panel.close[50:70] - panel.close[49:69] < first
    np.testing.assert_array_equal(run.ledger.extras["fell"][:20], expected)


def test_two_strategies_of_one_name_and_no_window_are_refused() -> None:
    with pytest.raises(StrategyError, match="two strategies are called 'table'"):
        walk_forward([Table(0.1), Table(0.2)], random_panel(130, 3), WINDOWS)
    with pytest.raises(ConfigError, match="cannot hold 756"):
        walk_forward(Table(0.1), random_panel(130, 3))


def test_the_audit_runs_unless_it_is_declined() -> None:
    panel = random_panel(130, 3)
    assert walk_forward(Table(0.1), panel, WINDOWS).runs[0].audit is not None
    assert walk_forward(Table(0.1), panel, WINDOWS, audit=False).runs[0].audit is None


def test_progress_is_told_of_every_strategy() -> None:
    told: list[tuple[int, int, str]] = []
    walk_forward([Table(0.1), BuyOnce()], random_panel(130, 3), WINDOWS, progress=lambda *step: told.append(step))
    # Four windows and the judgement, of either.
    assert told[0] == (0, 10, "")
    assert told[-1] == (10, 10, "buy_and_hold, judged")
    assert (4, 10, "table, judged") in told


class Memorises:
    """Keeps what it learns in itself, as scikit-learn does: here, which bars were followed by a rise."""

    name, lookback = "memorises", 1

    def __init__(self) -> None:
        self.rises: dict[int, Floats] = {}

    def fit(self, train: Panel) -> Memorises:
        for row in range(len(train) - 2):
            self.rises[int(train.timestamps[row].astype(int))] = train.close[row + 2] > train.close[row + 1]
        return self

    def weights(self, panel: Panel) -> Floats:
        table = np.zeros(panel.close.shape)
        for row, stamp in enumerate(panel.timestamps.astype(int)):
            table[row] = self.rises.get(int(stamp), 0.0)
        return table / len(panel.symbols)


def test_what_a_fit_keeps_in_the_strategy_does_not_reach_other_windows() -> None:
    panel, strategy = random_panel(200, 3), Memorises()
    run = walk_forward(strategy, panel, WINDOWS).runs[0]
    assert run.ledger is not None
    assert len(run.ledger.orders) == 0  # no test bar is in a train slice, so nothing was memorised about it
    assert strategy.rises == {}
    assert single_pass([strategy], panel).runs[0].skipped == LEARNS


def test_a_strategy_that_fails_in_every_window_is_skipped_with_the_reason() -> None:
    class Never(Learner):
        name = "never"

        def fit(self, train: Panel) -> Learner:
            raise RuntimeError("no GPU")

    run = walk_forward([Never(), Table(0.1)], random_panel(130, 3), WINDOWS).run("never")
    assert run.ledger is None
    assert run.skipped == "it failed in every window: RuntimeError: no GPU"


def test_what_a_closed_loop_recorded_stays_on_its_bar_when_a_window_fails() -> None:
    class FailsSecond(Contrarian):
        name = "fails_second"

        def fit(self, train: Panel) -> Contrarian:
            if train.timestamps[0] == panel.timestamps[20]:
                raise ValueError("no")
            return FailsSecond(float(np.median(np.diff(train.close[:, 0]))))

        def extras(self, state: dict[str, Any], portfolios: slice) -> dict[str, Any]:
            return {"fell": np.array(state["seen"], np.int8)[:, portfolios]}

    panel = random_panel(130, 3)
    ledger = walk_forward(FailsSecond(), panel, WINDOWS).runs[0].ledger
    assert ledger is not None
    fell = ledger.extras["fell"]
    assert fell.shape == (80, 3)
    assert (fell[20:40] == -1).all()
    third = float(np.median(np.diff(panel.close[40:90, 0])))
    np.testing.assert_array_equal(fell[40:60], panel.close[90:110] - panel.close[89:109] < third)


def test_one_session_test_slices_are_allowed() -> None:
    result = walk_forward(BuyOnce(), random_panel(60, 2), Windowing(train_sessions=50, test_sessions=1))
    assert len(result.runs[0].windows) == 10


def test_an_event_strategy_starts_every_run_as_it_was_made() -> None:
    class BuysOnce:
        name, bought = "buys_once", False

        def fit(self, train: Panel) -> BuysOnce:
            return self

        def on_bar(self, view: View) -> Floats:
            first, self.bought = not self.bought, True
            return np.full(3, 0.3 if first else np.nan)

    strategy, panel = BuysOnce(), random_panel(130, 3)
    ledgers = [walk_forward(strategy, panel, WINDOWS).runs[0].ledger for _ in range(2)]
    assert all(ledger is not None and len(ledger.orders) == 3 for ledger in ledgers)
    assert not strategy.bought
