"""Time many trainings side by side: ``python -m bench.many [--workers 2] [--timesteps N]``.

A policy for each symbol under each seed, as cells over processes of one thread each, and one policy for all symbols
together. Processes are started and libraries imported inside the time that is shown. The processor time of one training
hardly depends on what else the machine does; divided by the number of cores it is what idle ones would take.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from tradekit import load_panel
from tradekit.compute import Cell, run_cells
from tradekit.learn.recipe import DataChoice, Recipe
from tradekit.learn.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Panel

RECIPE = Path("policies/symbol_ppo/recipe.toml")
WIDE = Path("../shared/data/daily_wide145_adj.parquet")
SEEDS = (42, 1337, 9001)
# Of a training of one symbol, and of one of all of them.
TIMESTEPS, WHOLE = 20_480, 102_400


def one(panel: Panel, symbols: Sequence[str], recipe: Recipe) -> float:
    """Train on some symbols and return the processor seconds it took, without its process's start."""
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, panel.select(list(symbols)), Path(folder) / "run")
    return time.process_time() - begin


class Job(NamedTuple):
    """Trainings of every group of symbols under every seed, of so many steps, over so many processes."""

    name: str
    panel: Panel
    groups: Sequence[Sequence[str]]
    seeds: Sequence[int]
    timesteps: int
    workers: int


def timed(job: Job) -> tuple[float, float]:
    """Do a job and return the seconds in all, and the mean processor seconds of one training.

    Raises:
        SystemExit: a training failed.
    """
    recipe = replace(Recipe.load(RECIPE), data=DataChoice()).changed(timesteps=job.timesteps)
    pairs = itertools.product(job.groups, job.seeds)
    cells = [
        Cell(f"{number}", f"{group[0]}, seed {seed}", one, (tuple(group), replace(recipe, seed=seed)))
        for number, (group, seed) in enumerate(pairs)
    ]
    begin = time.perf_counter()
    outcomes = run_cells(cells, shared=job.panel, workers=job.workers)
    total = time.perf_counter() - begin
    for cell in cells:
        if (failure := outcomes[cell.key].failure) is not None:
            raise SystemExit(f"{cell.label}: {failure}")
    return total, sum(outcomes[cell.key].value for cell in cells) / len(cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--timesteps", type=int, default=TIMESTEPS, help="of each training of one symbol")
    parser.add_argument("--wide", type=Path, default=WIDE, help="a file of many symbols; left out when not there")
    given = parser.parse_args()
    steps, workers = given.timesteps, given.workers
    sample = load_panel("sample")
    apart, load = [[name] for name in sample.symbols], os.getloadavg()[0]
    jobs: list[Job] = [
        Job("one symbol, one seed", sample, apart[:1], SEEDS[:1], steps, 1),
        Job(f"{len(apart)} symbols x 3 seeds", sample, apart, SEEDS, steps, workers),
        Job(f"{len(apart)} symbols in one policy x 3 seeds", sample, [sample.symbols], SEEDS, WHOLE, workers),
    ]
    if given.wide.exists():
        wide = load_panel(str(given.wide))
        each = [[name] for name in wide.symbols]
        jobs += [
            Job(f"{len(each)} symbols", wide, each, SEEDS[:1], steps, workers),
            Job(f"{len(each)} symbols in one policy", wide, [wide.symbols], SEEDS[:1], WHOLE, 1),
        ]
    table = Table("what", "trainings", "steps of each", "processes", "s", "CPU s of one", "CPU s of all / processes")
    for job in jobs:
        print(job.name, file=sys.stderr, flush=True)
        total, mean = timed(job)
        count = len(job.groups) * len(job.seeds)
        figures = (f"{total:.1f}", f"{mean:.1f}", f"{count * mean / job.workers:.1f}")
        table.add_row(job.name, str(count), f"{job.timesteps:,}", str(job.workers), *figures)
    console = Console(width=140)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f} before, torch {torch.__version__}")
    console.print(table)


if __name__ == "__main__":
    main()
