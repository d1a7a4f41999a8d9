"""The audit of event-style and closed-loop strategies, of honest ones, and of how much history a decision needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.engine.test_audit import Rule, momentum
from tests.panels import BuyOnce, Table, random_panel
from tradekit.engine.audit import audit
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Floats, Panel


def test_honest_strategies_pass_and_their_memory_is_measured() -> None:
    panel = random_panel(400, 4)
    report = audit(Rule("momentum", momentum, lookback=21), panel)
    assert report.passed
    assert report.lookback_holds
    assert report.warm_up_bars == 21
    assert report.cuts >= 8
    assert not audit(Rule("momentum", momentum, lookback=20), panel).lookback_holds
    assert audit(Table(0.25), panel).passed
    assert audit(BuyOnce(), panel).passed


def test_a_strategy_that_never_asks_is_not_called_clean_in_silence() -> None:
    assert "nothing was tested" in audit(Table(float("nan")), random_panel(50, 2)).note


def test_an_event_strategy_cannot_see_ahead() -> None:
    seen: list[int] = []

    class Looks:
        name = "looks"

        def fit(self, train: Panel) -> Looks:
            return self

        def on_bar(self, view: View) -> Floats:
            seen.append(len(view.close) - view.bar)
            assert len(view.panel) == len(view.timestamps) == len(view.volume) == view.bar + 1
            return np.where(view.close[-1] > view.close[0], 0.25, 0.0)

    assert audit(Looks(), random_panel(60, 4)).passed
    assert set(seen) == {1}


def test_a_closed_loop_that_smuggles_the_future_in_is_caught() -> None:
    class Smuggler:
        name, sleeves = "smuggler", True

        def fit(self, train: Panel) -> Smuggler:
            return self

        def start(self, portfolios: int) -> None:
            return None

        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            frame: Any = sys._getframe()
            while not hasattr(frame.f_locals.get("self"), "_watches"):
                frame = frame.f_back
            close = frame.f_locals["self"]._watches[0]._panel.close  # climbs out of the view into the engine
            ahead = close[min(view.bar + 1, len(close) - 1)] > close[view.bar]
            return Targets(ahead.astype(float)[:, None])

    report = audit(Smuggler(), random_panel(60, 4))
    assert not report.passed


def test_an_event_strategy_that_remembers_is_not_accused() -> None:
    class BuysOnce:
        name, bought = "buys_once", False

        def fit(self, train: Panel) -> BuysOnce:
            return self

        def on_bar(self, view: View) -> Floats:
            first, self.bought = not self.bought, True
            return np.full(4, 0.25 if first else np.nan)

    report = audit(BuysOnce(), random_panel(60, 4))
    assert report.passed
    assert not report.note


def test_too_few_bars_and_strategies_that_raise_on_them_are_not_called_clean() -> None:
    short = audit(Rule("momentum", momentum, lookback=21), random_panel(15, 2))
    assert (short.bars_checked, short.cuts) == (0, 0)
    assert "too few" in short.note

    class NeedsMuch(Table):
        def weights(self, panel: Panel) -> Floats:
            assert panel.close[300] is not None
            return super().weights(panel)

    report = audit(NeedsMuch(0.1), random_panel(310, 2))
    assert "IndexError" in report.note
    assert report.bars_checked == 0


def test_an_event_strategy_that_climbs_out_of_its_view_is_caught() -> None:
    class Climber:
        """Finds the panel in the frames that called it; the audit changes that panel too."""

        name, lookback = "climber", 5

        def fit(self, train: Panel) -> Climber:
            return self

        def on_bar(self, view: View) -> Floats:
            frame: Any = sys._getframe()
            while not hasattr(frame.f_locals.get("self"), "_watches"):
                frame = frame.f_back
            close = frame.f_locals["self"]._watches[0]._panel.close
            ahead: Floats = (close[min(view.bar + 1, len(close) - 1)] > close[view.bar]) / close.shape[1]
            return ahead

    violation = audit(Climber(), random_panel(120, 4)).first_violation
    assert violation is not None
    assert violation.column == "close"


@pytest.mark.parametrize(("rule", "bars"), [(lambda close: close / close[:1] / 9, None), (momentum, 21)])
def test_warm_up_of_each_form(rule: Callable[[Floats], Any], bars: int | None) -> None:
    """None: the decision depends on the very first bar, however long ago."""

    class ByBar(Rule):
        def on_bar(self, view: View) -> Floats:
            newest: Floats = self.weights(view.panel)[-1]
            return newest

    class Closed(Rule):
        sleeves = False

        def start(self, portfolios: int) -> None:
            return None

        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            return Targets(np.tile(self.weights(view.panel)[-1], (len(portfolios), 1)))

    for kind in (Rule, ByBar, Closed):
        report = audit(kind("rule", rule), random_panel(150, 3), cuts=4)
        assert report.passed
        assert report.warm_up_bars == bars, kind


@pytest.mark.parametrize(("lookback", "holds"), [(21, True), (20, False)])
def test_a_lookback_too_short_is_seen_in_event_strategies_too(lookback: int, holds: bool) -> None:
    class ByBar(Rule):
        def on_bar(self, view: View) -> Floats:
            newest: Floats = self.weights(view.panel)[-1]
            return newest

    report = audit(ByBar("by_bar", momentum, lookback), random_panel(150, 3))
    assert report.passed
    assert report.lookback_holds is holds


def test_a_lookback_that_is_too_short_at_some_decisions_only_is_seen() -> None:
    """It looks back far once in fifty days; the newest decision is none of those."""

    def rarely(close: Floats) -> Any:
        rows = np.arange(len(close))
        far = np.vstack([np.zeros((60, close.shape[1])), close[60:] > close[:-60]])
        return np.where((close[:, :1] * 1e6 % 50 < 1) & (rows[:, None] >= 60), far, close > 0)

    report = audit(Rule("rarely", rarely, lookback=2), random_panel(700, 3), cuts=64)
    assert report.passed
    assert report.lookback_holds is False


def test_a_closed_loop_is_audited_under_the_execution_it_runs_under() -> None:
    waiting: list[float] = []

    class Watches:
        name, sleeves = "watches", True

        def fit(self, train: Panel) -> Watches:
            return self

        def start(self, portfolios: int) -> None:
            return None

        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            waiting.append(float(np.abs(portfolios.pending).sum()))
            return Targets(np.full(portfolios.shares.shape, 0.5 * (view.bar % 2)))

    panel = random_panel(60, 2, close_only=True)
    assert audit(Watches(), panel, execution=ExecutionModel(fill_at="close")).passed
    assert max(waiting) == 0.0
    assert audit(Watches(), panel, execution=ExecutionModel(latency_bars=1)).passed
    assert max(waiting) > 0.0
