"""The seven actions of a symbol agent: which are allowed, what they order, and the memory they leave.

One set of kernels serves the training environment, the policy in a backtest and the policy in a live session. A
position here is shares held plus shares ordered and not yet filled, so that latency cannot be traded around.

Sets of actions are the bits of an integer in the kernels: action a is in the set when bit a is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradekit.errors import ConfigError, demand_known, suggest
from tradekit.learn.checks import demand_number, demand_whole, tuple_of
from tradekit.learn.jit import compiled, inlined
from tradekit.market.execution import FRACTIONAL_LOTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HOLD, BUY_SMALL, BUY_MEDIUM, BUY_LARGE, SELL_PARTIAL, SELL_ALL, ADD_POSITION = range(7)
NAMES = ("HOLD", "BUY_SMALL", "BUY_MEDIUM", "BUY_LARGE", "SELL_PARTIAL", "SELL_ALL", "ADD_POSITION")
ACTIONS = len(NAMES)

# Why the executed action is what it is.
(
    AS_CHOSEN,
    NOT_ALLOWED,
    REPEAT_LIMIT,
    NOT_TRADABLE,
    NOT_READY,
    STOP_LOSS,
    TAKE_PROFIT,
    MAX_HOLD,
    EPISODE_END,
) = range(9)
REASONS = (
    "as_chosen",
    "not_allowed",
    "repeat_limit",
    "not_tradable",
    "not_ready",
    "stop_loss",
    "take_profit",
    "max_hold",
    "episode_end",
)
# Reasons that sell the whole position, whatever was chosen.
FORCED = slice(STOP_LOSS, EPISODE_END + 1)
NO_DECISION = -1

UNMASKED, MASKED, LEGACY = range(3)
_MASKING = {False: UNMASKED, True: MASKED, "legacy": LEGACY}
ENTRIES = (BUY_SMALL, BUY_MEDIUM, BUY_LARGE)
BUYS = (*ENTRIES, ADD_POSITION)
SELLS = (SELL_PARTIAL, SELL_ALL)
# A limit that is off, in bars or actions.
_NEVER = 2**62
# What the repeats that an agent sees are counted in when there is no limit to them.
_REPEATS_UNIT = 3

# Less than this many shares is no position: half of the finest quantity a broker accepts.
DUST = 0.5 / FRACTIONAL_LOTS


class Scheme(NamedTuple):
    """ActionScheme as the kernels read it.

    fraction (7,) of equity that each action buys, and sold (7,) of the position that it sells; the set of enabled
    actions; limits; whether there are rules that force an exit.
    """

    fraction: Floats
    sold: Floats
    enabled: int
    masking: int
    max_weight: float
    smallest_trade: float
    max_consecutive: int
    repeats_unit: float
    has_exits: bool
    stop_loss: float
    take_profit: float
    max_hold: int


class Own(NamedTuple):
    """One agent's portfolio at the close of the decision bar.

    shares held; position, shares once all that waits has filled; average_cost, dollars paid per share held, costs
    included; held, bars since entry; cash, equity, peak equity, and mark, the last close, in dollars.
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
        max_consecutive_actions: a trading action executed so often in a row is not offered once more, and where it
            is chosen all the same it executes as HOLD; 0: no limit.
        disabled_actions: names of actions that are never offered; HOLD always is.
        masking: True: what cannot be done cannot be chosen. False: every enabled action can, and one that is not
            possible executes as HOLD and costs ``failed_action_penalty``. "legacy": as True, but a buy is possible
            with a position too and adds to it.
        failed_action_penalty: reward of an action that is not possible, when ``masking`` is False; 0 or less.
        stop_loss: sell all at a return below the average cost, costs included, of this or worse; None: never.
        take_profit: sell all at a return above the average cost of this or better; None: never.
        max_hold: sell all after so many bars; None: never. These three are forced exits: nothing else can be chosen.

    Raises:
        ConfigError: a value out of range, or an unknown action.

    >>> f"{ActionScheme(disabled_actions=('ADD_POSITION',)).kernel.enabled:07b}"
    '0111111'
    """

    buy_small: float = 0.25
    buy_medium: float = 0.50
    buy_large: float = 1.00
    addition: float = 0.25
    max_weight: float = 1.00
    smallest_trade: float = 0.01
    max_consecutive_actions: int = 3
    disabled_actions: tuple[str, ...] = field(default=())
    masking: bool | str = True
    failed_action_penalty: float = -1.0
    stop_loss: float | None = None
    take_profit: float | None = None
    max_hold: int | None = None

    def __post_init__(self) -> None:
        for name in ("buy_small", "buy_medium", "buy_large", "addition", "max_weight", "smallest_trade"):
            demand_number(name, getattr(self, name), 0.0, 1.0)
        demand_whole("max_consecutive_actions", self.max_consecutive_actions, 0)
        self._check_masking()
        if self.stop_loss is not None:
            demand_number("stop_loss", self.stop_loss, 0.0, 1.0)
        if self.take_profit is not None:
            demand_number("take_profit", self.take_profit, 0.0)
        if self.max_hold is not None:
            demand_whole("max_hold", self.max_hold, 1)
        tuple_of(self, "disabled_actions")
        for name in self.disabled_actions:
            if name not in NAMES[1:]:
                raise ConfigError(f"cannot disable the action {name!r}; {suggest(str(name), NAMES[1:])}")

    def _check_masking(self) -> None:
        if not (isinstance(self.masking, bool) or self.masking == "legacy"):
            raise ConfigError(f'masking is {self.masking!r}; true, false or "legacy"')
        penalty: Any = self.failed_action_penalty
        if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not -math.inf < penalty <= 0.0:
            raise ConfigError(f"failed_action_penalty is {penalty!r}; a number, 0 or less")

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
        sold = np.zeros(ACTIONS)
        sold[[SELL_PARTIAL, SELL_ALL]] = 0.5, 1.0
        return Scheme(
            fraction=fraction,
            sold=sold,
            enabled=sum(1 << action for action, name in enumerate(NAMES) if name not in self.disabled_actions),
            masking=_MASKING[self.masking],
            max_weight=float(self.max_weight),
            smallest_trade=float(self.smallest_trade),
            max_consecutive=self.max_consecutive_actions or _NEVER,
            repeats_unit=float(self.max_consecutive_actions or _REPEATS_UNIT),
            has_exits=any(rule is not None for rule in (self.stop_loss, self.take_profit, self.max_hold)),
            stop_loss=math.inf if self.stop_loss is None else float(self.stop_loss),
            take_profit=math.inf if self.take_profit is None else float(self.take_profit),
            max_hold=_NEVER if self.max_hold is None else self.max_hold,
        )


def remember_nothing(agents: int) -> Memory:
    """Return the memory of ``agents`` agents before their first decision."""
    return Memory(np.full(agents, HOLD), np.zeros(agents, np.int64))


@inlined
def _weight(own: Own) -> float:
    """Return the position as a fraction of equity."""
    weight: float = own.position * own.mark / own.equity
    return weight


@inlined
def _possible(scheme: Scheme, own: Own) -> int:
    """Return the set of enabled actions that the portfolio can take, whatever was done before.

    Without branches, because which way they went would be a coin toss to the processor.
    """
    long, weight = own.position > DUST, _weight(own)
    room = min(scheme.fraction[ADD_POSITION], scheme.max_weight - weight)
    in_profit = (own.shares > DUST) & (own.mark > own.average_cost)
    entry = int(not long) | int(scheme.masking == LEGACY)
    found = entry << BUY_SMALL | entry << BUY_MEDIUM | entry << BUY_LARGE | int(long) << SELL_ALL
    found |= int(long & (0.5 * weight >= scheme.smallest_trade)) << SELL_PARTIAL
    found |= int(long & in_profit & (room >= scheme.smallest_trade)) << ADD_POSITION
    return (found & scheme.enabled & -int((own.equity > 0.0) & (own.mark > 0.0))) | 1 << HOLD


@inlined
def _must_sell(scheme: Scheme, own: Own, tradable: bool, closing: bool) -> int:
    """Return the reason why all is sold now, AS_CHOSEN when there is none."""
    if not (scheme.has_exits or closing) or not (tradable and own.position > DUST):
        return AS_CHOSEN
    if closing:
        return EPISODE_END
    if not own.shares > DUST:
        return AS_CHOSEN
    gain = own.mark / own.average_cost - 1.0
    if gain <= -scheme.stop_loss:
        return STOP_LOSS
    if gain >= scheme.take_profit:
        return TAKE_PROFIT
    return MAX_HOLD if own.held >= scheme.max_hold else AS_CHOSEN


@inlined
def _too_often(scheme: Scheme, memory: Memory, b: int) -> int:
    """Return the set of the trading action that was executed as often in a row as it may be, empty without one."""
    return (1 << memory.last[b]) & ~(1 << HOLD) if memory.streak[b] >= scheme.max_consecutive else 0


@compiled
def allow(
    scheme: Scheme, memory: Memory, b: int, own: Own, tradable: bool, ready: bool, closing: bool, mask: Bools
) -> None:
    """Write which actions agent b may take into ``mask`` (7,).

    ``tradable``: the newest bar is. ``ready``: it is, and the observation is complete; otherwise HOLD alone is allowed.
    ``closing``: an episode that ends without a position ends now: all is sold and nothing bought.
    """
    allowed = 1 << HOLD
    if scheme.masking == UNMASKED:
        allowed = scheme.enabled
    elif _must_sell(scheme, own, tradable, closing) != AS_CHOSEN:
        allowed = 1 << SELL_ALL
    elif ready and not closing:
        allowed = _possible(scheme, own) & ~_too_often(scheme, memory, b)
    for action in range(ACTIONS):
        mask[action] = (allowed >> action) & 1


@compiled
def execute(
    scheme: Scheme,
    memory: Memory,
    b: int,
    own: Own,
    chosen: int,
    mask: Bools,
    tradable: bool,
    ready: bool,
    closing: bool,
) -> tuple[int, int]:
    """Return the action agent b executes when it chose ``chosen``, and why; remember it. Arguments as in ``allow``.

    An action outside ``mask`` (7,), which ``allow`` wrote, executes as HOLD, and so does one that is not possible.
    """
    executed, reason = chosen, _must_sell(scheme, own, tradable, closing)
    if reason != AS_CHOSEN:
        executed = SELL_ALL
    elif not (ready and not closing):
        executed, reason = HOLD, NOT_READY if tradable else NOT_TRADABLE
    elif (_too_often(scheme, memory, b) >> chosen) & 1:
        executed, reason = HOLD, REPEAT_LIMIT
    elif not mask[chosen] or (scheme.masking == UNMASKED and not (_possible(scheme, own) >> chosen) & 1):
        executed, reason = HOLD, NOT_ALLOWED
    memory.streak[b] = int(executed != HOLD) * (1 + int(executed == memory.last[b]) * memory.streak[b])
    memory.last[b] = executed
    return executed, reason


@compiled
def order(scheme: Scheme, action: int, own: Own) -> float:
    """Return the signed shares that an executed ``action`` orders; 0 for HOLD."""
    room = scheme.max_weight - _weight(own) if own.position > DUST else math.inf
    bought = max(min(scheme.fraction[action], room), 0.0) * own.equity / own.mark
    return float(bought if scheme.fraction[action] > 0.0 else -scheme.sold[action] * own.position)


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
