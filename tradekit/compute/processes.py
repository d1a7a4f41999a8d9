"""Cells over processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tradekit.compute.shared import SharedCopy, read_shared
from tradekit.compute.work import Answer, Lost, settle_in, work

if TYPE_CHECKING:
    from pathlib import Path

_held: list[Any] = [None]


def _arrive(folder: Path | None) -> None:
    """Begin a worker: it leaves Ctrl+C to its parent, ends when its parent does, and reads the shared data once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle_in()
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    _held[0] = None if folder is None else read_shared(folder)


def _end_with_parent(folder: Path | None) -> None:
    """Leave nothing behind when the parent is killed: no worker, no copy of the data."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _work(payload: bytes) -> Answer:
    return work(_held[0], payload)


@dataclass
class _Worker:
    """A pool of one process: when it breaks, there is no doubt which cell it was running."""

    folder: Path | None
    pool: ProcessPoolExecutor = field(init=False)
    pid: Future[int] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start a process; a broken one is let go of."""
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=_arrive, initargs=(self.folder,))
        self.pid = self.pool.submit(os.getpid)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self.pid.result(), signal.SIGKILL)  # one that is still starting is waited for
        self.pool.shutdown(wait=True, cancel_futures=True)


class Processes:
    """Workers in processes of their own, started afresh (spawn): nothing of the parent's state is in them.

    Args:
        workers: how many.
        shared: first argument of every call, or None.
        retries: further tries of a cell whose process died.
    """

    def __init__(self, workers: int, shared: Any, retries: int) -> None:
        self._copy = None if shared is None else SharedCopy(shared)
        self._retries = retries
        self._running: dict[Future[Answer], tuple[_Worker, str, bytes, int]] = {}
        folder = None if self._copy is None else self._copy.folder
        self._idle = [_Worker(folder) for _ in range(workers)]
        self._all = list(self._idle)

    def free(self) -> bool:
        """Return whether a worker is idle."""
        return bool(self._idle)

    def submit(self, key: str, payload: bytes) -> None:
        """Give a call to an idle worker."""
        self._give(self._idle.pop(), key, payload, 1)

    def wait(self) -> list[tuple[str, Answer | Lost]]:
        """Return what ended; a cell whose process died is given out again, or named when that has been tried enough."""
        ended: list[tuple[str, Answer | Lost]] = []
        while not ended:
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                worker, key, payload, tries = self._running.pop(future)
                if not isinstance(error := future.exception(), BrokenProcessPool):
                    if error is not None:
                        raise error
                    ended.append((key, future.result()))
                    self._idle.append(worker)
                    continue
                worker.close()
                worker.start()
                if tries <= self._retries:
                    self._give(worker, key, payload, tries + 1)
                else:
                    ended.append((key, Lost(f"its process died {tries} times; perhaps memory ran out")))
                    self._idle.append(worker)
        return ended

    def close(self) -> None:
        """End every worker and remove the shared copy."""
        for worker in self._all:
            worker.close()
        if self._copy is not None:
            self._copy.close()

    def _give(self, worker: _Worker, key: str, payload: bytes, tries: int) -> None:
        try:
            future = worker.pool.submit(_work, payload)
        except BrokenProcessPool:  # it died while it had nothing to do
            worker.close()
            worker.start()
            future = worker.pool.submit(_work, payload)
        self._running[future] = (worker, key, payload, tries)
