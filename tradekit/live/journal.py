"""The journal: what a session saw, decided, sent and got back. Append-only, hash-chained, one writer at a time.

An event is durable when ``batch`` returns: SQLite with a write-ahead log and synchronous=FULL. The hash of each event
covers the hash of the one before, so that no past line can change unnoticed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from tradekit.errors import SessionError
from tradekit.live.memory import Appended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self, TextIO

VERSION = 3

Kind = Literal[
    "session", "bar", "decision", "intent", "sent", "unknown", "ack", "event", "fill", "reconciliation", "halt", "end",
]  # fmt: skip
KINDS = get_args(Kind)

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
PRIMARY = 0xFF
"""Of the bits of an error code of SQLite, those that say what kind it is."""

SCHEMA = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, bar TEXT NOT NULL, body TEXT NOT NULL,
    written_at TEXT NOT NULL, hash TEXT NOT NULL
);
CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER event_stays BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
-- What the strategy remembers after its newest decision; the decision event holds its hash.
CREATE TABLE memory (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
-- Items of what it remembers in lists that only grow; the memory holds their hash.
CREATE TABLE appended (name TEXT, number INTEGER, body TEXT NOT NULL, PRIMARY KEY (name, number));
CREATE TRIGGER appended_is_final BEFORE UPDATE ON appended BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER appended_stays BEFORE DELETE ON appended BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class Event(NamedTuple):
    """One line of the journal. ``bar`` is the open of the bar it belongs to, empty for the session as a whole."""

    seq: int
    kind: Kind
    bar: str
    body: dict[str, Any]
    written_at: str
    hash: str


class Journal:
    """The one writer of a journal file. Use it as a context manager.

    Raises:
        SessionError: another process writes it, it is of another version, or its contents are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as stack:
            stack.enter_context(_lock(path))
            try:
                self._connection = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
                self._prepare()
                self._last = next(reversed(self.events()), None)
            except sqlite3.DatabaseError as error:
                raise _unreadable(path, error) from error
            self._held = stack.pop_all()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        empty = not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if empty:
            self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def events(self) -> list[Event]:
        """Return every event so far, read from the file; its writer does not keep them in memory.

        Raises:
            SessionError: the file was changed by somebody else.
        """
        return read_events(self.path, self._connection)

    @contextlib.contextmanager
    def batch(self) -> Iterator[Batch]:
        """Append several events as one: all of them are durable when the block ends, or none is.

        Raises:
            SessionError: the disk is full or cannot be written.
        """
        batch = Batch(self._last)
        yield batch
        if not batch.events and batch.memory is None:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            # Commits at the end of the block; rolls back on an exception, unless SQLite did so by itself.
            with self._connection:
                rows = [(*event[:3], dump(event.body), *event[4:]) for event in batch.events]
                self._connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", rows)
                if batch.memory is not None:
                    self._connection.execute("INSERT OR REPLACE INTO memory VALUES (1, ?)", (batch.memory,))
                    self._connection.executemany("INSERT INTO appended VALUES (?, ?, ?)", batch.appended)
        except sqlite3.Error as error:
            raise SessionError(
                f"{self.path}: cannot be written ({error}); free space there and start again to go on"
            ) from error
        self._last = batch.events[-1] if batch.events else self._last

    def append(self, kind: Kind, bar: str, body: dict[str, Any]) -> None:
        """Append one event; it is durable when this returns."""
        with self.batch() as batch:
            batch.add(kind, bar, body)

    def memory(self) -> tuple[str, list[Appended]] | None:
        """Return what the strategy remembered after its newest decision, as text, and the items of its lists."""
        row = self._connection.execute("SELECT body FROM memory").fetchone()
        items = self._connection.execute("SELECT name, number, body FROM appended ORDER BY name, number")
        return None if row is None else (str(row[0]), [Appended(*item) for item in items])


class Batch:
    """Events that become durable together."""

    def __init__(self, last: Event | None) -> None:
        self.events: list[Event] = []
        self.memory: str | None = None
        self.appended: list[Appended] = []
        self._seq, self._hash = (last.seq, last.hash) if last else (0, "")

    def add(self, kind: Kind, bar: str, body: dict[str, Any]) -> None:
        """Add one event."""
        self._seq += 1
        written_at = datetime.now(UTC).isoformat()
        self._hash = chained(self._hash, kind, bar, dump(body), written_at)
        self.events.append(Event(self._seq, kind, bar, body, written_at, self._hash))

    def remember(self, memory: str, appended: Sequence[Appended] = ()) -> None:
        """Replace what the strategy remembers, and add to its lists."""
        self.memory = memory
        self.appended += appended


def chained(previous: str, kind: str, bar: str, body: str, written_at: str) -> str:
    """Return the hash of an event that follows the one with hash ``previous``."""
    return hashlib.sha256(f"{previous}\x00{kind}\x00{bar}\x00{body}\x00{written_at}".encode()).hexdigest()


def dump(body: Any) -> str:
    """Return canonical JSON; floats keep every bit, NaN is an error."""
    return json.dumps(body, separators=(",", ":"), sort_keys=True, allow_nan=False)


def read_events(path: Path, connection: sqlite3.Connection | None = None) -> list[Event]:
    """Return every event of a journal, its chain checked. A journal that is being written can be read.

    Raises:
        SessionError: no such journal, another version, or damage.
    """
    if connection is None:
        if not path.is_file():
            raise SessionError(f"{path}: no such journal; start a session first")
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)) as reader:
            try:
                return read_events(path, reader)
            except sqlite3.DatabaseError as error:
                raise _unreadable(path, error) from error
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not version and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return []  # its writer has only just created it
    if version != VERSION:
        raise SessionError(
            f"{path}: a journal of version {version}, not {VERSION}; finish it with the tradekit that wrote it"
        )
    events: list[Event] = []
    previous = ""
    for seq, kind, bar, body, written_at, digest in connection.execute("SELECT * FROM event ORDER BY seq"):
        if seq != len(events) + 1 or digest != chained(previous, kind, bar, body, written_at):
            raise SessionError(f"{path}: event {seq} does not follow from the one before; it was damaged or edited")
        previous = digest
        events.append(Event(seq, kind, bar, json.loads(body), written_at, digest))
    return events


def is_running(path: Path) -> bool:
    """Return whether a process holds the journal open for writing."""
    try:
        _lock(path).close()
    except SessionError:
        return True
    return False


def writer_of(path: Path) -> int | None:
    """Return the process that holds the journal open for writing, None when there is none."""
    if not is_running(path):
        return None
    text = path.with_suffix(".lock").read_text(encoding="utf-8").strip()
    return int(text) if text.isdecimal() else None


def _lock(path: Path) -> TextIO:
    # A file of its own: closing any handle on the database itself would drop SQLite's locks. The kernel releases it
    # when the process dies, however it dies.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.with_suffix(".lock").open("a", encoding="utf-8")
    except OSError as error:
        raise SessionError(f"{path.parent}: cannot write journals here ({error.strerror})") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise SessionError(f"{path}: another session is writing it; stop that one or use another name") from error
    with contextlib.suppress(OSError):  # whose it is only helps whoever wants to stop it; a full disk is told later
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
    return handle


def _unreadable(path: Path, error: sqlite3.DatabaseError) -> SessionError:
    # SQLite needs to write beside a journal even to read one that was cut short; nothing is wrong with that one.
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & PRIMARY in DAMAGE:
        return SessionError(f"{path}: not a readable journal ({error}); move the file away to start anew")
    return SessionError(f"{path}: cannot be opened ({error}); see to space and rights there, and start again to go on")
