"""The seven actions of a symbol agent: which are allowed, what they order, and the memory they leave.

One set of kernels serves the training environment, the policy in a backtest and the policy in a live session. A
position here is shares held plus shares ordered and not yet filled, so that latency cannot be traded around.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradekit.errors import ConfigError, suggest
from tradekit.learn.checks import demand_known, demand_number, demand_whole
from tradekit.learn.jit import compiled, inlined
from tradekit.market.execution import FRACTIONAL_LOTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOLD, BUY_SMALL, BUY_MEDIUM, BUY_LARGE, SELL_PARTIAL, SELL_ALL, ADD_POSITION = range(7)
NAMES = ("HOLD", "BUY_SMALL", "BUY_MEDIUM", "BUY_LARGE", "SELL_PARTIAL", "SELL_ALL", "ADD_POSITION")
ACTIONS = len(NAMES)

# Why the executed action is what it is.
AS_CHOSEN, NOT_ALLOWED, REPEAT_LIMIT, NOT_TRADABLE, NOT_READY = range(5)
REASONS = ("as_chosen", "not_allowed", "repeat_limit", "not_tradable", "not_ready")
NO_DECISION = -1

# Less than this many shares is no position: half of the finest quantity a broker accepts.
_DUST = 0.5 / FRACTIONAL_LOTS


class Scheme(NamedTuple):
    """ActionScheme as the kernels read it: fraction (7,) of equity per buying action, enabled (7,), limits."""

    fraction: Floats
    enabled: Bools
    max_weight: float
    smallest_trade: float
    max_consecutive: int


class Own(NamedTuple):
    """One agent's portfolio at the close of the decision bar.

    shares held; position, shares held plus pending; average_cost, dollars paid per share held, costs included; held,
    bars since entry; cash, equity, peak equity, and mark, the last close, in dollars.
    """

    shares: float
    position: float
    average_cost: float
    held: int
    cash: float
    equity: float
    peak: float
    mark: float


class Memory(NamedTuple):
    """What B agents remember, changed in place: the last executed action (B,) and how often in a row (B,)."""

    last: Ints
    streak: Ints


@dataclass(frozen=True)
class ActionScheme:
    """What each action does. Fractions are of the sleeve's equity at the close of the decision bar.

    Attributes:
        buy_small, buy_medium, buy_large: bought when flat.
        addition: bought by ADD_POSITION while the position is in profit, costs included.
        max_weight: the weight that ADD_POSITION does not pass.
        smallest_trade: ADD_POSITION and SELL_PARTIAL are not offered when they would trade less than this; otherwise a
            policy could halve what is left for ever and call it trading.
        max_consecutive_actions: a trading action executed so often in a row is not offered once more.
        disabled_actions: names of actions that are never offered; HOLD always is.

    Raises:
        ConfigError: a value out of range, or an unknown action.

    >>> ActionScheme(disabled_actions=("ADD_POSITION",)).kernel.enabled.tolist()
    [True, True, True, True, True, True, False]
    """

    buy_small: float = 0.25
    buy_medium: float = 0.50
    buy_large: float = 1.00
    addition: float = 0.25
    max_weight: float = 1.00
    smallest_trade: float = 0.01
    max_consecutive_actions: int = 3
    disabled_actions: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("buy_small", "buy_medium", "buy_large", "addition", "max_weight", "smallest_trade"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        demand_whole("max_consecutive_actions", self.max_consecutive_actions, 1)
        object.__setattr__(self, "disabled_actions", tuple(self.disabled_actions))
        for name in self.disabled_actions:
            if name not in NAMES[1:]:
                raise ConfigError(f"cannot disable the action {name!r}; {suggest(str(name), NAMES[1:])}")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> ActionScheme:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("action setting", settings, {item.name for item in fields(cls)})
        return cls(**settings)

    @property
    def kernel(self) -> Scheme:
        """The scheme as arrays."""
        fraction = np.zeros(ACTIONS)
        fraction[[BUY_SMALL, BUY_MEDIUM, BUY_LARGE]] = self.buy_small, self.buy_medium, self.buy_large
        fraction[ADD_POSITION] = self.addition
        return Scheme(
            fraction=fraction,
            enabled=np.array([name not in self.disabled_actions for name in NAMES]),
            max_weight=float(self.max_weight),
            smallest_trade=float(self.smallest_trade),
            max_consecutive=self.max_consecutive_actions,
        )


def remember_nothing(agents: int) -> Memory:
    """Return the memory of ``agents`` agents before their first decision."""
    return Memory(np.full(agents, HOLD), np.zeros(agents, np.int64))


@inlined
def _room(scheme: Scheme, own: Own) -> float:
    """Return the fraction of equity that ADD_POSITION may still buy."""
    room: float = min(scheme.fraction[ADD_POSITION], scheme.max_weight - own.position * own.mark / own.equity)
    return room


@compiled
def allow(scheme: Scheme, memory: Memory, b: int, own: Own, ready: bool, mask: Bools) -> None:
    """Write which actions agent b may take into ``mask`` (7,).

    ``ready``: the bar is tradable and the observation complete; otherwise HOLD alone is allowed.
    """
    for action in range(ACTIONS):
        mask[action] = action == HOLD
    if not (ready and own.equity > 0.0 and own.mark > 0.0):
        return
    is_long = own.position > _DUST
    mask[BUY_SMALL] = mask[BUY_MEDIUM] = mask[BUY_LARGE] = not is_long
    mask[SELL_ALL] = is_long
    mask[SELL_PARTIAL] = is_long and 0.5 * own.position * own.mark / own.equity >= scheme.smallest_trade
    in_profit = own.shares > _DUST and own.mark > own.average_cost
    mask[ADD_POSITION] = is_long and in_profit and _room(scheme, own) >= scheme.smallest_trade
    for action in range(1, ACTIONS):
        mask[action] &= scheme.enabled[action]
    if memory.last[b] != HOLD and memory.streak[b] >= scheme.max_consecutive:
        mask[memory.last[b]] = False


@compiled
def execute(
    scheme: Scheme, memory: Memory, b: int, chosen: int, mask: Bools, tradable: bool, ready: bool
) -> tuple[int, int]:
    """Return the action agent b executes when it chose ``chosen``, and why; remember it.

    An action outside ``mask`` (7,) executes as HOLD. ``ready`` is as in ``allow``; ``tradable`` tells which half
    failed.
    """
    executed, reason = chosen, AS_CHOSEN
    if not mask[chosen]:
        executed, reason = HOLD, NOT_ALLOWED
        if chosen == memory.last[b] and memory.streak[b] >= scheme.max_consecutive:
            reason = REPEAT_LIMIT
    if not tradable:
        reason = NOT_TRADABLE
    elif not ready:
        reason = NOT_READY
    if executed == HOLD:
        memory.streak[b] = 0
    elif executed == memory.last[b]:
        memory.streak[b] += 1
    else:
        memory.streak[b] = 1
    memory.last[b] = executed
    return executed, reason


@compiled
def order(scheme: Scheme, action: int, own: Own) -> float:
    """Return the signed shares that an allowed ``action`` orders; 0 for HOLD."""
    if action == SELL_ALL:
        return -own.position
    if action == SELL_PARTIAL:
        return -0.5 * own.position
    if action == ADD_POSITION:
        return _room(scheme, own) * own.equity / own.mark
    return scheme.fraction[action] * own.equity / own.mark if action != HOLD else 0.0


def entropy(counts: NDArray[Any]) -> float:
    """Return the entropy in nats of action counts or shares (7,); NaN when there are none.

    >>> round(entropy(np.array([1, 1, 0, 0, 0, 0, 0])), 6)
    0.693147
    """
    total = float(counts.sum())
    if total == 0.0:
        return math.nan
    shares = counts[counts > 0] / total
    return float(-(shares * np.log(shares)).sum()) + 0.0
