"""``tradekit init``."""

from __future__ import annotations

from pathlib import Path

import click

from tradekit.cli.console import print_json
from tradekit.cli.options import examples, json_option


@click.command("init", short_help="Write a fresh desk into a folder.", epilog=examples("tradekit init my-desk"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Add what is missing to a folder that holds something; overwrite nothing.")
@json_option
def command(folder: Path, force: bool, as_json: bool) -> None:
    """Write a fresh desk into FOLDER: strategies, a trained policy, backtest specs and a paper session."""
    from tradekit.desk.scaffold import init_desk

    written = init_desk(folder, force=force)
    if as_json:
        print_json({"desk": str(folder.resolve()), "written": [str(path) for path in written]})
        return
    click.echo(f"{folder}: {len(written)} files written")
    click.echo(f"next: cd {folder} && tradekit backtest --walk-forward")
