"""Recipe: how a policy is trained, as a file a user edits. TOML on disk, frozen dataclasses here."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError
from tradekit.learn.actions import ActionScheme
from tradekit.learn.checks import demand_known, demand_not_negative, demand_number, demand_whole
from tradekit.learn.rewards import Reward
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

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
        features: names of features or of sets; ``auto`` is ``ohlcv``, or ``close`` where the data has less.
    """

    source: str = "sample"
    end: str | None = None
    train_fraction: float = 0.6
    validation_fraction: float = 0.2
    features: tuple[str, ...] = ("auto",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", _words(self.features))
        for name in ("train_fraction", "validation_fraction"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        if self.end is not None:
            object.__setattr__(self, "end", str(self.end))  # TOML has dates of its own


@dataclass(frozen=True)
class Environment:
    """The episodes.

    Attributes:
        episode_bars: steps of one, from a random start in the training slice.
        cash: dollars of the sleeve at its start.
    """

    episode_bars: int = 256
    cash: float = 100_000.0

    def __post_init__(self) -> None:
        demand_whole("episode_bars", self.episode_bars, 1)
        demand_number("cash", self.cash, 0.0)


@dataclass(frozen=True)
class Ppo:
    """Settings of sb3-contrib's MaskablePPO, and how its progress is judged.

    Attributes:
        timesteps: steps over all environments; rounded up to whole updates.
        environments: stepped as one.
        steps: steps of each environment between updates.
        batch, epochs: minibatch size, a divisor of environments x steps, and passes over the data of an update.
        learning_rate, gamma, gae_lambda, clip_range, value_coefficient, max_grad_norm: as in PPO (Schulman et al. 2017,
            arXiv:1707.06347).
        entropy_coefficient, entropy_final: weight of the entropy bonus, per nat, at the first and at the last step,
            linear between.
        hold_bias: added to HOLD's logit before training. Without it an untrained policy sells half of all times it is
            long, so that learning finds positions short and dear before it finds that they can be kept.
        target_kl: an update stops early at 1.5 times this divergence; None: never.
        network: units of each hidden layer, for actor and critic alike.
        validate_every: steps between judgements on the validation slice.
    """

    timesteps: int = 100_000
    environments: int = 64
    steps: int = 64
    batch: int = 256
    epochs: int = 10
    learning_rate: float = 5e-4
    gamma: float = 0.95
    gae_lambda: float = 0.90
    clip_range: float = 0.2
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    entropy_coefficient: float = 0.05
    entropy_final: float = 0.01
    hold_bias: float = 3.0
    target_kl: float | None = None
    network: tuple[int, ...] = (64, 64)
    validate_every: int = 10_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", tuple(self.network))
        for name in ("timesteps", "environments", "steps", "batch", "epochs", "validate_every"):
            demand_whole(name, getattr(self, name), 1)
        for units in self.network:
            demand_whole("network", units, 1)
        for name in ("learning_rate", "clip_range", "value_coefficient", "max_grad_norm"):
            demand_number(name, getattr(self, name), 0.0)
        for name in ("gamma", "gae_lambda"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        for name in ("entropy_coefficient", "entropy_final", "hold_bias"):
            demand_not_negative(name, getattr(self, name))
        if self.target_kl is not None:
            demand_number("target_kl", self.target_kl, 0.0)
        if self.batch < 2 or self.environments * self.steps % self.batch:
            raise ConfigError(
                f"batch is {self.batch}; it must divide environments x steps = {self.environments * self.steps}"
            )


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run yields, the data aside.

    Attributes:
        name: of the policy.
        seed: of networks, sampling and episode starts.
        data, actions, environment, reward, ppo, costs, execution: see each.
    """

    name: str = "policy"
    seed: int = 42
    data: DataChoice = field(default_factory=DataChoice)
    actions: ActionScheme = field(default_factory=ActionScheme)
    environment: Environment = field(default_factory=Environment)
    reward: Reward = field(default_factory=Reward)
    ppo: Ppo = field(default_factory=Ppo)
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)

    def __post_init__(self) -> None:
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
        return asdict(self)

    def changed(self, **ppo: Any) -> Recipe:
        """Return the recipe with settings of ``[ppo]`` replaced."""
        return replace(self, ppo=replace(self.ppo, **ppo))


_READ_ALONE = {
    "actions": ActionScheme.from_dict,
    "reward": Reward.from_dict,
    "costs": CostModel.from_dict,
    "execution": ExecutionModel.from_dict,
}
_SECTIONS: dict[str, type[Any]] = {"data": DataChoice, "environment": Environment, "ppo": Ppo}


def _section(name: str, settings: Any) -> Any:
    if not isinstance(settings, dict):
        raise ConfigError(f"{name} is {settings!r}; write it as a table, [{name}]")
    if name in _READ_ALONE:
        return _READ_ALONE[name](settings)
    demand_known(f"key of [{name}]", settings, {item.name for item in fields(_SECTIONS[name])})
    return _SECTIONS[name](**settings)


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
