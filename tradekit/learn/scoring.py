"""The components of a reward, step by step. numba; what has no weight is not computed and stays 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.learn.actions import (
    ACTIONS,
    ADD_POSITION,
    AS_CHOSEN,
    DUST,
    HOLD,
    NOT_ALLOWED,
    SELL_ALL,
    SELL_PARTIAL,
    UNMASKED,
    Memory,
    Own,
)
from tradekit.learn.jit import inlined

if TYPE_CHECKING:
    from tradekit.learn.actions import Bools, Floats, Ints
    from tradekit.market.kernel import Market

COMPONENTS = (
    "log_return",
    "pnl",
    "cost",
    "time",
    "sharpe",
    "drawdown",
    "sizing",
    "hold",
    "diversity",
    "action_repeat",
    "intrinsic",
    "failed_action",
)
(
    LOG_RETURN,
    PNL,
    COST,
    TIME,
    SHARPE,
    DRAWDOWN,
    SIZING,
    HOLDING,
    DIVERSITY,
    ACTION_REPEAT,
    INTRINSIC,
    FAILED_ACTION,
) = range(len(COMPONENTS))

# Smallest share of its equity that an account can keep in a bar before the loss is counted as this.
_RUIN = 1e-6
# Steps over which the diversity of executed actions is judged, and fewest of them.
RECENT, _FEWEST = 50, 10
# Bars of returns in the volatility that an entry's size is set beside.
_VOLATILITY_BARS = 20
# Drawdowns that cost nothing, and from which they cost more.
_SLIGHT, _SEVERE = 0.05, 0.15
# A trading action repeated beyond this many times costs more and more, up to the whole after as many again.
_REPEATS = 3


class Shape(NamedTuple):
    """A reward as the kernels read it: weights (C,), whether the log return alone counts, settings of ``Shaping``."""

    weights: Floats
    plain: bool
    failed_action: float
    cash: float
    unrealised_weight: float
    roi_multiplier: bool
    entry: Floats
    partial_exit: float
    full_exit: float
    staged_exit: float
    pyramiding: float
    max_hold: float
    sharpe_window: int
    sharpe_target: float
    monotone: bool
    target_volatility: float
    hold_winner: float
    hold_loser: float


class Trail(NamedTuple):
    """What components remember of B episodes, changed in place.

    returns (B, W) of the last steps; actions (B, RECENT) executed last and counts (B, 7) of them; entry (B,) action
    that opened the position; exit (B,) action that sold last; added, trimmed (B,) whether it was added to or sold in
    part.
    """

    returns: Floats
    actions: Ints
    counts: Ints
    entry: Ints
    exit: Ints
    added: Bools
    trimmed: Bools


def no_trail(shape: Shape, agents: int) -> Trail:
    """Return the trail of ``agents`` episodes that have not begun; empty when the reward reads none."""
    rows = 0 if shape.plain else agents
    return Trail(
        returns=np.zeros((rows, shape.sharpe_window)),
        actions=np.zeros((rows, RECENT), np.int64),
        counts=np.zeros((rows, ACTIONS), np.int64),
        entry=np.full(rows, HOLD),
        exit=np.full(rows, HOLD),
        added=np.zeros(rows, np.bool_),
        trimmed=np.zeros(rows, np.bool_),
    )


@inlined
def clear_trail(trail: Trail, b: int) -> None:
    """Forget the episode of lane b; what its first steps do not write is not read."""
    if len(trail.entry) > 0:
        trail.counts[b] = 0
        trail.entry[b] = trail.exit[b] = HOLD
        trail.added[b] = trail.trimmed[b] = False


@inlined
def log_return(before: float, after: float) -> float:
    """Return the log return of equity that went from ``before`` to ``after`` dollars; ruin is a large finite loss."""
    return float(np.log(max(after / before, _RUIN))) if before > 0.0 else 0.0


@inlined
def _unrealised(own: Own) -> float:
    return own.shares * (own.mark - own.average_cost) if own.shares != 0.0 else 0.0


@inlined
def _note_action(trail: Trail, b: int, own: Own, executed: int, length: int) -> None:
    """Remember what was executed in the step after ``length`` others."""
    slot = length % RECENT
    if length >= RECENT:
        trail.counts[b, trail.actions[b, slot]] -= 1
    trail.actions[b, slot] = executed
    trail.counts[b, executed] += 1
    if executed in (SELL_PARTIAL, SELL_ALL):
        trail.exit[b] = executed
    elif executed == ADD_POSITION or (executed != HOLD and own.position > DUST):
        trail.added[b] = True
    elif executed != HOLD:
        trail.entry[b] = executed
        trail.added[b] = trail.trimmed[b] = False


@inlined
def _multiplier(shape: Shape, trail: Trail, b: int) -> float:
    """Return by what the profit or loss of a sale counts, for how the position was entered, added to and sold."""
    answer = float(shape.entry[trail.entry[b]])
    if trail.exit[b] == SELL_PARTIAL:
        answer *= shape.partial_exit
    else:
        answer *= shape.staged_exit if trail.trimmed[b] else shape.full_exit
    return answer * shape.pyramiding if trail.added[b] else answer


@inlined
def _pnl(shape: Shape, trail: Trail, b: int, own: Own, after: Own) -> float:
    """Return the equity change as a fraction of the initial capital, its parts weighted."""
    change, unrealised = after.equity - own.equity, _unrealised(after) - _unrealised(own)
    realised = change - unrealised
    if after.shares < own.shares:
        realised *= _multiplier(shape, trail, b)
        trail.trimmed[b] = True
    answer = (realised + shape.unrealised_weight * unrealised) / shape.cash
    if shape.roi_multiplier and own.shares != 0.0:
        answer *= min(max(1.0 + 2.0 * change / (own.shares * own.average_cost), 0.5), 3.0)
    return answer


@inlined
def _time(shape: Shape, own: Own, after: Own) -> float:
    """Return what closing a position earns by how long it was held."""
    if not (own.shares > DUST and after.shares <= DUST):
        return 0.0
    held = max(own.held, 1)
    realised = after.equity - own.equity + _unrealised(own)
    return 1.0 / held if realised > 0.0 else -held / shape.max_hold


@inlined
def _sharpe(shape: Shape, trail: Trail, b: int, own: Own, after: Own, length: int) -> float:
    """Return mean over standard deviation of the last returns, less the target; 0 where they do not vary."""
    window = shape.sharpe_window
    trail.returns[b, length % window] = after.equity / own.equity - 1.0 if own.equity > 0.0 else 0.0
    count, mean, spread = min(length + 1, window), 0.0, 0.0
    for i in range(count):
        mean += trail.returns[b, i] / count
    for i in range(count):
        spread += (trail.returns[b, i] - mean) ** 2 / count
    if not spread > 0.0:
        return 0.0
    return float(min(max(mean / np.sqrt(spread) - shape.sharpe_target, -2.0), 2.0))


@inlined
def _drawdown(shape: Shape, after: Own) -> float:
    fall = 1.0 - after.equity / after.peak
    if fall < _SLIGHT:
        return 0.0
    if fall <= _SEVERE:
        return -fall
    return -(2.0 * fall - _SEVERE) if shape.monotone else -fall * fall


@inlined
def _sizing(shape: Shape, market: Market, own: Own, after: Own, t: int, column: int) -> float:
    """Return minus the distance of an entry's weight from the one that has the target volatility, at most 1."""
    if own.shares > DUST or not after.shares > DUST or t < _VOLATILITY_BARS:
        return 0.0
    mean = np.log(market.mark[t, column] / market.mark[t - _VOLATILITY_BARS, column]) / _VOLATILITY_BARS
    spread = 0.0
    for bar in range(t - _VOLATILITY_BARS + 1, t + 1):
        spread += (np.log(market.mark[bar, column] / market.mark[bar - 1, column]) - mean) ** 2 / (_VOLATILITY_BARS - 1)
    if not spread > 0.0:
        return 0.0
    wanted = min(shape.target_volatility / np.sqrt(spread), 1.0)
    return -float(min(abs(after.shares * after.mark / after.equity - wanted), 1.0))


@inlined
def _holding(shape: Shape, own: Own, executed: int) -> float:
    if executed != HOLD or not own.shares > DUST:
        return 0.0
    return shape.hold_winner if own.mark > own.average_cost else shape.hold_loser


@inlined
def _diversity(trail: Trail, b: int, length: int) -> float:
    """Return what the number of different actions executed lately earns."""
    if length + 1 < _FEWEST:
        return 0.0
    unique = 0
    for action in range(ACTIONS):
        unique += trail.counts[b, action] > 0
    return float(min(max(unique - 2, 0), 3) * 0.1)


@inlined
def score(
    shape: Shape,
    market: Market,
    memory: Memory,
    trail: Trail,
    parts: Floats,
    b: int,
    t: int,
    column: int,
    length: int,
    paid: float,
    own: Own,
    after: Own,
    executed: int,
    reason: int,
    masking: int,
) -> float:
    """Write the components of a step of lane b into ``parts`` (C, B) and return their weighted sum.

    The step took the portfolio from ``own`` at the close of bar t - 1 to ``after`` at the close of bar t, after
    ``length`` others of its episode; ``paid`` dollars went into the costs of a fill.
    """
    weights, total = shape.weights, 0.0
    if weights[LOG_RETURN] != 0.0:
        parts[LOG_RETURN, b] = log_return(own.equity, after.equity)
        total += weights[LOG_RETURN] * parts[LOG_RETURN, b]
    if masking == UNMASKED:
        parts[FAILED_ACTION, b] = shape.failed_action if reason == NOT_ALLOWED else 0.0
    if shape.plain:
        return total + weights[FAILED_ACTION] * parts[FAILED_ACTION, b] if masking == UNMASKED else total
    _note_action(trail, b, own, executed, length)
    parts[PNL, b] = _pnl(shape, trail, b, own, after)
    if weights[COST] != 0.0:
        parts[COST, b] = -paid / shape.cash
    if weights[TIME] != 0.0:
        parts[TIME, b] = _time(shape, own, after)
    if weights[SHARPE] != 0.0:
        parts[SHARPE, b] = _sharpe(shape, trail, b, own, after, length)
    if weights[DRAWDOWN] != 0.0:
        parts[DRAWDOWN, b] = _drawdown(shape, after)
    if weights[SIZING] != 0.0:
        parts[SIZING, b] = _sizing(shape, market, own, after, t, column)
    if weights[HOLDING] != 0.0:
        parts[HOLDING, b] = _holding(shape, own, executed)
    if weights[DIVERSITY] != 0.0:
        parts[DIVERSITY, b] = _diversity(trail, b, length)
    if weights[ACTION_REPEAT] != 0.0:
        parts[ACTION_REPEAT, b] = -0.5 * min(max(memory.streak[b] - _REPEATS, 0) / _REPEATS, 1.0)
    if weights[INTRINSIC] != 0.0:
        parts[INTRINSIC, b] = 0.1 if executed != HOLD and reason == AS_CHOSEN else 0.0
    for c in range(PNL, len(weights)):
        total += weights[c] * parts[c, b]
    return total
