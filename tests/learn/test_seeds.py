"""Several seeds of one recipe: side by side they are what each is alone, and interrupted what it is not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.learn.conftest import quick
from tradekit.errors import DataError, DeskError, Interrupted
from tradekit.learn.bundle import WEIGHTS, read_bundle
from tradekit.learn.seeds import resume_seeds, train_one, train_seeds
from tradekit.learn.standing import STOP, Standing, Watching
from tradekit.learn.train import train, train_policy

if TYPE_CHECKING:
    from tradekit.learn.recipe import Recipe
    from tradekit.market.panel import Panel

SEEDS = (1, 2, 3)


def long() -> Recipe:
    recipe = quick(timesteps=4096)
    return replace(recipe, checkpoints=replace(recipe.checkpoints, every=512))


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "bundle" / WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "policies" / "quick").mkdir(parents=True)
    return tmp_path


def test_each_seed_is_what_it_is_alone_and_the_best_is_promoted(panel: Panel, desk: Path) -> None:
    made = train_seeds("quick", desk, panel, quick(), SEEDS)
    for run in made.runs:
        alone, *_ = train(replace(quick(), seed=run.seed), panel, desk / "alone" / str(run.seed))
        assert weights(run.folder) == hashlib.sha256((alone.folder / WEIGHTS).read_bytes()).hexdigest()
    ranks = {run.seed: (run.metrics["exposure"] >= 0.05, run.metrics["validation_sharpe"]) for run in made.runs}
    assert made.best is not None
    assert made.best.seed == max(ranks, key=ranks.__getitem__)
    assert made.promoted
    promoted = read_bundle(desk / "policies" / "quick" / "bundle")
    assert promoted.manifest["seed"] == made.best.seed
    told = json.loads((made.folder / "summary.json").read_text())
    assert [one["seed"] for one in told["seeds"]] == list(SEEDS)
    # With three seeds a quarter of them is none, so the interquartile mean is the mean.
    across = told["across"]["validation_sharpe"]
    assert across["interquartile_mean"] == pytest.approx(
        np.mean([run.metrics["validation_sharpe"] for run in made.runs])
    )
    assert across["low"] <= across["interquartile_mean"] <= across["high"]
    assert (told["best_seed"], told["promoted"], told["healthy"]) == (made.best.seed, True, True)
    assert not list(made.folder.rglob(".s*"))  # neither standings nor the flag to stop are left


def test_one_sick_seed_promotes_nothing_when_validated(panel: Panel, desk: Path) -> None:
    made = train_seeds("quick", desk, panel, quick(), SEEDS, validate=True)
    assert (made.healthy, made.promoted, made.best) == (False, False, None)
    missed = {gate.name for run in made.runs for gate in run.gates if not gate.met}
    assert "entropy after 6000 steps" in missed  # one update of 512 steps
    assert made.summary["verdict"].startswith(
        "not healthy: 0 of 3 seeds; seed 1: entropy after 6000 steps is nan; it has to be at least"
    )
    assert made.summary["verdict"].endswith("bundle stays as it was")
    assert made.summary["convergence"]["level"] in ("none", "converged", "strong")
    assert not (desk / "policies" / "quick" / "bundle").exists()


def test_a_seed_that_diverges_leaves_the_others_alone(panel: Panel, desk: Path) -> None:
    recipe = quick(learning_rate=1e30, max_grad_norm=1e30)
    made = train_seeds("quick", desk, panel, recipe, (1, 2))
    assert (made.healthy, made.promoted) == (False, False)
    assert all("training diverged after 512 steps" in run.summary["verdict"] for run in made.runs)
    assert all(run.metrics == {} for run in made.runs)
    assert made.summary["across"]["validation_sharpe"]["interquartile_mean"] == 0.0


def test_out_promotes_nothing(panel: Panel, desk: Path, tmp_path: Path) -> None:
    made = train_seeds("quick", desk, panel, quick(), (1, 2), out=tmp_path / "kept")
    assert made.best is not None
    assert (made.promoted, made.folder) == (False, tmp_path / "kept")
    assert not (desk / "policies" / "quick" / "bundle").exists()


def test_unusable_bars_leave_no_folder(panel: Panel, desk: Path) -> None:
    with pytest.raises(DataError, match="are too few"):
        train_seeds("quick", desk, panel[:60], quick(), SEEDS)
    assert not (desk / "policies" / "quick" / "runs").exists()


def test_put_away_and_gone_on_with_they_end_the_same(panel: Panel, desk: Path) -> None:
    whole = train_seeds("quick", desk, panel, long(), (1, 2), out=desk / "whole")
    asked: list[int] = []

    def stop() -> bool:
        asked.append(0)
        return len(asked) > 1

    with pytest.raises(Interrupted, match="seed 2 not finished, all kept in"):
        train_seeds("quick", desk, panel, long(), (1, 2), out=desk / "cut", stop=stop)
    assert not (desk / "cut" / "summary.json").exists()
    on = resume_seeds(desk / "policies" / "quick", desk / "cut", panel, long(), promote=False)
    assert [weights(run.folder) for run in on.runs] == [weights(run.folder) for run in whole.runs]
    assert (desk / "cut" / "summary.json").exists()


@pytest.mark.slow
def test_processes_train_the_same_and_one_that_is_killed_goes_on(panel: Panel, desk: Path) -> None:
    """Two workers; one is killed in the middle of its run, and its seed ends with the weights it would have had."""
    whole = train_seeds("quick", desk, panel, long(), (1, 2), out=desk / "whole")
    killed: list[int] = []

    def kill(label: str, done: int, total: int, figures: dict[str, Any]) -> None:
        newest = sorted((desk / "spread" / "seed-2" / "checkpoints").glob("*"))
        if label == "seed 2" and newest and not killed and done < total:
            killed.append(done)
            os.kill(_holder(desk / "spread" / "seed-2" / "run.json"), signal.SIGKILL)

    made = train_seeds("quick", desk, panel, long(), (1, 2), out=desk / "spread", workers=2, watched=kill)
    assert killed
    assert [weights(run.folder) for run in made.runs] == [weights(run.folder) for run in whole.runs]


def _holder(file: Path) -> int:
    """Return the process that holds the lock on ``file``."""
    inode = file.stat().st_ino
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        parts = line.split()
        if parts[1] == "FLOCK" and int(parts[5].split(":")[2]) == inode:
            return int(parts[4])
    raise AssertionError("nobody trains there")


def test_a_run_that_cannot_be_finished_is_named(panel: Panel, desk: Path) -> None:
    out = desk / "kept"
    (out / "seed-2").mkdir(parents=True)
    (out / "seed-2" / "run.json").write_text("{}")
    (out / "seed-2" / "checkpoints").write_text("in the way")
    with pytest.raises(DeskError, match=r"seed 2: .*; the other seeds are kept, go on with --resume"):
        train_seeds("quick", desk, panel, quick(), (1, 2), out=out)
    assert (out / "seed-1" / "summary.json").exists()


def test_a_run_that_has_ended_is_not_trained_again(panel: Panel, desk: Path) -> None:
    made = train_policy("quick", desk, panel, recipe=quick(), out=desk / "run" / "seed-1")
    before = (made.run_folder / "summary.json").stat().st_mtime_ns
    train_one(panel, made.run_folder, quick())
    assert (made.run_folder / "summary.json").stat().st_mtime_ns == before


def test_watching_passes_on_news_and_the_wish_to_stop(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int, dict[str, Any]]] = []
    wish = threading.Event()
    folder = tmp_path / "a"
    folder.mkdir()
    with Watching({"a": folder, "b": tmp_path / "b"}, lambda *news: heard.append(news), wish.is_set, tmp_path / STOP):
        Standing(folder)(5, 10, {"entropy": 0.5, "validation_sharpe": float("nan")})
        _until(lambda: bool(heard))
        assert not (tmp_path / STOP).exists()
        wish.set()
        _until((tmp_path / STOP).exists)
    assert heard == [("a", 5, 10, {"entropy": 0.5})]
    assert list(folder.iterdir()) == []
    assert not (tmp_path / STOP).exists()


def _until(true: Any) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")
