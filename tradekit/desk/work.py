"""How the work of a run is spread and kept on a desk."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from tradekit.compute import Store, hash_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.desk.folder import Desk
    from tradekit.desk.loader import LoadedStrategy

# Until work has taken this long, it is not worth starting other processes for the rest.
HERE_SECONDS = 2.0
MODULE_PREFIX = "tradekit_strategy_"


@dataclass(frozen=True)
class Work:
    """Options of a run that change nothing in its numbers, but for the seeds.

    Attributes:
        seeds: each strategy that draws is run under each; none: under its own.
        workers: processes; None: as many as there are processors, if the work is long enough.
        ray: address of a Ray cluster, or ``local``, instead.
        fresh: take nothing from earlier runs.
    """

    seeds: tuple[int, ...] = ()
    workers: int | None = None
    ray: str | None = None
    fresh: bool = False

    def settings(self, desk: Desk, loaded: Sequence[LoadedStrategy]) -> dict[str, Any]:
        """Return the arguments ``workers``, ``ray``, ``store`` and ``identities`` of the engine.

        Raises:
            DeskError: finished work cannot be kept on this desk.
        """
        carry_along()
        return {
            "workers": processors() if self.workers is None else self.workers,
            "ray": self.ray,
            "store": None if self.fresh else opened(desk),
            "identities": {one.strategy.name: identity(desk, one) for one in loaded},
        }

    @property
    def here_seconds(self) -> float:
        """Seconds of work in this process before others are started; 0 where a number of them was asked for."""
        return HERE_SECONDS if self.workers is None else 0.0


_LIBRARY = Path(__file__).resolve().parent.parent


def opened(desk: Desk) -> Store:
    """Return the desk's store of finished work, pruned.

    Raises:
        DeskError: it cannot be written.
    """
    store = Store(desk.cells)
    store.prune()
    return store


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def carry_along() -> None:
    """Send classes of strategy files with their code: a worker cannot import a module that was loaded by path."""
    for name, module in list(sys.modules.items()):
        if name.startswith(MODULE_PREFIX):
            cloudpickle.register_pickle_by_value(module)


def identity(desk: Desk, one: LoadedStrategy) -> str:
    """Return a hash of whatever decides what a strategy does: its file, what it loaded, and the desk's own modules.

    A strategy that reads other files says what it made of them in an attribute ``identity``; policies do.
    """
    return hash_of(one.file_hash, one.strategy.name, str(getattr(one.strategy, "identity", "")), _modules(desk))


def _modules(desk: Desk) -> str:
    """Return a hash of the modules that were imported from the desk's folders, other than tradekit's own."""
    digest = hashlib.sha256()
    for name in sorted(sys.modules):
        file = getattr(sys.modules[name], "__file__", None)
        path = None if file is None else Path(file)
        if path is None or not path.is_relative_to(desk.root) or path.is_relative_to(_LIBRARY):
            continue
        if name.startswith(MODULE_PREFIX) or "site-packages" in path.parts or not path.is_file():
            continue
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
