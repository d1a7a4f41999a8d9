from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tradekit.desk.folder import Desk
from tradekit.desk.loader import load_strategies, load_strategy
from tradekit.desk.recording import candidate, remember_training
from tradekit.desk.work import Work, identity, processors
from tradekit.engine.combinatorial import Combinatorial
from tradekit.engine.windows import Windowing
from tradekit.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
import sys
sys.path.insert(0, {folder!r})
import helper_of_the_desk

class One:
    name, kind, lookback = "one", {kind!r}, 1
    def fit(self, train):
        return self
    def weights(self, panel):
        return 0.0 * panel.close

strategy = One()
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper_of_the_desk.py").write_text("LEVEL = 1\n")
    text = FILE.format(folder=str(tmp_path / "lib"), kind="heuristic")
    (tmp_path / "strategies" / "one.py").write_text(text)
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "helper_of_the_desk", raising=False)


def test_identity_changes_with_the_file_and_with_the_desk_s_modules(desk: Desk) -> None:
    first = identity(desk, load_strategy("one", desk))
    assert identity(desk, load_strategy("one", desk)) == first
    (desk.root / "lib" / "helper_of_the_desk.py").write_text("LEVEL = 2\n")
    changed = identity(desk, load_strategy("one", desk))
    assert changed != first
    file = desk.strategies / "one.py"
    file.write_text(file.read_text() + "# more\n")
    assert identity(desk, load_strategy("one", desk)) not in (first, changed)


def test_settings_are_the_engine_s(desk: Desk) -> None:
    loaded = load_strategies(desk)
    settings = Work(workers=3).settings(desk, loaded)
    assert settings["workers"] == 3
    assert settings["ray"] is None
    assert settings["store"].folder == desk.cells
    assert list(settings["identities"]) == ["one"]
    assert Work().settings(desk, loaded)["workers"] == processors() >= 1
    assert Work(fresh=True).settings(desk, loaded)["store"] is None
    assert Work(workers=3).here_seconds == 0.0 < Work().here_seconds


def test_how_bars_are_cut_is_a_parameter_of_what_learns_only(desk: Desk) -> None:
    one = load_strategy("one", desk)
    cuts = [Windowing(100, 50), Windowing(200, 50), None]
    assert len({candidate(one, "code", cut, ()) for cut in cuts}) == 1
    file = desk.strategies / "one.py"
    file.write_text(FILE.format(folder=str(desk.root / "lib"), kind="supervised"))
    learns = load_strategy("one", desk)
    assert len({candidate(learns, "code", cut, ()) for cut in cuts}) == 3
    # How policies are trained, and whether positions are carried, is none of its parameters.
    others = [Windowing(100, 50, carry="flatten"), Windowing(100, 50, refit="warm")]
    assert {candidate(learns, "code", cut, ()) for cut in others} == {candidate(learns, "code", cuts[0], ())}
    # Learnt from the groups of a cross-validation it is another one, as often as they are cut otherwise.
    crossed = {candidate(learns, "code", Combinatorial(groups), ()) for groups in (8, 10)}
    assert len(crossed | {candidate(learns, "code", cut, ()) for cut in cuts}) == 5
    assert {candidate(one, "code", Combinatorial(), ())} == {candidate(one, "code", None, ())}
    assert candidate(learns, "code", None, (1, 2)) == candidate(learns, "code", None, ())  # it draws nothing


def test_a_training_run_is_entered_in_one_call_and_its_policy_is_a_trial(desk: Desk, tmp_path: Path) -> None:
    told = {"command": "tradekit train", "policy": "p", "data": "bars", "symbols": ["A"], "versions": {"torch": "2"}}
    run = remember_training(
        desk,
        digest="abc",
        folder=tmp_path / "run",
        metrics={"validation_sharpe": 0.3},
        healthy=False,
        note="trades nothing",
        **told,  # type: ignore[arg-type] # strings and lists
    )
    with Registry(desk.registry) as registry:
        row = registry.run(run)
        assert (row.kind, row.name, row.status, row.note) == ("train", "p", "failed", "trades nothing")
        assert row.metrics == {"p": {"validation_sharpe": 0.3}}
        assert registry.frozen(run).count == 1
