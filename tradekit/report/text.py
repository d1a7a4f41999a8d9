"""The tables of a run for the terminal (rich) and for summary.md. Both read the summary and nothing else."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from tradekit.report.columns import MAIN, SHARPE, STRESS, TOTAL_RETURN
from tradekit.report.evidence import CEILING, REFERENCE
from tradekit.report.order import few, kind_text, ranked
from tradekit.report.words import DASH, number, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

    from tradekit.report.columns import Column

Summary = dict[str, Any]
IN_TERMINAL = 5
"""Strategies that the stress tables of the terminal have room for."""
KIND = "Kind"
LEAST_TELLING = (KIND, "Trades", "Turnover", "CAGR", "Excess", "Costs a year")
"""Headings that a narrow terminal does without, the first of them first."""
UNBOUNDED = 10_000
PATH_HEADINGS = ("Sharpe", "Return", "Max drawdown", "Sharpe above holding", "Return above holding")


class Fitted:
    """A table with as many columns as the terminal has room for: cut numbers would be wrong ones.

    Args:
        make: gives the table without the columns of these headings.
        spare: headings that a narrow terminal does without, the first of them first.
    """

    def __init__(self, make: Callable[[Sequence[str]], Table], spare: Sequence[str]) -> None:
        self._make, self._spare = make, spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table, and say what was left out."""
        from rich.measure import Measurement
        from rich.text import Text

        gone: list[str] = []
        table = self._make(gone)
        for heading in self._spare:
            if Measurement.get(console, options.update(width=UNBOUNDED), table).maximum <= options.max_width:
                break
            gone.append(heading)
            table = self._make(gone)
        yield table
        if gone:
            yield Text(f"left out, the terminal is too narrow: {', '.join(gone)}", style="dim")


def strategies_table(summary: Summary, without: Sequence[str] = ()) -> Table:
    """Return the table of strategies, best Sharpe ratio first, policies in bold, ``without`` some headings."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = [column for column in MAIN if column.heading not in without]
    table.add_column("Strategy", no_wrap=True)
    if KIND not in without:
        table.add_column(KIND, no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for one in ranked(summary):
        kind = [] if KIND in without else [kind_text(one)]
        table.add_row(one["name"], *kind, *_cells(one, columns), style="bold" if one["kind"] == "policy" else None)
    return table


def paths_table(summary: Summary) -> Table:
    """Return what the paths of a cross-validation came to, those of strategies that learn: the others have one."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title="Over all paths", title_justify="left")
    for heading in ("Strategy", *PATH_HEADINGS):
        table.add_column(heading, justify="left" if heading == "Strategy" else "right", no_wrap=True)
    for row in _path_rows(summary):
        table.add_row(*row)
    return table


def stress_table(summary: Summary, column: Column = SHARPE) -> Table:
    """Return one metric in every scenario, and the multiples of the costs at which an edge dies, of the few that count.

    The last column is the median of all strategies that ran in the scenario.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title=column.heading, title_justify="left")
    table.add_column("Scenario", no_wrap=True)
    shown = few(summary, IN_TERMINAL)
    rest = len(shown) < sum(one["metrics"] is not None for one in summary["strategies"])
    for name in [*shown, *(["median of all"] if rest else [])]:
        table.add_column(name, justify="right")
    medians = _medians(summary, column) if rest else {}
    for heading, cells in _stress_rows(summary, column, shown):
        table.add_row(heading, *cells, *([medians[heading]] if rest else []))
    for heading, cells in _break_even_rows(summary, shown):
        table.add_row(heading, *cells, style="dim")
    return table


def _medians(summary: Summary, column: Column) -> dict[str, str]:
    """Return the median of a metric over all strategies, the ceiling aside, by scenario."""
    found = {}
    for scenario in summary["scenarios"]:
        values = [
            cell["metrics"][column.metric]
            for one, cell in zip(summary["strategies"], scenario["cells"], strict=True)
            if cell["metrics"] and cell["metrics"][column.metric] is not None and one["kind"] != CEILING
        ]
        found[scenario["name"]] = column.show({column.metric: median(values)}) if values else DASH
    return found


def summary_text(summary: Summary) -> RenderableType:
    """Return what a command prints at its end: the tables, what was skipped, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Fitted(partial(strategies_table, summary), LEAST_TELLING)]
    if "cross_validation" in summary:
        parts += [Text(), paths_table(summary)]
    if summary["scenarios"]:
        parts += [Text(), stress_table(summary), Text(), stress_table(summary, TOTAL_RETURN)]
        parts += [Text(line, style="dim") for line in _left_out(summary)]
    parts += [Text(f"skipped {what}: {why}", style="yellow") for what, why in skipped_lines(summary)]
    parts += [Text(), Text(_bars(summary), style="dim")]
    parts += [Text(), Text(f"{summary['verdict']['headline']}: {summary['verdict']['line']}", style="bold")]
    parts += [Text(f"- {reason}") for reason in summary["verdict"]["reasons"]]
    return Group(*parts)


def summary_markdown(summary: Summary) -> str:
    """Return summary.md."""
    blocks = [
        f"# {title(summary)}",
        f"**{summary['verdict']['headline']}.** {summary['verdict']['line']}",
        *(
            ["\n".join(f"- {reason}" for reason in summary["verdict"]["reasons"])]
            if summary["verdict"]["reasons"]
            else []
        ),
        f"{_bars(summary)}; benchmark {summary['data']['benchmark']}.",
        _markdown(["Strategy", "Kind", *(c.heading for c in MAIN)], _strategy_rows(summary)),
    ]
    if "cross_validation" in summary:
        blocks += ["## Every path", _markdown(["Strategy", *PATH_HEADINGS], _path_rows(summary))]
    if summary["scenarios"]:
        names = [one["name"] for one in summary["strategies"]]
        for column in STRESS:
            rows = [[heading, *cells] for heading, cells in _stress_rows(summary, column, names)]
            blocks += [f"## {column.heading} under stress", _markdown(["Scenario", *names], rows)]
        rows = [[heading, *cells] for heading, cells in _break_even_rows(summary, names)]
        blocks += ["## Break-even", _markdown(["Multiple of all costs", *names], rows)]
    failed = [one for one in summary["strategies"] if one["audit"] and not one["audit"]["passed"]]
    if failed:
        blocks += ["## Failed the causality audit", "\n".join(f"- {one['name']}" for one in failed)]
    gone = [f"- {what}: {why}" for what, why in skipped_lines(summary)]
    if gone:
        blocks += ["## Skipped", "\n".join(gone)]
    blocks += ["## Definitions", "\n".join(f"- {column.heading}: {column.meaning}" for column in MAIN)]
    blocks += [f"`{summary['command']}`, {summary['created']}"]
    return "\n\n".join(blocks) + "\n"


def gate_text(gate: dict[str, Any], summary: Summary) -> RenderableType:
    """Return what ``tradekit gate`` prints: go or not, then every criterion with its value, threshold and verdict."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    missed = [row["name"] for row in gate["criteria"] if not row["advisory"] and row["verdict"] != "pass"]
    if not gate["criteria"]:
        return Text(f"no-go: {gate['strategy'] or 'nothing'} to judge. {summary['verdict']['line']}", style="bold red")
    said = f"go: {gate['strategy']}" if gate["go"] else f"no-go: {gate['strategy']} misses {', '.join(missed)}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Criterion", "Value", "Threshold", "Verdict", "Note"):
        table.add_column(heading, justify="right" if heading in ("Value", "Threshold") else "left", no_wrap=True)
    for row in gate["criteria"]:
        name = f"{row['name']} (advisory)" if row["advisory"] else row["name"]
        style = None if row["verdict"] == "pass" else "yellow" if row["advisory"] else "red"
        cells = (name, number(row["value"], 3), f"{row['sign']} {number(row['threshold'], 2)}", row["verdict"])
        table.add_row(*cells, row["note"], style=style)
    return Group(Text(said, style="bold green" if gate["go"] else "bold red"), Text(), table)


def title(summary: Summary) -> str:
    """Return the name of the run's kind."""
    names = {
        "stress": "Stress test",
        "walk_forward": "Walk-forward backtest",
        "cross_validation": "Combinatorial purged cross-validation",
        "backtest": "Backtest in one pass",
    }
    return names[str(summary["kind"])]


def skipped_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return what did not run and why: strategies and scenarios, those of one reason together, then failed windows."""
    groups: dict[tuple[str | None, str], list[str]] = {}
    for one in summary["skipped"]:
        groups.setdefault((one["scenario"], one["reason"]), []).append(one["strategy"])
    every = len(summary["strategies"])
    lines = []
    for (scenario, reason), names in groups.items():
        who = "every strategy" if len(names) == every > 1 else ", ".join(names)
        lines.append((f"{who} in {scenario}" if scenario else who, reason))
    failures = [
        (f"{one['name']} in window {row['window']}", f"{row['failure']}; it held cash")
        for one in summary["strategies"]
        for row in one["windows"]
        if row["failure"] is not None
    ]
    return lines + failures


def break_even_text(summary: Summary, one: dict[str, Any], key: str) -> str:
    """Return the multiple of the costs at which an edge dies; a dash where there is nothing to compare."""
    held = {other["name"] for other in summary["strategies"] if other["metrics"]}
    comparable = key == "over_cash" or ("buy_and_hold" in held and one["name"] != "buy_and_hold")
    if not one["break_even"] or not comparable:
        return DASH
    multiple = one["break_even"][key]
    if multiple is None:
        return "beyond all tried"
    return f"x{number(multiple, 1)}" if multiple > 0.0 else "no edge"


def _left_out(summary: Summary) -> list[str]:
    """Say where the strategies are that the terminal leaves out of the stress tables."""
    count = sum(one["metrics"] is not None for one in summary["strategies"])
    shown = len(few(summary, IN_TERMINAL))
    return [f"{shown} of {count} strategies; all of them in report.html and summary.json"] if shown < count else []


def _bars(summary: Summary) -> str:
    data, scored = summary["data"], summary["data"]["scored"]
    bars = f"{data['source']}, {len(data['symbols'])} symbols, {data['frequency']} bars"
    cut = summary["windowing"]
    windows = f"; windows of {cut['train_sessions']} + {cut['test_sessions']} sessions" if cut else ""
    if "cross_validation" in summary:
        cut = summary["cross_validation"]
        windows = f"; {cut['held_out']} of {cut['groups']} groups held out, {cut['paths']} paths"
    return f"{bars}; scored on {scored['bars']} bars from {scored['start']} to {scored['end']}{windows}"


def _path_rows(summary: Summary) -> list[list[str]]:
    """Return a row for each strategy that learns in the splits, and for holding."""
    rows = []
    for one in ranked(summary):
        told = one.get("paths")
        if told and (told["learns"] or one["name"] == REFERENCE):
            cells = [
                f"{show(told[f'{name}_median'])} [{show(told[f'{name}_lowest'])}, {show(told[f'{name}_highest'])}]"
                for name, show in (("sharpe", number), ("total_return", percent), ("max_drawdown", percent))
            ]
            shares = (percent(told[key], 0) for key in ("ahead_by_sharpe", "ahead_by_return"))
            rows.append([one["name"], *cells, *shares])
    return rows


def _strategy_rows(summary: Summary) -> list[list[str]]:
    return [[one["name"], kind_text(one), *_cells(one, MAIN)] for one in ranked(summary)]


def _cells(one: dict[str, Any], columns: Sequence[Column]) -> list[str]:
    return [column.show(one["metrics"]) for column in columns]


def _stress_rows(summary: Summary, column: Column, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    rows = []
    for scenario in summary["scenarios"]:
        found = {cell["strategy"]: cell["metrics"] for cell in scenario["cells"]}
        if any(found.values()):
            rows.append((scenario["name"], [column.show(found[name]) if found[name] else DASH for name in names]))
    return rows


def _break_even_rows(summary: Summary, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    by_name = {one["name"]: one for one in summary["strategies"]}
    return [
        (heading, [break_even_text(summary, by_name[name], key) for name in names])
        for heading, key in (("edge over cash dies at", "over_cash"), ("over buy_and_hold at", "over_buy_and_hold"))
    ]


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---" if k == 0 else "---:" for k in range(len(headings))]
    lines = [headings, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
