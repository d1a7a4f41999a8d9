"""Decision parity: does a backtest of the very bars that a session saw order the very same shares?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.journal import Event
    from tradekit.live.spec import SessionSpec
    from tradekit.market.panel import Panel

MOST_SHOWN = 20


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
        the first of the others with bar, symbol and reason; ``equity_difference``, the largest relative one.
    """
    ledger = simulate(strategy, panel, spec.costs, spec.execution, spec.cash, start=start)
    decisions = [event for event in events if event.kind == "decision"]
    equity = [event.body["equity"] for event in events if event.kind == "reconciliation"]
    backtest = _ordered(ledger)
    mismatches = [
        mismatch
        for row, decision in enumerate(decisions)
        for mismatch in _compare(decision, backtest.get(row, {}), float(ledger.equity[row]))
    ]
    cells = len(decisions) * len(panel.symbols)
    return {
        "decision_parity": 1.0 - len(mismatches) / cells if cells else 1.0,
        "mismatches": mismatches[:MOST_SHOWN],
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


def _compare(decision: Event, backtest: dict[str, float], equity: float) -> list[dict[str, Any]]:
    session = {symbol: asked for symbol, asked, _ in decision.body["orders"]}
    held = decision.body["equity"]
    reason = (
        "the strategy answered differently" if held == equity else f"equity was {held!r}, in the backtest {equity!r}"
    )
    return [
        {
            "bar": decision.bar,
            "symbol": symbol,
            "session": session.get(symbol, 0.0),
            "backtest": backtest.get(symbol, 0.0),
            "reason": reason,
        }
        for symbol in sorted({*session, *backtest})
        if session.get(symbol, 0.0) != backtest.get(symbol, 0.0)
    ]
