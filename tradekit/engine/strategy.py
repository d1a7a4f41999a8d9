"""What a strategy is, and what it is shown.

Three forms, from the simplest:

* open loop, ``weights(panel) -> (T, N)``: row d is what to hold after bar d closed and may use bars <= d only;
* event style, ``on_bar(view) -> (N,)`` weights: called once a bar with everything known by then and nothing later;
* closed loop, ``decide(view, portfolios, state) -> Targets``: sees its own positions, for many portfolios at once.

All three are sized at the close of d and filled at d+1 by the same kernel.
"""

from __future__ import annotations

import sysconfig
from copy import deepcopy
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tradekit.engine.view import Past, View
from tradekit.errors import StrategyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tradekit.market.execution import ExecutionModel
    from tradekit.market.kernel import Book
    from tradekit.market.panel import Floats, Panel

__all__ = [
    "AnyStrategy",
    "ClosedLoop",
    "EventAdapter",
    "EventStrategy",
    "KeepsExtras",
    "ManyWindows",
    "Past",
    "Portfolios",
    "Strategy",
    "Targets",
    "View",
    "as_closed_loop",
    "attempt",
    "checked_targets",
    "checked_weights",
    "is_open_loop",
    "numbers",
]


@runtime_checkable
class Strategy(Protocol):
    """An open-loop strategy: target weights from bars alone."""

    name: str

    def fit(self, train: Panel) -> Strategy:
        """Learn from ``train`` only and return the fitted strategy; return self when there is nothing to learn."""

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) target weights; row d uses bars <= d; NaN leaves a position alone."""


@runtime_checkable
class EventStrategy(Protocol):
    """A strategy written as a callback per bar."""

    name: str

    def fit(self, train: Panel) -> EventStrategy:
        """As for Strategy."""

    def on_bar(self, view: View) -> Floats:
        """Return (N,) target weights after the newest bar of ``view``; NaN leaves a position alone."""


@runtime_checkable
class ClosedLoop(Protocol):
    """A strategy that sees its own portfolios, stepped in lockstep over all of them.

    Attributes:
        name: shown in every result.
        sleeves: True: every symbol is a portfolio of its own with an equal share of the cash (n = 1); False: one
            portfolio holds all symbols (n = N).
    """

    name: str
    sleeves: bool

    def fit(self, train: Panel) -> ClosedLoop:
        """As for Strategy."""

    def start(self, portfolios: int) -> Any:
        """Return the memory of ``portfolios`` portfolios at the start of a run; ``decide`` changes it in place."""

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        """Return what each portfolio wants after the newest bar of ``view``."""


@runtime_checkable
class ManyWindows(Protocol):
    """A closed loop that decides for portfolios at different bars in one call; see ``lockstep``."""

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: Any) -> Targets:
        """As ``decide``; ``views[portfolios.window[b]]`` is what portfolio b sees.

        A window that has ended is asked no more: the portfolios that are left are the first of those that ``start``
        made the state for.
        """


@runtime_checkable
class KeepsExtras(Protocol):
    """A closed loop that reports what it recorded on the way, such as chosen and executed actions."""

    def extras(self, state: Any, portfolios: slice) -> dict[str, Any]:
        """Return arrays by name, for the portfolios of one scenario; they become ``Ledger.extras``.

        A row each for the bars of a run, the last of which asks for no decision.
        """


AnyStrategy = Strategy | EventStrategy | ClosedLoop


class Targets(NamedTuple):
    """What B portfolios want: (B, n) weights, or signed share quantities to trade when ``are_shares``.

    NaN leaves a position alone; so does 0 shares.
    """

    values: Floats
    are_shares: bool = False


class Portfolios:
    """Read-only state of B portfolios of n positions at the close of the newest bar."""

    def __init__(
        self, book: Book, fills: Floats, window: NDArray[np.int64] | None = None, *, allow_short: bool = False
    ) -> None:
        self._book, self._fills, self._allow_short = book, fills, allow_short
        self.window = np.zeros(len(book.cash), np.int64) if window is None else window
        self.seed = book.stream
        for name in ("cash", "equity", "peak", "shares", "average_cost", "held", "column"):
            array = getattr(book, name).view()
            array.setflags(write=False)
            setattr(self, name, array)

    cash: Floats
    """(B,) dollars."""
    equity: Floats
    """(B,) dollars at the last marks."""
    peak: Floats
    """(B,) highest equity so far."""
    shares: Floats
    """(B, n) signed shares held."""
    average_cost: Floats
    """(B, n) dollars paid per share held, costs included; 0 when flat."""
    held: NDArray[np.int64]
    """(B, n) bars since the position was entered; 0 when flat."""
    column: NDArray[np.int64]
    """(B,) panel column of each portfolio's first position."""
    window: NDArray[np.int64]
    """(B,) which of several views is the portfolio's; 0 throughout when there is one."""
    seed: NDArray[np.int64]
    """(B,) seed of the run that each portfolio belongs to, for strategies that draw at random."""

    def __len__(self) -> int:
        return len(self._book.cash)

    @property
    def pending(self) -> Floats:
        """(B, n) signed shares ordered and not yet filled."""
        total: Floats = self._book.due.sum(axis=1)
        return total

    def expected(self, bar: int | NDArray[np.int64]) -> Floats:
        """Return (B, n) signed shares once what waits at the close of ``bar``, one row or (B,), has filled.

        ``shares + pending``, but for a sale that waits for shares whose purchase was dropped or filled in part: it
        cannot take a long-only position below zero.
        """
        due, shares = self._book.due, self.shares.copy()
        slots = due.shape[1]
        for wait in range(1, slots):
            shares += due[np.arange(len(shares)), (bar + wait) % slots]
            if not self._allow_short:
                np.maximum(shares, 0.0, out=shares)
        return shares

    @property
    def fills(self) -> Floats:
        """(B, n, FILL_COLUMNS) what happened in the newest bar to the orders that were due in it."""
        return self._fills


class EventAdapter:
    """An event-style strategy as a closed loop over portfolios of all symbols.

    What the strategy keeps in itself belongs to one run: its memory is a copy of its attributes. It is not asked
    before there are as many bars as the ``lookback`` it declares.
    """

    sleeves = False

    def __init__(self, strategy: EventStrategy) -> None:
        self.name, self._strategy = strategy.name, strategy

    def fit(self, train: Panel) -> EventAdapter:
        """Fit the wrapped strategy."""
        return EventAdapter(self._strategy.fit(train))

    def start(self, portfolios: int) -> dict[str, Any]:
        """Return the strategy's attributes as they are before the first bar."""
        return deepcopy(vars(self._strategy))

    def decide(self, view: View, portfolios: Portfolios, state: dict[str, Any]) -> Targets:
        """Ask once and give every portfolio the same weights."""
        if view.bar + 1 < getattr(self._strategy, "lookback", 1):
            return Targets(np.full((len(portfolios), len(view.symbols)), np.nan))
        worker = object.__new__(type(self._strategy))
        worker.__dict__ = state
        weights = numbers(self.name, worker.on_bar(view))
        if weights.shape != (len(view.symbols),):
            raise StrategyError(f"{self.name}: on_bar answered shape {weights.shape}, expected ({len(view.symbols)},)")
        return Targets(np.broadcast_to(weights, (len(portfolios), len(weights))).copy())


def is_open_loop(strategy: AnyStrategy) -> bool:
    """Return whether the strategy's targets depend on bars alone and come as one table."""
    return not hasattr(strategy, "decide") and not hasattr(strategy, "on_bar")


def as_closed_loop(strategy: AnyStrategy) -> ClosedLoop:
    """Return ``strategy`` as a closed loop; event-style ones are wrapped."""
    if hasattr(strategy, "decide"):
        return strategy  # type: ignore[return-value]
    if not isinstance(strategy, EventStrategy):
        raise StrategyError(f"{type(strategy).__name__} is no strategy; an event strategy has name, fit and on_bar")
    return EventAdapter(strategy)


def numbers(name: str, answer: Any) -> Floats:
    """Return what a strategy answered as contiguous float64, or raise StrategyError when it is not numbers."""
    try:
        return np.ascontiguousarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        kind = type(answer).__name__
        raise StrategyError(f"{name}: answered {kind}, not an array of numbers; return a float array") from error


def checked_weights(name: str, weights: Floats, panel: Panel, execution: ExecutionModel) -> Floats:
    """Return ``weights`` as a contiguous float64 (T, N) table.

    Raises:
        StrategyError: wrong shape, infinite, or a row that asks for more than the whole equity.
    """
    table = numbers(name, weights)
    if table.shape != (len(panel), len(panel.symbols)):
        expected = (len(panel), len(panel.symbols))
        raise StrategyError(f"{name}: weights have shape {table.shape}, expected {expected} (bars, symbols)")
    if np.isinf(table).any():
        row, column = np.argwhere(np.isinf(table))[0]
        raise StrategyError(
            f"{name}: weight of {panel.symbols[column]} at {_when(panel, row)} is infinite; "
            "use a finite fraction of equity, or NaN to leave the position alone"
        )
    gross = np.nansum(np.abs(table), axis=1)
    if (gross > 1.0 + 1e-9).any():
        row = int(np.argmax(gross > 1.0 + 1e-9))
        raise StrategyError(
            f"{name}: weights at {_when(panel, row)} add up to {gross[row]:.4f} of equity; leverage is not "
            "modelled, so scale each row to 1 or less"
        )
    if not execution.allow_short and (table < 0.0).any():
        row, column = np.argwhere(table < 0.0)[0]
        raise StrategyError(
            f"{name}: weight of {panel.symbols[column]} at {_when(panel, row)} is negative; set allow_short = true in "
            "the execution settings or clip at 0"
        )
    return table


def checked_targets(strategy: ClosedLoop, targets: Targets, fills: Floats) -> Targets:
    """Return a closed loop's targets as a contiguous float64 (B, n) table, ``fills`` being (B, n, FILL_COLUMNS).

    Raises:
        StrategyError: wrong shape, infinite, or weights that ask for more than the whole equity.
    """
    if not isinstance(targets, Targets):
        raise StrategyError(f"{strategy.name}: decide answered {type(targets).__name__}; return Targets(values)")
    values = numbers(strategy.name, targets.values)
    if values.shape != fills.shape[:2]:
        raise StrategyError(f"{strategy.name}: targets have shape {values.shape}, expected {fills.shape[:2]}")
    if np.isinf(values).any():
        raise StrategyError(f"{strategy.name}: a target is infinite; use NaN to leave a position alone")
    if not targets.are_shares and (np.nansum(np.abs(values), axis=1) > 1.0 + 1e-9).any():
        raise StrategyError(f"{strategy.name}: weights add up to more than the whole equity; leverage is not modelled")
    return Targets(values, targets.are_shares)


def _when(panel: Panel, row: int) -> str:
    return str(panel.timestamps[row].astype("M8[D]" if panel.is_daily else "M8[m]"))


def attempt(ask: Callable[[], Any]) -> tuple[Any, str | None]:
    """Return what a user's strategy answers, or why it failed: its window fails by name, the rest goes on."""
    try:
        return ask(), None
    except StrategyError:
        raise  # not an accident in one window but an answer that can never be right
    except Exception as error:  # noqa: BLE001 - a strategy is foreign code and may raise anything
        return None, f"{type(error).__name__}: {error}".splitlines()[0] + _place(error)


def _place(error: Exception) -> str:
    """Return `` (my_idea.py, line 12)``, the innermost line that is not tradekit's nor a library's; else nothing."""
    foreign = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")))
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.suffix == ".py" and not any(path.is_relative_to(folder) for folder in foreign):
            place = f" ({path.name}, line {line})"
    return place
