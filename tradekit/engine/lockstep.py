"""Step closed-loop strategies over all their portfolios together: windows x seeds x cost scenarios x symbols.

Portfolios never touch each other: each is settled by the kernel on its own, and sees the views of its own window, which
may be on bars of its own. So a run in lockstep gives every portfolio what it would have had alone, for one call of the
strategy per bar.

Rows of the batch lie window by window, the longest window first, then by seed, scenario and symbol. The windows that
are still running are then always the first rows, and nothing has to be masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.copies import fresh
from tradekit.engine.ledger import Ledger, order_table
from tradekit.engine.stacked import stacked
from tradekit.engine.strategy import (
    AnyStrategy,
    ClosedLoop,
    KeepsExtras,
    ManyWindows,
    Portfolios,
    Targets,
    as_closed_loop,
    checked_targets,
    is_open_loop,
)
from tradekit.engine.view import Watch
from tradekit.errors import StrategyError
from tradekit.market import kernel
from tradekit.market.costs import CostModel, cost_rows
from tradekit.market.execution import ExecutionModel, open_book

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tradekit.engine.view import View
    from tradekit.market.kernel import Book
    from tradekit.market.panel import Floats, Panel

    Progress = Callable[[int, int], None]


class Rollout(NamedTuple):
    """One run of a lockstep: rows ``start <= t < stop`` under one seed and one cost model, the ledger's."""

    start: int
    stop: int
    seed: int
    ledger: Ledger


class Stretch(NamedTuple):
    """The bars ``start <= t < stop`` of a panel; the first decision is made after bar ``start`` closed."""

    panel: Panel
    start: int
    stop: int


class Job(NamedTuple):
    """What to run: every window under every seed and cost model."""

    windows: Sequence[Stretch]
    seeds: Sequence[int]
    costs: Sequence[CostModel]
    execution: ExecutionModel
    cash: float
    records: bool
    progress: Progress | None


def lockstep(
    strategy: AnyStrategy,
    panel: Panel,
    windows: Sequence[tuple[int, int]],
    costs: CostModel | Sequence[CostModel] | None = None,
    execution: ExecutionModel | None = None,
    cash: float = 100_000.0,
    *,
    seeds: Sequence[int] = (0,),
    records: bool = True,
    progress: Progress | None = None,
) -> list[Rollout]:
    """Run a closed loop over every window, seed and cost scenario at once, each starting flat with ``cash``.

    Every ledger equals that of ``simulate(strategy, panel, cost, start=start, stop=stop)``. All windows take their
    first step together, whatever bar they begin at. A strategy with ``decide_all`` is called once a step for all of
    them; one with ``decide`` or ``on_bar`` alone is called once a step for each window, as a copy of its own.

    Args:
        strategy: see tradekit.engine.strategy; closed loop or event style.
        panel: the bars.
        windows: (start, stop) rows; they may overlap. The first decision is made after bar ``start`` closed.
        costs: one cost model or several.
        execution: as in ``simulate``.
        cash: dollars at the start of each run, > 0.
        seeds: streams of sampled slippage, >= 0, and of whatever the strategy draws (``Portfolios.seed``); stream 0
            is that of ``simulate``.
        records: as in ``simulate``.
        progress: called with (steps done, steps in all).

    Returns:
        a rollout per window, seed and cost model, in that order.

    Raises:
        StrategyError: the strategy is open loop, a window does not lie in the panel, or as in ``simulate``.
    """
    if is_open_loop(strategy):
        raise StrategyError(f"{strategy.name}: weights of bars alone need no lockstep; use simulate")
    scenarios = [costs or CostModel()] if costs is None or isinstance(costs, CostModel) else list(costs)
    for start, stop in windows:
        if not 0 <= start < stop <= len(panel):
            raise StrategyError(f"cannot run bars {start} to {stop} of {len(panel)}")
    if not (np.isfinite(cash) and cash > 0):
        raise StrategyError(f"cash is {cash}; it must be positive dollars")
    for seed in seeds:
        if seed < 0:
            raise StrategyError(f"seed {seed}: seeds are whole numbers, 0 or more")
    stretches = [Stretch(panel, start, stop) for start, stop in windows]
    job = Job(stretches, seeds, scenarios, execution or ExecutionModel(), float(cash), records, progress)
    runs = [(start, stop, seed) for start, stop in windows for seed in seeds for _ in scenarios]
    return [
        Rollout(*run, ledger) for run, ledger in zip(runs, run_lockstep(as_closed_loop(strategy), job), strict=True)
    ]


def run_lockstep(strategy: ClosedLoop, job: Job) -> list[Ledger]:
    """Return the ledgers of a checked job, by window, seed and scenario.

    Raises:
        DataError: its panels differ in their symbols, or lack what the models need.
    """
    if not (job.windows and job.seeds and job.costs):
        return []
    return _Lockstep(strategy, job).run()


class _Lockstep:
    """The state of one job while it runs."""

    def __init__(self, strategy: ClosedLoop, job: Job) -> None:
        self.strategy, self.job = strategy, job
        width = len(job.windows[0].panel.symbols)
        self.per, self.positions = (width, 1) if strategy.sleeves else (1, width)
        self.order = sorted(range(len(job.windows)), key=lambda k: job.windows[k].start - job.windows[k].stop)
        self.windows = [job.windows[k] for k in self.order]
        self.starts = np.array([window.start for window in self.windows])
        self.lengths = np.array([window.stop - window.start for window in self.windows])
        self.panels = list({id(window.panel): window.panel for window in self.windows}.values())
        places = {id(panel): place for place, panel in enumerate(self.panels)}
        self.panel_of = np.array([places[id(window.panel)] for window in self.windows])
        runs = len(job.seeds) * len(job.costs)
        self.size = runs * self.per  # portfolios of one window
        self.batch = len(self.order) * self.size
        self.book = self._book()
        self.fills = np.zeros((self.batch, self.positions, kernel.FILL_COLUMNS))
        self.equity = np.empty((int(self.lengths[0]), self.batch))
        self.cash = np.empty_like(self.equity)
        self.rows: list[Floats] = []

    def _book(self) -> Book:
        job, windows = self.job, len(self.order)
        seeds, scenarios = len(job.seeds), len(job.costs)
        prices = np.tile(np.repeat(np.arange(scenarios), self.per), windows * seeds)
        return open_book(
            job.cash / self.per,
            np.tile(np.arange(self.per), windows * seeds * scenarios),
            self.positions,
            job.execution.latency_bars,
            prices,
            np.tile(np.repeat(np.asarray(job.seeds, np.int64), scenarios * self.per), windows),
        )

    def run(self) -> list[Ledger]:
        job, rules = self.job, self.job.execution.rules
        market, shift = stacked(self.panels, self._spans(), job.execution, job.costs)
        table = cost_rows(job.costs)
        mind: _Together | _Apart = _Apart(self)
        if len(self.order) > 1 and isinstance(self.strategy, ManyWindows):
            mind = _Together(self)
        begin, steps = np.repeat(self.starts, self.size), int(self.lengths[0])
        down = np.repeat(np.array(shift)[self.panel_of], self.size)  # from a row of the panel to one of the market
        left = [int((self.lengths > step).sum()) for step in range(steps + 1)]  # windows that have a bar in each step
        for step in range(steps):
            running, deciding = left[step], left[step + 1]
            bars = begin[: running * self.size] + step
            if step > 0:
                kernel.advance(market, rules, table, self.book, self.fills, bars + down[: len(bars)])
                if job.records:
                    self.rows.append(_order_rows(self.fills[: len(bars)], bars, rules.latency))
            self.equity[step, : len(bars)] = self.book.equity[: len(bars)]
            self.cash[step, : len(bars)] = self.book.cash[: len(bars)]
            if deciding:
                targets = mind.decide(step, deciding)
                asked = bars[: deciding * self.size] + down[: deciding * self.size]
                kernel.place(market, rules, self.book, asked, targets.values, targets.are_shares)
            if job.progress:
                job.progress(step + 1, steps)
        return self._ledgers(mind)

    def _spans(self) -> list[tuple[int, int]]:
        """Return the rows of each panel that its windows are in."""
        mine = [self.panel_of == place for place in range(len(self.panels))]
        stops = self.starts + self.lengths
        return [(int(self.starts[one].min()), int(stops[one].max())) for one in mine]

    def _ledgers(self, mind: _Together | _Apart) -> list[Ledger]:
        rows = np.concatenate(self.rows) if self.rows else np.empty((0, kernel.ORDER_COLUMNS))
        owner = rows[:, 2].astype(np.int64) // self.per
        rows = rows[np.argsort(owner, kind="stable")]
        runs = self.size // self.per
        ends = np.cumsum(np.bincount(owner, minlength=len(self.order) * runs))
        made: dict[int, list[Ledger]] = {}
        for place, window in enumerate(self.order):
            groups = range(place * runs, (place + 1) * runs)
            made[window] = [self._ledger(mind, place, g, rows[ends[g - 1] if g else 0 : ends[g]]) for g in groups]
        return [ledger for window in range(len(self.order)) for ledger in made[window]]

    def _ledger(self, mind: _Together | _Apart, place: int, group: int, rows: Floats) -> Ledger:
        """Return the ledger of the portfolios ``group`` of the window at ``place``."""
        mine = slice(group * self.per, (group + 1) * self.per)
        start, length = int(self.starts[place]), int(self.lengths[place])
        orders = order_table(rows, start, first_portfolio=mine.start)
        if self.strategy.sleeves:
            orders["symbol"] = orders["portfolio"]
        equity, carry = self.equity[:length, mine], self.book.carry[mine]
        return Ledger(
            name=self.strategy.name,
            panel=self.windows[place].panel[start : start + length],
            equity=equity.sum(axis=1),
            cash=self.cash[:length, mine].sum(axis=1),
            orders=orders,
            cost_model=self.job.costs[group % len(self.job.costs)],
            execution=self.job.execution,
            sleeve_equity=equity.copy() if self.strategy.sleeves else None,
            borrow_paid=float(carry[:, 0].sum()),
            interest_earned=float(carry[:, 1].sum()),
            extras=mind.extras(place, mine, length),
        )


class _Apart:
    """Asks for each window by itself."""

    def __init__(self, crowd: _Lockstep) -> None:
        self._size, self._starts, count = crowd.size, crowd.starts, len(crowd.order)
        self._watches = _watches(crowd)
        self._pasts = [watch.past() for watch in self._watches]
        self._loops = [crowd.strategy] if count == 1 else [_own(crowd.strategy) for _ in range(count)]
        self._states = [loop.start(crowd.size) for loop in self._loops]
        self._portfolios = [_part(crowd, slice(k * crowd.size, (k + 1) * crowd.size)) for k in range(count)]

    def decide(self, step: int, windows: int) -> Targets:
        """Return what the portfolios of the first ``windows`` windows want."""
        answers = [self._ask(k, step) for k in range(windows)]
        if windows == 1:
            return answers[0]
        if len({answer.are_shares for answer in answers}) > 1:
            raise StrategyError(
                f"{self._loops[0].name}: answers shares in one window and weights in another; choose one"
            )
        return Targets(np.concatenate([answer.values for answer in answers]), answers[0].are_shares)

    def _ask(self, k: int, step: int) -> Targets:
        loop, portfolios = self._loops[k], self._portfolios[k]
        view = self._watches[k].view(self._pasts[k], int(self._starts[k]) + step)
        return checked_targets(loop, loop.decide(view, portfolios, self._states[k]), portfolios.fills)

    def extras(self, place: int, mine: slice, length: int) -> dict[str, Any]:
        """Return what was recorded for the portfolios ``mine`` of the window at ``place``."""
        loop, first = self._loops[place], place * self._size
        return _extras(loop, self._states[place], slice(mine.start - first, mine.stop - first), length)


class _Together:
    """Asks once for the portfolios of all windows."""

    def __init__(self, crowd: _Lockstep) -> None:
        self._loop, self._crowd, self._starts = crowd.strategy, crowd, crowd.starts
        self._watches = _watches(crowd)
        self._pasts = [watch.past() for watch in self._watches]
        self._state = crowd.strategy.start(crowd.batch)
        self._portfolios = _part(crowd, slice(0, crowd.batch))

    def decide(self, step: int, windows: int) -> Targets:
        """Return what the portfolios of the first ``windows`` windows want."""
        if len(self._portfolios) > windows * self._crowd.size:
            self._portfolios = _part(self._crowd, slice(0, windows * self._crowd.size))
        assert isinstance(self._loop, ManyWindows)
        views: list[View] = [self._watches[k].view(self._pasts[k], int(self._starts[k]) + step) for k in range(windows)]
        answer = self._loop.decide_all(views, self._portfolios, self._state)
        return checked_targets(self._loop, answer, self._portfolios.fills)

    def extras(self, place: int, mine: slice, length: int) -> dict[str, Any]:
        """Return what was recorded for the portfolios ``mine``."""
        return _extras(self._loop, self._state, mine, length)


def _watches(crowd: _Lockstep) -> list[Watch]:
    """Return what reveals the bars of each window; windows on one panel share it, and its features."""
    watches = [Watch(panel) for panel in crowd.panels]
    return [watches[place] for place in crowd.panel_of]


def _own(strategy: ClosedLoop) -> ClosedLoop:
    """Return a copy, so that what a strategy keeps in itself stays in its window."""
    return as_closed_loop(fresh(strategy))


def _extras(loop: ClosedLoop, state: Any, portfolios: slice, length: int) -> dict[str, Any]:
    if not isinstance(loop, KeepsExtras):
        return {}
    return {name: rows[:length] for name, rows in loop.extras(state, portfolios).items()}


def _part(crowd: _Lockstep, rows: slice) -> Portfolios:
    """Return the portfolios ``rows`` of the batch, which share its memory."""
    book: Any = crowd.book
    window: NDArray[np.int64] = np.arange(rows.stop - rows.start) // crowd.size
    arrays: Any = (array[rows] for array in book)
    short = crowd.job.execution.allow_short
    return Portfolios(type(book)(*arrays), crowd.fills[rows], window, allow_short=short)


def _order_rows(fills: Floats, bars: NDArray[np.int64], latency: int) -> Floats:
    """Return the (M, ORDER_COLUMNS) rows of the orders that were due in bars (B,)."""
    portfolio, position = np.nonzero(fills[:, :, kernel.REQUESTED])
    rows = np.empty((len(portfolio), kernel.ORDER_COLUMNS))
    rows[:, 1], rows[:, 2], rows[:, 3] = bars[portfolio], portfolio, position
    rows[:, 0] = rows[:, 1] - 1 - latency
    rows[:, 4:] = fills[portfolio, position]
    return rows
