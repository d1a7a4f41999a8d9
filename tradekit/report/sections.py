"""The sections of report.html, each a function of the summary; a section without content is left out."""

from __future__ import annotations

from typing import Any

from tradekit.market.costs import TERMS
from tradekit.report.cells import (
    Summary,
    candidate_first,
    heat,
    named,
    number_cell,
    on_call,
    rest_of,
    robust_most,
    share_of,
    th,
    value,
    with_all,
    wrap,
)
from tradekit.report.columns import MAIN
from tradekit.report.evidence import CEILING
from tradekit.report.figures import bar, forest, key, swatches
from tradekit.report.markup import Markup, join, section, table, tag, typeset
from tradekit.report.order import kind_text, ranked
from tradekit.report.words import DASH, dollars, number, percent

DATE = len("2026-01-31")  # a window begins and ends with a session, at whatever hour
TERM_STYLES = dict(zip(TERMS, ("s8", "s2", "s1", "s3", "s5"), strict=True))


def strategies(summary: Summary, styles: dict[str, str]) -> Markup | None:
    """Return the table of strategies, best Sharpe ratio first."""
    rows = ranked(summary)
    if not rows:
        return None
    known = [one["metrics"] for one in rows if one["metrics"]["sharpe_low"] is not None and one["kind"] != CEILING]
    bounds = (
        min([0.0, *(m["sharpe_low"] for m in known)]) - 0.05,
        max([0.0, *(m["sharpe_high"] for m in known)]) + 0.05,
    )
    head = [th("Strategy"), *(th(c.heading, title=c.meaning) for c in MAIN), th("95 % interval")]
    body = [_strategy(one, styles, bounds, rest_of(summary)) for one in rows]
    carried = any(one["seen_bars"] for one in summary["strategies"])
    note = "Positions held when scoring begins were bought on bars that do not count; so were their costs and trades."
    return section(
        "Every strategy on the same bars and costs",
        with_all(summary, "strategies", table(head, body, class_="cards", id_="strategies"), narrow=True),
        tag("p", note, class_="note") if carried else None,
        lead="Best Sharpe ratio first. An interval that holds zero cannot be told from luck.",
    )


def _strategy(one: dict[str, Any], styles: dict[str, str], bounds: tuple[float, float], rest: frozenset[str]) -> Markup:
    metrics, style = one["metrics"], styles[one["name"]]
    name = tag("th", key(style), one["name"], " ", tag("span", kind_text(one), class_="kind"), scope="row")
    figure = None
    if metrics["sharpe_low"] is not None and one["kind"] != CEILING:
        figure = forest(metrics["sharpe"], metrics["sharpe_low"], metrics["sharpe_high"], bounds, style)
    cells = [value(one["name"], column, metrics) for column in MAIN]
    row = on_call("policy" if style == "policy" else None, one["name"] in rest)
    return tag("tr", name, *cells, tag("td", figure, class_="figure"), class_=row)


def costs(summary: Summary, styles: dict[str, str]) -> Markup | None:
    """Return what trading cost by term: as a share of equity a year, drawn, and in dollars."""
    rows = sorted(ranked(summary), key=lambda one: one["metrics"]["cost_a_year"] or 0.0)
    used = [term for term in TERMS if any(one["costs"]["dollars"][term] for one in rows)]
    if not used:
        return None
    most = max(sum(one["costs"]["a_year"].values()) for one in rows)
    rest, drawn = rest_of(summary), []
    for one in rows:
        late = one["name"] in rest
        parts = [(one["costs"]["a_year"][term], TERM_STYLES[term]) for term in used]
        drawn += [
            tag("span", one["name"], class_=on_call("policy" if styles[one["name"]] == "policy" else None, late)),
            bar(parts, most, "bare rest" if late else "bare"),
            tag("span", percent(one["metrics"]["cost_a_year"], 2), class_=on_call("value", late)),
        ]
    head = [th("Strategy"), *(th(term.capitalize()) for term in used), th("Together"), th("Of gross profit")]
    body = [
        tag(
            "tr",
            tag("th", one["name"], scope="row"),
            *(
                number_cell(one["costs"]["dollars"][term], dollars, f"cost.{term}", one["name"], term.capitalize())
                for term in used
            ),
            number_cell(one["metrics"]["cost"], dollars, "cost", one["name"], "Together"),
            number_cell(one["metrics"]["cost_ratio"], percent, "cost_ratio", one["name"], "Of gross profit"),
            class_=on_call(None, one["name"] in rest),
        )
        for one in rows
    ]
    return section(
        "What trading cost",
        swatches([(term.capitalize(), TERM_STYLES[term]) for term in used]),
        with_all(
            summary,
            "costs",
            join(
                tag("div", *drawn, class_="bars"),
                tag("h3", "In dollars over the scored bars"),
                table(head, body, class_="cards", id_="costs"),
            ),
        ),
        _carry_note(rows),
        lead="Share of equity paid in a year, by term.",
    )


def _carry_note(rows: list[dict[str, Any]]) -> Markup | None:
    """Say what holding cost and brought, which equity has in it and the cost terms have not."""
    said = []
    for one in rows:
        borrowed, earned = one["carry"]["borrow_paid"], one["carry"]["interest_earned"]
        if borrowed or earned:
            said.append(f"{one['name']} paid {dollars(borrowed)} to borrow shares and earned {dollars(earned)} on cash")
    return tag("p", f"Over the whole run, besides: {'; '.join(said)}.", class_="note") if said else None


def windows(summary: Summary) -> Markup | None:
    """Return the return of every strategy in every walk-forward window as a heat map."""
    several = [one for one in candidate_first(summary) if one["windows"]]
    if not several:
        return None
    most = robust_most(row["total_return"] for one in several for row in one["windows"])
    rest = rest_of(summary)
    head = [
        th("Test window"),
        *(named(one["name"], summary, rest) for one in several),
        th(summary["data"]["benchmark"]),
    ]
    counted = [k for k, row in enumerate(several[0]["windows"]) if row["bars"]]
    body = [
        _window_row([one["windows"][k] | {"strategy": one["name"]} for one in several], most, rest) for k in counted
    ]
    seen = len(several[0]["windows"]) - len(counted)
    left_out = f" {seen} earlier windows hold only bars that a policy was trained on and do not count." if seen else ""
    return section(
        "Window by window",
        with_all(summary, "windows", table(head, body, class_="heat", id_="windows")),
        tag("p", _window_note([one for one in several if one["name"] not in rest]) + left_out, class_="note"),
        lead="Return in each test window, fitted on the bars before it. Blue gains, orange loses.",
    )


def _window_row(row: list[dict[str, Any]], most: float, rest: frozenset[str]) -> Markup:
    """Return one window: every strategy's return in it, then the benchmark's."""
    first = row[0]
    span = tag("span", f"to {first['test_end'][:DATE]}", class_="kind")
    part = f"only {first['bars']} of {first['bars'] + first['seen_bars']} bars count" if first["seen_bars"] else None
    name = tag("th", first["test_start"][:DATE], " ", span, part and tag("small", part), scope="row")
    cells = [_window(one, most, one["strategy"] in rest) for one in row]
    reference, window = first["benchmark_total_return"], str(first["window"])
    shown = percent(reference, sign=True)
    cells.append(heat(reference, share_of(reference, most), shown, metric="benchmark", window=window))
    return tag("tr", name, *cells)


def _window(one: dict[str, Any], most: float, rest: bool) -> Markup:
    if one["failure"] is not None:
        return tag("td", "failed", class_=on_call("none", rest), title=one["failure"])
    shown, share = percent(one["total_return"], sign=True), share_of(one["total_return"], most)
    names = {"metric": "window", "strategy": one["strategy"], "window": str(one["window"])}
    return heat(one["total_return"], share, shown, rest=rest, **names)


def _window_note(several: list[dict[str, Any]]) -> str:
    parts = []
    for one in several:
        counted = [row for row in one["windows"] if row["total_return"] is not None and row["bars"]]
        gains = sum(row["total_return"] > 0.0 for row in counted)
        parts.append(f"{one['name']} {gains} of {len(counted)}")
    return f"Windows that gained: {', '.join(parts)}."


def actions(summary: Summary) -> Markup | None:
    """Return what each policy asked for beside what was executed."""
    several = [one for one in summary["strategies"] if one["actions"]]
    if not several:
        return None
    parts: list[Markup] = []
    for one in several:
        told = one["actions"]
        trades = [name for name in told["chosen"] if name != "HOLD"]  # which dwarfs them, and is read as a number
        most = max([told[kind][name] for kind in ("chosen", "executed") for name in trades], default=0.0)
        drawn = [part for name in told["chosen"] for part in _action(name, told, most if name in trades else 0.0)]
        changed = f"{percent(told['changed'])} executed otherwise than chosen"
        why = ", ".join(f"{name.replace('_', ' ')} {percent(share)}" for name, share in told["reasons"].items())
        line = f"{one['name']}: {told['decisions']:,} decisions, {changed}" + (f" ({why})." if why else ".")
        parts += [tag("p", line, class_="note"), tag("div", *drawn, class_="bars")]
    return section(
        "Actions: chosen and executed",
        *parts,
        lead="Outlined: what the policy chose. Solid: what was executed, after masks, limits and closed markets. "
        "Bars show trading actions; HOLD would dwarf them.",
        id_="actions",
    )


def _action(name: str, told: dict[str, Any], most: float) -> list[Markup]:
    chosen, executed = told["chosen"][name], told["executed"][name]
    data = {"data_action": name, "data_chosen": repr(chosen), "data_executed": repr(executed)}
    bars = [bar([(chosen, "policy")], most, "chosen"), bar([(executed, "policy")], most)]
    return [
        tag("span", name),
        tag("span", *bars, class_="pair"),
        tag("span", typeset(f"{percent(chosen, 2)} \u2192 {percent(executed, 2)}"), class_="value", **data),
    ]


def orders(summary: Summary) -> Markup | None:
    """Return what became of the orders."""
    rows = [one for one in ranked(summary) if one["orders"]["requested"]]
    if not rows:
        return None
    kinds = ("requested", "filled", "partial", "rejected")

    rest = rest_of(summary)
    head = [th("Strategy"), *(th(kind.capitalize()) for kind in kinds), th("Why not whole", class_="text")]
    body = [
        tag(
            "tr",
            tag("th", one["name"], scope="row"),
            *(
                number_cell(
                    one["orders"][kind], lambda v: number(v, 0), f"orders.{kind}", one["name"], kind.capitalize()
                )
                for kind in kinds
            ),
            _why(one["orders"]["reasons"]),
            class_=on_call(None, one["name"] in rest),
        )
        for one in rows
    ]
    return section("Orders", with_all(summary, "orders", table(head, body, class_="cards", id_="orders")))


def _why(reasons: dict[str, int]) -> Markup:
    words = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in reasons.items())
    return tag("td", words or DASH, class_=wrap(words), data_label="Why not whole")
