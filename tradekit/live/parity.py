"""Decision parity: does a backtest of the very bars that a session saw order the very same shares?

Where it does not, the first thing that differed is named: a column of the bars, a feature, the equity, what the
strategy says of its decision, or else its answer, and then whether later bars are to blame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Strategy, as_closed_loop, attempt, is_open_loop
from tradekit.live.tape import nullable
from tradekit.live.witness import Sight, Witness, bars_seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.journal import Event
    from tradekit.live.spec import SessionSpec
    from tradekit.market.panel import Panel

MOST_SHOWN = 20


class Difference(NamedTuple):
    """Shares of one symbol after one bar: asked for by the session, and by the backtest."""

    row: int
    decision: Event
    symbol: str
    session: float
    backtest: float


def judge(
    events: Sequence[Event], panel: Panel, start: int, strategy: AnyStrategy, spec: SessionSpec
) -> dict[str, Any]:
    """Run the backtest and compare it with the journal, bar by bar and symbol by symbol.

    Args:
        events: of the session, complete.
        panel: the bars as journalled, history included.
        start: row of the first decision.
        strategy: as the session asked it, fitted.
        spec: of the session.

    Returns:
        ``decision_parity``, the share of (bar, symbol) decisions that are identical to the last bit; ``mismatches``,
        the first of the others with bar, symbol, feature and reason; ``equity_difference``, the largest relative one.
    """
    watched = None if is_open_loop(strategy) else Witness(as_closed_loop(strategy))
    ledger = simulate(watched or strategy, panel, spec.costs, spec.execution, spec.cash, start=start)
    decisions = [event for event in events if event.kind == "decision"]
    equity = [event.body["equity"] for event in events if event.kind == "reconciliation"]
    asked = _ordered(ledger)
    apart = [one for row, event in enumerate(decisions) for one in _compare(row, event, asked.get(row, {}))]
    backtest = _Backtest(strategy, panel, start, ledger, watched.sights if watched else [])
    cells = len(decisions) * len(panel.symbols)
    return {
        "decision_parity": 1.0 - len(apart) / cells if cells else 1.0,
        "mismatches": [backtest.explain(one) for one in apart[:MOST_SHOWN]],
        "equity_difference": float(np.max(np.abs(np.array(equity) / ledger.equity - 1.0))),
        "backtest_equity": float(ledger.equity[-1]),
        "model_equity": equity[-1],
    }


def _ordered(ledger: Ledger) -> dict[int, dict[str, float]]:
    """Return shares asked for, by row of the decision and by symbol."""
    asked: dict[int, dict[str, float]] = {}
    for order in ledger.orders:
        row = asked.setdefault(int(order["decision_bar"]), {})
        row[ledger.symbols[order["symbol"]]] = float(order["requested"])
    return asked


def _compare(row: int, decision: Event, backtest: dict[str, float]) -> Iterator[Difference]:
    session = {symbol: asked for symbol, asked, _ in decision.body["orders"]}
    for symbol in sorted({*session, *backtest}):
        ours, theirs = session.get(symbol, 0.0), backtest.get(symbol, 0.0)
        if ours != theirs:
            yield Difference(row, decision, symbol, ours, theirs)


class _Backtest(NamedTuple):
    """The backtest of a session's bars; ``sights`` by row of the decision, none of an open-loop strategy."""

    strategy: AnyStrategy
    panel: Panel
    start: int
    ledger: Ledger
    sights: list[Sight]

    def explain(self, one: Difference) -> dict[str, Any]:
        """Return a difference with the first input that was not the same."""
        feature, reason = next(self._causes(one))
        shares = {"session": one.session, "backtest": one.backtest}
        return {"bar": one.decision.bar, "symbol": one.symbol, **shares, "feature": feature, "reason": reason}

    def _causes(self, one: Difference) -> Iterator[tuple[str, str]]:
        """Yield whatever differed, by name and in words, what comes first first."""
        saw = one.decision.body["saw"]
        seen = self.panel[: self.start + one.row + 1]
        for column, then in saw["bars"].items():
            if bars_seen(seen, getattr(self.strategy, "lookback", None))[column] != then:
                yield column, f"{column} was not what the journal holds when the strategy was asked"
        sight: Sight = self.sights[one.row] if self.sights else {"features": {}, "diary": {}}
        for name, then in saw.get("features", {}).items():
            if sight["features"].get(name) != then:
                yield name, f"{name} had other values in the session than in the backtest"
        held, equity = one.decision.body["equity"], float(self.ledger.equity[one.row])
        if held != equity:
            yield "equity", f"equity was {held!r}, in the backtest {equity!r}"
        for name, then in saw.get("diary", {}).items():
            if sight["diary"].get(name) != then:
                yield name, f"{name} was {_of(then, self._column(one))}, in the backtest {self._theirs(one, name)}"
        yield "", self._answer(one)

    def _column(self, one: Difference) -> int:
        return self.panel.symbols.index(one.symbol)

    def _theirs(self, one: Difference, name: str) -> Any:
        return _of(self.sights[one.row]["diary"].get(name), self._column(one))

    def _answer(self, one: Difference) -> str:
        """Say why a strategy answers differently to the same inputs, as far as asking it once more tells."""
        plain = "the strategy answered differently"
        if self.sights or not isinstance(self.strategy, Strategy):
            return f"{plain} to the same inputs: chance, or something it remembers"
        strategy, lookback = self.strategy, getattr(self.strategy, "lookback", None)
        first = 0 if lookback is None else max(0, self.start + 1 - lookback)
        again, failure = attempt(lambda: strategy.weights(self.panel[first : self.start + one.row + 1])[-1:])
        if failure is None and nullable(np.asarray(again, np.float64)) == one.decision.body["targets"]:
            return f"{plain} once it was shown later bars: it looks ahead"
        return f"{plain} to the same bars: chance, or something it remembers"


def _of(values: Any, column: int) -> Any:
    """Return a sleeve's own value; the whole where there is one portfolio."""
    return values[column] if isinstance(values, list) and column < len(values) else values
