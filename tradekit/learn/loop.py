"""The training loop: update, record, judge, guard, keep; and the same again after an interruption, to the last bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from tradekit.learn.checkpoint import Checkpoint, Store
from tradekit.learn.diagnosis import NO_TRADES, diagnose
from tradekit.learn.entropy import EntropyControl
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.guards import WARM_UP, CollapseGuard, EarlyStopping, alarms, confident, one_action, rests
from tradekit.learn.network import FrozenPolicy, frozen, one_thread
from tradekit.learn.ppo import Judgement, Learner, build_model, judge
from tradekit.learn.watch import Watch, telling

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tradekit.learn.diagnosis import Finding
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.task import Task

    Arrays = dict[str, NDArray[Any]]

Progress = Callable[[int, int, dict[str, Any]], None]
Sink = Callable[[dict[str, Any]], None]

FINISHED, STOPPED_EARLY, HALTED, INTERRUPTED = "finished", "stopped early", "halted", "interrupted"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        ended: FINISHED, STOPPED_EARLY, HALTED or INTERRUPTED.
        why: one line, empty where there is nothing to say.
        steps: environment steps taken.
        rows: one record for each update, with a judgement's figures where there was one.
        alarms: what looked wrong, by name: the steps at which it was seen first and last, and what it said then.
    """

    ended: str
    why: str
    steps: int
    rows: list[dict[str, Any]]
    alarms: dict[str, dict[str, Any]]


class Place(NamedTuple):
    """Where a run lives and who listens.

    Attributes:
        folder: of the checkpoints.
        progress: called with (steps done, in all, newest figures by their name in the metrics) after every step.
        stop: asked after every update whether the run is to be put away.
    """

    folder: Path
    progress: Progress | None = None
    stop: Callable[[], bool] | None = None


class Training:
    """A training run.

    Args:
        recipe: the settings.
        task: training slice of a panel that ends with the validation bars.
        validation_start: first row of those.
        place: where it lives.
    """

    def __init__(self, recipe: Recipe, task: Task, validation_start: int, place: Place) -> None:
        self.recipe, self.task, self.place = recipe, task, place
        self._validation_start, self._total = validation_start, recipe.ppo.timesteps
        self._environments = VectorSymbolEnv(task, recipe.ppo.environments, recipe.seed)
        with one_thread():  # the first weights are orthogonal, by a QR that several threads round differently
            self.model: Learner = build_model(recipe, self._environments)
        self._watch = Watch(self._environments, self._tell)
        self._watch.init_callback(self.model)
        self._entropy = EntropyControl(recipe.entropy, self._total)
        self._collapse = CollapseGuard(recipe.guard)
        self._episode_updates = math.ceil(
            min(recipe.environment.episode_bars, task.end - task.start) / recipe.ppo.steps
        )
        self._early = EarlyStopping(recipe.validation)
        self.store = Store(place.folder, recipe.checkpoints.best)
        self._alarms: dict[str, dict[str, Any]] = {}
        self._ended: tuple[str, str] | None = None
        self.rows: list[dict[str, Any]] = []
        self._next_judgement, self._next_checkpoint = recipe.validation.every, recipe.checkpoints.every
        self._newest: dict[str, Any] = {}
        self._seconds, self._since = 0.0, time.perf_counter()
        self.model.begin(self._total)

    def run(self, sinks: Sequence[Sink] = ()) -> Outcome:
        """Train until the steps are done, something ends the run, or ``stop`` asks for it.

        ``sinks`` are called with the row of every update.

        Raises:
            Diverged: losses or weights are no longer numbers.
            DeskError: a checkpoint cannot be written.
        """
        with one_thread():
            while self._ended is None and self.model.num_timesteps < self._total:
                self._update(sinks)
        ended, why = self._ended or (FINISHED, "")
        return Outcome(ended, why, self.model.num_timesteps, self.rows, self._alarms)

    def resume(self) -> int:
        """Go back to the newest checkpoint and return its step; 0: there is none yet.

        Raises:
            DeskError: the checkpoint was changed, or is not of this run.
        """
        kept = self.store.newest()
        if kept is not None:
            self._restore(kept)
        return self.model.num_timesteps

    def best(self) -> tuple[Judgement, FrozenPolicy, Arrays]:
        """Return the judgement of the best checkpoint, its policy as it is deployed, and its weights as trained."""
        kept = self.store.best()
        assert kept is not None  # a run that ends has judged its last update
        self.model.load_weights(kept.weights)
        policy = frozen(self.model, self.task.statistics)
        with one_thread():
            return self._judged(policy, kept.step), policy, kept.weights

    def _update(self, sinks: Sequence[Sink]) -> None:
        """Take one update and everything that follows from it."""
        model = self.model
        figures = model.advance(self._watch, self._entropy.coefficient(model.num_timesteps))
        statistics = self._watch.statistics()
        step = model.num_timesteps
        row = {"step": step, "seconds": self._elapsed(), **figures, **self._watch.figures(statistics)}
        self.rows.append(row)
        self._guard(row, diagnose(statistics))
        last = self._ended is not None or step >= self._total
        rank = self._judge(row) if last or step >= self._next_judgement else None
        self._newest = {**self._newest, **row}
        for sink in sinks:
            sink(row)
        stop = not last and self._ended is None and self.place.stop is not None and self.place.stop()
        if rank is not None or stop or step >= self._next_checkpoint:
            self._next_checkpoint = step + self.recipe.checkpoints.every
            self.store.save(self._checkpoint(rank))
        if stop:
            self._ended = (INTERRUPTED, "")

    def telling(self) -> dict[str, Any] | None:
        """Return what the rewards of the last roll-out look like; None when there was none since a resumption."""
        log = self._watch.log
        return telling(log, self._watch.weighted(), self.recipe.ppo.gamma) if len(log) else None

    def _guard(self, row: dict[str, Any], found: Sequence[Finding]) -> None:
        """Let the guards see an update; they may end the run."""
        if rests(self.rows, self._episode_updates):
            found = [one for one in found if one.name != NO_TRADES]
        judged = len(self.rows) > WARM_UP
        low = self._entropy.observe(row["step"], row["entropy"], judged=judged)
        halted = self._entropy_collapse(low) if low is not None else None
        if low is not None and halted is None:
            found = [*found, confident(low, self.rows)]
        halted = self._collapse.observe(len(self.rows), found) or halted
        if halted is not None:
            self._ended = (HALTED, halted)
        if self.recipe.guard.alarms and judged:
            for alarm in (*found, *alarms(self.rows)):
                self._alarms.setdefault(alarm.name, {"first_step": row["step"]})
                self._alarms[alarm.name] |= {"last_step": row["step"], "said": str(alarm)}

    def _entropy_collapse(self, low: str) -> str | None:
        """Return why a policy of low entropy, described by ``low``, ends the run; None: it is sure, and still acts.

        What is sampled counts and what is exported: a policy that only buys and holds decides on one bar of an episode.
        """
        single = one_action(self.rows, self._episode_updates)
        if single is None:
            return None
        judged = self._judged(frozen(self.model, self.task.statistics), self.model.num_timesteps)
        if judged.statistics.total_trades:
            return None
        return (
            f"entropy collapse: {low}; {single}, and on the validation bars it never trades; raise entropy.coefficient "
            "and entropy.final, or lower ppo.learning_rate"
        )

    def _judge(self, row: dict[str, Any]) -> tuple[bool, float]:
        """Judge the policy as it is now, and add the figures to ``row``."""
        judged = self._judged(frozen(self.model, self.task.statistics), self.model.num_timesteps)
        said = judged.statistics
        row |= {
            "validation_sharpe": judged.sharpe,
            "validation_return": judged.ledger.total_return,
            "validation_exposure": said.exposure,
            "validation_trades_per_symbol_year": said.trades_per_year,
            "validation_entropy": said.policy_entropy,
            "validation_executed_entropy": said.executed_entropy,
        }
        self._next_judgement = self.model.num_timesteps + self.recipe.validation.every
        stopped = self._early.observe(judged.rank)
        if self._ended is None and stopped is not None and self.model.num_timesteps < self._total:
            self._ended = (STOPPED_EARLY, stopped)
        return judged.rank

    def _judged(self, policy: FrozenPolicy, step: int) -> Judgement:
        return judge(self.recipe, self.task, policy, self._validation_start, step)

    def _elapsed(self) -> float:
        """Return the seconds that the run has taken, those before an interruption included."""
        now = time.perf_counter()
        self._seconds, self._since = self._seconds + now - self._since, now
        return self._seconds

    def _tell(self, step: int) -> None:
        if self.place.progress is not None:
            self.place.progress(min(step, self._total), self._total, self._newest)

    # ------------------------------------------------------------------------------------------------------- state

    def _checkpoint(self, rank: tuple[bool, float] | None) -> Checkpoint:
        generator, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - SB3 draws its minibatches from it
        assert generator == "MT19937"
        arrays = {
            **_prefixed("optimiser", self.model.optimiser()),
            **_prefixed("lanes", dict(_arrays(self._environments.lanes.state))),
            "begins_episode": self.model.begins_episode,
            "torch_generator": torch.get_rng_state().numpy().copy(),
            "numpy_generator": np.asarray(keys).copy(),
        }
        numbers = {
            "counters": self.model.counters(),
            "numpy_position": int(position),
            "entropy": self._entropy.state(),
            "collapse": self._collapse.state(),
            "early": self._early.state(),
            "ended": self._ended,
            "alarms": self._alarms,
            "next_judgement": self._next_judgement,
            "next_checkpoint": self._next_checkpoint,
            "seconds": self._seconds,
        }
        step, weights = self.model.num_timesteps, self.model.weights()
        return Checkpoint(step, rank, weights, arrays, _plain(numbers), self.rows)

    def _restore(self, kept: Checkpoint) -> None:
        numbers, state = kept.numbers, self._environments.lanes.state
        for name, array in _arrays(state):
            array[...] = kept.arrays[f"lanes/{name}"]
        self.model.load_weights(kept.weights)
        self.model.load_optimiser(_without("optimiser", kept.arrays))
        self.model.load_counters(numbers["counters"])
        self.model.go_on_from(state.seen, kept.arrays["begins_episode"])
        for guard, name in ((self._entropy, "entropy"), (self._collapse, "collapse"), (self._early, "early")):
            vars(guard).update(numbers[name])
        self._alarms, self.rows = numbers["alarms"], kept.rows
        self._ended = None if numbers["ended"] is None else (numbers["ended"][0], numbers["ended"][1])
        self._next_judgement, self._next_checkpoint = numbers["next_judgement"], numbers["next_checkpoint"]
        self._seconds, self._since = numbers["seconds"], time.perf_counter()
        torch.set_rng_state(torch.from_numpy(kept.arrays["torch_generator"].copy()))
        keys = kept.arrays["numpy_generator"]
        np.random.set_state(("MT19937", keys, numbers["numpy_position"], 0, 0.0))  # noqa: NPY002


def _arrays(state: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield every array of nested named tuples, under its path."""
    if isinstance(state, np.ndarray):
        yield name, state
        return
    for field, value in zip(state._fields, state, strict=True):
        yield from _arrays(value, f"{name}/{field}" if name else field)


def _prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}/{name}": np.ascontiguousarray(value).reshape(value.shape) for name, value in arrays.items()}


def _without(prefix: str, arrays: Arrays) -> Arrays:
    return {name.removeprefix(f"{prefix}/"): value for name, value in arrays.items() if name.startswith(f"{prefix}/")}


def _plain(value: Any) -> Any:
    """Return ``value`` with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
