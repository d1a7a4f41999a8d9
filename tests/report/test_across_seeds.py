"""Seeds of a strategy, window by window: what is kept of each run, and what is said of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.report.conftest import PANEL, RUN, WINDOWS, Held
from tradekit.engine.walk_forward import WalkForward, walk_forward
from tradekit.evidence import measures, sharpe
from tradekit.evidence.seeds import interquartile_mean, probability_of_improvement
from tradekit.report.across_seeds import across_seeds
from tradekit.report.run_folder import read_summary, rebuild, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class Draws:
    """Holds a random symbol in each week."""

    seed: int = 0
    name = "draws"
    kind = "custom"

    def fit(self, train: Panel) -> Draws:
        return self

    def weights(self, panel: Panel) -> Floats:
        week = panel.timestamps.astype("M8[W]").astype(int)
        picks = np.array([np.random.default_rng([self.seed, int(one)]).integers(len(panel.symbols)) for one in week])
        table: Floats = 0.9 * np.eye(len(panel.symbols))[picks]
        return table


@pytest.fixture(scope="module")
def walked() -> WalkForward:
    return walk_forward([Held(), Draws()], PANEL, WINDOWS, seeds=(3, 5, 8))


@pytest.fixture(scope="module")
def summary(walked: WalkForward, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = write_run(walked, tmp_path_factory.mktemp("seeds") / "run", **RUN)
    before = (folder / "summary.json").read_bytes()
    rebuild(folder)
    assert (folder / "summary.json").read_bytes() == before
    return read_summary(folder)


def test_each_seed_is_kept(walked: WalkForward, summary: dict[str, Any]) -> None:
    one = next(one for one in summary["strategies"] if one["name"] == "draws")
    assert [row["seed"] for row in one["seeds"]] == [3, 5, 8]
    run = walked.run("draws")
    for row, (_, ledger) in zip(one["seeds"], run.seeds, strict=True):
        returns = measures.bar_returns(ledger.equity)
        assert row["sharpe"] == pytest.approx(sharpe.sharpe(returns, PANEL.bars_per_year))
        assert row["total_return"] == pytest.approx(measures.total_return(returns))
        third = returns[run.windows[2].first - 1 : run.windows[2].last - 1]
        assert row["windows"][2] == pytest.approx(sharpe.sharpe(third, PANEL.bars_per_year))
        assert len(row["windows"]) == 4
    assert next(one for one in summary["strategies"] if one["name"] == "buy_and_hold")["seeds"] == []


def test_what_holds_across_them(summary: dict[str, Any]) -> None:
    (found,) = summary["across_seeds"]
    by_name = {one["name"]: one for one in summary["strategies"]}
    scores = np.array([row["windows"] for row in by_name["draws"]["seeds"]])
    held = np.array([[row["sharpe"] for row in by_name["buy_and_hold"]["windows"]]])
    assert (found["strategy"], found["seeds"], found["windows"]) == ("draws", 3, 4)
    assert found["sharpe"] == pytest.approx(interquartile_mean(scores))
    assert found["sharpe_low"] <= found["sharpe"] <= found["sharpe_high"]
    assert found["baseline"] == "buy_and_hold"
    assert found["improvement"] == pytest.approx(probability_of_improvement(scores, held))


def test_the_verdict_says_it(summary: dict[str, Any]) -> None:
    assert summary["verdict"]["candidate"] == "draws"
    said = summary["verdict"]["reasons"][-1]
    assert said.startswith("Over 3 seeds and 4 windows its interquartile mean Sharpe ratio is ")
    assert "one seed beats buy_and_hold in one window with a probability of " in said


def test_windows_without_a_ratio_do_not_count() -> None:
    rows = [{"seed": k, "windows": [1.0 + k, None, 2.0 - k]} for k in range(2)]
    held = {"name": "held", "seeds": [], "windows": [{"sharpe": 0.0}, {"sharpe": 0.0}, {"sharpe": None}]}
    (found,) = across_seeds([{"name": "draws", "seeds": rows, "windows": []}, held], "held")
    assert found["windows"] == 2
    assert found["sharpe"] == pytest.approx(1.5)
    assert found["improvement"] == 1.0
    (alone,) = across_seeds([{"name": "draws", "seeds": rows, "windows": []}], None)
    assert alone["baseline"] is None
    assert "improvement" not in alone
    assert across_seeds([{"name": "draws", "seeds": rows[:1], "windows": []}], None) == []
    (empty,) = across_seeds([{"name": "draws", "seeds": [{"windows": [math.nan]}] * 2, "windows": []}], None)
    assert math.isnan(empty["sharpe"])
