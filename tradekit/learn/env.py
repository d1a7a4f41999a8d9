"""The symbol agent's environments: one gymnasium environment, and many as a single vectorised one.

Both are views of the same lanes, hence of the same compiled step. Observations are normalised float32; the raw
float64 ones that a bundle reads stand beside them in ``raw``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from tradekit.errors import ConfigError, suggest
from tradekit.learn.actions import ACTIONS, NAMES, REASONS
from tradekit.learn.lanes import Lanes
from tradekit.learn.scoring import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

    from tradekit.learn.task import Task
    from tradekit.market.panel import Bools, Floats

    Observation = NDArray[np.float32]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def observation_space(task: Task) -> spaces.Box[Any]:
    """Return the space of normalised observations of ``task``."""
    clip = task.statistics.clip
    return spaces.Box(-clip, clip, task.statistics.mean.shape, np.float32)


def _demand_actions(actions: NDArray[np.int64]) -> None:
    """Raise ValueError unless every action exists: the kernels index by them."""
    if not ((actions >= 0) & (actions < ACTIONS)).all():
        raise ValueError(f"actions are numbers from 0 to {ACTIONS - 1}, not {actions.tolist()}")


class SymbolEnv(gymnasium.Env["Observation", np.int64]):
    """One symbol, one sleeve, seven actions.

    An episode has ``task.episode_bars`` steps from a random start and is truncated there, its position marked to
    market; it is terminated when equity is gone. An action outside ``action_masks()`` executes as HOLD. A fresh
    instance, or a ``reset`` with a seed, begins the same series of episodes again.

    Args:
        task: what is traded and how.
        symbol: which symbol of its panel; default: the first that has an episode.

    Raises:
        ConfigError: the panel has no such symbol, or it has no episode in the slice.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so

    def __init__(self, task: Task, symbol: str | None = None) -> None:
        known = [task.panel.symbols[column] for column in task.columns]
        symbol = known[0] if symbol is None else symbol
        if symbol not in known:
            raise ConfigError(f"no episode of {symbol} in these bars; {suggest(symbol, known)}")
        self.lanes = Lanes(task, np.array([task.panel.symbols.index(symbol)]))
        self.symbol = symbol
        self.observation_space = observation_space(task)
        self.action_space = spaces.Discrete(ACTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; ``options={"start": row}`` chooses its first decision bar.

        Raises:
            ConfigError: ``start`` is not a row of the task that leaves a step.
        """
        super().reset(seed=seed)
        if seed is not None:
            self.lanes.reseed(seed)
        start = int((options or {}).get("start", -1))
        task = self.lanes.task
        if start != -1 and not task.start <= start < task.end - 1:
            raise ConfigError(f"an episode cannot start at row {start}; choose {task.start} to {task.end - 2}")
        if start != -1 and task.pieces and not task.begins[start].any():
            raise ConfigError(f"an episode cannot start at row {start}, which is missing; choose one of {task.pieces}")
        self.lanes.begin_at(0, start)
        return self.lanes.state.seen[0].copy(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Order what ``action`` asks, fill it in the next bar, and return what is seen at its close.

        Raises:
            ValueError: there is no such action.
        """
        _demand_actions(np.asarray(action))
        self.lanes.step(np.array([action], np.int64), restart=False)
        outcome = self.lanes.outcome
        info = self._info() | {
            "executed": NAMES[outcome.executed[0]],
            "reason": REASONS[outcome.reason[0]],
            "reward_parts": dict(zip(COMPONENTS, outcome.parts[:, 0].tolist(), strict=True)),
        }
        ruined, ended = bool(outcome.ruined[0]), bool(outcome.ended[0])
        return self.lanes.state.seen[0].copy(), float(outcome.reward[0]), ruined, ended and not ruined, info

    def action_masks(self) -> Bools:
        """Return (7,) which actions are allowed now."""
        mask: Bools = self.lanes.state.mask[0].copy()
        return mask

    @property
    def raw(self) -> Floats:
        """(D,) float64, the observation before normalisation."""
        raw: Floats = self.lanes.raw()[0]
        return raw

    @property
    def equity(self) -> float:
        """Dollars at the close of the newest bar."""
        return float(self.lanes.state.book.equity[0])

    def _info(self) -> dict[str, Any]:
        return {"bar": int(self.lanes.state.bar[0]), "equity": self.equity, "symbol": self.symbol}


class VectorSymbolEnv(VecEnv):
    """Many symbol environments as one: a step is one compiled call over all of them.

    Usable symbols take turns: counted through over all environments, episode k trades symbol k modulo their number, so
    that each is traded as often as any other, however many environments there are. An episode that ends begins anew at
    once, as Stable-Baselines3 expects; ``infos[b]`` then holds ``terminal_observation``, ``TimeLimit.truncated`` and
    ``episode`` (reward, length), and is empty and read-only otherwise.

    Args:
        task: what is traded and how.
        environments: how many.
        seed: of the episode starts.

    Raises:
        ConfigError: ``environments`` is less than 1.
    """

    def __init__(self, task: Task, environments: int, seed: int = 0) -> None:
        if environments < 1:
            raise ConfigError(f"environments is {environments}; at least 1")
        self.lanes = Lanes(task, np.resize(task.columns, environments), seed, turns=task.columns)
        self.render_mode = None
        self._chosen = np.zeros(environments, np.int64)
        super().__init__(environments, observation_space(task), spaces.Discrete(ACTIONS))

    def reset(self) -> Observation:
        """Begin an episode everywhere and return (B, D) observations."""
        if self._seeds[0] is not None:
            self.lanes.reseed(self._seeds[0])
            self._reset_seeds()
        self.lanes.begin()
        return self.lanes.state.seen.copy()

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep (B,) actions for ``step_wait``.

        Raises:
            ValueError: one of them does not exist.
        """
        _demand_actions(actions)
        self._chosen[:] = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; return observations (B, D), rewards (B,), ended (B,) and infos."""
        self.lanes.step(self._chosen, restart=True)
        outcome = self.lanes.outcome
        infos: list[Any] = [_NOTHING] * self.num_envs
        for b in np.flatnonzero(outcome.ended):
            infos[b] = {
                "terminal_observation": outcome.final[b].copy(),
                "TimeLimit.truncated": not outcome.ruined[b],
                "episode": {"r": float(outcome.total[b]), "l": int(outcome.steps[b])},
            }
        return self.lanes.state.seen.copy(), outcome.reward.astype(np.float32), outcome.ended.copy(), infos

    def action_masks(self) -> Bools:
        """Return (B, 7) which actions are allowed now."""
        return self.lanes.state.mask.copy()

    @property
    def raw(self) -> Floats:
        """(B, D) float64, the observations before normalisation."""
        return self.lanes.raw()

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Return what ``action_masks`` answers for each environment; there is no other method.

        Raises:
            AttributeError: another method is asked for.
        """
        if method_name != "action_masks":
            raise AttributeError(f"the environments have no method {method_name}")
        return list(self.action_masks()[list(self._get_indices(indices))])

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the attribute, which all environments share, once for each."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: an environment is its task.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"cannot set {attr_name}; build the environment from another task")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each: there are no wrappers."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[None]:
        """Return no images."""
        return [None] * self.num_envs

    def close(self) -> None:
        """Do nothing; there is nothing open."""
