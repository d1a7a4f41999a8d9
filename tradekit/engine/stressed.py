"""One strategy under every scenario.

A strategy is fitted once, on the bars as they were, window by window as in the walk-forward. Scenarios change what
comes after the first judged decision: a model learnt in the world that was meets one that it has not seen, which is
what a stress test asks. It decides anew wherever prices differ. Two kinds differ in what is fitted: a replay fits on
the train slice before its own dates, and a drawn path keeps the first window's fit throughout, since later windows
learn from bars that the path is drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.compute import hash_of
from tradekit.engine.break_even import Growth, growth_of
from tradekit.engine.paths import MAKERS, paths
from tradekit.engine.scenarios import CHANGES_BARS, Scenario
from tradekit.engine.strategy import attempt
from tradekit.engine.walk_forward import Prepared, audit_of, decided, prepare, reason_to_skip, scored_from
from tradekit.engine.windows import Window, Windowing
from tradekit.engine.worlds import SHOCKS, Span, worlds
from tradekit.errors import ConfigError, DataError
from tradekit.evidence import measures
from tradekit.evidence.sharpe import sharpe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel

RANGE = (0.025, 0.5, 0.975)
LEAD_SESSIONS = 63


class Draws(NamedTuple):
    """What D worlds drawn for one scenario made of a strategy: Sharpe ratio a year, return and drawdown, (D,) each."""

    sharpe: Floats
    total_return: Floats
    max_drawdown: Floats

    def ranges(self) -> dict[str, dict[str, float]]:
        """Return, of each figure by name, the median and the 2.5 % and 97.5 % quantiles over the worlds that have one.

        NaN where none has: a strategy that never traded has no Sharpe ratio.
        """
        found = {}
        for name, values in self._asdict().items():
            known = values[~np.isnan(values)]
            cuts = np.quantile(known, RANGE) if len(known) else np.full(3, np.nan)
            found[name] = dict(zip(("low", "median", "high"), map(float, cuts), strict=True))
        return found


FAILED = ("it raised ", "it failed in ", "its process died", "its worker was lost")
"""How the reasons begin for which a strategy is not in a scenario through a fault of its own, or of its worker."""


@dataclass(frozen=True)
class Cell:
    """One strategy in one scenario; ledger None when ``skipped`` says why.

    Of several worlds drawn, ``ledger`` is that of number ``draw``, the one with the median final equity, and ``draws``
    has the figures of all.
    """

    strategy: str
    scenario: str
    ledger: Ledger | None
    scored_from: int = 0
    skipped: str | None = None
    draws: Draws | None = None
    draw: int = 0

    @property
    def failed(self) -> bool:
        """Whether the strategy went wrong, rather than not fitting the bars or the bars the scenario."""
        return self.skipped is not None and self.skipped.startswith(FAILED)


@dataclass(frozen=True)
class Setup:
    """What every strategy of one stress test meets; worlds: the panels of a scenario by name, or why it has none."""

    panel: Panel
    history: Panel
    windowing: Windowing
    windows: tuple[Window, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float
    scenarios: tuple[Scenario, ...]
    worlds: dict[str, tuple[Panel, ...] | str]

    def world(self, scenario: Scenario, draw: int = 0) -> Panel:
        """Return the bars of one of a scenario's worlds."""
        panels = self.worlds[scenario.name]
        return panels[draw] if isinstance(panels, tuple) and panels else self.panel

    @property
    def identity(self) -> str:
        """A hash of all that the result of a strategy depends on beside the strategy."""
        models = (self.windowing, self.windows, self.costs, self.execution, self.cash, self.scenarios)
        return hash_of(self.panel.content_hash, self.history.content_hash, *map(repr, models))


class Stressed(NamedTuple):
    """One strategy under stress."""

    cells: list[Cell]
    growth: Growth | None
    audit: AuditReport | None


def worlds_of(scenario: Scenario, panel: Panel, windows: Sequence[Window]) -> tuple[Panel, ...] | str:
    """Return the worlds of a scenario, none when it has the bars as they were, or why the data cannot carry it."""
    span = Span(windows[0].test_start, windows[-1].test_stop)
    try:
        if scenario.kind in SHOCKS:
            return tuple(worlds(scenario, panel, span))
        return tuple(paths(scenario, panel, span)) if scenario.kind in MAKERS else ()
    except DataError as error:
        return str(error)


def stressed(strategy: AnyStrategy, setup: Setup) -> Stressed:
    """Run one strategy under every scenario; what cannot run is skipped by name, and the rest goes on."""

    def skip(scenario: Scenario, why: str) -> Cell:
        return Cell(strategy.name, scenario.name, None, skipped=why)

    walked = [scenario for scenario in setup.scenarios if scenario.kind != "replay"]
    answer, failure = attempt(partial(_walked, strategy, walked, setup))
    unfit = f"it raised {failure}" if failure is not None else answer if isinstance(answer, str) else None
    made, growth, audit = ({}, None, None) if unfit is not None else answer
    for scenario in setup.scenarios:
        if scenario.kind == "replay":
            cell, failure = attempt(partial(_replay, strategy, scenario, setup))
            made[scenario.name] = cell or skip(scenario, f"it raised {failure}")
        elif unfit is not None:
            made[scenario.name] = skip(scenario, unfit)
    return Stressed([made[scenario.name] for scenario in setup.scenarios], growth, audit)


def _walked(
    strategy: AnyStrategy, scenarios: Sequence[Scenario], setup: Setup
) -> str | tuple[dict[str, Cell], Growth, AuditReport | None]:
    """Return cells, growth by multiple of costs and audit of a strategy walked forward once, or why it cannot be."""
    unfit = reason_to_skip(strategy, setup.panel, setup.windows, setup.execution)
    if unfit is not None:
        return unfit
    prepared = prepare(strategy, setup.panel, setup.windows, setup.windowing, setup.execution)
    if all(failure is not None for failure in prepared.failures):
        return f"it failed in every window: {prepared.failures[0]}"
    cells = _priced(prepared, [one for one in scenarios if one.kind not in CHANGES_BARS], setup)
    for scenario in scenarios:
        if scenario.kind in CHANGES_BARS:
            cells[scenario.name] = _elsewhere(prepared, scenario, setup)

    def run(models: Sequence[CostModel]) -> list[Ledger]:
        return prepared.run(setup.panel, models, setup.execution, setup.cash, records=False)

    first = scored_from(strategy, run([setup.costs])[0])
    return cells, growth_of(run, setup.costs, first), audit_of(prepared, setup.panel)


def _priced(prepared: Prepared, scenarios: Iterable[Scenario], setup: Setup) -> dict[str, Cell]:
    """Run scenarios in which the same decisions meet other costs or fills; those that differ in costs run together."""
    name = prepared.strategy.name
    cells: dict[str, Cell] = {}
    groups: dict[tuple[ExecutionModel, int], list[tuple[Scenario, CostModel]]] = {}
    for scenario in scenarios:
        world, made = setup.world(scenario), setup.worlds[scenario.name]
        try:
            model, execution = scenario.costs(setup.costs), scenario.execution(setup.execution)
        except ConfigError as error:
            cells[scenario.name] = Cell(name, scenario.name, None, skipped=str(error))
            continue
        if isinstance(made, str):
            cells[scenario.name] = Cell(name, scenario.name, None, skipped=made)
        else:
            groups.setdefault((execution, id(world)), []).append((scenario, model))
    for (execution, _), group in groups.items():
        world = setup.world(group[0][0])
        try:
            ledgers = prepared.run(world, [model for _, model in group], execution, setup.cash)
        except DataError as error:  # a limit that needs a column which the data lacks
            cells |= {one.name: Cell(name, one.name, None, skipped=str(error)) for one, _ in group}
            continue
        for (scenario, _), ledger in zip(group, ledgers, strict=True):
            cells[scenario.name] = Cell(name, scenario.name, ledger, scored_from(prepared.strategy, ledger))
    return cells


def _elsewhere(prepared: Prepared, scenario: Scenario, setup: Setup) -> Cell:
    """Run a strategy in the worlds of a scenario, where it decides anew."""
    name, panels = prepared.strategy.name, setup.worlds[scenario.name]
    if isinstance(panels, str):
        return Cell(name, scenario.name, None, skipped=panels)
    if scenario.kind in MAKERS:
        prepared = _first_fit(prepared, len(panels[0]))
    middle, draws = 0, None
    if len(panels) > 1:
        runs = [_run_in(panel, prepared, setup, records=False) for panel in panels]
        equities = [run.equity for run in runs if not isinstance(run, str)]
        if len(equities) < len(runs):
            return Cell(name, scenario.name, None, skipped=next(run for run in runs if isinstance(run, str)))
        middle = int(np.argsort([equity[-1] for equity in equities], kind="stable")[(len(equities) - 1) // 2])
        draws = _draws(equities, setup.panel.bars_per_year)
    ledger = _run_in(panels[middle], prepared, setup, records=True)
    if isinstance(ledger, str):
        return Cell(name, scenario.name, None, skipped=ledger)
    return Cell(name, scenario.name, ledger, scored_from(prepared.strategy, ledger), draws=draws, draw=middle)


def _run_in(panel: Panel, prepared: Prepared, setup: Setup, *, records: bool) -> Ledger | str:
    """Return what a fitted strategy makes of ``panel``, or why it cannot: it failed in more windows than before."""
    here, failure = attempt(partial(decided, prepared, panel, setup.windowing, setup.execution))
    if failure is not None:
        return f"it raised {failure}"
    new = [now for before, now in zip(prepared.failures, here.failures, strict=True) if now and not before]
    failed = new or here.failures
    if new or all(failed):
        return f"it failed in {len(failed)} of {len(here.windows)} windows: {failed[0]}"
    ledgers, failure = attempt(
        partial(here.run, panel, [setup.costs], setup.execution, setup.cash, records=records),
    )
    return f"it raised {failure}" if ledgers is None else ledgers[0]


def _first_fit(prepared: Prepared, stop: int) -> Prepared:
    """Return ``prepared`` with the first window's fit alone, judged to row ``stop``."""
    window = prepared.windows[0]._replace(test_stop=stop)
    return replace(prepared, windows=(window,), fitted=prepared.fitted[:1], failures=prepared.failures[:1])


def _draws(equities: Sequence[Floats], bars_per_year: float) -> Draws:
    returns = [measures.bar_returns(equity) for equity in equities]
    return Draws(
        np.array([sharpe(one, bars_per_year) for one in returns]),
        np.array([measures.total_return(one) for one in returns]),
        np.array([measures.max_drawdown(equity) for equity in equities]),
    )


def _replay(strategy: AnyStrategy, scenario: Scenario, setup: Setup) -> Cell:
    """Fit a strategy on the train slice before the replay's dates and run it through them."""
    panel, window = setup.history, _replayed(scenario, setup)

    def skip(why: str) -> Cell:
        return Cell(strategy.name, scenario.name, None, skipped=why)

    if isinstance(window, str):
        return skip(window)
    seen = getattr(strategy, "seen_end", None)
    if seen is not None and panel.timestamps[window.test_start + 1] <= seen:
        return skip(f"seen: it was trained on bars up to {panel.moment(seen)}")
    unfit = reason_to_skip(strategy, panel, [window], setup.execution)
    if unfit is not None:
        return skip(unfit)
    prepared = prepare(strategy, panel, [window], setup.windowing, setup.execution)
    if prepared.failures[0] is not None:
        return skip(f"it raised {prepared.failures[0]}")
    ledger = prepared.run(panel, [setup.costs], setup.execution, setup.cash)[0]
    assert scenario.start is not None
    first = int(np.searchsorted(ledger.timestamps, np.datetime64(scenario.start, "ns")))
    return Cell(strategy.name, scenario.name, ledger, scored_from=first)


def _replayed(scenario: Scenario, setup: Setup) -> Window | str:
    """Return the window of a replay, or why the data cannot carry it.

    It begins a test slice, or a quarter at most, before the dates: what is scored is how a strategy fared that had been
    running for a while, and not that a monthly one happened to be in cash on the first of them.
    """
    panel, windowing = setup.history, setup.windowing
    try:
        covered = panel.between(scenario.start, scenario.end)
    except DataError:
        return f"the data covers {panel.span}"
    start = int(np.searchsorted(panel.timestamps, covered.timestamps[0]))
    lead = panel.sessions[start] - min(windowing.test_sessions, LEAD_SESSIONS)
    first, session = int(np.searchsorted(panel.sessions, lead)), lead - windowing.train_sessions
    starts_late = panel.timestamps[0].astype("M8[D]") > np.datetime64(scenario.start, "D")
    if session < 0 or starts_late or len(covered) < 3:
        return f"too little data before {scenario.start} to train on; the data covers {panel.span}"
    if panel.timestamps[-1].astype("M8[D]") < np.datetime64(scenario.end, "D") - np.timedelta64(7, "D"):
        return f"the data covers {panel.span}"
    begin = 0 if windowing.anchored else int(np.searchsorted(panel.sessions, session))
    learnt = panel.sessions[first] - windowing.purge_sessions - windowing.embargo_sessions
    return Window(begin, int(np.searchsorted(panel.sessions, learnt)), first, start + len(covered))
