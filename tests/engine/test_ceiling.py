"""The ceiling as a run: what dynamic programming says, share by share through the kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.panels import BuyOnce, Table, random_panel
from tests.worlds import panel_of
from tradekit.engine.ceiling import KIND, NAME, ceiling, with_ceiling
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.optimum import foresight, side_cost

LINEAR = CostModel(commission_bps=0.0, spread_bps=10.0, slippage_bps=0.0, impact_coefficient=0.0)


@pytest.mark.parametrize("close_only", [True, False])
def test_the_run_earns_what_dynamic_programming_found(close_only: bool) -> None:
    panel = random_panel(200, 3, seed=4, close_only=close_only)
    ledger = ceiling(panel, 50, 180, LINEAR, ExecutionModel(), 90_000.0)
    best = foresight(panel[50:180], side_cost(LINEAR))
    assert ledger.sleeve_equity is not None
    assert ledger.sleeve_equity[-1] == pytest.approx(30_000.0 * np.exp(best.log_wealth), rel=1e-7)
    assert ledger.equity[-1] == pytest.approx(ledger.sleeve_equity[-1].sum())
    assert len(ledger.orders) > 50


def test_by_hand() -> None:
    # 100, 110, 90, 99 at 0.1 %: bought at 100, sold at 110, bought at 90, worth 99 at the end.
    close = np.array([[100.0], [100.0], [110.0], [90.0], [99.0]])
    ledger = ceiling(panel_of(close, close), 0, 5, LINEAR, ExecutionModel(), 1000.0)
    assert ledger.equity[-1] == pytest.approx(1000.0 / 1.001 * 1.1 * 0.999 / 1.001 * 1.1, rel=1e-9)
    assert ledger.orders["fill_bar"].tolist() == [1, 2, 3]


def test_what_binds_a_strategy_does_not_lower_the_ceiling() -> None:
    panel = random_panel(200, 3, seed=4)
    bound = ExecutionModel(latency_bars=2, fractional=False, max_participation=0.001, cash_buffer=0.1, min_trade=50.0)
    dear = replace(LINEAR, impact_coefficient=0.5, commission_minimum=5.0, regulatory=1.0)
    free = ceiling(panel, 0, 200, LINEAR, ExecutionModel(), 1e5)
    assert np.array_equal(ceiling(panel, 0, 200, dear, bound, 1e5).equity, free.equity)


def test_no_strategy_that_holds_sleeves_beats_it_and_it_is_last() -> None:
    panel = random_panel(200, 3, seed=4)
    result = walk_forward([Table(0.2), BuyOnce()], panel, Windowing(50, 50), LINEAR)
    measured = with_ceiling(result)
    assert [run.name for run in measured.runs] == ["table", "buy_and_hold", NAME]
    ruler = measured.runs[-1]
    assert (ruler.kind, ruler.audit, ruler.skipped) == (KIND, None, None)
    assert ruler.ledger is not None
    for run in result.runs:
        assert run.ledger is not None
        assert np.array_equal(ruler.ledger.timestamps, run.ledger.timestamps)
        assert ruler.ledger.equity[-1] > run.ledger.equity[-1]


def test_nothing_ran_nothing_is_measured() -> None:
    panel = random_panel(200, 3)
    empty = replace(walk_forward(BuyOnce(), panel, Windowing(50, 50)), runs=())
    assert with_ceiling(empty) is empty
