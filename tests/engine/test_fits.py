from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.engine.test_walk_forward import Contrarian, Learner
from tests.panels import BuyOnce, Table, random_panel
from tradekit.compute import Store
from tradekit.engine.fits import learner_of
from tradekit.engine.ledger_io import content_hash
from tradekit.engine.scenarios import Scenario
from tradekit.engine.stress import stress
from tradekit.engine.walk_forward import WalkForward, prepare, walk_forward
from tradekit.engine.windows import Windowing
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import Portfolios, Targets
    from tradekit.engine.view import View
    from tradekit.market.panel import Floats, Panel

WINDOWS = Windowing(train_sessions=50, test_sessions=20)
IDENTITIES = {name: f"code of {name}" for name in ("learner", "contrarian", "buy_and_hold", "table")}


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def hashes(result: WalkForward) -> list[str]:
    return [content_hash(run.ledger) for run in result.runs if run.ledger is not None]


def test_the_numbers_are_the_same_in_one_process_in_several_and_from_the_store(tmp_path: Path) -> None:
    strategies: Any = [Learner(), Contrarian(), BuyOnce(), Table(0.2)]
    panel = random_panel(130, 3)
    store = Store(tmp_path / "cells")
    here = walk_forward(strategies, panel, WINDOWS)
    there = walk_forward(strategies, panel, WINDOWS, workers=2, store=store, identities=IDENTITIES)
    told: list[int] = []
    again = walk_forward(
        strategies,
        panel,
        WINDOWS,
        store=store,
        identities=IDENTITIES,
        progress=lambda done, total, label: told.append(done),
    )
    assert told == [4 * 4 + 4]
    assert hashes(here) == hashes(there) == hashes(again)
    assert len(hashes(here)) == 4
    assert [run.audit for run in here.runs] == [run.audit for run in there.runs] == [run.audit for run in again.runs]


class Counts(Learner):
    """Leaves a trace of every fit."""

    name = "counts"

    def __init__(self, folder: str, mean: Floats | None = None) -> None:
        super().__init__(mean)
        self.folder = folder

    def fit(self, train: Panel) -> Counts:
        from pathlib import Path

        (Path(self.folder) / f"{train.timestamps[0]}-{len(list(Path(self.folder).iterdir()))}").touch()
        return Counts(self.folder, train.close.mean(axis=0))


def test_what_is_kept_is_known_by_code_bars_and_windows(tmp_path: Path) -> None:
    panel, store, traces = random_panel(150, 3), Store(tmp_path / "cells"), tmp_path / "traces"
    traces.mkdir()

    def fits(bars: Panel, windowing: Windowing = WINDOWS, code: str = "one", **settings: Any) -> int:
        before = len(list(traces.iterdir()))
        walk_forward(Counts(str(traces)), bars, windowing, store=store, identities={"counts": code}, **settings)
        return len(list(traces.iterdir())) - before

    assert fits(panel[:130]) == 4
    assert fits(panel[:130]) == 0
    assert fits(panel) == 1  # the bars of the first four windows are the same
    assert fits(panel, cash=5.0) == 0
    assert fits(panel, code="two") == 5
    assert fits(panel, Windowing(train_sessions=50, test_sessions=20, purge_sessions=1)) == 5
    assert fits(random_panel(150, 3, seed=8)) == 5


def test_without_an_identity_nothing_is_kept(tmp_path: Path) -> None:
    walk_forward(Learner(), random_panel(130, 3), WINDOWS, store=Store(tmp_path / "cells"))
    assert list((tmp_path / "cells").iterdir()) == []


class Frozen:
    """Holds what it was trained to; may be trained afresh."""

    name, lookback = "policy", 1

    def __init__(self, past: tuple[tuple[int, int], ...] = ()) -> None:
        self.past = past

    def refit(self) -> Trains:
        return Trains()

    def fit(self, train: Panel) -> Frozen:
        return self

    def weights(self, panel: Panel) -> Floats:
        return np.full(panel.close.shape, len(self.past) / 10 / len(panel.symbols))


class Trains(Frozen):
    """Remembers every training: how many bars it was given, and how many of them as history."""

    history = 7

    def fit_window(self, bars: Panel, warm_up: int, previous: Frozen | None) -> Frozen:
        return Frozen((*(() if previous is None else previous.past), (len(bars), warm_up)))


@pytest.mark.parametrize(("refit", "levels"), [("each", [1, 1, 1, 1]), ("warm", [1, 2, 3, 4])])
def test_a_policy_is_trained_in_each_window_afresh_or_from_the_one_before(refit: Any, levels: list[int]) -> None:
    windowing = Windowing(train_sessions=50, test_sessions=20, refit=refit)
    run = walk_forward(Frozen(), random_panel(130, 2), windowing, workers=2).runs[0]
    assert run.ledger is not None
    exposure = [run.ledger.exposure[one.first :][1] for one in run.windows]
    np.testing.assert_allclose(exposure, np.array(levels) / 10, atol=0.01)


def test_frozen_leaves_it_as_it_is() -> None:
    run = walk_forward(Frozen(), random_panel(130, 2), WINDOWS).runs[0]
    assert run.ledger is not None
    assert len(run.ledger.orders) == 0


@pytest.mark.parametrize(("refit", "given"), [("each", [(57, 7)]), ("warm", [(50, 0), (57, 7)])])
def test_history_before_the_train_slice_is_handed_over_as_such(refit: Any, given: list[tuple[int, int]]) -> None:
    panel = random_panel(130, 2)
    windowing = Windowing(train_sessions=50, test_sessions=20, refit=refit)
    prepared = prepare(learner_of(Frozen(), refit), panel, windowing.cut(panel), windowing, ExecutionModel())
    second: Any = prepared.fitted[1]
    assert list(second.past) == given


@pytest.mark.parametrize("refit", ["each", "warm"])
def test_a_stress_test_trains_as_the_walk_forward_does(refit: Any) -> None:
    panel = random_panel(130, 2)
    windowing = Windowing(train_sessions=50, test_sessions=20, refit=refit)
    walked = walk_forward(Frozen(), panel, windowing).ledgers["policy"]
    stressed = stress(Frozen(), panel, [Scenario("base", "base")], windowing).ledgers["policy"]
    assert content_hash(walked) == content_hash(stressed)


class FallsAt:
    """An event strategy that raises at one bar."""

    name = "falls"

    def __init__(self, bar: int) -> None:
        self.bar = bar

    def fit(self, train: Panel) -> FallsAt:
        return self

    def on_bar(self, view: View) -> Floats:
        if view.bar == self.bar:
            raise ZeroDivisionError("no volume")
        return np.full(len(view.symbols), 0.3)


class FallsOpen(Table):
    """An open-loop strategy that raises when it is shown one bar."""

    def __init__(self, stamp: np.datetime64) -> None:
        super().__init__(0.3, "falls")
        self.stamp = stamp

    def weights(self, panel: Panel) -> Floats:
        if panel.timestamps[0] <= self.stamp <= panel.timestamps[-1]:
            raise ZeroDivisionError("no volume")
        return super().weights(panel)


class FallsClosed(Contrarian):
    name = "falls"

    def fit(self, train: Panel) -> FallsClosed:
        return FallsClosed(float(np.median(np.diff(train.close[:, 0]))))

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        if view.bar == 75:
            raise ZeroDivisionError("no volume")
        return super().decide(view, portfolios, state)


@pytest.mark.parametrize("form", ["event", "open", "closed"])
def test_one_that_raises_in_one_window_holds_cash_there_and_goes_on(form: str) -> None:
    panel = random_panel(130, 3)
    strategy: Any = {"event": FallsAt(75), "open": FallsOpen(panel.timestamps[75]), "closed": FallsClosed()}[form]
    result = walk_forward([strategy, Table(0.2)], panel, WINDOWS)
    run = result.run("falls")
    assert run.ledger is not None
    first, why, *others = [one.failure for one in run.windows]
    assert (first, others) == (None, [None, None])
    assert str(why).startswith("ZeroDivisionError: no volume (test_fits.py, line ")
    assert result.failures == (f"falls failed in 1 of 4 windows: {why}",)
    second = run.windows[1]
    assert not run.ledger.positions[second.last - 1].any()
    assert run.ledger.positions[second.last + 5 :].any()
    assert run.ledger.positions[: second.first].any()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.inf, "weight of S0 at .* is infinite"),
        (0.5, r"add up to 1\.5000 of equity"),
        (-0.1, "is negative; set allow_short"),
    ],
)
def test_one_that_answers_nonsense_is_left_out_by_name(weight: float, message: str) -> None:
    import re

    result = walk_forward([Table(weight, "wrong"), Table(0.2)], random_panel(130, 3), WINDOWS)
    run = result.run("wrong")
    assert run.ledger is None
    assert run.failed
    assert re.search(message, str(run.skipped)), run.skipped
    assert result.run("table").ledger is not None


def test_windows_own_the_fills_of_their_decisions() -> None:
    class Turns(Table):
        """Buys at the first decision of every window, sells at the last."""

        def weights(self, panel: Panel) -> Floats:
            rows = panel.timestamps.astype("M8[D]").astype(np.int64)
            return np.where((rows % 2)[:, None] == 0, 0.2, 0.0) * np.ones(panel.close.shape)

    panel = random_panel(130, 3)
    run = walk_forward(Turns(0.0, "turns"), panel, WINDOWS).runs[0]
    assert run.ledger is not None
    orders = run.ledger.orders
    for number, one in enumerate(run.windows):
        decided_here = (orders["decision_bar"] >= 20 * number) & (orders["decision_bar"] < 20 * (number + 1))
        filled_here = (orders["fill_bar"] >= one.first) & (orders["fill_bar"] < one.last)
        np.testing.assert_array_equal(decided_here, filled_here)
        assert decided_here.sum() > 30
