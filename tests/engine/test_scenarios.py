"""Scenarios as settings: what each kind takes, and that the shipped file says what the library does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tradekit.desk.specs import read_stress
from tradekit.engine.scenarios import KINDS, SHIPPED, Scenario, default_scenarios
from tradekit.errors import ConfigError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path


def test_the_shipped_file_is_the_library_s_default(repository: Path) -> None:
    assert read_stress(repository / "backtests" / "stress.toml").scenarios == SHIPPED


def test_defaults_have_every_kind() -> None:
    scenarios = default_scenarios(slippage_shock=1.5)
    assert scenarios[0].kind == "base"
    assert scenarios[1].name == "slippage x1.5"
    assert scenarios[1].costs(CostModel()) == CostModel().shocked(1.5)
    assert {s.kind for s in scenarios} == set(KINDS)
    assert [s.cost_shock for s in scenarios if s.cost_shock != 1.0] == [1.5, 2.0, 3.0, 5.0]
    assert [s.size for s in scenarios if s.kind == "gap"] == [-0.05, -0.10, -0.20]
    starts = [s.start for s in scenarios if s.kind == "replay"]
    assert starts == ["2000-03-24", "2007-10-09", "2020-02-19", "2022-01-03"]


def test_costs_and_execution_as_the_scenario_has_them() -> None:
    worse = Scenario("a", "costs", slippage_shock=1.5, cost_shock=2.0).costs(CostModel())
    assert (worse.slippage_bps, worse.commission_bps) == (15.0, 0.4)
    late = Scenario("b", "latency", latency_bars=2).execution(ExecutionModel(latency_bars=1))
    assert late.latency_bars == 3
    tight = Scenario("c", "participation", max_participation=0.1)
    assert tight.execution(ExecutionModel()).max_participation == 0.1
    assert tight.execution(ExecutionModel(max_participation=0.02)).max_participation == 0.02


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "a", "kind": "cost"}, "choose base, costs"),
        ({"name": "a", "kind": ["costs"]}, "choose base, costs"),
        ({"name": "a", "kind": "costs", "cost_shok": 2}, "did you mean cost_shock"),
        ({"name": "a", "kind": "costs", "cost_shock": -1}, "cost_shock is -1; 0 or more"),
        ({"name": "a", "kind": "costs", "cost_shock": float("nan")}, "cost_shock is nan; 0 or more"),
        ({"name": "a", "kind": "costs", "cost_shock": "2"}, "cost_shock is '2'; 0 or more"),
        ({"name": "a", "kind": "gap", "size": -0.1, "factor": 2}, "unknown scenario setting 'factor'"),
        ({"name": "a", "kind": "gap"}, "kind 'gap' needs size"),
        ({"name": "a", "kind": "gap", "size": -1.0}, "a return above -1, and not 0"),
        ({"name": "a", "kind": "missing", "share": 1.0}, r"a fraction in \(0, 1\)"),
        ({"name": "a", "kind": "participation", "max_participation": 2.0}, "a fraction of volume"),
        ({"name": "a", "kind": "latency", "latency_bars": 1.5}, "a whole number of bars, 0 or more"),
        ({"name": "a", "kind": "bootstrap", "draws": 0}, "draws is 0; a whole number, 1 or more"),
        ({"name": "a", "kind": "garch", "seed": True}, "seed is True"),
        ({"name": "a", "kind": "replay", "start": "2020-01-01"}, "kind 'replay' needs end"),
        ({"kind": "base"}, "lacks 'name'"),
        ({"name": 5, "kind": "base"}, "name and description are text"),
    ],
)
def test_a_bad_scenario_is_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Scenario.from_dict(settings)


def test_a_setting_of_another_kind_is_refused_in_code_too() -> None:
    with pytest.raises(ConfigError, match="scenario 'late': cost_shock does not belong to kind 'latency'"):
        Scenario("late", "latency", cost_shock=2.0)


def test_an_unknown_key_names_the_file_the_table_and_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "stress.toml"
    path.write_text('[data]\nsource = "sample"\n[[scenarios]]\nname = "g"\nkind = "gap"\nsiez = -0.1\n')
    with pytest.raises(ConfigError) as error:
        read_stress(path)
    assert str(error.value) == (f"{path}: [[scenarios]] 1: unknown scenario setting 'siez'; did you mean size?")
