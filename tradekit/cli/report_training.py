"""The part of ``tradekit report`` that draws training runs again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.desk.folder import Desk


def is_training(folder: Path) -> bool:
    """Return whether ``folder`` is that of a training run, of one seed or several."""
    from tradekit.learn.run import BEGUN

    return (folder / BEGUN).is_file()


def trainings_of(desk: Desk) -> list[Path]:
    """Return the folders of the desk's training runs, the oldest first: their names begin with the time."""
    from tradekit.learn.run import BEGUN
    from tradekit.learn.train import RUNS

    return sorted((path.parent for path in desk.policies.glob(f"*/{RUNS}/*/{BEGUN}")), key=lambda one: one.name)


def report_training(folder: Path, *, as_json: bool) -> None:
    """Draw the pages of a training run from its metrics and summary, one for each seed, and print what it came to.

    Raises:
        DeskError: it has not ended, a file of it cannot be read, or a page cannot be written.
    """
    from tradekit.report.training import write_training_report

    summary = summary_of(folder)
    if "seeds" in summary:
        # A seed that diverged before its first update has no metrics to draw.
        runs = {one["seed"]: folder / one["run"] for one in summary["seeds"] if one["metrics"]}
        pages = {seed: str(write_training_report(run)) for seed, run in runs.items()}
        shown: dict[str, Any] = {"reports": list(pages.values())}
        lines = [f"seed {one['seed']}: {one['verdict']}" for one in summary["seeds"]]
        lines += [summary["verdict"], *pages.values()]
    else:
        page = str(write_training_report(folder))
        shown = {"report": page}
        lines = [summary["verdict"], *(f"alarm  {one['said']}" for one in summary.get("alarms", {}).values()), page]
    if as_json:
        print_json(summary | {"folder": str(folder)} | shown)
        return
    for line in lines:
        click.echo(line)


def summary_of(folder: Path) -> dict[str, Any]:
    """Return summary.json of a training run.

    Raises:
        DeskError: the run has not ended, or the file cannot be read.
    """
    from tradekit.errors import DeskError
    from tradekit.learn.run import SUMMARY

    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DeskError(f"{folder}: this training run has not ended; go on with tradekit train --resume") from error
    except (OSError, ValueError) as error:
        raise DeskError(f"{folder / SUMMARY}: cannot be read ({error}); restore it or train again") from error
    return summary
