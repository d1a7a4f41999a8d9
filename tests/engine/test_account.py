"""Accounts on other bars: closed loops on many panels together, and alone where one of them breaks them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.engine.test_walk_forward import Contrarian
from tests.panels import Table, random_panel
from tradekit.engine import account
from tradekit.engine.account import Account
from tradekit.engine.ledger import Ledger
from tradekit.engine.ledger_io import content_hash
from tradekit.engine.paths import paths
from tradekit.engine.prepared import Switch, first_run
from tradekit.engine.scenarios import Scenario
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.engine.walk_forward import prepare
from tradekit.engine.windows import Windowing
from tradekit.engine.worlds import Span, worlds
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Floats, Panel

WINDOWS = Windowing(train_sessions=50, test_sessions=20)
EXECUTION, COSTS, CASH = ExecutionModel(latency_bars=1), CostModel(), 1e5


class Steady(Contrarian):
    """The same without anything to learn, so that one loop runs through all windows; asked for all panels at once."""

    name, asked = "steady", 0

    def fit(self, train: Panel) -> Steady:
        return self

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        Steady.asked += 1
        falls = np.array([view.close[-1] - view.close[-2] < self.threshold for view in views])
        state["bars"][: len(portfolios)] += 1
        third = state["bars"][: len(portfolios)] % 3 == 0
        fell = falls[portfolios.window, portfolios.column]
        return Targets(np.where(third, np.where(fell, 0.9, 0.0), np.nan)[:, None])

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        return self.decide_all([view], portfolios, state)

    def extras(self, state: dict[str, Any], portfolios: slice) -> dict[str, Any]:
        return {}


class Brittle(Steady):
    """Raises where a close has more than halved since the first bar."""

    name = "brittle"

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        if any((view.close[-1] < 0.5 * view.close[0]).any() for view in views):
            raise ArithmeticError("it fell too far")
        return super().decide_all(views, portfolios, state)


class Event:
    """A callback per bar that remembers the highest close it saw."""

    name, highest = "event", 0.0

    def fit(self, train: Panel) -> Event:
        return self

    def on_bar(self, view: View) -> Floats:
        self.highest = max(self.highest, float(view.mark[0]))
        return np.full(3, 0.3 * float(view.mark[0]) / self.highest)


def ready(strategy: AnyStrategy, panel: Panel, windowing: Windowing = WINDOWS) -> Account:
    fitted = prepare(strategy, panel, windowing.cut(panel), windowing, EXECUTION)
    return Account((first_run(fitted, panel, windowing, EXECUTION, COSTS, CASH)[0],))


def drawn(panel: Panel) -> list[Panel]:
    """Return drawn paths of two lengths."""
    span = Span(50, len(panel))
    return [
        *paths(Scenario("blocks", "bootstrap", bars=40, draws=3, block_sessions=5), panel, span),
        *paths(Scenario("shocks", "garch", bars=60, draws=3), panel, span),
    ]


def moved(panel: Panel) -> list[Panel]:
    span = Span(50, len(panel))
    wild, holes = Scenario("wild", "volatility", factor=2.0), Scenario("holes", "missing", share=0.1, draws=3)
    return [*worlds(wild, panel, span), *worlds(holes, panel, span)]


def run(one: Account, panels: list[Panel], windowing: Windowing = WINDOWS) -> list[Ledger | str]:
    return one.run_in(panels, windowing, COSTS, EXECUTION, CASH)


def hashes(ledgers: list[Ledger | str]) -> list[str]:
    return [one if isinstance(one, str) else content_hash(one) for one in ledgers]


@pytest.mark.parametrize("carry", ["carry", "flatten"])
@pytest.mark.parametrize("strategy", [Contrarian(), Steady(), Event(), Table(0.2)])
def test_all_panels_together_are_each_alone(strategy: AnyStrategy, carry: Any) -> None:
    panel, windowing = random_panel(160, 3), replace(WINDOWS, carry=carry)
    one = ready(strategy, panel, windowing)
    for fitted, panels in ((one, moved(panel)), (one.first_fit(), drawn(panel))):
        together = run(fitted, panels, windowing)
        assert hashes(together) == [hashes(run(fitted, [each], windowing))[0] for each in panels]
        assert len(set(hashes(together))) == len(panels)


def test_one_call_a_bar_serves_all_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six paths of 60 bars at most; in packs of three, twice the calls and the same ledgers."""
    panel = random_panel(160, 3)
    one = ready(Steady(), panel).first_fit()
    Steady.asked = 0
    together = run(one, drawn(panel))
    assert Steady.asked == 60  # 61 rows, the last of which asks for no decision
    monkeypatch.setattr(account, "PANELS_TOGETHER", 3)
    Steady.asked = 0
    assert hashes(run(one, drawn(panel))) == hashes(together)
    assert Steady.asked == 40 + 60


def test_a_world_that_breaks_a_strategy_is_lost_alone() -> None:
    panel = random_panel(160, 3)
    fall = next(worlds(Scenario("fall", "gap", size=-0.6), panel, Span(50, len(panel))))
    one, steady = ready(Brittle(), panel), ready(Steady(), panel)
    calm = moved(panel)[1:]
    found = run(one, [calm[0], fall, calm[1]])
    assert str(found[1]).startswith("it raised ArithmeticError: it fell too far (test_account.py, line ")
    assert [hashes(found)[k] for k in (0, 2)] == [
        content_hash(replace(ledger, name="brittle")) for ledger in run(steady, calm[:2]) if isinstance(ledger, Ledger)
    ]


def test_a_window_that_breaks_a_loop_of_its_own_is_named() -> None:
    """One loop for each window would hold cash where it falls, and nobody would know."""
    panel = random_panel(160, 3)
    fall = next(worlds(Scenario("fall", "gap", size=-0.6), panel, Span(50, len(panel))))
    (here,) = ready(Brittle(), panel, replace(WINDOWS, carry="flatten")).parts
    assert isinstance(here.driver, Switch)
    found = run(Account((here,)), [panel, fall, panel], replace(WINDOWS, carry="flatten"))
    assert "windows: ArithmeticError: it fell too far" in str(found[1])
    assert isinstance(found[0], Ledger)
    assert content_hash(found[0]) == hashes(found)[2]


def test_an_account_of_two_is_half_of_each() -> None:
    panel = random_panel(160, 3)
    one, other = ready(Table(0.3, "same"), panel), ready(Table(0.1, "same"), panel)
    both = Account((*one.parts, *other.parts))
    for panels in ([panel], moved(panel)):
        parts = zip(run(one, panels), run(other, panels), run(both, panels), strict=True)
        for first, second, half in parts:
            assert isinstance(first, Ledger)
            assert isinstance(second, Ledger)
            assert isinstance(half, Ledger)
            np.testing.assert_array_equal(half.equity, (first.equity + second.equity) / 2)
    (half,) = both.run(panel, [COSTS], EXECUTION, CASH)
    assert half.equity.tobytes() == hashes_of_equity(run(both, [panel]))


def hashes_of_equity(ledgers: list[Ledger | str]) -> bytes:
    (one,) = ledgers
    assert isinstance(one, Ledger)
    return one.equity.tobytes()
