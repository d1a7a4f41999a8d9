"""Walk-forward: learn on one slice, be judged on the next, and stitch the judged slices into one ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.compute import Cell, Outcome, Progress, Store, hash_of
from tradekit.engine.fits import Spread, fit_cells, fit_in, learner_of, prepared_of, versions_hash
from tradekit.engine.prepared import Prepared, audit_of, decided, first_run
from tradekit.engine.seeds import averaged, has_seed, with_seed
from tradekit.engine.seen import last_seen, reason_to_skip, scored_from, unseen
from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.strategy import AnyStrategy, attempt
from tradekit.engine.windows import Window, Windowing
from tradekit.errors import StrategyError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Panel

__all__ = [
    "Prepared",
    "Progress",
    "SeedRun",
    "StrategyRun",
    "WalkForward",
    "WindowResult",
    "audit_of",
    "decided",
    "demand_distinct",
    "last_seen",
    "prepare",
    "reason_to_skip",
    "scored_from",
    "unseen",
    "walk_forward",
]


class WindowResult(NamedTuple):
    """One window of one strategy: rows ``first <= t < last`` of its ledger, and why it failed if it did.

    These are the rows in which the window's decisions fill, from the first that can to the last: a decision belongs to
    its window with its fill and its costs. A failed window holds cash.
    """

    window: Window
    first: int
    last: int
    failure: str | None


class SeedRun(NamedTuple):
    """What a strategy did under one seed, with all of the cash."""

    seed: int
    ledger: Ledger


@dataclass(frozen=True)
class StrategyRun:
    """One strategy's out-of-sample record.

    Attributes:
        name, kind: of the strategy.
        ledger: the stitched test slices; None when the strategy was skipped. Under several seeds, an account with an
            equal part of each.
        windows: per window.
        scored_from: first ledger row whose return may count; a policy's own training bars lie before it.
        audit: the causality audit of the fitted strategy.
        skipped: why it has no ledger.
        failed: it has none because it went wrong, not because it does not fit these bars.
        seeds: one for each seed, where several were asked for and the strategy draws.
    """

    name: str
    kind: str
    ledger: Ledger | None
    windows: tuple[WindowResult, ...] = ()
    scored_from: int = 0
    audit: AuditReport | None = None
    skipped: str | None = None
    failed: bool = False
    seeds: tuple[SeedRun, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, in words: the whole strategy, or single windows of it."""
        if self.failed:
            return (f"{self.name}: {str(self.skipped).removeprefix(f'{self.name}: ')}",)
        lost = [one for one in self.windows if one.failure is not None]
        if not lost:
            return ()
        return (f"{self.name} failed in {len(lost)} of {len(self.windows)} windows: {lost[0].failure}",)


@dataclass(frozen=True)
class WalkForward:
    """Every strategy on the same windows, costs and execution; windowing None: one pass without windows."""

    panel: Panel
    windowing: Windowing | None
    runs: tuple[StrategyRun, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float

    @property
    def scored_from(self) -> int:
        """First ledger row on which all strategies can be compared."""
        return max((run.scored_from for run in self.runs if run.ledger is not None), default=0)

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """The ledger of each strategy, by name, of those that could run."""
        return {run.name: run.ledger for run in self.runs if run.ledger is not None}

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, strategy by strategy."""
        return tuple(failure for run in self.runs for failure in run.failures)

    def run(self, name: str) -> StrategyRun:
        """Return the run of the strategy called ``name``."""
        return next(run for run in self.runs if run.name == name)


def walk_forward(
    strategies: AnyStrategy | Sequence[AnyStrategy],
    panel: Panel,
    windowing: Windowing | None = None,
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
) -> WalkForward:
    """Judge strategies on bars they have not learnt from.

    In every window each strategy is fitted on the train slice alone and asked for decisions in the test slice; the test
    slices are stitched and run once, so that positions carry from one to the next unless ``windowing.carry`` says
    otherwise. Where a policy was trained on some of the bars, every strategy starts after them. A policy is frozen
    unless ``windowing.refit`` has it trained in every window.

    A strategy that raises in one window holds cash there; one that answers nonsense is left out. Both are named in
    ``WalkForward.failures``, and the rest goes on.

    Args:
        strategies: one, or several with distinct names.
        panel: all bars.
        windowing: default: ``Windowing.for_panel``.
        costs: one model; default: the ``realistic`` preset.
        execution: default: fills at the next open, or the next close of close-only data.
        cash: dollars at the start, > 0.
        audit: change the future and demand unchanged decisions, for every strategy.
        seeds: run every strategy that has a ``seed`` under each of these.
        workers: processes to spread the fits over. Numbers do not depend on it, nor on the next two.
        ray: address of a Ray cluster to spread them over instead, or ``local``.
        store: where finished work is kept and looked up.
        identities: hash of the code and parameters of each strategy, by name; without one its work is not kept.
        progress: called with (done, in all, label).
        here_seconds: work in this process for so long before ``workers`` are started.

    Raises:
        StrategyError: two strategies of one name.
        ConfigError: no window fits the bars, or Ray was asked for and cannot be had.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    windowing = windowing or Windowing.for_panel(panel)
    several = [learner_of(one, windowing.refit) for one in several]
    execution = execution or ExecutionModel()
    windows = tuple(unseen(several, panel, windowing.cut(panel), execution, windowing.embargo_sessions))
    setup = Setup(windowing, windows, costs or CostModel(), execution, cash, audit)
    spread = Spread(workers, ray, store, identities or {}, progress, here_seconds)
    runs = _run_all(several, panel, setup, tuple(seeds), spread)
    return WalkForward(panel, windowing, tuple(runs), setup.costs, execution, cash)


def demand_distinct(strategies: Sequence[AnyStrategy]) -> None:
    """Raise StrategyError when two strategies share a name."""
    names = [strategy.name for strategy in strategies]
    for name in names:
        if names.count(name) > 1:
            raise StrategyError(f"two strategies are called {name!r}; give each a name of its own")


def prepare(
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], windowing: Windowing, execution: ExecutionModel
) -> Prepared:
    """Fit ``strategy`` in every window, here and now, and stitch what it decides in the test slices."""
    outcomes: list[Outcome] = []
    for window in windows:
        previous = outcomes[-1].value if outcomes and windowing.refit == "warm" else None
        answer, failure = attempt(partial(fit_in, panel, strategy, window, previous))
        outcomes.append(Outcome(answer, failure))
    return decided(prepared_of(strategy, windows, outcomes), panel, windowing, execution)


@dataclass(frozen=True)
class Setup:
    """What every strategy of a walk-forward meets."""

    windowing: Windowing
    windows: tuple[Window, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float
    with_audit: bool


class Judged(NamedTuple):
    """A strategy after its test slices, as it travels: the ledger's bars are cut to one, and put back on arrival."""

    ledger: Ledger | None
    failures: tuple[str | None, ...] = ()
    audit: AuditReport | None = None
    skipped: str | None = None


class Variant(NamedTuple):
    """A strategy under one seed, None where it draws nothing or was not asked to, and the cell that judges it."""

    seed: int | None
    strategy: AnyStrategy
    key: str


def _run_all(
    several: Sequence[AnyStrategy], panel: Panel, setup: Setup, seeds: tuple[int, ...], spread: Spread
) -> list[StrategyRun]:
    """Run what can be run, side by side."""
    told = (panel, setup.windows, setup.execution, setup.windowing.embargo_sessions)
    unfit = {one.name: reason_to_skip(one, *told) for one in several}
    cells: list[Cell] = []
    variants: dict[str, list[Variant]] = {}
    for strategy in several:
        if unfit[strategy.name] is None:
            variants[strategy.name] = _variants(strategy, panel, setup, seeds, spread, cells)
    outcomes = spread.run(cells, panel)
    return [
        _joined(one, panel, setup, [(each, outcomes[each.key]) for each in variants[one.name]])
        if unfit[one.name] is None
        else StrategyRun(one.name, _kind(one), None, skipped=unfit[one.name])
        for one in several
    ]


def _variants(
    strategy: AnyStrategy, panel: Panel, setup: Setup, seeds: tuple[int, ...], spread: Spread, cells: list[Cell]
) -> list[Variant]:
    """Return a strategy under each seed, and append the cells of all of them to ``cells``."""
    found = []
    for seed in seeds if seeds and has_seed(strategy) else (None,):
        one = strategy if seed is None else with_seed(strategy, seed)
        tag, identity = "" if seed is None else f" seed {seed}", spread.identity(one)
        fits = fit_cells(one, panel, setup.windows, setup.windowing.refit, identity, tag)
        after = tuple(cell.key for cell in fits)
        key = (
            hash_of("judge", identity, *after, panel.content_hash, repr(setup), versions_hash())
            if identity
            else f"judge {strategy.name}{tag}"
        )
        judge = Cell(key, f"{strategy.name}{tag}, judged", _judge, (one, setup), after, keep=identity is not None)
        cells += [*fits, judge]
        found.append(Variant(seed, one, key))
    return found


def _judge(panel: Panel, strategy: AnyStrategy, setup: Setup, before: tuple[Outcome, ...]) -> Judged:
    """Judge a strategy that its cells have fitted."""
    return judged(prepared_of(strategy, setup.windows, before), panel, setup)


def judged(fitted: Prepared, panel: Panel, setup: Setup) -> Judged:
    """Stitch what a fitted strategy decides, run it, and audit it."""
    if all(failure is not None for failure in fitted.failures):
        return Judged(None, skipped=f"it failed in every window: {fitted.failures[0]}")
    try:
        told = (fitted, panel, setup.windowing, setup.execution, setup.costs, setup.cash)
        ran, failure = attempt(partial(first_run, *told))
        if failure is not None:
            return Judged(None, skipped=f"it raised {failure}")
        prepared, ledger = ran
        if all(reason is not None for reason in prepared.failures):
            return Judged(None, skipped=f"it failed in every window: {prepared.failures[0]}")
        report = audit_of(prepared, panel) if setup.with_audit else None
    except StrategyError as error:
        return Judged(None, skipped=str(error))
    return Judged(replace(ledger, panel=ledger.panel[:1]), prepared.failures, report)


def _joined(
    strategy: AnyStrategy, panel: Panel, setup: Setup, judged: Sequence[tuple[Variant, Outcome]]
) -> StrategyRun:
    """Return a strategy's run from that of each of its seeds."""
    found: list[Judged] = [one.value if one.failure is None else Judged(None, skipped=one.failure) for _, one in judged]
    for (variant, _), one in zip(judged, found, strict=True):
        if one.skipped is not None:
            skipped = _of_seed(variant, one.skipped)
            return StrategyRun(strategy.name, _kind(strategy), None, skipped=skipped, failed=True)
    start, stop = setup.windows[0].test_start, setup.windows[-1].test_stop
    ledgers = [replace(one.ledger, panel=panel[start:stop]) for one in found if one.ledger is not None]
    audits = [one.audit for one in found if one.audit is not None]
    ledger = averaged(ledgers)
    reasons = [(variant, one.failures) for (variant, _), one in zip(judged, found, strict=True)]
    seeds = [SeedRun(one.seed, each) for (one, _), each in zip(judged, ledgers, strict=True) if one.seed is not None]
    return StrategyRun(
        name=strategy.name,
        kind=_kind(strategy),
        ledger=ledger,
        windows=tuple(_windows(setup, reasons)),
        scored_from=scored_from(strategy, ledger),
        audit=next((one for one in audits if not one.passed), audits[0] if audits else None),
        seeds=tuple(seeds),
    )


def _windows(setup: Setup, failures: Sequence[tuple[Variant, tuple[str | None, ...]]]) -> list[WindowResult]:
    """Return each window with the ledger rows in which its decisions fill; the first row of all has no return."""
    start, stop = setup.windows[0].test_start, setup.windows[-1].test_stop
    later = 1 + setup.execution.latency_bars
    edges = [min(window.test_start - start + later, stop - start) for window in setup.windows]
    edges = [min(1, stop - start), *edges[1:], stop - start]
    return [
        WindowResult(
            window,
            edges[k],
            edges[k + 1],
            next((_of_seed(variant, reasons[k]) for variant, reasons in failures if reasons[k] is not None), None),
        )
        for k, window in enumerate(setup.windows)
    ]


def _of_seed(variant: Variant, why: str | None) -> str:
    return str(why) if variant.seed is None else f"seed {variant.seed}: {why}"


def _kind(strategy: Any) -> str:
    return getattr(strategy, "kind", "custom")
