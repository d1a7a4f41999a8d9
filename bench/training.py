"""Time training by the default recipe: ``python -m bench.training [--runs N]``.

One process, one thread. Training is timed after a run that compiles; where its time goes is taken from clocks around
the parts, and the median of the runs is printed. ``bench.decision`` times the policy that it makes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from tradekit import load_panel
from tradekit.learn.loop import Place, Training
from tradekit.learn.network import one_thread
from tradekit.learn.recipe import Recipe
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.task import Task

RECIPE = Path("policies/symbol_ppo/recipe.toml")


class Parts(NamedTuple):
    """Seconds of a training run, in all and by part."""

    total: float
    environment: float
    rollout: float
    optimiser: float
    judging: float
    saving: float


def timed(owner: Any, name: str, spent: dict[str, float]) -> None:
    """Let a clock run whenever ``owner.name`` does."""
    call = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - begin

    setattr(owner, name, wrapped)


def trained(recipe: Recipe, folder: Path) -> tuple[Parts, int]:
    """Train once and return where the time went, and how many steps it was."""
    panel = load_panel(recipe.data.source)
    spec = feature_spec(recipe, panel)
    split = split_bars(recipe, panel, spec)
    task = Task(panel[: split.stop], spec, stop=split.train_stop, costs=recipe.costs, reward=recipe.reward)
    spent: dict[str, float] = {}
    begin = time.perf_counter()
    training = Training(recipe, task, split.validation_start, Place(folder))
    timed(training._environments, "step_wait", spent)
    timed(training._environments, "action_masks", spent)
    timed(training.model, "collect_rollouts", spent)
    timed(training.model, "train", spent)
    timed(training, "_judged", spent)
    timed(training.store, "save", spent)
    steps = training.run().steps
    total = time.perf_counter() - begin
    inside = spent["step_wait"] + spent["action_masks"]
    return Parts(total, inside, spent["collect_rollouts"], spent["train"], spent["_judged"], spent["save"]), steps


def training_table(runs: int) -> Table:
    """Time the default recipe, and the same with larger batches."""
    shipped = Recipe.load(RECIPE)
    table = Table("recipe", "steps", "s", "steps / s", "environment", "optimiser", "validation", "checkpoints")
    with tempfile.TemporaryDirectory() as folder, one_thread():
        trained(shipped.changed(timesteps=4096), Path(folder) / "warm")
        for name, recipe in (("default", shipped), ("batch = 1024", shipped.changed(batch=1024))):
            results = [trained(recipe, Path(folder) / f"{name}{run}") for run in range(runs)]
            parts = Parts(*(statistics.median(column) for column in zip(*(one for one, _ in results), strict=True)))
            steps = results[0][1]
            shares = [f"{share / parts.total:.1%}" for share in (parts.environment, parts.optimiser, parts.judging)]
            row = (name, f"{steps:,}", f"{parts.total:.1f}", f"{steps / parts.total:,.0f}", *shares)
            table.add_row(*row, f"{parts.saving / parts.total:.1%}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="training runs of each recipe")
    given = parser.parse_args()
    console = Console(width=140)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread")
    console.print(training_table(given.runs))


if __name__ == "__main__":
    main()
