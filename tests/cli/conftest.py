"""Run the command line as a user does, and a desk to run it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from tradekit.cli import main
from tradekit.desk.scaffold import init_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Answer(NamedTuple):
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: nothing else may be on it."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of error that a user's mistake is answered with."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert self.err.splitlines()[-1] == line
        assert "Traceback" not in self.err
        return line.removeprefix("error: ")


@pytest.fixture
def tradekit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs ``tradekit`` in this process, through ``main``."""

    def run(*arguments: object, cwd: Path | None = None) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tradekit", *map(str, arguments)])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Answer(left.value.code, said.out, said.err)

    return run


@pytest.fixture
def process(repository: Path) -> Callable[..., Answer]:
    """Return a function that runs ``tradekit`` as a process of its own."""

    def run(*arguments: object, cwd: Path) -> Answer:
        command = [sys.executable, "-m", "tradekit", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a fresh desk whose specs run in a moment: two symbols, two years, no strategy that needs a policy."""
    root = tmp_path / "desk"
    init_desk(root)
    (root / "strategies" / "symbol_ppo.py").unlink(missing_ok=True)
    prices(root / "prices.csv", 500)
    data = '[data]\nsource = "prices.csv"\n[windows]\ntrain_sessions = 250\ntest_sessions = 60\n'
    (root / "backtests" / "walk_forward.toml").write_text(data)
    scenarios = "".join(
        f'[[scenarios]]\nname = "{name}"\nkind = "{kind}"\n{rest}\n'
        for name, kind, rest in (
            ("base", "base", ""),
            ("costs x2", "costs", "cost_shock = 2.0"),
            ("fall", "replay", 'start = "2021-07-01"\nend = "2021-09-01"'),
            ("crash", "replay", 'start = "1929-10-01"\nend = "1929-11-30"'),
        )
    )
    (root / "backtests" / "stress.toml").write_text(data + scenarios)
    return root


def prices(path: Path, bars: int, symbols: tuple[str, ...] = ("AAA", "BBB")) -> Path:
    """Write a csv of daily random walks."""
    rng = np.random.default_rng(7)
    dates = np.busday_offset("2020-01-02", np.arange(bars), roll="forward")
    lines = ["timestamp,symbol,open,high,low,close,volume"]
    for symbol in symbols:
        close = 50.0 * np.exp(np.cumsum(rng.normal(0.0005, 0.01, bars)))
        opens = close * np.exp(rng.normal(0.0, 0.003, bars))
        for date, o, c in zip(dates, opens, close, strict=True):
            lines.append(f"{date},{symbol},{o},{max(o, c) * 1.001},{min(o, c) * 0.999},{c},100000")
    path.write_text("\n".join(lines) + "\n")
    return path
