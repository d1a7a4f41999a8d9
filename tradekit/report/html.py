"""report.html: one page that a trader can send to a colleague. The verdict first, then why."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from tradekit.report import history, run_sections, sections
from tradekit.report.equity import curve_data, curves_of, equity_section
from tradekit.report.evidence import REFERENCE
from tradekit.report.evidence_section import evidence
from tradekit.report.markup import Markup, join, page, tag, typeset
from tradekit.report.order import few
from tradekit.report.path_section import paths
from tradekit.report.stress_sections import break_even, heat_map
from tradekit.report.text import title
from tradekit.report.words import number, percent

if TYPE_CHECKING:
    from tradekit.report.record import Record

Summary = dict[str, Any]


def report_html(summary: Summary, record: Record) -> str:
    """Return the page of a run: a function of its summary and record alone."""
    styles = styles_of(summary)
    curves = curves_of(summary, record, styles)
    body = join(
        _masthead(summary),
        _verdict(summary),
        equity_section(curves) if curves else None,
        sections.strategies(summary, styles),
        paths(summary, record, styles),
        *([heat_map(summary, styles), break_even(summary, styles)] if summary["scenarios"] else []),
        evidence(summary, styles),
        sections.windows(summary),
        history.monthly(summary, record),
        history.rolling(summary, record, styles),
        sections.costs(summary, styles),
        sections.actions(summary),
        sections.orders(summary),
        run_sections.further(summary),
        run_sections.audits(summary),
        run_sections.skipped(summary),
        run_sections.setup(summary, record.manifest),
        run_sections.definitions(),
        _footer(summary, record.manifest["versions"]),
    )
    name = summary["verdict"]["candidate"] or summary["data"]["source"]
    return page(f"{title(summary)}: {name}", body, curve_data(curves) if curves else "{}")


def styles_of(summary: Summary) -> dict[str, str]:
    """Return the line style of every strategy: the candidate stands out, buy and hold is ink, the rest have hues."""
    styles: dict[str, str] = {}
    hues = cycle(f"s{k}" for k in range(1, 9))
    # Those that are seen first come first: no two of them share a hue.
    for name in dict.fromkeys([*few(summary), *(one["name"] for one in summary["strategies"])]):
        special = {summary["verdict"]["candidate"]: "policy"}.get(name) or {REFERENCE: "hold"}.get(name)
        styles[name] = special or next(hues)
    return styles


def _masthead(summary: Summary) -> Markup:
    data, span = summary["data"], summary["data"]["scored"]
    few = ", ".join(data["symbols"]) if len(data["symbols"]) <= 4 else f"{len(data['symbols'])} symbols"
    return tag(
        "div",
        tag("strong", title(summary)),
        tag("span", f"{_last_part(data['source'])}: {few}, {data['frequency']} bars"),
        tag("span", f"{span['bars']:,} bars scored, {span['start']} to {span['end']}"),
        tag("span", f"made {summary['created']}"),
        class_="masthead",
    )


def _last_part(source: str) -> str:
    """Return the name of a file or folder without the path to it; the whole path stands under How it was run."""
    return source.rstrip("/").rsplit("/", 1)[-1] or source


def _footer(summary: Summary, versions: dict[str, str]) -> Markup:
    maker = f"tradekit {versions.get('tradekit', '')}".strip()
    return tag("footer", f"Made by {maker} with ", tag("code", summary["command"]))


def _verdict(summary: Summary) -> Markup:
    verdict = summary["verdict"]
    first, _, rest = verdict["line"].partition(". ")
    return tag(
        "header",
        tag("span", verdict["headline"], class_=f"pill {verdict['outcome']}"),
        tag("h1", typeset(first.rstrip(".") + ".")),
        rest and tag("p", typeset(rest)),
        tag("ul", *(tag("li", typeset(reason)) for reason in verdict["reasons"]), class_="reasons")
        if verdict["reasons"]
        else None,
        _tiles(summary),
        class_="verdict",
        data_outcome=verdict["outcome"],
    )


def _tiles(summary: Summary) -> Markup | None:
    """Return the candidate's main figures, each over the same of buy and hold and of the best baseline."""
    by_name = {one["name"]: one["metrics"] for one in summary["strategies"] if one["metrics"]}
    verdict = summary["verdict"]
    mine = by_name.get(verdict["candidate"])
    if mine is None:
        return None
    others = [name for name in dict.fromkeys(("buy_and_hold", verdict["best_baseline"])) if name in by_name]

    def tile(heading: str, key: str, show: Any, extra: str | None = None) -> Markup:
        beside = [tag("small", typeset(f"{name} {show(by_name[name][key])}")) for name in others]
        return tag(
            "div",
            tag("dt", heading),
            tag("dd", typeset(show(mine[key])), extra and tag("small", typeset(extra)), *beside, data_tile=key),
            class_="tile",
        )

    bounds = f"95 %: {number(mine['sharpe_low'])} to {number(mine['sharpe_high'])}"
    return tag(
        "dl",
        tile("Sharpe ratio", "sharpe", number, bounds),
        tile("Return after costs", "total_return", lambda v: percent(v, sign=True)),
        tile("Max drawdown", "max_drawdown", percent),
        tile("Costs a year", "cost_a_year", lambda v: percent(v, 2)),
        tile(f"CAGR over {summary['data']['benchmark']}", "excess_over_benchmark", lambda v: percent(v, sign=True)),
        class_="tiles",
    )
