from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compute import jobs
from tradekit.compute import Cell, Outcome, Store, run_cells

TABLE = np.random.default_rng(5).normal(size=(120, 300))


def doubles(count: int = 6) -> list[Cell]:
    return [Cell(f"d{k}", f"double {k}", jobs.double, (k,)) for k in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_cell_is_answered_by_key(workers: int) -> None:
    assert run_cells(doubles(), workers=workers) == {f"d{k}": Outcome(2 * k) for k in range(6)}


def test_the_numbers_are_the_same_here_and_in_processes() -> None:
    cells = [Cell(str(k), "product", jobs.product, (k,)) for k in range(8)]
    here, there = run_cells(cells, shared=TABLE), run_cells(cells, shared=TABLE, workers=3)
    assert here == there
    assert len({one.value for one in here.values()}) == 8


def test_workers_map_the_shared_arrays_and_cannot_write_them() -> None:
    (outcome,) = run_cells([Cell("k", "k", jobs.is_mapped)], shared=TABLE, workers=2).values()
    assert outcome.value == (False, False)


def test_workers_use_one_thread() -> None:
    (outcome,) = run_cells([Cell("k", "k", jobs.threads)], workers=2).values()
    assert set(outcome.value) == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_raises_fails_alone_and_by_name(workers: int) -> None:
    cells = [*doubles(2), Cell("bad", "bad", jobs.fail, ("no\nsuch column",)), Cell("exit", "exit", jobs.leave)]
    outcomes = run_cells(cells, workers=workers)
    assert outcomes["bad"] == Outcome(failure="ValueError: no such column")
    assert outcomes["exit"] == Outcome(failure="SystemExit: 3")
    assert [outcomes[f"d{k}"].value for k in range(2)] == [0, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_cannot_be_pickled_fails_alone(workers: int) -> None:
    lock = Cell("lock", "lock", jobs.double, (threading.Lock(),))
    outcomes = run_cells([lock, Cell("sum", "sum", jobs.total, after=("lock", "d1")), *doubles(2)], workers=workers)
    assert str(outcomes["lock"].failure).startswith("it cannot be handed to a worker: TypeError: ")
    assert outcomes["sum"].value[1] == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_gets_the_outcomes_of_those_it_comes_after(workers: int) -> None:
    cells = [
        Cell("last", "last", jobs.total, after=("sum",)),
        Cell("sum", "sum", jobs.total, after=("d1", "bad", "d0")),
        *doubles(2),
        Cell("bad", "bad", jobs.fail, ("no",)),
    ]
    outcomes = run_cells(cells, workers=workers)
    assert outcomes["sum"].value == [2, "ValueError: no", 0]
    assert outcomes["last"].value == [[2, "ValueError: no", 0]]


@pytest.mark.parametrize("workers", [1, 2])
def test_cells_that_cannot_be_ordered_are_refused(workers: int) -> None:
    ring = [Cell("a", "a", jobs.total, after=("b",)), Cell("b", "b", jobs.total, after=("a",))]
    with pytest.raises(ValueError, match="waits for itself"):
        run_cells([*doubles(2), *ring], workers=workers)
    with pytest.raises(ValueError, match="comes after x, which is no cell"):
        run_cells([Cell("a", "a", jobs.total, after=("x",))], workers=workers)
    with pytest.raises(ValueError, match="two cells share a key"):
        run_cells([*doubles(2), *doubles(2)], workers=workers)


def test_a_function_of_a_file_that_workers_cannot_import_is_carried_along() -> None:
    scope: dict[str, Any] = {}
    exec("def triple(number):\n    return 3 * number", scope)
    assert run_cells([Cell("t", "t", scope["triple"], (4,))], workers=2)["t"].value == 12


def test_a_cell_whose_process_is_killed_is_tried_again(tmp_path: Path) -> None:
    cells = [Cell("k", "k", jobs.die_until, (str(tmp_path), 2)), *doubles()]
    outcomes = run_cells(cells, workers=2, retries=2)
    assert outcomes["k"] == Outcome(2)
    assert all(outcomes[f"d{k}"].value == 2 * k for k in range(6))


def test_one_that_kills_its_process_every_time_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    cells = [Cell("k", "k", jobs.die_until, (str(tmp_path), 99)), *doubles()]
    outcomes = run_cells(cells, workers=2, retries=1)
    assert outcomes["k"] == Outcome(failure="its process died 2 times; perhaps memory ran out")
    assert all(outcomes[f"d{k}"].value == 2 * k for k in range(6))
    assert len(list(tmp_path.iterdir())) >= 2


def test_progress_counts_to_the_end() -> None:
    told: list[tuple[int, int, str]] = []
    run_cells(doubles(3), progress=lambda *step: told.append(step))
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[0] == (0, 3, "")
    assert told[-1] == (3, 3, "double 2")


def test_finished_cells_are_taken_from_the_store(tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    cells = [Cell(name, name, jobs.note, (str(traces), name)) for name in "abc"]
    store = Store(tmp_path / "store")
    run_cells(cells[:2], store=store)
    outcomes = run_cells(cells, store=store)
    assert {key: (one.value, one.kept) for key, one in outcomes.items()} == {
        "a": ("a", True),
        "b": ("b", True),
        "c": ("c", False),
    }
    assert len(list(traces.iterdir())) == 3


def test_a_failure_and_what_is_not_to_be_kept_are_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cells = [Cell("bad", "bad", jobs.fail, ("no",)), Cell("now", "now", jobs.double, (1,), keep=False)]
    for _ in range(2):
        outcomes = run_cells(cells, store=store)
        assert outcomes["bad"].failure
        assert not outcomes["now"].kept


KILLED = """
import sys
from tests.compute import jobs
from tradekit.compute import Cell, Store, run_cells
if __name__ == "__main__":
    traces, folder = sys.argv[1:]
    times = {"a": 0.0, "b": 0.0, "slow": 60.0}
    cells = [Cell(name, name, jobs.note, (traces, name, seconds)) for name, seconds in times.items()]
    run_cells(cells, workers=2, store=Store(folder), progress=lambda done, total, label: print(done, flush=True))
"""


def _started(tmp_path: Path, repository: Path) -> subprocess.Popen[str]:
    """Start the script above and return when two of its cells are finished."""
    (tmp_path / "script.py").write_text(KILLED)
    (tmp_path / "traces").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = [sys.executable, "script.py", "traces", "store"]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    while running.stdout.readline() != "2\n":
        assert running.poll() is None
    return running


def _wait_until_no_worker_is_left(tmp_path: Path) -> None:
    """Workers sit in the folder that their parent was started in."""
    until = time.monotonic() + 20.0
    while time.monotonic() < until:
        here = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _folder(entry) == tmp_path]
        if not here:
            return
        time.sleep(0.1)
    pytest.fail(f"processes {here} are left")


def _folder(process: Path) -> Path | None:
    try:
        return (process / "cwd").readlink()
    except OSError:
        return None


def test_after_sigkill_finished_cells_are_there_and_no_worker_is_left(tmp_path: Path, repository: Path) -> None:
    with _started(tmp_path, repository) as running:
        running.kill()
    _wait_until_no_worker_is_left(tmp_path)
    cells = [Cell(name, name, jobs.note, (str(tmp_path / "traces"), name)) for name in ("a", "b", "slow")]
    outcomes = run_cells(cells, store=Store(tmp_path / "store"))
    assert [outcomes[name].kept for name in ("a", "b", "slow")] == [True, True, False]


def test_ctrl_c_ends_at_once_and_leaves_no_worker(tmp_path: Path, repository: Path) -> None:
    with _started(tmp_path, repository) as running:
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
    assert said.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert said.count("Traceback") == 1
    _wait_until_no_worker_is_left(tmp_path)


def test_short_work_starts_no_process_and_long_work_does() -> None:
    quick = [Cell(str(k), "where", jobs.where) for k in range(4)]
    assert {one.value for one in run_cells(quick, workers=2, here_seconds=60.0).values()} == {os.getpid()}
    slow = [Cell(str(k), "where", jobs.where, (0.2,)) for k in range(4)]
    places = [one.value for one in run_cells(slow, workers=2, here_seconds=0.1).values()]
    assert places[0] == os.getpid()
    assert os.getpid() not in places[1:]
