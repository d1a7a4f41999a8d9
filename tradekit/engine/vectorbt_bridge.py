"""A ledger as a vectorbt Portfolio, for its statistics and plots. Nothing is simulated again.

Only this module touches vectorbt; the engine works without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.engine.ledger import Ledger


def portfolio_of(ledger: Ledger) -> Any:
    """Return a ``vectorbt.Portfolio`` made of the ledger's filled orders.

    ``value()`` is the ledger's equity; of sleeves, ``value(group_by=False)`` is the equity of each.

    Raises:
        DataError: the run kept no order records, or paid borrow or earned interest, which orders cannot express.
    """
    from vectorbt.base.array_wrapper import ArrayWrapper
    from vectorbt.portfolio.base import Portfolio

    if ledger.borrow_paid or ledger.interest_earned:
        raise DataError(
            f"{ledger.name}: vectorbt knows no borrow and no interest; run with borrow_rate_annual = 0 and "
            "cash_interest_annual = 0"
        )
    if not len(ledger.orders) and np.ptp(ledger.equity) > 0.0:
        raise DataError(f"{ledger.name}: the run kept no orders; run simulate with records=True")
    sleeves = ledger.sleeve_equity is not None
    start = ledger.equity[:1] if ledger.sleeve_equity is None else ledger.sleeve_equity[0]
    wrapper = ArrayWrapper(
        index=ledger.equity_frame().index,
        columns=list(ledger.symbols),
        ndim=2,
        freq=ledger.panel.frequency,
        group_by=np.zeros(len(ledger.symbols), np.int64),
    )
    return Portfolio(
        wrapper=wrapper,
        close=wrapper.wrap(_known_marks(ledger), group_by=False),
        order_records=_order_records(ledger),
        log_records=np.empty(0, _log_dtype()),
        init_cash=np.array(start),
        cash_sharing=not sleeves,
        engine="numba",
    )


def _known_marks(ledger: Ledger) -> NDArray[np.float64]:
    """Return (T, N) last closes, a symbol's first one before it; 1 for one that has none and is never held."""
    mark = ledger.panel.mark
    known = ~np.isnan(mark)
    first = mark[known.argmax(axis=0), np.arange(mark.shape[1])]
    return np.where(known, mark, np.where(known.any(axis=0), first, 1.0))


def _order_records(ledger: Ledger) -> NDArray[np.void]:
    """Return the filled orders as vectorbt's records, sorted by column, then bar."""
    from vectorbt.portfolio.enums import OrderSide, order_dt

    filled = ledger.orders[ledger.orders["quantity"] != 0.0]
    filled = filled[np.lexsort((filled["fill_bar"], filled["symbol"]))]
    records = np.empty(len(filled), order_dt)
    records["id"] = np.arange(len(filled))
    records["col"], records["idx"] = filled["symbol"], filled["fill_bar"]
    records["size"], records["price"] = np.abs(filled["quantity"]), filled["price"]
    records["fees"] = filled["commission"] + filled["regulatory"]
    records["side"] = np.where(filled["quantity"] > 0.0, OrderSide.Buy, OrderSide.Sell)
    return records


def _log_dtype() -> Any:
    from vectorbt.portfolio.enums import log_dt

    return log_dt
