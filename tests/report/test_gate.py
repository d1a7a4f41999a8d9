"""The gate on whole runs: a planted edge passes, each thing that is missing stops it, and which stress run speaks."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import BuyOnce
from tests.report.conftest import RUN
from tradekit.engine.stress import stress
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.evidence.gates import Thresholds
from tradekit.market.costs import CostModel
from tradekit.market.sources import load_panel
from tradekit.market.sources.synthetic import planted_signal
from tradekit.report.gate import gate_of, speaks_for
from tradekit.report.record import record_of
from tradekit.report.summary import plain, summary_of

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

PANEL = load_panel("synthetic:planted?strength=0.3&bars=700&symbols=4")
WINDOWS = Windowing(train_sessions=100, test_sessions=100)
COSTS = CostModel.preset("alpaca_low")


class Held(BuyOnce):
    kind = "heuristic"


class Knows:
    """Holds what is about to rise."""

    name, kind = "knows", "custom"

    def fit(self, train: Panel) -> Knows:
        return self

    def weights(self, panel: Panel) -> Floats:
        now = planted_signal(panel) > 0.0
        before = np.vstack([~now[:1], now[:-1]])
        return np.where(now != before, now / len(panel.symbols), np.nan)


def _summary(result: Any) -> dict[str, Any]:
    hashes = {"file_hashes": {"knows": "a" * 64, "buy_and_hold": "b" * 64}, "versions": {}, "trials": None}
    told: dict[str, Any] = plain(summary_of(record_of(result, RUN | hashes)))
    return told


@pytest.fixture(scope="module")
def backtest() -> dict[str, Any]:
    return _summary(walk_forward([Held(), Knows()], PANEL, WINDOWS, COSTS))


@pytest.fixture(scope="module")
def stressed() -> dict[str, Any]:
    from tradekit.engine.scenarios import Scenario, slippage_scenario

    scenarios = (Scenario("base", "base"), slippage_scenario(3.0), slippage_scenario(1.5))
    return _summary(stress([Held(), Knows()], PANEL, scenarios, WINDOWS, COSTS))


def _line(gate: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in gate["criteria"] if row["name"] == name)
    return found


def test_a_planted_edge_is_a_go(backtest: dict[str, Any], stressed: dict[str, Any]) -> None:
    gate = gate_of(backtest, stressed=stressed)
    assert (gate["strategy"], gate["go"]) == ("knows", True)
    one = next(one for one in backtest["strategies"] if one["name"] == "knows")
    assert _line(gate, "sharpe")["value"] == one["metrics"]["sharpe"]
    shocked = next(row for row in stressed["scenarios"] if row["name"] == "slippage x1.5")["cells"][1]
    assert _line(gate, "excess_under_shock")["value"] == shocked["metrics"]["excess_over_benchmark"]
    assert _line(gate, "excess_under_shock")["note"] == "slippage x1.5"
    assert _line(gate, "trades_a_day")["value"] == one["metrics"]["trades"] / one["metrics"]["sessions"] / 4
    assert _line(gate, "deflated_sharpe")["note"] == "2 trials in 1 group"


def test_a_stress_run_speaks_for_itself(stressed: dict[str, Any]) -> None:
    assert gate_of(stressed)["go"] is True


def test_without_a_stress_run_it_is_not_a_go(backtest: dict[str, Any]) -> None:
    gate = gate_of(backtest)
    assert gate["go"] is False
    assert [row["name"] for row in gate["criteria"] if row["verdict"] != "pass"] == ["excess_under_shock"]
    assert _line(gate, "excess_under_shock")["verdict"] == "not judged"
    assert "tradekit stress --slippage-shock 1.5" in _line(gate, "excess_under_shock")["note"]


def test_a_harder_shock_than_was_run_is_not_judged(backtest: dict[str, Any], stressed: dict[str, Any]) -> None:
    gate = gate_of(backtest, thresholds=Thresholds(slippage_shock=4.0), stressed=stressed)
    assert _line(gate, "excess_under_shock")["verdict"] == "not judged"
    twice = gate_of(backtest, thresholds=Thresholds(slippage_shock=2.0), stressed=stressed)
    assert _line(twice, "excess_under_shock")["note"] == "slippage x3"


def test_holding_is_no_go(backtest: dict[str, Any], stressed: dict[str, Any]) -> None:
    gate = gate_of(backtest, "buy_and_hold", stressed=stressed)
    assert gate["go"] is False
    assert _line(gate, "deflated_sharpe")["verdict"] == "fail"
    assert _line(gate, "margin_over_best_baseline")["verdict"] == "not judged"


def test_an_audit_that_compared_nothing_or_failed(backtest: dict[str, Any], stressed: dict[str, Any]) -> None:
    told = deepcopy(backtest)
    audit = next(one for one in told["strategies"] if one["name"] == "knows")["audit"]
    audit["bars_checked"] = 0
    assert _line(gate_of(told, stressed=stressed), "causality_audit")["verdict"] == "not judged"
    audit["passed"] = False
    gate = gate_of(told, stressed=stressed)
    assert _line(gate, "causality_audit")["verdict"] == "fail"
    assert gate["go"] is False


def test_nothing_to_judge(backtest: dict[str, Any]) -> None:
    told = deepcopy(backtest)
    told["verdict"]["candidate"] = None
    assert gate_of(told) == {"strategy": None, "go": False, "criteria": []}
    told["strategies"][1]["metrics"] = None
    assert gate_of(told, "knows") == {"strategy": "knows", "go": False, "criteria": []}


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told["data"].update(hash="other"),
        lambda told: told["costs"].update(spread_bps=9.0),
        lambda told: told.update(windowing=None),
        lambda told: told.update(kind="walk_forward"),
        lambda told: told["strategies"][1].update(file_hash="c" * 64),
        lambda told: told["strategies"][1].update(bundle_hash="c" * 64),
        lambda told: told["strategies"][1].update(seeds=[{"seed": 1, "windows": []}]),
        lambda told: told["strategies"].pop(1),
    ],
    ids=["bars", "costs", "windows", "kind", "file", "bundle", "seeds", "strategy"],
)
def test_which_stress_run_speaks(backtest: dict[str, Any], stressed: dict[str, Any], change: Any) -> None:
    assert speaks_for(stressed, backtest, "knows")
    told = deepcopy(stressed)
    change(told)
    assert not speaks_for(told, backtest, "knows")


def test_a_few_sessions_are_no_go() -> None:
    short = replace_bars(PANEL, 180)
    told = _summary(walk_forward([Held(), Knows()], short, WINDOWS, COSTS))
    gate = gate_of(told)
    assert _line(gate, "sessions")["verdict"] == "fail"
    assert _line(gate, "sessions")["value"] == 79


def replace_bars(panel: Panel, bars: int) -> Panel:
    return replace(panel[:bars], source=panel.source)
