"""``tradekit tune`` as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_train import SMALL
from tradekit.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

HOME = "policies/symbol_ppo"


@pytest.fixture
def small(desk: Path) -> Path:
    text = SMALL.replace("timesteps = 2048", "timesteps = 512")
    (desk / HOME / "recipe.toml").write_text(text)
    return desk


def test_a_study_grows_and_its_best_recipe_trains(tradekit: Callable[..., Answer], small: Path) -> None:
    answer = tradekit("tune", "--trials", "2", "--workers", "1", cwd=small)
    assert answer.status == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].split()[:3] == ["trial", "validation", "Sharpe"]
    assert lines[-3].startswith("2 trials: 2 whole, 0 ended early, 0 diverged; ")
    assert lines[-1] == f"recipe {small / HOME / 'recipe.tuned.toml'}"
    assert "as it was" in answer.out
    told = tradekit("tune", "--trials", "3", "--workers", "1", "--quiet", "--json", cwd=small)
    assert (told.status, told.err) == (0, "")
    assert [one["state"] for one in told.json["trials"]] == ["complete"] * 3
    best = next(one for one in told.json["trials"] if one["folder"] == told.json["best"])
    trained = tradekit("train", "--recipe", "recipe.tuned.toml", "--quiet", "--json", "--out", "out", cwd=small)
    assert trained.json["metrics"]["validation_sharpe"] == pytest.approx(best["value"])
    with Registry(small / "registry.sqlite") as registry:
        train, second, first = registry.runs()
        assert [(row.kind, row.status) for row in (first, second, train)] == [
            ("tune", "done"),
            ("tune", "done"),
            ("train", "done"),
        ]
        # Three tries, and training by the best recipe again gives one of them.
        assert registry.frozen(train.id).count == 3
    assert (small / HOME / "recipe.toml").read_text() == SMALL.replace("timesteps = 2048", "timesteps = 512")


def test_nothing_usable_ends_with_1(tradekit: Callable[..., Answer], small: Path) -> None:
    file = small / HOME / "recipe.toml"
    file.write_text(file.read_text().replace("hold_bias = 0.0", "hold_bias = 50.0"))
    answer = tradekit("tune", "--trials", "1", "--workers", "1", "--quiet", cwd=small)
    assert answer.status == 1
    assert answer.out.splitlines()[-1].startswith("none of them gave a usable policy")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "Missing option '--trials'"),
        (["--trials", "0"], "--trials"),
        (["--trials", "1", "--recipe", "gone.toml"], "gone.toml: no such recipe, neither here nor in"),
        (["--trials", "1", "--data", "gone.csv"], "gone.csv"),
    ],
)
def test_a_mistake_is_one_line(tradekit: Callable[..., Answer], small: Path, line: list[str], message: str) -> None:
    answer = tradekit("tune", *line, cwd=small)
    assert answer.status == 2
    assert message in answer.error
    assert not (small / HOME / "tune").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_the_study(small: Path, repository: Path) -> None:
    file = small / HOME / "recipe.toml"
    file.write_text(file.read_text().replace("timesteps = 512", "timesteps = 400_000"))
    line = [sys.executable, "-m", "tradekit", "tune", "--trials", "4", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    running = subprocess.Popen(line, cwd=small, env=environment, stderr=subprocess.PIPE, text=True)
    _until(lambda: len(list((small / HOME / "tune").glob("*/trial-*/checkpoints/*"))) > 1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "error: interrupted: 0 of 4 trials are over, all kept in" in err
    with Registry(small / "registry.sqlite") as registry:
        (row,) = registry.runs()
        assert (row.kind, row.status) == ("tune", "interrupted")


def _until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


def test_side_series_are_the_recipe_s(tradekit: Callable[..., Answer], small: Path) -> None:
    """An option that was taken and not heeded would be worse than none."""
    answer = tradekit("tune", "--trials", "1", "--side", "vix=vix.csv:close", cwd=small)
    assert answer.status == 2
    assert "No such option '--side'" in answer.error
