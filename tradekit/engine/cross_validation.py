"""Combinatorial purged cross-validation: many backtest paths over the same bars, none learnt from what it shows.

A path takes each group of bars from another split, so it is a walk-forward whose windows are the groups: it is
stitched, run and audited by the same code, flat and with a fresh memory at the start of each group. López de Prado
(2018), Advances in Financial Machine Learning, chapter 12.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.compute import Cell, hash_of
from tradekit.engine.combinatorial import Combinatorial, Folds, shown
from tradekit.engine.copies import Fitted, fit, fresh
from tradekit.engine.fits import Spread, learner_of, prepared_of, versions_hash
from tradekit.engine.seeds import averaged, has_seed, with_seed
from tradekit.engine.seen import reason_to_skip, scored_from, unseen
from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.walk_forward import Judged, Setup, StrategyRun, WalkForward, demand_distinct, judged
from tradekit.engine.windows import Window, Windowing
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.compute import Outcome, Progress, Store
    from tradekit.engine.combinatorial import Rows
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel

# Every path sells out at the last decision of a group: what comes after was learnt from other bars.
STITCHED = Windowing(carry="flatten")


@dataclass(frozen=True)
class PathsRun(StrategyRun):
    """One strategy over every path; ``ledger`` is that of the path ``shown``, the one with the median final equity.

    Attributes:
        paths: the ledger of each path, under several seeds of an account with an equal part of each.
        shown: number of a path, from 0; of two in the middle the poorer one.
        learnt: whether it learns; what does not does the same on every path.
        lost: number of each split that failed, from 1, and why; the groups it holds out are spent in cash.
    """

    paths: tuple[Ledger, ...] = ()
    shown: int = 0
    learnt: bool = False
    lost: tuple[tuple[int, str], ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, in words: the whole strategy, or single splits of it."""
        if self.failed or not self.lost:
            return super().failures
        (split, why), more = self.lost[0], len(self.lost) - 1
        return (f"{self.name} failed in split {split}{f' and {more} more' if more else ''}: {why}",)


@dataclass(frozen=True)
class CrossValidated(WalkForward):
    """Every strategy on the same splits, costs and execution. It has no windowing.

    Attributes:
        scheme: how the bars were cut.
        folds: what came of it.
    """

    scheme: Combinatorial = field(default_factory=Combinatorial)
    folds: Folds = field(default_factory=lambda: Folds((), ()))


def cross_validate(
    strategies: AnyStrategy | Sequence[AnyStrategy],
    panel: Panel,
    scheme: Combinatorial | None = None,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    *,
    audit: bool = True,
    seeds: Sequence[int] = (),
    workers: int = 1,
    ray: str | None = None,
    store: Store | None = None,
    identities: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    here_seconds: float = 0.0,
) -> CrossValidated:
    """Judge strategies on every path that the held-out groups of ``scheme`` make up.

    In every split each strategy is fitted on the bars that are neither held out, nor purged, nor embargoed; the others
    are missing from what it is shown (``combinatorial.shown``). A strategy with ``fit_pieces(bars, pieces)`` is told
    the runs of bars that are there as well, so that it can keep episodes inside them. At decisions all bars so far are
    known, as they would be.

    A strategy is skipped where it says by ``label_bars`` that its labels reach further ahead than bars are purged, or
    learns in order (``fit_window`` without ``fit_pieces``). Bars that a frozen policy has seen count for nobody, as in
    ``walk_forward``, whose other arguments and errors are the same.

    Raises:
        StrategyError: two strategies of one name.
        ConfigError: the bars do not hold the groups, or Ray was asked for and cannot be had.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    scheme, execution = scheme or Combinatorial(), execution or ExecutionModel()
    several = [learner_of(one, scheme.refit) for one in several]
    folds = scheme.cut(panel)
    groups = [Window(0, first, first, stop) for first, stop in folds.groups]
    windows = unseen(several, panel, groups, execution, scheme.embargo_sessions)
    setup = Setup(STITCHED, tuple(windows), costs or CostModel(), execution, cash, audit)
    spread = Spread(workers, ray, store, identities or {}, progress, here_seconds)
    runs = _Job(panel, scheme, folds, setup, tuple(seeds), spread).run(several)
    return CrossValidated(panel, None, tuple(runs), setup.costs, execution, cash, scheme, folds)


class _Variant(NamedTuple):
    """A strategy under one seed: the cells that fit it, by number of the split, and those that run its paths."""

    seed: int | None
    strategy: AnyStrategy
    fits: dict[int, str]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """What every strategy of a cross-validation meets, and the cells that it is made of."""

    panel: Panel
    scheme: Combinatorial
    folds: Folds
    setup: Setup
    seeds: tuple[int, ...]
    spread: Spread
    cells: list[Cell] = field(default_factory=list)

    def run(self, several: Sequence[AnyStrategy]) -> list[StrategyRun]:
        """Run what can be run, side by side."""
        unfit = {one.name: self._reason_to_skip(one) for one in several}
        hashes = {k: shown(self.panel, self.folds.splits[k].pieces).content_hash for k in self._needed}
        variants = {one.name: self._variants(one, hashes) for one in several if unfit[one.name] is None}
        outcomes = self.spread.run(self.cells, self.panel)
        return [
            self._joined(one, variants[one.name], outcomes)
            if unfit[one.name] is None
            else StrategyRun(one.name, _kind(one), None, skipped=unfit[one.name])
            for one in several
        ]

    def _reason_to_skip(self, strategy: Any) -> str | None:
        if hasattr(strategy, "fit_window") and not hasattr(strategy, "fit_pieces"):
            return "it learns from one run of bars, and a split has several; give it fit_pieces, or use --walk-forward"
        reach, purged = int(getattr(strategy, "label_bars", 0)), self.folds.least_purged_bars
        if reach > purged:
            return f"its labels reach {reach} bars ahead, and {purged} are purged; raise purge_sessions"
        setup, embargo = self.setup, self.scheme.embargo_sessions
        return reason_to_skip(strategy, self.panel, setup.windows, setup.execution, embargo)

    @property
    def _groups(self) -> list[int]:
        """Numbers of the groups that count; those that a policy has seen come before them."""
        return list(range(len(self.folds.groups)))[-len(self.setup.windows) :]

    @property
    def _needed(self) -> list[int]:
        """Numbers of the splits that hold out a group that counts."""
        count = set(self._groups)
        return [k for k, split in enumerate(self.folds.splits) if count.intersection(split.held_out)]

    def _variants(self, strategy: AnyStrategy, hashes: Mapping[int, str]) -> list[_Variant]:
        """Return a strategy under each seed, and put its cells on the list."""
        found = []
        for seed in self.seeds if self.seeds and has_seed(strategy) else (None,):
            one = strategy if seed is None else with_seed(strategy, seed)
            tag, identity = f"{strategy.name}{'' if seed is None else f' seed {seed}'}", self.spread.identity(one)
            fits = {}
            for k, bars in hashes.items():
                key = hash_of("split", identity, bars, versions_hash()) if identity else f"fit {tag} {k}"
                label = f"{tag}, split {k + 1} of {len(self.folds.splits)}"
                self.cells.append(Cell(key, label, _fit, (one, self.folds.splits[k].pieces), keep=identity is not None))
                fits[k] = key
            found.append(_Variant(seed, one, fits, tuple(self._paths(one, tag, identity, fits))))
        return found

    def _paths(self, one: AnyStrategy, tag: str, identity: str | None, fits: dict[int, str]) -> list[str]:
        """Put a cell for every path on the list and return their keys."""
        keys, after = [], tuple(fits.values())
        for path in range(self.folds.paths):
            which = tuple(list(fits).index(self.folds.split_of(path, group)) for group in self._groups)
            told = ("path", identity, path, *after, self.panel.content_hash, repr(self.setup), versions_hash())
            key = hash_of(*told) if identity else f"path {tag} {path}"
            label = f"{tag}, path {path + 1} of {self.folds.paths}"
            self.cells.append(Cell(key, label, _path, (one, self.setup, which, path), after, keep=identity is not None))
            keys.append(key)
        return keys

    def _joined(
        self, strategy: AnyStrategy, variants: Sequence[_Variant], outcomes: Mapping[str, Outcome]
    ) -> StrategyRun:
        """Return a strategy's run from that of each path and seed."""
        found = [[_answer(outcomes[key]) for key in one.paths] for one in variants]
        for variant, judgements in zip(variants, found, strict=True):
            why = next((one.skipped for one in judgements if one is not None and one.skipped is not None), None)
            if why is not None:
                return StrategyRun(strategy.name, _kind(strategy), None, skipped=_of(variant, why), failed=True)
        start, stop = self.setup.windows[0].test_start, self.setup.windows[-1].test_stop
        ran = [[one.ledger for one in judgements if one is not None and one.ledger] for judgements in found]
        bars = self.panel[start:stop]
        whole = [[replace(ledger, panel=bars) for ledger in ledgers] for ledgers in ran]
        paths = [averaged([ledgers[min(p, len(ledgers) - 1)] for ledgers in whole]) for p in range(self.folds.paths)]
        median = int(np.argsort([one.equity[-1] for one in paths], kind="stable")[(len(paths) - 1) // 2])
        audits = [one.audit for judgements in found for one in judgements if one is not None and one.audit is not None]
        return PathsRun(
            name=strategy.name,
            kind=_kind(strategy),
            ledger=paths[median],
            scored_from=scored_from(strategy, paths[median]),
            audit=next((one for one in audits if not one.passed), audits[0] if audits else None),
            paths=tuple(paths),
            shown=median,
            learnt=max(len(ledgers) for ledgers in whole) > 1,
            lost=tuple(self._lost(variants, found, outcomes)),
        )

    def _lost(
        self, variants: Sequence[_Variant], found: Sequence[Sequence[Judged | None]], outcomes: Mapping[str, Outcome]
    ) -> list[tuple[int, str]]:
        """Return the splits that failed: in the fit, or where a held-out group was decided on."""
        lost: dict[int, str] = {}
        for variant, judgements in zip(variants, found, strict=True):
            for k, key in variant.fits.items():
                if (why := outcomes[key].failure) is not None:
                    lost.setdefault(k + 1, _of(variant, why))
            for path, one in enumerate(judgements):
                for group, why in zip(self._groups, one.failures if one is not None else (), strict=False):
                    if why is not None:
                        lost.setdefault(self.folds.split_of(path, group) + 1, _of(variant, why))
        return sorted(lost.items())


def _fit(panel: Panel, strategy: AnyStrategy, pieces: tuple[Rows, ...]) -> Fitted:
    """Fit a copy of ``strategy`` on ``pieces`` of the bars."""
    bars, begin = shown(panel, pieces), pieces[0][0]
    if not hasattr(strategy, "fit_pieces"):
        return fit(strategy, bars)
    copy: Any = fresh(strategy)
    return Fitted(copy.fit_pieces(bars, tuple((first - begin, stop - begin) for first, stop in pieces)), True)


def _path(
    panel: Panel, strategy: AnyStrategy, setup: Setup, which: tuple[int, ...], path: int, before: tuple[Outcome, ...]
) -> Judged | None:
    """Run a path whose groups are decided by the fits ``which``; None: it is the first path over again.

    That is so of whatever has learnt nothing in any split. Only the first path is audited: they differ in fits alone.
    """
    learnt = any(one.failure is not None or one.value.learnt for one in before)
    if path > 0 and not learnt:
        return None
    fitted = prepared_of(strategy, setup.windows, [before[k] for k in which])
    # As one that learns, whether it does or not: it is asked group by group, and forgets in between.
    return judged(replace(fitted, learnt=True), panel, replace(setup, with_audit=setup.with_audit and path == 0))


def _answer(outcome: Outcome) -> Judged | None:
    if outcome.failure is not None:
        return Judged(None, skipped=outcome.failure)
    answer: Judged | None = outcome.value
    return answer


def _of(variant: _Variant, why: str) -> str:
    return why if variant.seed is None else f"seed {variant.seed}: {why}"


def _kind(strategy: Any) -> str:
    return str(getattr(strategy, "kind", "custom"))
