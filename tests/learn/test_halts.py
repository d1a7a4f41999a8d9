"""Whole training runs that collapse: to the end with the guard off, halted, named and explained with it on."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.learn.test_collapses import Quota, drifting
from tradekit.learn import loop
from tradekit.learn.guards import one_action
from tradekit.learn.metrics import rows_of
from tradekit.learn.recipe import Recipe
from tradekit.learn.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.train import Made

# A guard with little patience: it raises once, as far as it may, and asks at the next update whether that helped.
HASTY = {"guard_floor": 0.22, "guard_cooldown_steps": 0, "guard_factor": 3.0}

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
    "double_bind": (
        -0.01,
        {"actions": {"masking": False, "max_consecutive_actions": 0}, "costs": {"spread_bps": 500.0}, "quota": True},
        "drop the quota",
    ),
    "entropy collapse": (
        0.0,
        {"costs": {"spread_bps": 300.0}, "entropy": HASTY, "collapse": False},
        "raise entropy.coefficient",
    ),
}


# A rising market teaches to buy and to leave it at that: hardly any entropy, and nothing wrong.
SURE: dict[str, Any] = {"entropy": {**HASTY, "guard_floor": 0.5}}


def run(
    drift: float, wrong: dict[str, Any], folder: Path, *, guarded: bool
) -> tuple[Made, dict[str, Any], list[dict[str, Any]]]:
    entropy = {"schedule": "constant", "coefficient": 0.0, "final": 0.0, **wrong.get("entropy", {})}
    settings = {
        "seed": 1,
        "data": {"features": ["return_1", "sma_gap_20"], "train_fraction": 1.0},
        "environment": {"episode_bars": wrong.get("episode_bars", 64)},
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
        "costs": wrong.get("costs", {}),
        "entropy": {**entropy, "guard": guarded and "entropy" in wrong},
        "guard": {"collapse": guarded and wrong.get("collapse", True), "alarms": guarded},
        "validation": {"early_stopping": False},
    }
    made = train(Recipe.from_dict(settings), drifting(drift), folder)
    return made, json.loads((folder / "summary.json").read_text()), rows_of(folder / "metrics.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("name", COLLAPSES)
def test_a_collapse_is_halted_and_explained(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drift, wrong, change = COLLAPSES[name]
    if "quota" in wrong:  # no recipe has one: the environments that the loop makes are given it
        monkeypatch.setattr(loop, "VectorSymbolEnv", lambda task, count, seed: Quota(task))
    _, off, all_rows = run(drift, wrong, tmp_path / "off", guarded=False)
    assert (off["ended"], off["alarms"], len(all_rows)) == ("finished", {}, 40)
    made, on, rows = run(drift, wrong, tmp_path / "on", guarded=True)
    assert (on["ended"], on["healthy"], made.healthy) == ("halted", False, False)
    assert len(rows) < 40
    assert made.verdict.startswith("collapsed: ")
    assert name in made.verdict
    assert change in made.verdict
    # Up to there the runs are the same: guards look on and change nothing until they step in.
    shared = min(2, len(rows))
    assert [row["entropy"] for row in rows[:shared]] == [row["entropy"] for row in all_rows[:shared]]


@pytest.mark.slow
@pytest.mark.parametrize(("drift", "episode_bars"), [(0.004, 64), (0.02, 224)], ids=["trades", "buys and holds"])
def test_a_policy_that_is_sure_of_what_it_does_is_not_halted(drift: float, episode_bars: int, tmp_path: Path) -> None:
    made, on, rows = run(drift, {**SURE, "episode_bars": episode_bars}, tmp_path, guarded=True)
    assert (on["ended"], len(rows), made.healthy) == ("finished", 40, True)
    assert rows[-1]["entropy"] < 0.1  # far under the floor, and the bonus of 0 has been raised in vain
    assert "no_trades" not in on["alarms"]
    # Where an entry in 224 bars is all that there is to decide, the validation bars alone show that it acts.
    assert (one_action(rows, episode_bars // 32) is None) is (episode_bars == 64)
    idle = "".join("-" if row["executed_trade_rate"] == 0.0 else "x" for row in rows)
    assert ("---" in idle) is (episode_bars == 224)
    said = on["alarms"]["confident"]["said"]
    assert re.fullmatch(
        r"confident: the policy's entropy is 0\.\d+ nats, under 0\.5, although the entropy bonus was multiplied by 3; "
        r"but it still acts, at \d+\.\d% of the steps, so the run goes on; should validation get worse, raise .*",
        said,
    )
