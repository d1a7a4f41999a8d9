from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tradekit.desk.folder import Desk
from tradekit.desk.jobs import backtest_spec, bars_of, run_audit, run_single_pass, run_stress, run_walk_forward
from tradekit.desk.loader import load_strategy
from tradekit.desk.overrides import Overrides
from tradekit.desk.specs import BacktestSpec, DataSpec, StressSpec
from tradekit.engine.scenarios import Scenario
from tradekit.engine.stress import Stress
from tradekit.engine.walk_forward import WalkForward, walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import BundleError, StrategyError

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = """
from tradekit.errors import BundleError
import numpy as np

class S:
    name, kind, lookback = "{name}", "heuristic", 1
    def fit(self, train):
        {fit}
    def weights(self, panel):
        return np.where(panel.close > panel.open, 0.2, 0.0)
    def check(self, panel, execution):
        {check}

strategy = S()
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "strategies").mkdir()
    for name, fit, check in (
        ("sound", "return self", "pass"),
        ("unfit", "return self", "raise BundleError('made for other bars; train it here')"),
        ("raises", "raise KeyError('volume')", "pass"),
    ):
        text = RANDOM.format(name=name, fit=fit, check=check)
        (tmp_path / "strategies" / f"{name}.py").write_text(text)
    rng = np.random.default_rng(3)
    lines = ["timestamp,open,high,low,close,volume"]
    for k, close in enumerate(20.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, 300)))):
        start = close * (1.0 + 0.001 * (-1) ** k)
        lines.append(f"{np.datetime64('2019-01-01') + k},{start},{max(start, close)},{min(start, close)},{close},1000")
    (tmp_path / "bars.csv").write_text("\n".join(lines))
    return Desk(tmp_path, "bars.csv")


SPEC = BacktestSpec(DataSpec("bars.csv"), ("sound",), Windowing(100, 50))


def test_a_path_counts_from_the_working_folder_and_else_from_the_desk(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert len(bars_of(SPEC.data, desk)) == 300
    (here / "bars.csv").write_text("timestamp,close\n2020-01-01,1\n2020-01-02,2\n")
    assert len(bars_of(SPEC.data, desk)) == 2


def test_a_walk_forward_is_the_engine_s(desk: Desk) -> None:
    outcome = run_walk_forward(desk, SPEC)
    panel = bars_of(SPEC.data, desk)
    assert isinstance(outcome.result, WalkForward)
    mine, engine = (
        outcome.result.runs[0].ledger,
        walk_forward(load_strategy("sound", desk).strategy, panel, Windowing(100, 50)).runs[0].ledger,
    )
    assert mine is not None
    assert engine is not None
    assert np.array_equal(mine.equity, engine.equity)
    assert [one.path.name for one in outcome.loaded] == ["sound.py"]


def test_one_that_cannot_run_does_not_stop_the_others(desk: Desk) -> None:
    outcome = run_single_pass(desk, replace(SPEC, strategies=("sound", "unfit", "raises")))
    assert isinstance(outcome.result, WalkForward)
    skipped = {run.name: run.skipped for run in outcome.result.runs}
    assert skipped["sound"] is None
    assert skipped["unfit"] == "made for other bars; train it here"
    assert str(skipped["raises"]) == "it raised KeyError: 'volume' (raises.py, line 8)"


def test_none_that_can_run_is_an_error_with_the_reason(desk: Desk) -> None:
    spec = replace(SPEC, strategies=("unfit", "raises"))
    with pytest.raises(StrategyError, match=r"no strategy could run: unfit: made for other bars.*\(and 1 more\)"):
        run_single_pass(desk, spec)
    with pytest.raises(StrategyError, match="no strategy could run"):
        run_stress(desk, StressSpec(SPEC.data, ("unfit",), Windowing(100, 50)))


def test_a_slippage_shock_stands_next_to_the_base(desk: Desk) -> None:
    scenarios = (Scenario("base", "base"), Scenario("slippage x2", "costs", cost_shock=9.0), Scenario("z", "latency"))
    spec = StressSpec(SPEC.data, ("sound",), Windowing(100, 50), scenarios=scenarios)
    result = run_stress(desk, spec, 2.0).result
    assert isinstance(result, Stress)
    assert [(one.name, one.slippage_shock) for one in result.scenarios] == [
        ("base", 1.0),
        ("slippage x2", 2.0),
        ("z", 1.0),
    ]


def test_replays_draw_on_all_bars(desk: Desk) -> None:
    scenarios = (Scenario("fall", "replay", start="2019-05-01", end="2019-06-01"),)
    data = replace(SPEC.data, start="2019-05-15")
    spec = StressSpec(data, ("sound",), Windowing(50, 50), scenarios=scenarios)
    result = run_stress(desk, spec).result
    assert isinstance(result, Stress)
    assert str(result.panel.timestamps[0])[:10] == "2019-05-15"
    ledger = result.cell("sound", "fall").ledger
    assert ledger is not None
    assert str(ledger.timestamps[0])[:10] == "2019-03-12"  # 50 bars earlier


def test_the_audit_reports_what_a_strategy_raises(desk: Desk) -> None:
    assert run_audit(desk, "sound", Overrides()).passed
    with pytest.raises(BundleError, match="made for other bars"):
        run_audit(desk, "unfit", Overrides())
    with pytest.raises(StrategyError, match=r"^raises: fit on 150 bars raised KeyError: 'volume'"):
        run_audit(desk, "raises", Overrides())


def test_without_a_spec_the_desk_s_source_is_run(desk: Desk) -> None:
    assert backtest_spec(desk, None, walk_forward=False) == BacktestSpec(DataSpec("bars.csv"))
    desk.backtests.mkdir()
    (desk.backtests / "walk_forward.toml").write_text('cash = 5.0\n[data]\nsource = "bars.csv"\n')
    assert backtest_spec(desk, None, walk_forward=True).cash == 5.0
    assert backtest_spec(desk, desk.backtests / "walk_forward.toml", walk_forward=False).cash == 5.0
