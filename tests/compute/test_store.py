from __future__ import annotations

import os
import pickle
import resource
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from tradekit.compute import Store, hash_of
from tradekit.compute.store import MISSING
from tradekit.errors import DeskError

if TYPE_CHECKING:
    from pathlib import Path

FIVE = pickle.dumps(5)


def files(store: Store) -> list[Path]:
    return [path for path in store.folder.rglob("*") if path.is_file()]


def test_what_was_put_is_got_again_by_its_key_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    store.put("a", FIVE)
    assert Store(tmp_path / "cells").get("a") == 5
    assert store.get("b") is MISSING


class Bomb:
    """Its pickle leaves a trace when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.trace), 0o777)


def test_nothing_is_unpickled_that_another_user_wrote_or_somebody_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, bomb = tmp_path / "trace", pickle.dumps(Bomb(tmp_path / "trace"))
    store = Store(tmp_path / "cells")
    store.put("a", FIVE)
    (path,) = files(store)
    whole = path.read_bytes()
    for forged in (whole[:32] + bomb, bomb, b"", whole[:-1]):
        path.write_bytes(forged)
        assert store.get("a") is MISSING
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    Store(tmp_path / "cells").put("a", bomb)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert Store(tmp_path / "cells").get("a") is MISSING
    assert not trace.exists()


def test_a_cell_moved_to_another_key_does_not_verify(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    store.put("a", FIVE)
    store.put("b", pickle.dumps(6))
    one, other = files(store)
    other.write_bytes(one.read_bytes())
    assert sum(store.get(key) is MISSING for key in "ab") == 1


def test_the_secret_is_the_user_s_alone_and_lies_outside_the_store(tmp_path: Path, state_home: Path) -> None:
    Store(tmp_path / "cells")
    secret = state_home / "tradekit" / "cells.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_bytes()) == 32
    assert [path.name for path in secret.parent.iterdir()] == ["cells.key"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeskError, match="file: cannot keep results there"):
        Store(tmp_path / "file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeskError, match=r"cells\.key: cannot be written .* set XDG_STATE_HOME"):
        Store(tmp_path / "cells")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(DeskError, match=r"cannot keep results there .* free some space"):
            store.put("a", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(store) == []


def test_pruning_removes_what_was_not_used_for_longest(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells", most_bytes=5000)
    for k in range(6):
        store.put(str(k), pickle.dumps(b"x" * 1000))
    for age, path in enumerate(sorted(files(store), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (age, age))
    store.get("0")
    assert store.prune() == 2
    assert [k for k in range(6) if store.get(str(k)) is not MISSING] == [0, 3, 4, 5]


def test_no_two_lists_of_parts_run_together() -> None:
    assert (
        len(
            {hash_of("a", "bc"), hash_of("ab", "c"), hash_of("abc"), hash_of("a", "bc", None), hash_of(1), hash_of("1")}
        )
        == 6
    )
    assert hash_of(1.5, b"x") == hash_of(1.5, b"x")
