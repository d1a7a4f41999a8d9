"""The SQLite file of the registry: opened, made, locked, and every way in which it can fail said in one line."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tradekit.errors import DeskError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Self

VERSION = 1
APPLICATION = 0x7472_646B  # "trdk", in the header of the file
PATIENCE_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE universes (id INTEGER PRIMARY KEY, symbols TEXT NOT NULL UNIQUE);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL, ended TEXT, kind TEXT NOT NULL, command TEXT NOT NULL,
    name TEXT NOT NULL, folder TEXT, hashes TEXT NOT NULL, versions TEXT NOT NULL, status TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '', metrics TEXT NOT NULL DEFAULT '{}', process TEXT NOT NULL,
    last_trial INTEGER NOT NULL, universe INTEGER NOT NULL REFERENCES universes (id));
CREATE TABLE trials (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL,
    candidate TEXT NOT NULL, data TEXT NOT NULL, universe INTEGER NOT NULL REFERENCES universes (id),
    run INTEGER NOT NULL REFERENCES runs (id));
CREATE TABLE results (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run INTEGER NOT NULL REFERENCES runs (id),
    trial INTEGER NOT NULL REFERENCES trials (id), costs TEXT NOT NULL, sharpe REAL, bars INTEGER NOT NULL,
    skew REAL, kurtosis REAL, returns TEXT, UNIQUE (run, trial));
CREATE INDEX results_of_trial ON results (trial);
"""


class RegistryFile:
    """The open file; a context manager that closes it.

    Args:
        path: of the SQLite file, made when missing.

    Raises:
        DeskError: the file is damaged, is something else, was written by a newer version, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=PATIENCE_SECONDS, isolation_level=None)
        try:
            with self._told():
                self._prepare()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _prepare(self) -> None:
        self._file.row_factory = sqlite3.Row
        self._file.execute("PRAGMA foreign_keys = ON")
        version = self._demand_ours()
        if version == 0:
            self._write_ahead()
            with self._transaction():
                if self._demand_ours() == 0:  # else another process was quicker
                    for statement in _SCHEMA.strip().split(";\n"):
                        self._file.execute(statement)
                    self._file.execute(f"PRAGMA application_id = {APPLICATION}")
                    self._file.execute(f"PRAGMA user_version = {VERSION}")

    def _write_ahead(self) -> None:
        """Readers do not wait for writers then. Where the file system cannot, SQLite keeps its older, slower way."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._file.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:  # SQLite does not wait for this one by itself
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _demand_ours(self) -> int:
        """Return the schema version, 0 of an empty file.

        Raises:
            DeskError: another program's file, or a newer version's.
        """
        # In one statement, hence of one moment: another process may just be making the file.
        application, version, tables = self._file.execute(
            "SELECT (SELECT * FROM pragma_application_id), (SELECT * FROM pragma_user_version),"
            " (SELECT count(*) FROM sqlite_master)"
        ).fetchone()
        if (tables or application or version) and application != APPLICATION:
            raise DeskError(f"{self.path}: not a registry of tradekit; move that file away, and a new registry begins")
        if version > VERSION:
            raise DeskError(
                f"{self.path}: written by a newer tradekit (schema {version}, this one reads {VERSION}); "
                "update tradekit"
            )
        return int(version)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in one line what SQLite could not do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                why = f"another process has held it for {PATIENCE_SECONDS:g} s; try again when that has ended"
            else:
                why = f"cannot be used ({error}); mend its permissions, or free some space there"
            raise DeskError(f"{self.path}: {why}") from error
        except sqlite3.DatabaseError as error:
            raise DeskError(
                f"{self.path}: damaged ({error}); restore it, or move it away and a new registry begins"
            ) from error
        except OSError as error:
            raise DeskError(f"{self.path}: cannot be used ({error.strerror}); mend its permissions") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._told():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")
