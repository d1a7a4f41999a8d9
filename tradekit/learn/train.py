"""Train a policy: MaskablePPO on the compiled environments, judged on a later slice, exported as a bundle."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit import __version__
from tradekit.errors import DataError
from tradekit.learn.actions import NAMES
from tradekit.learn.bundle import Bundle, cannot_write, copy_bundle, write_bundle
from tradekit.learn.observations import default_features, names
from tradekit.learn.recipe import Recipe
from tradekit.learn.task import Task
from tradekit.learn.telemetry import verdict
from tradekit.market.features import FeatureSpec
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.learn.ppo import Trained
    from tradekit.market.panel import Panel

    Progress = Callable[[int, int, dict[str, Any]], None]

RECIPE, BUNDLE, RUNS, METRICS, SUMMARY = "recipe.toml", "bundle", "runs", "metrics.jsonl", "summary.json"


@dataclass(frozen=True)
class Split:
    """Rows of a panel: training ``0 <= t < train_stop``, validation ``validation_start <= t < stop``.

    The rows between are purged, so that no feature of a validation bar reads a training bar's target.
    """

    train_stop: int
    validation_start: int
    stop: int


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        run_folder: recipe, metrics per update, summary and the run's own bundle.
        bundle_path: the bundle that strategies now load; the run's own when it was not promoted.
        metrics: of the chosen checkpoint on the validation bars, and of the run.
        verdict: one line.
        healthy: the policy trades and its numbers are finite.
        promoted: the run's bundle took the place of the policy's bundle.
    """

    run_folder: Path
    bundle_path: Path
    metrics: dict[str, Any]
    verdict: str
    healthy: bool
    promoted: bool


def train_policy(
    name: str,
    desk_root: Path,
    panel: Panel | None = None,
    *,
    recipe: Recipe | None = None,
    timesteps: int | None = None,
    seed: int | None = None,
    end: str | None = None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train the policy ``name`` of a desk by its recipe and put its bundle where strategies load it.

    Args:
        name: folder under policies/.
        desk_root: the desk.
        panel: bars; None loads the recipe's source.
        recipe: instead of policies/<name>/recipe.toml.
        timesteps: instead of the recipe's.
        seed: instead of the recipe's.
        end: date of the last bar of training and validation, instead of the recipe's rule.
        out: keep the run here and leave the policy's bundle as it is; default: a new folder in policies/<name>/runs.
        progress: called with (steps done, in all, newest figures).

    Raises:
        ConfigError: the recipe cannot be used.
        DataError: too few bars, or a column is missing.
        DeskError: the policy's folder cannot be written.
    """
    home = desk_root / "policies" / name
    recipe = recipe or Recipe.load(home / RECIPE)
    recipe = recipe if timesteps is None else recipe.changed(timesteps=timesteps)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    if panel is None:
        from tradekit.market.sources import load_panel

        panel = load_panel(recipe.data.source)
    if end is not None:
        recipe = replace(recipe, data=replace(recipe.data, source=panel.source, end=end))
    split_bars(recipe, panel, feature_spec(recipe, panel))  # refuse before a folder is made
    run_folder = _run_folder(home / RUNS if out is None else out, stamped=out is None)
    bundle, metrics, line, healthy = train(recipe, panel, run_folder, progress)
    promoted = healthy and out is None
    if promoted:
        bundle = copy_bundle(bundle, home / BUNDLE)
    elif not healthy:
        line += f"; {home / BUNDLE} stays as it was"
    return TrainResult(run_folder, bundle.folder, metrics, line, healthy, promoted)


def train(
    recipe: Recipe, panel: Panel, out: Path, progress: Progress | None = None
) -> tuple[Bundle, dict[str, Any], str, bool]:
    """Train by ``recipe`` on ``panel`` and write recipe, metrics, summary and bundle to the folder ``out``.

    The same recipe, bars and library versions give the same weights, bit for bit.

    Returns:
        the bundle, the metrics, a one-line verdict, and whether the policy is usable.

    Raises:
        ConfigError: the features do not fit the recipe.
        DataError: too few bars, or a column is missing.
        DeskError: ``out`` cannot be written.
    """
    from tradekit.learn.ppo import run_ppo

    spec = feature_spec(recipe, panel)
    split = split_bars(recipe, panel, spec)
    seen = panel[: split.stop]
    task = Task(
        seen,
        spec,
        scheme=recipe.actions,
        reward=recipe.reward,
        costs=recipe.costs,
        execution=recipe.execution,
        stop=split.train_stop,
        episode_bars=recipe.environment.episode_bars,
        cash=recipe.environment.cash,
    )
    began = time.perf_counter()
    trained = run_ppo(recipe, task, split.validation_start, progress)
    healthy, line = verdict(trained.best.statistics, trained.best.sharpe)
    metrics = _metrics(trained)
    bundle = write_bundle(
        out / BUNDLE, manifest_of(recipe, task, split, metrics), trained.policy_script(), trained.weights()
    )
    _write_run(out, recipe, trained, metrics, line, time.perf_counter() - began)
    return bundle, metrics, line, healthy


def feature_spec(recipe: Recipe, panel: Panel) -> FeatureSpec:
    """Return the features of the recipe, ``auto`` resolved for the data.

    Raises:
        ConfigError: an unknown feature.
        DataError: the data lacks a column that a feature needs.
    """
    chosen = [default_features(panel) if name == "auto" else name for name in recipe.data.features]
    spec = FeatureSpec.named(*chosen)
    spec.check(panel)
    return spec


def split_bars(recipe: Recipe, panel: Panel, spec: FeatureSpec) -> Split:
    """Return which rows train and which choose among checkpoints.

    Raises:
        DataError: too few bars for both.
    """
    data = recipe.data
    if data.end is not None and panel.source == data.source:
        stop = len(panel.between(end=data.end))
    else:
        stop = int(len(panel) * data.train_fraction)
    validation_start = stop - int(stop * data.validation_fraction)
    train_stop = validation_start - spec.lookback
    if train_stop < spec.lookback + 2 or stop - validation_start < 2:
        raise DataError(
            f"{panel.source}: {stop} bars up to the end of training are too few; features look back {spec.lookback} "
            f"bars, so give at least {_fewest(data.validation_fraction, spec.lookback)}"
        )
    return Split(train_stop, validation_start, stop)


def _fewest(validation_fraction: float, lookback: int) -> int:
    return int(np.ceil((2 * lookback + 2) / (1.0 - validation_fraction))) + 2


def manifest_of(recipe: Recipe, task: Task, split: Split, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what a bundle says about itself, files and digests aside."""
    panel, spec = task.panel, task.features
    stamps = panel.timestamps.astype("M8[ns]")
    return {
        "name": recipe.name,
        "actions": {"names": NAMES, "scheme": recipe.to_dict()["actions"]},
        "observation": {
            "features": spec.names,
            "features_hash": spec.content_hash,
            "names": names(spec),
            "normalisation": task.statistics.to_dict(),
        },
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "data": {
            "source": panel.source,
            "symbols": panel.symbols,
            "start": str(stamps[0]),
            "train_end": str(stamps[split.train_stop - 1]),
            "validation_start": str(stamps[split.validation_start]),
            "seen_end": str(stamps[split.stop - 1]),
            "bars": split.stop,
            "hash": panel.content_hash,
            "frequency": panel.frequency,
            "columns": [column for column in FIELDS if column in panel.columns],
            "benchmark": panel.benchmark_name,
            "fill_at": recipe.execution.fills_at(panel),
        },
        "versions": _versions(),
        "metrics": metrics,
    }


def _metrics(trained: Trained) -> dict[str, Any]:
    """Return the figures of the chosen checkpoint; None where a number is not defined."""
    best = trained.best
    said = {
        "steps": trained.steps,
        "checkpoint_step": best.step,
        "validation_sharpe": best.sharpe,
        "validation_total_return": best.ledger.total_return,
        "validation_cost": best.ledger.total_cost,
        **best.statistics.to_dict(),
    }
    plain: dict[str, Any] = _plain(said)
    return plain


def _plain(value: Any) -> Any:
    """Return ``value`` with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _versions() -> dict[str, str]:
    packages = ("torch", "stable-baselines3", "sb3-contrib", "numpy", "numba")
    return {"tradekit": __version__, **{name: version(name) for name in packages}}


def _run_folder(folder: Path, *, stamped: bool) -> Path:
    """Make and return ``folder``, or a new folder in it named after the time."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    made = folder / stamp if stamped else folder
    try:
        made.mkdir(parents=True, exist_ok=not stamped)
    except OSError as error:
        raise cannot_write(made, error) from error
    return made


def _write_run(out: Path, recipe: Recipe, trained: Trained, metrics: dict[str, Any], line: str, seconds: float) -> None:
    summary = {"verdict": line, "seconds": round(seconds, 3), "metrics": metrics, "recipe": recipe.to_dict()}
    rows = "".join(json.dumps(_plain(row)) + "\n" for row in trained.rows)
    try:
        (out / METRICS).write_text(rows, encoding="utf-8")
        (out / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(out, error) from error
