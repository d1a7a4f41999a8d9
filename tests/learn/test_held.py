"""Buying and holding by hand, and what a training run says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learn.conftest import quick
from tradekit.learn.held import held
from tradekit.learn.train import train
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel


def test_holding_is_the_mean_growth_of_the_symbols(panel: Panel) -> None:
    recipe = replace(quick(), costs=CostModel.preset("free"), execution=ExecutionModel(fill_at="close"))
    # Sized at the first close, filled at the second: a purchase that costs more than the cash takes all of it.
    shares = np.minimum(1.0 / panel.close[0], 1.0 / panel.close[1])
    ends = 1.0 + shares * (panel.close[-1] - panel.close[1])
    assert held(recipe, panel)["total_return"] == pytest.approx(ends.mean() - 1.0, abs=1e-7)


@pytest.mark.slow
def test_a_run_says_what_holding_earned(panel: Panel, tmp_path: Path) -> None:
    recipe = quick()
    made = train(recipe, panel, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "summary.json").read_text())
    first, last = (made.bundle.manifest["data"][name] for name in ("validation_start", "seen_end"))
    rows = (panel.timestamps >= np.datetime64(first)) & (panel.timestamps <= np.datetime64(last))
    start, stop = np.flatnonzero(rows)[[0, -1]]
    assert told["held"] == pytest.approx(held(recipe, panel[start : stop + 1]))
    assert told["verdict"].endswith(f"; buying and holding has {told['held']['sharpe']:.2f}")
