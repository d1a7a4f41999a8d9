from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tradekit.desk.overrides import Overrides, named_costs
from tradekit.desk.specs import BacktestSpec, DataSpec, StressSpec
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError
from tradekit.market.costs import CostModel
from tradekit.market.side_series import SideSeries

if TYPE_CHECKING:
    from pathlib import Path

SPEC = BacktestSpec(
    DataSpec("bars", ("X", "Y"), "2009-01-02", "2012-12-31", "X"),
    ("a", "b"),
    Windowing(10, 5),
    CostModel(spread_bps=4.0),
)


def test_nothing_given_changes_nothing() -> None:
    assert Overrides().apply(SPEC) == SPEC
    assert Overrides(data="bars").apply(SPEC) == SPEC


def test_other_data_leaves_dates_symbols_and_windows_aside() -> None:
    changed = Overrides(data="sample", start="2015-01-01").apply(SPEC)
    assert changed.data == DataSpec("sample", start="2015-01-01")
    assert changed.windows is None
    assert (changed.strategies, changed.costs) == (SPEC.strategies, SPEC.costs)


def test_parts_of_the_same_data() -> None:
    changed = Overrides(symbols="Y, Z", end="2010-01-01").apply(SPEC)
    assert changed.data == DataSpec("bars", ("Y", "Z"), "2009-01-02", "2010-01-01", "X")
    assert changed.windows == SPEC.windows


def test_side_series_come_beside_the_specs_and_replace_those_of_the_same_name() -> None:
    spec = replace(SPEC, data=replace(SPEC.data, side=(SideSeries("vix", "a.csv", "close"),)))
    assert Overrides().apply(spec) == spec
    changed = Overrides(side=("rate=C:/r.csv:dgs10:3", "mood=m.parquet:score")).apply(spec).data.side
    assert changed == (
        *spec.data.side,
        SideSeries("rate", "C:/r.csv", "dgs10", 3),
        SideSeries("mood", "m.parquet", "score"),
    )
    assert Overrides(side=("vix=b.csv:open",)).apply(spec).data.side == (SideSeries("vix", "b.csv", "open"),)
    assert Overrides(data="sample").apply(spec).data == DataSpec("sample")


@pytest.mark.parametrize("text", ["vix", "vix=", "vix=a.csv", "=a.csv:close", "vix=:close", "vix=a.csv:"])
def test_a_side_series_is_a_name_a_file_and_a_column(text: str) -> None:
    with pytest.raises(ConfigError, match="write NAME=FILE:COLUMN"):
        Overrides(side=(text,)).apply(SPEC)


def test_costs_are_named_first_and_shocked_after() -> None:
    shocked = Overrides(slippage_shock=3.0, cost_shock=2.0).apply(SPEC).costs
    assert (shocked.spread_bps, shocked.commission_bps) == (24.0, 0.4)
    named = Overrides(costs="alpaca_low", cost_shock=2.0).apply(SPEC).costs
    assert (named.spread_bps, named.slippage_bps) == (0.0, 2.0)


def test_the_rest() -> None:
    changed = Overrides(strategies="c", latency_bars=2, cash=1.0).apply(SPEC)
    assert (changed.strategies, changed.execution.latency_bars, changed.cash) == (("c",), 2, 1.0)


def test_a_stress_spec_stays_one() -> None:
    assert isinstance(Overrides(cash=5.0).apply(StressSpec(DataSpec("bars"))), StressSpec)


def test_costs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "free"\nspread_bps = 1.5\n')
    assert named_costs(str(path)) == CostModel.from_dict({"preset": "free", "spread_bps": 1.5})
    with pytest.raises(ConfigError, match=r"gone\.toml: no such file"):
        named_costs(str(tmp_path / "gone.toml"))
    with pytest.raises(ConfigError, match=r"no cost preset or file 'fre'; did you mean free\?"):
        named_costs("fre")


@pytest.mark.parametrize("cash", [0.0, -1.0, float("nan"), float("inf")])
def test_cash_is_money(cash: float) -> None:
    with pytest.raises(ConfigError, match=r"give dollars above 0"):
        Overrides(cash=cash).apply(SPEC)
