"""``tradekit data``."""

from __future__ import annotations

import click

from tradekit.cli.console import print_json, print_rich
from tradekit.cli.options import SOURCE, examples, json_option


@click.group(
    "data",
    short_help="What a source of bars holds.",
    epilog=examples("tradekit data list", "tradekit data info sample"),
)
def command() -> None:
    """Look at the bars a source holds."""


@command.command("list", epilog=examples("tradekit data list"))
@json_option
def list_sources(as_json: bool) -> None:
    """List the sources that need no file."""
    from tradekit.market.sources import SOURCES

    if as_json:
        print_json({"sources": list(SOURCES)})
        return
    for name in SOURCES:
        click.echo(name)
    click.echo("or the path of a parquet or csv file, or of a folder with one such file per symbol")


@command.command("info", epilog=examples("tradekit data info prices/ --symbols AAPL,MSFT"))
@click.argument("source", required=False)
@click.option("--data", metavar="SOURCE", help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date, inclusive.")
@click.option("--end", metavar="DATE", help="Last date, inclusive.")
@json_option
def info(
    source: str | None, data: str | None, symbols: str | None, start: str | None, end: str | None, as_json: bool
) -> None:
    """Say what SOURCE holds: bars, dates, columns and holes, symbol by symbol."""
    from tradekit.desk.inventory import inventory, inventory_table
    from tradekit.market.sources import load_panel

    if source and data:
        raise click.UsageError("give the source once, as SOURCE or as --data")
    held = inventory(load_panel(source or data or "sample", symbols, start, end))
    if as_json:
        print_json(held)
    else:
        print_rich(*inventory_table(held))
