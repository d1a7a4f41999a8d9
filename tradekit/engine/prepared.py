"""A strategy fitted in every window: what it decides in the test slices, stitched, ready to run at any costs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.audit import AuditReport, audit
from tradekit.engine.copies import fresh
from tradekit.engine.simulate import Run, run_table, simulate
from tradekit.engine.strategy import (
    AnyStrategy,
    ClosedLoop,
    EventAdapter,
    Portfolios,
    Strategy,
    Targets,
    as_closed_loop,
    attempt,
    checked_weights,
    is_open_loop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.view import View
    from tradekit.engine.windows import Window, Windowing
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class Prepared:
    """A strategy fitted in every window, ready to run under any costs and latency.

    Attributes:
        strategy: as given.
        fitted: one per window, asked nothing yet; None where fitting failed.
        failures: one per window.
        learnt: whether fitting made the strategy another one in any window.
        table: (T, N) stitched weights of an open-loop strategy, else None.
        driver: the closed loop that switches policy at each window, else None.
    """

    strategy: AnyStrategy
    windows: tuple[Window, ...]
    fitted: tuple[AnyStrategy | None, ...]
    failures: tuple[str | None, ...]
    learnt: bool
    table: Floats | None = None
    driver: ClosedLoop | None = None

    def run(
        self, panel: Panel, costs: Sequence[CostModel], execution: ExecutionModel, cash: float, records: bool = True
    ) -> list[Ledger]:
        """Return one out-of-sample ledger per cost scenario."""
        start, stop = self.windows[0].test_start, self.windows[-1].test_stop
        if self.table is not None:
            return run_table(
                self.strategy.name, self.table, Run(panel, costs, execution, cash, start, stop, records, None)
            )
        assert self.driver is not None
        return simulate(
            loop_of(self.driver), panel, list(costs), execution, cash, start=start, stop=stop, records=records
        )


def decided(prepared: Prepared, panel: Panel, windowing: Windowing, execution: ExecutionModel) -> Prepared:
    """Return ``prepared`` with what its fitted strategies decide in the test slices of ``panel``.

    The bars need not be those that they were fitted on: a stressed world, say, of as many rows.
    """
    windows, strategy = prepared.windows, prepared.strategy
    if is_open_loop(strategy):
        table, failures = _stitch(prepared, panel, execution)
        if windowing.carry == "flatten":
            for window in windows:
                table[window.test_stop - 1] = 0.0
        return replace(prepared, failures=tuple(failures), table=table)
    if windowing.carry == "carry" and not prepared.learnt:
        return replace(prepared, driver=as_closed_loop(strategy))
    return replace(prepared, driver=Switch(prepared, windowing.carry == "flatten"))


def first_run(
    fitted: Prepared,
    panel: Panel,
    windowing: Windowing,
    execution: ExecutionModel,
    costs: CostModel,
    cash: float,
    *,
    records: bool = True,
) -> tuple[Prepared, Ledger]:
    """Return ``fitted`` with what it decides, ready to run again, and its ledger.

    Windows in which it failed have their reason. A closed loop that raises is one loop for each window from then on, so
    that only those in which it does are lost.
    """
    prepared = decided(fitted, panel, windowing, execution)

    def run() -> Ledger:
        return prepared.run(panel, [costs], execution, cash, records)[0]

    if prepared.table is not None:
        return prepared, run()
    ledger, failure = attempt(run)
    if failure is not None:
        prepared = replace(prepared, driver=Switch(prepared, windowing.carry == "flatten"))
        ledger = run()
    if isinstance(prepared.driver, Switch):
        failures = [prepared.driver.failures.get(k, reason) for k, reason in enumerate(prepared.failures)]
        prepared = replace(prepared, failures=tuple(failures))
    return prepared, ledger


def loop_of(driver: ClosedLoop) -> ClosedLoop:
    """Return a loop to run: a copy, so that nothing a strategy keeps in itself travels from one run to the next."""
    return driver if isinstance(driver, Switch | EventAdapter) else as_closed_loop(fresh(driver))


def _stitch(prepared: Prepared, panel: Panel, execution: ExecutionModel) -> tuple[Floats, list[str | None]]:
    """Return (T, N) weights that hold each window's decisions in its test rows, and what failed.

    A strategy with nothing to learn is asked once for all test rows, so that "buy once" means once.
    """
    table = np.full((len(panel), len(panel.symbols)), np.nan)
    strategy, windows, failures = prepared.strategy, prepared.windows, list(prepared.failures)
    if not prepared.learnt:
        first, last = windows[0].test_start, windows[-1].test_stop
        whole = windows[0]._replace(test_stop=last)
        weights, failure = attempt(partial(_rows, fresh(strategy), panel, whole, execution))
        if failure is None:
            table[first:last] = weights
            return table, failures
        # It raises somewhere in these bars; window by window only those in which it does are lost.
    for k, window in enumerate(windows):
        one, weights = prepared.fitted[k], None
        rows = slice(window.test_start, window.test_stop)
        if one is not None:
            weights, failures[k] = attempt(partial(_rows, fresh(one), panel, window, execution))
        table[rows] = 0.0 if failures[k] is not None else weights
    return table, failures


def _rows(strategy: AnyStrategy, panel: Panel, window: Window, execution: ExecutionModel) -> Floats:
    """Return the decisions of the test rows, from bars that begin a lookback before them and end with them."""
    assert isinstance(strategy, Strategy)
    lookback = getattr(strategy, "lookback", None)
    first = window.train_start if lookback is None else max(0, window.test_start + 1 - lookback)
    piece = panel[first : window.test_stop]
    return checked_weights(strategy.name, strategy.weights(piece), piece, execution)[window.test_start - first :]


class Switch:
    """A closed loop that asks, at each bar, the strategy fitted for the window the bar lies in.

    One that raises holds cash for the rest of its window, and ``failures`` says by window what it raised.
    """

    def __init__(self, prepared: Prepared, flatten: bool) -> None:
        self.name = prepared.strategy.name
        self._loops = [None if one is None else as_closed_loop(one) for one in prepared.fitted]
        self._starts = np.array([window.test_start for window in prepared.windows])
        self._ends = {window.test_stop - 1 for window in prepared.windows} if flatten else set()
        self.sleeves = as_closed_loop(prepared.strategy).sleeves
        self.failures: dict[int, str] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Switch:
        """Return self: what a run remembers is in its state, and the loops are copied when their window begins."""
        return self

    def fit(self, train: Panel) -> Switch:
        """Return self: it was fitted window by window."""
        return self

    def start(self, portfolios: int) -> _State:
        """Return the memory of a run."""
        return _State(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: _State) -> Targets:
        """Ask the window's strategy; no position at the end of a window that is flattened, or where it fails."""
        k = int(np.searchsorted(self._starts, view.bar, side="right")) - 1
        loop = self._loops[k]
        if loop is not None and view.bar not in self._ends and state.broken != k:
            targets, failure = attempt(partial(self._ask, k, loop, view, portfolios, state))
            if failure is None:
                state.turn(state.loop, state.memory)
                return Targets(*targets)
            state.broken, self.failures[k] = k, failure
        state.turn(None, None)
        return Targets(np.zeros(portfolios.shares.shape))

    def _ask(self, k: int, loop: ClosedLoop, view: View, portfolios: Portfolios, state: _State) -> Targets:
        if state.window != k:
            state.window, state.loop = k, loop_of(loop)
            state.memory = state.loop.start(state.portfolios)
        assert state.loop is not None
        return state.loop.decide(view, portfolios, state.memory)

    def extras(self, state: _State, portfolios: slice) -> dict[str, Any]:
        """Return what the windows' strategies recorded, bar by bar; -1 or NaN where none was asked."""
        bars = sum(turn.asked for turn in state.turns) + 1
        tables: dict[str, Any] = {}
        for turn in state.turns:
            kept: Any = turn.loop
            for name, rows in kept.extras(turn.memory, portfolios).items() if hasattr(kept, "extras") else ():
                if name not in tables:
                    empty = np.nan if np.issubdtype(rows.dtype, np.floating) else -1
                    tables[name] = np.full((bars, *rows.shape[1:]), empty, rows.dtype)
                tables[name][turn.first : turn.first + turn.asked] = rows[: turn.asked]
        return tables


@dataclass
class _Turn:
    """Consecutive bars in which one loop, or none, was asked."""

    loop: ClosedLoop | None
    memory: Any
    first: int
    asked: int = 0


@dataclass
class _State:
    portfolios: int
    window: int = -1
    broken: int = -1
    loop: ClosedLoop | None = None
    memory: Any = None
    turns: list[_Turn] = field(default_factory=list)

    def turn(self, loop: ClosedLoop | None, memory: Any) -> None:
        """Count a bar for ``loop``."""
        if not self.turns or self.turns[-1].loop is not loop:
            self.turns.append(_Turn(loop, memory, sum(turn.asked for turn in self.turns)))
        self.turns[-1].asked += 1


def audit_of(prepared: Prepared, panel: Panel) -> AuditReport | None:
    """Audit the last fitted strategy on the bars it is judged on, with a lookback of history before them."""
    strategy = next((one for one in reversed(prepared.fitted) if one is not None), None)
    if strategy is None:
        return None
    window = prepared.windows[-1]
    first = window.test_start if prepared.learnt else prepared.windows[0].test_start
    begin = max(0, first - (getattr(strategy, "lookback", None) or first))
    return audit(strategy, panel[begin : window.test_stop], start=first - begin)
