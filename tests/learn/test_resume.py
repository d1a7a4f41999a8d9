"""A run that was interrupted ends as one that was not: the same weights, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.learn.conftest import quick
from tests.panels import random_panel
from tradekit.errors import DataError, DeskError, Interrupted
from tradekit.learn.bundle import POLICY, WEIGHTS
from tradekit.learn.metrics import rows_of
from tradekit.learn.recipe import Recipe
from tradekit.learn.run import alone_in, begin_run, begun, check_bars
from tradekit.learn.train import go_on, train

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

UPDATES = 6


def longer(**settings: Any) -> Recipe:
    """Return a recipe of six updates in which everything that has a memory is in use."""
    recipe = quick(timesteps=UPDATES * 512, learning_rate_final=1e-4, clip_range_final=0.1, target_kl=0.5)
    told = {
        "entropy": {
            "preset": "adaptive",
            "target": 2.0,
            "adaptive_warmup_steps": 600,
            "guard_floor": 2.0,
            "guard_after_steps": 0,
        },
        "validation": {"every": 1000, "early_stopping": False},
        "checkpoints": {"every": 700},
        "environment": {"episode_bars": 37},
        "costs": {"slippage_mode": "sampled"},
        **settings,
    }
    told["entropy"] = {**told["entropy"], "guard_cooldown_steps": 512, "guard_most": 100.0}
    return Recipe.from_dict({**recipe.to_dict(), **told})


@pytest.fixture(scope="module")
def whole(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(longer(), panel, folder)
    return folder


def same_policy(one: Path, other: Path) -> bool:
    return all(
        (one / "bundle" / name).read_bytes() == (other / "bundle" / name).read_bytes() for name in (WEIGHTS, POLICY)
    )


def last_state(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the newest checkpoint: weights, optimiser, generators, environments."""
    newest = max((folder / "checkpoints").iterdir())
    return {name: (newest / name).read_bytes() for name in ("weights.safetensors", "state.safetensors")}


@pytest.mark.parametrize("interruptions", [{n} for n in range(1, UPDATES)] + [set(range(1, UPDATES))], ids=str)
def test_interrupted_at_any_update(panel: Panel, whole: Path, tmp_path: Path, interruptions: set[int]) -> None:
    recipe, updates = longer(), 0

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates in interruptions

    begin_run(tmp_path, recipe, panel, None)
    for _ in interruptions:
        with pytest.raises(
            Interrupted, match=r"interrupted after \d+ steps, which are kept in .*; go on with --resume"
        ):
            go_on(tmp_path, recipe, panel, stop=stop)
        np.random.random(17)  # noqa: NPY002 - what happens between has no part in it
    made = go_on(tmp_path, recipe, panel, stop=stop)
    assert updates == UPDATES - 1  # it is not asked after the last one
    assert same_policy(tmp_path, whole)
    assert last_state(tmp_path) == last_state(whole)
    rows, expected = (rows_of(folder / "metrics.parquet") for folder in (tmp_path, whole))
    for row in (*rows, *expected):
        assert row.pop("seconds") > 0.0
    assert rows == expected
    assert made.metrics == json.loads((whole / "summary.json").read_text())["metrics"]


def test_every_memory_is_in_use(whole: Path) -> None:
    """So that the test above would notice if one were forgotten."""
    newest = max((whole / "checkpoints").iterdir())
    numbers = json.loads((newest / "checkpoint.json").read_text())["numbers"]
    assert numbers["entropy"]["bonus"] > 0.0
    assert numbers["entropy"]["boost"] > 1.0
    assert numbers["early"]["sharpe"] is not None
    assert numbers["alarms"]


SCRIPT = """
    import sys
    from pathlib import Path
    from tests.learn.test_resume import longer
    from tests.panels import random_panel
    from tradekit.learn.run import begin_run
    from tradekit.learn.train import go_on

    folder = Path(sys.argv[1])
    panel, recipe = random_panel(300, 3), longer()
    if not (folder / "run.json").exists():
        begin_run(folder, recipe, panel, None)
    print("ready", flush=True)
    go_on(folder, recipe, panel, lambda done, total, figures: print(done, flush=True))
"""


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )


@pytest.mark.slow
def test_killed_at_random_times(panel: Panel, whole: Path, tmp_path: Path) -> None:
    rng, killed = np.random.default_rng(3), 0
    for _ in range(8):
        process = start(tmp_path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.0, 0.5)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            break
        killed += 1
    made = go_on(tmp_path, longer(), panel) if not (tmp_path / "summary.json").exists() else None
    assert killed > 0
    assert made is None or made.healthy
    assert same_policy(tmp_path, whole)


def test_a_killed_run_that_had_ended_is_only_finished(panel: Panel, whole: Path, tmp_path: Path) -> None:
    """Killed after the last checkpoint, before the summary: nothing is trained any more."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "run" / "bundle")
    made = go_on(tmp_path / "run", longer(), panel, progress=lambda *_: pytest.fail("it trained"))
    assert made.metrics["steps"] == UPDATES * 512
    assert same_policy(tmp_path / "run", whole)


def test_a_run_is_gone_on_with_only_where_it_can_be(panel: Panel, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DeskError, match="holds a training run already; give another folder, or go on with it by --resume"
    ):
        train(longer(), panel, whole)
    with pytest.raises(DeskError, match="this run has ended"):
        begun(whole)
    begin_run(tmp_path, longer(), panel, None)
    with pytest.raises(DeskError, match="its bars were given by a program"):
        begun(tmp_path)
    with pytest.raises(DataError, match=r"its bars are not those that .* began with"):
        check_bars(tmp_path, random_panel(301, 3))
    with alone_in(tmp_path), pytest.raises(DeskError, match="another process is training there"):
        go_on(tmp_path, longer(), panel)
