"""How much exploring is paid for: the weight of PPO's entropy bonus over a run, and the guard that raises it.

Entropies are means over decisions of the policy's distribution over allowed actions, in nats. Between two actions that
is at most ln 2, between the four of a flat agent ln 4.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError, demand_known, suggest
from tradekit.learn.checks import (
    demand_choice,
    demand_not_negative,
    demand_number,
    demand_switch,
    demand_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEDULES = ("constant", "linear", "hold_then_linear")

# Settings that differ from the defaults, by the name a recipe chooses them by. `adaptive` is the whole stack: held, let
# down slowly, and drawn towards a target. `v10_2` is a large bonus that falls to almost none, with nothing beside it.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "falling": MappingProxyType({}),
        "constant": MappingProxyType({"schedule": "constant"}),
        "adaptive": MappingProxyType(
            {"schedule": "hold_then_linear", "coefficient": 0.08, "final": 0.03, "adaptive": True}
        ),
        "v10_2": MappingProxyType({"coefficient": 0.5, "final": 0.01, "guard": False}),
    }
)


@dataclass(frozen=True)
class Entropy:
    """The weight of the entropy bonus, per nat, and what changes it.

    Attributes:
        schedule: ``constant``: ``coefficient`` throughout; ``linear``: from it to ``final`` over the whole run;
            ``hold_then_linear``: it for ``hold_steps``, then to ``final`` within ``decay_steps``, and ``final`` from
            there on.
        coefficient, final: weights at the first and at the last step.
        hold_steps, decay_steps: of ``hold_then_linear``.
        adaptive: multiply the weight by 1 + b: b grows by ``adaptive_scale`` times the relative shortfall from
            ``target`` at every update, and loses ``adaptive_decay`` of itself at every update without one.
        target: entropy aimed at, nats.
        adaptive_scale, adaptive_decay: see ``adaptive``.
        adaptive_warmup_steps: b stays 0 so long.
        adaptive_most: the factor 1 + b is at most this.
        guard: multiply the weight when the entropy stays low, and end the run when that does not help and the policy
            has stopped acting.
        guard_floor: what counts as low, nats.
        guard_after_steps: the guard looks on until then.
        guard_factor, guard_most: what one intervention multiplies the weight by, and all of them together at most.
        guard_cooldown_steps: between interventions, and after the last one between questions whether it helped.
        guard_patience: updates in a row that have to be low.

    Raises:
        ConfigError: a value out of range or of a wrong type.
    """

    schedule: str = "linear"
    coefficient: float = 0.05
    final: float = 0.01
    hold_steps: int = 10_000
    decay_steps: int = 40_000
    adaptive: bool = False
    target: float = 0.55
    adaptive_scale: float = 0.35
    adaptive_decay: float = 0.12
    adaptive_warmup_steps: int = 4_000
    adaptive_most: float = 3.0
    guard: bool = True
    guard_floor: float = 0.22
    guard_after_steps: int = 4_000
    guard_factor: float = 1.7
    guard_most: float = 3.0
    guard_cooldown_steps: int = 6_000
    guard_patience: int = 2

    def __post_init__(self) -> None:
        demand_choice("schedule", self.schedule, SCHEDULES)
        for name in ("coefficient", "final", "target", "guard_floor"):
            demand_not_negative(name, getattr(self, name))
        for name in ("hold_steps", "adaptive_warmup_steps", "guard_after_steps", "guard_cooldown_steps"):
            demand_whole(name, getattr(self, name), 0)
        for name in ("decay_steps", "guard_patience"):
            demand_whole(name, getattr(self, name), 1)
        for name in ("adaptive_scale", "adaptive_most", "guard_factor", "guard_most"):
            demand_number(name, getattr(self, name), 0.0)
        demand_number("adaptive_decay", self.adaptive_decay, 0.0, 1.0)
        for name in ("adaptive", "guard"):
            demand_switch(name, getattr(self, name))
        for name in ("adaptive_most", "guard_most", "guard_factor"):
            if getattr(self, name) < 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}; a factor of 1 or more")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Entropy:
        """Build from plain settings; ``preset`` may name the one to start from.

        Raises:
            ConfigError: an unknown key or preset, with a suggestion, or a bad value.
        """
        settings = dict(settings)
        preset = settings.pop("preset", "falling")
        if preset not in tuple(PRESETS):  # a tuple, which can be asked for a list too
            raise ConfigError(f"unknown entropy preset {preset!r}; {suggest(str(preset), PRESETS)}")
        demand_known("key of [entropy]", settings, {*(item.name for item in fields(cls)), "preset"})
        return cls(**{**PRESETS[preset], **settings})

    def scheduled(self, step: int, timesteps: int) -> float:
        """Return the weight that the schedule alone gives to ``step`` of ``timesteps``.

        >>> Entropy.from_dict({"preset": "adaptive"}).scheduled(30_000, 100_000)
        0.055
        """
        if self.schedule == "constant":
            return self.coefficient
        done = step / timesteps if self.schedule == "linear" else (step - self.hold_steps) / self.decay_steps
        return self.coefficient + min(max(done, 0.0), 1.0) * (self.final - self.coefficient)


@dataclass
class EntropyControl:
    """What the adaptive bonus and the guard remember of a run.

    Attributes:
        settings: see there.
        timesteps: of the whole run.
        bonus: b of the adaptive bonus.
        boost: product of the guard's interventions.
        low: updates in a row under the guard's floor.
        boosted_at: step at which the guard last intervened, or found nothing left to raise; None: it never did.
    """

    settings: Entropy
    timesteps: int
    bonus: float = 0.0
    boost: float = 1.0
    low: int = 0
    boosted_at: int | None = None

    def coefficient(self, step: int) -> float:
        """Return the weight of the bonus from ``step`` on."""
        return self.settings.scheduled(step, self.timesteps) * (1.0 + self.bonus) * self.boost

    def observe(self, step: int, entropy: float, *, judged: bool = True) -> str | None:
        """Take note of the mean ``entropy`` of an update that ended at ``step``; the guard only of those ``judged``.

        Returns:
            one line once the entropy stays low and the guard has nothing left to raise. That alone is no collapse: a
            policy that is sure of what it does looks the same; see ``guards.one_action``.
        """
        if self.settings.adaptive and step > self.settings.adaptive_warmup_steps:
            self._adapt(entropy)
        return self._guard(step, entropy) if self.settings.guard and judged else None

    def state(self) -> dict[str, Any]:
        """Return what changes during a run."""
        return {name: asdict(self)[name] for name in ("bonus", "boost", "low", "boosted_at")}

    def _adapt(self, entropy: float) -> None:
        told = self.settings
        if entropy < told.target:
            self.bonus += told.adaptive_scale * (told.target - entropy) / told.target
        else:
            self.bonus *= 1.0 - told.adaptive_decay
        self.bonus = min(self.bonus, told.adaptive_most - 1.0)

    def _guard(self, step: int, entropy: float) -> str | None:
        told = self.settings
        self.low = self.low + 1 if entropy < told.guard_floor else 0
        if self.low < told.guard_patience or step <= told.guard_after_steps:
            return None
        if self.boosted_at is not None and step - self.boosted_at < told.guard_cooldown_steps:
            return None
        self.boosted_at, self.low = step, 0
        if self.boost >= told.guard_most:
            return (
                f"the policy's entropy is {entropy:.3f} nats, under {told.guard_floor:g}, although the entropy bonus "
                f"was multiplied by {self.boost:g}"
            )
        self.boost = min(self.boost * told.guard_factor, told.guard_most)
        return None
