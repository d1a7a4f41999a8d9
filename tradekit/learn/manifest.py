"""What a bundle says about the training that made it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tradekit.learn.actions import NAMES
from tradekit.learn.observations import names
from tradekit.learn.supervised import SUPERVISED, WithProbabilities
from tradekit.market.panel import FIELDS
from tradekit.version import __version__

if TYPE_CHECKING:
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.slices import Split
    from tradekit.learn.task import Task


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
            "stacked_bars": task.stacked_bars,
            "names": names(spec, task.stacked_bars),
            "normalisation": task.statistics.to_dict(),
            **({SUPERVISED: spec.to_dict()} if isinstance(spec, WithProbabilities) else {}),
        },
        # Where curves are sent to does not make another policy.
        "recipe": {key: value for key, value in recipe.to_dict().items() if key != "tracking"},
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
            "side": sorted(panel.side),
            "benchmark": panel.benchmark_name,
            "fill_at": recipe.execution.fills_at(panel),
        },
        "versions": _versions(),
        "metrics": metrics,
    }


def _versions() -> dict[str, str]:
    packages = ("torch", "stable-baselines3", "sb3-contrib", "numpy", "numba")
    return {"tradekit": __version__, **{name: version(name) for name in packages}}
