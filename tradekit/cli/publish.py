"""Write the run folder of a result and print it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli import COMMAND_LINE
from tradekit.cli.console import print_json, print_rich

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.desk.folder import Desk
    from tradekit.desk.jobs import Outcome
    from tradekit.engine.strategy import AnyStrategy


def publish(desk: Desk, outcome: Outcome, name: str, out: Path | None, as_json: bool) -> None:
    """Write the run folder, print its summary, and exit with 1 when a strategy uses the future."""
    from tradekit.report.run_folder import PAGE, read_summary, write_run
    from tradekit.report.text import summary_text

    now = datetime.now(UTC)
    folder = write_run(
        outcome.result,
        out or free_folder(desk, f"{now:%Y-%m-%dT%H-%M-%S}-{name}"),
        command=click.get_current_context().meta[COMMAND_LINE],
        created=now.isoformat(timespec="seconds"),
        file_hashes={one.strategy.name: one.file_hash for one in outcome.loaded},
        **identities([one.strategy for one in outcome.loaded]),
    )
    summary = read_summary(folder)
    if as_json:
        print_json(summary | {"folder": str(folder), "report": str(folder / PAGE)})
    else:
        print_rich(summary_text(summary), f"\n{folder / PAGE}")
    for one in summary["strategies"]:
        if one["audit"] and one["audit"]["lookback_holds"] is False:
            click.echo(
                f"warning: {one['name']} declares a lookback that is too short: a session decides otherwise", err=True
            )
    failed = [one["name"] for one in summary["strategies"] if one["audit"] and not one["audit"]["passed"]]
    if failed:
        click.echo(f"error: uses the future: {', '.join(failed)}; see tradekit audit {failed[0]}", err=True)
        raise click.exceptions.Exit(1)


def identities(strategies: list[AnyStrategy]) -> dict[str, Any]:
    """Return what a manifest says of policies and seeds."""
    from tradekit.learn.actions import NAMES, REASONS
    from tradekit.learn.policy import PolicyStrategy

    policies = [one for one in strategies if isinstance(one, PolicyStrategy)]
    return {
        "bundle_hashes": {one.name: one.bundle.digest for one in policies},
        "action_names": NAMES if policies else (),
        "action_reasons": REASONS if policies else (),
        "seeds": sorted({seed for one in strategies if isinstance(seed := getattr(one, "seed", None), int)}),
    }


def free_folder(desk: Desk, name: str) -> Path:
    """Return a folder of the desk's results that does not exist yet."""
    folder, k = desk.results / name, 1
    while folder.exists():
        k += 1
        folder = desk.results / f"{name}-{k}"
    return folder
