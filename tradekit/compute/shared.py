"""One copy of the data for all workers of a machine: a file that each maps into its memory."""

from __future__ import annotations

import mmap
import pickle
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cloudpickle

_HEAD, _BUFFERS = "object", "buffers"


class SharedCopy:
    """An object written once for other processes to read; its arrays are read-only there.

    Arrays leave the pickle (PEP 574) and lie one after another in a file. The folder is private to the user and goes
    away with ``close``.
    """

    def __init__(self, value: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tradekit-shared-"))
        buffers: list[pickle.PickleBuffer] = []
        head = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        sizes = []
        with (self.folder / _BUFFERS).open("wb") as file:
            for buffer in buffers:
                raw = buffer.raw()
                file.write(raw)
                file.write(b"\0" * (-len(raw) % 64))  # arrays begin where vector instructions like them to
                sizes.append(len(raw))
        (self.folder / _HEAD).write_bytes(pickle.dumps((sizes, head)))

    def close(self) -> None:
        """Remove the files; processes that mapped them keep what they have."""
        shutil.rmtree(self.folder, ignore_errors=True)


def read_shared(folder: Path) -> Any:
    """Return the object of a ``SharedCopy``, its arrays mapped and read-only."""
    sizes, head = pickle.loads((folder / _HEAD).read_bytes())  # noqa: S301 - of the parent process, in a private folder
    if not sum(sizes):
        return pickle.loads(head, buffers=[b""] * len(sizes))  # noqa: S301
    with (folder / _BUFFERS).open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    views, at = [], 0
    for size in sizes:
        views.append(mapped[at : at + size])
        at += size + -size % 64
    return pickle.loads(head, buffers=views)  # noqa: S301
