"""Search a recipe's settings with Optuna: trials side by side, the hopeless ones ended early, every one kept.

A study is a recipe, its grid aside, on certain bars. It lives in ``policies/<name>/tune/<study>``: Optuna's journal,
and a run folder for each trial, so that whatever breaks off a trial, the same command goes on with it from its last
checkpoint.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tradekit import __version__
from tradekit.compute import Cell, hash_of, run_cells
from tradekit.errors import DeskError, Interrupted
from tradekit.learn.recipe_text import recipe_text
from tradekit.learn.run import BEGUN, begin_run, new_folder, write_plan
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.standing import STOP, Standing, Watching
from tradekit.learn.telemetry import LEAST_EXPOSURE
from tradekit.learn.train import go_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from tradekit.learn.recipe import Recipe
    from tradekit.learn.standing import Watched
    from tradekit.market.panel import Panel

TUNE, JOURNAL, TRIAL, TUNED = "tune", "journal.log", "trial.json", "recipe.tuned.toml"
# Trials that have to be complete, and the share of its steps that a trial has to be through, before it can be ended.
WHOLE_TRIALS, SPARED = 5, 0.4
BATCHES = (32, 64, 128)


@dataclass(frozen=True)
class TuneResult:
    """What a study holds now.

    Attributes:
        folder: of the study.
        study: its name.
        trials: those that are over, as Optuna keeps them.
        best: the best of those whose policy is usable; None: there is none yet.
        recipe: the best one's; None: there is none.
        file: where it was written.
        own: value of the recipe as it was; NaN where that trial did not end.
        data: content hash of the bars that were seen.
    """

    folder: Path
    study: str
    trials: list[FrozenTrial]
    best: FrozenTrial | None
    recipe: Recipe | None
    file: Path | None
    own: float
    data: str

    def count(self, state: TrialState) -> int:
        """Return how many trials are in a state."""
        return sum(one.state == state for one in self.trials)


def grid(recipe: Recipe) -> dict[str, BaseDistribution]:
    """Return what is searched; every range holds the recipe's own value too."""
    own, steps = settings_of(recipe), recipe.ppo.update_steps
    batches = sorted({size for size in (*BATCHES, recipe.ppo.batch) if not steps % size})
    return {
        "learning_rate": _range(1e-4, 1e-3, own["learning_rate"], log=True),
        "entropy_coefficient": _range(1e-3, 5e-2, own["entropy_coefficient"], log=True),
        "gae_lambda": _range(0.90, 0.98, own["gae_lambda"]),
        "clip_range": _range(0.1, 0.3, own["clip_range"]),
        "epochs": IntDistribution(min(5, recipe.ppo.epochs), max(15, recipe.ppo.epochs)),
        "batch": CategoricalDistribution(batches),
    }


def _range(low: float, high: float, own: float, *, log: bool = False) -> FloatDistribution:
    return FloatDistribution(min(low, own) if own > 0.0 else low, max(high, own), log=log)


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return the searched settings as the recipe has them."""
    names = ("learning_rate", "gae_lambda", "clip_range", "epochs", "batch")
    return {"entropy_coefficient": recipe.entropy.coefficient, **{name: getattr(recipe.ppo, name) for name in names}}


def with_settings(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """Return the recipe with the searched settings; the entropy bonus keeps the shape of its schedule."""
    settings = dict(settings)
    coefficient, before = settings.pop("entropy_coefficient"), recipe.entropy
    share = before.final / before.coefficient if before.coefficient else 1.0
    final = before.final if coefficient == before.coefficient else coefficient * share
    return replace(recipe, entropy=replace(before, coefficient=coefficient, final=final)).changed(**settings)


def tune(
    home: Path,
    recipe: Recipe,
    panel: Panel,
    trials: int,
    *,
    workers: int = 1,
    ray: str | None = None,
    watched: Watched | None = None,
    stop: Callable[[], bool] | None = None,
) -> TuneResult:
    """Bring a study to so many trials and write the best recipe beside the old one.

    The first trial is the recipe as it is. With one worker the same recipe, bars and number give the same trials; with
    several, what a trial knows of the others depends on which ended first.

    Args:
        home: folder of the policy.
        recipe: what is searched around.
        panel: the bars.
        trials: how many the study shall have; those it has already count.
        workers: processes; see ``run_cells``.
        ray: address of a Ray cluster instead; the policy's folder has to be one that all its machines see.
        watched: called with (label, steps done, in all, newest figures) of each trial.
        stop: asked whether to put all trials away.

    Raises:
        ConfigError: the recipe cannot be used.
        DataError: too few bars, or a column is missing.
        DeskError: the study cannot be kept, or a trial could not be finished.
        Interrupted: ``stop`` said so; the same call goes on.
    """
    split = split_bars(recipe, panel, feature_spec(recipe, panel))
    data = panel[: split.stop].content_hash
    name = study_name(recipe, data)
    folder = new_folder(home / TUNE / name, stamped=False)
    study = _opened(folder, recipe, 0)
    if not study.trials:
        study.enqueue_trial({key: own for key, own in settings_of(recipe).items() if own > 0.0})
    folders = {f"trial {number}": folder / f"trial-{number:04}" for number in range(trials)}
    cells = [
        Cell(label, label, one_trial, (place, recipe, number))
        for number, (label, place) in enumerate(folders.items())
        if not _is_over(study, place)
    ]
    with Watching({cell.label: folders[cell.label] for cell in cells}, watched, stop, folder / STOP):
        outcomes = run_cells(cells, shared=panel, workers=workers, ray=ray)
    left = [cell.label for cell in cells if not _is_over(study, folders[cell.label])]
    for label in left:
        if outcomes[label].failure is not None:
            raise DeskError(f"{label}: {outcomes[label].failure}; the others are kept, the same command goes on")
    if left:
        over = f"{trials - len(left)} of {trials} trials are over"
        raise Interrupted(f"interrupted: {over}, all kept in {folder}; the same command goes on")
    return result(home, recipe, study, folder, data)


def study_name(recipe: Recipe, data: str) -> str:
    """Return what a study is called: a hash of the bars, the version, and the recipe but for what is searched."""
    told = with_settings(recipe, {**settings_of(recipe), "batch": recipe.ppo.update_steps}).to_dict()
    for section, name in (("ppo", "learning_rate"), ("ppo", "gae_lambda"), ("ppo", "clip_range"), ("ppo", "epochs")):
        del told[section][name]
    shape = recipe.entropy.final / recipe.entropy.coefficient if recipe.entropy.coefficient else 1.0
    told["entropy"] |= {"coefficient": None, "final": round(shape, 9)}
    del told["tracking"]
    return hash_of(json.dumps(told, sort_keys=True, default=str), data, __version__)[:12]


def one_trial(panel: Panel, folder: Path, recipe: Recipe, number: int) -> None:
    """Take trial ``number`` of the study around ``folder`` to its end, or until the study says stop."""
    from tradekit.learn.ppo import Diverged

    flag = folder.parent / STOP
    if flag.exists():
        return
    study = _opened(folder.parent, recipe, number)
    trial = _trial(study, folder, recipe)
    if _frozen(study, trial).state.is_finished():
        return
    chosen = with_settings(recipe, trial.params)
    if not (folder / BEGUN).exists():
        begin_run(folder, chosen, panel, None)
    judging = _Judging(study, trial, Standing(folder), flag)
    try:
        made = go_on(folder, chosen, panel, judging, judging.ends)
    except Interrupted:
        if judging.hopeless:
            study.tell(trial, state=TrialState.PRUNED)
        return
    except Diverged as error:
        trial.set_user_attr("verdict", str(error))
        study.tell(trial, state=TrialState.FAIL)
        return
    sharpe, exposure = made.metrics["validation_sharpe"], made.metrics["exposure"]
    for key, said in (("healthy", made.healthy), ("verdict", made.verdict), ("digest", made.bundle.digest)):
        trial.set_user_attr(key, said)
    value = worth(sharpe, exposure)
    study.tell(trial, value if made.healthy else min(value, 0.0))


def worth(sharpe: float | None, exposure: float | None) -> float:
    """Return what a judgement counts for: no more than cash, 0, where hardly anything was invested."""
    known = sharpe if sharpe is not None and math.isfinite(sharpe) else 0.0
    return known if (exposure or 0.0) >= LEAST_EXPOSURE else min(known, 0.0)


class _Judging:
    """Reports a trial's judgements to the study, and ends it when they are behind the others'."""

    def __init__(self, study: optuna.Study, trial: optuna.Trial, standing: Standing, flag: Path) -> None:
        self._trial, self._standing, self._flag = trial, standing, flag
        self._reported = max(_frozen(study, trial).intermediate_values, default=-1)
        self._asked = self._reported
        self.hopeless = False

    def __call__(self, done: int, total: int, figures: dict[str, Any]) -> None:
        self._standing(done, total, figures)
        step = int(figures.get("step", -1))
        if step > self._reported and "validation_sharpe" in figures:
            self._reported = step
            self._trial.report(worth(figures["validation_sharpe"], figures["validation_exposure"]), step)

    def ends(self) -> bool:
        """Return whether the trial is to be put away."""
        if self._flag.exists():
            return True
        if self._asked < self._reported:
            self._asked = self._reported
            self.hopeless = self._trial.should_prune()
        return self.hopeless


def _opened(folder: Path, recipe: Recipe, number: int) -> optuna.Study:
    """Return the study in ``folder``, with draws of its own for each trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(
            study_name=folder.name,
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            sampler=optuna.samplers.TPESampler(seed=int(hash_of(recipe.seed, number)[:8], 16)),
            pruner=optuna.pruners.MedianPruner(WHOLE_TRIALS, int(SPARED * recipe.ppo.timesteps)),
            direction="maximize",
            load_if_exists=True,
        )
    except OSError as error:
        raise DeskError(f"{folder}: the study cannot be kept there ({error.strerror}); free some space") from error


def _trial(study: optuna.Study, folder: Path, recipe: Recipe) -> optuna.Trial:
    """Return the trial that ``folder`` was made for, a new one where it was not made yet."""
    if (folder / TRIAL).exists():
        return optuna.Trial(study, int(json.loads((folder / TRIAL).read_text(encoding="utf-8"))["id"]))
    trial = study.ask(grid(recipe))
    trial.set_user_attr("folder", folder.name)
    write_plan(folder / TRIAL, {"id": trial._trial_id, "number": trial.number, "settings": trial.params})
    return trial


def _frozen(study: optuna.Study, trial: optuna.Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _is_over(study: optuna.Study, folder: Path) -> bool:
    if not (folder / TRIAL).exists():
        return False
    number = json.loads((folder / TRIAL).read_text(encoding="utf-8"))["number"]
    state: TrialState = study.get_trials(deepcopy=False)[number].state
    return state.is_finished()


def result(home: Path, recipe: Recipe, study: optuna.Study, folder: Path, data: str) -> TuneResult:
    """Return what a study holds, and write its best recipe."""
    trials = [one for one in study.get_trials() if "folder" in one.user_attrs and one.state.is_finished()]
    whole = [one for one in trials if one.state == TrialState.COMPLETE]
    mine = settings_of(recipe)
    own = next((float(one.value or 0.0) for one in whole if one.params == mine), math.nan)
    best = max((one for one in whole if one.user_attrs["healthy"]), key=lambda one: one.value or 0.0, default=None)
    if best is None:
        return TuneResult(folder, folder.name, trials, None, None, None, own, data)
    chosen = with_settings(recipe, best.params)
    said = (
        f"The best of {len(trials)} trials of `tradekit tune {recipe.name}`: validation Sharpe {best.value:.3f},",
        "on the bars that chose it. Before believing it: tradekit train --recipe recipe.tuned.toml --validate",
    )
    file, partial = home / TUNED, home / f".{TUNED}"
    try:
        partial.write_text(recipe_text(chosen, said, home.name), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise DeskError(f"{file}: cannot be written ({error.strerror}); free space or mend its permissions") from error
    return TuneResult(folder, folder.name, trials, best, chosen, file, own, data)
