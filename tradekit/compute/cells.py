"""Cells and the loop that runs them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import cloudpickle

from tradekit.compute.store import MISSING
from tradekit.compute.work import Answer, Lost, one_line, one_thread, work

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tradekit.compute.store import Store

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cell:
    """A piece of work.

    Attributes:
        key: unique in a run. In a store it stands for the result, so that it must be a hash of everything the result
            depends on: code, parameters, data, seed.
        label: for people.
        call: a function; cloudpickle carries it and ``args`` to where it runs.
        args: its arguments, after ``shared`` where the run has such.
        after: keys of cells whose outcomes it needs; they come as the argument ``before``, a tuple in this order. A
            cell runs even if one of them failed, and sees that.
        keep: False: never put into the store.
    """

    key: str
    label: str
    call: Callable[..., Any]
    args: tuple[Any, ...] = ()
    after: tuple[str, ...] = ()
    keep: bool = True


class Outcome(NamedTuple):
    """How a cell ended: its value, or why it has none, in one line.

    kept: the value was in the store already.
    """

    value: Any = None
    failure: str | None = None
    kept: bool = False


class Executor(Protocol):
    """Somewhere to run cells."""

    def free(self) -> bool:
        """Return whether it can take another one now."""

    def submit(self, key: str, payload: bytes) -> None:
        """Take a pickled call."""

    def wait(self) -> list[tuple[str, Answer | Lost]]:
        """Return what ended, at least one, after waiting for it."""

    def close(self) -> None:
        """Drop what is running and let go of every process."""


def run_cells(
    cells: Sequence[Cell],
    *,
    shared: Any = None,
    workers: int = 1,
    ray: str | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
    retries: int = 2,
    here_seconds: float = 0.0,
) -> dict[str, Outcome]:
    """Run every cell and return how each ended, by key.

    Results are the same wherever cells run: each in one thread, from arguments that were pickled. A cell that raises
    fails alone. One whose process dies, or whose machine leaves the cluster, is tried again elsewhere.

    Args:
        cells: in the order in which they are to start.
        shared: a first argument of every call, such as the bars; it is handed to each worker once, and where it holds
            arrays they are mapped into memory, not copied.
        workers: processes; 1: in this one. A script that asks for more needs ``if __name__ == "__main__":``.
        ray: address of a Ray cluster, or ``local`` for one on this machine, instead of ``workers``.
        store: where finished cells are kept and looked up.
        progress: called with (done, in all, label of what was started or ended last).
        retries: further tries of a cell whose process died.
        here_seconds: run cells in this process for so long before others are started for what is left: they cost half
            a second each.

    Raises:
        ConfigError: Ray is not installed, or its cluster cannot be reached.
        DeskError: the store cannot be written.
        KeyboardInterrupt: as it came; workers are gone by then.
    """
    run = _Run(list(cells), store, progress)
    if not run.unfinished():
        return run.outcomes
    alone = ray is None and workers <= 1
    if alone or (ray is None and here_seconds > 0.0):
        with one_thread():
            run.here(shared, math.inf if alone else here_seconds)
    left = len(cells) - len(run.outcomes)
    if not left:
        return run.outcomes
    executor = _executor(shared, min(workers, left), ray, retries)
    with contextlib.closing(executor):
        run.over(executor, with_shared=shared is not None)
    return run.outcomes


def _executor(shared: Any, workers: int, ray: str | None, retries: int) -> Executor:
    if ray is None:
        from tradekit.compute.processes import Processes

        return Processes(workers, shared, retries)
    from tradekit.compute.cluster import Cluster

    return Cluster(ray, shared, retries)


@dataclass
class _Run:
    """The state of one call of ``run_cells``."""

    cells: list[Cell]
    store: Store | None
    progress: Progress | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = {cell.key: cell for cell in self.cells}
        if len(self.known) < len(self.cells):
            raise ValueError("two cells share a key")
        for cell in self.cells:
            if unknown := [key for key in cell.after if key not in self.known]:
                raise ValueError(f"{cell.label} comes after {unknown[0]}, which is no cell of this run")

    def unfinished(self) -> bool:
        """Take from the store what is there, and return whether anything is left to do."""
        for cell in self.cells if self.store is not None else ():
            if cell.keep and self.store is not None and (value := self.store.get(cell.key)) is not MISSING:
                self.outcomes[cell.key] = Outcome(value, kept=True)
        self.tell("")
        return len(self.outcomes) < len(self.cells)

    def here(self, shared: Any, seconds: float) -> None:
        """Run what is left in this process, or as much of it as is begun within ``seconds``."""
        until = time.monotonic() + seconds
        for cell in self._in_order():
            if time.monotonic() >= until:
                return
            self.tell(cell.label)
            payload = self._payload(cell, shared is not None)
            if payload is not None:
                self._settle(cell, work(shared, payload))

    def over(self, executor: Executor, with_shared: bool) -> None:
        """Run what is left on ``executor``."""
        queue = _Queue([cell for cell in self.cells if cell.key not in self.outcomes], set(self.outcomes))
        running = 0
        while len(queue) or running:
            while queue.ready and executor.free():
                cell = queue.ready.popleft()
                payload = self._payload(cell, with_shared)
                if payload is None:
                    queue.ended(cell.key)
                    continue
                executor.submit(cell.key, payload)
                running += 1
                self.tell(cell.label)
            queue.demand_progress(running)
            for key, answer in executor.wait() if running else ():
                running -= 1
                self._settle(self.known[key], answer)
                queue.ended(key)

    def tell(self, label: str) -> None:
        """Report progress."""
        if self.progress is not None:
            self.progress(len(self.outcomes), len(self.cells), label)

    def _in_order(self) -> Iterator[Cell]:
        """Yield the unfinished cells, each after those it needs."""
        queue = _Queue([cell for cell in self.cells if cell.key not in self.outcomes], set(self.outcomes))
        while len(queue):
            queue.demand_progress(0)
            cell = queue.ready.popleft()
            yield cell
            queue.ended(cell.key)

    def _payload(self, cell: Cell, with_shared: bool) -> bytes | None:
        """Return a cell as a worker takes it; None, and it has failed, when it cannot be pickled."""
        before = tuple(self.outcomes[key] for key in cell.after)
        named = {"before": before} if cell.after else {}
        try:
            payload: bytes = cloudpickle.dumps((cell.call, cell.args, named, with_shared))
        except Exception as error:  # noqa: BLE001 - pickling runs foreign code, which may raise anything
            self._settle(cell, Lost(f"it cannot be handed to a worker: {one_line(error)}"))
            return None
        return payload

    def _settle(self, cell: Cell, answer: Answer | Lost) -> None:
        if isinstance(answer, Lost):
            outcome = Outcome(failure=answer.why)
        elif answer.failure is not None:
            outcome = Outcome(failure=answer.failure)
        else:
            outcome = Outcome(answer.value())
            if cell.keep and self.store is not None:
                self.store.put(cell.key, answer.pickled)
        self.outcomes[cell.key] = outcome
        self.tell(cell.label)


class _Queue:
    """Cells that have not begun: those that could, and those that wait for others."""

    def __init__(self, cells: Sequence[Cell], done: set[str]) -> None:
        self.ready: deque[Cell] = deque()
        self._needs: dict[str, int] = {}
        self._waiting: dict[str, list[Cell]] = {}
        for cell in cells:
            needed = {key for key in cell.after if key not in done}
            self._needs[cell.key] = len(needed)
            for key in needed:
                self._waiting.setdefault(key, []).append(cell)
            if not needed:
                self.ready.append(cell)
        self._blocked = sum(1 for count in self._needs.values() if count)

    def __len__(self) -> int:
        return len(self.ready) + self._blocked

    def ended(self, key: str) -> None:
        """Let go of the cells that waited for ``key`` alone."""
        for cell in self._waiting.pop(key, ()):
            self._needs[cell.key] -= 1
            if not self._needs[cell.key]:
                self._blocked -= 1
                self.ready.appendleft(cell)  # what was begun is finished first

    def demand_progress(self, running: int) -> None:
        """Raise ValueError when nothing runs and nothing can begin: cells that wait for each other."""
        if not running and not self.ready and self._blocked:
            stuck = next(cell for cells in self._waiting.values() for cell in cells)
            raise ValueError(f"{stuck.label} waits for itself")
