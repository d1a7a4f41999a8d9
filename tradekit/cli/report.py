"""``tradekit report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich, steps
from tradekit.cli.options import examples, json_option
from tradekit.cli.paper import journals, parity_line
from tradekit.cli.report_training import is_training, report_training, trainings_of

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk


@click.command(
    "report",
    short_help="Rebuild and print what a run found.",
    epilog=examples("tradekit report", "tradekit report 2026-01-31T09-30-00-walk_forward --tear-sheets"),
)
@click.argument("run", required=False)
@click.option("--tear-sheets", is_flag=True, help="Write a quantstats page for every strategy too; seconds each.")
@json_option
def command(run: str | None, tear_sheets: bool, as_json: bool) -> None:
    """Rebuild the report of RUN, a run folder or its name, from its tables, and print it.

    RUN may be a training run too: its page, one for each seed, is drawn again from its metrics and its summary.

    Without RUN: the newest backtest, whether the newest paper session did what the backtest of its bars does, and where
    the reports of the newest backtest and stress test are.
    """
    from tradekit.desk.folder import find_desk

    desk = find_desk()
    folders = [folder_of(desk, run)] if run else newest(desk)
    if is_training(folders[0]):
        if tear_sheets:
            raise click.UsageError("--tear-sheets are of strategies, and a training run has none; leave it out")
        report_training(folders[0], as_json=as_json)
        return
    runs = [rebuilt(folder) for folder in folders]
    if tear_sheets:
        runs[0]["tear_sheets"] = drawn(folders[0])
    shadow = None if run else newest_session(desk)
    if as_json:
        print_json(runs[0] if run else {"runs": runs, "session": shadow})
        return
    from tradekit.report.text import summary_text

    print_rich(summary_text(runs[0]), "")
    if shadow is not None:
        print_rich(f"session {shadow['session']}: {parity_line(shadow)}", "")
    for page in runs[0].get("tear_sheets", []):
        print_rich(page)
    for one in reversed(runs):  # the one that was printed last, nearest to the reader
        print_rich(one["report"])


def rebuilt(folder: Path) -> dict[str, Any]:
    """Rebuild a run folder and return its summary with its paths."""
    from tradekit.report.run_folder import read_summary, rebuild

    page = rebuild(folder)
    return read_summary(folder) | {"folder": str(folder), "report": str(page)}


def drawn(folder: Path) -> list[str]:
    """Write the tear sheets of a run folder and return their paths."""
    from tradekit.report.tear_sheet import write_tear_sheets

    with steps("tear sheets") as progress:
        return [str(page) for page in write_tear_sheets(folder, progress)]


def folder_of(desk: Desk, run: str) -> Path:
    """Return the run folder called ``run``: a path, or a name among the desk's results and training runs.

    Raises:
        DeskError: there is none.
    """
    from tradekit.errors import DeskError, suggest

    known = [*runs_of(desk), *trainings_of(desk)]
    for folder in (Path(run), desk.results / run, *(path for path in known if path.name == run)):
        if folder.is_dir():
            return folder
    raise DeskError(
        f"no run {run!r} in {desk.results} or {desk.policies}; {suggest(run, [path.name for path in known])}"
    )


def runs_of(desk: Desk) -> list[Path]:
    """Return the desk's run folders, the oldest first: their names begin with the time."""
    return sorted(path.parent for path in desk.results.glob("[!.]*/manifest.json"))


def newest(desk: Desk) -> list[Path]:
    """Return the newest backtest and the newest stress test, of those there are.

    Raises:
        DeskError: there is no run at all.
    """
    from tradekit.errors import DeskError
    from tradekit.report.run_folder import read_summary

    last: dict[bool, Path] = {}
    for folder in runs_of(desk):
        last[read_summary(folder)["kind"] == "stress"] = folder
    if not last:
        raise DeskError(f"{desk.results}: no runs yet; run: tradekit backtest --walk-forward")
    return [last[is_stress] for is_stress in (False, True) if is_stress in last]


def newest_session(desk: Desk) -> dict[str, Any] | None:
    """Return the shadow report of the newest paper session, None when there is none."""
    from tradekit.live.report import session_report

    found = journals(desk)
    return session_report(found[-1]) if found else None
