"""The page of a paper session: did it do what the backtest of its bars does, and what did its orders really cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.report.axes import time_ticks
from tradekit.report.cells import number_cell, th
from tradekit.report.figures import Line, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, join, page, section, table, tag, typeset
from tradekit.report.session_costs import (
    cents,
    costs_section,
    drift_lines,
    drift_section,
    moments,
    shortfall_section,
)
from tradekit.report.summary import plain
from tradekit.report.words import DASH, number, percent, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Report = dict[str, Any]
MOST_ROWS = 400


def session_html(report: Report) -> str:
    """Return the page of a shadow report, in the style of a run's page.

    Args:
        report: ``session``, ``mode``, ``strategy``, ``source``, ``frequency``, ``state``, ``halted``, counts of
            ``bars``, ``decisions``, ``intents``, ``orders`` and ``fills``; ``decision_parity`` in [0, 1],
            ``mismatches``, ``equity_difference``, ``duplicate_orders`` and ``unresolved_orders``, None while the
            session runs; ``cash_difference``, ``model_cost``, ``fill_cost`` in dollars; ``timestamps``, ``equity`` and
            ``broker_equity`` per bar; ``per_order`` rows with the model's price and cost beside the broker's;
            ``shortfall`` with its parts in dollars, None without a broker; ``drift`` with the mean difference of a
            bar's fills from the model, its band, the ``course`` of both, and the bar of the ``alarm``.
    """
    lines = _lines(report)
    body = join(
        _masthead(report),
        _verdict(report),
        _equity(report, lines) if lines else None,
        _parity(report),
        costs_section(report),
        shortfall_section(report),
        drift_section(report),
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
        ("Equity against the backtest", "equity_difference", off, "largest relative difference"),
        ("Orders and fills", "fills", f"{report['orders']:,} / {report['fills']:,}", _trouble(report)),
        ("Cash against the broker", "cash_difference", cents(report["cash_difference"]), "broker less model"),
        ("Cost of the fills", "fill_cost", cents(report["fill_cost"]), f"model {cents(report['model_cost'])}"),
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
    ticks = time_ticks(moments(report["timestamps"]))
    plot = line_plot(lines, value_range(lines), ticks, ends=False)
    figure = tag(
        "div", plot, legend(lines, always=True), tag("div", class_="tip"), class_="figure plain", data_set="equity"
    )
    return section("Equity", figure, lead="Dollars at each close.", id_="equity")


def _parity(report: Report) -> Markup | None:
    if not report["mismatches"]:
        return None
    words = [th("Feature", class_="text"), th("Reason", class_="text")]
    head = [th("Bar"), th("Symbol"), th("Session"), th("Backtest"), *words]
    body = [
        tag(
            "tr",
            tag("th", one["bar"], scope="row"),
            tag("td", one["symbol"], data_label="Symbol"),
            tag("td", number(one["session"], 6), data_label="Session"),
            tag("td", number(one["backtest"], 6), data_label="Backtest"),
            tag("td", one["feature"] or DASH, class_="text", data_label="Feature"),
            tag("td", one["reason"], class_="wrap", data_label="Reason"),
        )
        for one in report["mismatches"]
    ]
    lead = "Shares asked for by the session and by the backtest, the first differences, and what was not the same."
    return section("Where it parted from the backtest", table(head, body, class_="cards"), lead=lead)


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
        ("Cost", "fill_cost", cents),
        ("Model cost", "model_cost", cents),
        ("Difference", "difference", cents),
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
    sets = {}
    if lines:
        sets["equity"] = _set(lines, report["timestamps"], report["frequency"], 2)
    if drawn := drift_lines(report["drift"]):
        sets["drift"] = _set(drawn, report["drift"]["course"]["bars"], report["frequency"], 3)
    return json.dumps(plain(sets), separators=(",", ":"), sort_keys=True)


def _set(lines: list[Line], bars: Sequence[str], frequency: str, digits: int) -> Report:
    times = moments(bars)
    labels = [stamp(times[row], frequency) for row in thin(len(times))]
    drawn = [{"name": one.name, "style": one.style, "values": one.values.round(digits).tolist()} for one in lines]
    return {"times": labels, "digits": digits, "percent": False, "lines": drawn}


def _floats(values: Sequence[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _shares(value: float | None) -> str:
    return DASH if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


def _price(value: float | None) -> str:
    return number(value, 3)


def _exact(value: float | None) -> str | None:
    return None if value is None else repr(value)
