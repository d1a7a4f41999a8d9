"""Bounds of a scenario's return and drawdown: those of resamples drawn by arch, on the bars that count."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap

from tests.report.pages import Page
from tradekit.evidence.measures import max_drawdown
from tradekit.report.metrics import scored
from tradekit.report.run_folder import read_run, read_summary
from tradekit.report.scenario_bounds import DRAWS, NAMES, scenario_bounds

if TYPE_CHECKING:
    from pathlib import Path


def test_bounds_are_percentiles_of_resampled_bars(stressed_folder: Path) -> None:
    tracks = read_run(stressed_folder).of("costs x4")
    found = scenario_bounds(tracks, 6.0)
    for name, track in tracks.items():
        returns = scored(track).returns
        source = StationaryBootstrap(6, np.arange(len(returns)), seed=0)
        drawn = [np.append(1.0, np.cumprod(1.0 + returns[data[0][0]])) for data in source.bootstrap(DRAWS)]
        by_hand = (
            *np.quantile([equity[-1] - 1.0 for equity in drawn], [0.025, 0.975]),
            *np.quantile([max_drawdown(equity) for equity in drawn], [0.025, 0.975]),
        )
        assert [found[name][key] for key in NAMES] == pytest.approx(by_hand, abs=1e-12)


def test_few_bars_have_none(stressed_folder: Path) -> None:
    tracks = {
        name: replace(one, scored_from=len(one.equity) - 5) for name, one in read_run(stressed_folder).base.items()
    }
    for one in (
        *scenario_bounds(tracks, 3.0).values(),
        *scenario_bounds(read_run(stressed_folder).base, None).values(),
    ):
        assert all(math.isnan(one[key]) for key in NAMES)


def test_every_cell_has_them_and_the_base_has_those_of_the_run(stressed_folder: Path) -> None:
    summary = read_summary(stressed_folder)
    page = Page((stressed_folder / "report.html").read_text(encoding="utf-8"))
    whole = {one["name"]: one["metrics"] for one in summary["strategies"]}
    for scenario in summary["scenarios"]:
        for cell in (one for one in scenario["cells"] if one["metrics"]):
            metrics = cell["metrics"]
            if scenario["name"] == "base":
                assert all(metrics[key] == whole[cell["strategy"]][key] for key in NAMES)
            if metrics["bars"] >= 20:
                assert metrics["total_return_low"] <= metrics["total_return_high"]
                assert 0.0 <= metrics["max_drawdown_low"] <= metrics["max_drawdown_high"] <= 1.0
    (shown,) = page.having(scenario="costs x4", metric="max_drawdown", strategy="buy_and_hold")
    cells = next(one["cells"] for one in summary["scenarios"] if one["name"] == "costs x4")
    held = next(one["metrics"] for one in cells if one["strategy"] == "buy_and_hold")
    low, high = (f"{100 * held[f'max_drawdown_{end}']:.1f}\u00a0%" for end in ("low", "high"))
    assert shown.text.endswith(f"[{low}, {high}]")
