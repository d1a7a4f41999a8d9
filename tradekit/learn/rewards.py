"""Rewards: weighted sums of named components. A preset is data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import ConfigError, suggest
from tradekit.learn.checks import demand_known, demand_number
from tradekit.learn.jit import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.market.panel import Floats

COMPONENTS = ("log_return",)
PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType({"minimal": MappingProxyType({"log_return": 1.0})})

# log of the smallest share of its equity that an account can keep in a bar before the loss is counted as this.
_RUIN = 1e-6


@dataclass(frozen=True)
class Reward:
    """What a step is worth to the learner.

    Attributes:
        preset: ``minimal``: the log return of equity over the step, after costs, and nothing else.
        scale: the sum is multiplied by this; 100 turns returns into percent, a size that value networks learn faster.
            It does not change which policy is best.

    Raises:
        ConfigError: an unknown preset, or a scale that is not positive.
    """

    preset: str = "minimal"
    scale: float = 100.0

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"unknown reward preset {self.preset!r}; {suggest(str(self.preset), PRESETS)}")
        demand_number("the reward's scale", self.scale, 0.0)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Reward:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("reward setting", settings, {item.name for item in fields(cls)})
        return cls(**settings)

    @property
    def weights(self) -> Floats:
        """(C,) weight of each component, scale included."""
        preset = PRESETS[self.preset]
        return np.array([preset.get(name, 0.0) for name in COMPONENTS]) * self.scale


@compiled
def components(before: float, after: float, out: Floats) -> None:
    """Write the components (C,) of a step that took equity from ``before`` to ``after`` dollars, both after costs."""
    out[0] = np.log(max(after / before, _RUIN)) if before > 0.0 else 0.0
