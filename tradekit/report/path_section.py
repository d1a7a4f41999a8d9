"""The section that only a cross-validation has: every strategy over all paths, in a table and drawn."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tradekit.report.axes import time_ticks
from tradekit.report.cells import Summary, number_cell, on_call, rest_of, th, with_all
from tradekit.report.evidence import REFERENCE
from tradekit.report.figures import Line, choice, dots, key, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, join, section, table, tag
from tradekit.report.order import few, ranked
from tradekit.report.words import number, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.market.panel import Floats, Times
    from tradekit.report.record import Record

DRAWN, POINTS = 3, 160
_signed = partial(percent, sign=True)
_share = partial(percent, digits=0)
COLUMNS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("sharpe_lowest", "Lowest Sharpe", number),
    ("sharpe_median", "Median Sharpe", number),
    ("sharpe_highest", "Highest Sharpe", number),
    ("total_return_lowest", "Lowest return", _signed),
    ("total_return_median", "Median return", _signed),
    ("total_return_highest", "Highest return", _signed),
    ("max_drawdown_median", "Median drawdown", percent),
    ("max_drawdown_highest", "Deepest drawdown", percent),
    ("ahead_by_sharpe", "Sharpe above holding", _share),
    ("ahead_by_return", "Return above holding", _share),
)


def paths(summary: Summary, record: Record, styles: dict[str, str]) -> Markup | None:
    """Return the table of all paths with the Sharpe ratio of each drawn, and the equity of those that count most."""
    rows = [one for one in ranked(summary) if one.get("paths")]
    if not rows:
        return None
    cut, rest = summary["cross_validation"], rest_of(summary)
    ratios = [row["sharpe"] for one in rows for row in one["paths"]["each"] if row["sharpe"] is not None]
    bounds = (min([0.0, *ratios]) - 0.05, max([0.0, *ratios]) + 0.05)
    head = [th("Strategy"), *(th(heading) for _, heading, _ in COLUMNS), th("Sharpe of each path")]
    body = [_row(one, bounds, styles, one["name"] in rest) for one in rows]
    lead = (
        f"{cut['groups']} groups of bars, {cut['held_out']} held out at a time: {cut['splits']} splits, whose held-out "
        f"pieces make {cut['paths']} paths of all bars. Everywhere else on this page a strategy is shown on the path "
        "with its median final equity. Paths share their bars, so they say how much hangs on what was learnt from, and "
        "not how much on the luck of these bars; strategies learnt from later bars too, which nobody could have."
    )
    return section(
        "Every path",
        with_all(summary, "paths", table(head, body, class_="cards", id_="paths")),
        _lost(rows),
        _fans(summary, record, styles),
        lead=lead,
        id_="every-path",
    )


def _row(one: dict[str, Any], bounds: tuple[float, float], styles: dict[str, str], rest: bool) -> Markup:
    told, name, style = one["paths"], one["name"], styles[one["name"]]
    note = None if told["learns"] else tag("small", "learns nothing: the same on every path")
    cells = [number_cell(told[metric], show, f"paths.{metric}", name, label) for metric, label, show in COLUMNS]
    drawn = dots([row["sharpe"] for row in told["each"]], bounds, style)
    row = on_call("policy" if style == "policy" else None, rest)
    return tag(
        "tr", tag("th", key(style), name, note, scope="row"), *cells, tag("td", drawn, class_="figure"), class_=row
    )


def _lost(rows: Sequence[dict[str, Any]]) -> Markup | None:
    """Say which strategies failed in a split, and what became of it."""
    said = []
    for one in rows:
        lost = one["paths"]["lost"]
        if lost:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            where = f"{one['name']} failed in split {lost[0]['split']}{more}: {lost[0]['failure']}"
            said.append(f"{where}; it held cash in what was held out there.")
    return tag("p", " ".join(said), class_="note") if said else None


def _fans(summary: Summary, record: Record, styles: dict[str, str]) -> Markup | None:
    """Return the equity of every path of the first few strategies that learn, beside that of holding."""
    equity = {one.strategy: one.equity for one in record.paths}
    learns = {one["name"] for one in summary["strategies"] if one.get("paths") and one["paths"]["learns"]}
    names = [name for name in [*few(summary), *(one["name"] for one in ranked(summary))] if name in learns]
    shown = list(dict.fromkeys(names))[:DRAWN]
    if not shown:
        return None
    some = record.base[shown[0]]
    times, first = some.timestamps[some.scored_from - 1 :], some.scored_from - 1
    panes = [(name, _fan(name, equity, styles, times, first)) for name in shown]
    return join(tag("h3", "Equity on every path"), tag("div", choice("fans", panes), class_="figure"))


def _fan(name: str, equity: dict[str, Floats], styles: dict[str, str], times: Times, first: int) -> Markup:
    rows = thin(len(times), POINTS)
    lines = [Line(f"{name} {k}", styles[name], _growth(path[first:])[rows]) for k, path in enumerate(equity[name], 1)]
    if REFERENCE in equity and name != REFERENCE:
        lines.append(Line(REFERENCE, "hold", _growth(equity[REFERENCE][0][first:])[rows]))
    named = [Line(name, styles[name], lines[0].values), *(line for line in lines if line.name == REFERENCE)]
    drawn = line_plot(lines, value_range(lines), time_ticks(times), base=1.0, ends=False)
    return join(drawn, legend(named, always=True))


def _growth(equity: Floats) -> Floats:
    grown: Floats = equity / equity[0]
    return grown
