"""Checkpoints: read back to the bit, there whole or not at all, and the best of them kept."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tradekit.errors import DeskError
from tradekit.learn.checkpoint import STATE, Checkpoint, Store, read_checkpoint


def checkpoint(step: int, rank: tuple[bool, float] | None = None) -> Checkpoint:
    """Return a checkpoint whose contents follow from its step."""
    rng = np.random.default_rng(step)
    arrays = {
        "lanes/flags": rng.random(5) < 0.5,
        "lanes/bar": rng.integers(0, 2**62, 4),
        "optimiser/0.step": np.array(step, np.float32),
        "generator": rng.integers(0, 2**32, 624, dtype=np.uint32),
        "nothing": np.zeros((0, 3)),
        "nan": np.array([np.nan, np.inf, -0.0]),
    }
    rows = [{"step": 512, "kl": 0.1}, {"step": step, "validation_sharpe": 1.0 / 3.0}]
    return Checkpoint(
        step, rank, {"w": rng.normal(size=(7, 3)).astype(np.float32)}, arrays, {"seconds": 0.1 + step}, rows
    )


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    arrays = all(
        mine.dtype == other.arrays[name].dtype
        and mine.shape == other.arrays[name].shape
        and mine.tobytes() == other.arrays[name].tobytes()
        for name, mine in one.arrays.items()
    )
    said = (one.step, one.rank, one.numbers, one.rows) == (other.step, other.rank, other.numbers, other.rows)
    return arrays and said and one.weights["w"].tobytes() == other.weights["w"].tobytes()


@pytest.mark.parametrize("rank", [None, (True, 0.1 + 0.2), (False, -math.inf)])
def test_it_is_read_back_to_the_bit(tmp_path: Path, rank: tuple[bool, float] | None) -> None:
    kept = checkpoint(1024, rank)
    assert equal(read_checkpoint(Store(tmp_path, 3).save(kept)), kept)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    folder = Store(tmp_path, 3).save(checkpoint(1))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json", ".parquet"}


def test_the_best_and_the_newest_are_kept(tmp_path: Path) -> None:
    """Those that invest come before those that hardly do; of equals, the earlier."""
    store = Store(tmp_path, 2)
    assert store.newest() is None
    assert store.best() is None
    ranks = {1: (False, 9.0), 2: (True, 0.5), 3: None, 4: (True, 0.5), 5: (True, -1.0), 6: None}
    for step, rank in ranks.items():
        store.save(checkpoint(step, rank))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{step:012d}" for step in (2, 4, 6)]
    newest, best = store.newest(), store.best()
    assert newest is not None
    assert best is not None
    assert (newest.step, best.step) == (6, 2)


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    folder = Store(tmp_path, 3).save(checkpoint(1))
    content = bytearray((folder / STATE).read_bytes())
    content[-1] ^= 1
    (folder / STATE).write_bytes(content)
    with pytest.raises(
        DeskError, match=r"state.safetensors: its bytes are not those that checkpoint.json names; remove"
    ):
        read_checkpoint(folder)
    (folder / STATE).unlink()
    with pytest.raises(DeskError, match=r"state.safetensors: cannot be read \(No such file or directory\); remove"):
        read_checkpoint(folder)
    said = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps(said | {"version": 99}))
    with pytest.raises(DeskError, match="not a checkpoint of this version of tradekit"):
        read_checkpoint(folder)
    (folder / "checkpoint.json").write_text("{")
    with pytest.raises(DeskError, match="no checkpoint can be read there"):
        read_checkpoint(folder)


# A process that forks others; the n-th kills itself before the n-th thing that the writer asks of the system.
DYING = """
    import os, pathlib, shutil, signal, sys
    from pathlib import Path
    from tests.learn.test_checkpoint import checkpoint
    from tradekit.learn.checkpoint import Store

    count = fatal = 0

    def dying(call):
        def wrapped(*args, **kwargs):
            global count
            count += 1
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return wrapped

    def write(folder):
        for name in ("open", "close", "fsync", "mkdir", "rename", "rmdir", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
        for name in ("open", "mkdir", "rename"):
            setattr(pathlib.Path, name, dying(getattr(pathlib.Path, name)))
        shutil.rmtree = dying(shutil.rmtree)
        store = Store(folder, 1)
        for step, rank in ((1, (True, 0.1)), (2, (True, 0.2)), (3, None)):
            store.save(checkpoint(step, rank))

    status = None
    while status != 0:
        fatal += 1
        child = os.fork()
        if not child:
            write(Path(sys.argv[1]) / str(fatal))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status)
"""


@pytest.mark.slow
def test_a_kill_at_any_boundary_leaves_a_checkpoint(tmp_path: Path) -> None:
    """The newest one is whole, it is the one before or the new one, and the next process goes on from there."""
    statuses = [int(line) for line in script(DYING, tmp_path).stdout.split()]
    assert statuses == [-signal.SIGKILL] * (len(statuses) - 1) + [0]
    assert len(statuses) > 40
    ranks = {1: (True, 0.1), 2: (True, 0.2), 3: None}
    reached = []
    for fatal in range(1, len(statuses) + 1):
        store = Store(tmp_path / str(fatal), 1)
        newest, best = store.newest(), store.best()
        step = 0 if newest is None else newest.step
        reached.append(step)
        if newest is not None:
            assert equal(newest, checkpoint(step, ranks[step]))
            assert best is not None
            assert best.step == min(step, 2)
        store.save(checkpoint(5))
        assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]
    assert reached == sorted(reached)
    assert set(reached) == {0, 1, 2, 3}


FULL = """
    import resource, signal, sys
    from pathlib import Path
    from tests.learn.test_checkpoint import checkpoint
    from tradekit.learn.checkpoint import Store

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        Store(Path(sys.argv[1]), 3).save(checkpoint(2))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("room", [0, 100, 2000])
def test_no_room_for_it_leaves_the_one_before(tmp_path: Path, room: int) -> None:
    """The kernel refuses to write on: with a limit on file sizes here, with a full disk elsewhere."""
    Store(tmp_path, 3).save(checkpoint(1))
    done = script(FULL, tmp_path, str(room))
    where = tmp_path / "000000000002"
    assert done.stdout.strip() == (
        f"DeskError {where}: cannot write the checkpoint (File too large); free some space, then go on from the one "
        "before with --resume"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001"]
    newest = Store(tmp_path, 3).newest()
    assert newest is not None
    assert equal(newest, checkpoint(1))


def script(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
