"""The section that says how far the figures can be believed: trials, overfitting, superiority, intervals, pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.report.cells import Summary, facts_list, number_cell, on_call, rest_of, th, with_all
from tradekit.report.evidence import CEILING
from tradekit.report.figures import forest, key
from tradekit.report.markup import Markup, section, table, tag, typeset
from tradekit.report.order import ranked
from tradekit.report.words import DASH, number, percent, picked_text, trials_text

if TYPE_CHECKING:
    from collections.abc import Callable


class _Estimate(NamedTuple):
    """A metric that stands in the table with its bounds, or alone where ``bounds`` is empty."""

    metric: str
    heading: str
    show: Callable[[float | None], str]
    bounds: str = ""
    meaning: str = ""


def _signed(value: float | None) -> str:
    return percent(value, sign=True)


ESTIMATES = (
    _Estimate("sharpe", "Sharpe", number, "sharpe_bootstrap"),
    _Estimate("cagr", "CAGR", _signed, "cagr"),
    _Estimate("excess_over_benchmark", "Excess", _signed, "excess_over_benchmark"),
    _Estimate("max_drawdown", "Max drawdown", percent, "max_drawdown"),
    _Estimate("probabilistic_sharpe", "P(Sharpe > 0)", percent, meaning="of this strategy alone"),
    _Estimate("deflated_sharpe", "Deflated", percent, meaning="allowing for every trial"),
    _Estimate("deflated_sharpe_clustered", "Deflated, in groups", percent, meaning="trials that move together as one"),
    _Estimate("deflated_difference", "Deflated, over holding", percent, meaning="of the difference from holding"),
)


def evidence(summary: Summary, styles: dict[str, str]) -> Markup | None:
    """Return trials, overfitting and superiority in words, then intervals by strategy, then the pairs."""
    rows = [one for one in ranked(summary) if one["kind"] != CEILING]
    if not rows:
        return None
    head = [th("Strategy"), *(th(one.heading, title=one.meaning or None) for one in ESTIMATES)]
    rest = rest_of(summary)
    body = [_row(one, styles, one["name"] in rest) for one in rows]
    return section(
        "How far this can be believed",
        facts_list(_facts(summary)),
        tag("h3", "Estimates with bounds of 95 %"),
        with_all(summary, "evidence", table(head, body, class_="cards", id_="evidence")),
        *_pairs(summary, styles),
        lead="Bounds come from stationary bootstrap resamples of the bars, all strategies together; verdict and table "
        "above take theirs from a formula (docs/metrics.md), so these are a second opinion. Probabilities are "
        "those that the true Sharpe ratio is above zero, above the best of as many trials without skill, and above "
        "that of holding.",
        id_="belief",
    )


def _facts(summary: Summary) -> dict[str, str]:
    trials, pbo, spa, drawn = (summary[name] for name in ("trials", "pbo", "spa", "bootstrap"))
    facts = {"Trials": f"{trials_text(trials)}, counted by the {trials['source']}"}
    if pbo and pbo["probability"] is not None:
        facts["Overfitting"] = (
            f"{percent(pbo['probability'], 0)}: probability that the best of {picked_text(pbo)} in one "
            f"half of {pbo['blocks']} blocks of the bars is below the median in the other (PBO)"
        )
    if spa:
        ahead = ", ".join(spa["superior"]) or "none"
        facts["Superiority"] = (
            f"p = {number(spa['p_consistent'], 3)} (between {number(spa['p_lower'], 3)} and "
            f"{number(spa['p_upper'], 3)}) against {spa['benchmark']} (SPA); ahead by step-M: {ahead}"
        )
    if drawn:
        facts["Resamples"] = f"{drawn['draws']:,}, blocks of {number(drawn['block'], 1)} bars on average"
    return facts


def _row(one: dict[str, Any], styles: dict[str, str], rest: bool) -> Markup:
    style = styles[one["name"]]
    name = tag("th", key(style), one["name"], scope="row")
    row = on_call("policy" if style == "policy" else None, rest)
    return tag("tr", name, *(_estimate(one, each) for each in ESTIMATES), class_=row)


def _estimate(one: dict[str, Any], of: _Estimate) -> Markup:
    metrics = one["metrics"]
    low, high = (metrics.get(f"{of.bounds}_{end}") for end in ("low", "high")) if of.bounds else (None, None)
    shown = typeset(of.show(metrics.get(of.metric)))
    below = None if low is None or high is None else tag("small", typeset(f"{of.show(low)} to {of.show(high)}"))
    value = metrics.get(of.metric)
    return tag(
        "td",
        tag("span", shown, below),
        data_label=of.heading,
        data_strategy=one["name"],
        data_metric=of.metric,
        data_value=None if value is None else repr(value),
    )


def _pairs(summary: Summary, styles: dict[str, str]) -> list[Markup]:
    """Return the candidate's difference in Sharpe ratio from every baseline, on the same resamples."""
    mine = [one for one in summary["paired"] if one["strategy"] == summary["verdict"]["candidate"]]
    known = [one for one in mine if one["low"] is not None]
    if not mine:
        return []
    bounds = (min([0.0, *(one["low"] for one in known)]) - 0.05, max([0.0, *(one["high"] for one in known)]) + 0.05)
    head = [th(f"{mine[0]['strategy']} less"), th("Difference"), th("Low"), th("High"), th("p"), th("")]
    rest = rest_of(summary)
    rows = sorted(mine, key=lambda one: one["difference"] or 0.0)
    body = [_pair(one, bounds, styles, one["baseline"] in rest) for one in rows]
    return [
        tag("h3", "Difference in Sharpe ratio from each baseline, bar by bar"),
        with_all(summary, "paired", table(head, body, class_="cards", id_="paired")),
    ]


def _pair(one: dict[str, Any], bounds: tuple[float, float], styles: dict[str, str], rest: bool) -> Markup:
    figure: str = DASH
    if one["low"] is not None and one["difference"] is not None:
        figure = forest(one["difference"], one["low"], one["high"], bounds, "policy")
    shown = (("difference", "Difference", 2), ("low", "Low", 2), ("high", "High", 2), ("p", "p", 3))
    cells = [
        number_cell(one[name], partial(number, digits=digits), f"paired.{name}", one["baseline"], label)
        for name, label, digits in shown
    ]
    name = tag("th", key(styles[one["baseline"]]), one["baseline"], scope="row")
    return tag("tr", name, *cells, tag("td", figure, class_="figure"), class_=on_call(None, rest))
