"""The page of a paper session: did it do what the backtest of its bars does, and what did its orders really cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.market.costs import TERMS
from tradekit.report.axes import time_ticks
from tradekit.report.cells import facts_list, number_cell, th
from tradekit.report.figures import Line, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, join, page, section, table, tag, typeset
from tradekit.report.summary import plain
from tradekit.report.words import DASH, dollars, number, percent, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Report = dict[str, Any]
MOST_ROWS = 400
COUNTS = ("bars", "decisions", "intents", "orders", "fills")


def session_html(report: Report) -> str:
    """Return the page of a shadow report, in the style of a run's page.

    Args:
        report: ``session``, ``mode``, ``strategy``, ``source``, ``frequency``, ``state``, ``halted``, counts of
            ``bars``, ``decisions``, ``intents``, ``orders`` and ``fills``; ``decision_parity`` in [0, 1],
            ``mismatches``, ``equity_difference``, ``duplicate_orders`` and ``unresolved_orders``, None while the
            session runs; ``cash_difference``, ``model_cost``, ``fill_cost`` in dollars; ``timestamps``, ``equity`` and
            ``broker_equity`` per bar; ``per_order`` rows with the model's price and cost beside the broker's.
    """
    lines = _lines(report)
    body = join(
        _masthead(report),
        _verdict(report),
        _equity(report, lines) if lines else None,
        _parity(report),
        _costs(report),
        _orders(report),
        tag("footer", f"Made by tradekit from the journal of session {report['session']}"),
    )
    return page(f"Paper session {report['session']}", body, _data(report, lines))


def findings(report: Report) -> tuple[str, str, list[str]]:
    """Return outcome, headline and what is wrong: ``ahead`` for a clean session, ``behind`` for another.

    ``no_candidate`` while the session has not been judged yet.
    """
    wrong = []
    if report["halted"]:
        wrong.append(f"It halted: {report['halted']}.")
    if report["decision_parity"] not in (None, 1.0):
        wrong.append(f"{percent(1.0 - report['decision_parity'], 2)} of its decisions differ from the backtest's.")
    for key, word in (("duplicate_orders", "duplicate"), ("unresolved_orders", "unresolved")):
        if report[key]:
            wrong.append(f"{report[key]} {word} orders.")
    if wrong:
        return "behind", "Not clean", wrong
    if report["decision_parity"] is None:
        return "no_candidate", "Not judged yet", []
    return "ahead", "Clean", []


def _masthead(report: Report) -> Markup:
    span = f"{report['bars']} bars, {_first(report)} to {report.get('last') or DASH}"
    return tag(
        "div",
        tag("strong", f"Paper session {report['session']}"),
        tag("span", f"{report['mode']}, {report['state']}"),
        tag("span", f"{report['strategy']} on {report['source']}, {report['frequency']} bars"),
        tag("span", span),
        class_="masthead",
    )


def _first(report: Report) -> str:
    return str(report["timestamps"][0] if report["timestamps"] else report.get("first") or DASH)


def _verdict(report: Report) -> Markup:
    outcome, headline, wrong = findings(report)
    said = {
        "ahead": f"Every decision of {report['strategy']} equals the backtest of the same bars.",
        "no_candidate": f"{report['strategy']} is {report['state']}; it is judged when the session ends.",
    }.get(outcome, " ".join(wrong))
    return tag(
        "header",
        tag("span", headline, class_=f"pill {outcome}"),
        tag("h1", typeset(said)),
        _tiles(report),
        class_="verdict",
        data_outcome=outcome,
    )


def _tiles(report: Report) -> Markup:
    parity, gap = report["decision_parity"], report["equity_difference"]
    off = DASH if gap is None else f"{gap:.1e}" if gap else "equal"
    tiles = [
        ("Decision parity", "decision_parity", percent(parity, 2), f"of {report['decisions']:,} decisions"),
        ("Equity against the backtest", "equity_difference", off, "largest, relative"),
        ("Orders and fills", "fills", f"{report['orders']:,} / {report['fills']:,}", _trouble(report)),
        ("Cash against the broker", "cash_difference", _cents(report["cash_difference"]), "broker less model"),
        ("Cost of the fills", "fill_cost", _cents(report["fill_cost"]), f"model {_cents(report['model_cost'])}"),
    ]
    return tag(
        "dl",
        *(
            tag(
                "div",
                tag("dt", heading),
                tag("dd", typeset(shown), tag("small", typeset(small)), data_tile=key, data_value=_exact(report[key])),
                class_="tile",
            )
            for heading, key, shown, small in tiles
        ),
        class_="tiles",
    )


def _trouble(report: Report) -> str:
    if report["duplicate_orders"] is None:
        return "not judged yet"
    return f"{report['duplicate_orders']} duplicate, {report['unresolved_orders']} unresolved"


def _lines(report: Report) -> list[Line]:
    """Return the broker's and the shadow's equity over the bars; none when there is nothing to draw."""
    if len(report["equity"]) < 2:
        return []
    rows = thin(len(report["equity"]))
    lines = [Line("shadow on the backtest's model", "policy", _floats(report["equity"])[rows])]
    if any(value is not None for value in report["broker_equity"]):
        lines.append(Line("broker", "hold", _floats(report["broker_equity"])[rows]))
    return lines


def _equity(report: Report, lines: list[Line]) -> Markup:
    ticks = time_ticks(_times(report))
    plot = line_plot(lines, value_range(lines), ticks, ends=False)
    figure = tag(
        "div", plot, legend(lines, always=True), tag("div", class_="tip"), class_="figure plain", data_set="equity"
    )
    return section("Equity", figure, lead="Dollars at each close.", id_="equity")


def _parity(report: Report) -> Markup | None:
    if not report["mismatches"]:
        return None
    head = [th("Bar"), th("Symbol"), th("Session"), th("Backtest"), th("Reason", class_="text")]
    body = [
        tag(
            "tr",
            tag("th", one["bar"], scope="row"),
            tag("td", one["symbol"], data_label="Symbol"),
            tag("td", number(one["session"], 6), data_label="Session"),
            tag("td", number(one["backtest"], 6), data_label="Backtest"),
            tag("td", one["reason"], class_="wrap", data_label="Reason"),
        )
        for one in report["mismatches"]
    ]
    lead = "Shares that the session asked for beside those of the backtest; the first differences."
    return section("Where it parted from the backtest", table(head, body, class_="cards"), lead=lead)


def _costs(report: Report) -> Markup:
    rows = report["per_order"]
    terms = {term: sum(row["model_costs"].get(term, 0.0) for row in rows) for term in TERMS}
    facts = {f"Model: {term}": _cents(value) for term, value in terms.items() if value}
    facts |= {
        "Model, together": _cents(report["model_cost"]),
        "Fills, together": _cents(report["fill_cost"]),
        "Fills less the model": _cents(report["fill_cost"] - report["model_cost"]),
        **{name.capitalize(): f"{report[name]:,}" for name in COUNTS},
    }
    lead = "Cost is against the trader when positive: how far the price was worse than the reference, and commission."
    return section("Cost by the model and by the fills", facts_list(facts), lead=lead, id_="costs")


def _orders(report: Report) -> Markup | None:
    rows = report["per_order"]
    if not rows:
        return None
    shown = sorted(rows, key=lambda row: -abs(row["difference"] or 0.0))[:MOST_ROWS]
    shown.sort(key=lambda row: (row["filled"], row["symbol"]))
    cut = f" The {MOST_ROWS} orders that differ most, of {len(rows):,}." if len(rows) > MOST_ROWS else ""
    columns: list[tuple[str, str, Callable[[float | None], str]]] = [
        ("Ordered", "ordered", _shares),
        ("Filled", "broker_quantity", _shares),
        ("Model filled", "model_quantity", _shares),
        ("Reference", "reference", _price),
        ("Price", "broker_price", _price),
        ("Model price", "model_price", _price),
        ("Cost", "fill_cost", _cents),
        ("Model cost", "model_cost", _cents),
        ("Difference", "difference", _cents),
    ]
    head = [
        th("Bar"),
        th("Symbol", class_="text"),
        th("Status", class_="text"),
        *(th(heading) for heading, _, _ in columns),
    ]
    body = [
        tag(
            "tr",
            tag("th", row["filled"], scope="row"),
            tag("td", row["symbol"], class_="text", data_label="Symbol"),
            tag("td", _status(row), class_="text", data_label="Status"),
            *(number_cell(row[key], show, f"order.{key}", row["symbol"], heading) for heading, key, show in columns),
            data_order=row["client_order_id"],
        )
        for row in shown
    ]
    return section("Order by order", table(head, body, class_="cards", id_="orders"), lead=f"Dollars and shares.{cut}")


def _status(row: Report) -> str:
    plain_fill = row["reason"] in ("", "filled", None)
    return str(row["status"]) if plain_fill else f"{row['status']}, {row['reason'].replace('_', ' ')}"


def _data(report: Report, lines: list[Line]) -> str:
    """Return the values that the pointer shows, as JSON."""
    if not lines:
        return "{}"
    times = _times(report)
    labels = [stamp(times[row], report["frequency"]) for row in thin(len(times))]
    drawn = [{"name": one.name, "style": one.style, "values": one.values.round(2).tolist()} for one in lines]
    sets = {"equity": {"times": labels, "digits": 2, "percent": False, "lines": drawn}}
    return json.dumps(plain(sets), separators=(",", ":"), sort_keys=True)


def _times(report: Report) -> Any:
    return np.array([str(moment).removesuffix("Z").removesuffix("+00:00") for moment in report["timestamps"]], "M8[ns]")


def _floats(values: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _shares(value: float | None) -> str:
    return DASH if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _price(value: float | None) -> str:
    return number(value, 3)


def _cents(value: float | None) -> str:
    if value is None:
        return DASH
    cents = round(value, 2)
    return f"{'-' if cents < 0.0 else ''}${abs(cents):,.2f}" if abs(cents) < 1e6 else dollars(cents)


def _exact(value: float | None) -> str | None:
    return None if value is None else repr(value)
