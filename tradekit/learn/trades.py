"""What trading came to: trades won and lost, turnover, costs; of a backtest's ledger, or of the lanes' tally.

Both count the same way. A trade is a fill; a fill that sells wins or loses by its proceeds, after every cost, beside
what the shares sold had cost on average, costs included.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.evidence import measures
from tradekit.evidence.sharpe import sharpe
from tradekit.learn.lanes import FILLS, GAINED, LOST, PAID, SALES, TALLIES, TRADED, WINS
from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Floats


@dataclass(frozen=True)
class TradeStatistics:
    """What trading came to; NaN where a figure is not defined.

    Attributes:
        total_trades: fills.
        win_rate: share of sales that gained.
        profit_factor: gains of sales over losses of sales.
        turnover: dollars bought plus sold over equity, in a year.
        cost_ratio: share of the profit before costs that costs took.
        max_drawdown: deepest, a fraction of the peak before.
        sharpe: annual.
    """

    total_trades: int
    win_rate: float
    profit_factor: float
    turnover: float
    cost_ratio: float
    max_drawdown: float = math.nan
    sharpe: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers by name."""
        return asdict(self)


def trades_of(ledger: Ledger) -> TradeStatistics:
    """Return what the trading of a backtest or a session came to."""
    tally = tally_of(ledger)
    per_year, profit = ledger.panel.bars_per_year, float(ledger.equity[-1] - ledger.equity[0])
    return TradeStatistics(
        total_trades=int(tally[FILLS]),
        win_rate=_ratio(tally[WINS], tally[SALES]),
        profit_factor=_ratio(tally[GAINED], tally[LOST]),
        turnover=measures.turnover(ledger.traded[1:], ledger.equity, per_year),
        cost_ratio=measures.cost_ratio(ledger.total_cost, profit),
        max_drawdown=measures.max_drawdown(ledger.equity),
        sharpe=sharpe(ledger.returns, per_year),
    )


def trades_of_tally(tally: Floats, steps: int, cash: float, bars_per_year: float) -> TradeStatistics:
    """Return what ``tally`` (TALLIES,) came to in so many steps of all lanes together, of sleeves of ``cash`` dollars.

    Profit is what sales realised, and turnover is over the initial capital; there is no one path of equity to fall.
    """
    return TradeStatistics(
        total_trades=int(tally[FILLS]),
        win_rate=_ratio(tally[WINS], tally[SALES]),
        profit_factor=_ratio(tally[GAINED], tally[LOST]),
        turnover=float(tally[TRADED]) / cash / steps * bars_per_year if steps else math.nan,
        cost_ratio=measures.cost_ratio(float(tally[PAID]), float(tally[GAINED] - tally[LOST])),
    )


def tally_of(ledger: Ledger) -> Floats:
    """Return (TALLIES,) what the lanes would have counted for the orders of ``ledger``."""
    tally = np.zeros(TALLIES)
    held: dict[tuple[int, int], tuple[float, float]] = {}
    for order in ledger.orders[ledger.orders["quantity"] != 0.0]:
        place = int(order["portfolio"]), int(order["symbol"])
        shares, cost = held.get(place, (0.0, 0.0))
        held[place] = _count(tally, order, shares, cost)
    return tally


def _count(tally: Floats, order: NDArray[np.void], shares: float, cost: float) -> tuple[float, float]:
    """Add a fill to the tally; return the shares held after it and what they cost in all."""
    quantity, reference = float(order["quantity"]), float(order["reference"])
    paid = sum(float(order[term]) for term in TERMS)
    tally[[FILLS, TRADED, PAID]] += 1.0, abs(quantity) * reference, paid
    if quantity > 0.0:
        return shares + quantity, cost + quantity * reference + paid
    average = cost / shares if shares > 0.0 else math.nan
    gain = -quantity * (reference - average) - paid
    tally[[SALES, WINS, GAINED, LOST]] += 1.0, gain > 0.0, max(gain, 0.0), max(-gain, 0.0)
    left = round(shares + quantity, 9)
    return left, average * left


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0.0 else math.nan
