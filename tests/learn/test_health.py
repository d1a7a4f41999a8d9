"""Health gates on updates written by hand, one figure at a time, and convergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.learn.conftest import quick
from tests.panels import random_panel
from tradekit import load_panel
from tradekit.errors import ConfigError
from tradekit.learn.health import convergence, gates, in_short_updates, supervised_sharpe
from tradekit.learn.recipe import Recipe

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

# One update every 2,000 steps: 12 % of decisions trade as they are asked to, two points more are refused.
WELL = {
    "entropy": 0.5,
    "chosen.HOLD": 0.86,
    "voluntary_trade_rate": 0.12,
    "executed_trade_rate": 0.12,
    "repeat_violations": 0.02,
}


def updates(count: int = 10, /, **changed: Any) -> list[dict[str, Any]]:
    return [{"step": 2000 * (number + 1), **WELL, **changed} for number in range(count)]


def missed(rows: list[dict[str, Any]], sharpe: float = 0.5) -> list[str]:
    return [gate.name for gate in gates(rows, sharpe) if not gate.met]


def test_a_healthy_run_meets_every_gate() -> None:
    told = {gate.name: gate.value for gate in gates(updates(), 0.5)}
    assert missed(updates()) == []
    assert told["share of trades asked for and not allowed"] == pytest.approx(0.02)
    assert told["executed trades in 120 steps"] == pytest.approx(14.4)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"voluntary_trade_rate": 0.09, "chosen.HOLD": 0.9}, "voluntary trade rate"),
        ({"chosen.HOLD": 0.72}, "share of trades asked for and not allowed"),
        ({"repeat_violations": 0.051}, "share of steps that hit the limit of repeats"),
        ({"executed_trade_rate": 0.033}, "executed trades in 120 steps"),
    ],
)
def test_each_gate_is_missed_alone(change: dict[str, float], name: str) -> None:
    assert missed(updates(**change)) == [name]


def test_the_last_updates_count() -> None:
    early, late = updates(5, executed_trade_rate=0.0), updates(5)
    assert missed(early + late) == []
    assert missed(late + early) == ["executed trades in 120 steps"]


@pytest.mark.parametrize(("sharpe", "met"), [(-0.09, True), (-0.1, False), (math.nan, False)])
def test_validation_has_to_lose_little(sharpe: float, met: bool) -> None:
    assert (missed(updates(), sharpe) == []) is met


def test_a_dip_counts_when_it_lasts() -> None:
    def dipping(*entropies: float) -> list[str]:
        rows = updates()
        for row, entropy in zip(rows[4:], entropies, strict=False):
            row["entropy"] = entropy
        return missed(rows)

    assert dipping(0.1, 0.1) == []
    assert dipping(0.1, 0.1, 0.19, 0.1) == []
    assert dipping(0.1, 0.1, 0.17) == ["entropy through any 3 updates"]


def test_the_entropy_is_looked_at_when_6000_steps_are_over() -> None:
    rows = updates()
    rows[1]["entropy"] = 0.0  # 4,000 steps
    assert missed(rows) == []
    rows[2]["entropy"] = 0.19
    assert missed(rows) == ["entropy after 6000 steps"]


def test_a_run_too_short_to_judge_is_not_healthy() -> None:
    assert missed(updates(2)) == ["entropy after 6000 steps", "entropy through any 3 updates"]
    assert len(missed([])) == len(gates([], 0.5)) - 1


@pytest.mark.parametrize(
    ("environments", "steps", "batch", "cut"),
    [
        (64, 64, 256, (32, 64)),
        (8, 2048, 64, (1, 2048)),
        (2, 6000, 50, (1, 2000)),
        (2, 6000, 3000, None),
        (81, 100, 81, None),  # 8,100 is the least that is a multiple of both
        (8, 6000, 64, (1, 2048)),
        (100, 30, 60, (68, 30)),  # 2,040 steps, 34 batches
        (32, 64, 256, (32, 64)),
    ],
)
def test_an_update_that_is_validated_is_short(
    environments: int, steps: int, batch: int, cut: tuple[int, int] | None
) -> None:
    recipe = Recipe.from_dict({"ppo": {"environments": environments, "steps": steps, "batch": batch}})
    if cut is None:
        with pytest.raises(ConfigError, match=r"takes 2,048 steps an update at most, .* whole batches of \d+; lower"):
            in_short_updates(recipe)
        return
    assert in_short_updates(recipe) == recipe.changed(environments=cut[0], steps=cut[1])


@pytest.mark.parametrize(
    ("sharpes", "drawdown", "supervised", "level"),
    [
        ([0.29, 0.3, 0.31], 0.1, math.nan, "none"),  # 0.3 is not above 0.3
        ([0.31, 0.31, 0.31], 0.1, math.nan, "converged"),
        ([0.6, 0.6, 0.6], 0.1, 0.51, "converged"),  # 0.612 would be a fifth more
        ([0.6, 0.6, 0.6], 0.1, 0.49, "strong"),
        ([0.6, 0.6, 0.6], 0.1, -1.0, "strong"),
        ([0.6, 0.6, 0.6], 0.1, math.nan, "converged"),  # nothing to be better than
        ([0.6, 0.6, 0.6], 0.2, 0.0, "converged"),
        ([math.nan, math.nan, 3.0], 0.1, 0.0, "strong"),  # cash counts as 0
        ([math.nan, math.nan, math.nan], 0.0, 0.0, "none"),
    ],
)
def test_convergence(sharpes: list[float], drawdown: float, supervised: float, level: str) -> None:
    assert convergence(sharpes, [0.0, drawdown, 0.0], supervised)["level"] == level


def test_the_supervised_learner_sees_the_training_bars_alone(panel: Panel) -> None:
    edge = load_panel("synthetic:planted?strength=0.3&bars=2500&symbols=4")
    told = supervised_sharpe(Recipe(), edge)
    assert told > 0.5
    assert supervised_sharpe(Recipe(), edge[:2000].between(end=str(edge.timestamps[1499])[:10])) != told
    assert math.isnan(supervised_sharpe(quick(), random_panel(120, 2)))


def test_later_bars_change_nothing_for_the_supervised_learner() -> None:
    whole = load_panel("synthetic:planted?strength=0.3&bars=2500&symbols=4")
    recipe = Recipe.from_dict({"data": {"source": whole.source, "end": str(whole.timestamps[1499])[:10]}})
    assert supervised_sharpe(recipe, whole) == supervised_sharpe(recipe, whole[:1700])
