"""What the README and the docs show is run: shell blocks in a fresh folder, python blocks as doctests."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_readme_commands(tmp_path: Path) -> None:
    commands = blocks(REPOSITORY / "README.md", "sh")
    assert commands, "the README shows no commands"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "set -euxo pipefail\n" + "".join(commands)
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, f"{run.stdout[-2000:]}\n{run.stderr[-4000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks(page: Path) -> None:
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(page, "python"), start=1):
        title = f"{page.name}, python block {number}"
        if ">>>" not in block:
            exec(compile(block, title, "exec"), names)
            continue
        example = doctest.DocTestParser().get_doctest(block, names, title, str(page), 0)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        said: list[str] = []
        runner.run(example, out=said.append, clear_globs=False)
        assert not said, "".join(said)
        names = example.globs


def test_make_targets_exist() -> None:
    shown = set(re.findall(r"\bmake ([a-z]+)\b", "".join(page.read_text(encoding="utf-8") for page in PAGES)))
    known = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"setup", "demo", "test", "check"} <= shown
    assert shown <= known


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
