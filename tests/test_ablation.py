"""The ablation: factors change what they say and nothing else, and tables add up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from bench import ablation, factors
from bench.factors import BASE, FACTORS, LINEAR, Market
from tradekit import load_panel, simulate
from tradekit.market.optimum import changes, planted_optimum, side_cost

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Market("small", "synthetic:planted?strength=0.3&bars=1200&symbols=2&seed={seed}", LINEAR, planted=True)


@pytest.mark.parametrize("factor", [name for name in FACTORS if name != BASE])
def test_a_factor_changes_its_sections_alone(factor: str) -> None:
    shipped = factors.recipe_of(BASE, SMALL, 3, 4096).to_dict()
    changed = factors.recipe_of(factor, SMALL, 3, 4096).to_dict()
    assert {section for section in shipped if shipped[section] != changed[section]} == set(FACTORS[factor][1])


def test_a_cell_is_a_real_training_on_its_own_market() -> None:
    row = factors.run("masks off", SMALL, 2, 4096)
    assert row["ended"] == "finished"
    assert row["share_of_optimum"] is not None
    assert math.isfinite(row["held_sharpe"])
    assert row["share_of_optimum"] <= 1.2


def test_the_optimum_earns_all_of_itself() -> None:
    panel = load_panel(SMALL.source.format(seed=1))
    recipe = factors.recipe_of(BASE, SMALL, 1, 4096)
    exposure = planted_optimum(panel, side_cost(LINEAR)).exposure
    ledger = simulate(factors.Known(changes(exposure)), panel, recipe.costs, recipe.execution, start=700)
    assert factors.growth(ledger) == factors._best(panel, recipe, 700)


def row(share: float | None, sharpe: float | None, healthy: bool = True) -> dict[str, Any]:
    figures = {"validation_sharpe": 1.0, "trades_per_year": 10.0, "exposure": 0.5, "held_sharpe": 0.0}
    return {**figures, "share_of_optimum": share, "sharpe": sharpe, "healthy": healthy}


def test_a_table_shows_middles_and_paired_differences() -> None:
    shipped = [row(0.5, 1.0), row(0.6, 1.0), row(0.7, 1.0), row(0.8, 1.0)]
    other = [row(0.6, 2.0), row(0.7, 2.0), row(0.8, None, healthy=False), row(0.9, math.nan)]
    rows = {(BASE, "small"): shipped, ("masks off", "small"): other}
    lines = ablation.table(SMALL, [BASE, "masks off"], rows)
    assert lines[0].startswith("|  | share of optimum | Sharpe | validation Sharpe |")
    ours, theirs = ([part.strip() for part in line.split("|")[1:-1]] for line in lines[2:])
    # The middle half of four is two of them.
    assert (ours[0], ours[1].split()[0], ours[6], ours[7]) == (BASE, "65.0%", "4 of 4", "")
    assert (theirs[1].split()[0], theirs[2].split()[0], theirs[6]) == ("75.0%", "1.00", "3 of 4")
    assert theirs[7] == "+10.0% [+10.0%, +10.0%]"  # by as much for every seed


def test_without_hourly_bars_two_markets_are_left(tmp_path: Path) -> None:
    assert [market.name for market in factors.markets(tmp_path / "gone")] == ["planted edge", "no edge"]
    assert factors.markets(tmp_path)[-1].name == "real hourly"
