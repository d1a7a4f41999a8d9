"""``tradekit gate``: go and no-go, what it prints, which runs it finds, and a desk's own thresholds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tradekit.desk.scaffold import init_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

FOLLOWS = """
import numpy as np

class Follows:
    name, kind, lookback = "follows", "custom", 60
    def fit(self, train):
        return self
    def weights(self, panel):
        change = np.diff(np.log(panel.close), axis=0, prepend=np.log(panel.close[:1]))
        past = np.lib.stride_tricks.sliding_window_view(change, 58, axis=0)
        trend = past @ 0.5 ** (np.arange(58)[::-1] / 10.0)
        rising = np.zeros(panel.close.shape, bool)
        rising[57:] = trend > 0.0
        before = np.vstack([~rising[:1], rising[:-1]])
        return np.where(rising != before, rising / len(panel.symbols), np.nan)

strategy = Follows()
"""
SPEC = """
strategies = ["buy_and_hold", "sma_cross", "follows"]
[data]
source = "synthetic:planted?strength=0.4&bars=900&symbols=4"
[windows]
train_sessions = 250
test_sessions = 125
[costs]
preset = "alpaca_low"
"""


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk with an edge to find and a strategy that finds it; a backtest and a stress run in it. Do not change it."""
    import sys

    from tradekit.cli import main

    root = tmp_path_factory.mktemp("gate") / "desk"
    init_desk(root)
    (root / "strategies" / "follows.py").write_text(FOLLOWS)
    (root / "backtests" / "walk_forward.toml").write_text(SPEC)
    (root / "backtests" / "stress.toml").write_text(SPEC + '[[scenarios]]\nname = "base"\nkind = "base"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for arguments in (["backtest", "--walk-forward", "--out", "walked"], ["stress", "--slippage-shock", "1.5"]):
            patch.setattr(sys, "argv", ["tradekit", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
            assert left.value.code == 0
    return root


def _line(said: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in said["criteria"] if row["name"] == name)
    return found


def test_go(tradekit: Callable[..., Answer], traded: Path) -> None:
    answer = tradekit("gate", "walked", cwd=traded)
    assert answer.status == 0, answer.out
    lines = answer.out.splitlines()
    assert lines[0] == "go: follows"
    shown = [line.split()[0] for line in lines if line.strip()]
    for name in ("sharpe", "max_drawdown", "deflated_sharpe", "overfitting", "excess_under_shock", "causality_audit"):
        assert name in shown
    assert "slippage x1.5" in answer.out


def test_json(tradekit: Callable[..., Answer], traded: Path) -> None:
    answer = tradekit("gate", "walked", "--json", cwd=traded)
    assert (answer.status, answer.json["go"], answer.json["strategy"]) == (0, True, "follows")
    summary = json.loads((traded / "walked" / "summary.json").read_text())
    one = next(one for one in summary["strategies"] if one["name"] == "follows")
    assert _line(answer.json, "sharpe") == {
        "name": "sharpe",
        "value": one["metrics"]["sharpe"],
        "sign": ">",
        "threshold": 0.8,
        "verdict": "pass",
        "advisory": False,
        "note": "",
    }


def test_the_strategy_one_asks_for(tradekit: Callable[..., Answer], traded: Path) -> None:
    answer = tradekit("gate", "walked", "--strategy", "buy_and_hold", cwd=traded)
    assert answer.status == 1
    assert answer.out.startswith("no-go: buy_and_hold misses ")
    unknown = tradekit("gate", "walked", "--strategy", "folows", cwd=traded)
    assert (unknown.status, unknown.error) == (2, "the run has no strategy 'folows'; did you mean follows?")


def test_without_a_stress_run_that_fits(tradekit: Callable[..., Answer], traded: Path) -> None:
    """Costs of another kind: the stress run does not speak for it, and what is not known is not met."""
    assert tradekit("backtest", "--walk-forward", "--costs", "free", "--out", "free", cwd=traded).status == 0
    answer = tradekit("gate", "free", "--json", cwd=traded)
    assert answer.status == 1
    assert _line(answer.json, "excess_under_shock")["verdict"] == "not judged"
    stress = next(path.name for path in (traded / "backtests" / "results").glob("[!.]*"))
    asked = tradekit("gate", "free", "--stress", stress, cwd=traded)
    assert asked.status == 2
    assert (
        asked.error == f"{stress} is no stress run of follows on the same bars, costs, windows and files; run it again"
    )


def test_a_stress_run_is_judged_by_itself(tradekit: Callable[..., Answer], traded: Path) -> None:
    stress = next(path.name for path in (traded / "backtests" / "results").glob("[!.]*"))
    answer = tradekit("gate", stress, cwd=traded)
    assert (answer.status, answer.out.splitlines()[0]) == (0, "go: follows")


def test_a_desks_own_thresholds(tradekit: Callable[..., Answer], traded: Path) -> None:
    path = traded / "backtests" / "gate.toml"
    shipped = path.read_text()
    try:
        path.write_text("trades_a_day = 0.001\nsharpe = 99\n")
        answer = tradekit("gate", "walked", cwd=traded)
        assert (answer.status, answer.out.splitlines()[0]) == (1, "no-go: follows misses sharpe")
        path.write_text("sharp = 1\n")
        told = tradekit("gate", "walked", cwd=traded)
        assert told.status == 2
        assert told.error.endswith("gate.toml: unknown threshold 'sharp'; did you mean sharpe?")
        path.unlink()
        assert tradekit("gate", "walked", cwd=traded).status == 0
    finally:
        path.write_text(shipped)


def test_no_such_run(tradekit: Callable[..., Answer], traded: Path) -> None:
    answer = tradekit("gate", "nothing", cwd=traded)
    assert answer.status == 2
    assert answer.error.startswith("no run 'nothing' in ")


def test_a_desk_without_a_run(tradekit: Callable[..., Answer], tmp_path: Path) -> None:
    init_desk(tmp_path / "desk")
    empty = tradekit("gate", cwd=tmp_path / "desk")
    assert empty.status == 2
    assert "no runs yet" in empty.error


def test_the_shipped_thresholds_are_the_defaults(repository: Path) -> None:
    from tradekit.desk.gate import read_thresholds
    from tradekit.evidence.gates import Thresholds

    assert read_thresholds(repository / "backtests" / "gate.toml") == Thresholds()
