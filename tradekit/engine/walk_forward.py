"""Walk-forward: learn on one slice, be judged on the next, and stitch the judged slices into one ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.audit import AuditReport, audit
from tradekit.engine.copies import fit, fresh
from tradekit.engine.simulate import DEFAULT_CASH, Run, run_table, simulate
from tradekit.engine.strategy import (
    AnyStrategy,
    ClosedLoop,
    EventAdapter,
    Portfolios,
    Strategy,
    Targets,
    View,
    as_closed_loop,
    attempt,
    checked_weights,
    is_open_loop,
)
from tradekit.engine.windows import Window, Windowing
from tradekit.errors import StrategyError, TradekitError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Floats, Panel

Progress = Callable[[int, int, str], None]


class WindowResult(NamedTuple):
    """One window of one strategy: rows ``first <= t < last`` of its ledger, and why it failed if it did.

    A failed window holds cash.
    """

    window: Window
    first: int
    last: int
    failure: str | None


@dataclass(frozen=True)
class StrategyRun:
    """One strategy's out-of-sample record.

    Attributes:
        name, kind: of the strategy.
        ledger: the stitched test slices; None when the strategy was skipped.
        windows: per window.
        scored_from: first ledger row whose return may count; a policy's own training bars lie before it.
        audit: the causality audit of the fitted strategy.
        skipped: why it could not run.
    """

    name: str
    kind: str
    ledger: Ledger | None
    windows: tuple[WindowResult, ...] = ()
    scored_from: int = 0
    audit: AuditReport | None = None
    skipped: str | None = None


@dataclass(frozen=True)
class WalkForward:
    """Every strategy on the same windows, costs and execution; windowing None: one pass without windows."""

    panel: Panel
    windowing: Windowing | None
    runs: tuple[StrategyRun, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float

    @property
    def scored_from(self) -> int:
        """First ledger row on which all strategies can be compared."""
        return max((run.scored_from for run in self.runs if run.ledger is not None), default=0)

    def run(self, name: str) -> StrategyRun:
        """Return the run of the strategy called ``name``."""
        return next(run for run in self.runs if run.name == name)


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
            _loop_of(self.driver), panel, list(costs), execution, cash, start=start, stop=stop, records=records
        )


def walk_forward(
    strategies: AnyStrategy | Sequence[AnyStrategy],
    panel: Panel,
    windowing: Windowing | None = None,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    *,
    audit: bool = True,
    progress: Progress | None = None,
) -> WalkForward:
    """Judge strategies on bars they have not learnt from.

    In every window each strategy is fitted on the train slice alone and asked for decisions in the test slice; the test
    slices are stitched and run once, so that positions carry from one to the next unless ``windowing.carry`` says
    otherwise. Where a policy was trained on some of the bars, every strategy starts after them.

    Args:
        strategies: one, or several with distinct names.
        panel: all bars.
        windowing: default: ``Windowing.for_panel``.
        costs: one model; default: the ``realistic`` preset.
        execution: default: fills at the next open, or the next close of close-only data.
        cash: dollars at the start, > 0.
        audit: change the future and demand unchanged decisions, for every strategy.
        progress: called with (done, in all, label).

    Raises:
        StrategyError: two strategies of one name, or a strategy answers nonsense.
        ConfigError: no window fits the bars.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    windowing = windowing or Windowing.for_panel(panel)
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    windows = unseen(several, panel, windowing.cut(panel), execution)
    runs = []
    for done, strategy in enumerate(several):
        if progress:
            progress(done, len(several), strategy.name)
        runs.append(_run(strategy, panel, windows, windowing, costs, execution, cash, audit))
    if progress:
        progress(len(several), len(several), "done")
    return WalkForward(panel, windowing, tuple(runs), costs, execution, cash)


def demand_distinct(strategies: Sequence[AnyStrategy]) -> None:
    """Raise StrategyError when two strategies share a name."""
    names = [strategy.name for strategy in strategies]
    for name in names:
        if names.count(name) > 1:
            raise StrategyError(f"two strategies are called {name!r}; give each a name of its own")


def _run(
    strategy: AnyStrategy,
    panel: Panel,
    windows: Sequence[Window],
    windowing: Windowing,
    costs: CostModel,
    execution: ExecutionModel,
    cash: float,
    with_audit: bool,
) -> StrategyRun:
    kind = getattr(strategy, "kind", "custom")
    unfit = reason_to_skip(strategy, panel, windows, execution)
    if unfit:
        return StrategyRun(strategy.name, kind, None, skipped=unfit)
    done, failure = attempt(partial(_judge, strategy, panel, windows, windowing, costs, execution, cash))
    if failure is not None:
        return StrategyRun(strategy.name, kind, None, skipped=f"it raised {failure}")
    prepared, ledger = done
    if all(reason is not None for reason in prepared.failures):
        return StrategyRun(strategy.name, kind, None, skipped=f"it failed in every window: {prepared.failures[0]}")
    start = windows[0].test_start
    results = tuple(
        WindowResult(window, window.test_start - start, window.test_stop - start, failure)
        for window, failure in zip(windows, prepared.failures, strict=True)
    )
    report = audit_of(prepared, panel) if with_audit else None
    return StrategyRun(strategy.name, kind, ledger, results, scored_from(strategy, ledger), report)


def _judge(
    strategy: AnyStrategy,
    panel: Panel,
    windows: Sequence[Window],
    windowing: Windowing,
    costs: CostModel,
    execution: ExecutionModel,
    cash: float,
) -> tuple[Prepared, Ledger]:
    prepared = prepare(strategy, panel, windows, windowing, execution)
    return prepared, prepared.run(panel, [costs], execution, cash)[0]


def reason_to_skip(
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], execution: ExecutionModel
) -> str | None:
    """Return why ``strategy`` cannot be judged on these bars, or None."""
    if hasattr(strategy, "check"):
        try:
            strategy.check(panel, execution)
        except TradekitError as error:
            return str(error)
    seen = getattr(strategy, "seen_end", None)
    last = panel.timestamps[windows[-1].test_stop - 1]
    if seen is not None and panel.timestamps[windows[-1].test_stop - 2] <= seen:
        end = panel.moment(last)
        return f"it was trained on bars up to {panel.moment(seen)}, and the last bar here is {end}; test on later bars"
    return None


def unseen(
    strategies: Sequence[AnyStrategy], panel: Panel, windows: Sequence[Window], execution: ExecutionModel
) -> list[Window]:
    """Return the windows cut to begin where the last of the policies that can run has seen nothing more.

    All strategies start there, flat and with the same cash: what a policy earned on its own training bars must not
    decide how much money its symbols have afterwards.
    """
    able = [one for one in strategies if reason_to_skip(one, panel, windows, execution) is None]
    first = max((last_seen(one, panel) for one in able), default=0)
    return [w._replace(test_start=max(w.test_start, first)) for w in windows if w.test_stop > first]


def last_seen(strategy: AnyStrategy, panel: Panel) -> int:
    """Return the row of the last bar that ``strategy`` was trained on, its first fair decision; 0 without training."""
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    return max(0, int(np.searchsorted(panel.timestamps, np.datetime64(seen, "ns"), side="right")) - 1)


def scored_from(strategy: AnyStrategy, ledger: Ledger) -> int:
    """Return the first ledger row whose return the strategy has not seen in training."""
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    return int(np.searchsorted(ledger.timestamps, np.datetime64(seen, "ns"), side="right"))


def prepare(
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], windowing: Windowing, execution: ExecutionModel
) -> Prepared:
    """Fit ``strategy`` in every window and stitch what it decides in the test slices."""
    fitted: list[AnyStrategy | None] = []
    failures: list[str | None] = []
    learnt = False
    for window in windows:
        train = panel[window.train_start : window.train_stop]
        answer, failure = attempt(partial(fit, strategy, train))
        fitted.append(None if answer is None else answer.strategy)
        failures.append(failure)
        learnt |= answer is None or answer.learnt
    prepared = Prepared(strategy, tuple(windows), tuple(fitted), tuple(failures), learnt)
    return decided(prepared, panel, windowing, execution)


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
    return replace(prepared, driver=_Switch(prepared, windowing.carry == "flatten"))


def _loop_of(driver: ClosedLoop) -> ClosedLoop:
    """Return a loop to run: a copy, so that nothing a strategy keeps in itself travels from one run to the next."""
    return driver if isinstance(driver, _Switch | EventAdapter) else as_closed_loop(fresh(driver))


def _stitch(prepared: Prepared, panel: Panel, execution: ExecutionModel) -> tuple[Floats, list[str | None]]:
    """Return (T, N) weights that hold each window's decisions in its test rows, and what failed.

    A strategy with nothing to learn is asked once for all test rows, so that "buy once" means once.
    """
    table = np.full((len(panel), len(panel.symbols)), np.nan)
    strategy, windows, failures = prepared.strategy, prepared.windows, list(prepared.failures)
    if not prepared.learnt:
        first, last = windows[0].test_start, windows[-1].test_stop
        whole = windows[0]._replace(test_stop=last)
        table[first:last] = _rows(fresh(strategy), panel, whole, execution)
        return table, failures
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


class _Switch:
    """A closed loop that asks, at each bar, the strategy fitted for the window the bar lies in."""

    def __init__(self, prepared: Prepared, flatten: bool) -> None:
        self.name = prepared.strategy.name
        self._loops = [None if one is None else as_closed_loop(one) for one in prepared.fitted]
        self._starts = np.array([window.test_start for window in prepared.windows])
        self._ends = {window.test_stop - 1 for window in prepared.windows} if flatten else set()
        self.sleeves = as_closed_loop(prepared.strategy).sleeves

    def fit(self, train: Panel) -> _Switch:
        return self

    def start(self, portfolios: int) -> _SwitchState:
        return _SwitchState(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: _SwitchState) -> Targets:
        k = int(np.searchsorted(self._starts, view.bar, side="right")) - 1
        loop = self._loops[k]
        if loop is None or view.bar in self._ends:
            state.turn(None, None)
            return Targets(np.zeros(portfolios.shares.shape))
        if state.window != k:
            state.window, state.loop = k, _loop_of(loop)
            state.memory = state.loop.start(state.portfolios)
        assert state.loop is not None
        state.turn(state.loop, state.memory)
        return state.loop.decide(view, portfolios, state.memory)

    def extras(self, state: _SwitchState, portfolios: slice) -> dict[str, Any]:
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
class _SwitchState:
    portfolios: int
    window: int = -1
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
