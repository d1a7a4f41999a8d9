"""Cached machine code must not outlive the files it was made from, and threads of kernels are nobody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tradekit
from tradekit.market import jit, kernel, sweep

if TYPE_CHECKING:
    import pytest

FLOOR = "import sys; sys.path.insert(0, {folder!r}); from tradekit.market import kernel; print(kernel.place_lots(2.5))"


def test_every_kernel_watches_every_source() -> None:
    functions: Any = (kernel.settle, kernel.place_weight, kernel.advance, sweep._run_all)
    for function in functions:
        stamp = function._cache._cache_file._source_stamp
        assert stamp[1] == jit.sources_digest(), function
    here = Path(jit.__file__).parent
    assert all((here / name).is_file() for name in jit.SOURCES)


def test_a_change_in_one_file_recompiles_a_kernel_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the package; a kernel of one file calls a function of another, whose arithmetic then changes."""
    package = tmp_path / "tradekit"
    shutil.copytree(Path(tradekit.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    with (package / "market" / "kernel.py").open("a") as source:
        source.write("\n\n@compiled\ndef place_lots(quantity: float) -> float:\n    return floor_lots(quantity, 1.0)\n")
    assert floored(tmp_path) == 2.0
    pricing = package / "market" / "pricing.py"
    changed = pricing.read_text().replace("np.floor(units) / lots, quantity)", "np.ceil(units) / lots, quantity)")
    assert changed != pricing.read_text()
    pricing.write_text(changed)
    assert floored(tmp_path) == 3.0


def floored(folder: Path) -> float:
    code = FLOOR.format(folder=str(folder))
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder)
    return float(answer.stdout)


THREADS = """
import os, numpy as np, torch
from tests.panels import Table, random_panel
from tradekit import simulate
simulate(Table(0.1), random_panel(30, 2))
import numba
print(torch.get_num_threads(), numba.get_num_threads())
"""


def test_the_threads_of_kernels_are_not_torchs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They share OpenMP, which keeps one number of threads for whoever calls."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    answer = subprocess.run([sys.executable, "-c", THREADS], check=True, capture_output=True, text=True, cwd=repository)
    assert answer.stdout.split() == ["1", "2"]
