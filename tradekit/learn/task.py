"""Task: which bars a symbol agent trades, what it sees of them, and under which rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import ConfigError, DataError
from tradekit.learn.actions import ACTIONS, ActionScheme
from tradekit.learn.checks import demand_whole
from tradekit.learn.lanes import TRADABLE, USABLE, Sight, World
from tradekit.learn.observations import Block, Normalisation, first_usable, log_bars, normalise_rows, usable_bars
from tradekit.learn.rewards import Reward
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, market_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.features import FeatureSpec
    from tradekit.market.panel import Bools, Floats, Panel


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """The bars ``start <= t < stop`` of a panel as episodes of a symbol agent.

    Attributes:
        panel: bars; those before ``start`` are history that features may use.
        features: what is seen of them.
        normalisation: None: fitted on this slice.
        scheme, reward, costs, execution: the rules; cost and execution models are the backtest's.
        start, stop: rows of the slice; ``stop`` None: to the end.
        episode_bars: steps of an episode, from a random start; 0: one episode of all bars, in order.
        cash: dollars of a sleeve at the start of an episode.
        stacked_bars: how many bars' features are seen at once, the newest first.
        liquidate: sell all before an episode ends, as a forced exit, instead of marking the position to market.
        pieces: the runs of bars, (first, stop) each, that are known; the others are missing from the panel, and no
            episode runs across them. Empty: all bars are one run.

    Raises:
        ConfigError: episode_bars or cash out of range, or all bars in order across missing ones.
        DataError: the data lacks a column, or no symbol has two usable bars in the slice.
    """

    panel: Panel
    features: FeatureSpec
    normalisation: Normalisation | None = None
    scheme: ActionScheme = field(default_factory=ActionScheme)
    reward: Reward = field(default_factory=Reward)
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    start: int = 0
    stop: int | None = None
    episode_bars: int = 256
    cash: float = 100_000.0
    stacked_bars: int = 1
    liquidate: bool = False
    pieces: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.episode_bars < 0:
            raise ConfigError(f"episode_bars is {self.episode_bars}; 1 or more, or 0 for all bars in order")
        if not (np.isfinite(self.cash) and self.cash > 0.0):
            raise ConfigError(f"the sleeve's cash is {self.cash}; positive dollars")
        demand_whole("stacked_bars", self.stacked_bars, 1)
        if self.pieces and not self.episode_bars:
            raise ConfigError("episode_bars = 0 walks all bars in one episode, and some are held out; set episode_bars")
        if not 0 <= self.start < self.end <= len(self.panel):
            raise DataError(f"{self.panel.source}: no bars {self.start} to {self.end}; there are {len(self.panel)}")
        if not len(self.columns):
            raise DataError(
                f"{self.panel.source}: no symbol has two tradable bars with all features ({self.features.lookback} "
                f"bars of history) in rows {self.start} to {self.end}; use more bars"
            )

    @property
    def end(self) -> int:
        """Row after the last bar."""
        return len(self.panel) if self.stop is None else self.stop

    @cached_property
    def table(self) -> Floats:
        """(T, N, F) features of every bar."""
        return self.features.compute(self.panel)

    @cached_property
    def usable(self) -> Bools:
        """(T, N) where the agent may do more than hold."""
        return usable_bars(self.panel, self.table, self.stacked_bars)

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """(N,) first usable row of each symbol in the slice."""
        return first_usable(self.usable, self.start, self.end)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """The panel columns that have an episode of at least one step."""
        if self.pieces:
            return np.flatnonzero(self.begins.any(axis=0))
        return np.flatnonzero(self.first < self.end - 1)

    @cached_property
    def begins(self) -> Bools:
        """(T, N) whether an episode may begin at a row: from the first usable one of its piece to the last but one."""
        allowed = np.zeros(self.usable.shape, np.bool_)
        for first, stop in self.pieces:
            begin, end = max(first, self.start), min(stop, self.end)
            if end - begin > 1:
                rows = np.arange(begin, end - 1)[:, None]
                allowed[begin : end - 1] = rows >= first_usable(self.usable, begin, end)
        return allowed

    @cached_property
    def statistics(self) -> Normalisation:
        """The normalisation, fitted on the slice's usable bars when none was given."""
        if self.normalisation is not None:
            return self.normalisation
        rows = slice(self.start, self.end)
        return Normalisation.fit(self.table[rows], self.usable[rows], self.stacked_bars)

    @cached_property
    def world(self) -> World:
        """What the kernels read to trade."""
        in_order = self.episode_bars == 0
        starts, choices, ends = self._around_holes()
        return World(
            market=market_of(self.panel, self.execution, [self.costs]),
            rules=self.execution.rules,
            costs=cost_rows([self.costs]),
            shape=self.reward.kernel(self.scheme.failed_action_penalty, self.cash, self.panel.bars_per_year),
            status=(TRADABLE * self.panel.tradable + USABLE * self.usable).astype(np.int8),
            first=np.full(len(self.panel.symbols), self.start) if in_order else self.first,
            stop=self.end,
            episode=self.episode_bars,
            closing=1 + self.execution.latency_bars if self.liquidate else 0,
            cash=float(self.cash),
            turns=np.empty(0, np.int64),
            starts=starts,
            choices=choices,
            ends=ends,
        )

    def _around_holes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return ``starts``, ``choices`` and ``ends`` of the world."""
        if not self.pieces:
            return np.empty((0, 0), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        ends = np.zeros(len(self.usable), np.int64)
        for first, stop in self.pieces:
            ends[first:stop] = min(stop, self.end) - 1
        starts = np.argsort(~self.begins, axis=0, kind="stable")  # where one may begin comes first
        return starts, self.begins.sum(axis=0), ends

    @cached_property
    def sight(self) -> Sight:
        """What the kernels read to see."""
        mean, scale, clip = self.statistics.mean, self.statistics.scale, self.statistics.clip
        bars, width, count = self.table.shape
        first, state = self.stacked_bars * count, len(Block._fields)
        seen = np.empty((bars * width, count), np.float32)
        normalise_rows(self.table.reshape(-1, count), mean[:count], scale[:count], clip, seen)
        last = np.empty((ACTIONS, ACTIONS), np.float32)
        normalise_rows(np.eye(ACTIONS), mean[first + state :], scale[first + state :], clip, last)
        return Sight(
            scheme=self.scheme.kernel,
            features=self.table,
            seen=seen.reshape(self.table.shape),
            stacked=self.stacked_bars,
            mean=mean[first : first + state].copy(),
            scale=scale[first : first + state].copy(),
            clip=clip,
            last=last,
            log_bars=np.array([log_bars(held) for held in range(bars + 1)]),
        )
