"""``tradekit train --seeds`` and ``--validate`` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_train import SMALL
from tradekit.cli import many_view
from tradekit.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

HOME = "policies/symbol_ppo"


@pytest.fixture
def small(desk: Path) -> Path:
    (desk / HOME / "recipe.toml").write_text(SMALL)
    return desk


def only_run(desk: Path) -> Path:
    (run,) = (desk / HOME / "runs").iterdir()
    return run


def test_seeds_leave_a_run_each_and_are_one_trial(tradekit: Callable[..., Answer], small: Path) -> None:
    answer = tradekit("train", "--seeds", "3,4", "--workers", "1", cwd=small)
    assert answer.status == 0, answer.err
    folder = only_run(small)
    told = json.loads((folder / "summary.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"run.json", "seeds.json", "seed-3", "seed-4", "summary.json"}
    assert all((folder / f"seed-{seed}" / "report.html").exists() for seed in (3, 4))
    lines = answer.out.splitlines()
    assert " ".join(lines[0].split()) == "seed validation Sharpe return drawdown trades a year invested healthy"
    assert [line.split()[0] for line in lines[1:4]] == ["3", "4", "middle"]
    assert lines[-1] == f"bundle {small / HOME / 'bundle'} (seed {told['best_seed']})"
    with Registry(small / "registry.sqlite") as registry:
        (row,) = registry.runs()
        assert (row.kind, row.name, row.status, row.folder) == ("train", "symbol_ppo", "done", str(folder))
        assert registry.frozen(row.id).count == 1
        assert row.command == "tradekit train --seeds 3,4 --workers 1"


def test_report_draws_every_seed_again(tradekit: Callable[..., Answer], small: Path) -> None:
    tradekit("train", "--seeds", "3,4", "--workers", "1", "--quiet", cwd=small)
    pages = [only_run(small) / f"seed-{seed}" / "report.html" for seed in (3, 4)]
    before = [page.read_bytes() for page in pages]
    for page in pages:
        page.unlink()
    answer = tradekit("report", only_run(small).name, cwd=small)
    assert answer.status == 0, answer.err
    assert [page.read_bytes() for page in pages] == before
    lines = answer.out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["seed 3", "seed 4", "healthy"]
    assert lines[3:] == [str(page) for page in pages]
    assert tradekit("report", only_run(small).name, "--json", cwd=small).json["reports"] == lines[3:]


def test_one_run_is_one_trial_and_the_same_again_no_other(tradekit: Callable[..., Answer], small: Path) -> None:
    for out in ("a", "b"):
        assert tradekit("train", "--quiet", "--out", out, cwd=small).status == 0
    with Registry(small / "registry.sqlite") as registry:
        assert [registry.frozen(row.id).count for row in registry.runs()] == [1, 1]
        assert registry.runs()[0].folder == str(small / "b")


def test_validate_names_the_gate_that_was_missed_and_ends_with_1(tradekit: Callable[..., Answer], small: Path) -> None:
    answer = tradekit("train", "--validate", "--seeds", "3,4", "--workers", "1", "--json", "--quiet", cwd=small)
    assert (answer.status, answer.err) == (1, "")
    told = answer.json
    assert (told["healthy"], told["promoted"], told["bundle"]) == (False, False, None)
    gates = {gate["name"]: gate for gate in told["seeds"][0]["gates"]}
    assert gates["entropy after 6000 steps"] == {
        "name": "entropy after 6000 steps",
        "value": None,
        "needs": "at least 0.2",
        "met": False,
    }  # the run is of 2,048 steps
    assert gates["voluntary trade rate"]["met"]
    assert told["convergence"]["level"] in ("none", "converged", "strong")
    words = tradekit("train", "--validate", "--seeds", "3", "--workers", "1", "--quiet", cwd=small)
    assert words.status == 1
    assert "seed 3: entropy after 6000 steps is nan; it has to be at least 0.2" in words.out.splitlines()


def test_validate_alone_takes_the_three_seeds(tradekit: Callable[..., Answer], small: Path) -> None:
    answer = tradekit("train", "--validate", "--workers", "1", "--iterations", "1", "--json", "--quiet", cwd=small)
    assert [run["seed"] for run in answer.json["seeds"]] == [42, 1337, 9001]


def test_a_validation_run_learns_from_2048_steps_an_update_at_most(
    tradekit: Callable[..., Answer], small: Path
) -> None:
    """The shipped recipe takes 4,096; three updates are asked for, and three are made."""
    (small / HOME / "recipe.toml").write_text(SMALL.replace("environments = 8", "environments = 64"))
    line = ("--iterations", "3", "--seeds", "3", "--workers", "1", "--json", "--quiet")
    (short,), (usual,) = (tradekit("train", *line, *how, cwd=small).json["seeds"] for how in (["--validate"], []))
    assert (short["metrics"]["steps"], usual["metrics"]["steps"]) == (3 * 2048, 3 * 4096)
    assert all(gate["value"] is not None for gate in short["gates"])  # three updates, past 6,000 steps


@pytest.mark.slow
def test_a_run_that_is_long_enough_validates(tradekit: Callable[..., Answer], small: Path) -> None:
    """10,240 steps on a market with a large edge: every gate is met, the bundle is put in place."""
    text = SMALL.replace("timesteps = 2048", "timesteps = 10240").replace(
        "prices.csv", "synthetic:planted?strength=0.5"
    )
    (small / HOME / "recipe.toml").write_text(text)
    before = (small / HOME / "bundle" / "bundle.json").read_bytes()
    answer = tradekit("train", "--validate", "--seeds", "1,2", "--workers", "2", cwd=small)
    assert answer.status == 0, answer.out
    assert answer.out.splitlines()[3].split()[0] == "middle"
    assert "healthy: 2 of 2 seeds; " in answer.out
    assert (small / HOME / "bundle" / "bundle.json").read_bytes() != before


def test_another_recipe_may_be_named(tradekit: Callable[..., Answer], small: Path) -> None:
    (small / HOME / "recipe.tuned.toml").write_text(SMALL.replace("timesteps = 2048", "timesteps = 1024"))
    (small / "mine.toml").write_text(SMALL.replace("timesteps = 2048", "timesteps = 512"))
    for name, steps in (("recipe.tuned.toml", 1024), ("mine.toml", 512)):
        answer = tradekit("train", "--recipe", name, "--json", "--quiet", "--out", str(steps), cwd=small)
        assert answer.json["metrics"]["steps"] == steps
        assert json.loads((small / str(steps) / "summary.json").read_text())["name"] == "symbol_ppo"
    gone = tradekit("train", "--recipe", "gone.toml", cwd=small)
    assert gone.status == 2
    assert gone.error == f"gone.toml: no such recipe, neither here nor in {small / HOME}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--seeds", "1,1"], "is not a list of different whole numbers"),
        (["--seeds", "1,2", "--seed", "3"], "--seed is one and --seeds and --validate are several"),
        (["--validate", "--seed", "3"], "leave --seed out"),
        (["--resume", "--seeds", "1,2"], "--resume goes on with a run as it began; leave --seeds out"),
    ],
)
def test_what_contradicts_is_refused(
    tradekit: Callable[..., Answer], small: Path, line: list[str], message: str
) -> None:
    answer = tradekit("train", *line, cwd=small)
    assert answer.status == 2
    assert message in answer.error


@pytest.mark.slow
def test_ctrl_c_puts_every_seed_away_and_resume_goes_on(
    small: Path, repository: Path, tradekit: Callable[..., Answer]
) -> None:
    (small / HOME / "recipe.toml").write_text(SMALL.replace("timesteps = 2048", "timesteps = 400_000"))
    line = [sys.executable, "-m", "tradekit", "train", "--seeds", "1,2", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    running = subprocess.Popen(line, cwd=small, env=environment, stderr=subprocess.PIPE, text=True)
    _until(lambda: len(list((small / HOME / "runs").glob("*/seed-*/checkpoints/*"))) > 1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "finishing this update, then saving; a second Ctrl+C ends at once" in err
    assert "error: interrupted: seed 1, seed 2 not finished, all kept in" in err
    folder = only_run(small)
    begun = json.loads((folder / "run.json").read_text())
    for file in (folder / "run.json", folder / "seed-1" / "run.json", folder / "seed-2" / "run.json"):
        assert file.exists()
    # The rest of so long a run would take minutes: shorten it where it is written, as nobody should.
    for file in (folder / "run.json", *folder.glob("seed-*/run.json")):
        begun = json.loads(file.read_text())
        begun["recipe"]["ppo"]["timesteps"] = 1
        file.write_text(json.dumps(begun))
    answer = tradekit("train", "--resume", "--workers", "1", "--json", "--quiet", cwd=small)
    assert [run["seed"] for run in answer.json["seeds"]] == [1, 2]
    assert answer.json["run"] == str(folder)


def _until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


def test_lines_and_bars_show_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = many_view.ManyLines("train x", all_news=True)
    lines("seed 1", 512, 2048, {"entropy": 0.61})
    lines("seed 2", 2048, 2048, {"entropy": 0.5, "validation_sharpe": 0.25})
    assert capsys.readouterr().err.splitlines() == [
        "train x seed 1: 512/2048 steps, entropy 0.61",
        "train x seed 2: 2048/2048 steps, entropy 0.5, validation Sharpe 0.25",
    ]
    from rich.console import Console

    bars = many_view.ManyBars("train x")
    bars.progress.live.console = Console(file=sys.stderr, force_terminal=True, width=160)
    with bars.progress:
        bars("seed 1", 512, 2048, {"entropy": 0.61})
        bars("seed 2", 1024, 2048, {"validation_sharpe": 0.25})
    said = capsys.readouterr().err
    assert "train x seed 1" in said
    assert "512/2048" in said
    assert "validation Sharpe 0.25" in said
