"""Checkpoints: everything that a training run has to remember, in folders that are there whole or not at all.

A checkpoint is a folder named after its step: ``weights.safetensors`` (actor and critic), ``state.safetensors``
(optimiser, random generators, environments, and what guards remember as arrays), ``metrics.parquet`` (the rows so far)
and ``checkpoint.json`` (counters, what guards remember as numbers, and the SHA-256 of the other files). Nothing is
pickled. It is written under another name, forced to the disk and renamed, so that a process that is killed at any
moment leaves the checkpoint before it or the new one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from tradekit.errors import DeskError
from tradekit.learn.metrics import rows_of, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

FORMAT, VERSION = "tradekit-training-checkpoint", 1
MANIFEST, WEIGHTS, STATE, METRICS = "checkpoint.json", "weights.safetensors", "state.safetensors", "metrics.parquet"
# Folders that are being written; a killed process leaves one behind, which the next one removes.
_UNFINISHED = ".unfinished-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training run after an update.

    Attributes:
        step: environment steps taken.
        rank: of the judgement at this step, the better the greater; None: it was not judged.
        weights: actor and critic.
        arrays: the rest that is arrays.
        numbers: the rest, as JSON holds it.
        rows: the metrics so far.
    """

    step: int
    rank: tuple[bool, float] | None
    weights: Arrays
    arrays: Arrays
    numbers: dict[str, Any]
    rows: list[dict[str, Any]]


class Store:
    """The checkpoints of a run.

    Args:
        folder: they are in, one folder for each.
        best: how many of the judged ones are kept, besides the newest.
    """

    def __init__(self, folder: Path, best: int) -> None:
        self.folder, self._best = folder, best

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint`` and remove those that are neither among the best nor the newest.

        Raises:
            DeskError: it cannot be written; those before it are as they were.
        """
        made = self.folder / f"{checkpoint.step:012d}"
        if made.exists():  # resumed here, and interrupted again before the next update: nothing has changed
            return made
        contents = _contents(checkpoint)
        partial = self.folder / f"{_UNFINISHED}{made.name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            _write(partial, contents)
            partial.rename(made)
            _force(self.folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise _unwritable(made, error) from error
        self._prune()
        return made

    def newest(self) -> Checkpoint | None:
        """Return the checkpoint of the greatest step, None when there is none.

        Raises:
            DeskError: it was changed, or is of another version.
        """
        steps = self._steps()
        return read_checkpoint(self.folder / steps[-1]) if steps else None

    def best(self) -> Checkpoint | None:
        """Return the checkpoint that was judged best, the earliest of equals; None when none was judged.

        Raises:
            DeskError: it was changed, or is of another version.
        """
        ranked = self._ranked()
        return read_checkpoint(self.folder / ranked[0]) if ranked else None

    def _steps(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if path.name.isdigit())

    def _ranked(self) -> list[str]:
        """Return the judged checkpoints, the best first."""
        ranks = {name: _manifest(self.folder / name)["rank"] for name in self._steps()}
        judged = [name for name, rank in ranks.items() if rank is not None]
        return sorted(judged, key=lambda name: _rank(ranks[name]) or (False, 0.0), reverse=True)

    def _prune(self) -> None:
        kept = {self._steps()[-1], *self._ranked()[: self._best]}
        for name in self._steps():
            if name not in kept:
                gone = self.folder / f"{_UNFINISHED}{name}"
                (self.folder / name).rename(gone)  # in one step, so that no half of it is ever taken for a whole
                shutil.rmtree(gone)

    def _sweep(self) -> None:
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and check the checkpoint in ``folder``.

    Raises:
        DeskError: a file is missing, was changed, or is of a version that this one does not read.
    """
    said = _manifest(folder)
    contents = {}
    for name, digest in said["files"].items():
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise DeskError(f"{folder / name}: cannot be read ({error.strerror}); remove {folder}") from error
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise DeskError(f"{folder / name}: its bytes are not those that {MANIFEST} names; remove {folder}")
    try:
        weights, arrays = load(contents[WEIGHTS]), load(contents[STATE])
        rows = rows_of(io.BytesIO(contents[METRICS]))
    except (KeyError, SafetensorError) as error:
        raise DeskError(f"{folder}: lacks a part of a checkpoint ({error}); remove it") from error
    return Checkpoint(said["step"], _rank(said["rank"]), weights, arrays, said["numbers"], rows)


def _contents(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Return the bytes of each file, the manifest last."""
    rows = io.BytesIO()
    table_of(checkpoint.rows, rows)
    contents = {WEIGHTS: save(checkpoint.weights), STATE: save(checkpoint.arrays), METRICS: rows.getvalue()}
    rank = checkpoint.rank
    said = {
        "format": FORMAT,
        "version": VERSION,
        "step": checkpoint.step,
        # A Sharpe ratio that is not defined ranks as minus infinity, which JSON cannot hold.
        "rank": None if rank is None else [rank[0], rank[1] if rank[1] > -float("inf") else None],
        "numbers": checkpoint.numbers,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    return {**contents, MANIFEST: (json.dumps(said, indent=1, allow_nan=False) + "\n").encode()}


def _rank(said: list[Any] | None) -> tuple[bool, float] | None:
    if said is None:
        return None
    return bool(said[0]), -float("inf") if said[1] is None else float(said[1])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeskError(f"{folder / MANIFEST}: no checkpoint can be read there ({error}); remove {folder}") from error
    if not isinstance(said, dict) or (said.get("format"), said.get("version")) != (FORMAT, VERSION):
        raise DeskError(f"{folder / MANIFEST}: not a checkpoint of this version of tradekit; train again")
    return said


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files to a new folder and force them and the folder to the disk."""
    folder.mkdir()
    for name, content in contents.items():
        with (folder / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _force(folder)


def _force(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(where: Path, error: OSError) -> DeskError:
    mend = "free some space" if error.errno in _FULL else "mend its permissions"
    return DeskError(
        f"{where}: cannot write the checkpoint ({error.strerror}); {mend}, then go on from the one before with --resume"
    )
