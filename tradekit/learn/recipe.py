"""Recipe: how a policy is trained, as a file a user edits. TOML on disk, frozen dataclasses here."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError, demand_known
from tradekit.learn.actions import ActionScheme
from tradekit.learn.checks import (
    demand_not_negative,
    demand_number,
    demand_switch,
    demand_text,
    demand_whole,
    tuple_of,
)
from tradekit.learn.entropy import Entropy
from tradekit.learn.rewards import Reward
from tradekit.learn.supervised import Supervised
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.side_series import SideSeries, side_of

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class DataChoice:
    """Which bars are learnt from.

    Attributes:
        source: what is loaded when the user names no data.
        end: date of the last bar of training and validation, for this source; None: by ``train_fraction``.
        train_fraction: share of the bars, from the first, for training and validation of any other data.
        validation_fraction: share of those, the last ones, that only choose among checkpoints.
        features: names of features or of sets, ``side:NAME`` for a side series; ``auto`` is ``ohlcv``, or ``close``
            where the data has less.
        side: series to put beside the bars, whichever bars they are.
    """

    source: str = "sample"
    end: str | None = None
    train_fraction: float = 0.6
    validation_fraction: float = 0.2
    features: tuple[str, ...] = ("auto",)
    side: tuple[SideSeries, ...] = ()

    def __post_init__(self) -> None:
        chosen: Any = self.features
        object.__setattr__(self, "features", (chosen,) if isinstance(chosen, str) else chosen)
        tuple_of(self, "features")
        object.__setattr__(self, "side", side_of(self.side))
        demand_text("source", self.source)
        for name in self.features:
            demand_text("a name in features", name)
        for name in ("train_fraction", "validation_fraction"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        if self.validation_fraction == 1.0:
            raise ConfigError("validation_fraction is 1.0; less than 1, or no bar is left to train on")
        if self.end is not None:
            object.__setattr__(self, "end", str(self.end))  # TOML has dates of its own


@dataclass(frozen=True)
class Environment:
    """The episodes.

    Attributes:
        episode_bars: steps of one, from a random start in the training slice.
        cash: dollars of the sleeve at its start.
        stacked_bars: of how many bars the features are seen at once.
        liquidate: sell all before an episode ends, instead of marking the position to market.
    """

    episode_bars: int = 256
    cash: float = 100_000.0
    stacked_bars: int = 1
    liquidate: bool = False

    def __post_init__(self) -> None:
        demand_whole("episode_bars", self.episode_bars, 1)
        demand_whole("stacked_bars", self.stacked_bars, 1)
        demand_switch("liquidate", self.liquidate)
        demand_number("cash", self.cash, 0.0)


@dataclass(frozen=True)
class Ppo:
    """Settings of sb3-contrib's MaskablePPO.

    Attributes:
        timesteps: steps over all environments; rounded up to whole updates.
        environments: stepped as one.
        steps: steps of each environment between updates.
        batch, epochs: minibatch size, a divisor of environments x steps, and passes over the data of an update.
        learning_rate, gamma, gae_lambda, clip_range, value_coefficient, max_grad_norm: as in PPO (Schulman et al. 2017,
            arXiv:1707.06347).
        learning_rate_final, clip_range_final: reached at the last step, linearly; None: constant.
        target_kl: an update stops early at 1.5 times this divergence; None: never.
        network: units of each hidden layer, for actor and critic alike.
        actor_gain: of the orthogonal initialisation of the actor's last layer; the smaller, the more alike are the
            actions at first.
        hold_bias: added to HOLD's logit before training. Without it an untrained policy sells half of all times it is
            long, so that learning finds positions short and dear before it finds that they can be kept.
    """

    timesteps: int = 100_000
    environments: int = 64
    steps: int = 64
    batch: int = 256
    epochs: int = 10
    learning_rate: float = 5e-4
    learning_rate_final: float | None = None
    gamma: float = 0.95
    gae_lambda: float = 0.90
    clip_range: float = 0.2
    clip_range_final: float | None = None
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None
    network: tuple[int, ...] = (64, 64)
    actor_gain: float = 0.01
    hold_bias: float = 3.0

    def __post_init__(self) -> None:
        tuple_of(self, "network")
        for name in ("timesteps", "environments", "steps", "batch", "epochs"):
            demand_whole(name, getattr(self, name), 1)
        for units in self.network:
            demand_whole("network", units, 1)
        for name in ("learning_rate", "value_coefficient", "max_grad_norm", "actor_gain"):
            demand_number(name, getattr(self, name), 0.0)
        for name in ("gamma", "gae_lambda", "clip_range"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        demand_not_negative("hold_bias", self.hold_bias)
        for name, most in (("target_kl", math.inf), ("clip_range_final", 1.0), ("learning_rate_final", math.inf)):
            if getattr(self, name) is not None:
                demand_number(name, getattr(self, name), 0.0, most)
        if self.batch < 2 or self.environments * self.steps % self.batch:
            raise ConfigError(
                f"batch is {self.batch}; it must divide environments x steps = {self.environments * self.steps}"
            )

    @property
    def update_steps(self) -> int:
        """Environment steps of one update."""
        return self.environments * self.steps


@dataclass(frozen=True)
class Guard:
    """What watches a run for collapses. The guard of the entropy stands in ``[entropy]``.

    Attributes:
        alarms: say what looks wrong in an update and what to change.
        collapse: end the run when what it does is a collapse.
        patience: the same collapse has to be found in so many updates in a row.
    """

    alarms: bool = True
    collapse: bool = True
    patience: int = 3

    def __post_init__(self) -> None:
        demand_switch("alarms", self.alarms)
        demand_switch("collapse", self.collapse)
        demand_whole("patience", self.patience, 1)


@dataclass(frozen=True)
class Validation:
    """How checkpoints are judged, on bars that training does not learn from.

    Attributes:
        every: steps between judgements.
        early_stopping: end the run when judgements no longer improve.
        patience: judgements in a row without improvement that end it.
        min_delta: annual Sharpe ratio that counts as an improvement.
    """

    every: int = 10_000
    early_stopping: bool = True
    patience: int = 5
    min_delta: float = 0.01

    def __post_init__(self) -> None:
        demand_whole("every", self.every, 1)
        demand_switch("early_stopping", self.early_stopping)
        demand_whole("patience", self.patience, 1)
        demand_not_negative("min_delta", self.min_delta)


@dataclass(frozen=True)
class Checkpoints:
    """What a run keeps to go on from.

    Attributes:
        every: steps between checkpoints; there is one at every judgement and at an interruption besides.
        best: how many are kept of those that were judged best; the newest is kept always.
    """

    every: int = 10_000
    best: int = 3

    def __post_init__(self) -> None:
        demand_whole("every", self.every, 1)
        demand_whole("best", self.best, 1)


@dataclass(frozen=True)
class Tracking:
    """Where the curves of a run go beside its folder.

    Attributes:
        tensorboard: write event files into the run folder.
        mlflow: URI of an MLflow store to log to; None: none.
    """

    tensorboard: bool = True
    mlflow: str | None = None

    def __post_init__(self) -> None:
        demand_switch("tensorboard", self.tensorboard)
        if self.mlflow is not None:
            demand_text("mlflow", self.mlflow)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run yields, the data aside.

    Attributes:
        name: of the policy.
        seed: of networks, sampling and episode starts.
        data, actions, environment, reward, costs, execution: what is learnt from, and under which rules.
        ppo, entropy: how it is learnt.
        guard, validation, checkpoints, tracking: how the run is watched and kept.
        supervised: probabilities of a rise that are seen beside the features; None: none.
    """

    name: str = "policy"
    seed: int = 42
    data: DataChoice = field(default_factory=DataChoice)
    actions: ActionScheme = field(default_factory=ActionScheme)
    environment: Environment = field(default_factory=Environment)
    reward: Reward = field(default_factory=Reward)
    ppo: Ppo = field(default_factory=Ppo)
    entropy: Entropy = field(default_factory=Entropy)
    guard: Guard = field(default_factory=Guard)
    validation: Validation = field(default_factory=Validation)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    tracking: Tracking = field(default_factory=Tracking)
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    supervised: Supervised | None = None

    def __post_init__(self) -> None:
        demand_text("name", self.name)
        demand_whole("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise ConfigError(f"seed is {self.seed}; at most {2**32 - 1}")

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe file; the policy is called as its folder unless the file says otherwise.

        Raises:
            ConfigError: the file is missing or not TOML, a key is unknown, or a value cannot be used.
        """
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: no recipe can be read there; `tradekit init` writes one") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML ({error}); correct that line") from error
        try:
            return cls.from_dict({"name": path.parent.name, **settings})
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Recipe:
        """Build from plain nested settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        settings = dict(settings)
        demand_known("recipe key", settings, {item.name for item in fields(cls)})
        for key, value in settings.items():
            if key not in ("name", "seed"):
                settings[key] = _section(key, value)
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested settings; ``from_dict`` of them is this recipe."""
        said = asdict(self)
        if self.supervised is None:
            del said["supervised"]
        return said

    def changed(self, **ppo: Any) -> Recipe:
        """Return the recipe with settings of ``[ppo]`` replaced."""
        return replace(self, ppo=replace(self.ppo, **ppo))


_READ_ALONE = {
    "actions": ActionScheme.from_dict,
    "reward": Reward.from_dict,
    "entropy": Entropy.from_dict,
    "costs": CostModel.from_dict,
    "execution": ExecutionModel.from_dict,
}
_SECTIONS: dict[str, type[Any]] = {
    "data": DataChoice,
    "environment": Environment,
    "ppo": Ppo,
    "guard": Guard,
    "supervised": Supervised,
    "validation": Validation,
    "checkpoints": Checkpoints,
    "tracking": Tracking,
}


def _section(name: str, settings: Any) -> Any:
    if not isinstance(settings, dict):
        raise ConfigError(f"{name} is {settings!r}; write it as a table, [{name}]")
    if name in _READ_ALONE:
        return _READ_ALONE[name](settings)
    demand_known(f"key of [{name}]", settings, {item.name for item in fields(_SECTIONS[name])})
    return _SECTIONS[name](**settings)
