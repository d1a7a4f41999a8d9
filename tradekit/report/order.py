"""In which order strategies are told, and which of them a reader sees first where there are many."""

from __future__ import annotations

from typing import Any

from tradekit.report.evidence import CEILING, REFERENCE

MOST = 8


def kind_text(one: dict[str, Any]) -> str:
    """Return what kind a strategy is, and whether the audit found that it uses the future."""
    audit = one["audit"]
    return f"{one['kind']}, uses the future" if audit and not audit["passed"] else str(one["kind"])


def ranked(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the strategies that were scored, best Sharpe ratio first, undefined ones after them, the ceiling last."""

    def place(one: dict[str, Any]) -> tuple[bool, bool, float]:
        ratio = one["metrics"]["sharpe"]
        return one["kind"] == CEILING, ratio is None, -(ratio or 0.0)

    return sorted((one for one in summary["strategies"] if one["metrics"]), key=place)


def few(summary: dict[str, Any], most: int = MOST) -> list[str]:
    """Return the names of at most ``most`` strategies that count most, in this order; all where there are no more.

    The candidate, the reference, the best baseline, and then the best Sharpe ratios, the ceiling last.
    """
    verdict = summary["verdict"]
    order = [verdict["candidate"], REFERENCE, verdict["best_baseline"], *(one["name"] for one in ranked(summary))]
    held = {one["name"] for one in summary["strategies"] if one["metrics"]}
    return [name for name in dict.fromkeys(order) if name in held][:most]
