"""Options that several commands share, under one name and one help text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.desk.overrides import Overrides, Spec
    from tradekit.desk.work import Work

Command = TypeVar("Command", bound="Callable[..., Any]")

SOURCE = "Where the bars come from: sample, a parquet or csv file, a folder of them, synthetic:planted."


class Factor(click.ParamType[float]):
    """A finite number, 0 or more: what something is multiplied by."""

    name = "factor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or name the option that holds none."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and number >= 0.0):
            self.fail(f"{value!r} is not a number, 0 or more", param, ctx)
        return number


def examples(*lines: str) -> str:
    """Return the example lines of a command's help, which click leaves as they are."""
    return "\b\n" + "\n".join(["Example:", *(f"  {line}" for line in lines)])


actions_option = click.option(
    "--actions", metavar="FILE", help="Splits and dividends that raw prices are adjusted for."
)


def data_options(command: Command) -> Command:
    """Add --data, --symbols, --start, --end, --actions and --side."""
    side = click.option(
        "--side",
        multiple=True,
        metavar="NAME=FILE:COLUMN",
        help="A series to put beside the bars, known a session after its date; :LAG adds another lag. Repeatable.",
    )
    return bar_options(side(command))


def bar_options(command: Command) -> Command:
    """Add --data, --symbols, --start, --end and --actions: the bars, for a command whose recipe names side series."""
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
    for option in (
        click.option("--cash", type=float, metavar="DOLLARS", help="Dollars at the start."),
        click.option(
            "--latency-bars",
            type=click.IntRange(min=0),
            metavar="BARS",
            help="Wait on top of the one bar always waited.",
        ),
        click.option("--cost-shock", type=Factor(), metavar="K", help="Multiply every cost."),
        click.option("--costs", metavar="MODEL", help="realistic, alpaca_low, free, calibrated, or a TOML file."),
    ):
        command = option(command)
    return command


strategies_option = click.option(
    "--strategies", metavar="A,B", help="Names of the desk's strategies or paths of files; all when left out."
)


def seeds_of(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Return the numbers of ``1,2,3``."""
    if text is None:
        return ()
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"{text!r} is not a list of different whole numbers, 0 or more, as 1,2,3")
    return seeds


def work_options(command: Command) -> Command:
    """Add --seeds, --workers, --ray and --fresh; ``work_of`` makes a ``Work`` of them."""
    for option in (
        click.option("--fresh", is_flag=True, help="Work everything out anew; take nothing from earlier runs."),
        click.option("--ray", metavar="ADDRESS", help="Spread the work over this Ray cluster, or local, instead."),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="Processes; all processors when left out. Numbers do not depend on it.",
        ),
        click.option(
            "--seeds", callback=seeds_of, metavar="1,2,3", help="Run every strategy that draws under each of these."
        ),
    ):
        command = option(command)
    return command


def work_of(given: dict[str, Any]) -> Work:
    """Take the options of ``work_options`` out of ``given`` and return what they say."""
    from tradekit.desk.work import Work

    return Work(**{name: given.pop(name) for name in ("seeds", "workers", "ray", "fresh")})


out_option = click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the results; must not exist yet."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")


def overrides(given: dict[str, Any]) -> Overrides:
    """Return what the options of a command change in a spec."""
    from tradekit.desk.overrides import Overrides

    return Overrides(**given)


def applied(given: dict[str, Any], spec: Spec) -> Spec:
    """Return ``spec`` with the options of a command, and say on standard error what other data sets aside."""
    settings = overrides(given).apply(spec)
    if spec.windows is not None and settings.windows is None:
        ours = f"{spec.windows.train_sessions}/{spec.windows.test_sessions}"
        click.echo(
            f"note: --data is not the spec's, whose windows of {ours} sessions, symbols and dates are set aside; daily "
            "bars have windows of 756/126 sessions, intraday bars of 30/10",
            err=True,
        )
    return settings
