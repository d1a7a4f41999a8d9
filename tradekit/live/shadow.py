"""The shadow ledger: what the market model says happens to the session's orders, bar by bar, by the backtest's kernel.

The strategy's portfolios live here. A strategy of sleeves has one virtual account per symbol, whatever the broker's
account looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.ledger import reason_text
from tradekit.engine.strategy import (
    Past,
    Portfolios,
    Strategy,
    Targets,
    View,
    as_closed_loop,
    attempt,
    checked_targets,
    checked_weights,
    is_open_loop,
)
from tradekit.errors import StrategyError
from tradekit.live.memory import Keeper
from tradekit.live.witness import Witness, bars_seen
from tradekit.market import kernel
from tradekit.market.costs import TERMS, cost_rows
from tradekit.market.execution import market_of, open_book

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.memory import Appended
    from tradekit.live.spec import SessionSpec
    from tradekit.live.tape import Contract
    from tradekit.live.witness import Sight
    from tradekit.market.kernel import Market
    from tradekit.market.panel import Floats, Panel


class Placed(NamedTuple):
    """What a decision ordered: signed shares asked for, and those left after lots, holdings and participation."""

    symbol: str
    asked: float
    quantity: float


class ModelFill(NamedTuple):
    """What the model says became of one order: signed shares, prices per share, costs in dollars by term."""

    symbol: str
    requested: float
    quantity: float
    reference: float
    price: float
    costs: dict[str, float]
    reason: str


class Shadow:
    """The virtual portfolios of a session."""

    def __init__(self, contract: Contract, spec: SessionSpec, sleeves: bool) -> None:
        width = 1 if sleeves else len(contract.symbols)
        columns = range(len(contract.symbols)) if sleeves else [0]
        self._symbols, self._costs, self._execution = contract.symbols, spec.costs, spec.execution
        self._rows = cost_rows([spec.costs])
        self.book = open_book(spec.cash / len(columns), columns, width, spec.execution.latency_bars)
        self._fills = np.zeros((len(columns), width, kernel.FILL_COLUMNS))
        self.portfolios = Portfolios(self.book, self._fills, allow_short=spec.execution.allow_short)
        self._market: tuple[int, Market] | None = None

    @property
    def cash(self) -> float:
        """Dollars, over all sleeves."""
        return float(self.book.cash.sum())

    @property
    def equity(self) -> float:
        """Dollars at the newest marks, over all sleeves."""
        return float(self.book.equity.sum())

    @property
    def shares(self) -> Floats:
        """(N,) signed shares by symbol."""
        held: Floats = self.book.shares.ravel()
        return held

    def settle(self, panel: Panel) -> list[ModelFill]:
        """Take the portfolios through the newest bar and return what became of the orders due in it."""
        bars = np.full(len(self.book.cash), len(panel) - 1)
        kernel.advance(self._market_of(panel), self._execution.rules, self._rows, self.book, self._fills, bars)
        due = self._fills.reshape(-1, kernel.FILL_COLUMNS)
        return [_model_fill(self._symbols[j], due[j]) for j in np.flatnonzero(due[:, kernel.REQUESTED])]

    def place(self, panel: Panel, targets: Targets) -> list[Placed]:
        """Size the orders that take the portfolios to ``targets`` in the next bar."""
        bars = np.full(len(self.book.cash), len(panel) - 1)
        kernel.place(self._market_of(panel), self._execution.rules, self.book, bars, targets.values, targets.are_shares)
        slot = (len(panel) - 1) % self.book.due.shape[1]
        asked, due = self.book.asked[:, slot].ravel(), self.book.due[:, slot].ravel()
        return [Placed(self._symbols[j], float(asked[j]), float(due[j])) for j in np.flatnonzero(asked)]

    def _market_of(self, panel: Panel) -> Market:
        if self._market is None or self._market[0] != len(panel):
            self._market = (len(panel), market_of(panel, self._execution, [self._costs]))
        return self._market[1]


def _model_fill(symbol: str, fill: Floats) -> ModelFill:
    first = kernel.FILL_COMMISSION
    return ModelFill(
        symbol=symbol,
        requested=float(fill[kernel.REQUESTED]),
        quantity=float(fill[kernel.QUANTITY]),
        reference=float(fill[kernel.REFERENCE]),
        price=float(fill[kernel.PRICE]),
        costs={term: float(fill[first + k]) for k, term in enumerate(TERMS)},
        reason=reason_text(int(fill[kernel.REASON])),
    )


class Mind:
    """A strategy in any of its three forms, asked once a bar.

    Args:
        strategy: fitted.
        spec: of the session.
        start: row of the first decision; an open-loop strategy sees its lookback before it, as in a backtest.
        portfolios: how many there are.
    """

    def __init__(self, strategy: AnyStrategy, spec: SessionSpec, start: int, portfolios: int) -> None:
        self._strategy, self._execution = strategy, spec.execution
        lookback = getattr(strategy, "lookback", None)
        self._first = 0 if lookback is None else max(0, start + 1 - lookback)
        self._lookback = lookback
        self._loop = None if is_open_loop(strategy) else Witness(as_closed_loop(strategy))
        self._memory: Any = self._loop.start(portfolios) if self._loop else None
        self._keeper = Keeper()

    def decide(self, panel: Panel, portfolios: Portfolios) -> tuple[Targets, Sight]:
        """Return what the portfolios should hold after the newest bar, and what the decision was made of.

        Raises:
            StrategyError: the strategy raises, or answers something that is not a target.
        """
        bars = bars_seen(panel, self._lookback)  # before a strategy can have written to them
        targets, failure = attempt(lambda: self._ask(panel, portfolios))
        if failure is not None:
            raise StrategyError(f"{self._strategy.name} failed at {panel.timestamps[-1]}: {failure}")
        sight: Sight = self._loop.sights.pop() if self._loop else {}
        return targets, {**sight, "bars": bars}

    def _ask(self, panel: Panel, portfolios: Portfolios) -> Targets:
        if self._loop is not None:
            answer = self._loop.decide(View(Past(panel, len(panel))), portfolios, self._memory)
            return checked_targets(self._loop, answer, portfolios.fills)
        assert isinstance(self._strategy, Strategy)
        piece = panel[self._first :]
        table = checked_weights(self._strategy.name, self._strategy.weights(piece), piece, self._execution)
        return Targets(table[-1:].copy())

    def freeze(self) -> tuple[str, list[Appended]] | None:
        """Return what the strategy remembers as text and what was appended to it, None when it remembers nothing."""
        return None if self._memory is None else self._keeper.freeze(self._memory)

    def thaw(self, text: str, appended: Iterable[Appended]) -> None:
        """Restore what ``freeze`` returned, and all that was ever appended."""
        self._memory = self._keeper.thaw(text, appended, self._memory)


def sleeves_of(strategy: AnyStrategy) -> bool:
    """Return whether every symbol is a portfolio of its own."""
    return not is_open_loop(strategy) and as_closed_loop(strategy).sleeves
