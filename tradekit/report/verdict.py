"""The verdict: one line that says whether the policy is worth anything beside what needs no policy.

It compares Sharpe ratios on the same scored bars, costs and execution, and says so when the difference is within
chance. A strategy that failed the causality audit proves nothing, whatever its numbers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tradekit.evidence.sharpe import sharpe_difference
from tradekit.report.metrics import scored
from tradekit.report.words import number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.report.record import Record

REFERENCE = "buy_and_hold"
HEADLINES = {
    "ahead": "Ahead of every baseline",
    "unproven": "Ahead, but within chance",
    "behind": "Behind",
    "invalid": "Not valid",
    "no_candidate": "Nothing to judge",
}


def verdict_of(record: Record, strategies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the verdict on the policy of a run, or on the user's own strategies where it has no policy.

    Args:
        record: of the run.
        strategies: entries of the summary, with name, kind, skipped, audit and metrics.

    Returns:
        ``outcome``: ``ahead`` of every baseline beyond chance; ``unproven``: ahead, but the interval of the difference
        holds zero; ``behind`` one at least; ``invalid``: it used the future; ``no_candidate``. ``line`` says it in
        words; ``candidate``, ``best_baseline`` name the two, ``beats_buy_and_hold``, ``beats_best_baseline`` are None
        where there is nothing to compare, ``difference`` is in Sharpe ratio from the best baseline.
    """
    judged = [one for one in strategies if one["metrics"] is not None]
    honest = [one for one in judged if _passed(one)]
    candidate, several = _candidate(judged)
    baselines = [one for one in honest if _is_baseline(one, candidate)]
    best = max(baselines, key=_sharpe, default=None)
    found: dict[str, Any] = {
        "candidate": candidate and candidate["name"],
        "best_baseline": best and best["name"],
        "beats_buy_and_hold": None,
        "beats_best_baseline": None,
        "difference": None,
    }
    if candidate is None:
        return _closed(found, "no_candidate", _without_candidate(strategies, best))
    if not _passed(candidate):
        why = "its decisions change when only later bars do, so its numbers mean nothing"
        return _closed(found, "invalid", f"{candidate['name']} failed the causality audit: {why}.")
    if best is None or _undefined(candidate) or _undefined(best):
        return _closed(found, "no_candidate", _incomparable(candidate, best))
    held = next((one for one in baselines if one["name"] == REFERENCE), None)
    found["beats_buy_and_hold"] = None if held is None else _sharpe(candidate) > _sharpe(held)
    found["beats_best_baseline"] = _sharpe(candidate) > _sharpe(best)
    gap = sharpe_difference(
        scored(record.base[candidate["name"]]).returns,
        scored(record.base[best["name"]]).returns,
        record.bars_per_year,
    )
    found["difference"] = gap._asdict()
    proven = gap.low > 0.0 and _audited(candidate)
    outcome = "behind" if not found["beats_best_baseline"] else "ahead" if proven else "unproven"
    line = _compared(candidate, held, best, found, several)
    return _closed(found, outcome, line if _audited(candidate) else f"{line} It was not audited for look-ahead.")


def _closed(found: dict[str, Any], outcome: str, line: str) -> dict[str, Any]:
    return found | {"outcome": outcome, "headline": HEADLINES[outcome], "line": line}


def _passed(one: dict[str, Any]) -> bool:
    return one["audit"] is None or bool(one["audit"]["passed"])


def _audited(one: dict[str, Any]) -> bool:
    """Return whether the audit compared at least one decision."""
    return one["audit"] is not None and one["audit"]["bars_checked"] > 0


def _sharpe(one: dict[str, Any]) -> float:
    value = float(one["metrics"]["sharpe"])
    return -math.inf if math.isnan(value) else value


def _undefined(one: dict[str, Any]) -> bool:
    return math.isnan(one["metrics"]["sharpe"])


def _candidate(judged: Sequence[dict[str, Any]]) -> tuple[dict[str, Any] | None, int]:
    """Return the best of the policies, or of the custom strategies where there is no policy, and how many there are."""
    for kind in ("policy", "custom"):
        several = [one for one in judged if one["kind"] == kind and one["name"] != REFERENCE]
        if several:
            return max(several, key=lambda one: (_passed(one), _sharpe(one))), len(several)
    return None, 0


def _is_baseline(one: dict[str, Any], candidate: dict[str, Any] | None) -> bool:
    """A user's own strategies are candidates like policies; only reference strategies are what they are held to."""
    return one["kind"] not in ("policy", "custom") and (candidate is None or one["name"] != candidate["name"])


def _compared(
    candidate: dict[str, Any],
    held: dict[str, Any] | None,
    best: dict[str, Any],
    found: dict[str, Any],
    several: int,
) -> str:
    name = candidate["name"] + (f", the best of {several} candidates," if several > 1 else "")
    parts = []
    if held is not None:
        verb = "beats" if found["beats_buy_and_hold"] else "does not beat"
        parts.append(f"{verb} {REFERENCE} ({_against(candidate, held)})")
    if held is None or best["name"] != held["name"]:
        versus = f"Sharpe {number(_sharpe(best))}" if held is not None else _against(candidate, best)
        parts.append(f"{_joining(found)} the best baseline, {best['name']} ({versus})")
    gap = found["difference"]
    chance = (
        f"The difference in Sharpe from {best['name']} is {number(gap['value'], sign=True)}, "
        f"95 % interval {number(gap['low'], sign=True)} to {number(gap['high'], sign=True)}"
    )
    within = ", which holds zero: chance may explain it." if gap["low"] <= 0.0 <= gap["high"] else "."
    return f"{name} {' '.join(parts)}. {chance}{within}"


def _joining(found: dict[str, Any]) -> str:
    """Return the verb about the best baseline that follows what was said of buy and hold."""
    held, best = found["beats_buy_and_hold"], found["beats_best_baseline"]
    if held is None:
        return "beats" if best else "does not beat"
    if held == best:
        return "and" if best else "nor"
    return "but beats" if best else "but does not beat"


def _against(one: dict[str, Any], other: dict[str, Any]) -> str:
    mine, theirs = one["metrics"], other["metrics"]
    return (
        f"Sharpe {number(mine['sharpe'])} against {number(theirs['sharpe'])}, "
        f"return {percent(mine['total_return'], sign=True)} against {percent(theirs['total_return'], sign=True)}"
    )


def _without_candidate(strategies: Sequence[dict[str, Any]], best: dict[str, Any] | None) -> str:
    skipped = [one for one in strategies if one["kind"] == "policy" and one["skipped"]]
    why = f"{skipped[0]['name']} was skipped: {skipped[0]['skipped']}." if skipped else "The run has no policy."
    if best is None or _undefined(best):
        return why
    return f"{why} The best of the baselines is {best['name']} (Sharpe {number(_sharpe(best))})."


def _incomparable(candidate: dict[str, Any], best: dict[str, Any] | None) -> str:
    if _undefined(candidate):
        return f"{candidate['name']} has no Sharpe ratio: its equity did not move on the scored bars."
    return f"{candidate['name']} ran alone, so there is no baseline to compare it with" + (
        "." if best is None else f": {best['name']} did not move."
    )
