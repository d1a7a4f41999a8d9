"""The sections that only a stress run has: the heat map of scenarios, and the costs at which an edge dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradekit.report.cells import facts_list, heat, named, on_call, rest_of, robust_most, share_of, th, with_all
from tradekit.report.columns import STRESS
from tradekit.report.figures import bar, choice
from tradekit.report.markup import Markup, join, section, table, tag, typeset
from tradekit.report.text import break_even_text
from tradekit.report.words import DASH

if TYPE_CHECKING:
    from tradekit.report.columns import Column

Summary = dict[str, Any]
FAR = 10.0  # a break-even bar is full at this multiple of the costs


def heat_map(summary: Summary, styles: dict[str, str]) -> Markup:
    """Return every strategy in every scenario: Sharpe ratio, return and drawdown, one at a time."""
    panes = [(column.heading, _grid(summary, styles, column)) for column in STRESS]
    return section(
        "Under stress",
        with_all(summary, "stress", choice("stress", panes)),
        tag(
            "details",
            tag("summary", "What each scenario does"),
            facts_list({one["name"]: _meaning(one) for one in summary["scenarios"]}),
        ),
        lead="Blue gains, orange loses. Under each figure stands its interval of 95 %. Of a scenario with several "
        "drawn worlds the one with the median result is shown, and under it the range of 95 % of them. Replays "
        "fit each strategy on the bars before them and score it through the crisis; the others keep what was learnt.",
        id_="stress",
    )


def _grid(summary: Summary, styles: dict[str, str], column: Column) -> Markup:
    ran = [s for s in summary["scenarios"] if any(cell["metrics"] for cell in s["cells"])]
    most = robust_most(cell["metrics"][column.metric] for s in ran for cell in s["cells"] if cell["metrics"])
    first = summary["verdict"]["candidate"]
    names = sorted((one["name"] for one in summary["strategies"]), key=lambda name: name != first)
    rest = rest_of(summary)
    head = [th("Scenario"), *(named(name, summary, rest) for name in names)]
    body = []
    for scenario in ran:
        name = tag("th", scenario["name"], scope="row", title=_meaning(scenario))
        cells = sorted(scenario["cells"], key=lambda cell: cell["strategy"] != first)
        shown = [_cell(cell, column, most, cell["strategy"] in rest) for cell in cells]
        body.append(tag("tr", name, *shown, data_scenario=scenario["name"]))
    return table(head, body, class_="heat", id_=f"stress-{column.metric}", data_metric=column.metric)


def _cell(cell: dict[str, Any], column: Column, most: float, rest: bool) -> Markup:
    """Return a cell; its column says the strategy, its row the scenario and its table the metric."""
    metrics = cell["metrics"]
    if metrics is None:
        return tag("td", "skipped", class_=on_call("none", rest), title=cell["skipped"])
    value = metrics[column.metric]
    share = share_of(value, most) * (-1.0 if column.metric == "max_drawdown" else 1.0)
    below = _range(cell, column)
    shown = join(typeset(column.show(metrics)), below and join(" ", tag("small", typeset(below))))
    return heat(value, share, shown, rest=rest)


def _range(cell: dict[str, Any], column: Column) -> str | None:
    """Return what stands under a figure: its range over drawn worlds, or its interval."""
    metric = column.metric
    ends = [f"{metric}_low", f"{metric}_high"] if cell["draws"] is None else ["low", "high"]
    bounds = cell["metrics"] if cell["draws"] is None else cell["draws"][metric]
    low, high = (column.show({metric: bounds[end]}) for end in ends)
    if DASH in (low, high):
        return None
    return f"{low} to {high}" if cell["draws"] is not None else f"[{low}, {high}]"


def _meaning(scenario: dict[str, Any]) -> str:
    """Return what a scenario does, and the dates of one that replays a crisis."""
    meaning = str(scenario["description"])
    return f"{meaning}, {scenario['start']} to {scenario['end']}" if scenario["kind"] == "replay" else meaning


def break_even(summary: Summary, styles: dict[str, str]) -> Markup | None:
    """Return, per strategy, the multiple of all costs at which its edge over cash and over buy and hold dies."""
    rows = [one for one in summary["strategies"] if one["break_even"]]
    if not rows:
        return None
    rest = rest_of(summary)
    head = [th("Strategy"), th("Over cash"), th("", class_="text"), th("Over buy_and_hold"), th("", class_="text")]
    body = []
    for one in rows:
        cells: list[Markup] = []
        for key, label in (("over_cash", "Over cash"), ("over_buy_and_hold", "Over buy_and_hold")):
            shown = break_even_text(summary, one, key)
            multiple = one["break_even"][key]
            length = FAR if multiple is None and shown[0] == "b" else min(FAR, multiple or 0.0)
            drawn = bar([(length, styles[one["name"]])], FAR, "gauge")
            cells += [
                tag(
                    "td",
                    shown,
                    class_="wide",
                    data_label=label,
                    data_strategy=one["name"],
                    data_metric=f"break_even.{key}",
                    data_value=None if multiple is None else repr(multiple),
                ),
                tag("td", drawn, class_="text figure"),
            ]
        row = "policy" if styles[one["name"]] == "policy" else None
        body.append(tag("tr", tag("th", one["name"], scope="row"), *cells, class_=on_call(row, one["name"] in rest)))
    lead = f"How many times the assumed costs an edge survives; a full bar is {FAR:g} times or more."
    return section(
        "Break-even costs", with_all(summary, "even", table(head, body, id_="break-even", class_="cards")), lead=lead
    )
