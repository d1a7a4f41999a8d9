"""Options that several commands share, under one name and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.desk.overrides import Overrides

Command = TypeVar("Command", bound="Callable[..., Any]")

SOURCE = "Where the bars come from: sample, a parquet or csv file, a folder of them, synthetic:planted."


def examples(*lines: str) -> str:
    """Return the example lines of a command's help, which click leaves as they are."""
    return "\b\n" + "\n".join(["Example:", *(f"  {line}" for line in lines)])


actions_option = click.option(
    "--actions", metavar="FILE", help="Splits and dividends that raw prices are adjusted for."
)


def data_options(command: Command) -> Command:
    """Add --data, --symbols, --start, --end and --actions."""
    for option in (
        actions_option,
        click.option("--end", metavar="DATE", help="Last date, inclusive."),
        click.option("--start", metavar="DATE", help="First date, inclusive."),
        click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out."),
        click.option("--data", metavar="SOURCE", help=SOURCE),
    ):
        command = option(command)
    return command


def market_options(command: Command) -> Command:
    """Add --costs, --cost-shock, --latency-bars and --cash."""
    shock = click.FloatRange(min=0.0)
    for option in (
        click.option("--cash", type=float, metavar="DOLLARS", help="Dollars at the start."),
        click.option(
            "--latency-bars",
            type=click.IntRange(min=0),
            metavar="BARS",
            help="Wait on top of the one bar always waited.",
        ),
        click.option("--cost-shock", type=shock, metavar="K", help="Multiply every cost."),
        click.option("--costs", metavar="MODEL", help="realistic, alpaca_low, free, calibrated, or a TOML file."),
    ):
        command = option(command)
    return command


strategies_option = click.option(
    "--strategies", metavar="A,B", help="Names of the desk's strategies or paths of files; all when left out."
)
out_option = click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the results; must not exist yet."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")


def overrides(given: dict[str, Any]) -> Overrides:
    """Return what the options of a command change in a spec."""
    from tradekit.desk.overrides import Overrides

    return Overrides(**given)
