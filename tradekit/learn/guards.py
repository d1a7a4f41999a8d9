"""What looks wrong while a policy trains, what to change, and when to stop.

An update's numbers are those of the run's metrics. Thresholds hold from the third update on: before that, values are
unlearnt and say nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.learn.actions import NAMES
from tradekit.learn.diagnosis import NOTHING_ELSE, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tradekit.learn.recipe import Guard, Validation

    Row = dict[str, Any]

# Updates that are not judged.
WARM_UP = 2
# Updates in a row over which the fit of the values is judged, and the fit that counts as none.
FIT_UPDATES, BAD_FIT = 5, -0.10
# A deviation of the rewards of so many times that of the run so far.
EXPLODES = 10.0
# The updates of the shipped recipe have a KL of 0.002 to 0.012 and clip 2 to 7 % of ratios: far above, an update throws
# away what the last one learnt; without any KL there is none.
KL_RANGE = (1e-6, 0.05)
MOST_CLIPPED = 0.35
# One component of the reward that is this share of all of them, when it is not the profit.
DOMINANT = 0.60
PROFIT = ("log_return", "pnl")


def alarms(rows: Sequence[Row]) -> list[Finding]:
    """Return what looks wrong in the last of ``rows``, the updates of a run so far."""
    if len(rows) <= WARM_UP:
        return []
    checks: tuple[Callable[[Sequence[Row]], Finding | None], ...] = (
        _exploding_reward,
        _no_fit,
        _step_size,
        _clipping,
        _one_component,
    )
    return [found for check in checks if (found := check(rows)) is not None]


def _alarm(name: str, evidence: str, what_to_change: str) -> Finding:
    return Finding(name, evidence, what_to_change, is_collapse=False)


def _exploding_reward(rows: Sequence[Row]) -> Finding | None:
    before = float(np.median([row["reward_deviation"] for row in rows[:-1]]))
    now = rows[-1]["reward_deviation"]
    if not now > EXPLODES * before > 0.0:
        return None
    return _alarm(
        "exploding_reward",
        f"rewards deviate by {now:.3g}, {now / before:.0f} times as much as before",
        "check the prices of these bars, or lower reward.scale",
    )


def _no_fit(rows: Sequence[Row]) -> Finding | None:
    recent = [row["explained_variance"] for row in rows[WARM_UP:][-FIT_UPDATES:]]
    if len(recent) < FIT_UPDATES or not float(np.mean(recent)) < BAD_FIT:
        return None
    return _alarm(
        "negative_explained_variance",
        f"values explain {np.mean(recent):.0%} of the variance of returns over {FIT_UPDATES} updates",
        "lower ppo.gamma or ppo.learning_rate, or raise ppo.value_coefficient",
    )


def _step_size(rows: Sequence[Row]) -> Finding | None:
    kl, (low, high) = rows[-1]["kl"], KL_RANGE
    if kl > high:
        advice = "lower ppo.learning_rate or ppo.epochs, or set ppo.target_kl = 0.015"
        return _alarm("kl_out_of_range", f"an update moved the policy by a KL of {kl:.3g}, above {high:g}", advice)
    if abs(kl) < low:
        advice = "raise ppo.learning_rate or ppo.epochs"
        return _alarm("kl_out_of_range", f"an update moved the policy by a KL of {kl:.3g}, under {low:g}", advice)
    return None


def _clipping(rows: Sequence[Row]) -> Finding | None:
    share, high = rows[-1]["clip_fraction"], MOST_CLIPPED
    if not share > high:
        return None
    return _alarm(
        "clip_fraction_out_of_range",
        f"{share:.0%} of ratios were clipped, above {high:.0%}",
        "lower ppo.learning_rate or ppo.epochs",
    )


def _one_component(rows: Sequence[Row]) -> Finding | None:
    shares = {name: row for name, row in rows[-1].items() if name.startswith("reward_share.")}
    for name, share in shares.items():
        component = name.removeprefix("reward_share.")
        if share > DOMINANT and component not in PROFIT:
            return _alarm(
                "dominant_component",
                f"{component} is {share:.0%} of the reward's size",
                f"lower its weight: the policy learns {component}, not profit",
            )
    return None


def one_action(rows: Sequence[Row], updates: int) -> str | None:
    """Return which action is all that was chosen in the last ``updates``, in words; None: there is more than one.

    A whole episode has to be looked at: environments begin theirs together, so that of the updates of one the first has
    all the entries, and what follows is holding.
    """
    shares = {name: float(np.mean([row[f"chosen.{name}"] for row in rows[-updates:]])) for name in NAMES}
    name = max(shares, key=shares.__getitem__)
    if len(rows) < updates or not shares[name] > NOTHING_ELSE:
        return None
    return f"{name} is {shares[name]:.1%} of what it chose in {updates} updates"


def rests(rows: Sequence[Row], updates: int) -> bool:
    """Return whether something was traded within the last ``updates``, an episode of them, though not in the last.

    Environments begin their episodes together, so that one who buys and holds trades in the first update of each alone.
    """
    return len(rows) < updates or any(row["executed_trade_rate"] > 0.0 for row in rows[-updates:])


def confident(low: str, rows: Sequence[Row]) -> Finding:
    """Return the alarm for a policy of low entropy, described by ``low``, that still acts."""
    return _alarm(
        "confident",
        f"{low}; but it still acts, at {rows[-1]['voluntary_trade_rate']:.1%} of the steps, so the run goes on",
        "should validation get worse, raise entropy.coefficient and entropy.final",
    )


@dataclass
class CollapseGuard:
    """Ends a run that does the same collapse in several updates in a row.

    Attributes:
        settings: see there.
        name: of the collapse found last.
        times: updates in a row in which it was found.
    """

    settings: Guard
    name: str = ""
    times: int = 0

    def observe(self, updates: int, found: Sequence[Finding]) -> str | None:
        """Take note of what an update's roll-out shows; return why the run has to end, if so."""
        collapse = next((one for one in found if one.is_collapse), None)
        if collapse is None or updates <= WARM_UP:
            self.name, self.times = "", 0
            return None
        self.times = self.times + 1 if collapse.name == self.name else 1
        self.name = collapse.name
        ends = self.settings.collapse and self.times >= self.settings.patience
        return f"collapse {collapse} (found in {self.times} updates in a row)" if ends else None

    def state(self) -> dict[str, Any]:
        """Return what changes during a run."""
        return {"name": self.name, "times": self.times}


@dataclass
class EarlyStopping:
    """Ends a run whose judgements no longer improve.

    Attributes:
        settings: see there.
        invests: the best judgement so far invests enough to be told from luck.
        sharpe: its Sharpe ratio; None: there was none.
        worse: judgements in a row without improvement.
    """

    settings: Validation
    invests: bool = False
    sharpe: float | None = None
    worse: int = 0

    def observe(self, rank: tuple[bool, float]) -> str | None:
        """Take note of a judgement, by its rank; return why the run can end, if so."""
        invests, sharpe = rank
        best = -math.inf if self.sharpe is None else self.sharpe
        better = invests > self.invests or (invests == self.invests and sharpe > best + self.settings.min_delta)
        if better:
            self.invests, self.sharpe, self.worse = invests, sharpe, 0
            return None
        self.worse += 1
        # A policy that does not invest yet has not begun to get worse.
        if not (self.settings.early_stopping and self.invests and self.worse >= self.settings.patience):
            return None
        return (
            f"stopped early: {self.worse} judgements in a row did not improve the validation Sharpe ratio of "
            f"{best:.2f} by {self.settings.min_delta:g}"
        )

    def state(self) -> dict[str, Any]:
        """Return what changes during a run."""
        return {name: asdict(self)[name] for name in ("invests", "sharpe", "worse")}
