"""What changed the exchange, in order, so that one that was killed comes back as it was."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from tradekit.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Store:
    """An append-only log of accepted requests. The venue is deterministic, so replaying them restores its state.

    Raises:
        SessionError: the file was written for other bars or settings, or is not such a log.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, kind TEXT, body TEXT)")
            opened = self._connection.execute("SELECT body FROM log WHERE kind = 'opened'").fetchone()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise SessionError(f"{path}: not an exchange log ({error}); move the file away") from error
        if opened is None:
            self.record("opened", fingerprint)
        elif json.loads(opened[0]) != fingerprint:
            self._connection.close()
            raise SessionError(
                f"{path}: belongs to a replay of other bars or settings; go on with those, or move it away"
            )

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
