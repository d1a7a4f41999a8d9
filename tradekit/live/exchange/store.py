"""What changed the exchange, in order, so that one that was killed comes back as it was."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from tradekit.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_SECONDS = 2.0


class Store:
    """An append-only log of accepted requests. The venue is deterministic, so replaying them restores its state.

    A file that is missing or empty becomes a new log. What has been recorded survives the death of the process; the
    last records may not survive that of the machine, which a replay does not need.

    Raises:
        SessionError: the file cannot be opened, is in use, was written for other bars or settings, or is no such log.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SessionError(f"{path}: cannot be opened ({error}); name a file in a folder of yours") from error
        try:
            opened = self._open(path)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise SessionError(f"{path}: {_reason(error)}") from error
        except SessionError:
            self._connection.close()
            raise
        if opened is None:
            self.record("opened", fingerprint)
        elif json.loads(opened[0]) != fingerprint:
            self._connection.close()
            raise SessionError(
                f"{path}: belongs to a replay of other bars or settings; go on with those, or move it away"
            )

    def _open(self, path: Path) -> tuple[str] | None:
        """Take the file for this process alone and return the line it was opened with, None when it is new."""
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables - {"log"}:
            raise SessionError(f"{path}: a database of something else ({min(tables)}); name another file")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("BEGIN EXCLUSIVE")
        self._connection.execute("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, kind TEXT, body TEXT)")
        self._connection.execute("COMMIT")
        found: tuple[str] | None = self._connection.execute("SELECT body FROM log WHERE kind = 'opened'").fetchone()
        return found

    def record(self, kind: str, body: Any) -> None:
        """Append one change."""
        text = json.dumps(body, default=str)
        self._connection.execute("INSERT INTO log (kind, body) VALUES (?, ?)", (kind, text))

    def changes(self) -> Iterator[tuple[str, Any]]:
        """Yield every recorded change, oldest first."""
        for kind, body in self._connection.execute("SELECT kind, body FROM log WHERE kind != 'opened' ORDER BY seq"):
            yield kind, json.loads(body)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()


def _reason(error: sqlite3.DatabaseError) -> str:
    if "locked" in str(error):
        return "in use by another exchange; stop that one, or name another file"
    return f"not an exchange log ({error}); move the file away"
