"""Combinatorial purged splits: which bars are held out, which are learnt from, and what a fit is shown of them.

Bars are cut into ``groups`` of as many sessions; every choice of ``held_out`` of them is a split that learns from the
others. Each group is held out in phi = C(groups, held_out) held_out / groups splits, so that the held-out pieces make
up phi paths of all bars. López de Prado (2018), Advances in Financial Machine Learning, 7.4 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import comb
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from tradekit.errors import ConfigError, demand_known
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Panel

Refit = Literal["frozen", "each"]
Rows = tuple[int, int]
"""Rows ``first <= t < stop`` of a panel."""

MOST_SPLITS = 5_000


class Split(NamedTuple):
    """One choice of groups.

    held_out: their numbers, ascending; paths: the path that each of them is a part of; pieces: the rows that are
    learnt from, run by run.
    """

    held_out: tuple[int, ...]
    paths: tuple[int, ...]
    pieces: tuple[Rows, ...]


class Folds(NamedTuple):
    """How a panel is cut: rows of each group, and the splits."""

    groups: tuple[Rows, ...]
    splits: tuple[Split, ...]

    @property
    def paths(self) -> int:
        """How many paths the held-out pieces make up."""
        return 1 + max(path for split in self.splits for path in split.paths)

    def split_of(self, path: int, group: int) -> int:
        """Return the number of the split whose held-out ``group`` is a part of ``path``."""
        return next(
            k for k, one in enumerate(self.splits) if (group, path) in zip(one.held_out, one.paths, strict=True)
        )

    @property
    def least_purged_bars(self) -> int:
        """The fewest bars dropped before a held-out group; all bars where nothing is ever learnt from before one."""
        starts = [first for first, _ in self.groups]
        gaps = [
            starts[group] - stop
            for split in self.splits
            for _, stop in split.pieces
            if (group := min((g for g in split.held_out if starts[g] >= stop), default=None)) is not None
        ]
        return min(gaps, default=self.groups[-1][1])


@dataclass(frozen=True)
class Combinatorial:
    """How bars are cut for combinatorial purged cross-validation, counted in sessions.

    Attributes:
        groups: of as many sessions each; the last has what is left over.
        held_out: groups that a split is judged on.
        purge_sessions: sessions that are not learnt from on both sides of every held-out group: as many as labels reach
            ahead, so that no label and no held-out return share a bar.
        embargo_sessions: further sessions after every held-out group, where serial correlation would leak.
        refit: what becomes of trained policies: ``frozen`` as they are, or trained by their recipe on ``each`` split.

    Raises:
        ConfigError: a value out of range, or more than ``MOST_SPLITS`` splits.
    """

    groups: int = 10
    held_out: int = 2
    purge_sessions: int = 6
    embargo_sessions: int = 20
    refit: Refit = "frozen"

    def __post_init__(self) -> None:
        for name, least in (("groups", 3), ("held_out", 1), ("purge_sessions", 0), ("embargo_sessions", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}; a whole number, {least} or more")
        if self.held_out == 1:
            raise ConfigError("held_out = 1 makes up a single path; hold out 2 groups or more")
        if self.held_out >= self.groups:
            raise ConfigError(f"held_out = {self.held_out} of {self.groups} groups leaves nothing to learn from")
        splits = comb(self.groups, self.held_out)
        if splits > MOST_SPLITS:
            said = f"{self.held_out} of {self.groups} groups make {splits:,} splits, each of them a fit"
            raise ConfigError(f"{said}; choose fewer groups, for {MOST_SPLITS:,} splits at most")
        if self.refit not in get_args(Refit):
            raise ConfigError(f"refit is {self.refit!r}; choose {' or '.join(get_args(Refit))}: splits have no order")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Combinatorial:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("cross-validation setting", settings, [item.name for item in fields(cls)])
        return cls(**settings)

    @property
    def paths(self) -> int:
        """phi, the number of backtest paths."""
        return comb(self.groups, self.held_out) * self.held_out // self.groups

    def cut(self, panel: Panel) -> Folds:
        """Return how ``panel`` is cut; skfolio chooses the sessions of each split, and rows follow.

        Raises:
            ConfigError: the sessions are too few for these groups, or a split has nothing left to learn from.
        """
        from skfolio.model_selection import CombinatorialPurgedCV

        sessions = int(panel.sessions[-1]) + 1
        dropped = self.purge_sessions + self.embargo_sessions
        if sessions // self.groups < dropped + 2:
            raise ConfigError(
                f"{panel.source}: {sessions} sessions in {self.groups} groups are {sessions // self.groups} each, and "
                f"{dropped} are purged and embargoed beside a held-out one; choose fewer groups or give more data"
            )
        cv = CombinatorialPurgedCV(self.groups, self.held_out, self.purge_sessions, self.embargo_sessions)
        edges = np.append(np.flatnonzero(np.diff(panel.sessions, prepend=-1)), len(panel))
        groups: dict[int, Rows] = {}
        splits = []
        for (train, tests), chosen, paths in zip(
            cv.split(np.zeros((sessions, 1))), cv.test_set_index.tolist(), cv.get_path_ids().tolist(), strict=True
        ):
            groups |= {g: _rows(edges, test[0], test[-1]) for g, test in zip(chosen, tests, strict=True)}
            if not len(train):
                named = ", ".join(str(group + 1) for group in chosen)
                raise ConfigError(
                    f"{panel.source}: with groups {named} held out, purge and embargo leave nothing to learn from; "
                    "lower them or choose fewer groups"
                )
            splits.append(Split(tuple(chosen), tuple(paths), _pieces(edges, train)))
        return Folds(tuple(groups[g] for g in range(self.groups)), tuple(splits))


def _rows(edges: NDArray[np.int64], first: int, last: int) -> Rows:
    """Return the rows of the sessions from ``first`` to ``last``, both inclusive."""
    return int(edges[first]), int(edges[last + 1])


def _pieces(edges: NDArray[np.int64], train: NDArray[np.int64]) -> tuple[Rows, ...]:
    """Return the runs of consecutive sessions in ``train``, as rows."""
    runs = np.split(train, np.flatnonzero(np.diff(train) > 1) + 1)
    return tuple(_rows(edges, run[0], run[-1]) for run in runs)


def shown(panel: Panel, pieces: tuple[Rows, ...]) -> Panel:
    """Return what a fit sees of ``panel``: the bars from the first piece to the last, all others of them missing.

    A missing bar has its time and nothing else: prices, volume, side series and the benchmark's return are NaN, nothing
    is tradable, and spreads are as the cost model says. Bars that a symbol lacks look the same, so every feature and
    label that would read one is NaN as well. The benchmark's return over the first bar of a piece began in the bar
    before it, and is missing too. The arrays are memory of their own.
    """
    begin, end = pieces[0][0], pieces[-1][1]
    known, within = np.zeros(end - begin, np.bool_), np.zeros(end - begin, np.bool_)
    for first, stop in pieces:
        known[first - begin : stop - begin] = True
        within[first - begin + (first > 0) : stop - begin] = True
    bars = panel[begin:end].detached()
    changed: dict[str, Any] = {
        name: np.where(known[:, None], getattr(bars, name), np.nan) for name in FIELDS if name in bars.columns
    }
    if bars.spread_multiple is not None:
        changed["spread_multiple"] = np.where(known, bars.spread_multiple, 1.0)
    return replace(
        bars,
        tradable=bars.tradable & known[:, None],
        benchmark_returns=np.where(within, bars.benchmark_returns, np.nan),
        side=bars.each_side(lambda values: np.where(known if values.ndim == 1 else known[:, None], values, np.nan)),
        **changed,
    )
