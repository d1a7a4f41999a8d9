from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tradekit.desk.specs import DataSpec, read_backtest, read_costs, read_stress
from tradekit.engine.combinatorial import Combinatorial
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

DATA = '[data]\nsource = "sample"\n'


def spec(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def test_only_the_source_is_required(tmp_path: Path) -> None:
    read = read_backtest(spec(tmp_path, DATA))
    assert read.data == DataSpec("sample")
    assert read.windows is None
    assert read.strategies is None
    assert (read.costs, read.execution, read.cash) == (CostModel(), ExecutionModel(), 100_000.0)


def test_every_key_arrives(tmp_path: Path) -> None:
    text = """
    strategies = ["b", "a"]
    cash = 5000
    [data]
    source = "bars"
    symbols = ["X", "Y"]
    start = 2009-01-02
    end = "2010-12-31"
    benchmark = "X"
    [windows]
    train_sessions = 20
    test_sessions = 5
    carry = "flatten"
    [costs]
    preset = "free"
    spread_bps = 3.0
    [execution]
    latency_bars = 2
    """
    read = read_backtest(spec(tmp_path, text))
    assert read.data == DataSpec("bars", ("X", "Y"), "2009-01-02", "2010-12-31", "X")
    assert read.strategies == ("b", "a")
    assert read.cash == 5000.0
    assert read.windows == Windowing(20, 5, carry="flatten")
    assert (read.costs.spread_bps, read.costs.commission_bps) == (3.0, 0.0)
    assert read.execution.latency_bars == 2


def test_scenarios(tmp_path: Path) -> None:
    assert read_stress(spec(tmp_path, DATA)).scenarios is None
    text = (
        DATA + '[[scenarios]]\nname = "a"\nkind = "costs"\ncost_shock = 2\n[[scenarios]]\nname = "b"\nkind = "base"\n'
    )
    scenarios = read_stress(spec(tmp_path, text)).scenarios
    assert scenarios is not None
    assert [(one.name, one.cost_shock) for one in scenarios] == [("a", 2), ("b", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"\[data\]: source is missing"),
        ("[data]\nsorce = 'x'", r"\[data\]: unknown key 'sorce'; did you mean source\?"),
        ("[data]\nsource = 3", r"\[data\]: source is 3; write it as text in quotes"),
        ("[data]\nsource = 'x'\nsymbols = 'A,B'", r"\[data\]: symbols is 'A,B'; write a list"),
        ("[data]\nsource = 'x'\nstart = 'soon'", r"\[data\]: start is 'soon'; write a date as 2012-01-03"),
        ("data = 'x'", r"data is not a table; write \[data\]"),
        (DATA + "side = [{name = 'vix', file = 'v.csv'}]", r"\[data\]: side: column is missing; write \[\{name"),
        (DATA + "side = 'v.csv'", r"\[data\]: side is 'v.csv'; write a list"),
        (DATA + "[window]\n", r"unknown key 'window'; did you mean windows\?"),
        (DATA + "[windows]\ntrain_session = 3", r"\[windows\]: unknown window setting 'train_session'; did you mean"),
        (DATA + "[windows]\ntrain_sessions = 0", r"\[windows\]: train_sessions is 0"),
        (DATA + "[cross_validation]\nfolds = 3", r"\[cross_validation\]: unknown cross-validation setting 'folds'"),
        (
            DATA + "[cross_validation]\n[windows]\n",
            r"\[windows\] and \[cross_validation\] are two ways to cut the bars",
        ),
        (DATA + "[costs]\nspread = 3", r"\[costs\]: unknown cost 'spread'; did you mean spread_bps\?"),
        (DATA + "[costs]\nspread_bps = -1", r"\[costs\]: spread_bps is -1; a cost is finite and never negative"),
        (DATA + "[execution]\nlatency = 1", r"\[execution\]: unknown execution setting 'latency'"),
        (DATA + "[costs]\npreset = 3", r"\[costs\] holds a value of the wrong type"),
        ("cash = 0\n" + DATA, r"cash is 0; write dollars above 0"),
        ("strategies = []\n" + DATA, r"strategies is \[\]; write a list of names"),
        ("a = \n", r"not valid TOML: .*line 1.*; correct that line"),
    ],
)
def test_errors_name_the_file_the_table_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = spec(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"^{path}: {message}") as caught:
        read_backtest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scenarios = 3\n" + DATA, r"scenarios is not a list of tables"),
        ("scenarios = []\n" + DATA, r"scenarios is not a list of tables"),
        (DATA + "[[scenarios]]\nname = 'a'", r"\[\[scenarios\]\] 1: a scenario lacks 'kind'"),
        (DATA + "[[scenarios]]\nname = 'a'\nkind = 'base'\n" * 2, "two scenarios are called 'a'"),
        (DATA + "[[scenarios]]\nname = 'a'\nkind = 'replay'", r"\[\[scenarios\]\] 1: .*needs start and end"),
        (
            DATA + "[[scenarios]]\nname = 'a'\nkind = 'replay'\nstart = 'soon'\nend = '2020-01-01'",
            r"\[\[scenarios\]\] 1: start is 'soon'; write a date as 2012-01-03",
        ),
        (DATA + "[[scenarios]]\nnam = 'a'", r"\[\[scenarios\]\] 1: unknown scenario setting 'nam'; did you mean name"),
    ],
)
def test_scenario_errors_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    path = spec(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"^{path}: {message}"):
        read_stress(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file; check the path"):
        read_backtest(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_backtest(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: not a text file"):
        read_backtest(tmp_path / "binary.toml")


def test_costs_stand_alone_or_in_a_table(tmp_path: Path) -> None:
    assert read_costs(spec(tmp_path, "spread_bps = 3")).spread_bps == 3
    assert read_costs(spec(tmp_path, "preset = 'free'\n")) == CostModel.preset("free")
    assert read_costs(spec(tmp_path, "[costs]\nspread_bps = 3")).spread_bps == 3
    with pytest.raises(ConfigError, match=r"spec\.toml: unknown cost 'spred_bps'; did you mean spread_bps"):
        read_costs(spec(tmp_path, "spred_bps = 3"))


def test_the_shipped_specs_agree(repository: Path) -> None:
    walk = read_backtest(repository / "backtests" / "walk_forward.toml")
    stress = read_stress(repository / "backtests" / "stress.toml")
    crossed = read_backtest(repository / "backtests" / "cross_validation.toml")
    assert crossed.cross_validation == Combinatorial()
    assert replace(crossed, cross_validation=None) == replace(walk, windows=None)
    assert (stress.data, stress.windows, stress.costs, stress.execution, stress.cash) == (
        walk.data,
        walk.windows,
        walk.costs,
        walk.execution,
        walk.cash,
    )
