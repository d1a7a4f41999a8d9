"""``tradekit train`` as a user meets it: what is shown, what is left, and every way in which it ends."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tradekit.cli import training_view
from tradekit.live.journal import read_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

SMALL = """
seed = 1
[data]
source = "prices.csv"
features = ["return_1", "sma_gap_20"]
[environment]
episode_bars = 50
[ppo]
timesteps = 2048
environments = 8
steps = 64
batch = 128
epochs = 2
hold_bias = 0.0
network = [8]
[entropy]
guard = false
[validation]
every = 1024
[checkpoints]
every = 512
"""


@pytest.fixture
def small(desk: Path) -> Path:
    """Return a desk whose one policy trains in a moment."""
    (desk / "policies" / "symbol_ppo" / "recipe.toml").write_text(SMALL)
    return desk


def recipe(desk: Path, *changes: tuple[str, str]) -> None:
    """Change the recipe of the desk, text by text."""
    text = SMALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (desk / "policies" / "symbol_ppo" / "recipe.toml").write_text(text)


def run_of(desk: Path) -> Path:
    (run,) = (desk / "policies" / "symbol_ppo" / "runs").iterdir()
    return run


def test_a_run_leaves_everything_about_it(tradekit: Callable[..., Answer], small: Path) -> None:
    answer = tradekit("train", cwd=small)
    assert answer.status == 0, answer.err
    run = run_of(small)
    kept = {"run.json", "metrics.parquet", "checkpoints", "summary.json", "report.html", "bundle", "tensorboard"}
    assert {path.name for path in run.iterdir()} == kept
    assert answer.out.splitlines()[-3:] == [
        f"run    {run}",
        f"report {run / 'report.html'}",
        f"bundle {small / 'policies' / 'symbol_ppo' / 'bundle'}",
    ]
    for name in ("policy.ts", "weights.safetensors", "bundle.json"):
        assert (run / "bundle" / name).read_bytes() == (small / "policies/symbol_ppo/bundle" / name).read_bytes()


def test_the_length_may_be_given_in_three_ways(tradekit: Callable[..., Answer], small: Path) -> None:
    def steps(*line: str) -> int:
        answer = tradekit("train", "--json", "--quiet", *line, "--out", line[0][2:], cwd=small)
        return int(answer.json["metrics"]["steps"])

    assert steps("--timesteps", "600") == 1024  # whole updates of 8 x 64
    assert steps("--iterations", "3") == 3 * 512
    assert steps("--episodes", "11") == 1024  # 550 steps
    both = tradekit("train", "--timesteps", "1", "--episodes", "1", cwd=small)
    assert both.status == 2
    assert "--timesteps and --episodes exclude each other" in both.error


def test_lines_for_every_update_or_none(tradekit: Callable[..., Answer], small: Path) -> None:
    told = tradekit("train", "--verbose", "--out", "a", cwd=small).err.splitlines()
    pattern = r"train symbol_ppo: (\d+)/2048 steps, [\d,]+/s, [\d:]+ left, entropy [\d.]+, executed [\d.]+.*, KL .*"
    assert [re.fullmatch(pattern, line)[1] for line in told] == ["512", "1024", "1536"]  # type: ignore[index]
    assert tradekit("train", "--quiet", "--out", "b", cwd=small).err == ""
    assert tradekit("train", "--quiet", "--verbose", cwd=small).status == 2


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    bar = training_view.Bar("train x", every_update=False)
    bar.progress.live.console = Console(file=sys.stderr, force_terminal=True, width=160)
    with bar.progress:
        bar(512, 2048, {"step": 512, "entropy": 0.61, "executed_entropy": 0.5, "validation_sharpe": 0.25})
    said = capsys.readouterr().err
    assert "512/2048" in said
    assert "entropy 0.61, executed 0.5, validation Sharpe 0.25" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("steps = 64", "stps = 64"), "recipe.toml: unknown key of [ppo] 'stps'; did you mean steps?"),
        (("seed = 1", "sed = 1"), "recipe.toml: unknown recipe key 'sed'; did you mean seed?"),
        (("epochs = 2", 'epochs = "two"'), "recipe.toml: epochs is 'two'; a whole number, 1 or more"),
        (("batch = 128", "gamma = 1.5"), "recipe.toml: gamma is 1.5; a number above 0 and at most 1"),
        (("batch = 128", "batch = 100"), "recipe.toml: batch is 100; it must divide environments x steps = 512"),
        (('"return_1"', '"retrun_1"'), "did you mean return_1?"),
        (("guard = false", 'preset = "v10"'), "unknown entropy preset 'v10'; did you mean v10_2?"),
        (('"prices.csv"', '"price.csv"'), "price.csv: no such file or folder"),
    ],
)
def test_a_bad_recipe_is_one_line(
    tradekit: Callable[..., Answer], small: Path, change: tuple[str, str], message: str
) -> None:
    recipe(small, change)
    answer = tradekit("train", cwd=small)
    assert answer.status == 2
    assert message in answer.error
    assert not (small / "policies" / "symbol_ppo" / "runs").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("--symbols", "ZZZ"), "no symbol ZZZ"),
        (("--end", "2020-02-01"), "bars up to the end of training are too few; features look back 20 bars"),
        (("--end", "nonsense"), "nonsense"),
        (("--resume",), "no unfinished run to go on with; leave --resume out to begin one"),
        (("--resume", "--seed", "3"), "--resume goes on with a run as it began; leave --seed out"),
        (("--mlflow", "nonsense://x"), "the MLflow store nonsense://x cannot be used"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    tradekit: Callable[..., Answer], small: Path, line: tuple[str, ...], message: str
) -> None:
    answer = tradekit("train", *line, cwd=small)
    assert answer.status == 2
    assert message in answer.error


def test_diverging_is_one_line_and_a_page(tradekit: Callable[..., Answer], small: Path) -> None:
    recipe(small, ("network", "learning_rate = 1e30\nmax_grad_norm = 1e30\nnetwork"))
    answer = tradekit("train", cwd=small)
    assert answer.status == 2
    assert re.fullmatch(r"training diverged after \d+ steps: .*; lower ppo.learning_rate", answer.error)
    summary = json.loads((run_of(small) / "summary.json").read_text())
    assert (summary["ended"], summary["healthy"]) == ("diverged", False)
    assert "no unfinished run" in tradekit("train", "--resume", cwd=small).error


def test_an_untrained_policy_is_not_called_collapsed(tradekit: Callable[..., Answer], small: Path) -> None:
    recipe(small, ("hold_bias = 0.0", "hold_bias = 3.0"), ("timesteps = 2048", "timesteps = 512"))
    before = (small / "policies/symbol_ppo/bundle/bundle.json").read_bytes()
    answer = tradekit("train", cwd=small)
    assert answer.status == 1
    assert answer.out.startswith("not trained enough: after 512 steps HOLD is still its favourite everywhere")
    assert (small / "policies/symbol_ppo/bundle/bundle.json").read_bytes() == before


def test_report_draws_a_run_again_to_the_byte(tradekit: Callable[..., Answer], small: Path) -> None:
    trained = tradekit("train", "--json", "--quiet", cwd=small).json
    page = run_of(small) / "report.html"
    before = {path: path.read_bytes() for path in run_of(small).rglob("*") if path.is_file()}
    page.unlink()
    answer = tradekit("report", run_of(small).name, cwd=small)
    assert (answer.status, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert (lines[0], lines[-1]) == (trained["verdict"], str(page))
    assert lines[1:-1] == [f"alarm  {alarm}" for alarm in trained["metrics"]["alarms"]]
    assert {path: path.read_bytes() for path in run_of(small).rglob("*") if path.is_file()} == before
    told = tradekit("report", run_of(small), "--json", cwd=small).json
    assert (told["report"], told["folder"], told["verdict"]) == (str(page), str(run_of(small)), trained["verdict"])


def test_report_of_what_cannot_be_drawn(tradekit: Callable[..., Answer], small: Path) -> None:
    tradekit("train", "--quiet", cwd=small)
    folder = run_of(small)
    assert "--tear-sheets are of strategies" in tradekit("report", folder.name, "--tear-sheets", cwd=small).error
    assert f"did you mean {folder.name}?" in tradekit("report", folder.name[:-1], cwd=small).error
    (folder / "summary.json").write_text("{")
    assert "summary.json: cannot be read (" in tradekit("report", folder.name, cwd=small).error
    (folder / "summary.json").unlink()
    answer = tradekit("report", folder.name, cwd=small)
    assert answer.status == 2
    assert answer.error == f"{folder}: this training run has not ended; go on with tradekit train --resume"


def test_files_of_a_recipe_are_looked_for_in_the_desk(tradekit: Callable[..., Answer], small: Path) -> None:
    """As a spec's are: prices and side series, from whichever folder the command is given."""
    dates = [line.split(",")[0] for line in (small / "prices.csv").read_text().splitlines()[1:501]]
    (small / "vix.csv").write_text("date,close\n" + "".join(f"{date},{20 + n % 7}\n" for n, date in enumerate(dates)))
    side = 'features = ["return_1", "side:vix"]\nside = [{ name = "vix", file = "vix.csv", column = "close" }]'
    recipe(small, ('features = ["return_1", "sma_gap_20"]', side))
    answer = tradekit("train", "--quiet", "--json", cwd=small / "strategies")
    assert answer.status == 0, answer.err
    said = json.loads((Path(answer.json["bundle"]) / "bundle.json").read_text())
    assert said["observation"]["features"] == ["return_1", "side:vix"]
    (small / "vix.csv").unlink()
    missing = tradekit("train", "--quiet", cwd=small)
    assert missing.status == 2
    assert "vix.csv" in missing.error


def test_a_session_sees_the_probabilities_that_the_backtest_sees(
    tradekit: Callable[..., Answer], small: Path, repository: Path
) -> None:
    """By digests of every feature of every bar, which a session journals and the backtest of its bars is held to."""
    asked = '[supervised]\nfirst_sessions = 60\nfold_sessions = 60\nfeatures = ["return_5", "sma_gap_20"]\n[ppo]'
    recipe(small, ("[ppo]", asked))
    assert tradekit("train", "--quiet", cwd=small).status == 0
    shutil.copy(repository / "strategies" / "symbol_ppo.py", small / "strategies")
    line = ("--strategy", "symbol_ppo", "--data", "prices.csv", "--bars", 30, "--json")
    told = tradekit("paper", "start", *line, cwd=small).json
    assert (told["bars"], told["decision_parity"], told["equity_difference"]) == (30, 1.0, 0.0)
    decisions = [event.body for event in read_events(Path(told["journal"])) if "saw" in event.body]
    digests = {decision["saw"]["features"]["p_rise"] for decision in decisions}
    assert (len(decisions), len(digests)) == (29, 29)  # the last bar asks for none


# ----------------------------------------------------------------------------------------------------- interruptions


def started(desk: Path, *line: str, **how: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tradekit", "train", "--verbose", *line]
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.Popen(command, cwd=desk, env=environment, text=True, stdout=-1, stderr=-1, **how)


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said")


@pytest.mark.slow
def test_interrupted_once_it_saves_and_goes_on(tradekit: Callable[..., Answer], small: Path) -> None:
    recipe(small, ("timesteps = 2048", "timesteps = 60000"), ("every = 1024", "every = 5000"))
    process = started(small, "--out", "broken")
    wait_for(process, "512/60000 steps")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    lines = [line for line in err.splitlines() if not line.startswith("train symbol_ppo")]
    assert lines[0] == "finishing this update, then saving; a second Ctrl+C ends at once"
    assert re.fullmatch(r"error: interrupted after \d+ steps, which are kept in broken; go on with --resume", lines[1])
    assert tradekit("train", "--resume", "--out", "broken", "--quiet", cwd=small).status == 0
    assert tradekit("train", "--out", "whole", "--quiet", cwd=small).status == 0
    for name in ("weights.safetensors", "policy.ts"):
        assert (small / "broken/bundle" / name).read_bytes() == (small / "whole/bundle" / name).read_bytes()


@pytest.mark.slow
def test_interrupted_twice_it_ends_at_once(tradekit: Callable[..., Answer], small: Path) -> None:
    """In the middle of an update that takes minutes."""
    recipe(small, ("epochs = 2", "epochs = 100_000"), ("timesteps = 2048", "timesteps = 60_000"))
    process = started(small)
    while not list((small / "policies/symbol_ppo").glob("runs/*/run.json")):
        assert process.poll() is None
    time.sleep(4.0)
    process.send_signal(signal.SIGINT)
    wait_for(process, "finishing this update")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted"


@pytest.mark.slow
def test_a_full_disk_at_a_checkpoint(small: Path) -> None:
    """The kernel refuses a file that grows past a limit, as it does on a full disk; a new run then finds room."""

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, resource.RLIM_INFINITY))

    process = started(small, preexec_fn=little_room)
    _, err = process.communicate()
    assert process.returncode == 2
    assert re.fullmatch(
        r"error: .*/checkpoints/000000000512: cannot write the checkpoint \(File too large\); free some space, then go "
        r"on from the one before with --resume",
        err.splitlines()[-1],
    )
    assert list((run_of(small) / "checkpoints").iterdir()) == []
