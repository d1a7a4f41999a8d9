"""The cells of a walk-forward: a fit per strategy, window and seed, as work that can be done anywhere and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tradekit.compute import Cell, Progress, Store, hash_of, run_cells
from tradekit.compute.store import code_hash
from tradekit.engine.copies import Fitted, fit, fresh
from tradekit.engine.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tradekit.compute import Outcome
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.windows import Refit, Window
    from tradekit.market.panel import Panel

LIBRARIES = ("numpy", "numba", "scipy", "scikit-learn", "skfolio", "torch", "stable-baselines3", "sb3-contrib")


@dataclass(frozen=True)
class Spread:
    """Where the cells of a run are worked on, and where finished ones are kept.

    Attributes:
        workers: processes; 1: this one.
        ray: address of a Ray cluster, or ``local``; None: processes.
        store: of finished cells; None: nothing is kept.
        identities: hash of a strategy's code and parameters, by name. A strategy without one is never kept: from the
            object alone nobody can tell whether its code has changed.
        progress: called with (done, in all, label).
        here_seconds: work in this process for so long before others are started.
    """

    workers: int = 1
    ray: str | None = None
    store: Store | None = None
    identities: Mapping[str, str] = field(default_factory=dict)
    progress: Progress | None = None
    here_seconds: float = 0.0

    def run(self, cells: Sequence[Cell], shared: Any) -> dict[str, Outcome]:
        """Run cells as this says."""
        return run_cells(
            cells,
            shared=shared,
            workers=self.workers,
            ray=self.ray,
            store=self.store,
            progress=self.progress,
            here_seconds=self.here_seconds,
        )

    def identity(self, strategy: AnyStrategy) -> str | None:
        """Return the hash of a strategy's code, parameters and seed, None where its code is not known."""
        known = self.identities.get(strategy.name)
        return None if known is None else hash_of(known, type(strategy).__name__, getattr(strategy, "seed", None))


def learner_of(strategy: AnyStrategy, refit: Refit) -> AnyStrategy:
    """Return what is fitted in the windows: a policy that can be trained afresh, if ``refit`` asks for it."""
    trains: Any = strategy
    return trains.refit() if refit != "frozen" and hasattr(trains, "refit") else strategy


def fit_cells(
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], refit: Refit, identity: str | None, tag: str = ""
) -> list[Cell]:
    """Return a cell for every window; its value is a ``Fitted``. The cells' shared argument is ``panel``.

    Args:
        strategy: to be fitted.
        panel: all bars.
        windows: of the walk-forward.
        refit: ``warm`` chains the cells of a strategy that can go on learning.
        identity: see ``Spread``.
        tag: tells cells of one name apart, such as by seed.
    """
    chained = refit == "warm" and hasattr(strategy, "fit_window")
    cells: list[Cell] = []
    for k, window in enumerate(windows):
        first = _first(strategy, window)
        before = cells[-1].key if chained and cells else None
        parts = ("fit", identity, panel[first : window.train_stop].content_hash, window.train_start - first, before)
        key = hash_of(*parts, versions_hash()) if identity else f"fit {strategy.name} {tag} {k}"
        cells.append(
            Cell(
                key,
                f"{strategy.name}{tag}, window {k + 1} of {len(windows)}",
                _fit,
                (strategy, window),
                after=() if before is None else (before,),
                keep=identity is not None,
            )
        )
    return cells


def _fit(panel: Panel, strategy: AnyStrategy, window: Window, before: tuple[Outcome, ...] = ()) -> Fitted:
    previous = before[0].value if before and before[0].failure is None else None
    return fit_in(panel, strategy, window, previous)


def fit_in(panel: Panel, strategy: Any, window: Window, previous: Fitted | None = None) -> Fitted:
    """Fit a copy of ``strategy`` in one window of ``panel``.

    A strategy with ``fit_window(bars, warm_up, previous)`` gets its ``history`` of bars before the train slice as well,
    ``warm_up`` of them, and the strategy of the window before if it is to go on from there.
    """
    if not hasattr(strategy, "fit_window"):
        return fit(strategy, panel[window.train_start : window.train_stop])
    copy: Any = fresh(strategy)
    first = _first(strategy, window)
    bars = panel[first : window.train_stop]
    return Fitted(copy.fit_window(bars, window.train_start - first, previous and previous.strategy), True)


def _first(strategy: Any, window: Window) -> int:
    """Return the row from which a strategy sees bars when it is fitted."""
    return max(0, window.train_start - int(getattr(strategy, "history", 0)))


def prepared_of(strategy: AnyStrategy, windows: Sequence[Window], outcomes: Sequence[Outcome]) -> Prepared:
    """Return ``strategy`` as its ``fit_cells`` left it: fitted in every window, and asked nothing yet."""
    fits: list[Fitted | None] = [None if one.failure is not None else one.value for one in outcomes]
    return Prepared(
        strategy,
        tuple(windows),
        tuple(None if one is None else one.strategy for one in fits),
        tuple(one.failure for one in outcomes),
        any(one is None or one.learnt for one in fits),
    )


@cache
def versions_hash() -> str:
    """Return a hash of tradekit's source and of the libraries that fits depend on."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return hash_of(code_hash(), *found)
