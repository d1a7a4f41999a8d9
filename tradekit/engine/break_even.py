"""Break-even: the multiple of all costs at which a strategy's edge is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.market.costs import CostModel
    from tradekit.market.panel import Floats

# Multiples of all costs at which the break-even is searched; linear in between.
MULTIPLES = np.concatenate([np.arange(0.0, 4.0, 0.25), np.arange(4.0, 10.0, 0.5), np.arange(10.0, 31.0, 2.0)])
REFERENCE = "buy_and_hold"


class Growth(NamedTuple):
    """(K, T) equity of one strategy at K multiples of the costs, and the first scored row."""

    equity: Floats
    first: int


def multiples_of(costs: CostModel) -> Floats:
    """Return (K,) those of MULTIPLES at which spread and slippage still leave something of the price."""
    return MULTIPLES[(costs.spread_bps + costs.slippage_bps) * MULTIPLES < 10_000.0]


def growth_of(
    run: Callable[[Sequence[CostModel]], list[Ledger]], costs: CostModel, scored_from: Callable[[Ledger], int]
) -> Growth:
    """Return what ``run`` makes of every multiple of ``costs``; ``scored_from`` finds the first row that is scored."""
    ledgers = run([costs.scaled(multiple) for multiple in multiples_of(costs)])
    return Growth(np.array([ledger.equity for ledger in ledgers]), scored_from(ledgers[0]))


def break_even(name: str, growths: Mapping[str, Growth]) -> dict[str, float | None]:
    """Return the multiples at which the final equity of ``name`` exceeds cash, and buy-and-hold, no more.

    Buy-and-hold pays the same multiple. 0.0: it does not even without costs; None: it still does at 30 times the
    costs, or there is nothing to compare with.
    """
    equity, first = growths[name]
    start = max(first - 1, 0)  # the close before the first scored return
    gain = np.log(equity[:, -1] / equity[:, start])
    result = {"over_cash": _crossing(gain), "over_buy_and_hold": None}
    if REFERENCE in growths and name != REFERENCE:
        held = growths[REFERENCE].equity
        result["over_buy_and_hold"] = _crossing(gain - np.log(held[:, -1] / held[:, start]))
    return result


def _crossing(edge: Floats) -> float | None:
    """Return the first multiple at which ``edge`` (K,) over MULTIPLES reaches zero, linear in between."""
    dead = np.flatnonzero(~(edge > 0.0))
    if len(dead) == 0:
        return None
    k = int(dead[0])
    if k == 0:
        return 0.0
    share = edge[k - 1] / (edge[k - 1] - edge[k]) if np.isfinite(edge[k]) else 0.0
    return float(MULTIPLES[k - 1] + share * (MULTIPLES[k] - MULTIPLES[k - 1]))
