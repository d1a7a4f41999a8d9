"""A spec with side series, from the file on the desk to every run that is made of its bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradekit.desk.folder import Desk
from tradekit.desk.jobs import bars_of, run_audit, run_single_pass, run_stress, run_walk_forward
from tradekit.desk.overrides import Overrides
from tradekit.desk.specs import BacktestSpec, DataSpec, StressSpec
from tradekit.engine.scenarios import default_scenarios
from tradekit.engine.stress import Stress
from tradekit.engine.walk_forward import WalkForward
from tradekit.engine.windows import Windowing
from tradekit.errors import StrategyError
from tradekit.market.side_series import SideSeries

STRATEGY = """
import numpy as np

class Calm:
    name, kind, lookback = "calm", "heuristic", 1
    def fit(self, train):
        assert len(train.series("vix")) == len(train)
        return self
    def weights(self, panel):
        calm = panel.series("vix") < 20.0
        return np.repeat(calm[:, None] / len(panel.symbols), len(panel.symbols), axis=1)

strategy = Calm()
"""
SIDE = (SideSeries("vix", "side/vix.csv", "close"),)
SPEC = BacktestSpec(DataSpec("sample", ("KO", "AAPL"), "2018-01-02", "2022-12-28", side=SIDE), ("calm",))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "strategies").mkdir()
    (folder / "side").mkdir()
    (folder / "strategies" / "calm.py").write_text(STRATEGY)
    days = np.arange(np.datetime64("1989-12-01"), np.datetime64("2023-01-10"))
    levels = 20.0 + np.random.default_rng(4).normal(size=len(days))
    rows = [f"{day},{level}" for day, level in zip(days, levels, strict=True)]
    (folder / "side" / "vix.csv").write_text("\n".join(["date,close", *rows]) + "\n")
    return Desk(folder, "sample")


def test_the_file_counts_from_the_desk(desk: Desk) -> None:
    panel = bars_of(SPEC.data, desk)
    assert panel.series("vix").shape == (len(panel),)
    assert not np.isnan(panel.series("vix")).any()


def test_backtest_and_walk_forward(desk: Desk) -> None:
    for result in (run_single_pass(desk, SPEC).result, run_walk_forward(desk, SPEC).result):
        assert isinstance(result, WalkForward)
        run = next(run for run in result.runs if run.name == "calm")
        assert run.ledger is not None
        assert not any(run.failures)
        assert len(run.ledger.orders) > 100


def test_every_shipped_scenario(desk: Desk) -> None:
    """Shocks, drawn paths and replays of other years all come with the series."""
    spec = StressSpec(SPEC.data, SPEC.strategies, Windowing(504, 126), scenarios=tuple(default_scenarios()))
    result = run_stress(desk, spec).result
    assert isinstance(result, Stress)
    kinds = {one.name: one.kind for one in default_scenarios()}
    ran = {kinds[cell.scenario] for cell in result.cells if cell.strategy == "calm" and cell.ledger is not None}
    assert ran >= {"base", "bootstrap", "garch", "replay", "gap", "missing"}
    # The sample has closes alone, so a limit on volume cannot be tried; nothing else is left out.
    assert {cell.skipped for cell in result.cells if cell.skipped and "needs volume" not in cell.skipped} == set()


def test_the_audit_takes_it_from_the_command_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.root)
    given = Overrides(symbols="KO", start="2019-01-02", side=("vix=side/vix.csv:close",))
    assert run_audit(desk, "calm", given, cuts=3).passed
    with pytest.raises(StrategyError, match=r"no side series vix; give its file under side in \[data\], or by --side"):
        run_audit(desk, "calm", replace(given, side=()), cuts=3)
