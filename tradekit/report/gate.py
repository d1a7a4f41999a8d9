"""The gate on a run: what the criteria are judged by, read from its summary and from that of a stress run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tradekit.evidence.gates import Thresholds, is_go, judge
from tradekit.report.evidence import CEILING
from tradekit.report.words import picked_text, trials_text

if TYPE_CHECKING:
    from collections.abc import Sequence

Summary = dict[str, Any]
SAME = ("costs", "execution", "windowing", "cash")
"""What two runs must share, besides the bars, before one can speak for the other."""


def gate_of(
    summary: Summary, name: str | None = None, thresholds: Thresholds | None = None, stressed: Summary | None = None
) -> dict[str, Any]:
    """Return the gate on one strategy of a run, as plain data.

    Args:
        summary: of a backtest, or of a stress run, which speaks for itself.
        name: the strategy; default: the candidate of the verdict.
        thresholds: default: those of ``Thresholds``.
        stressed: summary of a stress run of the same strategy on the same bars; see ``speaks_for``.

    Returns:
        ``strategy``, ``go``, ``criteria``: a list of name, value, sign, threshold, verdict, advisory and note.
        Without a strategy to judge there are no criteria, and it is no go.
    """
    asked = thresholds or Thresholds()
    one = _entry(summary, name or summary["verdict"]["candidate"])
    if one is None or one["metrics"] is None:
        return {"strategy": one and one["name"], "go": False, "criteria": []}
    values, notes = _values(summary, one, asked)
    values["excess_under_shock"], notes["excess_under_shock"] = _shock(summary, one, asked, stressed)
    criteria = judge(values, asked, notes)
    return {"strategy": one["name"], "go": is_go(criteria), "criteria": [line._asdict() for line in criteria]}


def speaks_for(stressed: Summary, summary: Summary, name: str) -> bool:
    """Return whether a stress run had the bars, costs, execution and windows of a backtest, and the same strategy.

    The strategy is the same when its file is, of a policy its bundle, and the seeds that it was asked to draw from.
    """
    mine, theirs = _entry(summary, name), _entry(stressed, name)
    if mine is None or theirs is None or stressed["kind"] != "stress":
        return False
    if summary["data"]["hash"] != stressed["data"]["hash"] or any(summary[key] != stressed[key] for key in SAME):
        return False
    same = all(mine.get(key) == theirs.get(key) for key in ("file_hash", "bundle_hash"))
    return mine["file_hash"] is not None and same and _seeds(mine) == _seeds(theirs)


def _seeds(one: dict[str, Any]) -> list[int]:
    return sorted(row["seed"] for row in one.get("seeds", []))  # runs of an earlier version have none


def _entry(summary: Summary, name: str | None) -> dict[str, Any] | None:
    return next((one for one in summary["strategies"] if one["name"] == name), None)


def _values(summary: Summary, one: dict[str, Any], asked: Thresholds) -> tuple[dict[str, float | None], dict[str, str]]:
    metrics, trials = one["metrics"], summary["trials"]
    baseline, margin = _margin(summary, one)
    pairs = [row for row in summary["paired"] if row["strategy"] == one["name"]]
    worst = max(pairs, key=lambda row: math.inf if row["p"] is None else row["p"], default=None)
    sessions, symbols = metrics["sessions"], len(summary["data"]["symbols"])
    values: dict[str, float | None] = {
        "sharpe": metrics["sharpe"],
        "max_drawdown": metrics["max_drawdown"],
        "hit_rate": metrics["session_hit_rate"],
        "profit_factor": metrics["session_profit_factor"],
        "deflated_sharpe": metrics["deflated_sharpe"],
        "deflated_difference": metrics["deflated_difference"],
        "overfitting": summary["pbo"] and summary["pbo"]["probability"],
        "cost_ratio": metrics["cost_ratio"],
        "causality_audit": _audited(one),
        "margin_over_best_baseline": margin,
        "sessions": sessions,
        "worst_paired_p": worst and worst["p"],
        "trades_a_day": metrics["trades"] / sessions / symbols if sessions else None,
    }
    notes = {
        "deflated_sharpe": trials_text(trials),
        "deflated_difference": "from buy and hold",
        "overfitting": picked_text(summary["pbo"]) if summary["pbo"] else "too few bars",
        "cost_ratio": "" if metrics["cost_ratio"] is not None else "no profit before costs",
        "causality_audit": "" if values["causality_audit"] is not None else "no decision was compared",
        "margin_over_best_baseline": f"over {baseline}" if baseline else "the run has no baseline",
        "worst_paired_p": f"against {worst['baseline']}" if worst else "the run has no baseline",
    }
    return values, notes


def _margin(summary: Summary, one: dict[str, Any]) -> tuple[str | None, float | None]:
    """Return the best baseline by Sharpe ratio, and by how much this strategy exceeds it."""
    others = {row["baseline"] for row in summary["paired"] if row["strategy"] == one["name"]}
    ratios = [
        (other["metrics"]["sharpe"], other["name"])
        for other in summary["strategies"]
        if other["name"] in others and other["kind"] != CEILING and other["metrics"]["sharpe"] is not None
    ]
    if not ratios or one["metrics"]["sharpe"] is None:
        return None, None
    best, name = max(ratios)
    return name, one["metrics"]["sharpe"] - best


def _audited(one: dict[str, Any]) -> float | None:
    """Return 1 where the audit passed, 0 where it failed, None where it compared nothing."""
    audit = one["audit"]
    if audit is None or (audit["passed"] and not audit["bars_checked"]):
        return None
    return float(audit["passed"])


def _shock(
    summary: Summary, one: dict[str, Any], asked: Thresholds, stressed: Summary | None
) -> tuple[float | None, str]:
    """Return the excess over the benchmark under the mildest shock that is at least as hard as asked, and a note."""
    run = summary if summary["kind"] == "stress" else stressed
    wanted = f"tradekit stress --slippage-shock {asked.slippage_shock:g}"
    if run is None:
        return None, f"no stress run on these bars; run: {wanted}"
    found = _mildest(run["scenarios"], asked.slippage_shock)
    cell = next((cell for cell in found["cells"] if cell["strategy"] == one["name"]), None) if found else None
    if found is None or cell is None or cell["metrics"] is None:
        return None, f"the stress run has no such shock of it; run: {wanted}"
    return cell["metrics"]["excess_over_benchmark"], found["name"]


def _mildest(scenarios: Sequence[dict[str, Any]], shock: float) -> dict[str, Any] | None:
    """Return the scenario of costs alone whose slippage is multiplied least, but by ``shock`` or more."""
    hard = [
        (one["slippage_shock"] * one["cost_shock"], one["cost_shock"], k)
        for k, one in enumerate(scenarios)
        if one["kind"] == "costs" and one["slippage_shock"] * one["cost_shock"] >= shock
    ]
    return scenarios[min(hard)[2]] if hard else None
