"""Where a training run in another process stands: a small file in its folder, and who reads it.

The same folder tells the run when to put itself away, so that one Ctrl+C reaches every run, wherever it trains.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradekit.learn.run import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Watched = Callable[[str, int, int, dict[str, Any]], None]

STANDING, STOP = ".standing.json", ".stop"
SECONDS_BETWEEN_WRITES, SECONDS_BETWEEN_LOOKS = 0.5, 0.25


class Standing:
    """Writes how far a run has come, now and then; called as ``train`` calls back.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._partial = folder / STANDING, folder / f"{STANDING}.part"
        self._written = -SECONDS_BETWEEN_WRITES

    def __call__(self, done: int, total: int, figures: dict[str, Any]) -> None:
        """Write, if it is time to. A full disk is told where it matters, at a checkpoint."""
        now = time.monotonic()
        if now - self._written < SECONDS_BETWEEN_WRITES and done < total:
            return
        self._written = now
        with contextlib.suppress(OSError):
            self._partial.write_text(json.dumps([done, total, plain(figures)]), encoding="utf-8")
            self._partial.replace(self._file)


@dataclass
class Watching:
    """Reads how far several runs have come, in a thread of its own, until it is left.

    Attributes:
        folders: of the runs, by label; those that do not exist yet are waited for.
        watched: called with (label, steps done, in all, newest figures) when a run got further.
        stop: asked whether the runs are to be put away.
        flag: the file that tells them.
    """

    folders: Mapping[str, Path]
    watched: Watched | None
    stop: Callable[[], bool] | None
    flag: Path
    _seen: dict[str, str] = field(default_factory=dict)
    _left: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watching:
        self.flag.unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        self.flag.unlink(missing_ok=True)
        for folder in self.folders.values():
            (folder / STANDING).unlink(missing_ok=True)

    def _watch(self) -> None:
        while not self._left.wait(SECONDS_BETWEEN_LOOKS):
            self.look()
        self.look()

    def look(self) -> None:
        """Pass on what is new, and the wish to stop."""
        if self.stop is not None and self.stop() and not self.flag.exists():
            self.flag.touch()
        for label, folder in self.folders.items():
            with contextlib.suppress(OSError):
                text = (folder / STANDING).read_text(encoding="utf-8")
                if self.watched is not None and self._seen.get(label) != text:
                    self._seen[label] = text
                    done, total, figures = json.loads(text)
                    self.watched(label, done, total, {k: v for k, v in figures.items() if v is not None})
