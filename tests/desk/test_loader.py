from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tradekit.desk.folder import Desk
from tradekit.desk.loader import load_file, load_strategies, load_strategy, strategy_names
from tradekit.errors import BundleError, StrategyError

HOLD = """
import numpy as np

class Hold:
    name = {name!r}
    def fit(self, train):
        return self
    def weights(self, panel):
        return np.full(panel.close.shape, np.nan)
"""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "strategies").mkdir()
    return Desk(tmp_path)


def write(desk: Desk, stem: str, text: str) -> Path:
    path = desk.strategies / f"{stem}.py"
    path.write_text(text)
    return path


def test_loads_by_name_and_by_path(desk: Desk) -> None:
    path = write(desk, "hold", HOLD.format(name="hold") + "strategy = Hold()\n")
    by_name, by_path = load_strategy("hold", desk), load_strategy(path, desk)
    assert by_name.path == by_path.path == path
    assert by_name.strategy.name == "hold"
    assert by_name.file_hash == by_path.file_hash == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("end", ["strategy = Hold", "def strategy():\n    return Hold()", "strategy = lambda: Hold()"])
def test_a_class_or_a_function_is_called(desk: Desk, end: str) -> None:
    write(desk, "hold", HOLD.format(name="hold") + end)
    assert load_strategy("hold", desk).strategy.name == "hold"


def test_leaves_nothing_behind_in_the_folder(desk: Desk) -> None:
    write(desk, "hold", HOLD.format(name="hold") + "strategy = Hold()")
    load_strategy("hold", desk)
    assert [path.name for path in desk.strategies.iterdir()] == ["hold.py"]


def test_a_changed_file_is_loaded_anew(desk: Desk) -> None:
    write(desk, "one", HOLD.format(name="before") + "strategy = Hold()")
    before = load_strategy("one", desk)
    write(desk, "one", HOLD.format(name="after") + "strategy = Hold()")
    after = load_strategy("one", desk)
    assert (before.strategy.name, after.strategy.name) == ("before", "after")
    assert before.file_hash != after.file_hash


def test_paths_in_a_file_count_from_the_desk(desk: Desk) -> None:
    (desk.root / "note.txt").write_text("from_the_root")
    head = "from pathlib import Path\n" + HOLD.format(name="x")
    write(desk, "reader", head + "Hold.name = Path('note.txt').read_text()\nstrategy = Hold()")
    here = Path.cwd()
    assert load_strategy("reader", desk).strategy.name == "from_the_root"
    assert Path.cwd() == here


def test_dataclasses_find_their_module(desk: Desk) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HOLD.format(name="d")
    write(desk, "d", text.replace("class Hold", "@dataclass(frozen=True)\nclass Hold") + "strategy = Hold()")
    made = load_strategy("d", desk).strategy
    assert sys.modules[type(made).__module__].Hold is type(made)


def test_all_in_the_order_of_their_files(desk: Desk) -> None:
    for stem in ("b", "a", "_private"):
        write(desk, stem, HOLD.format(name=stem) + "strategy = Hold()")
    assert strategy_names(desk) == ["a", "b"]
    assert [one.strategy.name for one in load_strategies(desk)] == ["a", "b"]
    assert [one.strategy.name for one in load_strategies(desk, ["b", "a"])] == ["b", "a"]


def test_an_empty_desk_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(StrategyError, match=r"no strategies; add a file there, or run: tradekit init --force"):
        load_strategies(desk)


def test_two_files_of_one_name_are_both_named(desk: Desk) -> None:
    for stem in ("a", "b"):
        write(desk, stem, HOLD.format(name="same") + "strategy = Hold()")
    with pytest.raises(StrategyError, match=r"strategies/b\.py: the name 'same' is taken by strategies/a\.py"):
        load_strategies(desk)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", r"broken\.py:2: syntax error: .*; correct that line"),
        ("x = '\0'", r"broken\.py.*syntax error"),
        ("\nimport no_such_package_here\n", r"broken\.py:2: No module named 'no_such_package_here'; install"),
        ("from tradekit.errors import Nope", r"broken\.py:1: cannot import name 'Nope'.*correct the import"),
        ("def f():\n    return 1 / 0\n\nf()", r"broken\.py:2: ZeroDivisionError while the file was loaded: division"),
        ("raise SystemExit(3)", r"broken\.py:1: SystemExit while the file was loaded: 3"),
        ("x = 1", r"broken\.py: defines no strategy; end the file with a line such as: strategy ="),
        ("strategy = None", r"broken\.py: strategy is None without a name"),
        ("strategy = 3", r"broken\.py: strategy is of type int without a name"),
        (
            "def strategy():\n    raise ValueError('two\\nlines')",
            r"broken\.py:2: ValueError while strategy\(\) .* two lines",
        ),
        ("class S:\n    name = ''\nstrategy = S()", r"broken\.py: strategy is of type S without a name"),
        ("class S:\n    name = 's'\nstrategy = S()", r"broken\.py: s has no method fit"),
        (
            "class S:\n    name = 's'\n    def fit(self, train): return self\nstrategy = S()",
            r"broken\.py: s needs exactly one method of weights, on_bar, decide; it has none of them",
        ),
        (
            "class S:\n    name = 's'\n    fit = weights = on_bar = lambda self, given: given\nstrategy = S()",
            r"broken\.py: s needs exactly one method of .*; it has weights and on_bar",
        ),
    ],
)
def test_every_broken_file_is_one_line(desk: Desk, text: str, message: str) -> None:
    write(desk, "broken", text)
    with pytest.raises(StrategyError, match="^strategies/" + message) as caught:
        load_strategy("broken", desk)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text(desk: Desk) -> None:
    (desk.strategies / "broken.py").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(StrategyError, match=r"strategies/broken\.py.*syntax error"):
        load_strategy("broken", desk)


def test_what_tradekit_raised_inside_keeps_its_kind(desk: Desk) -> None:
    write(desk, "policy", "from tradekit.errors import BundleError\nraise BundleError('bundle/x: changed')")
    with pytest.raises(BundleError, match=r"^bundle/x: changed$"):
        load_strategy("policy", desk)


def test_unknown_names_get_a_suggestion(desk: Desk) -> None:
    write(desk, "momentum", HOLD.format(name="momentum") + "strategy = Hold()")
    with pytest.raises(StrategyError, match=r"no strategy 'momentun' in .*; did you mean momentum\?"):
        load_strategy("momentun", desk)
    with pytest.raises(StrategyError, match=r"elsewhere/x\.py: no such strategy file; check the path"):
        load_strategy("elsewhere/x.py", desk)


SEVERAL = (
    HOLD.format(name="")
    + """
def named(name):
    one = Hold()
    one.name = name
    return one
strategy = [named("low"), named("high")]
"""
)


def test_a_file_may_hold_several(desk: Desk) -> None:
    write(desk, "hold", HOLD.format(name="hold") + "strategy = Hold()")
    path = write(desk, "levels", SEVERAL)
    assert [one.strategy.name for one in load_strategies(desk)] == ["hold", "low", "high"]
    assert [one.strategy.name for one in load_strategies(desk, ["levels:high", "hold"])] == ["high", "hold"]
    assert [one.strategy.name for one in load_file(path, desk)] == ["low", "high"]
    assert load_strategy(f"{path}:low", desk).strategy.name == "low"


def test_one_of_several_has_to_be_chosen_by_its_name(desk: Desk) -> None:
    write(desk, "levels", SEVERAL)
    with pytest.raises(StrategyError, match="levels has 2 strategies; choose one, as levels:NAME, of low, high"):
        load_strategy("levels", desk)
    with pytest.raises(StrategyError, match=r"strategies/levels.py: no strategy 'hihg' in it; did you mean high\?"):
        load_strategy("levels:hihg", desk)
    write(desk, "none", "strategy = []")
    with pytest.raises(StrategyError, match=r"strategies/none.py: strategy is an empty list; put a strategy in it"):
        load_strategies(desk, ["none"])
