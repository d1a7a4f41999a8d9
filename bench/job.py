"""The job on which engines are compared.

2,520 bars of 10 assets; weights of 0.9 in all, drawn anew every 21 bars, sized at the close and filled at the next open
for a fee of 10 bp and a slippage of 5 bp. Every further cost scenario slips a hundredth of a basis point more. Equity
at every close and a record of every order are the output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.engine import random_walks

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

BARS, SYMBOLS, MONTH, CASH = 2520, 10, 21, 1e6
FEE, SLIPPAGE, STEP = 10e-4, 5e-4, 1e-6


class Job(NamedTuple):
    """The bars, the (T, N) weights with NaN where nothing is asked, and the number of cost scenarios."""

    panel: Panel
    weights: Floats
    scenarios: int


class Answer(NamedTuple):
    """Final equity and number of recorded orders of the first scenario."""

    equity: float
    orders: int


Work = Callable[[], Answer]
Prepare = Callable[[Job], Work]


def job(scenarios: int) -> Job:
    """Return the job under so many cost scenarios."""
    weights = np.full((BARS, SYMBOLS), np.nan)
    months = len(weights[::MONTH])
    weights[::MONTH] = 0.9 * np.random.default_rng(1).dirichlet(np.ones(SYMBOLS), months)
    return Job(random_walks(BARS, SYMBOLS), weights, scenarios)


def before(rows: Floats) -> Floats:
    """Return the rows one bar later, for engines that fill a row's order in that row."""
    return np.vstack([np.full((1, rows.shape[1]), np.nan), rows[:-1]])
