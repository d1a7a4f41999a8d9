"""sb3-contrib's MaskablePPO, one update at a time, and a policy's judgement on the bars that it does not learn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from torch.autograd.graph import register_multi_grad_hook

from tradekit.engine.simulate import simulate
from tradekit.errors import ConfigError
from tradekit.evidence.sharpe import sharpe
from tradekit.learn.actions import HOLD
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.network import FrozenPolicy, ask
from tradekit.learn.telemetry import LEAST_EXPOSURE, ActionStatistics, action_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from stable_baselines3.common.callbacks import BaseCallback

    from tradekit.engine.ledger import Ledger
    from tradekit.learn.env import VectorSymbolEnv
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.task import Task

    Arrays = dict[str, NDArray[Any]]

# What SB3 logs at an update, by the name it has in a run's metrics.
_LOGGED = {
    "train/entropy_loss": "entropy_loss",
    "train/policy_gradient_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/loss": "loss",
    "train/approx_kl": "kl",
    "train/clip_fraction": "clip_fraction",
    "train/clip_range": "clip_range",
    "train/explained_variance": "explained_variance",
    "train/learning_rate": "learning_rate",
}
DIVERGED = "diverged"
# Weights of this size are far outside what a network of normalised inputs learns.
_HUGE = 1e3


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


def judge(recipe: Recipe, task: Task, policy: FrozenPolicy, validation_start: int, step: int) -> Judgement:
    """Run ``policy`` over the bars from ``validation_start``, by the backtest itself."""
    agent = SymbolAgent(recipe.name, task.features, recipe.actions, partial(ask, policy), task.stacked_bars)
    first = validation_start + 1 - agent.lookback
    ledger = simulate(agent, task.panel[first:], recipe.costs, recipe.execution, start=validation_start - first)
    return Judgement(step, sharpe(ledger.returns, task.panel.bars_per_year), ledger, action_statistics(ledger))


@dataclass(frozen=True)
class Falling:
    """A setting that goes from ``first`` to ``last`` in a straight line, as SB3 asks for one."""

    first: float
    last: float

    def __call__(self, remaining: float) -> float:
        """Return the value when this share of the steps remains."""
        return self.last + remaining * (self.first - self.last)


class Diverged(ConfigError):
    """Training cannot go on: its numbers are no longer numbers."""


class _NotFinite(Exception):
    """A gradient is not a number, or infinite. Raised before the optimiser sees it."""


class Learner(MaskablePPO):
    """MaskablePPO that is taken through its updates from outside, and whose state can be put away.

    It adds nothing to the algorithm: it measures the norm of every gradient before SB3 clips it, and stops at one that
    is not finite, before the optimiser spoils the weights with it.
    """

    def begin(self, timesteps: int) -> None:
        """Start the environments; ``timesteps`` is the length of the run that schedules are drawn over."""
        self._setup_learn(timesteps)
        self._run_length = timesteps
        self._norms: list[float] = []
        register_multi_grad_hook(tuple(self.policy.parameters()), self._measure)

    def advance(self, callback: BaseCallback, entropy_coefficient: float) -> dict[str, float]:
        """Collect one roll-out, learn from it, and return the figures of the update.

        Raises:
            Diverged: a loss or a weight is no longer a number; the weights are those before it.
        """
        self.ent_coef = entropy_coefficient
        self._norms = []
        assert self.env is not None
        try:
            self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)
            self._demand_finite_rollout()
            self._update_current_progress_remaining(self.num_timesteps, self._run_length)
            self.train()
        except (_NotFinite, ValueError) as error:  # ValueError: what torch's distributions say of NaN logits
            cause = self._cause(error)
            if cause is None:
                raise
            raise self._diverged(cause) from error
        if (cause := self._cause(None)) is not None:
            raise self._diverged(cause)
        return self._figures()

    def _measure(self, gradients: Sequence[torch.Tensor | None]) -> None:
        known = [gradient for gradient in gradients if gradient is not None]
        norm = float(torch.nn.utils.get_total_norm(known))
        if not math.isfinite(norm):
            raise _NotFinite
        self._norms.append(norm)

    def _figures(self) -> dict[str, float]:
        logged, norms = self.logger.name_to_value, np.array(self._norms)
        said = {name: float(logged[key]) for key, name in _LOGGED.items()}
        return said | {
            "minibatches": float(len(norms)),
            "gradient_norm": float(norms.mean()) if len(norms) else math.nan,
            "gradient_norm_max": float(norms.max()) if len(norms) else math.nan,
            "clipped_gradients": float((norms > self.max_grad_norm).mean()) if len(norms) else math.nan,
            "entropy_coefficient": float(self.ent_coef),
            "value_mean": float(self.rollout_buffer.values.mean()),
            "reward_to_go": float(self.rollout_buffer.returns.mean()),
        }

    def _demand_finite_rollout(self) -> None:
        for name in ("observations", "rewards"):
            if not np.isfinite(getattr(self.rollout_buffer, name)).all():
                raise self._diverged(f"{name} of the environment are not numbers; check the prices and [reward]")

    def _cause(self, error: Exception | None) -> str | None:
        """Return why the run cannot go on, None when nothing is wrong with losses and weights."""
        weights = torch.cat([value.detach().flatten() for value in self.policy.parameters()])
        if not bool(torch.isfinite(weights).all()):
            return "weights are no longer numbers; lower ppo.learning_rate"
        if float(weights.abs().max()) > _HUGE:
            return f"weights grew to {float(weights.abs().max()):.2g}; lower ppo.learning_rate"
        if not isinstance(error, _NotFinite):
            return None
        largest = float(np.abs(self.rollout_buffer.returns).max())
        if not largest < _HUGE**2:
            return f"the loss is not a number, with returns of up to {largest:.2g}; lower reward.scale"
        return "the loss is not a number; lower ppo.learning_rate or ppo.max_grad_norm"

    def _diverged(self, cause: str) -> Diverged:
        return Diverged(f"training diverged after {self.num_timesteps} steps: {cause}")

    # ------------------------------------------------------------------------------------------------------- state

    def weights(self) -> Arrays:
        """Return actor and critic by name."""
        return {name: value.detach().numpy().copy() for name, value in self.policy.state_dict().items()}

    def load_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Take actor and critic from ``weights``."""
        self.policy.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})

    def optimiser(self) -> Arrays:
        """Return what the optimiser remembers of each parameter, by number and name."""
        state = self.policy.optimizer.state_dict()["state"]
        return {f"{number}.{name}": value.numpy().copy() for number, of in state.items() for name, value in of.items()}

    def load_optimiser(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what ``optimiser`` returned."""
        told = self.policy.optimizer.state_dict()
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in arrays.items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = torch.from_numpy(value.copy())
        self.policy.optimizer.load_state_dict({**told, "state": state})

    def counters(self) -> dict[str, int]:
        """Return what SB3 counts."""
        return {"num_timesteps": self.num_timesteps, "n_updates": self._n_updates}

    def load_counters(self, counters: Mapping[str, int]) -> None:
        """Take what ``counters`` returned."""
        self.num_timesteps, self._n_updates = counters["num_timesteps"], counters["n_updates"]
        self._update_current_progress_remaining(self.num_timesteps, self._run_length)

    @property
    def begins_episode(self) -> NDArray[np.bool_]:
        """(B,) whether the next observation of each environment is the first of an episode."""
        return np.asarray(self._last_episode_starts, np.bool_)

    def go_on_from(self, seen: NDArray[np.float32], begins_episode: NDArray[np.bool_]) -> None:
        """Take (B, D) what environments show now, and which of them begin an episode."""
        self._last_obs, self._last_episode_starts = seen.copy(), begins_episode.copy()


def build_model(recipe: Recipe, environments: VectorSymbolEnv) -> Learner:
    """Return an untrained model."""
    ppo = recipe.ppo

    def falling(first: float, last: float | None) -> Any:
        return first if last is None else Falling(first, last)

    model = Learner(
        "MlpPolicy",
        environments,
        learning_rate=falling(ppo.learning_rate, ppo.learning_rate_final),
        n_steps=ppo.steps,
        batch_size=ppo.batch,
        n_epochs=ppo.epochs,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=falling(ppo.clip_range, ppo.clip_range_final),
        ent_coef=recipe.entropy.coefficient,
        vf_coef=ppo.value_coefficient,
        max_grad_norm=ppo.max_grad_norm,
        target_kl=ppo.target_kl,
        policy_kwargs={"net_arch": list(ppo.network)},
        seed=recipe.seed,
        device="cpu",
    )
    _initialise_actor(model, ppo.actor_gain, ppo.hold_bias)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _initialise_actor(model: Learner, gain: float, hold_bias: float) -> None:
    """Scale the actor's last layer, which SB3 initialises with a gain of 0.01, and make it prefer HOLD."""
    with torch.no_grad():
        if gain != _SB3_GAIN:
            model.policy.action_net.get_parameter("weight").mul_(gain / _SB3_GAIN)
        model.policy.action_net.get_parameter("bias")[HOLD] += hold_bias


_SB3_GAIN = 0.01
