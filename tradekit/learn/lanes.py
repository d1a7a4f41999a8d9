"""The environments' core: B agents, one symbol each, stepped by one compiled call.

A lane is one agent in one episode: a portfolio of one position, a bar, a memory. ``step`` is the backtest's own step
(the same ``place_shares`` and ``settle``), so an episode and a simulation of the same decisions agree to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.learn.actions import ACTIONS, HOLD, Memory, Own, Scheme, allow, execute, order, remember_nothing
from tradekit.learn.jit import compiled, inlined
from tradekit.learn.observations import STATE, normalise, observe
from tradekit.learn.rewards import COMPONENTS, components
from tradekit.market import kernel
from tradekit.market.execution import open_book

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.learn.task import Task
    from tradekit.market.kernel import Book, Market, Rules
    from tradekit.market.panel import Bools, Floats

    Ints = NDArray[np.int64]


class World(NamedTuple):
    """What trading needs, never changed.

    market, rules, costs (S, COST_COLUMNS): as the backtest's; tradable (T, N); weights (C,) of the reward; first (N,)
    first start row of each symbol; stop, the row after the last bar; episode, bars in one, or 0 for all in order; cash,
    dollars at its start.
    """

    market: Market
    rules: Rules
    costs: Floats
    tradable: Bools
    weights: Floats
    first: Ints
    stop: int
    episode: int
    cash: float


class Sight(NamedTuple):
    """What seeing needs, never changed.

    scheme; features (T, N, F); usable (T, N) tradable and complete; mean, scale (D,) and clip of the normalisation.
    """

    scheme: Scheme
    features: Floats
    usable: Bools
    mean: Floats
    scale: Floats
    clip: float


class State(NamedTuple):
    """What a step changes, in place.

    book, fills, memory: of B portfolios; bar (B,) decision bar; last (B,) the episode's last bar; episodes (B,) begun
    so far; gained (B,) reward and length (B,) steps of the episode; raw (B, D) and seen (B, D) float32 the
    observation before and after normalisation; mask (B, 7); seed (1,).
    """

    book: Book
    fills: Floats
    memory: Memory
    bar: Ints
    last: Ints
    episodes: Ints
    gained: Floats
    length: Ints
    raw: Floats
    seen: NDArray[np.float32]
    mask: Bools
    seed: Ints


class Outcome(NamedTuple):
    """What a step answers, overwritten by the next.

    reward (B,); parts (B, C) its components before weights; executed, reason (B,); filled (B,) whether an order filled
    in the bar that followed; ended, ruined (B,) flags; and of an ended episode final (B, D) float32, its last
    observation, total (B,) its rewards and steps (B,).
    """

    reward: Floats
    parts: Floats
    executed: Ints
    reason: Ints
    filled: Bools
    ended: Bools
    ruined: Bools
    final: NDArray[np.float32]
    total: Floats
    steps: Ints


@inlined
def own_of(market: Market, book: Book, b: int, t: int) -> Own:
    """Return portfolio b as its agent sees it at the close of bar t."""
    shares = book.shares[b, 0]
    return Own(
        shares,
        shares + kernel.pending(book, b, 0),
        book.average_cost[b, 0],
        book.held[b, 0],
        book.cash[b],
        book.equity[b],
        book.peak[b],
        market.mark[t, book.column[b]],
    )


@inlined
def look(
    sight: Sight,
    memory: Memory,
    own: Own,
    b: int,
    t: int,
    column: int,
    tradable: bool,
    closing: bool,
    raw: Floats,
    mask: Bools,
) -> None:
    """Write the raw observation (D,) and the mask (7,) of lane b at the close of bar t."""
    allow(sight.scheme, memory, b, own, tradable, sight.usable[t, column], closing, mask)
    observe(sight.scheme, memory, b, own, sight.features[t, column], raw)


@compiled
def begin(world: World, sight: Sight, state: State, b: int, start: int) -> None:
    """Start an episode of lane b at row ``start``, or at a random row when that is negative."""
    book, column = state.book, state.book.column[b]
    first, length = world.first[column], world.stop - 1 - world.first[column]
    if world.episode > 0:
        length = min(length, world.episode)
    if start < 0:
        draw = kernel.uniform(state.seed[0], b, np.uint64(state.episodes[b]), np.uint64(column))
        start = first + int(draw * (world.stop - length - first))
    state.bar[b], state.last[b] = start, min(start + length, world.stop - 1)
    book.cash[b] = book.equity[b] = book.peak[b] = world.cash
    book.shares[b] = 0.0
    book.average_cost[b] = 0.0
    book.held[b] = 0
    book.due[b] = 0.0
    book.asked[b] = 0.0
    book.flags[b] = 0
    book.carry[b] = 0.0
    # Another draw of sampled slippage in every episode, but the backtest's own when all bars are walked in order.
    book.stream[b] = b + state.episodes[b] * len(state.bar) if world.episode > 0 else 0
    state.fills[b] = 0.0
    state.memory.last[b], state.memory.streak[b] = HOLD, 0
    state.gained[b], state.length[b] = 0.0, 0
    state.episodes[b] += 1
    own, tradable = own_of(world.market, book, b, start), world.tradable[start, column]
    look(sight, state.memory, own, b, start, column, tradable, False, state.raw[b], state.mask[b])
    normalise(state.raw[b], sight.mean, sight.scale, sight.clip, state.seen[b])


@compiled
def begin_all(world: World, sight: Sight, state: State) -> None:
    """Start an episode of every lane at a random row; there is only one row to start at when all bars are walked."""
    for b in range(len(state.bar)):
        begin(world, sight, state, b, -1)


@compiled
def step(world: World, sight: Sight, state: State, chosen: Ints, outcome: Outcome, restart: bool) -> None:
    """Take every lane from its decision bar to the next, by ``chosen`` (B,), in place.

    The order is placed after the close of the decision bar and filled in the next. Where an episode ends, ``restart``
    begins the next one, after the last observation was kept in ``outcome.final``.
    """
    market, rules, costs, book, fills = world.market, world.rules, world.costs, state.book, state.fills
    scheme, memory, mask, raw, seen = sight.scheme, state.memory, state.mask, state.raw, state.seen
    parts, reward, ended = outcome.parts, outcome.reward, outcome.ended
    for b in range(len(chosen)):
        t, column = state.bar[b], book.column[b]
        own = own_of(market, book, b, t)
        executed, reason = execute(
            scheme, memory, b, own, chosen[b], mask[b], world.tradable[t, column], sight.usable[t, column], False
        )
        kernel.place_shares(market, rules, book, b, t, 0, order(scheme, executed, own))
        kernel.settle(market, rules, costs, book, fills, b, t + 1)
        components(own.equity, book.equity[b], parts[b])
        reward[b] = 0.0
        for c in range(len(world.weights)):
            reward[b] += world.weights[c] * parts[b, c]
        outcome.executed[b], outcome.reason[b] = executed, reason
        outcome.filled[b] = fills[b, 0, kernel.QUANTITY] != 0.0
        outcome.ruined[b] = not book.equity[b] > 0.0
        ended[b] = outcome.ruined[b] or t + 1 >= state.last[b]
        state.bar[b] = t + 1
        state.gained[b] += reward[b]
        state.length[b] += 1
        own, tradable = own_of(market, book, b, t + 1), world.tradable[t + 1, column]
        look(sight, memory, own, b, t + 1, column, tradable, False, raw[b], mask[b])
        normalise(raw[b], sight.mean, sight.scale, sight.clip, seen[b])
        if ended[b]:
            for i in range(seen.shape[1]):
                outcome.final[b, i] = seen[b, i]
            outcome.total[b], outcome.steps[b] = state.gained[b], state.length[b]
            if restart:
                begin(world, sight, state, b, -1)


class Lanes:
    """The arrays of B lanes, and the calls that move them.

    Args:
        task: what is traded and how.
        columns: (B,) panel column of each lane.
        seed: of the episode starts.
    """

    def __init__(self, task: Task, columns: Ints, seed: int = 0) -> None:
        batch, width = len(columns), task.table.shape[2] + len(STATE)
        self.task, self.world, self.sight = task, task.world, task.sight
        self.state = State(
            book=open_book(task.cash, columns, 1, task.execution.latency_bars),
            fills=np.zeros((batch, 1, kernel.FILL_COLUMNS)),
            memory=remember_nothing(batch),
            bar=np.zeros(batch, np.int64),
            last=np.zeros(batch, np.int64),
            episodes=np.zeros(batch, np.int64),
            gained=np.zeros(batch),
            length=np.zeros(batch, np.int64),
            raw=np.zeros((batch, width)),
            seen=np.zeros((batch, width), np.float32),
            mask=np.zeros((batch, ACTIONS), np.bool_),
            seed=np.array([seed], np.int64),
        )
        self.outcome = Outcome(
            reward=np.zeros(batch),
            parts=np.zeros((batch, len(COMPONENTS))),
            executed=np.zeros(batch, np.int64),
            reason=np.zeros(batch, np.int64),
            filled=np.zeros(batch, np.bool_),
            ended=np.zeros(batch, np.bool_),
            ruined=np.zeros(batch, np.bool_),
            final=np.zeros((batch, width), np.float32),
            total=np.zeros(batch),
            steps=np.zeros(batch, np.int64),
        )

    def __len__(self) -> int:
        return len(self.state.bar)

    def reseed(self, seed: int) -> None:
        """Let the next episodes be those of ``seed``, from the first on."""
        self.state.seed[0] = seed
        self.state.episodes[:] = 0

    def begin(self) -> None:
        """Start an episode in every lane."""
        begin_all(self.world, self.sight, self.state)

    def begin_at(self, b: int, start: int) -> None:
        """Start an episode of lane b at row ``start``, or at a random one when that is negative."""
        begin(self.world, self.sight, self.state, b, start)

    def step(self, chosen: Ints, *, restart: bool) -> None:
        """Take every lane one bar on; see ``step``."""
        step(self.world, self.sight, self.state, chosen, self.outcome, restart)
