"""The environments' core: B agents, one symbol each, stepped by one compiled call.

A lane is one agent in one episode: a portfolio of one position, a bar, a memory. ``step`` is the backtest's own step
(the same ``place_shares`` and ``settle``), so an episode and a simulation of the same decisions agree to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.learn.actions import ACTIONS, HOLD, Memory, Own, Scheme, allow, execute, order, remember_nothing
from tradekit.learn.jit import bound, compiled, inlined
from tradekit.learn.observations import STATE, block_of, normal, observe
from tradekit.learn.prefetch import fetch_ahead
from tradekit.learn.scoring import COMPONENTS, Shape, Trail, clear_trail, no_trail, score
from tradekit.market import kernel
from tradekit.market.execution import open_book

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.learn.task import Task
    from tradekit.market.kernel import Book, Market, Rules
    from tradekit.market.panel import Bools, Floats

    Ints = NDArray[np.int64]
    Singles = NDArray[np.float32]

# What a lane may do at a bar, as bits of ``World.status``.
TRADABLE, USABLE = 1, 2

# Lanes between the one that is stepped and the one whose numbers are fetched.
_AHEAD = 4

# Columns of ``State.tally``.
FILLS, TRADED, PAID, SALES, WINS, GAINED, LOST, TALLIES = range(8)


class World(NamedTuple):
    """What trading needs, never changed.

    market, rules, costs (S, COST_COLUMNS): as the backtest's; shape: the reward; status (T, N) TRADABLE and USABLE;
    first (N,) first start row of each symbol; stop, the row after the last bar; episode, bars in one, or 0 for all in
    order; closing, how many decisions before its last bar an episode begins to sell out, 0 for never; cash, dollars at
    its start; turns (K,), the symbols that episodes take in turn, or none, where every lane keeps its own. Where bars
    have holes, episodes begin at the first choices (N,) of the rows starts (M, N) and end by the last row ends (T,) of
    their run of bars; all three are empty otherwise.
    """

    market: Market
    rules: Rules
    costs: Floats
    shape: Shape
    status: NDArray[np.int8]
    first: Ints
    stop: int
    episode: int
    closing: int
    cash: float
    turns: Ints
    starts: Ints
    choices: Ints
    ends: Ints


class Sight(NamedTuple):
    """What seeing needs, never changed.

    scheme; features (T, N, F) and seen (T, N, F) float32, the same normalised; stacked, how many bars of them are seen;
    mean, scale (S,) and clip: of the state block; last (7, 7) float32 its normalised one-hot rows; log_bars (T + 1,).
    """

    scheme: Scheme
    features: Floats
    seen: Singles
    stacked: int
    mean: Floats
    scale: Floats
    clip: float
    last: Singles
    log_bars: Floats


class State(NamedTuple):
    """What a step changes, in place.

    book, memory, trail: of B portfolios; silent (0, 0, 0) stands for fills that nobody reads; bar (B,) decision bar;
    last (B,) the episode's last bar; episodes (B,) begun so far; gained (B,) reward and length (B,) steps of the
    episode; seen (B, D) float32, the normalised observation; mask (B, 7); seed (1,); tally (TALLIES,) what was traded.
    """

    book: Book
    silent: Floats
    memory: Memory
    trail: Trail
    bar: Ints
    last: Ints
    episodes: Ints
    gained: Floats
    length: Ints
    seen: Singles
    mask: Bools
    seed: Ints
    tally: Floats


class Outcome(NamedTuple):
    """What a step answers, overwritten by the next.

    reward (B,); parts (C, B) its components before weights; executed, reason (B,); filled (B,) whether an order filled
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
    final: Singles
    total: Floats
    steps: Ints


@inlined
def own_of(market: Market, rules: Rules, book: Book, b: int, t: int) -> Own:
    """Return portfolio b as its agent sees it at the close of bar t."""
    shares = book.shares[b, 0]
    return Own(
        shares,
        kernel.expected(rules, book, b, t, 0),
        book.average_cost[b, 0],
        book.held[b, 0],
        book.cash[b],
        book.equity[b],
        book.peak[b],
        market.mark[t, book.column[b]],
    )


@inlined
def _closes(world: World, state: State, b: int, t: int) -> bool:
    """Return whether the episode of lane b sells out at the close of bar t, so that it ends in cash."""
    return world.closing > 0 and bool(t >= state.last[b] - world.closing)


@inlined
def look(world: World, sight: Sight, state: State, own: Own, b: int, t: int, column: int) -> None:
    """Write the normalised observation (D,) and the mask (7,) of lane b at the close of bar t."""
    status, seen, memory, count = world.status[t, column], state.seen[b], state.memory, sight.seen.shape[2]
    tradable, usable = status & TRADABLE != 0, status & USABLE != 0
    allow(sight.scheme, memory, b, own, tradable, usable, _closes(world, state, b, t), state.mask[b])
    for k in range(sight.stacked):
        if t >= k:
            for i in range(count):
                seen[k * count + i] = sight.seen[t - k, column, i]
        else:  # before the first bar there is nothing to see, which is what the training mean says
            for i in range(count):
                seen[k * count + i] = np.float32(0.0)
    first = sight.stacked * count
    block = block_of(sight.scheme, memory, b, own, sight.log_bars[own.held])
    for i in range(len(block)):
        seen[first + i] = normal(block[i], sight.mean[i], sight.scale[i], sight.clip)
    for action in range(ACTIONS):
        seen[first + len(block) + action] = sight.last[memory.last[b], action]


@compiled
def look_raw(world: World, sight: Sight, state: State, features: Floats, raw: Floats) -> None:
    """Write the observations before normalisation (B, D) into ``raw``; ``features`` (K F,) is room to gather them."""
    count = sight.features.shape[2]
    for b in range(len(raw)):
        t, column = state.bar[b], state.book.column[b]
        for k in range(sight.stacked):
            for i in range(count):
                features[k * count + i] = sight.features[t - k, column, i] if t >= k else np.nan
        observe(sight.scheme, state.memory, b, own_of(world.market, world.rules, state.book, b, t), features, raw[b])


@compiled
def begin(world: World, sight: Sight, state: State, b: int, start: int) -> None:
    """Start an episode of lane b at row ``start``, or at a random row when that is negative."""
    book = state.book
    if len(world.turns) > 0:  # all lanes' episodes are counted through, so that every symbol has as many as any other
        book.column[b] = world.turns[(b + state.episodes[b] * len(state.bar)) % len(world.turns)]
    column = book.column[b]
    first, length = world.first[column], world.stop - 1 - world.first[column]
    if world.episode > 0:
        length = min(length, world.episode)
    if start < 0:
        draw = kernel.uniform(state.seed[0], b, np.uint64(state.episodes[b]), np.uint64(column))
        if len(world.ends) > 0:
            start = world.starts[int(draw * world.choices[column]), column]
        else:
            start = first + int(draw * (world.stop - length - first))
    state.bar[b], state.last[b] = start, min(start + length, world.stop - 1)
    if len(world.ends) > 0:
        state.last[b] = min(state.last[b], world.ends[start])
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
    state.memory.last[b], state.memory.streak[b] = HOLD, 0
    clear_trail(state.trail, b)
    state.gained[b], state.length[b] = 0.0, 0
    state.episodes[b] += 1
    look(world, sight, state, own_of(world.market, world.rules, book, b, start), b, start, column)


@compiled
def begin_all(world: World, sight: Sight, state: State) -> None:
    """Start an episode of every lane at a random row; there is only one row to start at when all bars are walked."""
    for b in range(len(state.bar)):
        begin(world, sight, state, b, -1)


@inlined
def _count_fill(tally: Floats, own: Own, after: Own, price: float, paid: float) -> None:
    """Add a fill at the reference ``price`` that cost ``paid`` dollars beside it to the tally."""
    quantity = after.shares - own.shares
    tally[FILLS] += 1.0
    tally[TRADED] += abs(quantity) * price
    tally[PAID] += paid
    if quantity < 0.0:
        gain = -quantity * (price - own.average_cost) - paid
        tally[SALES] += 1.0
        tally[WINS] += gain > 0.0
        tally[GAINED] += max(gain, 0.0)
        tally[LOST] += max(-gain, 0.0)


@inlined
def _fetch_next(world: World, sight: Sight, state: State, b: int) -> None:
    """Fetch what the step of lane b will read of the next bar: each lane stands at another bar, far from the last."""
    column, count = state.book.column[b], sight.seen.shape[2]
    cell = (state.bar[b] + 1) * world.status.shape[1] + column
    fetch_ahead(world.market.mark, cell)
    fetch_ahead(world.market.reference, cell)
    fetch_ahead(world.status, cell)
    fetch_ahead(sight.seen, cell * count)
    fetch_ahead(sight.seen, cell * count + count - 1)


@compiled
def step(world: World, sight: Sight, state: State, chosen: Ints, outcome: Outcome, restart: bool) -> None:
    """Take every lane from its decision bar to the next, by ``chosen`` (B,), in place.

    The order is placed after the close of the decision bar and filled in the next. Where an episode ends, ``restart``
    begins the next one, after the last observation was kept in ``outcome.final``.
    """
    market, rules, book, scheme, memory = world.market, world.rules, state.book, sight.scheme, state.memory
    reward, ended, mask, seen = outcome.reward, outcome.ended, state.mask, state.seen
    for b in range(len(chosen)):
        if b + _AHEAD < len(chosen):
            _fetch_next(world, sight, state, b + _AHEAD)
        t, column = state.bar[b], book.column[b]
        own, status = own_of(market, rules, book, b, t), world.status[t, column]
        tradable, usable, closing = status & TRADABLE != 0, status & USABLE != 0, _closes(world, state, b, t)
        executed, reason = execute(scheme, memory, b, own, chosen[b], mask[b], tradable, usable, closing)
        kernel.place_shares(market, rules, book, b, t, 0, order(scheme, executed, own))
        interest = book.carry[b, 1]
        kernel.settle(market, rules, world.costs, book, state.silent, b, t + 1)
        after, paid = own_of(market, rules, book, b, t + 1), 0.0
        filled = after.shares != own.shares
        if filled:
            price = market.reference[t + 1, column]
            paid = own.cash + book.carry[b, 1] - interest - after.cash - (after.shares - own.shares) * price
            _count_fill(state.tally, own, after, price, paid)
        reward[b] = score(
            world.shape,
            market,
            memory,
            state.trail,
            outcome.parts,
            b,
            t + 1,
            column,
            state.length[b],
            paid,
            own,
            after,
            executed,
            reason,
            scheme.masking,
        )
        outcome.executed[b], outcome.reason[b], outcome.filled[b] = executed, reason, filled
        outcome.ruined[b] = not after.equity > 0.0
        ended[b] = outcome.ruined[b] or t + 1 >= state.last[b]
        state.bar[b] = t + 1
        state.gained[b] += reward[b]
        state.length[b] += 1
        look(world, sight, state, after, b, t + 1, column)
        if ended[b]:
            for i in range(seen.shape[1]):
                outcome.final[b, i] = seen[b, i]
            outcome.total[b], outcome.steps[b] = state.gained[b], state.length[b]
    if restart:  # in a loop of its own: inside the other one it would take registers from every step
        for b in range(len(chosen)):
            if ended[b]:
                begin(world, sight, state, b, -1)


class Lanes:
    """The arrays of B lanes, and the calls that move them.

    Args:
        task: what is traded and how.
        columns: (B,) panel column of each lane, of its first episode when symbols take turns.
        seed: of the episode starts.
        turns: (K,) columns that the episodes of all lanes take in turn; None: every lane keeps its own.
    """

    def __init__(self, task: Task, columns: Ints, seed: int = 0, turns: Ints | None = None) -> None:
        batch, width = len(columns), task.stacked_bars * task.table.shape[2] + len(STATE)
        self.task, self.sight = task, task.sight
        self.world = task.world if turns is None else task.world._replace(turns=turns)
        self.state = State(
            book=open_book(task.cash, columns, 1, task.execution.latency_bars),
            silent=np.zeros((0, 0, 0)),
            memory=remember_nothing(batch),
            trail=no_trail(task.world.shape, batch),
            bar=np.zeros(batch, np.int64),
            last=np.zeros(batch, np.int64),
            episodes=np.zeros(batch, np.int64),
            gained=np.zeros(batch),
            length=np.zeros(batch, np.int64),
            seen=np.zeros((batch, width), np.float32),
            mask=np.zeros((batch, ACTIONS), np.bool_),
            seed=np.array([seed], np.int64),
            tally=np.zeros(TALLIES),
        )
        self.outcome = Outcome(
            reward=np.zeros(batch),
            parts=np.zeros((len(COMPONENTS), batch)),
            executed=np.zeros(batch, np.int64),
            reason=np.zeros(batch, np.int64),
            filled=np.zeros(batch, np.bool_),
            ended=np.zeros(batch, np.bool_),
            ruined=np.zeros(batch, np.bool_),
            final=np.zeros((batch, width), np.float32),
            total=np.zeros(batch),
            steps=np.zeros(batch, np.int64),
        )

        self._chosen = np.zeros(batch, np.int64)
        arguments = self.world, self.sight, self.state, self._chosen, self.outcome
        self._step = {restart: bound(step, *arguments, restart) for restart in (False, True)}

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
        self._chosen[:] = chosen
        self._step[restart]()

    def raw(self) -> Floats:
        """Return (B, D) float64, the observations before normalisation."""
        raw = np.empty((len(self), self.state.seen.shape[1]))
        look_raw(self.world, self.sight, self.state, np.empty(raw.shape[1] - len(STATE)), raw)
        return raw
