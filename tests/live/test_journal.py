"""The journal: nothing past can change, nothing half-written counts, and one process writes at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tradekit.errors import SessionError
from tradekit.live.journal import Journal, is_running, read_events

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "one.sqlite"


def write(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("session", "", {"session": "one"})
        with journal.batch() as batch:
            batch.add("decision", "2022-01-03", {"weights": [0.1 + 0.2, 1e-300]})
            batch.add("intent", "2022-01-03", {"symbol": "S0"})
            batch.remember('{"trades":1}')


def decide(journal: Journal, intent: dict[str, object]) -> None:
    with journal.batch() as batch:
        batch.add("decision", "a", {})
        batch.add("intent", "a", intent)


def test_what_is_written_is_read_to_the_bit(path: Path) -> None:
    write(path)
    events = read_events(path)
    assert [(event.seq, event.kind, event.bar) for event in events] == [
        (1, "session", ""),
        (2, "decision", "2022-01-03"),
        (3, "intent", "2022-01-03"),
    ]
    assert events[1].body == {"weights": [0.1 + 0.2, 1e-300]}
    with Journal(path) as journal:
        assert journal.events() == events
        assert journal.memory() == ('{"trades":1}', [])
        journal.append("bar", "2022-01-04", {})
    assert [event.seq for event in read_events(path)] == [1, 2, 3, 4]


def test_it_is_durable_and_ahead_of_time(path: Path) -> None:
    with Journal(path) as journal:
        pragma = journal._connection.execute
        assert pragma("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert pragma("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_a_batch_is_all_or_nothing(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("session", "", {})
        wrong: list[dict[str, object]] = [{"quantity": float("nan")}, {"quantity": object()}]
        for second in wrong:
            with pytest.raises((TypeError, ValueError), match="JSON"):
                decide(journal, second)
        assert len(journal.events()) == 1
        journal.append("decision", "a", {})
    assert [event.kind for event in read_events(path)] == ["session", "decision"]


def test_a_full_disk_is_one_line_and_loses_nothing(path: Path) -> None:
    write(path)
    with Journal(path) as journal:
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(SessionError, match=r"one\.sqlite: cannot be written .*full.*start again"):
            journal.append("bar", "b", {"values": "x" * 100_000})
        journal._connection.execute("PRAGMA max_page_count = 100000")
        journal.append("bar", "b", {})
    assert [event.kind for event in read_events(path)][-2:] == ["intent", "bar"]


def test_it_is_append_only(path: Path) -> None:
    write(path)
    connection = sqlite3.connect(path)
    for change in ("UPDATE event SET body = '{}' WHERE seq = 2", "DELETE FROM event WHERE seq = 3"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change)
    connection.close()


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE event SET body = '{"weights":[0.5]}' WHERE seq = 2""",
        "UPDATE event SET bar = '2022-01-05' WHERE seq = 3",
        "UPDATE event SET kind = 'ack' WHERE seq = 3",
        "UPDATE event SET written_at = '' WHERE seq = 1",
        "DELETE FROM event WHERE seq = 2",
    ],
)
def test_whoever_forces_a_change_is_noticed(path: Path, change: str) -> None:
    write(path)
    connection = sqlite3.connect(path)
    connection.executescript(f"DROP TRIGGER event_is_final; DROP TRIGGER event_stays; {change};")
    connection.close()
    with pytest.raises(SessionError, match="damaged or edited"):
        read_events(path)
    with pytest.raises(SessionError, match="damaged or edited"):
        Journal(path)
    assert not is_running(path)


def test_damage_and_other_versions_are_one_line(path: Path) -> None:
    with pytest.raises(SessionError, match="no such journal"):
        read_events(path)
    write(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SessionError, match="version 99"):
        Journal(path)
    for leftover in path.parent.glob("one.sqlite-*"):
        leftover.unlink()
    path.write_bytes(b"no database" * 500)
    for look in (Journal, read_events):
        with pytest.raises(SessionError, match="not a readable journal") as caught:
            look(path)
        assert "\n" not in str(caught.value)


def test_one_writer_any_readers(path: Path) -> None:
    write(path)
    with Journal(path):
        assert is_running(path)
        with pytest.raises(SessionError, match="another session is writing it"):
            Journal(path)
        assert len(read_events(path)) == 3
    assert not is_running(path)


def test_a_killed_writer_leaves_the_lock_and_whole_events(path: Path) -> None:
    def die() -> None:
        journal = Journal(path)
        journal.append("session", "", {})
        with journal.batch() as batch:
            batch.add("decision", "a", {})
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with Journal(path) as journal:
        assert [event.kind for event in journal.events()] == ["session"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "journals").write_text("a file where the folder should be")
    with pytest.raises(SessionError, match="cannot write journals here"):
        Journal(tmp_path / "journals" / "one.sqlite")
