"""The joint evidence of a run: what is counted, compared and left out, and that the same inputs say the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.report.conftest import SEEN
from tradekit.evidence import measures
from tradekit.evidence.deflated import deflated_sharpe
from tradekit.report.evidence import ADDED, Joint, evidence_of, joint_of
from tradekit.report.run_folder import read_run, read_summary, rebuild

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BARS = 600
RETURNS = np.random.default_rng(7).normal(0.0, 0.01, (BARS, 5)) + np.array([0.0, 0.0005, 0.0, 0.002, 0.0])
NAMES = ("buy_and_hold", "sma_cross", "random_actions", "mine", "cheat")
KINDS = ("heuristic", "heuristic", "null", "custom", "policy")
JOINT = Joint(NAMES, KINDS, RETURNS, RETURNS[:, 0], None, (True, True, True, True, False), 252.0)


def test_who_is_who() -> None:
    assert [NAMES[k] for k in JOINT.candidates] == ["mine"]
    assert [NAMES[k] for k in JOINT.baselines] == ["buy_and_hold", "sma_cross", "random_actions"]
    assert [NAMES[k] for k in JOINT.selectable] == ["buy_and_hold", "sma_cross", "mine"]


def test_trials_are_what_could_be_picked_or_what_the_registry_counted() -> None:
    alone, counted = evidence_of(JOINT, None), evidence_of(JOINT, 40)
    assert alone["trials"] == {"count": 3, "clusters": 3, "source": "run"}
    assert counted["trials"] == {"count": 40, "clusters": 40, "source": "registry"}
    assert counted["metrics"]["mine"]["deflated_sharpe"] == deflated_sharpe(RETURNS[:, 3], 40).probability
    assert counted["metrics"]["mine"]["deflated_sharpe"] < alone["metrics"]["mine"]["deflated_sharpe"]


def test_strategies_that_go_together_are_one_group() -> None:
    twins = np.column_stack([RETURNS[:, 0], RETURNS[:, 0] + 0.1 * RETURNS[:, 1], RETURNS[:, 3]])
    joint = Joint(("a", "b", "c"), ("custom",) * 3, twins, RETURNS[:, 0], None, (True,) * 3, 252.0)
    found = evidence_of(joint, None)
    assert (found["trials"]["count"], found["trials"]["clusters"]) == (3, 2)
    first = found["metrics"]["c"]
    assert first["deflated_sharpe_clustered"] > first["deflated_sharpe"]


def test_pairs_and_superiority_are_of_honest_candidates_against_baselines() -> None:
    found = evidence_of(JOINT, None)
    assert [(row["strategy"], row["baseline"]) for row in found["paired"]] == [
        ("mine", "buy_and_hold"),
        ("mine", "sma_cross"),
        ("mine", "random_actions"),
    ]
    assert found["spa"]["superior"] in ([], ["mine"])
    assert found["pbo"]["configurations"] == 3
    for row in found["paired"]:
        assert row["low"] < row["difference"] < row["high"]
        assert (row["p"] < 0.025) == (row["low"] > 0.0) or 0.01 < row["p"] < 0.05


def test_bounds_hold_the_figures() -> None:
    added = evidence_of(JOINT, None)["metrics"]["mine"]
    assert set(added) == set(ADDED)
    assert added["cagr_low"] < measures.cagr(RETURNS[:, 3], 252.0) < added["cagr_high"]
    assert added["volatility_low"] < measures.volatility(RETURNS[:, 3], 252.0) < added["volatility_high"]
    assert 0.0 < added["max_drawdown_low"] < added["max_drawdown_high"] < 1.0
    assert math.isnan(added["ceiling_capture"])
    assert evidence_of(JOINT, None)["metrics"]["buy_and_hold"]["excess_over_benchmark_low"] == 0.0


def test_an_unknown_benchmark_leaves_its_excess_out() -> None:
    holes = np.where(np.arange(BARS) == 5, np.nan, RETURNS[:, 0])
    joint = Joint(NAMES[1:], KINDS[1:], RETURNS[:, 1:], holes, np.abs(RETURNS[:, 0]), (True,) * 4, 252.0)
    added = evidence_of(joint, None)["metrics"]["mine"]
    assert "excess_over_benchmark_low" not in added
    assert 0.0 < added["ceiling_capture"] < 1.0
    assert 0.0 < added["deflated_difference"] < 1.0  # from the benchmark, on the bars where it is known


def test_a_few_bars_prove_nothing() -> None:
    few = Joint(NAMES, KINDS, RETURNS[:19], RETURNS[:19, 0], None, JOINT.honest, 252.0)
    found = evidence_of(few, 5)
    assert (found["pbo"], found["spa"], found["paired"], found["metrics"]) == (None, None, [], {})
    assert found["trials"]["count"] == 5
    assert evidence_of(None, None)["trials"]["count"] == 0


def test_the_summary_carries_it(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    names = [one["name"] for one in summary["strategies"] if one["metrics"]]
    assert names == ["buy_and_hold", "rotation", "breaks", "symbol_ppo"]
    assert summary["trials"]["count"] == 4
    assert summary["pbo"]["configurations"] == 4
    assert {row["baseline"] for row in summary["paired"]} == {"buy_and_hold", "rotation", "breaks"}
    assert summary["bootstrap"]["draws"] == 2000
    joint = joint_of(read_run(walked_folder), summary["strategies"])
    assert joint is not None
    assert joint.returns.shape == (200 - SEEN - 1, 4)


def test_the_registrys_count_reaches_the_summary(write: Callable[..., Path]) -> None:
    folder = write(trials={"count": 25, "hash": "f" * 64})
    before = (folder / "summary.json").read_bytes()
    assert read_summary(folder)["trials"] == {"count": 25, "clusters": 25, "source": "registry"} | _groups(folder)
    rebuild(folder)
    assert (folder / "summary.json").read_bytes() == before


def _groups(folder: Path) -> dict[str, Any]:
    clusters = read_summary(folder)["trials"]["clusters"]
    assert 22 <= clusters <= 25
    return {"clusters": clusters}


@pytest.mark.parametrize("several", [1, 3])
def test_one_seed_one_answer(several: int) -> None:
    joint = Joint(
        NAMES[:several], KINDS[:several], RETURNS[:, :several], RETURNS[:, 0], None, JOINT.honest[:several], 252.0
    )
    assert repr(evidence_of(joint, None)) == repr(evidence_of(joint, None))
