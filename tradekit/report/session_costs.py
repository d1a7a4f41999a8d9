"""What the orders of a paper session cost: by the model and by the fills, the shortfall, and whether costs drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.market.costs import TERMS
from tradekit.report.axes import time_ticks
from tradekit.report.cells import facts_list, number_cell, th
from tradekit.report.figures import Line, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, section, table, tag
from tradekit.report.words import DASH, dollars, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Times

Report = dict[str, Any]
LEAST_DRAWN = 2
COUNTS = ("bars", "decisions", "intents", "orders", "fills")
PARTS = {
    **{term: f"{term.capitalize()}, by the model" for term in TERMS},
    "beyond_model": "Price beyond the model",
    "delay": "Delay",
    "missed": "Missed fills",
    "unexplained": "Unexplained",
    "total": "Together",
}


def costs_section(report: Report) -> Markup:
    """Return what the orders cost by the model and by the fills."""
    rows = report["per_order"]
    terms = {term: sum(row["model_costs"].get(term, 0.0) for row in rows) for term in TERMS}
    facts = {f"Model: {term}": cents(value) for term, value in terms.items() if value}
    facts |= {
        "Model, together": cents(report["model_cost"]),
        "Fills, together": cents(report["fill_cost"]),
        "Fills less the model": cents(report["fill_cost"] - report["model_cost"]),
        **{name.capitalize(): f"{report[name]:,}" for name in COUNTS},
    }
    lead = "Cost is against the trader when positive: how far the price was worse than the reference, and commission."
    return section("Cost by the model and by the fills", facts_list(facts), lead=lead, id_="costs")


def shortfall_section(report: Report) -> Markup | None:
    """Return where the money went that a portfolio free of costs would have kept."""
    parts = report["shortfall"]
    if parts is None:
        return None
    body = [
        tag(
            "tr",
            tag("th", heading, scope="row"),
            number_cell(parts[name], cents, f"shortfall.{name}", report["strategy"], "Dollars"),
            tag("td", _in_bps(parts[name], parts["traded"]), data_label="Basis points"),
        )
        for name, heading in PARTS.items()
        if parts[name] or name not in TERMS
    ]
    lead = (
        "What the account is short of a portfolio that trades the model's shares at reference prices, free of costs "
        "(Perold 1988). Delay: shares bought or sold later than the model did. Missed: never. Basis points are of the "
        f"{cents(parts['traded'])} traded."
    )
    head = [th("Part"), th("Dollars"), th("Basis points")]
    return section("Implementation shortfall", table(head, body), lead=lead, id_="shortfall")


def _in_bps(dollars_: float, traded: float) -> str:
    return number(1e4 * dollars_ / traded, 2) if traded else DASH


def drift_section(report: Report) -> Markup:
    """Return whether fills still cost what the model says."""
    drift = report["drift"]
    lead = (
        f"Cost of the fills less the model's, bar by bar. The band holds the true mean at all times together with a "
        f"probability of {percent(drift['level'], 0)} (Waudby-Smith et al. 2024): zero outside it is an alarm."
    )
    lines = drift_lines(drift)
    facts = {
        "Mean difference": _bps(drift["mean_bps"]),
        "Band": DASH if drift["mean_bps"] is None else f"{_bps(drift['low_bps'])} to {_bps(drift['high_bps'])}",
        "Bars with fills": f"{drift['bars']:,}",
    }
    figure = _drift_figure(drift, lines) if lines else None
    return section("Drift of the costs", tag("p", drift_line(drift)), figure, facts_list(facts), lead=lead, id_="drift")


def drift_lines(drift: Report) -> list[Line]:
    """Return the mean difference after each bar and both ends of its band; none when there is nothing to draw."""
    course = drift["course"]
    if course is None or len(course["bars"]) < LEAST_DRAWN:
        return []
    rows, named = thin(len(course["bars"])), {"low_bps": "lower end", "high_bps": "upper end", "mean_bps": "mean"}
    return [
        Line(name, "policy" if key == "mean_bps" else "benchmark", np.array(course[key])[rows])
        for key, name in named.items()
    ]


def _drift_figure(drift: Report, lines: list[Line]) -> Markup:
    bars = drift["course"]["bars"]
    scale = value_range([*lines, Line("", "", np.zeros(1))])
    alarm = [] if drift["alarm"] is None else [bars.index(drift["alarm"]) / (len(bars) - 1)]
    plot = line_plot(lines, scale, time_ticks(moments(bars)), base=0.0, marks=alarm, low=True, ends=False)
    said = tag("p", "Basis points; the alarm is marked." if alarm else "Basis points.", class_="note")
    names = legend(lines, always=True)
    return tag("div", plot, names, said, tag("div", class_="tip"), class_="figure plain", data_set="drift")


def moments(stamps: Sequence[str]) -> Times:
    """Return (T,) datetime64[ns] of bars as a report names them."""
    return np.array([stamp.removesuffix("Z").removesuffix("+00:00") for stamp in stamps], "M8[ns]")


def drift_line(drift: Report) -> str:
    """Say in one line whether fills cost what the model says.

    Args:
        drift: ``bars`` with fills, ``least_bars``, ``alarm``, ``mean_bps``, ``low_bps`` and ``high_bps``.
    """
    if drift["mean_bps"] is None:
        return f"{drift['bars']} bars with fills, too few to tell whether they cost what the model says"
    mean, low, high = (f"{drift[key]:+z.3f}" for key in ("mean_bps", "low_bps", "high_bps"))
    band = f"{low} to {high} bp"
    if drift["alarm"] is None:
        return f"fills cost what the model says, {mean} bp beside it, band {band}"
    return (
        f"ALARM since {drift['alarm']}: fills cost {mean} bp beside the model, band {band}; "
        "tradekit paper calibrate fits the model to them"
    )


def _bps(value: float | None) -> str:
    return DASH if value is None else f"{number(value, 3, sign=True)} bp"


def cents(value: float | None) -> str:
    """Return dollars and cents."""
    if value is None:
        return DASH
    cents = round(value, 2)
    return f"{'-' if cents < 0.0 else ''}${abs(cents):,.2f}" if abs(cents) < 1e6 else dollars(cents)
