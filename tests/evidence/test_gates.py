"""The gate: every criterion on both sides of its threshold, what is not known, and settings."""

from __future__ import annotations

import math
import re

import pytest

from tradekit.errors import ConfigError
from tradekit.evidence.gates import RULES, Rule, Thresholds, is_go, judge

GOOD = {
    "sharpe": 1.5,
    "max_drawdown": 0.1,
    "hit_rate": 0.55,
    "profit_factor": 1.3,
    "deflated_sharpe": 0.99,
    "deflated_difference": 0.97,
    "overfitting": 0.1,
    "cost_ratio": 0.1,
    "excess_under_shock": 0.02,
    "causality_audit": 1.0,
    "margin_over_best_baseline": 0.3,
    "sessions": 500.0,
    "worst_paired_p": 0.01,
    "trades_a_day": 2.0,
}
BAD = {
    "sharpe": 0.8,
    "max_drawdown": 0.3,
    "hit_rate": 0.48,
    "profit_factor": 1.1,
    "deflated_sharpe": 0.95,
    "deflated_difference": 0.95,
    "overfitting": 0.5,
    "cost_ratio": 0.35,
    "excess_under_shock": 0.0,
    "causality_audit": 0.0,
    "margin_over_best_baseline": 0.0,
    "sessions": 119.0,
    "worst_paired_p": 0.05,
    "trades_a_day": 50.0,
}


def test_all_met_is_go() -> None:
    criteria = judge(GOOD)
    assert is_go(criteria)
    assert {one.verdict for one in criteria} == {"pass"}
    assert {one.name for one in criteria} == set(GOOD)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("value", ["at its threshold", None, math.nan])
def test_one_that_is_not_met_decides_unless_advisory(rule: Rule, value: str | float | None) -> None:
    changed = BAD[rule.name] if isinstance(value, str) else value
    criteria = judge({**GOOD, rule.name: changed})
    found = next(one for one in criteria if one.name == rule.name)
    assert found.verdict == ("fail" if isinstance(value, str) else "not judged")
    assert is_go(criteria) == found.advisory
    assert found.advisory == (rule.name in ("worst_paired_p", "trades_a_day"))


def test_a_threshold_of_ones_own() -> None:
    strict = Thresholds.from_dict({"sharpe": 2, "max_drawdown": 0.05})
    failed = [one.name for one in judge(GOOD, strict) if one.verdict == "fail"]
    assert failed == ["sharpe", "max_drawdown"]
    assert judge(GOOD, strict)[0].threshold == 2.0


def test_notes_are_shown_and_nothing_is_no_go() -> None:
    (first, *_) = judge({}, notes={"sharpe": "never traded"})
    assert (first.verdict, first.value, first.note) == ("not judged", None, "never traded")
    assert not is_go(judge({}))
    assert not is_go([])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sharp": 1.0}, "unknown threshold 'sharp'; did you mean sharpe?"),
        ({"sharpe": "high"}, "sharpe is 'high'; write a number, 0 or more"),
        ({"hit_rate": -0.1}, "hit_rate is -0.1"),
        ({"hit_rate": math.nan}, "hit_rate is nan"),
        ({"overfitting": True}, "overfitting is True"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Thresholds.from_dict(settings)
