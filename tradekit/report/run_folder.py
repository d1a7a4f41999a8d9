"""The run folder: what a run leaves on disk, written whole or not at all, and rebuilt from its own tables.

manifest.json and the tables of ``parquet.names_of`` are the record. summary.json, summary.md, report.html,
trades.parquet and the figures are functions of it, so that rebuilding them gives the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import platform
import shutil
import tempfile
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import DeskError
from tradekit.report.html import report_html, styles_of
from tradekit.report.parquet import names_of, read_tables, write_tables, write_trades
from tradekit.report.pictures import FOLDER, write_pictures
from tradekit.report.record import Record, record_of
from tradekit.report.summary import SCHEMA, summary_of, to_json
from tradekit.report.text import summary_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tradekit.engine.stress import Stress
    from tradekit.engine.walk_forward import WalkForward
    from tradekit.report.other_trials import OtherTrial

LIBRARIES = ("tradekit", "numpy", "numba", "pandas", "pyarrow", "scikit-learn", "skfolio", "torch")
MANIFEST, SUMMARY, MARKDOWN, PAGE = "manifest.json", "summary.json", "summary.md", "report.html"


def write_run(
    result: WalkForward | Stress,
    folder: str | Path,
    *,
    command: str,
    file_hashes: dict[str, str],
    created: str,
    seeds: Sequence[int] = (),
    bundle_hashes: dict[str, str] | None = None,
    action_names: Sequence[str] = (),
    action_reasons: Sequence[str] = (),
    trials: dict[str, Any] | None = None,
    others: Sequence[OtherTrial] = (),
) -> Path:
    """Write everything a run leaves behind and return the folder.

    Args:
        result: of ``walk_forward``, ``cross_validate`` or ``stress``.
        folder: to create; its parents too.
        command: the command line that made the run.
        file_hashes: SHA-256 of each strategy's file, by strategy name.
        created: when, as ISO 8601; the one field in which two runs of the same inputs differ.
        seeds: used by the run.
        bundle_hashes: SHA-256 of each policy's bundle, by strategy name.
        action_names: names of the policies' action ids, in order.
        action_reasons: names of the reasons for which another action was executed, in order; the first is none.
        trials: the set the run is judged against, frozen when it began: ``count`` and what else identifies it. None:
            the run's own strategies are all there is.
        others: trials of earlier runs on the same bars at the same costs; see ``other_trials``.

    Raises:
        DeskError: the folder exists, or cannot be written; nothing is left behind then.
    """
    run = {
        "command": command,
        "created": created,
        "seeds": list(seeds),
        "file_hashes": file_hashes,
        "bundle_hashes": bundle_hashes or {},
        "action_names": list(action_names),
        "action_reasons": list(action_reasons),
        "trials": trials,
        "versions": versions(),
    }
    record = record_of(result, run).beside(others)
    with _new_folder(Path(folder)) as partial:
        write_tables(record, partial)
        digests = {f"{name}.parquet": _digest(partial / f"{name}.parquet") for name in names_of(record)}
        manifest = {"schema": SCHEMA, **record.manifest, "digests": digests}
        (partial / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
        # Of what was written, not of what is in memory: so that a rebuild cannot differ.
        _write_views(read_run(partial), partial)
    return Path(folder)


def read_run(folder: str | Path) -> Record:
    """Return the record of a run folder.

    Raises:
        DeskError: it is no run folder, or a file in it is missing or was changed.
    """
    folder = Path(folder)
    manifest = _read_json(folder / MANIFEST)
    if manifest.get("schema") != SCHEMA:
        raise DeskError(f"{folder / MANIFEST}: schema is {manifest.get('schema')!r}, this version reads {SCHEMA!r}")
    for name, digest in manifest["digests"].items():
        if not (folder / name).is_file():
            raise DeskError(f"{folder / name} is missing; the run cannot be rebuilt, run it again")
        if _digest(folder / name) != digest:
            raise DeskError(f"{folder / name} was changed after the run; restore it or run again")
    return read_tables(manifest, folder)


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Return summary.json of a run folder.

    Raises:
        DeskError: it is no run folder.
    """
    return _read_json(Path(folder) / SUMMARY)


def rebuild(folder: str | Path) -> Path:
    """Write summary, page, trades and figures of a run folder afresh from its tables; return the page.

    Raises:
        DeskError: as in ``read_run``, or the folder cannot be written.
    """
    folder = Path(folder)
    record = read_run(folder)
    with tempfile.TemporaryDirectory(prefix=".rebuild-", dir=_writable(folder)) as partial:
        try:
            _write_views(record, Path(partial))
            shutil.rmtree(folder / FOLDER, ignore_errors=True)
            for view in Path(partial).iterdir():
                view.replace(folder / view.name)
        except OSError as error:
            raise _unwritable(folder, error) from error
    return folder / PAGE


def versions() -> dict[str, str]:
    """Return the version of Python and of each library that numbers depend on, of those that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_views(record: Record, folder: Path) -> None:
    summary = summary_of(record)
    (folder / SUMMARY).write_text(to_json(summary), encoding="utf-8")
    (folder / MARKDOWN).write_text(summary_markdown(summary), encoding="utf-8")
    (folder / PAGE).write_text(report_html(summary, record), encoding="utf-8")
    write_trades(record.orders, folder)
    write_pictures(summary, record, styles_of(summary), folder)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside ``folder`` to fill, and rename it when that went well; remove it when it did not."""
    if folder.exists():
        raise DeskError(f"{folder} exists already; name another folder, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield partial
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _writable(folder: Path) -> Path:
    """Return ``folder`` if a file can be made in it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> DeskError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    mend = "free some space there or name another folder" if full else "name a folder that can be written"
    return DeskError(f"cannot write the run to {folder}: {error.strerror or error}; {mend}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeskError(f"{path.parent} is no run folder: {path.name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DeskError(f"{path.parent} is no run folder: {path.name} holds no table")
    return content


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
