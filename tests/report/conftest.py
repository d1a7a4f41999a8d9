"""One walk-forward and one stress run over 260 random bars, shared by the tests of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import BuyOnce, random_panel
from tradekit.engine.scenarios import Scenario
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.engine.stress import Stress, stress
from tradekit.engine.walk_forward import WalkForward, walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import DataError
from tradekit.report.run_folder import write_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel

PANEL = random_panel(260, 3)
WINDOWS = Windowing(train_sessions=60, test_sessions=50)
SEEN = 20
"""Test bars that the policy was trained on."""
HOLD, BUY, SELL = range(3)
RUN: dict[str, Any] = {
    "command": "tradekit backtest --walk-forward",
    "created": "2026-01-02T03:04:05+00:00",
    "file_hashes": {"buy_and_hold": "a" * 64, "symbol_ppo": "b" * 64},
    "bundle_hashes": {"symbol_ppo": "c" * 64},
    "seeds": [42],
    "action_names": ("HOLD", "BUY", "SELL"),
    "action_reasons": ("as_chosen", "not_allowed"),
}


class Held(BuyOnce):
    """The reference."""

    kind = "heuristic"


class Rotation:
    """Moves everything into the symbol that rose most, every bar: much turnover."""

    name, kind, lookback = "rotation", "heuristic", 2

    def fit(self, train: Panel) -> Rotation:
        return self

    def weights(self, panel: Panel) -> Floats:
        rise = np.diff(panel.close, axis=0, prepend=panel.close[:1])
        table: Floats = np.eye(len(panel.symbols))[np.argmax(rise, axis=1)]
        return table


class Breaks:
    """Fails to learn in the second window."""

    name, kind, lookback = "breaks", "supervised", 1

    def fit(self, train: Panel) -> Breaks:
        if train.timestamps[0] == PANEL.timestamps[50]:
            raise ValueError("a class has no members")
        return Breaks()

    def weights(self, panel: Panel) -> Floats:
        return np.full(panel.close.shape, 0.3)


class Unfit:
    """Cannot run on these bars."""

    name, kind = "unfit", "heuristic"

    def check(self, panel: Panel, execution: ExecutionModel) -> None:
        raise DataError("random: it needs volume at night")

    def fit(self, train: Panel) -> Unfit:
        return self

    def weights(self, panel: Panel) -> Floats:
        raise AssertionError("it was said to be unfit")


class Agent:
    """A policy: buys a quarter now and then, asks for sales that it has nothing to sell for."""

    name, kind, sleeves, lookback = "symbol_ppo", "policy", True, 1
    seen_end = PANEL.timestamps[60 + SEEN]

    def fit(self, train: Panel) -> Agent:
        return self

    def start(self, portfolios: int) -> list[Any]:
        return []

    def decide(self, view: View, portfolios: Portfolios, state: list[Any]) -> Targets:
        flat = portfolios.shares[:, 0] == 0.0
        chosen = np.full(len(flat), (BUY, HOLD, SELL, SELL)[view.bar % 4])
        executed = np.where(flat & (chosen == SELL), HOLD, chosen)
        state.append((chosen, executed))
        buy = 0.25 * portfolios.equity / view.close[-1][portfolios.column]
        shares = np.select([executed == BUY, executed == SELL], [buy, -portfolios.shares[:, 0]], 0.0)
        return Targets(shares[:, None], are_shares=True)

    def extras(self, state: list[Any], portfolios: slice) -> dict[str, Any]:
        chosen, executed = (np.array([row[k] for row in state])[:, portfolios] for k in (0, 1))
        told = {"chosen": chosen, "executed": executed, "reason": (chosen != executed).astype(int)}
        return {name: np.concatenate([rows, np.full((1, rows.shape[1]), -1)]) for name, rows in told.items()}


SCENARIOS = (
    Scenario("base", "base", "as backtested"),
    Scenario("costs x4", "costs", "every cost multiplied", cost_shock=4.0),
    Scenario("latency +1", "latency", "fills come later", latency_bars=1),
    Scenario("late fall", "replay", start="2010-08-01", end="2010-09-01"),
    Scenario("dot-com", "replay", start="2000-03-24", end="2002-10-09"),
)


def strategies() -> list[Any]:
    return [Held(), Rotation(), Breaks(), Unfit(), Agent()]


@pytest.fixture(scope="session")
def walked() -> WalkForward:
    return walk_forward(strategies(), PANEL, WINDOWS)


@pytest.fixture(scope="session")
def stressed() -> Stress:
    return stress([Held(), Rotation(), Unfit(), Agent()], PANEL, SCENARIOS, WINDOWS)


@pytest.fixture(scope="session")
def walked_folder(walked: WalkForward, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not change it."""
    return write_run(walked, tmp_path_factory.mktemp("walked") / "run", **RUN)


@pytest.fixture(scope="session")
def stressed_folder(stressed: Stress, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not change it."""
    return write_run(stressed, tmp_path_factory.mktemp("stressed") / "run", **RUN)


@pytest.fixture
def write(walked: WalkForward, tmp_path: Path) -> Callable[..., Path]:
    """Write the walk-forward run into a folder of its own."""

    def written(name: str = "run", **changes: Any) -> Path:
        return write_run(walked, tmp_path / name, **{**RUN, **changes})

    return written
