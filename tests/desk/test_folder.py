from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tradekit.desk.folder import find_desk, make_folder
from tradekit.errors import ConfigError, DeskError

if TYPE_CHECKING:
    from pathlib import Path


def test_found_from_any_folder_inside(tmp_path: Path) -> None:
    (tmp_path / "tradekit.toml").touch()
    deep = tmp_path / "backtests" / "results"
    deep.mkdir(parents=True)
    desk = find_desk(deep)
    assert desk.root == tmp_path
    assert desk.data == "sample"
    assert desk.strategies == tmp_path / "strategies"
    assert desk.short(deep) == "backtests/results"


def test_the_nearest_desk_wins(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "tradekit.toml").touch()
    (inner / "tradekit.toml").write_text('[defaults]\ndata = "bars.csv"\n')
    assert find_desk(inner).root == inner
    assert find_desk(inner).data == "bars.csv"


def test_working_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tradekit.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_desk().root == tmp_path


def test_no_desk_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DeskError, match=rf"no desk here.*{tmp_path}.*tradekit init DIR"):
        find_desk(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[default]\ndata = "x"', "unknown table 'default'; did you mean defaults"),
        ('[defaults]\ndat = "x"', "unknown key 'dat'; did you mean data"),
        ("[defaults]\ndata = 3", "data is 3; name a source"),
        ("defaults = 3", r"defaults is not a table; write \[defaults\]"),
        ("[defaults", "not valid TOML"),
    ],
)
def test_a_wrong_desk_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "tradekit.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"tradekit\.toml.*{message}"):
        find_desk(tmp_path)


def test_make_folder_makes_parents(tmp_path: Path) -> None:
    made = make_folder(tmp_path / "a" / "b")
    assert made.is_dir()
    assert list(made.iterdir()) == []


def test_make_folder_under_a_file_names_the_file(tmp_path: Path) -> None:
    blocker = tmp_path / "results"
    blocker.write_text("x")
    for folder in (blocker, blocker / "run"):
        with pytest.raises(DeskError, match=rf"{folder}: cannot write there, {blocker} is a file; give another"):
            make_folder(folder)
