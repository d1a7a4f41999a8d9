"""Markets whose truth is known: PPO finds an edge that is there, and does not appear to find one that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tradekit import load_panel, simulate
from tradekit.engine.strategy import Targets
from tradekit.evidence.sharpe import sharpe_interval
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.recipe import Recipe
from tradekit.learn.train import train
from tradekit.market.costs import CostModel
from tradekit.market.optimum import changes, planted_optimum, side_cost

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import Portfolios, View
    from tradekit.market.panel import Floats, Panel

pytestmark = pytest.mark.slow

# Linear costs, for which the optimum is known.
COSTS = CostModel(impact_coefficient=0.0)


class Known:
    """Holds what a given table says, each symbol in a sleeve of its own."""

    name, sleeves = "known", True

    def __init__(self, table: Floats) -> None:
        self._table = table

    def fit(self, train: Panel) -> Known:
        return self

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        return Targets(self._table[view.bar, portfolios.column][:, None])


def held_out(strategy: Any, panel: Panel, start: int) -> Ledger:
    return simulate(strategy, panel, COSTS, start=start)


def growth(ledger: Ledger) -> float:
    """Return the mean log growth of the sleeves."""
    assert ledger.sleeve_equity is not None
    return float(np.log(ledger.sleeve_equity[-1] / ledger.sleeve_equity[0]).mean())


def learnt(panel: Panel, folder: Path, seed: int) -> tuple[PolicyStrategy, int]:
    """Return the policy of the default recipe and the first bar it has not seen."""
    bundle, *_ = train(Recipe(seed=seed, costs=COSTS), panel, folder)
    return PolicyStrategy(bundle), int(np.searchsorted(panel.timestamps, bundle.seen_end)) + 1


@pytest.mark.parametrize("seed", [42, 1337])
def test_most_of_a_planted_edge_is_earned(tmp_path: Path, seed: int) -> None:
    panel = load_panel("synthetic:planted?strength=0.2&bars=6000&symbols=12")
    policy, start = learnt(panel, tmp_path, seed)
    exposure = planted_optimum(panel, side_cost(COSTS)).exposure
    best = growth(held_out(Known(changes(exposure)), panel, start))
    held = growth(
        held_out(Known(np.where(np.arange(len(panel))[:, None] == start, 1.0, exposure * np.nan)), panel, start)
    )
    earned = growth(held_out(policy, panel, start))
    assert best > 2.0
    assert held < 0.0  # the market alone earns nothing
    assert earned > 0.7 * best


@pytest.mark.parametrize("seed", [42, 1337])
def test_nothing_is_found_where_there_is_nothing(tmp_path: Path, seed: int) -> None:
    panel = load_panel("synthetic:noise?bars=6000&symbols=12")
    policy, start = learnt(panel, tmp_path, seed)
    ledger = held_out(policy, panel, start)
    assert sharpe_interval(ledger.returns, panel.bars_per_year).low < 0.0
    assert growth(ledger) < 0.02
