from __future__ import annotations

from pathlib import Path

import pytest

from tradekit.desk.folder import find_desk
from tradekit.desk.loader import strategy_names
from tradekit.desk.scaffold import init_desk, template
from tradekit.errors import DeskError


def test_a_fresh_desk_is_the_checkout_s_desk(tmp_path: Path, repository: Path) -> None:
    target = tmp_path / "desk"
    written = init_desk(target)
    assert find_desk(target).root == target
    assert strategy_names(find_desk(target)) == strategy_names(find_desk(repository))
    for place in set(written) - {Path(".gitignore")}:
        assert (target / place).read_bytes() == (repository / place).read_bytes()
    assert Path("backtests/walk_forward.toml") in written
    assert Path("strategies/momentum.py") in written
    files = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    assert files == set(written)


def test_the_template_holds_no_product_of_a_run() -> None:
    tops = {place.parts[0] for place in template().values()}
    assert tops <= {"strategies", "policies", "backtests", "paper", "tradekit.toml"}
    assert not [place for place in template().values() if {"results", "journals", "runs"} & set(place.parts)]


def test_what_runs_produce_is_ignored(tmp_path: Path) -> None:
    init_desk(tmp_path / "desk")
    ignored = (tmp_path / "desk" / ".gitignore").read_text().splitlines()
    assert {"backtests/results/", "paper/journals/", "policies/*/runs/"} <= set(ignored)


def test_a_full_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DeskError, match=r"not empty; give a new folder, or --force"):
        init_desk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_force_adds_what_is_missing_and_never_overwrites(tmp_path: Path) -> None:
    mine = tmp_path / "strategies" / "momentum.py"
    mine.parent.mkdir()
    mine.write_text("# mine")
    (tmp_path / ".gitignore").write_text("# mine")
    written = init_desk(tmp_path, force=True)
    assert mine.read_text() == "# mine"
    assert (tmp_path / ".gitignore").read_text() == "# mine"
    assert Path("strategies/momentum.py") not in written
    assert Path("strategies/sma_cross.py") in written
    assert init_desk(tmp_path, force=True) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeskError, match=r"is a file; give another folder"):
        init_desk(tmp_path / "file" / "desk")
