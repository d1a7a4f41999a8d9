from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.panels import Table, random_panel
from tradekit.engine.simulate import simulate
from tradekit.engine.single_pass import LEARNS, single_pass
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

PANEL = random_panel(120, 3)


@dataclass
class Learner(Table):
    def fit(self, train: Panel) -> Learner:
        return Learner(self.weight, self.name)


class Peeks(Table):
    def weights(self, panel: Panel) -> Floats:
        rises = np.append(panel.close[1:] > panel.close[:-1], np.zeros((1, 3), np.bool_), axis=0)
        return np.where(rises, 0.3, 0.0)


class Raises(Table):
    def weights(self, panel: Panel) -> Floats:
        raise KeyError("volume")


def test_the_ledger_is_that_of_the_whole_panel() -> None:
    costs, execution = CostModel.preset("free"), ExecutionModel(latency_bars=1)
    result = single_pass([Table(0.2)], PANEL, costs, execution, cash=5_000.0)
    ledger = result.run("table").ledger
    assert ledger is not None
    assert np.array_equal(ledger.equity, simulate(Table(0.2), PANEL, costs, execution, 5_000.0).equity)
    assert result.windowing is None
    assert result.run("table").windows == ()


def test_what_learns_is_skipped_by_name() -> None:
    result = single_pass([Table(0.2), Learner(0.2, "learner")], PANEL)
    assert result.run("learner").ledger is None
    assert result.run("learner").skipped == LEARNS
    assert result.run("table").skipped is None


def test_what_raises_is_skipped_with_what_it_raised() -> None:
    result = single_pass([Raises(0.2, "raises")], PANEL)
    assert str(result.run("raises").skipped).startswith("it raised KeyError: 'volume'")


def test_every_strategy_is_audited() -> None:
    result = single_pass([Table(0.2), Peeks(0.2, "peeks")], PANEL)
    audits = {run.name: run.audit for run in result.runs}
    assert audits["table"] is not None
    assert audits["table"].passed
    assert audits["peeks"] is not None
    assert not audits["peeks"].passed


def test_progress_ends_at_the_end() -> None:
    said: list[tuple[int, int, str]] = []
    single_pass([Table(0.2)], PANEL, progress=lambda *step: said.append(step))
    assert said == [(0, 1, "table"), (1, 1, "done")]
