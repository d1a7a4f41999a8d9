"""``tradekit export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tradekit.cli.console import print_json
from tradekit.cli.options import examples, json_option

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk
    from tradekit.learn.bundle import Bundle
    from tradekit.learn.export import Exported

# What `tradekit train` leaves to be written; a command's help imports nothing to say it.
FORMATS = ("onnx",)


@click.command(
    "export",
    short_help="Write a trained policy as ONNX.",
    epilog=examples("tradekit export", "tradekit export policies/symbol_ppo/runs/2026-01-05T09-30-00/bundle"),
)
@click.argument("name", required=False)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True, help="What to write."
)
@json_option
def command(name: str | None, form: str, as_json: bool) -> None:
    """Write the policy NAME, or the one in the folder NAME, in another format beside the one that training wrote.

    NAME may be left out when the desk has one policy. policy.onnx stands in the bundle then, with its SHA-256 in
    bundle.json; it is kept only if it chooses the same action as policy.ts on 10,000 observations. A strategy runs it
    with PolicyStrategy.load(FOLDER, runtime="onnx"), on which torch is not needed. Training again writes a bundle
    without it.

    Exit status: 0 written; 2 there is no such policy, what writes the format is not installed, the file would decide
    otherwise, or the folder cannot be written.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.learn.bundle import read_bundle
    from tradekit.learn.export import export

    desk = find_desk()
    made = export(read_bundle(_place(desk, name)), form)
    _print(desk, made, as_json=as_json)


def _place(desk: Desk, name: str | None) -> Path:
    from tradekit.cli.train import only_policy

    if name is not None and not (desk.policies / name).is_dir():
        return Path(name)
    return desk.policies / (name or only_policy(desk))


def _print(desk: Desk, made: Exported, *, as_json: bool) -> None:
    from tradekit.learn.export import COMPARED
    from tradekit.learn.runtimes import RUNTIMES

    bundle: Bundle = made.bundle
    file = RUNTIMES[bundle.runtime].file
    if as_json:
        print_json(
            {
                "policy": bundle.name,
                "format": bundle.runtime,
                "file": str(bundle.folder / file),
                "sha256": bundle.files[file],
                "observations": COMPARED,
                "largest_difference": made.largest_difference,
            }
        )
        return
    shown = desk.short(bundle.folder)
    click.echo(
        f"{COMPARED:,} observations: the same actions, probabilities within {made.largest_difference:.0e}\n"
        f"file   {shown}/{file}\n"
        f'run it PolicyStrategy.load("{shown}", runtime="{bundle.runtime}")'
    )
