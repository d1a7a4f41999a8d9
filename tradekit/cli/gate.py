"""``tradekit gate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich
from tradekit.cli.options import examples, json_option
from tradekit.cli.report import folder_of, newest, runs_of

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.desk.folder import Desk


CROSSED = "cross_validation"


@click.command(
    "gate",
    short_help="Say go or no-go on a strategy, criterion by criterion.",
    epilog=examples("tradekit gate", "tradekit gate 2026-01-31T09-30-00-walk_forward --strategy momentum"),
)
@click.argument("run", required=False)
@click.option("--strategy", metavar="NAME", help="Default: the one that the run's verdict is about.")
@click.option("--stress", "stress_run", metavar="RUN", help="Stress run to judge by; default: the newest that fits.")
@json_option
def command(run: str | None, strategy: str | None, stress_run: str | None, as_json: bool) -> None:
    """Hold RUN, a run folder or its name, against the thresholds of backtests/gate.toml; default: the newest backtest.

    Exit status 0 is go, 1 no-go. What cannot be judged is not met: for the slippage shock there has to be a stress run
    on the same bars, costs and strategy.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.gate import thresholds_of
    from tradekit.report.gate import gate_of
    from tradekit.report.text import gate_text

    desk = find_desk()
    folder = folder_of(desk, run) if run else newest_history(desk)
    thresholds = thresholds_of(desk)
    summary = read(folder)
    demand_history(folder, summary)
    name = named(summary, strategy)
    stressed = None if name is None else stress_of(desk, summary, name, stress_run)
    found = gate_of(summary, name, thresholds, stressed) | {"run": str(folder)}
    if as_json:
        print_json(found)
    else:
        print_rich(gate_text(found, summary))
    if not found["go"]:
        raise click.exceptions.Exit(1)


def newest_history(desk: Desk) -> Path:
    """Return the newest backtest, cross-validations aside, else the newest stress run, else the newest of all.

    Raises:
        DeskError: there is no run at all.
    """
    from tradekit.report.run_folder import read_summary

    kinds = {folder: read_summary(folder)["kind"] for folder in runs_of(desk)}
    judged = sorted((folder for folder in kinds if kinds[folder] != CROSSED), key=lambda one: kinds[one] != "stress")
    return judged[-1] if judged else newest(desk)[0]


def demand_history(folder: Path, summary: dict[str, Any]) -> None:
    """Raise DeskError for a cross-validation: it learns from later bars than it is judged on."""
    from tradekit.errors import DeskError

    if summary["kind"] == CROSSED:
        raise DeskError(
            f"{folder.name} is a cross-validation, which learns from later bars too; gate a walk-forward of the same "
            "strategies, by: tradekit backtest --walk-forward"
        )


def read(folder: Path) -> dict[str, Any]:
    """Return the summary of a run, computed from its tables and not read from a file that anyone could have edited."""
    from tradekit.report.run_folder import read_run
    from tradekit.report.summary import summary_of

    return summary_of(read_run(folder))


def named(summary: dict[str, Any], strategy: str | None) -> str | None:
    """Return the strategy to judge, None where the run has no candidate.

    Raises:
        StrategyError: the run has no strategy called ``strategy``.
    """
    from tradekit.errors import StrategyError, suggest

    known = [one["name"] for one in summary["strategies"]]
    if strategy is not None and strategy not in known:
        raise StrategyError(f"the run has no strategy {strategy!r}; {suggest(strategy, known)}")
    candidate: str | None = strategy or summary["verdict"]["candidate"]
    return candidate


def stress_of(desk: Desk, summary: dict[str, Any], name: str, run: str | None) -> dict[str, Any] | None:
    """Return the summary of the stress run that speaks for ``name``: the one asked for, else the newest that does.

    Raises:
        DeskError: the one asked for does not speak for it.
    """
    from tradekit.errors import DeskError
    from tradekit.report.gate import speaks_for
    from tradekit.report.run_folder import read_summary

    if summary["kind"] == "stress" and run is None:
        return None
    if run is not None:
        stressed = read(folder_of(desk, run))
        if not speaks_for(stressed, summary, name):
            raise DeskError(
                f"{run} is no stress run of {name} on the same bars, costs, windows and files; run it again"
            )
        return stressed
    for folder in reversed(runs_of(desk)):
        told = read_summary(folder)
        if told.get("schema") == summary["schema"] and speaks_for(told, summary, name):
            return read(folder)
    return None
