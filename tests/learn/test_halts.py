"""Whole training runs that collapse: to the end with the guard off, halted, named and explained with it on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.learn.test_collapses import drifting
from tradekit.learn.metrics import rows_of
from tradekit.learn.recipe import Recipe
from tradekit.learn.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.train import Made

# Each: the drift of the market a bar, what the recipe gets wrong, what the run is told to be, and what to change.
COLLAPSES: dict[str, tuple[float, dict[str, Any], str]] = {
    "always_buy": (
        0.004,
        {"actions": {"masking": "legacy", "max_consecutive_actions": 0}},
        "set actions.masking = true",
    ),
    "rejected_spam": (
        -0.03,
        {"actions": {"masking": False, "max_consecutive_actions": 0, "failed_action_penalty": -0.05}},
        "set actions.masking = true",
    ),
    "entropy collapse": (
        0.004,
        {
            "entropy": {
                "coefficient": 0.0,
                "final": 0.0,
                "guard_floor": 0.5,
                "guard_cooldown_steps": 0,
                "guard_factor": 3.0,
            }
        },
        "raise entropy.coefficient",
    ),
}


def run(name: str, folder: Path, *, guarded: bool) -> tuple[Made, dict[str, Any], list[dict[str, Any]]]:
    drift, wrong, _ = COLLAPSES[name]
    entropy = {"schedule": "constant", "coefficient": 0.0, "final": 0.0, **wrong.get("entropy", {})}
    settings = {
        "seed": 1,
        "data": {"features": ["return_1", "sma_gap_20"], "train_fraction": 1.0},
        "environment": {"episode_bars": 64},
        "ppo": {
            "timesteps": 20_480,
            "environments": 16,
            "steps": 32,
            "batch": 128,
            "epochs": 4,
            "learning_rate": 3e-3,
            "gamma": 0.9,
            "hold_bias": 0.0,
            "network": [32],
        },
        "actions": wrong.get("actions", {}),
        "entropy": {**entropy, "guard": guarded and name == "entropy collapse"},
        "guard": {"collapse": guarded, "alarms": guarded},
        "validation": {"early_stopping": False},
    }
    made = train(Recipe.from_dict(settings), drifting(drift), folder)
    return made, json.loads((folder / "summary.json").read_text()), rows_of(folder / "metrics.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("name", COLLAPSES)
def test_a_collapse_is_halted_and_explained(name: str, tmp_path: Path) -> None:
    _, off, all_rows = run(name, tmp_path / "off", guarded=False)
    assert (off["ended"], off["alarms"], len(all_rows)) == ("finished", {}, 40)
    made, on, rows = run(name, tmp_path / "on", guarded=True)
    assert (on["ended"], on["healthy"], made.healthy) == ("halted", False, False)
    assert len(rows) < 40
    assert made.verdict.startswith("collapsed: ")
    assert name in made.verdict
    assert COLLAPSES[name][2] in made.verdict
    # Up to there the runs are the same: guards look on and change nothing until they step in.
    shared = min(2, len(rows))
    assert [row["entropy"] for row in rows[:shared]] == [row["entropy"] for row in all_rows[:shared]]
