"""Time the hot paths: start-up, features, backtest kernel, closed loop, training environments.

Each row is the best of several runs after one that compiles, and a rate in the unit of the work it does.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.timing import best
from tradekit import CostModel, load_panel, simulate
from tradekit.learn.env import VectorSymbolEnv
from tradekit.learn.task import Task
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.engine.strategy import View
    from tradekit.market.panel import Floats, Panel

SCENARIOS = 64
ENVIRONMENTS = 256
STEPS = 200


class Row(NamedTuple):
    """One timing: seconds of the best run, and how much of which unit it did."""

    name: str
    seconds: float
    amount: float
    unit: str


class EqualWeight:
    """Equal weights, rebalanced on every bar: as many orders as there can be."""

    name = "equal_weight"

    def fit(self, train: Panel) -> EqualWeight:
        """Learn nothing."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return the same (T, N) weight everywhere."""
        return np.full(panel.close.shape, 0.9 / len(panel.symbols))


class EqualWeightByBar:
    """The same, asked bar by bar."""

    name = "equal_weight_by_bar"

    def fit(self, train: Panel) -> EqualWeightByBar:
        """Learn nothing."""
        return self

    def on_bar(self, view: View) -> Floats:
        """Return the same (N,) weights on every bar."""
        return np.full(view.close.shape[1], 0.9 / view.close.shape[1])


def start_up() -> Iterator[Row]:
    """Time what every command pays before it does anything."""
    for name, arguments in (
        ("import tradekit", ["-c", "import tradekit"]),
        ("tradekit --help", ["-m", "tradekit", "--help"]),
    ):
        command = partial(subprocess.run, [sys.executable, *arguments], check=True, capture_output=True)
        yield Row(name, best(command), 1, "starts")


def backtests(panel: Panel) -> Iterator[Row]:
    """Time features and simulations of one panel."""
    bars, symbols = panel.close.shape
    features = FeatureSpec.named("close")
    yield Row("close features", best(lambda: features.compute(panel)), bars * symbols, "bars x symbols")
    yield Row("open loop, 1 scenario", best(lambda: simulate(EqualWeight(), panel, costs=CostModel())), bars, "bars")
    costs = [CostModel(slippage_bps=bps) for bps in np.linspace(0.0, 10.0, SCENARIOS)]
    batch = best(lambda: simulate(EqualWeight(), panel, costs=costs, records=False))
    yield Row(f"open loop, {SCENARIOS} scenarios", batch, bars * SCENARIOS, "bars x scenarios")
    yield Row("bar by bar", best(lambda: simulate(EqualWeightByBar(), panel, costs=CostModel())), bars, "bars")


def environments(panel: Panel) -> Iterator[Row]:
    """Time the batched training environment, without a policy."""
    env = VectorSymbolEnv(Task(panel, FeatureSpec.named("close")), ENVIRONMENTS)
    env.reset()
    actions = np.zeros(ENVIRONMENTS, dtype=np.int64)

    def steps() -> None:
        for _ in range(STEPS):
            env.step(actions)

    yield Row(f"training step, {ENVIRONMENTS} environments", best(steps), STEPS * ENVIRONMENTS, "steps")


def main() -> None:
    """Print one line per timing."""
    panel = load_panel("sample")
    table = Table(
        "what", "best (ms)", "per second", title=f"{panel.close.shape[0]} bars, {panel.close.shape[1]} symbols"
    )
    for rows in (start_up(), backtests(panel), environments(panel)):
        for row in rows:
            table.add_row(row.name, f"{1e3 * row.seconds:,.2f}", f"{row.amount / row.seconds:,.0f} {row.unit}")
    Console().print(table)


if __name__ == "__main__":
    main()
