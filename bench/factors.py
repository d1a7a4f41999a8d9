"""What the ablation varies, where, and what one training run of it is worth."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit import load_panel, simulate
from tradekit.engine.strategy import Targets
from tradekit.evidence.sharpe import sharpe
from tradekit.learn.actions import NOT_ALLOWED, REPEAT_LIMIT
from tradekit.learn.entropy import Entropy
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.recipe import DataChoice, Guard, Recipe
from tradekit.learn.rewards import Reward
from tradekit.learn.run import SUMMARY
from tradekit.learn.telemetry import action_statistics
from tradekit.learn.train import train
from tradekit.market.costs import CostModel
from tradekit.market.optimum import changes, planted_optimum, side_cost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import Portfolios, View
    from tradekit.market.panel import Floats, Panel

RECIPE = Path(__file__).resolve().parent.parent / "policies" / "symbol_ppo" / "recipe.toml"
# Costs in proportion to what is traded, for which the optimum is known.
LINEAR = CostModel(impact_coefficient=0.0)
BASE = "shipped recipe"


class Market(NamedTuple):
    """Bars to train on.

    Attributes:
        name: for people.
        source: of the bars; ``{seed}`` in it draws another market for every seed.
        costs: None: the recipe's.
        planted: there is an optimum to compare with.
    """

    name: str
    source: str
    costs: CostModel | None = None
    planted: bool = False


def markets(hourly: Path) -> list[Market]:
    """Return the three markets; the real one only if ``hourly`` is there."""
    planted = "synthetic:planted?strength=0.15&bars=6000&symbols=12&seed={seed}"
    made_up = [
        Market("planted edge", planted, LINEAR, planted=True),
        Market("no edge", "synthetic:noise?bars=6000&symbols=12&seed={seed}", LINEAR),
    ]
    return [*made_up, Market("real hourly", str(hourly))] if hourly.is_dir() else made_up


FACTORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    BASE: ("as it is", {}),
    "masks off": ("masks", {"actions": {"masking": False}}),
    "masks legacy": ("masks", {"actions": {"masking": "legacy"}}),
    "sanitiser off": ("sanitiser", {"actions": {"max_consecutive_actions": 0}}),
    "reward stage5": ("reward", {"reward": Reward("stage5")}),
    "reward v1": ("reward", {"reward": Reward("v1")}),
    "reward professional": ("reward", {"reward": Reward("professional")}),
    "no entropy bonus": ("entropy", {"entropy": {"coefficient": 0.0, "final": 0.0, "guard": False}}),
    "entropy constant": ("entropy", {"entropy": {"schedule": "constant"}}),
    "entropy adaptive": ("entropy", {"entropy": Entropy.from_dict({"preset": "adaptive"})}),
    "entropy v10_2": ("entropy", {"entropy": Entropy.from_dict({"preset": "v10_2"})}),
    "gamma 0.98": ("discount", {"ppo": {"gamma": 0.98}}),
    "gamma 0.99": ("discount", {"ppo": {"gamma": 0.99}}),
    "guards off": ("guards", {"guard": Guard(alarms=False, collapse=False), "entropy": {"guard": False}}),
}
"""Name: what it is about, and the sections of the recipe that it changes, one factor each."""


def recipe_of(factor: str, market: Market, seed: int, timesteps: int) -> Recipe:
    """Return the shipped recipe with one factor changed."""
    recipe = Recipe.load(RECIPE).changed(timesteps=timesteps)
    _, changed = FACTORS[factor]
    sections = {
        name: replace(getattr(recipe, name), **what) if isinstance(what, dict) else what
        for name, what in changed.items()
    }
    return replace(recipe, seed=seed, data=DataChoice(), costs=market.costs or recipe.costs, **sections)


class Known:
    """Holds what a (T, N) table says, each symbol in a sleeve of its own."""

    name, sleeves = "known", True

    def __init__(self, table: Floats) -> None:
        self._table = table

    def fit(self, train: Panel) -> Known:
        """Learn nothing."""
        return self

    def start(self, portfolios: int) -> None:
        """Remember nothing."""

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        """Return the row of the newest bar."""
        return Targets(self._table[view.bar, portfolios.column][:, None])


def growth(ledger: Ledger) -> float:
    """Return the mean log growth of the sleeves over all bars."""
    assert ledger.sleeve_equity is not None
    return float(np.log(ledger.sleeve_equity[-1] / ledger.sleeve_equity[0]).mean())


def run(factor: str, market: Market, seed: int, timesteps: int) -> dict[str, Any]:
    """Train once and return what became of it, on the validation bars and on those that nothing has seen.

    A run that a guard halted is scored by the checkpoint that it exported, and counts as not healthy.
    """
    import json

    recipe = recipe_of(factor, market, seed, timesteps)
    panel = load_panel(market.source.format(seed=seed))
    with tempfile.TemporaryDirectory() as folder:
        made = train(recipe, panel, Path(folder) / "run")
        summary = json.loads((Path(folder) / "run" / SUMMARY).read_text(encoding="utf-8"))
        policy = PolicyStrategy(made.bundle)
        start = int(np.searchsorted(panel.timestamps, policy.seen_end)) + 1
        ledger = simulate(policy, panel, recipe.costs, recipe.execution, start=start)
    said = action_statistics(ledger)
    held = simulate(Known(_held_from(panel, start)), panel, recipe.costs, recipe.execution, start=start)
    return {
        "validation_sharpe": made.metrics["validation_sharpe"],
        "sharpe": sharpe(ledger.returns, panel.bars_per_year),
        "growth_annual": growth(ledger) / len(ledger.returns) * panel.bars_per_year,
        "held_sharpe": sharpe(held.returns, panel.bars_per_year),
        "share_of_optimum": growth(ledger) / _best(panel, recipe, start) if market.planted else None,
        "trades_per_year": said.trades_per_year,
        "exposure": said.exposure,
        "entropy": made.metrics["policy_action_entropy_mean"],
        "refused": float(said.outcomes[:, [NOT_ALLOWED, REPEAT_LIMIT]].sum() / max(said.decisions, 1)),
        "healthy": made.healthy,
        "ended": summary["ended"],
        "verdict": made.verdict,
        "seconds": summary["seconds"],
    }


def _held_from(panel: Panel, start: int) -> Floats:
    """Return (T, N) a table that buys all at ``start`` and leaves it alone."""
    return np.where(np.arange(len(panel))[:, None] == start, 1.0, np.full(panel.close.shape, np.nan))


def _best(panel: Panel, recipe: Recipe, start: int) -> float:
    """Return the growth of the policy that knows the planted state, on the same bars."""
    exposure = planted_optimum(panel, side_cost(recipe.costs)).exposure
    return growth(simulate(Known(changes(exposure)), panel, recipe.costs, recipe.execution, start=start))
