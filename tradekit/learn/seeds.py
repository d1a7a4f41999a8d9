"""One recipe under several seeds, side by side: a learner is a distribution of results, not one of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.compute import Cell, run_cells
from tradekit.errors import DeskError, Interrupted
from tradekit.evidence.seeds import interquartile_interval
from tradekit.learn.bundle import copy_bundle, read_bundle
from tradekit.learn.health import Gate, convergence, gates, in_short_updates, supervised_sharpe
from tradekit.learn.metrics import FILE as METRICS
from tradekit.learn.metrics import rows_of
from tradekit.learn.run import BEGUN, BUNDLE, SUMMARY, begin_run, new_folder, plain, write_plan, write_summary
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.standing import STOP, Standing, Watching
from tradekit.learn.telemetry import LEAST_EXPOSURE
from tradekit.learn.train import RUNS, go_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tradekit.learn.recipe import Recipe
    from tradekit.learn.standing import Watched
    from tradekit.market.panel import Panel

PLAN = "seeds.json"
VALIDATED_SEEDS = (42, 1337, 9001)
# Figures of the seeds of which a summary gives the interquartile mean.
ACROSS = ("validation_sharpe", "validation_total_return", "max_drawdown", "trades_per_symbol_year", "exposure")


@dataclass(frozen=True)
class SeedRun:
    """How one seed ended.

    Attributes:
        seed: its number.
        folder: of its run.
        summary: the run's own.
        gates: what a healthy run shows; empty where the run diverged before its first update.
        healthy: the policy is usable and, if gates were asked for, every one is met.
    """

    seed: int
    folder: Path
    summary: dict[str, Any]
    gates: list[Gate]
    healthy: bool

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of the exported checkpoint; none where there is no checkpoint."""
        metrics: dict[str, Any] = self.summary.get("metrics", {})
        return metrics

    def figure(self, name: str) -> float:
        """Return one of the metrics; NaN where it is not defined."""
        value = self.metrics.get(name)
        return math.nan if value is None else float(value)

    @property
    def rank(self) -> tuple[bool, float]:
        """The better the greater, as checkpoints are ranked."""
        sharpe = self.figure("validation_sharpe")
        return self.figure("exposure") >= LEAST_EXPOSURE, sharpe if math.isfinite(sharpe) else -math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a summary."""
        return {
            "seed": self.seed,
            "run": self.folder.name,
            "healthy": self.healthy,
            "verdict": self.summary["verdict"],
            "metrics": self.metrics,
            "gates": [gate.to_dict() for gate in self.gates],
        }


@dataclass(frozen=True)
class SeedsResult:
    """What several seeds left behind.

    Attributes:
        folder: a run folder for each seed, and summary.json.
        runs: in the order of the seeds.
        summary: as written.
        healthy: what the exit status says: with gates, all seeds are healthy; without, one is.
        best: the best by validation among the healthy ones; None: there is none.
        promoted: its bundle took the place of the policy's.
    """

    folder: Path
    runs: list[SeedRun]
    summary: dict[str, Any]
    healthy: bool
    best: SeedRun | None
    promoted: bool


def train_seeds(
    name: str,
    desk_root: Path,
    panel: Panel,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    validate: bool = False,
    out: Path | None = None,
    loaded_from: Mapping[str, str | None] | None = None,
    workers: int = 1,
    ray: str | None = None,
    watched: Watched | None = None,
    stop: Callable[[], bool] | None = None,
) -> SeedsResult:
    """Train a policy's recipe under every seed and put the best bundle where strategies load it.

    Args:
        name: folder under policies/.
        desk_root: the desk.
        panel: the bars.
        recipe: as it will be used, but for the seed.
        seeds: different ones.
        validate: train in short updates, hold every run to the gates of ``health`` and say whether the seeds converged.
            Nothing is promoted unless all of them are healthy; otherwise the best of those that are usable is.
        out: keep the runs here and leave the policy's bundle as it is.
        loaded_from: what ``load_panel`` was given, so that the runs can be gone on with.
        workers: processes; see ``run_cells``.
        ray: address of a Ray cluster instead.
        watched: called with (label, steps done, in all, newest figures) of each run.
        stop: asked whether to put all runs away.

    Raises:
        ConfigError: the recipe cannot be used.
        DataError: too few bars, or a column is missing.
        DeskError: the folder cannot be written, or a run could not be finished.
        Interrupted: ``stop`` said so; ``resume_seeds`` goes on.
    """
    home = desk_root / "policies" / name
    recipe = in_short_updates(recipe) if validate else recipe
    split_bars(recipe, panel, feature_spec(recipe, panel))  # refuse before a folder is made
    folder = new_folder(home / RUNS if out is None else out, stamped=out is None)
    begin_run(folder, recipe, panel, loaded_from)
    write_plan(folder / PLAN, {"seeds": list(seeds), "validate": validate})
    return resume_seeds(
        home, folder, panel, recipe, promote=out is None, workers=workers, ray=ray, watched=watched, stop=stop
    )


def holds_seeds(folder: Path) -> bool:
    """Return whether the run in ``folder`` is one of several seeds."""
    return (folder / PLAN).exists()


def resume_seeds(
    home: Path,
    folder: Path,
    panel: Panel,
    recipe: Recipe,
    *,
    promote: bool,
    workers: int = 1,
    ray: str | None = None,
    watched: Watched | None = None,
    stop: Callable[[], bool] | None = None,
) -> SeedsResult:
    """Train what is not finished of the seeds in ``folder``, each from its last checkpoint; see ``train_seeds``."""
    plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    folders = {f"seed {seed}": folder / f"seed-{seed}" for seed in plan["seeds"]}
    cells = [
        Cell(label, label, train_one, (place, replace(recipe, seed=seed)))
        for (label, place), seed in zip(folders.items(), plan["seeds"], strict=True)
    ]
    with Watching(folders, watched, stop, folder / STOP):
        outcomes = run_cells(cells, shared=panel, workers=workers, ray=ray)
    unfinished = [label for label, place in folders.items() if not (place / SUMMARY).exists()]
    for label in unfinished:
        if outcomes[label].failure is not None:
            raise DeskError(f"{label}: {outcomes[label].failure}; the other seeds are kept, go on with --resume")
    if unfinished:
        raise Interrupted(
            f"interrupted: {', '.join(unfinished)} not finished, all kept in {folder}; go on with --resume"
        )
    runs = [
        ended(place, seed, validate=plan["validate"])
        for place, seed in zip(folders.values(), plan["seeds"], strict=True)
    ]
    return _kept(home, folder, recipe, panel, runs, validate=plan["validate"], promote=promote)


def train_one(panel: Panel, folder: Path, recipe: Recipe) -> None:
    """Train in ``folder`` until the end or until its parent folder says stop; go on where it was before."""
    flag = folder.parent / STOP
    if (folder / SUMMARY).exists() or flag.exists():
        return
    if not (folder / BEGUN).exists():
        begin_run(folder, recipe, panel, None)
    try:
        go_on(folder, recipe, panel, Standing(folder), flag.exists)
    except Interrupted:
        return


def ended(folder: Path, seed: int, *, validate: bool) -> SeedRun:
    """Return how the run in ``folder`` ended."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    run = SeedRun(seed, folder, summary, [], bool(summary["healthy"]))
    found = gates(rows_of(folder / METRICS), run.figure("validation_sharpe"))
    return replace(run, gates=found, healthy=run.healthy and (not validate or all(gate.met for gate in found)))


def _kept(
    home: Path, folder: Path, recipe: Recipe, panel: Panel, runs: list[SeedRun], *, validate: bool, promote: bool
) -> SeedsResult:
    """Write the summary of all seeds, and put the best bundle where strategies load it, if it may be."""
    told: dict[str, Any] = {"seeds": [run.to_dict() for run in runs], "across": _across(runs)}
    if validate:
        told["convergence"] = convergence(
            [run.figure("validation_sharpe") for run in runs],
            [run.figure("max_drawdown") for run in runs],
            supervised_sharpe(recipe, panel),
        )
    healthy = all(run.healthy for run in runs) if validate else any(run.healthy for run in runs)
    best = max((run for run in runs if run.healthy), key=lambda run: run.rank, default=None) if healthy else None
    promoted = promote and best is not None
    line = verdict(runs, told.get("convergence"))
    if best is not None and promoted:
        copy_bundle(read_bundle(best.folder / BUNDLE), home / BUNDLE)
    elif best is None:
        line += f"; {home / BUNDLE} stays as it was"
    told |= {
        "verdict": line,
        "healthy": healthy,
        "best_seed": None if best is None else best.seed,
        "promoted": promoted,
    }
    write_summary(folder, recipe, told)
    return SeedsResult(folder, runs, plain(told), healthy, best, promoted)


def _across(runs: Sequence[SeedRun]) -> dict[str, Any]:
    """Return the interquartile mean of figures over the seeds, its bounds, and the extremes.

    A policy that holds cash has no Sharpe ratio, and it counts as 0.
    """
    found = {}
    for name in ACROSS:
        values = np.array([run.figure(name) for run in runs])
        values = np.where(np.isfinite(values), values, 0.0)
        told = interquartile_interval(values[:, None])
        found[name] = {
            "interquartile_mean": told.value,
            "low": told.low,
            "high": told.high,
            "least": float(values.min()),
            "most": float(values.max()),
        }
    return found


def verdict(runs: Sequence[SeedRun], converged: Mapping[str, Any] | None) -> str:
    """Return one line: how many seeds are healthy, what is wrong with the first that is not, and how far they came."""
    well = sum(run.healthy for run in runs)
    said = f"{'healthy' if well == len(runs) else 'not healthy'}: {well} of {len(runs)} seeds"
    sick = next((run for run in runs if not run.healthy), None)
    if sick is not None:
        missed = next((str(gate) for gate in sick.gates if not gate.met), "")
        said += f"; seed {sick.seed}: {sick.summary['verdict'] if not sick.summary['healthy'] else missed}"
    if converged is not None:
        words = {"none": "not converged", "converged": "converged", "strong": "converged strongly"}
        said += f"; {words[converged['level']]}, interquartile validation Sharpe {converged['sharpe']:.2f}"
    return said
