"""``tradekit audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tradekit.cli.console import print_json
from tradekit.cli.options import data_options, examples, json_option, overrides

if TYPE_CHECKING:
    from tradekit.engine.audit import AuditReport


@click.command(
    "audit",
    short_help="Prove that a strategy does not use the future.",
    epilog=examples("tradekit audit momentum", "tradekit audit strategies/my_idea.py --data prices/"),
)
@click.argument("strategy")
@data_options
@json_option
def command(strategy: str, as_json: bool, **given: str | None) -> None:
    """Change the future and demand that no past decision of STRATEGY moves.

    Exit status 1 when one does, or when the declared lookback is too short.

    STRATEGY is a name from strategies/ or the path of a file. One that learns is fitted on the first half of the bars
    and audited on the second.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.jobs import run_audit

    report = run_audit(find_desk(), strategy, overrides(given))
    if as_json:
        print_json(as_plain(report))
    else:
        say(report)
    if not report.passed or report.lookback_holds is False:
        raise click.exceptions.Exit(1)


def as_plain(report: AuditReport) -> dict[str, object]:
    """Return a report as JSON can hold it."""
    from dataclasses import asdict

    violation = report.first_violation
    return asdict(report) | {"first_violation": None if violation is None else violation._asdict()}


def say(report: AuditReport) -> None:
    """Print a report in words."""
    if report.first_violation is not None:
        bad = report.first_violation
        click.echo(f"{report.strategy} USES THE FUTURE")
        click.echo(
            f"its decision for {bad.symbol} at {bad.timestamp} moves from {bad.before:.6g} to {bad.after:.6g} "
            f"when only later bars change ({bad.column})"
        )
        return
    if not report.note:
        click.echo(f"{report.strategy} is causal: {report.bars_checked} decisions at {report.cuts} cuts did not move")
    if report.lookback_holds is not None:
        click.echo(f"its declared lookback is {'enough' if report.lookback_holds else 'TOO SHORT'}")
    if report.note:
        click.echo(report.note)
