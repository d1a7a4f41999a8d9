"""``tradekit backtest --cross-validation``: the shipped spec, what is refused, and a run that was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

SPEC = """
strategies = ["buy_and_hold", "sma_cross", "mean"]
[data]
source = "prices.csv"
[cross_validation]
groups = 5
held_out = 2
embargo_sessions = 5
"""
MEAN = """
import os, signal
import numpy as np

class Mean:
    name, kind, lookback = "mean", "custom", 1
    def fit(self, train):
        with open("fits", "a") as file:
            file.write("x")
        if os.path.exists("die") and os.path.getsize("fits") == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        learnt = Mean()
        learnt.mean = float(np.nanmean(train.close))
        return learnt
    def weights(self, panel):
        return np.where(panel.close < self.mean, 0.4, 0.1)

strategy = Mean()
"""


@pytest.fixture
def crossed(desk: Path) -> Path:
    (desk / "backtests" / "cross_validation.toml").write_text(SPEC)
    (desk / "strategies" / "mean.py").write_text(MEAN)
    return desk


def test_the_desk_s_spec_runs_without_options(tradekit: Callable[..., Answer], crossed: Path) -> None:
    answer = tradekit("backtest", "--cross-validation", cwd=crossed)
    assert answer.status == 0, answer.err
    assert "2 of 5 groups held out, 4 paths" in answer.out
    assert "Over all paths" in answer.out
    (folder,) = (crossed / "backtests" / "results").glob("[!.]*")
    assert folder.name.endswith("-cross_validation")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["kind"] == "cross_validation"
    paths = {one["name"]: one.get("paths") for one in summary["strategies"]}
    assert paths["mean"]["learns"]
    assert len(paths["mean"]["each"]) == 4
    assert not paths["sma_cross"]["learns"]
    assert paths["perfect_foresight"] is None
    assert (folder / "paths.parquet").is_file()
    listed = tradekit("runs", "--json", cwd=crossed).json
    assert [(row["kind"], row["status"], row["trials"]) for row in listed] == [("cross_validation", "done", 3)]
    # Its candidates are trials of whatever is run after it; returns learnt from later bars are compared with nothing.
    assert json.loads((folder / "manifest.json").read_text())["trials"]["sharpes"] == []
    assert tradekit("doctor", cwd=crossed).out.count("cross_validation.toml") == 1
    # A gate is for what could have been traded.
    gate = tradekit("gate", cwd=crossed)
    assert gate.status == 2
    assert gate.error.startswith(f"{folder.name} is a cross-validation, which learns from later bars too")


def test_a_spec_with_the_table_is_enough(tradekit: Callable[..., Answer], crossed: Path) -> None:
    line = ("backtest", "--spec", "backtests/cross_validation.toml", "--strategies", "buy_and_hold,mean")
    said = tradekit(*line, "--start", "2020-06-01", "--json", cwd=crossed).json
    assert said["cross_validation"]["splits"] == 10
    assert said["data"]["start"] == "2020-06-01"
    seeded = tradekit(*line, "--seeds", "1,2", "--workers", "1", "--cash", "5000", "--json", cwd=crossed).json
    assert seeded["cash"] == 5000.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--cross-validation", "--walk-forward"), "two ways to cut the bars; give one of them"),
        (("--walk-forward", "--spec", "backtests/cross_validation.toml"), "it has [cross_validation]; leave"),
        (("--cross-validation", "--spec", "backtests/walk_forward.toml"), "it has no [cross_validation]; add that"),
        (("--cross-validation", "--start", "2021-10-01"), "sessions in 5 groups are"),
        (("--cross-validation", "--spec", "both.toml"), "are two ways to cut the bars; keep one of them"),
        (("--cross-validation", "--spec", "one.toml"), "[cross_validation]: held_out = 1 makes up a single path"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tradekit: Callable[..., Answer], crossed: Path, line: tuple[str, ...], message: str
) -> None:
    (crossed / "both.toml").write_text(SPEC + "[windows]\ntrain_sessions = 100\n")
    (crossed / "one.toml").write_text(SPEC.replace("held_out = 2", "held_out = 1"))
    answer = tradekit("backtest", *line, cwd=crossed)
    assert answer.status == 2
    assert message in answer.error
    assert not list((crossed / "backtests" / "results").glob("[!.]*"))
    assert tradekit("runs", "--json", cwd=crossed).json == []


def test_a_stress_test_takes_no_such_table(tradekit: Callable[..., Answer], crossed: Path) -> None:
    answer = tradekit("stress", "--spec", "backtests/cross_validation.toml", cwd=crossed)
    assert (answer.status, "unknown key 'cross_validation'" in answer.error) == (2, True)


def test_a_run_that_was_killed_goes_on_where_it_was(
    tradekit: Callable[..., Answer], crossed: Path, repository: Path
) -> None:
    command = [sys.executable, "-m", "tradekit", "backtest", "--cross-validation", "--workers", "1"]
    command += ["--strategies", "buy_and_hold,mean"]
    (crossed / "die").touch()
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    died = subprocess.run(command, cwd=crossed, env=environment, capture_output=True, check=False)
    assert died.returncode == -9
    assert not list((crossed / "backtests" / "results").glob("[!.]*"))
    (crossed / "die").unlink()
    first = tradekit(*command[3:], "--json", cwd=crossed).json
    assert (crossed / "fits").read_text() == "x" * (4 + 7)  # three fits were kept, the fourth died with the process
    again = tradekit(*command[3:], "--fresh", "--json", cwd=crossed).json
    assert (crossed / "fits").read_text() == "x" * (4 + 7 + 10)
    assert [one.get("paths") for one in first["strategies"]] == [one.get("paths") for one in again["strategies"]]
