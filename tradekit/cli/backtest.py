"""``tradekit backtest``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tradekit.cli.console import steps
from tradekit.cli.options import (
    Factor,
    applied,
    data_options,
    examples,
    json_option,
    market_options,
    out_option,
    strategies_option,
    work_of,
    work_options,
)
from tradekit.cli.publish import command_line, place_of, publish


@click.command(
    "backtest",
    short_help="Run strategies over past bars, side by side.",
    epilog=examples(
        "tradekit backtest --walk-forward",
        "tradekit backtest --strategies momentum,sma_cross --data prices/ --start 2015-01-01",
        "tradekit backtest --walk-forward --spec backtests/policy_refit.toml --workers 4",
        "tradekit backtest --cross-validation",
    ),
)
@click.option("--walk-forward", is_flag=True, help="Learn on one slice, be judged on the next, and so on.")
@click.option(
    "--cross-validation", is_flag=True, help="Hold out groups of bars, learn on the others; many paths in the end."
)
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Default: backtests/walk_forward.toml, or backtests/cross_validation.toml.",
)
@strategies_option
@data_options
@market_options
@click.option("--slippage-shock", type=Factor(), metavar="K", help="Multiply slippage, spread and impact.")
@work_options
@out_option
@json_option
def command(
    walk_forward: bool, cross_validation: bool, spec: Path | None, out: Path | None, as_json: bool, **given: Any
) -> None:
    """Run strategies over past bars and compare them after costs.

    With --walk-forward every strategy learns on one slice of the bars and is judged on the next, as the spec says; what
    is finished is kept, so that a run that was broken off goes on where it was. With --cross-validation, or a spec with
    [cross_validation], every choice of a few groups of bars is held out in turn, strategies learn on the others, purged
    and embargoed, and the held-out groups make up several paths of all bars. Without either the bars are run through
    once, and strategies that have to learn are left out. Every strategy is audited for use of the future; exit status 1
    when one fails, or when a strategy raised in any window.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.jobs import backtest_spec, run_cross_validation, run_single_pass, run_walk_forward

    if walk_forward and cross_validation:
        raise click.UsageError("--walk-forward and --cross-validation are two ways to cut the bars; give one of them")
    desk, work = find_desk(), work_of(given)
    settings = applied(given, backtest_spec(desk, spec, walk_forward, cross_validation))
    name, run = "backtest", run_single_pass
    if settings.cross_validation is not None:
        name, run = "cross_validation", run_cross_validation
    elif walk_forward:
        name, run = "walk_forward", run_walk_forward
    folder = place_of(desk, name, out)
    with steps("backtest") as progress:
        outcome = run(desk, settings, progress, work, command_line())
    publish(outcome, folder, as_json)
