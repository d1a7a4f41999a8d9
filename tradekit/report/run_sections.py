"""The sections about the run itself: further measures, the audit, what was skipped, how it was run, definitions."""

from __future__ import annotations

from typing import Any

from tradekit.report.cells import (
    Summary,
    candidate_first,
    facts_list,
    named,
    on_call,
    rest_of,
    settings_text,
    th,
    value,
    with_all,
    wrap,
)
from tradekit.report.columns import FURTHER, MAIN
from tradekit.report.markup import Markup, section, table, tag
from tradekit.report.text import skipped_lines
from tradekit.report.words import DASH, dollars, number

KINDS = (
    "The verdict is about the best policy, or where there is none about the best custom strategy, which is one without "
    "a kind. Heuristic, supervised and null (random actions) are what it is held to; the ceiling is perfect foresight."
)


def further(summary: Summary) -> Markup | None:
    """Return the remaining measures, one row each."""
    rows = candidate_first(summary)
    if not rows:
        return None
    rest = rest_of(summary)
    head = [th("Measure"), *(named(one["name"], summary, rest) for one in rows)]
    body = [
        tag(
            "tr",
            tag("th", column.heading, scope="row", title=column.meaning),
            *(value(one["name"], column, one["metrics"], rest=one["name"] in rest) for one in rows),
        )
        for column in FURTHER
    ]
    return section("Further measures", with_all(summary, "further", table(head, body, id_="further")))


def audits(summary: Summary) -> Markup | None:
    """Return what the causality audit found."""
    rows = [one for one in summary["strategies"] if one["audit"]]
    if not rows:
        return None
    rest = rest_of(summary)
    head = [th("Strategy"), th("Causality", class_="text"), th("Bars compared"), th("Note", class_="text")]
    body = [
        tag(
            "tr",
            tag("th", one["name"], scope="row"),
            tag("td", _outcome(one["audit"]["passed"]), class_="text", data_label="Causality"),
            tag("td", f"{one['audit']['bars_checked']:,}", data_label="Bars compared"),
            tag("td", _audit_note(one["audit"]) or DASH, class_=wrap(_audit_note(one["audit"])), data_label="Note"),
            data_audit=one["name"],
            data_passed=str(one["audit"]["passed"]).lower(),
            class_=on_call(None, one["name"] in rest and bool(one["audit"]["passed"])),
        )
        for one in rows
    ]
    lead = "Every later bar is changed and every earlier decision must stay bit-identical."
    return section(
        "Causality audit", with_all(summary, "audits", table(head, body, class_="cards", id_="audits")), lead=lead
    )


def _outcome(passed: bool) -> Markup:
    return tag("span", "passed" if passed else "failed", class_=f"bare pill {'pass' if passed else 'fail'}")


def _audit_note(audit: dict[str, Any]) -> str:
    bad = audit["first_violation"]
    if bad:
        return (
            f"{bad['symbol']} at {bad['timestamp'][:16]}: {number(bad['before'], 4)} became {number(bad['after'], 4)} "
            f"when later {bad['column']} changed"
        )
    notes = [audit["note"]] if audit["note"] else []
    if audit["lookback_holds"] is False:
        notes.append("its declared lookback is too short")
    return "; ".join(notes)


def skipped(summary: Summary) -> Markup | None:
    """Return what did not run, and why."""
    items = [tag("li", tag("span", what, class_="tag"), f": {why}") for what, why in skipped_lines(summary)]
    if not items:
        return None
    return section("Skipped", tag("ul", *items, class_="plain", id_="skipped"))


def setup(summary: Summary, manifest: dict[str, Any]) -> Markup:
    """Return everything that is needed to run it again."""
    data = summary["data"]
    hashes = {one["name"]: (one["file_hash"] or DASH)[:12] for one in summary["strategies"]}
    facts = {
        "Data": f"{data['source']}, {data['frequency']} bars, {data['bars']:,} from {data['start']} to {data['end']}",
        "Symbols": ", ".join(data["symbols"]),
        "Benchmark": data["benchmark"],
        "Data hash": data["hash"],
        "Costs": settings_text(summary["costs"]),
        "Execution": settings_text(summary["execution"]),
        **_cut(summary),
        "Cash": dollars(summary["cash"]),
        "Seeds": ", ".join(map(str, summary["seeds"])) or DASH,
        "Strategy files": settings_text(hashes),
        "Bundles": settings_text({name: digest[:12] for name, digest in manifest["bundle_hashes"].items()}) or DASH,
        "Versions": settings_text(manifest["versions"]),
    }
    return section("How it was run", facts_list(facts))


def _cut(summary: Summary) -> dict[str, str]:
    """Return how the bars were cut."""
    if "cross_validation" in summary:
        return {"Cross-validation": settings_text(summary["cross_validation"])}
    return {"Windows": settings_text(summary["windowing"] or {}) or "none: one pass over all bars"}


def definitions() -> Markup:
    """Return what every column means."""
    meanings = {column.heading: column.meaning for column in (*MAIN, *FURTHER)}
    return section("Definitions", facts_list({"Kind": KINDS, **meanings}))
