"""``tradekit stress`` over processes and seeds: the same numbers, and what they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Answer

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
FALLS = """
import numpy as np

class Falls:
    name = "falls"
    def fit(self, train):
        return self
    def on_bar(self, view):
        if str(view.timestamp)[:7] == "2021-02":
            raise RuntimeError("no February")
        return np.array([0.5, 0.2])

strategy = Falls()
"""
PATHS = '[[scenarios]]\nname = "paths"\nkind = "bootstrap"\ndraws = 3\nbars = 60\n'
LINE = ("stress", "--strategies", "buy_and_hold,draws,sma_cross", "--fresh", "--json")


@pytest.fixture
def drawing(desk: Path) -> Path:
    """Return a desk with a strategy that draws, one that fails in one month, and a scenario of drawn paths."""
    (desk / "strategies" / "draws.py").write_text(DRAWS)
    (desk / "strategies" / "falls.py").write_text(FALLS)
    with (desk / "backtests" / "stress.toml").open("a") as file:
        file.write(PATHS)
    return desk


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start one cluster on this machine for all runs of a test: each would start its own, for seconds."""
    import ray

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def content(answer: Answer) -> Any:
    """Return what summary.json holds, but for when and how the command was given."""
    told = json.loads((Path(answer.json["folder"]) / "summary.json").read_text())
    return {key: value for key, value in told.items() if key not in ("created", "command", "trials")}


def equities(answer: Answer, strategy: str) -> dict[str, float]:
    """Return by scenario what is left of the first dollar."""
    cells = {one["name"]: one["cells"] for one in answer.json["scenarios"]}
    mine = {name: next(one for one in each if one["strategy"] == strategy) for name, each in cells.items()}
    return {name: 1.0 + one["metrics"]["total_return"] for name, one in mine.items() if one["metrics"]}


def test_two_workers_write_the_summary_of_one(tradekit: Callable[..., Answer], drawing: Path) -> None:
    one, two = (tradekit(*LINE, "--seeds", "1,2", "--workers", workers, cwd=drawing) for workers in (1, 2))
    assert (one.status, two.status) == (0, 0)
    assert content(one) == content(two)
    assert content(one)["seeds"] == [1, 2]
    under = {each["name"]: [row["seed"] for row in each["seeds"]] for each in content(one)["strategies"]}
    assert under == {"buy_and_hold": [], "draws": [1, 2], "sma_cross": []}
    drawn = next(one for one in content(one)["scenarios"] if one["name"] == "paths")["cells"]
    assert all(cell["draws"]["worlds"] == 3 for cell in drawn)


@pytest.mark.slow
def test_a_ray_cluster_writes_the_summary_of_one_process(
    tradekit: Callable[..., Answer], drawing: Path, ray_cluster: None
) -> None:
    backtest = ("backtest", "--walk-forward", "--strategies", "logistic,draws", "--fresh", "--json")
    for line in (LINE, backtest):
        here, there = (tradekit(*line, *where, cwd=drawing) for where in (("--workers", 1), ("--ray", "local")))
        assert (here.status, there.status) == (0, 0), there.err
        assert content(here) == content(there)


def test_several_seeds_are_an_account_with_an_equal_part_of_each(
    tradekit: Callable[..., Answer], drawing: Path
) -> None:
    first, second, both = (tradekit(*LINE, "--seeds", seeds, cwd=drawing) for seeds in ("1", "2", "1,2"))
    parts = [equities(answer, "draws") for answer in (first, second)]
    assert parts[0]["base"] != parts[1]["base"]
    for name in ("base", "costs x2"):
        assert equities(both, "draws")[name] == pytest.approx((parts[0][name] + parts[1][name]) / 2, rel=1e-3)
    assert equities(both, "buy_and_hold") == equities(first, "buy_and_hold")
    assert set(equities(both, "draws")) == {"base", "costs x2", "fall", "paths"}


GREEDY = """
import numpy as np

class Greedy:
    name, lookback = "greedy", 1
    def fit(self, train):
        return self
    def weights(self, panel):
        return np.full(panel.close.shape, 0.9)

strategy = Greedy()
"""


def test_nonsense_leaves_its_strategy_out_and_the_rest_is_written(
    tradekit: Callable[..., Answer], drawing: Path
) -> None:
    (drawing / "strategies" / "greedy.py").write_text(GREEDY)
    answer = tradekit("stress", "--strategies", "greedy,buy_and_hold", "--json", cwd=drawing)
    assert answer.status == 1
    assert answer.error.startswith("greedy in base: weights at 2021-")
    assert "add up to 1.8000 of equity" in answer.error
    assert equities(answer, "greedy") == {}
    assert set(equities(answer, "buy_and_hold")) == {"base", "costs x2", "fall", "paths"}


def test_a_strategy_that_falls_in_one_window_is_named_and_the_rest_goes_on(
    tradekit: Callable[..., Answer], drawing: Path
) -> None:
    answer = tradekit("stress", "--strategies", "falls,buy_and_hold", "--json", cwd=drawing)
    assert answer.status == 1
    window, paths = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert window.startswith("error: falls failed in 1 of 5 windows: RuntimeError: no February")
    assert paths.startswith("error: falls in paths: it failed in every window: ")  # it keeps the first one's fit
    assert "base" in equities(answer, "falls")
    first = answer.json["skipped"][0]
    assert (first["strategy"], first["scenario"]) == ("falls", None)
    assert first["reason"].startswith("it failed in 1 of 5 windows: RuntimeError: no February")
    assert first["reason"].endswith("; it held cash there")
