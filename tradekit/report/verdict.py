"""The verdict: one line that says whether the policy is worth anything beside what needs no policy, and why.

It compares Sharpe ratios on the same scored bars, costs and execution, and says so when chance may explain the
difference: that of the bars, and that of having tried more than once. A strategy that failed the causality audit
proves nothing, whatever its numbers, and neither do a few bars.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tradekit.evidence.gates import Thresholds
from tradekit.evidence.sharpe import sharpe_difference
from tradekit.report.evidence import CANDIDATES, CEILING, REFERENCE
from tradekit.report.metrics import FEWEST_BARS, scored
from tradekit.report.words import number, percent, picked_text, trials_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.report.record import Record

HEADLINES = {
    "ahead": "Ahead of every baseline",
    "unproven": "Ahead, but within chance",
    "behind": "Behind",
    "invalid": "Not valid",
    "no_candidate": "Nothing to judge",
    "too_short": "Too short to judge",
}
ASKED = Thresholds()


def verdict_of(record: Record, strategies: Sequence[dict[str, Any]], proof: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict on the policy of a run, or on the user's own strategies where it has no policy.

    Args:
        record: of the run.
        strategies: entries of the summary, with name, kind, skipped, audit and metrics.
        proof: of ``evidence_of``: trials, pbo, spa and paired.

    Returns:
        ``outcome``: ``ahead`` of every baseline beyond chance; ``unproven``: ahead, but chance may explain it: the
        interval of the difference holds zero, or as many trials, or as arbitrary a choice, would show as much;
        ``behind`` one at least; ``invalid``: it used the future; ``too_short``; ``no_candidate``. ``line`` says it in
        words and ``reasons`` lists what speaks for and against; ``candidate``, ``best_baseline`` name the two,
        ``beats_buy_and_hold``, ``beats_best_baseline`` are None where there is nothing to compare, ``difference`` is
        in Sharpe ratio from the best baseline.
    """
    judged = [one for one in strategies if one["metrics"] is not None and one["kind"] != CEILING]
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
        "reasons": [],
    }
    if candidate is None:
        return _closed(found, "no_candidate", _without_candidate(strategies, best))
    if not _passed(candidate):
        why = "its decisions change when only later bars do, so its numbers mean nothing"
        return _closed(found, "invalid", f"{candidate['name']} failed the causality audit: {why}.")
    if candidate["metrics"]["bars"] < FEWEST_BARS:
        return _closed(found, "too_short", _short(candidate))
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
    proven = gap.low > 0.0 and _audited(candidate) and _beyond_luck(candidate, proof)
    outcome = "behind" if not found["beats_best_baseline"] else "ahead" if proven else "unproven"
    line = _compared(candidate, held, best, found, several)
    found["reasons"] = _reasons(candidate, proof, record.bars_per_year)
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
    for kind in CANDIDATES:
        several = [one for one in judged if one["kind"] == kind and one["name"] != REFERENCE]
        if several:
            return max(several, key=lambda one: (_passed(one), _sharpe(one))), len(several)
    return None, 0


def _is_baseline(one: dict[str, Any], candidate: dict[str, Any] | None) -> bool:
    """A user's own strategies are candidates like policies; only reference strategies are what they are held to."""
    return one["kind"] not in CANDIDATES and (candidate is None or one["name"] != candidate["name"])


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


def _beyond_luck(candidate: dict[str, Any], proof: dict[str, Any]) -> bool:
    """Return whether neither the number of trials nor the choice among them explains the Sharpe ratio."""
    overfitting = proof["pbo"]["probability"] if proof["pbo"] else math.nan
    return candidate["metrics"]["deflated_sharpe"] > ASKED.deflated_sharpe and not overfitting >= ASKED.overfitting


def _reasons(candidate: dict[str, Any], proof: dict[str, Any], bars_per_year: float) -> list[str]:
    """Return what speaks for and against the candidate, one sentence each; what is not defined is left out."""
    parts = [
        _luck(candidate, proof["trials"]),
        _track_record(candidate, bars_per_year),
        _choice(proof["pbo"]),
        _superior(candidate["name"], proof["spa"]),
        _pairs([row for row in proof["paired"] if row["strategy"] == candidate["name"]]),
    ]
    return [part for part in parts if part is not None]


def _luck(candidate: dict[str, Any], trials: dict[str, Any]) -> str | None:
    metrics = candidate["metrics"]
    if math.isnan(metrics["deflated_sharpe"]):
        return None
    chance = f"The best of {trials_text(trials)} without skill would show a Sharpe ratio of"
    threshold, asked = number(metrics["deflated_threshold"]), percent(ASKED.deflated_sharpe, 0)
    return (
        f"{chance} {threshold}; that {candidate['name']} is better than that has a probability of "
        f"{percent(metrics['deflated_sharpe'])} (deflated Sharpe ratio; the gate asks for {asked})."
    )


def _track_record(candidate: dict[str, Any], bars_per_year: float) -> str | None:
    metrics = candidate["metrics"]
    needed = metrics["least_track_record_bars"]
    if math.isnan(needed):
        return None
    years, have = needed / bars_per_year, metrics["bars"] / bars_per_year
    verb = "there are" if needed <= metrics["bars"] else "there are only"
    return f"Telling such a Sharpe ratio from zero takes {number(years, 1)} years; {verb} {number(have, 1)}."


def _choice(pbo: dict[str, Any] | None) -> str | None:
    if pbo is None or math.isnan(pbo["probability"]):
        return None
    return (
        f"Of the {picked_text(pbo)} that could be picked, the best on one half of the bars is in the "
        f"lower half on the others in {percent(pbo['probability'], 0)} of all splits (probability of overfitting)."
    )


def _superior(name: str, spa: dict[str, Any] | None) -> str | None:
    if spa is None or math.isnan(spa["p_consistent"]):
        return None
    named = "names" if name in spa["superior"] else "does not name"
    chance = f"p = {number(spa['p_consistent'], 3)} (SPA)"
    return f"That a candidate earns more than {spa['benchmark']}: {chance}; the stepwise test {named} {name}."


def _pairs(pairs: Sequence[dict[str, Any]]) -> str | None:
    if not pairs:
        return None
    clear = sum(row["p"] < ASKED.paired_p for row in pairs)
    level = f"at p < {ASKED.paired_p}"
    return f"Paired bar by bar, its Sharpe ratio is above that of {clear} of {len(pairs)} baselines {level}."


def _short(candidate: dict[str, Any]) -> str:
    few = f"{candidate['metrics']['bars']} scored bars say nothing about {candidate['name']}"
    return f"{few}: under {FEWEST_BARS} nothing is annualised, and the gate asks for {ASKED.sessions:.0f} sessions."


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
