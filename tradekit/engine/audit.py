"""The causality audit: change the future, and demand that no past decision moves.

Bars after a cut are replaced by other futures (see tradekit.engine.futures), and left out altogether. Every decision up
to the cut must stay bit-identical. A strategy that peeks, centres a window, normalises over the whole history,
back-fills or resamples across the cut cannot pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.engine.copies import fresh
from tradekit.engine.futures import columns_of, futures
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import (
    AnyStrategy,
    ClosedLoop,
    Portfolios,
    Strategy,
    Targets,
    View,
    as_closed_loop,
    attempt,
    checked_weights,
    is_open_loop,
)
from tradekit.errors import CausalityError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel

    Difference = tuple[int, int, float, float]

HISTORY, FUTURE = 256, 32
# How many bars on a closed loop must decide alike, and at how many decisions it is tried, to know its warm-up.
AHEAD, WARM_UP_ROWS = 8, 4
LENGTH = "history length"


class Violation(NamedTuple):
    """The first decision that moved when only later bars did.

    timestamp: of its bar, as people write it; column: the data column whose future alone moves it, or ``history
    length`` when only cutting the future off does.
    """

    timestamp: str
    symbol: str
    column: str
    before: float
    after: float


@dataclass(frozen=True)
class AuditReport:
    """What the audit saw.

    Attributes:
        strategy: its name.
        passed: no decision moved.
        cuts: rows after which the future was changed.
        bars_checked: decisions compared, in bars.
        first_violation: the earliest offending decision of the first cut that shows one.
        lookback_holds: whether decisions computed from the last ``lookback`` bars equal those from all history; None
            when the strategy declares no lookback.
        warm_up_bars: the shortest history from which decisions no longer depend on where history starts, the newest
            bar included; None when they still do with all the bars at hand.
        note: what a reader should know, such as that the strategy never asked for anything.
    """

    strategy: str
    passed: bool
    cuts: int
    bars_checked: int
    first_violation: Violation | None = None
    lookback_holds: bool | None = None
    warm_up_bars: int | None = None
    note: str = ""

    def require(self) -> None:
        """Raise CausalityError, naming the first offending bar, unless the audit passed."""
        if self.first_violation is not None:
            bad = self.first_violation
            how = "those bars are left out" if bad.column == LENGTH else f"their {bad.column} changes"
            raise CausalityError(
                f"{self.strategy} uses the future: its decision for {bad.symbol} at {bad.timestamp} moves from "
                f"{bad.before:.6g} to {bad.after:.6g} with later bars alone, when {how}"
            )


def audit(
    strategy: AnyStrategy,
    panel: Panel,
    *,
    cuts: int | None = 8,
    start: int = 0,
    execution: ExecutionModel | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Audit ``strategy``, already fitted, on ``panel``.

    The future is changed after bars at which the strategy decides something new, where a rare peek would show, and
    after bars spread evenly. Every answer comes from a fresh copy, so that nothing is remembered from one future to the
    next.

    Args:
        strategy: any of the three forms.
        panel: the bars.
        cuts: how many bars of either sort, each tried with several futures; None: every bar, which misses no peek
            however rare, and takes as long.
        start: row of the first decision; earlier bars are history. A declared lookback is honoured on top.
        execution: how the orders of a closed loop fill, which it sees; default: as in ``simulate``.
        progress: called with the cuts that are done and how many there are.

    Returns:
        the report; it does not raise on a violation (``AuditReport.require`` does). Nothing is tested, and the note
        says why, when there are too few bars or the strategy raises on them.

    Raises:
        DataError: the panel lacks the column that orders fill at.
    """
    lookback = getattr(strategy, "lookback", None)
    start, execution = max(start, (lookback or 1) - 1), execution or ExecutionModel()
    execution.fills_at(panel)  # else every question would end in this error
    work = _Audit(strategy, panel, start, lookback, execution)
    rows, telling = work.cuts(cuts)
    checked, asked, tried, violation, reason = 0, False, 0, None, ""
    for done, cut in enumerate(rows):
        if progress is not None:
            progress(done, len(rows))
        found, failure = attempt(partial(work.at, cut))
        if failure is not None:
            reason = reason or failure
            continue
        tried += 1
        base, moved = found
        checked += len(base)
        asked |= bool(np.isfinite(base).any())
        # What shows only when bars are left out is named by the column that gives it away after a later cut.
        violation = moved if violation is None else violation._replace(column=moved.column if moved else LENGTH)
        if violation is not None and violation.column != LENGTH:
            break
    note = "" if asked else _untested(panel, tried, start, reason)
    holds, warm_up = (None, None)
    if tried and violation is None:
        holds, warm_up = work.warm_up(telling[-min(cuts or WARM_UP_ROWS, WARM_UP_ROWS) :])
    return AuditReport(strategy.name, violation is None, tried, checked, violation, holds, warm_up, note)


def _untested(panel: Panel, tried: int, start: int, reason: str) -> str:
    if tried:
        return "the strategy asked for nothing on these bars, so nothing was tested"
    if reason:
        return f"not audited: on part of the bars the strategy raised {reason}; declare the lookback it needs"
    return f"not audited: {len(panel)} bars are too few when the first decision needs {start + 1}"


class _Audit:
    """One strategy on one panel."""

    def __init__(
        self, strategy: AnyStrategy, panel: Panel, start: int, lookback: int | None, execution: ExecutionModel
    ) -> None:
        self.strategy, self.panel, self.start, self.lookback = strategy, panel, start, lookback
        self.execution, self.open_loop = execution, is_open_loop(strategy)
        self.table: Floats | None = None  # decisions from all bars, rows from start on
        self.needs_more = False  # whether a decision was seen that the declared lookback does not give

    def decisions(self, panel: Panel, last: int, start: int) -> Floats:
        return decisions(self.strategy, panel, last, start, self.execution)

    def cuts(self, count: int | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows after which to change the future, and those of them at which decisions change.

        They are where decisions change, and evenly spread ones.
        """
        last, nothing = len(self.panel) - 2, np.empty(0, np.int64)
        first = self.start + 1 if self.lookback else max(self.start + 1, min(len(self.panel) // 4, HISTORY))
        if count is None:
            first = self.start
        if first > last:
            return nothing, nothing
        even = (
            np.linspace(first, last, min(count, last + 1 - first)).astype(np.int64)
            if count
            else np.arange(first, last + 1)
        )
        table, failure = attempt(partial(self.decisions, self.panel, last, self.start))
        if failure is not None or len(table) < 2:
            return np.unique(even), np.unique(even)[-1:]
        self.table = table
        moved = np.isfinite(table[1:]) & (table[1:] != table[:-1])
        rows = self.start + 1 + np.flatnonzero(moved.any(axis=1))
        rows = rows[rows >= first]
        if count is None or not len(rows):
            return np.unique(even), rows if len(rows) else even[-1:]
        chosen = rows[np.linspace(0, len(rows) - 1, min(2 * count, len(rows))).astype(np.int64)]
        # A loop that declares no lookback is driven from its first bar for every future: fewer cuts, the telling ones.
        slow = self.lookback is None and not self.open_loop
        return np.unique(chosen[::2] if slow else np.concatenate([even, chosen])), chosen

    def at(self, cut: int) -> tuple[Floats, Violation | None]:
        """Return the decisions up to row ``cut`` and the first that some future after it moves."""
        lookback = self.lookback
        first = 0 if lookback is None else max(0, cut + 1 - max(HISTORY, 2 * lookback))
        piece = self.panel[first : min(len(self.panel), cut + 1 + FUTURE)]
        begin = max(self.start, first + (lookback or 1) - 1) - first
        base = self.decisions(piece, cut - first, begin)
        found = self._find(piece, base, cut - first, begin)
        return base, found or self._against_all(base, first + begin)

    def _find(self, panel: Panel, base: Floats, cut: int, begin: int) -> Violation | None:
        """Return the earliest decision up to ``cut`` that some future moves."""
        for future in futures(panel, cut):
            moved = self._moved(future, base, cut, begin)
            if moved is not None:
                return self._named(panel, begin, moved, self._column(panel, base, cut, begin, moved[0]))
        if len(panel) > cut + 1:
            short = self.decisions(panel[: cut + 1], cut, begin)  # a closed loop does not decide after its last bar
            moved = _first_difference(base[: len(short)], short)
            if moved is not None:
                return self._named(panel, begin, moved, LENGTH)
        return None

    def _moved(self, future: Panel, base: Floats, cut: int, begin: int) -> Difference | None:
        """Return the first decision that ``future`` moves; a strategy that cannot read it is not judged by it."""
        try:
            other = self.decisions(future, cut, begin)
        except Exception:  # noqa: BLE001 - foreign code, on bars that no source would give
            return None
        return _first_difference(base, other)

    def _column(self, panel: Panel, base: Floats, cut: int, begin: int, row: int) -> str:
        """Return the column whose future alone moves the decision in ``row`` or an earlier one."""
        for column in columns_of(panel):
            for future in futures(panel, cut, (column,)):
                alone = self._moved(future, base, cut, begin)
                if alone is not None and alone[0] <= row:
                    return column
        return "columns together"

    def _against_all(self, base: Floats, row: int) -> Violation | None:
        """Return where decisions from the whole panel differ from ``base``, which begins at ``row`` of it.

        Where they do though nothing later is shown, the declared lookback is too short, which is noted.
        """
        if self.table is None or self.lookback is None or not self.open_loop:
            return None
        table = self.table[row - self.start :][: len(base)]
        moved = _first_difference(table, base)
        if moved is None:
            return None
        end = row + moved[0]
        honest = self.decisions(self.panel[: end + 1], end, end)
        if _first_difference(table[moved[0] : moved[0] + 1], honest) is None:
            self.needs_more = True
            return None
        return self._named(self.panel, row, moved, LENGTH)

    def _named(self, panel: Panel, begin: int, moved: Difference, column: str) -> Violation:
        row, position, before, after = moved
        stamp = panel.moment(panel.timestamps[begin + row])
        return Violation(stamp, panel.symbols[position % len(panel.symbols)], column, before, after)

    def warm_up(self, rows: NDArray[np.int64]) -> tuple[bool | None, int | None]:
        """Return whether the declared lookback suffices, and the shortest history that gives the decisions of ``rows``.

        A closed loop starts flat at the row, and has to decide alike for some bars.
        """
        holds = None if self.lookback is None else not self.needs_more
        longest: int | None = 1
        for row in rows:
            wanted = self._from(int(row), int(row) + 1)
            if holds and self.lookback:
                holds = self._same(int(row), self.lookback, wanted)
            if longest is not None:
                longest = self._shortest(int(row), longest, wanted)
        return holds, longest

    def _shortest(self, row: int, history: int, wanted: Floats | None) -> int | None:
        """Return the shortest history of at least ``history`` bars that gives ``wanted``: by doubling, then halving."""
        least = history - 1
        while not self._same(row, history, wanted):
            if history >= row:
                return None
            least, history = history, min(2 * history, row)
        while history - least > 1:
            middle = (history + least) // 2
            least, history = (least, middle) if self._same(row, middle, wanted) else (middle, history)
        return history

    def _same(self, row: int, history: int, wanted: Floats | None) -> bool:
        answer = self._from(row, history) if history <= row + 1 else wanted
        return answer is not None and wanted is not None and _first_difference(wanted, answer) is None

    def _from(self, row: int, history: int) -> Floats | None:
        """Return what is decided at ``row``, and by a loop for some bars on, from so much history; None: it raised."""
        first, ahead = max(0, row + 1 - history), 0 if self.open_loop else AHEAD
        last = min(row + ahead, len(self.panel) - 2)
        piece = self.panel[first : last + 2]
        rows, failure = attempt(partial(self.decisions, piece, last - first, row - first))
        return None if failure is not None else np.asarray(rows)


def decisions(
    strategy: AnyStrategy, panel: Panel, last: int, start: int = 0, execution: ExecutionModel | None = None
) -> Floats:
    """Return (last + 1 - start, K) what a copy of the strategy decides after each bar ``start <= t <= last``.

    Open loop: target weights. Closed loop: what ``decide`` answered, portfolio after portfolio, with the portfolios
    moving on as a backtest moves them; without the last bar's where ``panel`` ends there.
    """
    one = fresh(strategy)
    if is_open_loop(one):
        assert isinstance(one, Strategy)
        free = ExecutionModel(allow_short=True)
        return checked_weights(one.name, one.weights(panel), panel, free)[start : last + 1]
    tape = _Tape(as_closed_loop(one))
    stop = min(len(panel), last + 2)
    simulate(tape, panel, CostModel(), execution or ExecutionModel(), start=start, stop=stop, records=False)
    return np.array(tape.rows)


class _Tape:
    """A closed loop that keeps what it answered."""

    def __init__(self, strategy: ClosedLoop) -> None:
        self.name, self.sleeves, self._strategy = strategy.name, strategy.sleeves, strategy
        self.rows: list[Floats] = []

    def fit(self, train: Panel) -> _Tape:
        return self

    def start(self, portfolios: int) -> Any:
        return self._strategy.start(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        targets = self._strategy.decide(view, portfolios, state)
        self.rows.append(np.array(targets.values, dtype=np.float64).ravel())
        return targets


def _first_difference(base: Floats, other: Floats) -> Difference | None:
    same = (base == other) | (np.isnan(base) & np.isnan(other))
    if same.all():
        return None
    row, position = np.argwhere(~same)[0]
    return int(row), int(position), float(base[row, position]), float(other[row, position])
