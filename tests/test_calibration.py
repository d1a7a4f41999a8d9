"""The calibration: its figures keep the promises of the document, and its command goes on where it stopped."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from bench import calibration
from bench.returns import WORLDS, series

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def figures(repository: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((repository / "docs" / "calibration.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("name", "runs"), [("no_edge", 500), ("bull", 500), ("premium", 100)])
def test_go_where_there_is_nothing(figures: dict[str, Any], name: str, runs: int) -> None:
    assert figures[name]["go"]["runs"] == runs
    assert figures[name]["go"]["hits"] <= 16 * runs / 500
    assert figures[name]["go"]["upper"] < 0.05


def test_go_of_a_trained_policy_where_there_is_nothing(figures: dict[str, Any]) -> None:
    assert figures["learnt_no_edge"]["go"]["runs"] == 100
    assert figures["learnt_no_edge"]["go"]["upper"] < 0.05


def test_go_where_there_is_an_edge(figures: dict[str, Any]) -> None:
    power = [figures[f"planted_{strength:g}"]["go"]["rate"] for strength in calibration.STRENGTHS]
    assert power == sorted(power)
    assert figures[f"planted_{calibration.STATED:g}"]["go"]["rate"] >= 0.8
    assert figures["learnt_planted"]["go"]["low"] > figures["learnt_no_edge"]["go"]["high"]


def test_intervals_cover(figures: dict[str, Any]) -> None:
    rates = {name: one["interval"]["rate"] for name, one in figures.items() if name.startswith("coverage_")}
    assert len(rates) == len(WORLDS) * len(calibration.COVERAGE_BARS)
    assert all(0.93 <= rate <= 0.97 for rate in rates.values()), rates


def test_the_document_says_what_was_found(figures: dict[str, Any], repository: Path) -> None:
    text = (repository / "docs" / "calibration.md").read_text(encoding="utf-8")
    for name, one in figures.items():
        if "go" in one:
            row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
            cells = [cell.strip() for cell in row.split("|")]
            assert f"{one['go']['hits']} of {one['go']['runs']}" in cells
            assert str(one["go_without_it"]["hits"]) in cells
    for world in WORLDS:
        row = next(line for line in text.splitlines() if line.startswith(f"| {world.replace('_', ' ')} |"))
        for bars in calibration.COVERAGE_BARS:
            for kind in ("interval", "bootstrap"):
                assert f"{100 * figures[f'coverage_{world}_{bars}'][kind]['rate']:.1f}" in row


def test_bounds_are_clopper_and_pearsons() -> None:
    # 16 of 500 is the most whose one-sided 95 % bound stays under 5 %.
    assert calibration.share(16, 500)["upper"] < 0.05 < calibration.share(17, 500)["upper"]
    assert calibration.share(0, 100)["upper"] == pytest.approx(1.0 - 0.05 ** (1 / 100), abs=1e-4)
    told = stats.binomtest(90, 100).proportion_ci(0.95, "exact")
    found = calibration.share(90, 100)
    assert (found["low"], found["high"]) == pytest.approx((told.low, told.high), abs=1e-4)


@pytest.mark.parametrize("world", WORLDS)
def test_the_truth_of_the_worlds(world: str) -> None:
    values = np.concatenate([series(world, 5000, seed, 0.05) for seed in range(40)])
    assert np.mean(values) == pytest.approx(0.05, abs=0.012)
    assert np.std(values) == pytest.approx(1.0, abs=0.05)
    slope = {"trending": 0.2, "reverting": -0.1}.get(world, 0.0)
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(slope, abs=0.03)


def test_the_command_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        places = ["--work", str(tmp_path / "work"), "--figures", str(tmp_path / "figures.json")]
        monkeypatch.setattr(sys, "argv", ["calibration", *arguments, *places])
        calibration.main()
        found: dict[str, Any] = json.loads((tmp_path / "figures.json").read_text())
        return found

    name = "coverage_normal_250"
    assert run("--only", name, "--runs", "4")[name]["interval"]["runs"] == 4
    rows = (tmp_path / "work" / f"{name}.jsonl").read_text()
    assert run("--only", name, "--runs", "6")[name]["interval"]["runs"] == 6
    assert (tmp_path / "work" / f"{name}.jsonl").read_text().startswith(rows)
    assert len((tmp_path / "work" / f"{name}.jsonl").read_text().splitlines()) == 6


@pytest.mark.slow
def test_one_market_of_each_kind() -> None:
    for name, wanted in (("no_edge", False), ("bull", False), ("planted_0.125", True)):
        row = calibration.EXPERIMENTS[name][0](1)
        assert row["go"] is wanted, name
        assert set(row["met"]) <= set(row["values"])
