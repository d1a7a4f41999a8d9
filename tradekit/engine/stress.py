"""Stress: the same fitted strategies under worse costs, later fills and harder times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.strategy import attempt
from tradekit.engine.walk_forward import (
    Prepared,
    audit_of,
    demand_distinct,
    prepare,
    reason_to_skip,
    scored_from,
    unseen,
)
from tradekit.engine.windows import Window, Windowing
from tradekit.errors import ConfigError, DataError, suggest
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Floats, Panel

Kind = Literal["base", "costs", "latency", "replay"]
Progress = Callable[[int, int, str], None]

# Multiples of all costs at which the break-even is searched; linear in between.
MULTIPLES = np.concatenate([np.arange(0.0, 4.0, 0.25), np.arange(4.0, 10.0, 0.5), np.arange(10.0, 31.0, 2.0)])
REFERENCE = "buy_and_hold"


@dataclass(frozen=True)
class Scenario:
    """One way in which the world is worse than the backtest assumed.

    Attributes:
        name: unique.
        kind: ``base``, ``costs``, ``latency`` or ``replay``.
        description: for the report.
        slippage_shock: factor on slippage, spread and impact.
        cost_shock: factor on every cost term.
        latency_bars: bars added to the execution model's.
        start, end: dates of a replay, inclusive; the strategy is fitted on the train slice just before.

    Raises:
        ConfigError: a factor or latency is negative, or a replay lacks a date.
    """

    name: str
    kind: Kind
    description: str = ""
    slippage_shock: float = 1.0
    cost_shock: float = 1.0
    latency_bars: int = 0
    start: str | None = None
    end: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(f"scenario {self.name!r}: kind is {self.kind!r}; choose {', '.join(get_args(Kind))}")
        for name in ("slippage_shock", "cost_shock", "latency_bars"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and np.isfinite(value) and value >= 0):
                raise ConfigError(f"scenario {self.name!r}: {name} is {value!r}; 0 or more")
        if self.kind == "replay" and not (self.start and self.end):
            raise ConfigError(f"scenario {self.name!r}: a replay needs start and end dates")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Scenario:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown or missing key.
        """
        known = {item.name for item in fields(cls)}
        for key in settings:
            if key not in known:
                raise ConfigError(f"unknown scenario setting {key!r}; {suggest(key, known)}")
        for key in ("name", "kind"):
            if key not in settings:
                raise ConfigError(f"a scenario lacks {key!r}: {settings}")
        return cls(**settings)

    def costs(self, model: CostModel) -> CostModel:
        """Return ``model`` as this scenario has it."""
        return model.shocked(self.slippage_shock).scaled(self.cost_shock)

    def execution(self, model: ExecutionModel) -> ExecutionModel:
        """Return ``model`` as this scenario has it."""
        return replace(model, latency_bars=model.latency_bars + self.latency_bars)


def slippage_scenario(factor: float) -> Scenario:
    """Return the scenario of ``--slippage-shock``."""
    return Scenario(f"slippage x{factor:g}", "costs", "slippage, spread and impact multiplied", slippage_shock=factor)


def default_scenarios(slippage_shock: float | None = None) -> tuple[Scenario, ...]:
    """Return the shipped scenarios, with a slippage shock of its own when one is asked for."""
    shocks = [slippage_scenario(slippage_shock)] if slippage_shock is not None else []
    return (
        Scenario("base", "base", "as backtested"),
        *shocks,
        *(Scenario(f"costs x{k:g}", "costs", "every cost multiplied", cost_shock=k) for k in (1.5, 2.0, 3.0, 5.0)),
        *(Scenario(f"latency +{k}", "latency", "fills come later", latency_bars=k) for k in (1, 2)),
        Scenario("dot-com 2000-02", "replay", "", start="2000-03-24", end="2002-10-09"),
        Scenario("crisis 2008", "replay", "", start="2007-10-09", end="2009-03-09"),
        Scenario("COVID 2020", "replay", "", start="2020-02-19", end="2020-04-30"),
        Scenario("bear 2022", "replay", "", start="2022-01-03", end="2022-10-12"),
    )


@dataclass(frozen=True)
class Cell:
    """One strategy in one scenario; ledger None when ``skipped`` says why."""

    strategy: str
    scenario: str
    ledger: Ledger | None
    scored_from: int = 0
    skipped: str | None = None


@dataclass(frozen=True)
class Stress:
    """Every strategy in every scenario.

    break_even: per strategy, the multiple of all costs at which its final equity no longer exceeds cash
    (``over_cash``) and buy-and-hold at the same multiple (``over_buy_and_hold``). 0.0: it does not even without
    costs; None: it still does at 30 times the costs, or there is nothing to compare with.
    kinds: of each strategy by name.
    audits: the causality audit of each strategy that was walked forward, by name.
    """

    panel: Panel
    windowing: Windowing
    scenarios: tuple[Scenario, ...]
    cells: tuple[Cell, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float
    break_even: dict[str, dict[str, float | None]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    audits: dict[str, AuditReport] = field(default_factory=dict)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names in the order given."""
        return tuple(dict.fromkeys(cell.strategy for cell in self.cells))

    def cell(self, strategy: str, scenario: str) -> Cell:
        """Return one cell."""
        return next(cell for cell in self.cells if (cell.strategy, cell.scenario) == (strategy, scenario))


def stress(
    strategies: AnyStrategy | Sequence[AnyStrategy],
    panel: Panel,
    scenarios: Sequence[Scenario] | None = None,
    windowing: Windowing | None = None,
    costs: CostModel | None = None,
    execution: ExecutionModel | None = None,
    cash: float = DEFAULT_CASH,
    progress: Progress | None = None,
    history: Panel | None = None,
) -> Stress:
    """Walk every strategy forward once and run what it decided under every scenario.

    Cost scenarios share one kernel call (open loop) or one lockstep roll-out (closed loop). A replay fits the strategy
    on the train slice that ends where the replay starts, and is skipped by name where the data does not cover it.

    Args:
        strategies: one, or several with distinct names.
        panel: all bars.
        scenarios: default: ``default_scenarios()``.
        windowing: default: ``Windowing.for_panel``.
        costs: the model that scenarios worsen; default: the ``realistic`` preset.
        execution: as in ``simulate``.
        cash: dollars at the start, > 0.
        progress: called with (done, in all, label).
        history: the bars that replays draw on, where ``panel`` does not reach back as far; default: ``panel``.

    Raises:
        StrategyError, ConfigError: as in ``walk_forward``; ConfigError also for two scenarios of one name.
    """
    several = list(strategies) if isinstance(strategies, Sequence) else [strategies]
    demand_distinct(several)
    chosen = tuple(default_scenarios() if scenarios is None else scenarios)
    names = [scenario.name for scenario in chosen]
    if len(set(names)) < len(names):
        raise ConfigError(f"two scenarios share a name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    windowing = windowing or Windowing.for_panel(panel)
    costs, execution = costs or CostModel(), execution or ExecutionModel()
    windows = tuple(unseen(several, panel, windowing.cut(panel), execution))
    setup = _Setup(panel, history or panel, windowing, windows, costs, execution, cash)
    cells: list[Cell] = []
    curves: dict[str, tuple[Floats, int]] = {}
    audits: dict[str, AuditReport] = {}
    for done, strategy in enumerate(several):
        if progress:
            progress(done, len(several), strategy.name)
        cells += _cells(strategy, chosen, setup, curves, audits)
    if progress:
        progress(len(several), len(several), "done")
    even = {strategy.name: _break_even(strategy.name, curves) for strategy in several if strategy.name in curves}
    kinds = {strategy.name: getattr(strategy, "kind", "custom") for strategy in several}
    return Stress(panel, windowing, chosen, tuple(cells), setup.costs, setup.execution, cash, even, kinds, audits)


@dataclass(frozen=True)
class _Setup:
    panel: Panel
    history: Panel
    windowing: Windowing
    windows: tuple[Window, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float


def _cells(
    strategy: AnyStrategy,
    scenarios: Sequence[Scenario],
    setup: _Setup,
    curves: dict[str, tuple[Floats, int]],
    audits: dict[str, AuditReport],
) -> list[Cell]:
    walked, failure = attempt(partial(_walked, strategy, [s for s in scenarios if s.kind != "replay"], setup))
    made: dict[str, Cell] = {}
    unfit = f"it raised {failure}" if failure is not None else walked if isinstance(walked, str) else None
    if unfit is None:
        made, curves[strategy.name], report = walked
        if report is not None:
            audits[strategy.name] = report
    for scenario in scenarios:
        if scenario.kind == "replay":
            cell, failure = attempt(partial(_replay, strategy, scenario, setup))
            made[scenario.name] = cell or Cell(strategy.name, scenario.name, None, skipped=f"it raised {failure}")
        elif unfit is not None:
            made[scenario.name] = Cell(strategy.name, scenario.name, None, skipped=unfit)
    return [made[scenario.name] for scenario in scenarios]


def _walked(
    strategy: AnyStrategy, scenarios: Sequence[Scenario], setup: _Setup
) -> str | tuple[dict[str, Cell], tuple[Floats, int], AuditReport | None]:
    """Return cells, growth by multiple of costs and audit of a strategy walked forward once, or why it cannot be."""
    unfit = reason_to_skip(strategy, setup.panel, setup.windows, setup.execution)
    if unfit is not None:
        return unfit
    prepared = prepare(strategy, setup.panel, setup.windows, setup.windowing, setup.execution)
    return _shocks(prepared, scenarios, setup), _growth(prepared, setup), audit_of(prepared, setup.panel)


def _shocks(prepared: Prepared, scenarios: Iterable[Scenario], setup: _Setup) -> dict[str, Cell]:
    """Run cost and latency scenarios, those of equal latency together."""
    cells: dict[str, Cell] = {}
    by_latency: dict[int, list[tuple[Scenario, CostModel]]] = {}
    for scenario in scenarios:
        try:
            model = scenario.costs(setup.costs)
        except ConfigError as error:
            cells[scenario.name] = Cell(prepared.strategy.name, scenario.name, None, skipped=str(error))
        else:
            by_latency.setdefault(scenario.latency_bars, []).append((scenario, model))
    for group in by_latency.values():
        execution = group[0][0].execution(setup.execution)
        ledgers = prepared.run(setup.panel, [model for _, model in group], execution, setup.cash)
        for (scenario, _), ledger in zip(group, ledgers, strict=True):
            seen = scored_from(prepared.strategy, ledger)
            cells[scenario.name] = Cell(prepared.strategy.name, scenario.name, ledger, seen)
    return cells


def _replay(strategy: AnyStrategy, scenario: Scenario, setup: _Setup) -> Cell:
    panel = setup.history

    def skip(why: str) -> Cell:
        return Cell(strategy.name, scenario.name, None, skipped=why)

    try:
        covered = panel.between(scenario.start, scenario.end)
    except DataError:
        return skip(f"the data covers {panel.span}")
    first = int(np.searchsorted(panel.timestamps, covered.timestamps[0]))
    last = first + len(covered)
    windowing = setup.windowing
    session = panel.sessions[first] - windowing.train_sessions
    starts_late = panel.timestamps[0].astype("M8[D]") > np.datetime64(scenario.start, "D")
    if session < 0 or starts_late or len(covered) < 3:
        return skip(f"too little data before {scenario.start} to train on; the data covers {panel.span}")
    if panel.timestamps[-1].astype("M8[D]") < np.datetime64(scenario.end, "D") - np.timedelta64(7, "D"):
        return skip(f"the data covers {panel.span}")
    begin = 0 if windowing.anchored else int(np.searchsorted(panel.sessions, session))
    learnt = panel.sessions[first] - windowing.purge_sessions - windowing.embargo_sessions
    window = Window(begin, int(np.searchsorted(panel.sessions, learnt)), first, last)
    seen = getattr(strategy, "seen_end", None)
    if seen is not None and panel.timestamps[first] <= seen:
        return skip(f"seen: it was trained on bars up to {panel.moment(seen)}")
    unfit = reason_to_skip(strategy, panel, [window], setup.execution)
    if unfit is not None:
        return skip(unfit)
    prepared = prepare(strategy, panel, [window], setup.windowing, setup.execution)
    ledger = prepared.run(panel, [setup.costs], setup.execution, setup.cash)[0]
    return Cell(strategy.name, scenario.name, ledger)


def multiples_of(costs: CostModel) -> Floats:
    """Return (K,) those of MULTIPLES at which spread and slippage still leave something of the price."""
    return MULTIPLES[(costs.spread_bps + costs.slippage_bps) * MULTIPLES < 10_000.0]


def _growth(prepared: Prepared, setup: _Setup) -> tuple[Floats, int]:
    """Return (K, T) equity at every multiple of costs, and the first scored row."""
    models = [setup.costs.scaled(multiple) for multiple in multiples_of(setup.costs)]
    ledgers = prepared.run(setup.panel, models, setup.execution, setup.cash, records=False)
    return np.array([ledger.equity for ledger in ledgers]), scored_from(prepared.strategy, ledgers[0])


def _break_even(name: str, curves: dict[str, tuple[Floats, int]]) -> dict[str, float | None]:
    equity, first = curves[name]
    start = max(first - 1, 0)  # the close before the first scored return
    gain = np.log(equity[:, -1] / equity[:, start])
    result = {"over_cash": _crossing(gain), "over_buy_and_hold": None}
    if REFERENCE in curves and name != REFERENCE:
        held = curves[REFERENCE][0]
        result["over_buy_and_hold"] = _crossing(gain - np.log(held[:, -1] / held[:, start]))
    return result


def _crossing(edge: Floats) -> float | None:
    """Return the first multiple at which ``edge`` (K,) over MULTIPLES reaches zero, linear in between."""
    dead = np.flatnonzero(~(edge > 0.0))
    if len(dead) == 0:
        return None
    k = int(dead[0])
    if k == 0:
        return 0.0
    share = edge[k - 1] / (edge[k - 1] - edge[k]) if np.isfinite(edge[k]) else 0.0
    return float(MULTIPLES[k - 1] + share * (MULTIPLES[k] - MULTIPLES[k - 1]))
