"""What is declared, what is locked and what a wheel holds; the wheel is installed and used."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hatch_build import TEMPLATE, desk_files
from tradekit.desk.scaffold import IGNORED

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
DESK: list[str] = PROJECT["tool"]["hatch"]["build"]["hooks"]["custom"]["desk"]

# What a used desk holds and no archive may.
PRODUCED = [
    "backtests/results/2020-01-02/summary.json",
    "paper/journals/paper.sqlite",
    "policies/symbol_ppo/runs/1/checkpoint.zip",
    "strategies/__pycache__/sma_cross.cpython-311.pyc",
    "registry.sqlite",
]


def lock_lines() -> list[str]:
    return (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()


def declared(*extras: str) -> list[Requirement]:
    """Return the core's requirements and those of ``extras``, the extras that these name included."""
    named = [PROJECT["project"]["optional-dependencies"][extra] for extra in extras]
    found = [Requirement(text) for group in (PROJECT["project"]["dependencies"], *named) for text in group]
    inner = {extra for each in found if each.name == "tradekit" for extra in each.extras}
    own = [each for each in found if each.name != "tradekit"]
    return own + ([each for each in declared(*sorted(inner)) if each not in own] if inner else [])


# ------------------------------------------------------------------------------------------------ declared and locked


def test_lock_is_exact_sorted_and_free_of_hosts() -> None:
    lines = lock_lines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert lines == sorted(lines, key=str.upper)
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("requirement", declared("yahoo", "test", "lint"), ids=str)
def test_lock_satisfies(requirement: Requirement) -> None:
    locked = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lock_lines()}
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def imports(*folders: str) -> set[str]:
    """Return the top-level names that the python files under the folders import."""
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    found = {name.split(".")[0] for node in nodes for name in imported(node)}
    return found - set(sys.stdlib_module_names) - {"tradekit", "tests", "bench", "hatch_build"}


def imported(node: ast.AST) -> list[str]:
    """Return the modules that an import statement, or ``import_module`` with a literal, names."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            # torch's writer of event files is a thin cover of tensorboard, which torch does not require
            return [module, "tensorboard"] if module.startswith("torch.utils.tensorboard") else [module]
        case ast.Call(func=ast.Name(id="import_module"), args=[ast.Constant(value=str(module)), *_]):
            return [module]
    return []


def distributions(names: set[str]) -> set[str]:
    known = packages_distributions()
    return {canonicalize_name(name) for module in names for name in known[module][:1]}


def test_every_import_is_declared() -> None:
    core = {canonicalize_name(requirement.name) for requirement in declared("yahoo", "ray", "mlflow", "onnx")}
    assert distributions(imports("tradekit", "strategies")) <= core
    test = {canonicalize_name(requirement.name) for requirement in declared("test")}
    assert distributions(imports("tests")) <= test


def test_every_core_dependency_is_imported() -> None:
    core = {canonicalize_name(requirement.name) for requirement in declared()}
    assert core <= distributions(imports("tradekit", "strategies"))


def test_git_ignores_what_a_desk_ignores() -> None:
    assert set(IGNORED) <= set((REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("answer", ["exit 1", "exit 127"])
def test_an_unsuitable_python_is_named(tmp_path: Path, answer: str) -> None:
    old = tmp_path / "python3.8"
    old.write_text(f"#!/bin/sh\n{answer}\n")
    old.chmod(0o755)
    run = subprocess.run(
        [REPOSITORY / "scripts" / "find_python.sh"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith(f"PYTHON={old} is not a Python 3.11.5 or later")


# ---------------------------------------------------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout that has been used: results, journals and runs lie about in it."""
    copy = tmp_path_factory.mktemp("checkout") / "tradekit"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "results", "journals", "runs")
    shutil.copytree(REPOSITORY, copy, ignore=unwanted)
    for name in PRODUCED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("produced")
    return copy


def build(tree: Path, out: Path, *flags: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *flags, str(tree)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def archives(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the sdist and the wheel built from it."""
    out = tmp_path_factory.mktemp("dist")
    build(tree, out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.mark.slow
def test_wheel_holds_one_package_and_the_desk(archives: tuple[Path, Path]) -> None:
    names = set(contents(archives[1]))
    assert {name.split("/")[0] for name in names} == {"tradekit", next(n.split("/")[0] for n in names if "-" in n)}
    assert {"tradekit/py.typed", "tradekit/market/kernel.py"} <= names
    shipped = {name.removeprefix(f"{TEMPLATE}/") for name in names if name.startswith(TEMPLATE)}
    assert shipped == {file.relative_to(REPOSITORY).as_posix() for file in desk_files(REPOSITORY, DESK)}
    assert {"tradekit.toml", "strategies/sma_cross.py"} <= shipped


@pytest.mark.slow
def test_nothing_a_desk_produced_is_shipped(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as sdist:
        names = [*sdist.getnames(), *contents(archives[1])]
    assert not [name for name in names if name.endswith(tuple(PRODUCED))]


@pytest.mark.slow
def test_checkout_and_sdist_build_the_same_wheel(tree: Path, archives: tuple[Path, Path], tmp_path: Path) -> None:
    build(tree, tmp_path, "--wheel")
    (wheel,) = tmp_path.glob("*.whl")
    assert contents(wheel) == contents(archives[1])


@pytest.fixture(scope="module")
def installed(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a new environment that has the wheel.

    Its dependencies are those of the running environment, lent by a .pth file. Such a folder's own .pth files are not
    read, so an editable tradekit there stays out of sight.
    """
    root = tmp_path_factory.mktemp("venv")
    venv.create(root, with_pip=False, symlinks=True)
    python = root / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(archives[1])], check=True)
    (site,) = root.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python.parent


def run(installed: Path, cwd: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [installed / command[0], *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "python", "-c", "import tradekit.desk.scaffold as s; print(s.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent)


@pytest.mark.slow
def test_the_wheel_s_command_writes_a_desk(installed: Path, tmp_path: Path) -> None:
    assert "init" in run(installed, tmp_path, "tradekit", "--help")
    run(installed, tmp_path, "tradekit", "init", "desk")
    written = {path.relative_to(tmp_path / "desk").as_posix() for path in (tmp_path / "desk").rglob("*")}
    files = {name for name in written if (tmp_path / "desk" / name).is_file()}
    assert files == {".gitignore"} | {file.relative_to(REPOSITORY).as_posix() for file in desk_files(REPOSITORY, DESK)}
