"""``tradekit backtest``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tradekit.cli.console import steps
from tradekit.cli.options import (
    data_options,
    examples,
    json_option,
    market_options,
    out_option,
    overrides,
    strategies_option,
)
from tradekit.cli.publish import publish


@click.command(
    "backtest",
    short_help="Run strategies over past bars, side by side.",
    epilog=examples(
        "tradekit backtest --walk-forward",
        "tradekit backtest --strategies momentum,sma_cross --data prices/ --start 2015-01-01",
    ),
)
@click.option("--walk-forward", is_flag=True, help="Learn on one slice, be judged on the next, and so on.")
@click.option("--spec", type=click.Path(path_type=Path), metavar="FILE", help="Default: backtests/walk_forward.toml.")
@strategies_option
@data_options
@market_options
@click.option(
    "--slippage-shock", type=click.FloatRange(min=0.0), metavar="K", help="Multiply slippage, spread and impact."
)
@out_option
@json_option
def command(walk_forward: bool, spec: Path | None, out: Path | None, as_json: bool, **given: Any) -> None:
    """Run strategies over past bars and compare them after costs.

    With --walk-forward every strategy learns on one slice of the bars and is judged on the next, as the spec says.
    Without it the bars are run through once, and strategies that have to learn are left out. Every strategy is audited
    for use of the future; exit status 1 when one fails.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.jobs import backtest_spec, run_single_pass, run_walk_forward

    desk = find_desk()
    settings = overrides(given).apply(backtest_spec(desk, spec, walk_forward))
    with steps("backtest") as progress:
        outcome = (run_walk_forward if walk_forward else run_single_pass)(desk, settings, progress)
    publish(desk, outcome, "walk_forward" if walk_forward else "backtest", out, as_json)
