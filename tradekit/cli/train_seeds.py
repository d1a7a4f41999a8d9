"""The part of ``tradekit train`` that trains several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from tradekit.learn.seeds import SeedRun, SeedsResult

FIGURES = {
    "validation_sharpe": ("validation Sharpe", ".2f"),
    "validation_total_return": ("return", ".1%"),
    "max_drawdown": ("drawdown", ".1%"),
    "trades_per_symbol_year": ("trades a year", ".1f"),
    "exposure": ("invested", ".0%"),
}


def print_seeds(name: str, made: SeedsResult, home: Path, *, as_json: bool) -> None:
    """Print what became of the seeds."""
    if as_json:
        print_json(
            {
                "policy": name,
                "run": str(made.folder),
                "bundle": str(home / "bundle") if made.promoted else None,
                **{key: made.summary[key] for key in made.summary if key != "recipe"},
            }
        )
        return
    print_rich(seeds_table(made))
    for run in made.runs:
        for gate in run.gates:
            if not gate.met:
                click.echo(f"seed {run.seed}: {gate}")
    click.echo(made.summary["verdict"])
    if (converged := made.summary.get("convergence")) is not None and converged["supervised_sharpe"] is not None:
        click.echo(
            f"logistic regression on the same bars has a validation Sharpe of {converged['supervised_sharpe']:.2f}"
        )
    click.echo(f"runs   {made.folder}")
    if made.best is not None:
        where = home / "bundle" if made.promoted else made.best.folder / "bundle"
        click.echo(f"bundle {where} (seed {made.best.seed})")


def seeds_table(made: SeedsResult) -> Table:
    """Return a line for each seed, and the interquartile mean."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("seed", *(head for head, _ in FIGURES.values()), "healthy"):
        table.add_column(head, justify="right", no_wrap=True)
    for run in made.runs:
        table.add_row(str(run.seed), *_figures(run), "yes" if run.healthy else "no")
    across: dict[str, Any] = made.summary["across"]
    table.add_row(
        "middle", *(format(across[name]["interquartile_mean"], form) for name, (_, form) in FIGURES.items()), ""
    )
    return table


def _figures(run: SeedRun) -> list[str]:
    values = {name: run.figure(name) for name in FIGURES}
    return ["-" if values[name] != values[name] else format(values[name], form) for name, (_, form) in FIGURES.items()]
