"""``tradekit data``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tradekit.cli.console import print_json, print_rich
from tradekit.cli.options import SOURCE, actions_option, examples, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.market.quality import Report
    from tradekit.market.quality.repairs import Repaired
    from tradekit.market.sources.cache import Entry

cache_option = click.option(
    "--cache", metavar="DIR", help="Where fetched bars are kept; default: TRADEKIT_CACHE, else ~/.cache/tradekit."
)


@click.group(
    "data",
    short_help="Look at, check, repair and fetch bars.",
    epilog=examples(
        "tradekit data info sample",
        "tradekit data check prices/",
        "tradekit data repair prices.csv --ask sort,drop_duplicates --out clean.parquet",
        "tradekit data fetch yahoo:SPY,AAPL --start 2015-01-01",
    ),
)
def command() -> None:
    """Look at the bars a source holds, check and repair them, and fetch new ones."""


@command.command("list", short_help="List sources and fetched files.", epilog=examples("tradekit data list"))
@cache_option
@json_option
def list_sources(cache: str | None, as_json: bool) -> None:
    """List the sources that need no file, and the files that were fetched."""
    from tradekit.market.sources import SOURCES
    from tradekit.market.sources.cache import cache_folder, list_cache

    folder, fetched = cache_folder(cache), list_cache(cache)
    if as_json:
        held = [entry.to_dict() for entry in fetched]
        print_json({"sources": list(SOURCES), "cache": str(folder), "fetched": held})
        return
    for name in SOURCES:
        click.echo(name)
    click.echo("or the path of a parquet or csv file, or of a folder with one such file per symbol")
    if fetched:
        click.echo(f"\nfetched, in {folder}")
    for entry in fetched:
        click.echo(entry_line(entry))


@command.command(
    "info", short_help="Say what a source holds.", epilog=examples("tradekit data info prices/ --symbols AAPL,MSFT")
)
@click.argument("source", required=False)
@click.option("--data", metavar="SOURCE", help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date, inclusive.")
@click.option("--end", metavar="DATE", help="Last date, inclusive.")
@actions_option
@json_option
def info(
    source: str | None,
    data: str | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    actions: str | None,
    as_json: bool,
) -> None:
    """Say what SOURCE holds: bars, dates, columns and holes, symbol by symbol."""
    from tradekit.desk.inventory import inventory, inventory_table
    from tradekit.market.sources import load_panel

    if source and data:
        raise click.UsageError("give the source once, as SOURCE or as --data")
    held = inventory(load_panel(source or data or "sample", symbols, start, end, actions=actions))
    if as_json:
        print_json(held)
    else:
        print_rich(*inventory_table(held))


@command.command(
    "check",
    short_help="Name every defect by row.",
    epilog=examples("tradekit data check sample", "tradekit data check prices.csv --json"),
)
@click.argument("source")
@json_option
def check(source: str, as_json: bool) -> None:
    """Name every defect of SOURCE by row, the worst first, and the repairs that mend it. Nothing is changed.

    Exit status 1 when there is an error: a defect that makes results wrong or the file unreadable.
    """
    from tradekit.market.quality import check as check_source

    report = check_source(source)
    if as_json:
        print_json(report.to_dict())
    else:
        for line in (*report.lines(), *verdict_lines(report, source)):
            click.echo(line)
    if not report.ok:
        raise click.exceptions.Exit(1)


@command.command(
    "repair",
    short_help="Mend the rows that check names, as asked.",
    epilog=examples(
        "tradekit data repair prices.csv --ask sort,drop_duplicates --out clean.parquet",
        "tradekit data repair raw.parquet --ask apply_actions --actions actions.csv --out adjusted.parquet",
    ),
)
@click.argument("source")
@click.option("--ask", required=True, metavar="A,B", help="Repairs, separated by commas, as check names them.")
@click.option(
    "--actions", metavar="FILE", help="Splits and dividends for apply_actions; the table's own when left out."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="A new .parquet or .csv file."
)
@json_option
def repair(source: str, ask: str, actions: str | None, out: Path, as_json: bool) -> None:
    """Do the repairs asked for on the rows of SOURCE that check names, and no others, and write the result to --out.

    Every change is written beside it, to FILE.repairs.json: which row, which column, before and after. SOURCE stays as
    it is, and no file is written over.
    """
    from tradekit.market.quality import repair as repair_source

    asked = [name.strip() for name in ask.split(",") if name.strip()]
    if actions is not None and "apply_actions" not in asked:
        raise click.UsageError("--actions is for apply_actions; add it to --ask")
    demand_free(out)
    repaired = repair_source(source, ask=asked, actions=actions)
    table, report = repaired.save(out)
    if as_json:
        said = {key: value for key, value in repaired.to_dict().items() if key != "changes"}
        print_json(said | {"table": str(table), "report": str(report)})
        return
    for line in (*repair_lines(repaired), f"table  {table}", f"report {report}"):
        click.echo(line)


@command.command(
    "fetch",
    short_help="Fetch bars into the cache.",
    epilog=examples(
        "tradekit data fetch yahoo:SPY,AAPL --start 2015-01-01",
        "tradekit data fetch alpaca --symbols SPY --frequency 1h",
    ),
)
@click.argument("source")
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas, unless SOURCE names them.")
@click.option("--start", metavar="DATE", help="First date, inclusive; all there is when left out.")
@click.option("--end", metavar="DATE", help="Last date, inclusive; all there is when left out.")
@click.option("--frequency", metavar="LENGTH", help="1D, 1h, 30m, 15m, 5m or 1m; a day when left out.")
@cache_option
@json_option
def fetch(source: str, cache: str | None, as_json: bool, **given: str | None) -> None:
    """Fetch bars from SOURCE, yahoo or alpaca, keep them in the cache and print the file, which --data takes."""
    from tradekit.market.sources.cache import fetch as fetch_bars
    from tradekit.market.sources.cache import list_cache

    path = fetch_bars(source, cache=cache, **given)
    if as_json:
        (entry,) = (entry for entry in list_cache(cache) if entry.path == path)
        print_json(entry.to_dict())
    else:
        click.echo(path)


def entry_line(entry: Entry) -> str:
    """Say in one line what a file of the cache holds."""
    span = " to ".join(stamp.removesuffix(" 00:00:00") for stamp in (entry.first, entry.last))
    altered = "" if entry.intact else ", MISSING OR ALTERED: fetch it again"
    return f"{entry.path.name}  {entry.rows} bars, {span}, fetched {entry.fetched[:10]}{altered}"


def verdict_lines(report: Report, source: str) -> Iterator[str]:
    """Yield what a report comes to, and how its errors are mended."""
    from tradekit.market.quality.repairs import ASKS

    counts = ", ".join(plural(number, severity) for severity, number in report.counts.items())
    size = f"{plural(report.rows, 'row')} of {plural(len(report.symbols), 'symbol')}"
    yield f"{report.verdict}: {size}; {counts}"
    errors = report.of(severity="error")
    repairs = {found.repair for found in errors if found.repair}
    if repairs:
        asks = ",".join(sorted(repairs, key=lambda ask: list(ASKS).index(ask.partition(":")[0])))
        actions = " [--actions FILE]" if "apply_actions" in repairs else ""
        yield f"next: tradekit data repair {shlex.quote(source)} --ask {asks}{actions} --out FILE"
    if any(found.repair is None for found in errors):
        yield "errors without a repair can be mended at the source only"


def repair_lines(repaired: Repaired) -> Iterator[str]:
    """Yield how much each repair changed, and which had nothing to do."""
    for ask, number in repaired.counts.items():
        yield f"{ask}: {plural(number, 'change')}"
    for ask in repaired.unused:
        yield f"{ask}: nothing to do"


def plural(number: int, noun: str) -> str:
    """Return how many, with the noun in its number.

    >>> plural(1, "row"), plural(2, "row")
    ('1 row', '2 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def demand_free(out: Path) -> None:
    """Raise DataError when ``out`` or its report exists, or its folder does not."""
    from tradekit.errors import DataError

    for path in (out, out.with_name(f"{out.name}.repairs.json")):
        if path.exists():
            raise DataError(f"{path} exists already; a repair is never written over a file, choose another --out")
    if not out.parent.is_dir():
        raise DataError(f"{out}: no folder {out.parent}; make it first")
