"""The folder of a training run: how it began, what it measured, how it ended.

``run.json`` is written before the first step, ``summary.json`` after the last: a run folder without a summary is one
that can be gone on with.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tradekit.errors import DataError, DeskError
from tradekit.learn import metrics
from tradekit.learn.bundle import cannot_write
from tradekit.learn.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tradekit.market.panel import Panel

BEGUN, SUMMARY, CHECKPOINTS, BUNDLE = "run.json", "summary.json", "checkpoints", "bundle"
FORMAT = "tradekit-training-run"


def new_folder(folder: Path, *, stamped: bool) -> Path:
    """Make and return ``folder``, or a new folder in it named after the time.

    Raises:
        DeskError: it cannot be made.
    """
    made = folder / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f") if stamped else folder
    try:
        made.mkdir(parents=True, exist_ok=not stamped)
    except OSError as error:
        raise cannot_write(made, error) from error
    return made


def begin_run(folder: Path, recipe: Recipe, panel: Panel, loaded_from: Mapping[str, Any] | None) -> None:
    """Write how a run begins.

    Args:
        folder: of the run.
        recipe: as it will be used.
        panel: the bars.
        loaded_from: the arguments of ``load_panel`` that give them again; None: there are none.

    Raises:
        DeskError: the folder holds a run already, or cannot be written.
    """
    if (folder / BEGUN).exists():
        raise DeskError(f"{folder}: holds a training run already; give another folder, or go on with it by --resume")
    said = {
        "format": FORMAT,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": recipe.to_dict(),
        "loaded_from": None if loaded_from is None else dict(loaded_from),
        "data_hash": panel.content_hash,
        "source": panel.source,
    }
    _write(folder / BEGUN, said)


def begun(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe of a run that is not finished, and the arguments of ``load_panel`` for its bars.

    Raises:
        DeskError: there is no run, it is finished, or its bars came from nowhere that can be loaded.
    """
    said = _begun(folder)
    if (folder / SUMMARY).exists():
        raise DeskError(f"{folder}: this run has ended; there is nothing to go on with")
    if said["loaded_from"] is None:
        raise DeskError(f"{folder}: its bars were given by a program, and only that can go on with it")
    return Recipe.from_dict(said["recipe"]), said["loaded_from"]


def check_bars(folder: Path, panel: Panel) -> None:
    """Raise DataError unless ``panel`` is what the run began with."""
    if panel.content_hash != _begun(folder)["data_hash"]:
        raise DataError(
            f"{panel.source}: its bars are not those that {folder} began with; restore them, or begin a new run"
        )


def unfinished(runs: Path) -> Path:
    """Return the newest of the run folders in ``runs`` that has not ended.

    Raises:
        DeskError: there is none.
    """
    found = sorted(path.parent for path in runs.glob(f"*/{BEGUN}") if not (path.parent / SUMMARY).exists())
    if not found:
        raise DeskError(f"{runs}: no unfinished run to go on with; leave --resume out to begin one")
    return found[-1]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from training in ``folder``, as long as this one lives.

    Raises:
        DeskError: another one does.
    """
    with (folder / BEGUN).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeskError(f"{folder}: another process is training there; wait for it or stop it") from error
        yield


def write_metrics(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the table of all updates.

    Raises:
        DeskError: it cannot be written.
    """
    partial = folder / f".{metrics.FILE}"
    try:
        metrics.table_of(rows, partial)
        partial.replace(folder / metrics.FILE)
    except OSError as error:
        raise cannot_write(folder, error) from error


def write_summary(folder: Path, recipe: Recipe, said: Mapping[str, Any]) -> None:
    """Write how a run ended.

    Raises:
        DeskError: it cannot be written.
    """
    _write(folder / SUMMARY, {"name": recipe.name, "seed": recipe.seed, **plain(said), "recipe": recipe.to_dict()})


def write_plan(file: Path, said: Mapping[str, Any]) -> None:
    """Write what a folder of several runs is to hold.

    Raises:
        DeskError: it cannot be written.
    """
    _write(file, said)


def plain(value: Any) -> Any:
    """Return ``value`` with None for every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _begun(folder: Path) -> dict[str, Any]:
    file = folder / BEGUN
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeskError(f"{file}: no training run can be read there; leave --resume out to begin one") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise DeskError(f"{file}: not a training run of this version of tradekit; begin a new one")
    return said


def _write(file: Path, said: Mapping[str, Any]) -> None:
    """Write JSON under another name, force it to the disk and rename it."""
    partial = file.with_name(f".{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as handle:
            handle.write(json.dumps(said, indent=1, allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(file)
    except OSError as error:
        raise cannot_write(file.parent, error) from error
