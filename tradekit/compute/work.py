"""What happens to a cell where it runs."""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from tradekit.errors import TradekitError

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Answer(NamedTuple):
    """A cell that ran: its pickled value, or why it raised."""

    pickled: bytes
    failure: str | None = None

    def value(self) -> Any:
        """Return the value. It was pickled by a worker of this run, or checked by the store."""
        return pickle.loads(self.pickled)  # noqa: S301


class Lost(NamedTuple):
    """A cell that never answered, however often it was tried."""

    why: str


def work(shared: Any, payload: bytes) -> Answer:
    """Run a pickled call and return what it answered or raised. Foreign code may raise anything."""
    call, args, named, with_shared = pickle.loads(payload)  # noqa: S301 - written by the process that started this one
    try:
        value = call(shared, *args, **named) if with_shared else call(*args, **named)
        return Answer(cloudpickle.dumps(value))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to whoever asked for the cell
        return Answer(b"", one_line(error))


def one_line(error: BaseException) -> str:
    """Return an exception in one line: what a user is told in full, and its type where it was not made for users."""
    text = " ".join(str(error).split())
    if isinstance(error, TradekitError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def one_thread() -> Iterator[None]:
    """Let numeric libraries that are loaded use one thread: sums split over several add up in another order."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    with threadpool_limits(1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None and before is not None:
                torch.set_num_threads(before)


def settle_in() -> None:
    """Prepare a process that does nothing but run cells: one thread for every library, loaded or not."""
    for name in THREADS:
        os.environ[name] = "1"
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
