"""Train a policy: MaskablePPO on the compiled environments, judged on a later slice, exported as a bundle."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import Interrupted
from tradekit.learn.bundle import Bundle, copy_bundle, write_bundle
from tradekit.learn.composite import composite_score
from tradekit.learn.diagnosis import diagnose
from tradekit.learn.held import held
from tradekit.learn.manifest import manifest_of
from tradekit.learn.recipe import Recipe
from tradekit.learn.run import (
    BUNDLE,
    CHECKPOINTS,
    alone_in,
    begin_run,
    begun,
    check_bars,
    new_folder,
    plain,
    unfinished,
    write_metrics,
    write_summary,
)
from tradekit.learn.runtimes import TORCHSCRIPT, write
from tradekit.learn.slices import Split, feature_spec, split_bars
from tradekit.learn.supervised import with_probabilities
from tradekit.learn.task import Task
from tradekit.learn.telemetry import LOW_ENTROPY, verdict
from tradekit.learn.trades import trades_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tradekit.learn.loop import Outcome, Training
    from tradekit.learn.ppo import Judgement
    from tradekit.market.panel import Panel

    Progress = Callable[[int, int, dict[str, Any]], None]

RECIPE, RUNS = "recipe.toml", "runs"


@dataclass(frozen=True)
class TrainResult:
    """What a training run left behind.

    Attributes:
        run_folder: how it began, checkpoints, metrics of every update, summary and the run's own bundle.
        bundle_path: the bundle that strategies now load; the run's own when it was not promoted.
        metrics: of the chosen checkpoint on the validation bars, and of the run.
        verdict: one line.
        healthy: the policy trades, its numbers are finite, and no guard halted the run.
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
    loaded_from: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
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
        loaded_from: what ``load_panel`` was given for ``panel``, kept so that the run can be gone on with.
        progress: called with (steps done, in all, newest figures).
        stop: asked after every update whether to put the run away; see ``Interrupted``.

    Raises:
        ConfigError: the recipe cannot be used, or training diverged.
        DataError: too few bars, or a column is missing.
        DeskError: the policy's folder cannot be written, or ``out`` holds a run already.
        Interrupted: ``stop`` said so; ``resume_policy`` goes on.
    """
    home = desk_root / "policies" / name
    recipe = recipe or Recipe.load(home / RECIPE)
    recipe = recipe if timesteps is None else recipe.changed(timesteps=timesteps)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    if panel is None:
        from tradekit.market.sources import load_panel

        loaded_from = {"source": recipe.data.source, "side": [asdict(one) for one in recipe.data.side]}
        panel = load_panel(**loaded_from)
    if end is not None:
        recipe = replace(recipe, data=replace(recipe.data, source=panel.source, end=end))
    split_bars(recipe, panel, feature_spec(recipe, panel))  # refuse before a folder is made
    folder = new_folder(home / RUNS if out is None else out, stamped=out is None)
    begin_run(folder, recipe, panel, loaded_from)
    return _kept(go_on(folder, recipe, panel, progress, stop), home, promote=out is None)


def resume_policy(
    name: str,
    desk_root: Path,
    out: Path | None = None,
    *,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Go on with the newest unfinished run of a policy, or with the one in ``out``, from its last checkpoint.

    The run ends with the weights it would have had without the interruption, bit for bit.

    Raises:
        DeskError: there is no such run, or it is finished.
        DataError: the bars are no longer those that the run began with.
        Interrupted: ``stop`` said so again.
    """
    from tradekit.market.sources import load_panel

    home = desk_root / "policies" / name
    folder = unfinished(home / RUNS) if out is None else out
    recipe, loaded_from = begun(folder)
    panel = load_panel(**loaded_from)
    check_bars(folder, panel)
    return _kept(go_on(folder, recipe, panel, progress, stop), home, promote=out is None)


def _kept(made: Made, home: Path, *, promote: bool) -> TrainResult:
    """Put the bundle of a run where strategies load it, if it may be, and say what became of the run."""
    bundle, line = made.bundle, made.verdict
    promoted = made.healthy and promote
    if promoted:
        bundle = copy_bundle(bundle, home / BUNDLE)
    elif not made.healthy:
        line += f"; {home / BUNDLE} stays as it was"
    return TrainResult(made.bundle.folder.parent, bundle.folder, made.metrics, line, made.healthy, promoted)


class Made(NamedTuple):
    """What ``train`` makes: a bundle, its metrics, a one-line verdict, and whether the policy is usable."""

    bundle: Bundle
    metrics: dict[str, Any]
    verdict: str
    healthy: bool


def train(
    recipe: Recipe,
    panel: Panel,
    out: Path,
    progress: Progress | None = None,
    *,
    split: Split | None = None,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> Made:
    """Train by ``recipe`` on ``panel`` and write checkpoints, metrics, summary and bundle to the folder ``out``.

    The same recipe, bars and library versions give the same weights, bit for bit, and the generators of torch and numpy
    are left as they were.

    Args:
        recipe: how to train.
        panel: the bars.
        out: folder to make.
        progress: called with (steps done, in all, newest figures).
        split: which rows train and which choose among checkpoints, instead of the recipe's rule.
        weights: to start from, as another run of the recipe left them; None: freshly drawn ones.

    Returns:
        the bundle, the metrics, a one-line verdict, and whether the policy is usable.

    Raises:
        ConfigError: the features do not fit the recipe, or training diverged.
        DataError: too few bars, or a column is missing.
        DeskError: ``out`` cannot be written, or holds a run already.
    """
    begin_run(out, recipe, panel, None)
    return go_on(out, recipe, panel, progress, split=split, weights=weights)


def go_on(
    out: Path,
    recipe: Recipe,
    panel: Panel,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    *,
    split: Split | None = None,
    weights: Mapping[str, NDArray[Any]] | None = None,
) -> Made:
    """Train the run in ``out`` from where it is to its end; see ``train``.

    Raises:
        Interrupted: ``stop`` said so.
    """
    from tradekit.learn.loop import INTERRUPTED, Place, Training
    from tradekit.learn.ppo import DIVERGED, Diverged
    from tradekit.learn.tracking import sinks_of

    spec = feature_spec(recipe, panel)
    split = split or split_bars(recipe, panel, spec)
    if recipe.supervised is not None:
        spec = with_probabilities(spec, recipe.supervised, panel, split.stop)
    task = Task(
        panel[: split.stop],
        spec,
        scheme=recipe.actions,
        reward=recipe.reward,
        costs=recipe.costs,
        execution=recipe.execution,
        start=split.start,
        stop=split.train_stop,
        episode_bars=recipe.environment.episode_bars,
        cash=recipe.environment.cash,
        stacked_bars=recipe.environment.stacked_bars,
        liquidate=recipe.environment.liquidate,
        pieces=split.pieces,
    )
    with alone_in(out), own_generators():
        training = Training(recipe, task, split.validation_start, Place(out / CHECKPOINTS, progress, stop))
        step = training.resume()
        if weights is not None and not step:
            training.model.load_weights(weights)
        try:
            with sinks_of(recipe, out, step) as sinks:
                outcome = training.run(sinks)
        except Diverged as error:
            write_metrics(out, training.rows)
            write_summary(out, recipe, {"ended": DIVERGED, "why": str(error), "verdict": str(error), "healthy": False})
            raise
        write_metrics(out, outcome.rows)
        if outcome.ended == INTERRUPTED:
            raise Interrupted(f"interrupted after {outcome.steps} steps, which are kept in {out}; go on with --resume")
        return _finished(training, outcome, split, out)


def _finished(training: Training, outcome: Outcome, split: Split, out: Path) -> Made:
    """Export the best checkpoint of a run that has ended, and write its summary."""
    from safetensors.numpy import save

    best, policy, weights = training.best()
    healthy, line = _verdict(outcome, best)
    metrics, holding = _metrics(outcome, best), held(training.recipe, best.ledger.panel)
    if healthy and math.isfinite(holding["sharpe"]):
        line += f"; buying and holding has {holding['sharpe']:.2f}"
    manifest = manifest_of(training.recipe, training.task, split, metrics)
    bundle = write_bundle(out / BUNDLE, manifest, write(policy, TORCHSCRIPT), save(weights))
    said = {
        "verdict": line,
        "healthy": healthy,
        "ended": outcome.ended,
        "why": outcome.why,
        "seconds": round(outcome.rows[-1]["seconds"], 3),
        "metrics": metrics,
        "held": holding,
        "score": composite_score(outcome.rows, best.sharpe),
        "alarms": outcome.alarms,
        "findings": [str(one) for one in diagnose(best.statistics)],
        "data": manifest["data"],
        "versions": manifest["versions"],
        "last_roll_out": training.telling(),
    }
    write_summary(out, training.recipe, said)
    return Made(bundle, metrics, line, healthy)


def _verdict(outcome: Outcome, best: Judgement) -> tuple[bool, str]:
    """Return whether the policy is usable, and one line that says what it does or why it is not."""
    from tradekit.learn.loop import HALTED

    if outcome.ended == HALTED:
        return False, f"collapsed: {outcome.why}"
    healthy, line = verdict(best.statistics, best.sharpe)
    last = outcome.rows[-1]
    explores = last["entropy"] > LOW_ENTROPY and last["executed_trade_rate"] > 0.0
    if not healthy and not best.statistics.total_trades and explores:
        line = (
            f"not trained enough: after {outcome.steps} steps HOLD is still its favourite everywhere, though it tries "
            f"trades at {last['executed_trade_rate']:.0%} of the steps; train longer"
        )
    return healthy, line


@contextmanager
def own_generators() -> Iterator[None]:
    """Leave the generators of torch and numpy, which SB3 draws from, as they were."""
    import torch

    ours, theirs = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(ours)
        np.random.set_state(theirs)  # noqa: NPY002


def _metrics(outcome: Outcome, best: Judgement) -> dict[str, Any]:
    """Return the figures of the chosen checkpoint; None where a number is not defined."""
    said = {
        "steps": outcome.steps,
        "checkpoint_step": best.step,
        "validation_sharpe": best.sharpe,
        "validation_total_return": best.ledger.total_return,
        "validation_cost": best.ledger.total_cost,
        **trades_of(best.ledger).to_dict(),
        **best.statistics.to_dict(),
        "alarms": [one["said"] for one in outcome.alarms.values()],
    }
    metrics: dict[str, Any] = plain(said)
    return metrics
