"""The causality audit: change the future, and demand that no past decision moves.

Bars after a cut are replaced by futures that differ as much as prices can: far higher, far lower, noisy, and none at
all. Every decision up to the cut must stay bit-identical. A strategy that peeks, centres a window, normalises over the
whole history, back-fills or resamples across the cut cannot pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.engine.copies import fresh
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
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel

HISTORY, FUTURE = 256, 32
PRICES = ("open", "high", "low", "close")


class Violation(NamedTuple):
    """The first decision that moved when only later bars did.

    column: the data column whose future alone moves it, or ``history length`` when only cutting the future off does.
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
            when the strategy declares no lookback or is closed loop.
        warm_up_bars: history, by doubling, that the newest decision needs until it no longer depends on where history
            starts; None when that was not found within the bars at hand.
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
            raise CausalityError(
                f"{self.strategy} uses the future: its decision for {bad.symbol} at {bad.timestamp} changes from "
                f"{bad.before:.6g} to {bad.after:.6g} when only later bars of {bad.column} change"
            )


def audit(strategy: AnyStrategy, panel: Panel, *, cuts: int = 8, start: int = 0) -> AuditReport:
    """Audit ``strategy``, already fitted, on ``panel``.

    The future is changed after bars at which the strategy decides something new, where a rare peek would show, and
    after bars spread evenly. Every answer comes from a fresh copy, so that nothing is remembered from one future to the
    next.

    Args:
        strategy: any of the three forms.
        panel: the bars.
        cuts: how many bars of either sort; each is tried with several futures.
        start: row of the first decision; earlier bars are history. A declared lookback is honoured on top.

    Returns:
        the report; it does not raise on a violation (``AuditReport.require`` does). Nothing is tested, and the note
        says why, when there are too few bars or the strategy raises on them.
    """
    lookback = getattr(strategy, "lookback", None)
    start = max(start, (lookback or 1) - 1)
    checked, asked, tried, violation, reason = 0, False, 0, None, ""
    for cut in _cuts(strategy, panel, cuts, start, lookback):
        found, failure = attempt(partial(_at, strategy, panel, cut, start, lookback))
        if failure is not None:
            reason = reason or failure
            continue
        tried += 1
        base, violation = found
        checked += len(base)
        asked |= bool(np.isfinite(base).any())
        if violation is not None:
            break
    note = "" if asked else _untested(panel, tried, start, reason)
    holds, warm_up = (None, None)
    if tried and violation is None and is_open_loop(strategy):
        holds, warm_up = _warm_up(strategy, panel, lookback)
    return AuditReport(strategy.name, violation is None, tried, checked, violation, holds, warm_up, note)


def _untested(panel: Panel, tried: int, start: int, reason: str) -> str:
    if tried:
        return "the strategy asked for nothing on these bars, so nothing was tested"
    if reason:
        return f"not audited: on part of the bars the strategy raised {reason}; declare the lookback it needs"
    return f"not audited: {len(panel)} bars are too few when the first decision needs {start + 1}"


def _at(
    strategy: AnyStrategy, panel: Panel, cut: int, start: int, lookback: int | None
) -> tuple[Floats, Violation | None]:
    """Return the decisions up to row ``cut`` and the first that some future after it moves."""
    first = 0 if lookback is None else max(0, cut + 1 - max(HISTORY, 2 * lookback))
    piece = panel[first : min(len(panel), cut + 1 + FUTURE)]
    begin = max(start, first + (lookback or 1) - 1) - first
    base = decisions(strategy, piece, cut - first, begin)
    return base, _find(strategy, piece, base, cut - first, begin)


def _cuts(strategy: AnyStrategy, panel: Panel, cuts: int, start: int, lookback: int | None) -> NDArray[np.int64]:
    """Return the rows after which to change the future: where decisions change, and evenly spread ones."""
    last = len(panel) - 2
    first = start + 1 if lookback else max(start + 1, min(len(panel) // 4, HISTORY))
    if first > last:
        return np.empty(0, np.int64)
    even = np.linspace(first, last, cuts).astype(np.int64)
    table, failure = attempt(partial(decisions, strategy, panel, last, start))
    if failure is not None or len(table) < 2:
        return np.unique(even)
    moved = np.isfinite(table[1:]) & (table[1:] != table[:-1])
    rows = start + 1 + np.flatnonzero(moved.any(axis=1))
    rows = rows[rows >= first]
    chosen = rows[np.linspace(0, len(rows) - 1, min(2 * cuts, len(rows))).astype(np.int64)] if len(rows) else even
    # A loop that declares no lookback is driven from its first bar for every future: fewer cuts, the telling ones.
    slow = lookback is None and not is_open_loop(strategy)
    return np.unique(chosen[::2] if slow and len(rows) else np.concatenate([even, chosen]))


def decisions(strategy: AnyStrategy, panel: Panel, last: int, start: int = 0) -> Floats:
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
    simulate(tape, panel, CostModel(), ExecutionModel(), start=start, records=False, stop=min(len(panel), last + 2))
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


def futures(panel: Panel, cut: int, columns: tuple[str, ...] = FIELDS) -> Iterator[Panel]:
    """Yield copies of ``panel`` whose bars after row ``cut`` are far higher, far lower, and noisy in ``columns``.

    The benchmark's future changes along with close.
    """
    later = np.arange(len(panel)) > cut
    noise = np.random.default_rng(cut)
    for factor in (3.0, 1.0 / 3.0, None):
        scale = np.exp(noise.normal(0.0, 0.2, panel.close.shape)) if factor is None else factor
        changed = {
            name: np.where(later[:, None], getattr(panel, name) * scale, getattr(panel, name))
            for name in columns
            if name in panel.columns
        }
        if "close" in columns:
            shift = noise.normal(0.0, 0.05, len(panel)) if factor is None else np.log(factor) / 10
            changed["benchmark_returns"] = np.where(later, panel.benchmark_returns + shift, panel.benchmark_returns)
        yield replace(panel, **changed)


def _find(strategy: AnyStrategy, panel: Panel, base: Floats, cut: int, begin: int) -> Violation | None:
    """Return the earliest decision up to ``cut`` that some future moves."""
    for future in futures(panel, cut):
        moved = _first_difference(base, decisions(strategy, future, cut, begin))
        if moved is not None:
            return _violation(strategy, panel, base, cut, begin, moved)
    if len(panel) > cut + 1:
        short = decisions(strategy, panel[: cut + 1], cut, begin)  # a closed loop does not decide after its last bar
        moved = _first_difference(base[: len(short)], short)
        if moved is not None:
            return _named(panel, begin, moved, "history length")
    return None


def _violation(
    strategy: AnyStrategy, panel: Panel, base: Floats, cut: int, begin: int, moved: tuple[int, int, float, float]
) -> Violation:
    for column in FIELDS:
        if column in panel.columns:
            for future in futures(panel, cut, (column,)):
                alone = _first_difference(base, decisions(strategy, future, cut, begin))
                if alone is not None and alone[0] <= moved[0]:
                    return _named(panel, begin, alone, column)
    return _named(panel, begin, moved, "several columns together")


def _named(panel: Panel, begin: int, moved: tuple[int, int, float, float], column: str) -> Violation:
    row, position, before, after = moved
    return Violation(
        str(panel.timestamps[begin + row]), panel.symbols[position % len(panel.symbols)], column, before, after
    )


def _first_difference(base: Floats, other: Floats) -> tuple[int, int, float, float] | None:
    same = (base == other) | (np.isnan(base) & np.isnan(other))
    if same.all():
        return None
    row, position = np.argwhere(~same)[0]
    return int(row), int(position), float(base[row, position]), float(other[row, position])


def _warm_up(strategy: AnyStrategy, panel: Panel, lookback: int | None) -> tuple[bool | None, int | None]:
    """Return whether the declared lookback suffices, and the shortest history that gives the newest decision."""
    last = len(panel) - 1
    full = decisions(strategy, panel, last)[-1]

    def same(history: int) -> bool:
        piece = panel[max(0, last + 1 - history) :]
        rows, failure = attempt(partial(decisions, strategy, piece, len(piece) - 1))  # too short a history may raise
        return failure is None and bool(np.array_equal(rows[-1], full, equal_nan=True))

    holds = None if lookback is None else same(lookback)
    history = 1
    while history < len(panel):
        if same(history):
            return holds, history
        history *= 2
    return holds, None
