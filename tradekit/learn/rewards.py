"""Rewards: weighted sums of named components. A preset is data; ``scoring`` computes the components."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import ConfigError, demand_known, suggest
from tradekit.learn.actions import ACTIONS, ENTRIES
from tradekit.learn.checks import demand_number, demand_whole
from tradekit.learn.scoring import COMPONENTS, FAILED_ACTION, LOG_RETURN, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "minimal": {"log_return": 1.0},
        "stage5": {
            "pnl": 0.75,
            "cost": 0.10,
            "sharpe": 0.03,
            "drawdown": 0.02,
            "diversity": 0.07,
            "action_repeat": 0.05,
            "intrinsic": 0.01,
        },
        "v1": {"pnl": 0.40, "cost": 0.15, "time": 0.15, "sharpe": 0.05, "drawdown": 0.10, "sizing": 0.05},
        "professional": {
            "pnl": 0.75,
            "cost": 0.10,
            "sharpe": 0.03,
            "drawdown": 0.02,
            "hold": 1.0,
            "diversity": 0.07,
            "action_repeat": 0.05,
            "intrinsic": 0.01,
        },
    }
)
"""Weight of each component; those left out have none."""

SHAPING: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "professional": {
            "unrealised_weight": 0.0,
            "entry_multipliers": (1.2, 1.0, 0.8),
            "partial_exit_multiplier": 0.8,
            "staged_exit_multiplier": 1.1,
            "pyramiding_multiplier": 1.3,
        },
    }
)
"""Where a preset differs from the defaults of ``Shaping``."""

DRAWDOWNS = ("monotone", "original")


@dataclass(frozen=True)
class Shaping:
    """What the components are made of; only those with a weight read it.

    Attributes:
        unrealised_weight: of the change in unrealised profit in ``pnl``; at 0 it counts what sales realise alone.
        roi_multiplier: multiply ``pnl`` by 1 + 2 x equity change / what the position cost, between 1/2 and 3.
        entry_multipliers: of realised profit and loss, by the action that opened the position: small, medium, large.
        partial_exit_multiplier, full_exit_multiplier, staged_exit_multiplier: of the same, by how it is closed: a part
            of it, all at once, the rest after a part.
        pyramiding_multiplier: of the same, where the position was added to.
        max_hold_bars: what the bars that a loser was held are divided by in ``time``.
        sharpe_window_bars, sharpe_target: of ``sharpe``: mean over standard deviation of one-bar returns.
        drawdown: "monotone": 0 below 5 %, -dd to 15 %, and from there twice as steep; "original": -dd^2 above 15 %,
            which is a weaker penalty than at 15 %.
        target_volatility_annual: of ``sizing``: an entry should have the weight that brings the symbol's volatility,
            over the last 20 bars, to this, and no more than all of the equity.
        hold_winner, hold_loser: of ``hold``, for each HOLD with a position.
    """

    unrealised_weight: float = 1.0
    roi_multiplier: bool = False
    entry_multipliers: tuple[float, ...] = (1.0, 1.0, 1.0)
    partial_exit_multiplier: float = 1.0
    full_exit_multiplier: float = 1.0
    staged_exit_multiplier: float = 1.0
    pyramiding_multiplier: float = 1.0
    max_hold_bars: int = 120
    sharpe_window_bars: int = 20
    sharpe_target: float = 1.0
    drawdown: str = "monotone"
    target_volatility_annual: float = 0.15
    hold_winner: float = -0.01
    hold_loser: float = -0.005

    def __post_init__(self) -> None:
        object.__setattr__(self, "entry_multipliers", tuple(self.entry_multipliers))
        if len(self.entry_multipliers) != len(ENTRIES):
            raise ConfigError(
                f"entry_multipliers has {len(self.entry_multipliers)} numbers; 3, for small, medium, large"
            )
        for name in ("max_hold_bars", "sharpe_window_bars"):
            demand_whole(name, getattr(self, name), 2)
        for name in ("unrealised_weight", "sharpe_target", "hold_winner", "hold_loser"):
            demand_number(name, getattr(self, name), -math.inf)
        for name in ("partial_exit", "full_exit", "staged_exit", "pyramiding"):
            demand_number(f"{name}_multiplier", getattr(self, f"{name}_multiplier"), 0.0)
        for value in self.entry_multipliers:
            demand_number("entry_multipliers", value, 0.0)
        demand_number("target_volatility_annual", self.target_volatility_annual, 0.0)
        if self.drawdown not in DRAWDOWNS:
            raise ConfigError(f"unknown drawdown {self.drawdown!r}; {suggest(str(self.drawdown), DRAWDOWNS)}")


@dataclass(frozen=True)
class Reward:
    """What a step is worth to the learner.

    Attributes:
        preset: ``minimal``: the log return of equity over the step, after costs, and nothing else; ``stage5``, ``v1``
            and ``professional``: see ``PRESETS`` and ``SHAPING``.
        scale: the sum is multiplied by this; 100 turns returns into percent, a size that value networks learn faster.
            It does not change which policy is best.
        weights: of components, instead of the preset's.
        shaping: settings of ``Shaping``, instead of the preset's.

    Raises:
        ConfigError: an unknown preset, component or setting, or a value that cannot be used.

    >>> Reward("v1", weights={"time": 0.0}).of_components["pnl"]
    0.4
    """

    preset: str = "minimal"
    scale: float = 100.0
    weights: Mapping[str, float] = field(default_factory=dict)
    shaping: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.preset not in tuple(PRESETS):  # a tuple, which can be asked for a list too
            raise ConfigError(f"unknown reward preset {self.preset!r}; {suggest(str(self.preset), PRESETS)}")
        demand_number("the reward's scale", self.scale, 0.0)
        for name in ("weights", "shaping"):
            if not isinstance(getattr(self, name), dict):
                raise ConfigError(f"reward.{name} is {getattr(self, name)!r}; write it as a table, [reward.{name}]")
        demand_known("reward component", dict(self.weights), set(COMPONENTS) - {COMPONENTS[FAILED_ACTION]})
        for name, value in self.weights.items():
            demand_number(f"the weight of {name}", value, -math.inf)
        demand_known("reward.shaping setting", dict(self.shaping), {item.name for item in fields(Shaping)})
        _ = self.shape

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Reward:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("reward setting", settings, {item.name for item in fields(cls)})
        return cls(**settings)

    @property
    def of_components(self) -> dict[str, float]:
        """Weight of each component before ``scale``, 0 where there is none."""
        chosen = {**PRESETS[self.preset], **self.weights}
        return {name: float(chosen.get(name, 0.0)) for name in COMPONENTS}

    @property
    def shape(self) -> Shaping:
        """The preset's shaping with this reward's own settings in place of its."""
        return Shaping(**{**SHAPING.get(self.preset, {}), **self.shaping})

    def kernel(self, failed_action_penalty: float, cash: float, bars_per_year: float) -> Shape:
        """Return the reward as the kernels read it, for sleeves that start with ``cash`` dollars.

        ``failed_action_penalty`` is what an impossible action earns, not scaled.
        """
        weights = np.array(list(self.of_components.values())) * self.scale
        weights[FAILED_ACTION] = 1.0
        shape, entry = self.shape, np.ones(ACTIONS)
        entry[list(ENTRIES)] = shape.entry_multipliers
        return Shape(
            weights=weights,
            plain=not np.delete(weights, [LOG_RETURN, FAILED_ACTION]).any(),
            failed_action=float(failed_action_penalty),
            cash=float(cash),
            unrealised_weight=float(shape.unrealised_weight),
            roi_multiplier=shape.roi_multiplier,
            entry=entry,
            partial_exit=float(shape.partial_exit_multiplier),
            full_exit=float(shape.full_exit_multiplier),
            staged_exit=float(shape.staged_exit_multiplier),
            pyramiding=float(shape.pyramiding_multiplier),
            max_hold=float(shape.max_hold_bars),
            sharpe_window=shape.sharpe_window_bars,
            sharpe_target=float(shape.sharpe_target),
            monotone=shape.drawdown == "monotone",
            target_volatility=float(shape.target_volatility_annual / math.sqrt(bars_per_year)),
            hold_winner=float(shape.hold_winner),
            hold_loser=float(shape.hold_loser),
        )
