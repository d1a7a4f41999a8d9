"""Alarms, collapses, early stopping: on rows made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tradekit.learn.actions import NAMES
from tradekit.learn.composite import composite_score
from tradekit.learn.diagnosis import Finding
from tradekit.learn.guards import CollapseGuard, EarlyStopping, alarms, one_action
from tradekit.learn.recipe import Guard, Validation

HEALTHY = {
    "reward_mean": 0.1,
    "reward_deviation": 1.0,
    "explained_variance": 0.3,
    "kl": 0.01,
    "clip_fraction": 0.1,
    "entropy": 0.6,
    "reward_share.log_return": 1.0,
}


def rows(*last: dict[str, Any], before: int = 8) -> list[dict[str, Any]]:
    return [HEALTHY] * before + [HEALTHY | row for row in last]


def test_a_healthy_run_raises_none() -> None:
    assert alarms(rows()) == []


@pytest.mark.parametrize(
    ("last", "name", "change"),
    [
        ([{"reward_deviation": 11.0}], "exploding_reward", "lower reward.scale"),
        ([{"explained_variance": -0.2}] * 5, "negative_explained_variance", "ppo.gamma"),
        ([{"kl": 0.06}], "kl_out_of_range", "lower ppo.learning_rate"),
        ([{"kl": 1e-8}], "kl_out_of_range", "raise ppo.learning_rate"),
        ([{"clip_fraction": 0.4}], "clip_fraction_out_of_range", "lower ppo.learning_rate"),
        ([{"reward_share.diversity": 0.61}], "dominant_component", "lower its weight"),
    ],
)
def test_what_looks_wrong_is_named_and_says_what_to_change(last: list[dict[str, Any]], name: str, change: str) -> None:
    (found,) = alarms(rows(*last))
    assert (found.name, found.is_collapse) == (name, False)
    assert change in found.what_to_change


@pytest.mark.parametrize(
    "last",
    [[{"reward_deviation": 9.0}], [{"explained_variance": -0.2}] * 2, [{"kl": 0.04}], [{"reward_share.pnl": 0.9}]],
)
def test_what_is_still_usual_is_none(last: list[dict[str, Any]]) -> None:
    assert alarms(rows(*last)) == []


def test_the_first_two_updates_are_not_judged() -> None:
    assert alarms(rows({"kl": 1.0}, before=1)) == []
    assert len(alarms(rows({"kl": 1.0}, before=2))) == 1


SPAM = Finding("rejected_spam", "SELL_PARTIAL was refused", "set actions.masking = true", is_collapse=True)
LOW = Finding("low_entropy", "it is low", "raise it", is_collapse=False)


def test_the_same_collapse_again_and_again_ends_a_run() -> None:
    guard = CollapseGuard(Guard())
    assert [guard.observe(update, [LOW, SPAM]) for update in (1, 2, 3, 4)] == [None] * 4
    assert guard.observe(5, [SPAM]) == (
        "collapse rejected_spam: SELL_PARTIAL was refused; set actions.masking = true (found in 3 updates in a row)"
    )


def test_a_pause_or_another_collapse_begins_again() -> None:
    guard = CollapseGuard(Guard(patience=2))
    other = Finding("always_buy", "it buys", "mask", is_collapse=True)
    for update, found in enumerate(([SPAM], [LOW], [SPAM], [other], [SPAM], []), start=3):
        assert guard.observe(update, found) is None
    assert CollapseGuard(Guard(collapse=False, patience=1)).observe(9, [SPAM]) is None


def shares(**chosen: float) -> dict[str, float]:
    return {f"chosen.{name}": chosen.get(name, 0.0) for name in NAMES}


def test_one_action_is_looked_for_in_a_whole_episode() -> None:
    """Environments in step: in the first of four updates of an episode all entries are made."""
    entering, holding = shares(HOLD=0.9, BUY_LARGE=0.1), shares(HOLD=0.999, SELL_ALL=0.001)
    assert one_action([entering, holding, holding, holding], 4) is None
    assert one_action([entering, holding, holding, holding], 3) == "HOLD is 99.9% of what it chose in 3 updates"
    assert one_action([holding, holding, holding], 4) is None  # not an episode yet
    assert one_action([shares(HOLD=0.99, SELL_ALL=0.01)] * 4, 4) is None
    assert one_action([shares(SELL_PARTIAL=1.0)] * 4, 4) == "SELL_PARTIAL is 100.0% of what it chose in 4 updates"


def test_a_run_that_no_longer_improves_is_stopped() -> None:
    early = EarlyStopping(Validation(patience=2))
    judged = [(False, 3.0), (True, 0.1), (True, 0.105), (True, 0.2), (True, 0.2), (True, 0.1)]
    said = [early.observe(rank) for rank in judged]
    assert said[:-1] == [None] * 5
    assert said[-1] == (
        "stopped early: 2 judgements in a row did not improve the validation Sharpe ratio of 0.20 by 0.01"
    )


def test_a_policy_that_does_not_invest_yet_is_not_stopped() -> None:
    early = EarlyStopping(Validation(patience=1))
    assert [early.observe((False, -math.inf)) for _ in range(9)] == [None] * 9
    assert EarlyStopping(Validation(), **early.state()).worse == early.worse


def test_the_composite_score_by_hand() -> None:
    told = [HEALTHY | {"reward_mean": mean} for mean in (0.0, 1.0, -1.0, 1.0, 1.0)]
    score = composite_score(told, 1.0)
    # Sharpe 1 of 2; three of four updates above the first; fit 0.3; entropy above 0.55; the clip fraction leads.
    parts = {"profitability": 0.5, "reward": 0.75, "value_fit": 0.3, "entropy": 1.0, "instability": 0.1 / 0.35}
    assert {name: score[name] for name in parts} == pytest.approx(parts)
    assert score["score"] == pytest.approx(0.4 * 0.5 + 0.2 * 0.75 + 0.2 * 0.3 + 0.1 - 0.1 * 0.1 / 0.35)
    assert composite_score(told, math.nan)["profitability"] == 0.0
