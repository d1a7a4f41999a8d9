"""What buying and holding earned on the bars that a policy was judged on: the first thing its figures stand beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Targets
from tradekit.evidence.sharpe import sharpe

if TYPE_CHECKING:
    from tradekit.engine.strategy import Portfolios, View
    from tradekit.learn.recipe import Recipe
    from tradekit.market.panel import Panel


class _Hold:
    """Puts all of every sleeve into its symbol and leaves it there."""

    name, sleeves = "held", True

    def fit(self, train: Panel) -> _Hold:
        """Learn nothing."""
        return self

    def start(self, portfolios: int) -> None:
        """Remember nothing."""

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        """Buy where nothing is held."""
        return Targets(np.where(portfolios.shares == 0.0, 1.0, np.nan))


def held(recipe: Recipe, panel: Panel) -> dict[str, float]:
    """Return ``sharpe``, annual, and ``total_return`` of buying and holding over ``panel``, sleeve by sleeve.

    Costs and fills are the recipe's. The Sharpe ratio is NaN where prices never move.
    """
    ledger = simulate(_Hold(), panel, recipe.costs, recipe.execution)
    return {"sharpe": sharpe(ledger.returns, panel.bars_per_year), "total_return": ledger.total_return}
