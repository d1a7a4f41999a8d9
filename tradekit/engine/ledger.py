"""Ledger: the frozen result of one run. What was held, what was ordered, what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.market import kernel
from tradekit.market.costs import TERMS, CostModel

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel, Times

ORDER = kernel.ORDER
"""One order: decision and fill row of the ledger's timestamps, portfolio (the sleeve; 0 in a basket), symbol column,
signed shares requested and filled, reference and fill price, cost by term in dollars, reason flags (0: filled
whole)."""

REASONS = {
    kernel.CASH_LIMITED: "cash_limited",
    kernel.PARTICIPATION: "participation",
    kernel.UNTRADABLE: "untradable",
    kernel.LONG_ONLY: "long_only",
    kernel.FEES_EXCEED: "fees_exceed_proceeds",
    kernel.RUINED: "ruined",
    kernel.UNPRICED: "unpriced",
}


def reason_text(flags: int) -> str:
    """Name the reason flags of an order, ``filled`` when there are none.

    >>> reason_text(0), reason_text(3)
    ('filled', 'cash_limited+participation')
    """
    return "+".join(name for flag, name in REASONS.items() if flags & flag) or "filled"


def order_table(rows: Floats, first_bar: int, first_portfolio: int = 0) -> NDArray[np.void]:
    """Return kernel order rows (M, ORDER_COLUMNS) as ORDER records, bars and portfolios counted from the first."""
    table = np.zeros(len(rows), ORDER)
    for column, name in enumerate(ORDER.names or ()):
        table[name] = rows[:, column]
    table["decision_bar"] -= first_bar
    table["fill_bar"] -= first_bar
    table["portfolio"] -= first_portfolio
    return table


@dataclass(frozen=True, eq=False, repr=False)
class Ledger:
    """The result of one strategy under one cost scenario.

    Attributes:
        name: of the strategy.
        panel: the bars the run covered, T of them; the first is the bar of the first decision.
        equity: (T,) dollars at each close.
        cash: (T,) dollars at each close.
        orders: (M,) records of ORDER, in order of fill bar; rejected and partial ones included.
        sleeve_equity: (T, B) when every symbol had a portfolio of its own, else None.
        cost_model, execution: the models the run used.
        borrow_paid, interest_earned: dollars over the run.
        extras: what the strategy recorded, by name; arrays with T rows.
    """

    name: str
    panel: Panel
    equity: Floats
    cash: Floats
    orders: NDArray[np.void]
    cost_model: CostModel
    execution: ExecutionModel
    sleeve_equity: Floats | None = None
    borrow_paid: float = 0.0
    interest_earned: float = 0.0
    extras: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Ledger({self.name}: {len(self.equity)} bars, {len(self.orders)} orders, {self.total_return:+.2%})"

    @property
    def timestamps(self) -> Times:
        """(T,) opens of the bars."""
        return self.panel.timestamps

    @property
    def symbols(self) -> tuple[str, ...]:
        """The N symbols."""
        return self.panel.symbols

    @property
    def costs(self) -> NDArray[np.void]:
        """(M,) records of each order's cost by term, in dollars, aligned with ``orders``."""
        return self.orders[list(TERMS)]

    @property
    def total_return(self) -> float:
        """Fraction gained from the first close to the last."""
        return float(self.equity[-1] / self.equity[0] - 1.0)

    @cached_property
    def returns(self) -> Floats:
        """(T - 1,) simple return of equity per bar."""
        return self.equity[1:] / self.equity[:-1] - 1.0

    @cached_property
    def cost_by_term(self) -> dict[str, float]:
        """Dollars over the run, by term of the cost model, borrow last."""
        return {term: float(self.orders[term].sum()) for term in TERMS} | {"borrow": self.borrow_paid}

    @cached_property
    def total_cost(self) -> float:
        """Dollars of all cost terms, borrow included."""
        return sum(self.cost_by_term.values())

    @property
    def rejected(self) -> NDArray[np.void]:
        """Records of the orders of which nothing was filled; ``reason_text`` of their reason says why."""
        rows: NDArray[np.void] = self.orders[self.orders["quantity"] == 0.0]
        return rows

    @property
    def partial(self) -> NDArray[np.void]:
        """Records of the orders of which a part was filled and the rest refused; truncation to lots refuses nothing."""
        rows: NDArray[np.void] = self.orders[(self.orders["quantity"] != 0.0) & (self.orders["reason"] != 0)]
        return rows

    @cached_property
    def positions(self) -> Floats:
        """(T, N) signed shares held at each close."""
        moves = np.zeros((len(self.equity), len(self.symbols)))
        np.add.at(moves, (self.orders["fill_bar"], self.orders["symbol"]), self.orders["quantity"])
        total: Floats = np.cumsum(moves, axis=0)
        return total.round(9)  # shares come in billionths; sums of floats do not

    @cached_property
    def traded(self) -> Floats:
        """(T,) dollars bought plus sold in each bar, at reference prices."""
        dollars = np.zeros(len(self.equity))
        filled = self.orders[self.orders["quantity"] != 0.0]
        np.add.at(dollars, filled["fill_bar"], np.abs(filled["quantity"]) * filled["reference"])
        return dollars

    @cached_property
    def turnover(self) -> Floats:
        """(T,) dollars traded in each bar as a fraction of the equity of the close before; 0 in the first."""
        return np.append(0.0, self.traded[1:] / self.equity[:-1])

    @cached_property
    def exposure(self) -> Floats:
        """(T,) gross value of the positions as a fraction of equity."""
        value: Floats = np.nansum(np.abs(self.positions) * self.panel.mark, axis=1)
        return value / self.equity

    def orders_frame(self) -> pd.DataFrame:
        """Return the orders as a DataFrame with timestamps, symbol names and reasons in words."""
        import pandas as pd

        columns: dict[str, Any] = {
            "decided": self.timestamps[self.orders["decision_bar"]],
            "filled": self.timestamps[self.orders["fill_bar"]],
            "symbol": np.array(self.symbols)[self.orders["symbol"]],
        }
        columns |= {name: self.orders[name] for name in (ORDER.names or ())[4:-1]}
        columns["reason"] = [reason_text(int(flags)) for flags in self.orders["reason"]]
        return pd.DataFrame(columns)

    def equity_frame(self) -> pd.DataFrame:
        """Return equity, cash, exposure and turnover as a DataFrame indexed by timestamp."""
        import pandas as pd

        columns = {name: getattr(self, name) for name in ("equity", "cash", "exposure", "turnover")}
        return pd.DataFrame(columns, index=pd.DatetimeIndex(self.timestamps, name="timestamp"))

    def to_vectorbt(self) -> Any:
        """Return a vectorbt Portfolio built from these order records; its value() is this equity."""
        from tradekit.engine.vectorbt_bridge import portfolio_of

        return portfolio_of(self)
