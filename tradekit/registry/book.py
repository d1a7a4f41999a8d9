"""The book that the registry's file holds: write runs and trials, freeze, count."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import DeskError
from tradekit.registry.file import RegistryFile
from tradekit.registry.process import this_process
from tradekit.registry.rows import Frozen, Result, RunRow, Status, Trial, run_row

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence


class Registry(RegistryFile):
    """The registry of one desk; a context manager that closes the file. See ``RegistryFile`` for what can fail."""

    # ------------------------------------------------------------------------------------------------------ writing

    def begin(
        self,
        kind: str,
        *,
        command: str,
        name: str,
        symbols: Sequence[str],
        trials: Sequence[Trial] = (),
        hashes: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> int:
        """Enter a run that begins now with the trials it will make, and freeze the set it is judged against.

        Args:
            kind: backtest, walk_forward, stress, train or tune.
            command: the command line.
            name: for people.
            symbols: of the run's bars; trials on any of them count.
            trials: what the run judges; those already known are not counted again.
            hashes: of ``spec``, ``data`` and ``costs``.
            versions: of the libraries that numbers depend on.

        Returns:
            the run's number.
        """
        with self._transaction():
            cursor = self._file.execute(
                "INSERT INTO runs"
                " (started, kind, command, name, hashes, versions, status, process, last_trial, universe)"
                " VALUES (?, ?, ?, ?, ?, ?, 'running', ?, 0, ?)",
                (
                    _now(),
                    kind,
                    command,
                    name,
                    _json(dict(hashes or {})),
                    _json(dict(versions or {})),
                    this_process(),
                    self._universe(symbols),
                ),
            )
            run = int(cursor.lastrowid or 0)
            self._add(run, trials)
            self._file.execute(
                "UPDATE runs SET last_trial = (SELECT coalesce(max(id), 0) FROM trials) WHERE id = ?", (run,)
            )
        return run

    def add(self, run: int, trial: Trial, result: Result | None = None) -> None:
        """Enter a trial that a running run made on its way, such as one try of a tuner, with what it measured."""
        with self._transaction():
            self._add(run, [trial])
            if result is not None:
                self._measure(run, {trial.key: result})

    def finish(
        self,
        run: int,
        status: Status = "done",
        *,
        folder: str | os.PathLike[str] | None = None,
        results: Mapping[str, Result] | None = None,
        metrics: Mapping[str, Mapping[str, float | None]] | None = None,
        note: str = "",
    ) -> None:
        """Enter how a run ended.

        Args:
            run: its number.
            status: done, failed or interrupted.
            folder: where its results are.
            results: by trial key; each of a trial that is known.
            metrics: by strategy, figures to compare runs by.
            note: why it failed.
        """
        with self._transaction():
            self._measure(run, results or {})
            self._file.execute(
                "UPDATE runs SET ended = ?, status = ?, folder = coalesce(?, folder), note = ?, metrics = ?"
                " WHERE id = ?",
                (
                    _now(),
                    status,
                    None if folder is None else os.fspath(folder),
                    note,
                    _json({name: dict(row) for name, row in (metrics or {}).items()}),
                    run,
                ),
            )

    def measure(self, run: int, results: Mapping[str, Result]) -> None:
        """Enter what a run measured of its trials, by trial key, before it ends."""
        with self._transaction():
            self._measure(run, results)

    # ------------------------------------------------------------------------------------------------------ reading

    def frozen(self, run: int) -> Frozen:
        """Return the trials that ``run`` is judged against: all there were when it began, on overlapping symbols.

        A candidate that was trained and also backtested counts once, as backtested.
        """
        with self._told():
            rows = self._scope(run)
        judged = {row["candidate"] for row in rows if row["kind"] == "backtest"}
        keys = tuple(row["key"] for row in rows if row["kind"] == "backtest" or row["candidate"] not in judged)
        return Frozen(keys)

    def sharpes(self, run: int, costs: str) -> dict[str, float]:
        """Return Sharpe ratios per bar of the run's frozen trials, by trial key, measured on its bars at ``costs``.

        Only those that can be compared: the same data hash and the same cost hash. The newest result of a trial counts,
        of those there were up to this run.
        """
        frozen = set(self.frozen(run).keys)
        with self._told():
            rows = self._file.execute(
                "SELECT trials.key, results.sharpe FROM results JOIN trials ON trials.id = results.trial"
                " WHERE trials.data = (SELECT json_extract(hashes, '$.data') FROM runs WHERE id = ?)"
                " AND results.costs = ? AND results.run <= ? AND results.sharpe IS NOT NULL ORDER BY results.id",
                (run, costs, run),
            ).fetchall()
        return {row["key"]: float(row["sharpe"]) for row in rows if row["key"] in frozen}

    def returns(self, run: int, costs: str) -> dict[str, str]:
        """Return where the returns of the trials in ``sharpes`` are kept, by trial key, of those kept anywhere."""
        known = self.sharpes(run, costs)
        with self._told():
            rows = self._file.execute(
                "SELECT trials.key, results.returns FROM results JOIN trials ON trials.id = results.trial"
                " WHERE results.costs = ? AND results.run <= ? AND results.returns IS NOT NULL ORDER BY results.id",
                (costs, run),
            ).fetchall()
        return {row["key"]: row["returns"] for row in rows if row["key"] in known}

    def runs(self, limit: int | None = None) -> list[RunRow]:
        """Return the runs, the newest first; at most ``limit``."""
        with self._told():
            rows = self._file.execute(
                "SELECT * FROM runs ORDER BY id DESC LIMIT ?", (-1 if limit is None else limit,)
            ).fetchall()
        return [run_row(row) for row in rows]

    def run(self, which: str | int) -> RunRow:
        """Return the run of a number, or whose folder is called ``which``.

        Raises:
            DeskError: there is none.
        """
        text = os.fspath(which) if not isinstance(which, int) else str(which)
        rows = self.runs()
        wanted = text.removeprefix("#").rstrip("/")
        for row in rows:
            if wanted == str(row.id) or (row.folder and wanted in (row.folder, Path(row.folder).name)):
                return row
        known = f"the newest is {rows[0].id}" if rows else "there are none yet"
        raise DeskError(f"no run {text!r} in {self.path}; {known}; list them with: tradekit runs")

    # ------------------------------------------------------------------------------------------------------- inside

    def _universe(self, symbols: Sequence[str]) -> int:
        text = _json(sorted(set(symbols)))
        self._file.execute("INSERT OR IGNORE INTO universes (symbols) VALUES (?)", (text,))
        (number,) = self._file.execute("SELECT id FROM universes WHERE symbols = ?", (text,)).fetchone()
        return int(number)

    def _add(self, run: int, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._file.execute(
                "INSERT OR IGNORE INTO trials (key, kind, name, candidate, data, universe, run)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (trial.key, trial.kind, trial.name, trial.candidate, trial.data, self._universe(trial.symbols), run),
            )

    def _measure(self, run: int, results: Mapping[str, Result]) -> None:
        for key, result in results.items():
            found = self._file.execute("SELECT id FROM trials WHERE key = ?", (key,)).fetchone()
            if found is None:
                raise KeyError(f"no trial {key}; begin the run with it, or add it")
            self._file.execute(
                "INSERT OR REPLACE INTO results (run, trial, costs, sharpe, bars, skew, kurtosis, returns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run, found["id"], *result),
            )

    def _scope(self, run: int) -> list[sqlite3.Row]:
        """Return the trials there were when ``run`` began on symbols that overlap its own."""
        about = self._file.execute(
            "SELECT last_trial, symbols FROM runs JOIN universes ON universes.id = runs.universe WHERE runs.id = ?",
            (run,),
        ).fetchone()
        if about is None:
            raise KeyError(f"no run {run}")
        mine = set(json.loads(about["symbols"]))
        universes = self._file.execute("SELECT id, symbols FROM universes").fetchall()
        near = [row["id"] for row in universes if mine & set(json.loads(row["symbols"]))]
        marks = ", ".join("?" * len(near))
        return self._file.execute(
            f"SELECT key, kind, candidate FROM trials WHERE id <= ? AND universe IN ({marks}) ORDER BY id",
            (about["last_trial"], *near),
        ).fetchall()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)
