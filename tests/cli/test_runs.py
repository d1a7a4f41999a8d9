from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tradekit.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

QUICK = ("--walk-forward", "--strategies", "buy_and_hold,momentum")


def manifest(answer: Answer) -> Any:
    from pathlib import Path

    return json.loads((Path(answer.json["folder"]) / "manifest.json").read_text())


def test_a_registry_that_lost_runs_is_said(tradekit: Callable[..., Answer], desk: Path) -> None:
    run = tradekit("backtest", *QUICK, "--json", cwd=desk)
    assert tradekit("runs", cwd=desk).err == ""
    (desk / "registry.sqlite").unlink()
    answer = tradekit("runs", cwd=desk)
    assert "no runs yet" in answer.out
    assert "registry.sqlite, which counts trials, does not know 1 of the runs in " in answer.err
    assert run.json["folder"].rsplit("/", 1)[1] in answer.err


def test_runs_are_listed_compared_and_opened(tradekit: Callable[..., Answer], desk: Path) -> None:
    assert "no runs yet" in tradekit("runs", cwd=desk).out
    first = tradekit("backtest", *QUICK, "--json", cwd=desk)
    second = tradekit("backtest", *QUICK, "--cost-shock", "4", "--json", cwd=desk)
    assert (first.status, second.status) == (0, 0)
    rows = tradekit("runs", "--json", cwd=desk).json
    assert [(row["id"], row["kind"], row["status"], row["trials"]) for row in rows] == [
        (2, "walk_forward", "done", 2),
        (1, "walk_forward", "done", 2),
    ]
    assert rows[1]["command"] == "tradekit backtest --walk-forward --strategies buy_and_hold,momentum --json"
    assert rows[1]["folder"] == first.json["folder"]
    table = tradekit("runs", cwd=desk).out
    assert "walk_forward" in table
    assert "Best by Sharpe" in table
    compared = tradekit("runs", "compare", "1", "2", cwd=desk).out
    assert "buy_and_hold" in compared
    assert "they differ in spec, costs" in compared
    sharpe = {one["name"]: one["metrics"]["sharpe"] for one in second.json["strategies"]}
    both = tradekit("runs", "compare", "1", "2", "--json", cwd=desk).json
    assert both["2"]["metrics"]["momentum"]["sharpe"] == pytest.approx(sharpe["momentum"])
    assert tradekit("runs", "open", "1", cwd=desk).out.strip() == first.json["report"]
    assert (
        "no run has a figure 'sharp'; did you mean sharpe?"
        in tradekit("runs", "compare", "1", "2", "--figure", "sharp", cwd=desk).error
    )
    assert "no run '9'" in tradekit("runs", "open", "9", cwd=desk).error
    assert tradekit("runs", "compare", "1", cwd=desk).status == 2


def test_what_a_person_could_select_is_counted_once(tradekit: Callable[..., Answer], desk: Path) -> None:
    def trials(*arguments: str) -> Any:
        return manifest(tradekit("backtest", "--walk-forward", "--json", *arguments, cwd=desk))["trials"]

    first = trials("--strategies", "buy_and_hold,momentum")
    assert first["count"] == 2
    assert sorted(first["own"]) == ["buy_and_hold", "momentum"]
    assert len(first["sharpes"]) == 2
    assert trials("--strategies", "momentum,buy_and_hold") == first  # the same again
    assert trials("--strategies", "momentum", "--costs", "free")["count"] == 2  # costs are no candidate
    assert trials("--strategies", "random_actions")["count"] == 2  # nobody would trade it
    assert trials("--strategies", "momentum", "--start", "2020-02-03")["count"] == 3  # other bars
    text = (desk / "strategies" / "momentum.py").read_text()
    (desk / "strategies" / "momentum.py").write_text(text + "\n# another one\n")
    changed = trials("--strategies", "momentum")
    assert changed["count"] == 4
    assert changed["own"]["momentum"] != first["own"]["momentum"]
    assert len(changed["sharpes"]) == 3  # on these bars and costs: two versions of momentum, and buy and hold


def test_a_version_that_was_dropped_could_have_been_picked(tradekit: Callable[..., Answer], desk: Path) -> None:
    def picked() -> Any:
        return tradekit("backtest", *QUICK, "--json", cwd=desk).json["pbo"]

    assert (picked()["configurations"], picked()["earlier"]) == (2, 0)
    text = (desk / "strategies" / "momentum.py").read_text()
    (desk / "strategies" / "momentum.py").write_text(text.replace("252", "120"))
    first = picked()
    assert (first["configurations"], first["earlier"]) == (3, 1)
    assert picked() == first
    for folder in (desk / "backtests" / "results").iterdir():
        shutil.rmtree(folder)
    assert picked()["earlier"] == 0  # counted as a trial all the same, but nobody knows what it earned


def test_a_stress_test_of_the_same_strategies_adds_no_trial(tradekit: Callable[..., Answer], desk: Path) -> None:
    tradekit("backtest", *QUICK, cwd=desk)
    stressed = tradekit("stress", "--strategies", "buy_and_hold,momentum", "--json", cwd=desk)
    assert stressed.status == 0
    assert manifest(stressed)["trials"]["count"] == 2
    assert [row["kind"] for row in tradekit("runs", "--json", cwd=desk).json] == ["stress", "walk_forward"]


DRAWS = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Draws:
    seed: int = 0
    name, lookback = "draws", 1
    def fit(self, train):
        return self
    def weights(self, panel):
        days = panel.timestamps.astype("M8[D]").astype(int)
        return np.array([np.random.default_rng([self.seed, day]).random(2) / 2 for day in days])

strategy = Draws()
"""


def test_averaged_seeds_are_one_trial(tradekit: Callable[..., Answer], desk: Path) -> None:
    (desk / "strategies" / "draws.py").write_text(DRAWS)

    def told(seeds: str) -> Any:
        options = ("--walk-forward", "--strategies", "draws,buy_and_hold", "--seeds", seeds, "--json")
        return manifest(tradekit("backtest", *options, cwd=desk))

    assert (told("1,2,3")["trials"]["count"], told("1,2,3")["seeds"]) == (2, [1, 2, 3])
    assert told("2")["trials"]["count"] == 3  # one seed alone is another candidate than the mean of three
    answer = tradekit("backtest", "--walk-forward", "--seeds", "1,1", cwd=desk)
    assert "'1,1' is not a list of different whole numbers" in answer.error
    stressed = manifest(
        tradekit("stress", "--strategies", "draws,buy_and_hold", "--seeds", "1,2,3", "--json", cwd=desk)
    )
    assert (stressed["trials"]["count"], stressed["seeds"]) == (3, [1, 2, 3])  # the mean of three, once more
    assert "add --walk-forward" in tradekit("backtest", "--seeds", "1,2", cwd=desk).error


def test_a_run_that_fails_is_entered_with_the_reason(tradekit: Callable[..., Answer], desk: Path) -> None:
    (desk / "strategies" / "broken.py").write_text(BROKEN)
    answer = tradekit("backtest", "--walk-forward", "--strategies", "broken", cwd=desk)
    assert answer.status == 2
    assert "no strategy could run: broken: it failed in every window: KeyError: 'volume_z'" in answer.error
    (row,) = tradekit("runs", "--json", cwd=desk).json
    assert row["status"] == "failed"
    assert row["note"].startswith("StrategyError: no strategy could run: broken")
    assert "wrote no folder" in tradekit("runs", "open", "1", cwd=desk).error


BROKEN = """
class Broken:
    name, lookback = "broken", 1
    def fit(self, train):
        return self
    def weights(self, panel):
        raise KeyError("volume_z")
strategy = Broken()
"""

SLOW = """
import os
import shutil
import time
from pathlib import Path
class Slow:
    name, lookback = "slow", 1
    def fit(self, train):
        Path("fits").mkdir(exist_ok=True)
        Path("fits", str(train.timestamps[0])).touch()
        time.sleep(float(os.environ.get("NAP", "0")) if len(list(Path("fits").iterdir())) > 2 else 0.0)
        return Slow()
    def weights(self, panel):
        return 0.0 * panel.close + 0.1
strategy = Slow()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_was_broken_off_is_interrupted_and_goes_on_where_it_was(
    tradekit: Callable[..., Answer], desk: Path, repository: Path, sent: signal.Signals, status: int
) -> None:
    (desk / "strategies" / "slow.py").write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-m", "tradekit", "backtest", "--walk-forward", "--strategies", "slow", "--workers", "2"]
    with subprocess.Popen(command, cwd=desk, env={**environment, "NAP": "60"}, stderr=-1, text=True) as running:
        until = time.monotonic() + 60.0
        while not (desk / "fits").is_dir() or len(list((desk / "fits").iterdir())) < 4:
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(sent)
        _, said = running.communicate(timeout=30)
    assert running.returncode == status
    assert "Traceback" not in said
    with Registry(desk / "registry.sqlite") as registry:
        assert [row.status for row in registry.runs()] == ["interrupted"]
    kept = len(list((desk / "backtests" / "results" / ".cells").glob("??/*")))
    assert kept == 2
    for trace in (desk / "fits").iterdir():
        trace.unlink()
    answer = subprocess.run(
        [*command, "--json"], cwd=desk, env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    windows = len(json.loads(answer.stdout)["strategies"][0]["windows"])
    assert len(list((desk / "fits").iterdir())) == windows - 2
