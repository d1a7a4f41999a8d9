"""The gate: criteria that a strategy has to meet, every one of them, before money is put behind it.

A criterion whose value is not known is not met. Advisory criteria are shown and decide nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tradekit.errors import ConfigError, demand_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True)
class Thresholds:
    """What a strategy is held to. Fractions, not per cent.

    Attributes:
        sharpe: the annual out-of-sample Sharpe ratio exceeds it.
        max_drawdown: the deepest drawdown is below it.
        hit_rate: the share of gaining sessions among those on which equity moved exceeds it.
        profit_factor: the sum of gaining sessions over that of losing ones exceeds it.
        deflated_sharpe: the probability that the Sharpe ratio is not the luck of the best of all trials exceeds it,
            and so does that of its difference from buy and hold.
        overfitting: the probability of backtest overfitting is below it.
        cost_ratio: the share of gross profit that costs take is below it.
        slippage_shock: slippage, spread and impact times this must leave more than the benchmark earned.
        sessions: least sessions scored.
        paired_p: advisory; the paired bootstrap against each baseline finds a p-value below it.
        trades_a_day: advisory; filled orders a session and symbol are fewer.

    Raises:
        ConfigError: a threshold that is no finite number, or below zero.
    """

    sharpe: float = 0.8
    max_drawdown: float = 0.30
    hit_rate: float = 0.48
    profit_factor: float = 1.1
    deflated_sharpe: float = 0.95
    overfitting: float = 0.5
    cost_ratio: float = 0.35
    slippage_shock: float = 1.5
    sessions: float = 120.0
    paired_p: float = 0.05
    trades_a_day: float = 50.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or value < 0.0:
                raise ConfigError(f"{item.name} is {value!r}; write a number, 0 or more")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Thresholds:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("threshold", settings, [item.name for item in fields(cls)])
        return cls(**settings)


class Criterion(NamedTuple):
    """One line of a gate: what was found, what was asked, and whether it is met.

    ``value`` is None where it is not known; ``note`` says why, or what it means.
    """

    name: str
    value: float | None
    sign: Literal["<", ">", ">="]
    threshold: float
    verdict: Verdict
    advisory: bool
    note: str


class Rule(NamedTuple):
    """How one criterion is judged; ``threshold`` names a field of ``Thresholds``, or is the number itself."""

    name: str
    sign: Literal["<", ">", ">="]
    threshold: str | float
    advisory: bool = False


RULES = (
    Rule("sharpe", ">", "sharpe"),
    Rule("max_drawdown", "<", "max_drawdown"),
    Rule("hit_rate", ">", "hit_rate"),
    Rule("profit_factor", ">", "profit_factor"),
    Rule("deflated_sharpe", ">", "deflated_sharpe"),
    Rule("deflated_difference", ">", "deflated_sharpe"),
    Rule("overfitting", "<", "overfitting"),
    Rule("cost_ratio", "<", "cost_ratio"),
    Rule("excess_under_shock", ">", 0.0),
    Rule("causality_audit", ">=", 1.0),
    Rule("margin_over_best_baseline", ">", 0.0),
    Rule("sessions", ">=", "sessions"),
    Rule("worst_paired_p", "<", "paired_p", advisory=True),
    Rule("trades_a_day", "<", "trades_a_day", advisory=True),
)


def judge(
    values: Mapping[str, float | None], thresholds: Thresholds | None = None, notes: Mapping[str, str] | None = None
) -> list[Criterion]:
    """Return every criterion judged.

    Args:
        values: by the names of ``RULES``; None, NaN or missing where not known.
        thresholds: default: those of ``Thresholds``.
        notes: shown beside a criterion, such as why its value is not known.
    """
    asked, said = thresholds or Thresholds(), notes or {}
    return [_judged(rule, values.get(rule.name), asked, said.get(rule.name, "")) for rule in RULES]


def is_go(criteria: Sequence[Criterion]) -> bool:
    """Return whether every criterion is met, advisory ones aside; False without any."""
    binding = [one for one in criteria if not one.advisory]
    return bool(binding) and all(one.verdict == "pass" for one in binding)


def _judged(rule: Rule, value: float | None, asked: Thresholds, note: str) -> Criterion:
    threshold = float(getattr(asked, rule.threshold)) if isinstance(rule.threshold, str) else rule.threshold
    if value is None or math.isnan(value):
        return Criterion(rule.name, None, rule.sign, threshold, "not judged", rule.advisory, note)
    met = {"<": value < threshold, ">": value > threshold, ">=": value >= threshold}[rule.sign]
    return Criterion(rule.name, value, rule.sign, threshold, "pass" if met else "fail", rule.advisory, note)
