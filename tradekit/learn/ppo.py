"""The training loop: sb3-contrib's MaskablePPO, with checkpoints judged on bars it does not learn from."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from tradekit.engine.simulate import simulate
from tradekit.errors import ConfigError
from tradekit.evidence.sharpe import sharpe
from tradekit.learn.actions import ACTIONS, HOLD, NAMES
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.network import FrozenPolicy, ask, frozen, one_thread, to_torchscript
from tradekit.learn.telemetry import LEAST_EXPOSURE, ActionStatistics, action_statistics

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.task import Task
    from tradekit.learn.train import Progress

# What SB3 logs, under the names written to the metrics file.
_LOGGED = {
    "train/approx_kl": "kl",
    "train/clip_fraction": "clip_fraction",
    "train/explained_variance": "explained_variance",
    "train/policy_gradient_loss": "policy_loss",
    "train/value_loss": "value_loss",
}


@dataclass(frozen=True)
class Judgement:
    """A checkpoint on the validation bars: its annual Sharpe ratio, its run, and the action statistics."""

    step: int
    sharpe: float
    ledger: Ledger
    statistics: ActionStatistics

    @property
    def rank(self) -> tuple[bool, float]:
        """The better the greater: those that invest before those that hardly do, then by Sharpe ratio."""
        sharpe_ratio = self.sharpe if math.isfinite(self.sharpe) else -math.inf
        return self.statistics.exposure >= LEAST_EXPOSURE, sharpe_ratio


@dataclass(frozen=True)
class Trained:
    """The outcome of a training run.

    Attributes:
        best: the judgement of the chosen checkpoint.
        policy: that checkpoint as it is deployed.
        parameters: actor and critic of that checkpoint, as trained.
        rows: one record for each update and each judgement, in order.
        steps: environment steps taken.
    """

    best: Judgement
    policy: FrozenPolicy
    parameters: dict[str, torch.Tensor]
    rows: list[dict[str, Any]]
    steps: int

    def policy_script(self) -> bytes:
        """Return the bytes of ``policy.ts``."""
        return to_torchscript(self.policy)

    def weights(self) -> bytes:
        """Return the bytes of ``weights.safetensors``."""
        return save({name: value.contiguous() for name, value in self.parameters.items()})


def run_ppo(recipe: Recipe, task: Task, validation_start: int, progress: Progress | None = None) -> Trained:
    """Train on ``task`` and choose the checkpoint with the best validation Sharpe ratio.

    Args:
        recipe: the settings.
        task: training slice of a panel that ends with the validation bars.
        validation_start: first row of those.
        progress: called with (steps done, in all, newest figures).

    Raises:
        ConfigError: training diverged.
    """
    with one_thread():
        environments = VectorSymbolEnv(task, recipe.ppo.environments, recipe.seed)
        model = build_model(recipe, environments)
        watch = _Watch(model, environments, recipe, validation_start, progress)
        _learn(model, recipe.ppo.timesteps, watch)
        assert watch.best is not None
        model.policy.load_state_dict(watch.parameters)
        policy = frozen(model, task.statistics)
    return Trained(watch.best, policy, watch.parameters, watch.rows, model.num_timesteps)


def _learn(model: MaskablePPO, timesteps: int, watch: _Watch) -> None:
    """Run the loop of the library.

    Raises:
        ConfigError: the weights stopped being numbers.
    """
    try:
        model.learn(timesteps, callback=watch, log_interval=None)  # type: ignore[arg-type]
    except ValueError:  # what torch's distributions say of NaN logits, unless somebody switched their checks off
        _demand_numbers(model)
        raise


def _demand_numbers(model: MaskablePPO) -> None:
    """Raise ConfigError when a weight is not finite."""
    if not all(bool(torch.isfinite(value).all()) for value in model.policy.parameters()):
        raise ConfigError(
            f"training diverged after {model.num_timesteps} steps: weights are no longer numbers; lower learning_rate"
        )


def build_model(recipe: Recipe, environments: VectorSymbolEnv) -> MaskablePPO:
    """Return an untrained model."""
    ppo = recipe.ppo
    model = MaskablePPO(
        "MlpPolicy",
        environments,
        learning_rate=ppo.learning_rate,
        n_steps=ppo.steps,
        batch_size=ppo.batch,
        n_epochs=ppo.epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy_coefficient,
        vf_coef=ppo.value_coefficient,
        max_grad_norm=ppo.max_grad_norm,
        target_kl=ppo.target_kl,
        policy_kwargs={"net_arch": list(ppo.network)},
        seed=recipe.seed,
        device="cpu",
    )
    with torch.no_grad():
        model.policy.action_net.get_parameter("bias")[HOLD] += ppo.hold_bias
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def judge(recipe: Recipe, task: Task, policy: FrozenPolicy, validation_start: int, step: int) -> Judgement:
    """Run ``policy`` over the bars from ``validation_start``, by the backtest itself."""
    agent = SymbolAgent(recipe.name, task.features, recipe.actions, partial(ask, policy))
    first = validation_start + 1 - task.features.lookback
    ledger = simulate(agent, task.panel[first:], recipe.costs, recipe.execution, start=validation_start - first)
    return Judgement(step, sharpe(ledger.returns, task.panel.bars_per_year), ledger, action_statistics(ledger))


class _Watch(BaseCallback):
    """Records every update, judges the policy now and then, and keeps the best checkpoint."""

    def __init__(
        self,
        trained: MaskablePPO,
        environments: VectorSymbolEnv,
        recipe: Recipe,
        validation_start: int,
        progress: Progress | None,
    ) -> None:
        super().__init__()
        self._trained, self._outcome = trained, environments.lanes.outcome
        self._recipe, self._start, self._progress = recipe, validation_start, progress
        self._task = environments.lanes.task
        self._next = recipe.ppo.validate_every
        self._chosen, self._executed = np.zeros(ACTIONS, np.int64), np.zeros(ACTIONS, np.int64)
        self.rows: list[dict[str, Any]] = []
        self.best: Judgement | None = None
        self.parameters: dict[str, torch.Tensor] = {}

    def _on_step(self) -> bool:
        self._chosen += np.bincount(self.locals["actions"], minlength=ACTIONS)
        self._executed += np.bincount(self._outcome.executed, minlength=ACTIONS)
        if self._progress:
            total = self._recipe.ppo.timesteps
            self._progress(min(self.num_timesteps, total), total, self._newest())
        return True

    def _on_rollout_start(self) -> None:
        ppo = self._recipe.ppo
        done = min(1.0, self.num_timesteps / ppo.timesteps)
        self._trained.ent_coef = ppo.entropy_coefficient + done * (ppo.entropy_final - ppo.entropy_coefficient)
        if self.num_timesteps:
            self._record()
        if self.num_timesteps >= self._next:
            self._judge()

    def _on_training_end(self) -> None:
        self._record()
        self._judge()

    def _record(self) -> None:
        _demand_numbers(self._trained)
        logged = self.logger.name_to_value
        episodes = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        row: dict[str, Any] = {"kind": "update", "step": self.num_timesteps, "entropy": -logged["train/entropy_loss"]}
        row |= {name: logged[key] for key, name in _LOGGED.items()}
        row["episode_reward"] = float(np.mean(episodes)) if episodes else math.nan
        row["chosen"] = dict(zip(NAMES, self._chosen.tolist(), strict=True))
        row["executed"] = dict(zip(NAMES, self._executed.tolist(), strict=True))
        self.rows.append({key: float(value) if isinstance(value, np.floating) else value for key, value in row.items()})
        self._chosen[:] = self._executed[:] = 0

    def _judge(self) -> None:
        self._next = self.num_timesteps + self._recipe.ppo.validate_every
        policy = frozen(self._trained, self._task.statistics)
        judged = judge(self._recipe, self._task, policy, self._start, self.num_timesteps)
        self.rows.append(
            {
                "kind": "validation",
                "step": judged.step,
                "sharpe": judged.sharpe,
                "total_return": judged.ledger.total_return,
                "exposure": judged.statistics.exposure,
                "trades_per_symbol_year": judged.statistics.trades_per_year,
            }
        )
        if self.best is None or judged.rank > self.best.rank:
            self.best, self.parameters = judged, deepcopy(self._trained.policy.state_dict())

    def _newest(self) -> dict[str, Any]:
        last = {row["kind"]: row for row in self.rows}
        return {
            "entropy": last.get("update", {}).get("entropy", math.nan),
            "validation_sharpe": last.get("validation", {}).get("sharpe", math.nan),
        }
