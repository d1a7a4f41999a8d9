"""``tradekit audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from tradekit.cli.console import print_json, steps
from tradekit.cli.options import data_options, examples, json_option, overrides

if TYPE_CHECKING:
    from tradekit.engine.audit import AuditReport

CUTS = "Bars to change the future after: N where decisions change, and N spread evenly."


@click.command(
    "audit",
    short_help="Prove that a strategy does not use the future.",
    epilog=examples(
        "tradekit audit momentum",
        "tradekit audit strategies/my_idea.py --data prices/ --every-bar",
        "tradekit audit symbol_ppo --fill-at close --latency-bars 1",
    ),
)
@click.argument("strategy")
@data_options
@click.option("--cuts", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help=CUTS)
@click.option("--every-bar", is_flag=True, help="Change the future after every bar: slow, and misses no peek.")
@click.option(
    "--fill-at",
    type=click.Choice(["auto", "open", "close"]),
    default="auto",
    help="Where orders fill; auto: the open, if the bars have one.",
)
@click.option(
    "--latency-bars", type=click.IntRange(min=0), metavar="BARS", help="Wait on top of the one bar always waited."
)
@json_option
def command(
    strategy: str,
    as_json: bool,
    cuts: int,
    every_bar: bool,
    fill_at: Literal["auto", "open", "close"],
    **given: Any,
) -> None:
    """Change the future and demand that no past decision of STRATEGY moves.

    Exit status 1 when one does, when the declared lookback is too short, or when nothing could be audited.

    STRATEGY is a name from strategies/ or the path of a file. One that learns is fitted on the first half of the bars
    and audited on the second. Fills and latency matter to strategies that see their own positions.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.jobs import run_audit

    with steps(f"audit {strategy}") as progress:
        report = run_audit(find_desk(), strategy, overrides(given), None if every_bar else cuts, fill_at, progress)
    if as_json:
        print_json(as_plain(report))
    else:
        say(report)
    if not report.passed or report.lookback_holds is False or report.cuts == 0:
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
            + (
                "when later bars are left out"
                if bad.column == "history length"
                else f"when only later bars change ({bad.column})"
            )
        )
        return
    if not report.note:
        click.echo(f"{report.strategy} is causal: {report.bars_checked} decisions at {report.cuts} cuts did not move")
        click.echo(warm_up(report.warm_up_bars))
    if report.lookback_holds is not None:
        click.echo(f"its declared lookback is {'enough' if report.lookback_holds else 'TOO SHORT'}")
    if report.note:
        click.echo(report.note)


def warm_up(bars: int | None) -> str:
    """Say how much history a decision needs.

    >>> warm_up(21)
    'a decision needs 21 bars, and does not depend on where history starts before them'
    """
    if bars is None:
        return "its decisions depend on where history starts, with all the bars at hand"
    return f"a decision needs {bars} bar{'s' * (bars != 1)}, and does not depend on where history starts before them"
