"""``tradekit stress``."""

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
    "stress",
    short_help="Run strategies under worse costs, later fills and harder times.",
    epilog=examples(
        "tradekit stress --slippage-shock 1.5", "tradekit stress --strategies buy_and_hold,momentum --workers 2"
    ),
)
@click.option("--spec", type=click.Path(path_type=Path), metavar="FILE", help="Default: backtests/stress.toml.")
@click.option(
    "--slippage-shock",
    type=Factor(),
    metavar="K",
    help="Add a scenario that multiplies slippage, spread and impact.",
)
@strategies_option
@data_options
@market_options
@work_options
@out_option
@json_option
def command(
    spec: Path | None,
    slippage_shock: float | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Walk strategies forward and run them under every scenario of the spec.

    Dearer trades, later fills, crises of the past, gaps and crashes, holes in the data, and histories drawn from the
    bars. It also finds the multiple of the costs at which each strategy's edge dies. What the data cannot carry is
    listed as skipped, with the reason.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.jobs import run_stress
    from tradekit.desk.specs import read_stress

    desk, work = find_desk(), work_of(given)
    settings = applied(given, read_stress(spec or desk.backtests / "stress.toml"))
    folder = place_of(desk, "stress", out)
    with steps("stress") as progress:
        outcome = run_stress(desk, settings, slippage_shock, progress, work, command_line())
    publish(outcome, folder, as_json)
