"""Finished cells on disk, by key.

A result is a pickle, since a fitted strategy is an object, and unpickling runs code. So each file begins with an
HMAC-SHA256 over its key and its content, under a secret of the user's that lies outside every desk and is never
copied with one. What somebody else wrote, or what was damaged, does not verify and counts as absent.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pickle
import secrets
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import DeskError

if TYPE_CHECKING:
    from collections.abc import Iterable

MISSING = object()
"""What ``Store.get`` answers where there is nothing."""

MOST_BYTES = 2 * 1024**3
_MAC_BYTES = hashlib.sha256().digest_size


class Store:
    """A folder of finished cells.

    Args:
        folder: made when missing.
        most_bytes: beyond this, ``prune`` removes what was not used for longest.

    Raises:
        DeskError: the folder or the user's secret cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = Path(folder), most_bytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        self._secret = _secret()

    def get(self, key: str) -> Any:
        """Return the value kept under ``key``, MISSING where there is none that this user wrote and nobody changed."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return MISSING
        mac, pickled = content[:_MAC_BYTES], content[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(key, pickled)):
            return MISSING
        with contextlib.suppress(OSError):
            os.utime(path)  # used: pruned later than what was not
        try:
            return pickle.loads(pickled)  # noqa: S301 - this user's own, see above
        except Exception:  # noqa: BLE001 - written under another version of some class: work it out again
            return MISSING

    def put(self, key: str, pickled: bytes) -> None:
        """Keep a pickled value under ``key``, whole or not at all.

        Raises:
            DeskError: the folder cannot be written.
        """
        path = self._path(key)
        partial = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(prefix=".", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(self._mac(key, pickled) + pickled)
            Path(partial).replace(path)
        except OSError as error:
            if partial is not None:
                Path(partial).unlink(missing_ok=True)
            raise _unwritable(self.folder, error) from error

    def prune(self) -> int:
        """Remove the cells unused for longest until at most ``most_bytes`` are left; return how many went."""
        found = []
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                about = path.stat()
                found.append((about.st_mtime, about.st_size, path))
        over, removed = sum(size for _, size, _ in found) - self.most_bytes, 0
        for _, size, path in sorted(found):
            if over <= 0:
                break
            path.unlink(missing_ok=True)
            over, removed = over - size, removed + 1
        return removed

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / name[:2] / name[2:]

    def _mac(self, key: str, pickled: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + b"\0" + pickled, "sha256")


def hash_of(*parts: str | bytes | int | float | None) -> str:
    """Return a SHA-256 over ``parts`` in order, each with its type and length, so that no two lists run together.

    >>> hash_of("a", "bc") == hash_of("ab", "c")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(f"{type(part).__name__} {len(raw)}:".encode() + raw)
    return digest.hexdigest()


@cache
def code_hash() -> str:
    """Return a SHA-256 over tradekit's own source: a changed library is another result."""
    root = Path(__file__).resolve().parent.parent
    return _hash_of_files(root, sorted(root.rglob("*.py")))


def _hash_of_files(root: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.parts[len(root.parts)] not in ("cli", "report", "live", "testing"):  # no result comes from there
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _secret() -> bytes:
    """Return the user's secret, made on first use: $XDG_STATE_HOME/tradekit/cells.key, by default in ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(home).expanduser() / "tradekit" / "cells.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            handle, partial = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_MAC_BYTES))
            with contextlib.suppress(FileExistsError):  # another process was quicker
                os.link(partial, path)
            Path(partial).unlink()
        return path.read_bytes()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise DeskError(
            f"{path}: cannot be written ({why}); finished work is signed with it, so set XDG_STATE_HOME to a folder "
            "that can be written"
        ) from error


def _unwritable(folder: Path, error: OSError) -> DeskError:
    return DeskError(f"{folder}: cannot keep results there ({error.strerror}); free some space or mend its permissions")
