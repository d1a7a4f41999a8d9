"""tradekit runs."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich
from tradekit.cli.options import examples, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tradekit.registry import Registry, RunRow

SHOWN = 20
SPARE = ("Why", "Started", "Folder")  # what a narrow terminal does without
SHARES = ("cagr", "total_return", "volatility", "max_drawdown", "cost_ratio", "excess_over_benchmark")


@click.group(
    "runs",
    short_help="List, compare and open the runs of this desk.",
    invoke_without_command=True,
    epilog=examples("tradekit runs", "tradekit runs compare 12 14", "tradekit runs open 14"),
)
@click.option("--all", "every", is_flag=True, help=f"List every run, not the newest {SHOWN}.")
@json_option
@click.pass_context
def command(context: click.Context, every: bool, as_json: bool) -> None:
    """List the runs of this desk, the newest first: backtests, stress tests and trainings, however they ended.

    Trials are the distinct candidates on distinct bars that a run is judged against: all there were on its symbols when
    it began, its own included.
    """
    if context.invoked_subcommand is not None:
        return
    from tradekit.desk.folder import find_desk
    from tradekit.registry import Registry
    from tradekit.report.text import Fitted

    desk = find_desk()
    with Registry(desk.registry) as registry:
        rows = registry.runs(None if every else SHOWN)
        counts = {row.id: registry.frozen(row.id).count for row in rows}
        strangers = unlisted(desk.results, registry)
    if strangers:
        click.echo(
            f"note: {desk.registry.name}, which counts trials, does not know {len(strangers)} of the runs in "
            f"{desk.results}, such as {strangers[0]}; if it was deleted, bring it back",
            err=True,
        )
    if as_json:
        print_json([asdict(row) | {"trials": counts[row.id]} for row in rows])
    elif not rows:
        click.echo("no runs yet; run: tradekit backtest --walk-forward")
    else:
        print_rich(Fitted(partial(listed, rows, counts), SPARE))


@command.command(
    "compare",
    short_help="Figures of several runs side by side.",
    epilog=examples("tradekit runs compare 12 14", "tradekit runs compare 12 14 --figure max_drawdown"),
)
@click.argument("which", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--figure", default="sharpe", metavar="NAME", help="Which figure; default: sharpe.")
@json_option
def compare(which: tuple[str, ...], figure: str, as_json: bool) -> None:
    """Show one figure of every strategy in two or more runs, and in what the runs differ.

    RUN is a number of tradekit runs, or the name of a run's folder.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.errors import ConfigError, suggest
    from tradekit.registry import Registry

    if len(which) < 2:
        raise click.UsageError("name two runs or more")
    with Registry(find_desk().registry) as registry:
        rows = [registry.run(name) for name in which]
    known = {name for row in rows for figures in row.metrics.values() for name in figures}
    if as_json:
        print_json({str(row.id): asdict(row) for row in rows})
        return
    if figure not in known:
        raise ConfigError(f"no run has a figure {figure!r}; {suggest(figure, known)}")
    print_rich(compared(rows, figure), "", *differences(rows))


@command.command(
    "open", short_help="Say where a run's report is, and show it.", epilog=examples("tradekit runs open 14")
)
@click.argument("run")
@json_option
def open_(run: str, as_json: bool) -> None:
    """Print the path of a run's report, or of its folder where it has none, and open a report in the browser.

    Nothing is opened where there is no screen.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.errors import DeskError
    from tradekit.registry import Registry
    from tradekit.report.run_folder import PAGE

    with Registry(find_desk().registry) as registry:
        row = registry.run(run)
    if row.folder is None or not Path(row.folder).is_dir():
        where = f"its folder {row.folder} is gone" if row.folder else "it wrote no folder"
        raise DeskError(f"run {row.id} was {row.status}, and {where}; nothing is left to open")
    page = Path(row.folder) / PAGE
    place = page if page.is_file() else Path(row.folder)
    if as_json:
        print_json({"run": row.id, "folder": row.folder, "report": str(page) if page.is_file() else None})
        return
    click.echo(str(place))
    if has_screen() and page.is_file():
        click.launch(str(page))


def has_screen() -> bool:
    """Return whether a person sits before a terminal on a machine with a screen."""
    import os
    import sys

    return sys.stdout.isatty() and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def unlisted(results: Path, registry: Registry) -> list[str]:
    """Return the names of the run folders in ``results`` that the registry does not know, in order."""
    known = {Path(row.folder).name for row in registry.runs(None) if row.folder is not None}
    return sorted(path.parent.name for path in results.glob("*/manifest.json") if path.parent.name not in known)


def listed(rows: list[RunRow], counts: dict[int, int], without: Sequence[str] = ()) -> Table:
    """Return a line for each run, ``without`` some headings."""
    lines = [
        {
            "Run": str(row.id),
            "Started": row.started.replace("T", " ").removesuffix("+00:00"),
            "What": row.kind if row.kind == row.name else f"{row.kind} {row.name}",
            "Status": row.status,
            "Trials": str(counts[row.id]),
            "Best by Sharpe": _best(row),
            "Folder": "" if row.folder is None else Path(row.folder).name,
            "Why": row.note[:60] if row.status != "done" else "",
        }
        for row in rows
    ]
    headings = [name for name in lines[0] if name not in without]
    table = _table(*((name, "right" if name in ("Run", "Trials") else "left") for name in headings))
    for line in lines:
        table.add_row(*(line[name] for name in headings))
    return table


def compared(rows: list[RunRow], figure: str) -> Table:
    """Return one figure of every strategy (down) in every run (across), in the order of the last run."""
    table = _table(f"{figure}", *((f"run {row.id}", "right") for row in rows))
    names = {name for row in rows for name in row.metrics}

    def rank(name: str) -> tuple[bool, float, str]:
        value = rows[-1].metrics.get(name, {}).get(figure)
        return value is None, -(value or 0.0), name

    for name in sorted(names, key=rank):
        table.add_row(name, *(_shown(figure, row.metrics.get(name, {}).get(figure)) for row in rows))
    return table


def differences(rows: list[RunRow]) -> list[str]:
    """Say in which inputs the runs differ."""
    inputs = [name for name in ("spec", "data", "costs") if len({row.hashes.get(name) for row in rows}) > 1]
    said = [f"they differ in {', '.join(inputs)}"] if inputs else []
    for name in sorted({name for row in rows for name in row.versions}):
        held = [row.versions.get(name, "none") for row in rows]
        if len(set(held)) > 1:
            said.append(f"they differ in the version of {name}: {', '.join(held)}")
    return said or ["spec, data, costs and versions are the same"]


def _table(*columns: Any) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify=justify, no_wrap=True)
    return table


def _best(row: RunRow) -> str:
    known = [(value, name) for name, figures in row.metrics.items() if (value := figures.get("sharpe")) is not None]
    if not known:
        return ""
    value, name = max(known)
    return f"{name} {value:.2f}"


def _shown(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if figure in SHARES else f"{value:,.4g}"
