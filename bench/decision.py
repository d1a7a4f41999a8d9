"""Time a decision of the shipped policy in both of its formats, and of SB3's own predict: ``python -m bench.decision``.

One thread. Calls are timed one by one, numpy in and numpy out; the ways take turns in rounds, and the medians of the
rounds' percentiles are printed. A process that loads a policy and decides once is timed whole.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tradekit import load_panel
from tradekit.learn.bundle import Bundle, read_bundle
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.export import export
from tradekit.learn.network import one_thread
from tradekit.learn.ppo import build_model
from tradekit.learn.recipe import Recipe
from tradekit.learn.runtimes import ONNX, RUNTIMES
from tradekit.learn.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Bools, Floats

    Way = Callable[[Floats, Bools], object]

POLICY = Path("policies/symbol_ppo")
DECISIONS, WARM, DRAWN = 5_000, 500, 1_000
BATCHES = (1, 20, 200)
STARTED = """
import numpy as np
from tradekit.learn.policy import PolicyStrategy
bundle = PolicyStrategy.load({folder!r}, runtime={runtime!r}).bundle
bundle.decide(np.zeros((1, {width})), np.ones((1, 7), bool))
"""


def microseconds(way: Way, raw: Floats, mask: Bools) -> tuple[float, float]:
    """Return the median and the 99th percentile of a call for a batch: raw (DRAWN, B, D), mask (B, 7)."""
    taken = np.empty(DECISIONS)
    for number in range(-WARM, DECISIONS):
        seen = raw[number % DRAWN]
        begin = time.perf_counter_ns()
        way(seen, mask)
        taken[number] = time.perf_counter_ns() - begin
    return float(np.median(taken)) / 1e3, float(np.percentile(taken, 99)) / 1e3


def predict_of(bundle: Bundle) -> Way:
    """Return SB3's predict for a network of the recipe's size, on observations that it need not normalise."""
    task = Task(load_panel("sample"), bundle.features)
    model = build_model(Recipe.load(POLICY / "recipe.toml"), VectorSymbolEnv(task, 64))
    return lambda seen, mask: model.predict(seen, deterministic=True, action_masks=mask)


def decisions(folder: Path, rounds: int) -> Table:
    """Time every way of deciding for batches of several sizes."""
    bundles = {runtime: read_bundle(folder, runtime) for runtime in RUNTIMES}
    bundle = next(iter(bundles.values()))
    said = bundle.manifest["observation"]["normalisation"]
    mean, scale, rng = np.array(said["mean"]), np.array(said["scale"]), np.random.default_rng(0)
    ways: dict[str, Way] = {RUNTIMES[name].file: one.decide for name, one in bundles.items()}
    ways["SB3's predict"] = predict_of(bundle)
    table = Table("us a call", *(f"{at}, batch {batch}" for batch in BATCHES for at in ("p50", "p99")))
    found: dict[str, list[str]] = {name: [] for name in ways}
    for batch in BATCHES:
        raw = mean + scale * rng.normal(size=(DRAWN, batch, len(mean)))
        seen, mask = ((raw - mean) / scale).astype(np.float32), np.ones((batch, 7), np.bool_)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for name, way in [item for _ in range(rounds) for item in ways.items()]:
            taken[name].append(microseconds(way, seen if name.startswith("SB3") else raw, mask))
        for name, several in taken.items():
            found[name] += [f"{statistics.median(column):.1f}" for column in zip(*several, strict=True)]
    for name, cells in found.items():
        table.add_row(name, *cells)
    return table


def starts(folder: Path, rounds: int) -> Table:
    """Time processes that load the policy and decide once."""
    width = len(read_bundle(folder).manifest["observation"]["names"])
    taken: dict[str, list[float]] = {name: [] for name in RUNTIMES}
    for name in [name for _ in range(rounds) for name in RUNTIMES]:
        code = STARTED.format(folder=str(folder), runtime=name, width=width)
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        taken[name].append(time.perf_counter() - begin)
    table = Table("a process to its first decision", "s")
    for name, several in taken.items():
        table.add_row(RUNTIMES[name].file, f"{statistics.median(several):.2f}")
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way")
    given, console = parser.parse_args(), Console(width=140)
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread")
    with tempfile.TemporaryDirectory() as scratch, one_thread():
        folder = Path(shutil.copytree(POLICY / "bundle", Path(scratch) / "bundle"))
        export(read_bundle(folder), ONNX)
        console.print(decisions(folder, given.rounds))
        console.print(starts(folder, given.rounds))


if __name__ == "__main__":
    main()
