"""Run what a spec says on a desk: load its bars and strategies, and hand them to the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from tradekit.desk.loader import LoadedStrategy, load_strategies, load_strategy
from tradekit.desk.recording import Recording, begin
from tradekit.desk.specs import BacktestSpec, DataSpec, read_backtest
from tradekit.desk.work import Work, identity
from tradekit.engine.audit import audit
from tradekit.engine.ceiling import with_ceiling
from tradekit.engine.combinatorial import Combinatorial
from tradekit.engine.copies import fit
from tradekit.engine.cross_validation import cross_validate
from tradekit.engine.scenarios import default_scenarios, slippage_scenario
from tradekit.engine.single_pass import single_pass
from tradekit.engine.strategy import attempt
from tradekit.engine.stress import Stress, stress
from tradekit.engine.walk_forward import WalkForward, walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError, StrategyError
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk
    from tradekit.desk.overrides import Overrides
    from tradekit.desk.specs import StressSpec
    from tradekit.engine.audit import AuditReport
    from tradekit.market.panel import Panel

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """A result, the strategies it is of, the seeds they were run under, and the run's entry in the registry."""

    result: WalkForward | Stress
    loaded: tuple[LoadedStrategy, ...]
    seeds: tuple[int, ...]
    recording: Recording


def bars_of(data: DataSpec, desk: Desk) -> Panel:
    """Load the bars of a spec; paths count from the working folder, and if nothing is there from the desk's root.

    Raises:
        DataError: the source cannot be found or used.
    """
    actions = None if data.actions is None else found(data.actions, desk)
    side = [replace(one, file=found(one.file, desk)) for one in data.side]
    return load_panel(found(data.source, desk), data.symbols, data.start, data.end, data.benchmark, actions, side)


def found(path: str, desk: Desk) -> str:
    """Return ``path``, in the desk's root where it is there and not where the command was given."""
    inside = desk.root / path
    return os.fspath(inside) if not Path(path).exists() and inside.exists() else path


def backtest_spec(desk: Desk, path: Path | None, walk_forward: bool, cross_validation: bool = False) -> BacktestSpec:
    """Return the spec at ``path``; without one the desk's for what is asked, or every bar of the desk's source.

    Raises:
        ConfigError: the file is missing or broken, or a spec for something else.
    """
    if path is None and not (walk_forward or cross_validation):
        return BacktestSpec(DataSpec(desk.data))
    path = path or desk.backtests / f"{'cross_validation' if cross_validation else 'walk_forward'}.toml"
    spec = read_backtest(path)
    if walk_forward and spec.cross_validation is not None:
        raise ConfigError(f"{path}: it has [cross_validation]; leave --walk-forward away, or give it [windows] instead")
    if cross_validation and spec.cross_validation is None:
        raise ConfigError(f"{path}: it has no [cross_validation]; add that table in place of [windows]")
    return spec


def run_walk_forward(
    desk: Desk, spec: BacktestSpec, progress: Progress | None = None, work: Work | None = None, command: str = ""
) -> Outcome:
    """Judge the strategies on bars that they have not learnt from.

    Raises:
        TradekitError: a spec, strategy, bundle or source cannot be used, or no strategy could run.
    """
    work = work or Work()
    loaded, panel = load_strategies(desk, spec.strategies), bars_of(spec.data, desk)
    windowing = spec.windows or Windowing.for_panel(panel)
    windowing.cut(panel)  # bars that hold no window are no run
    settings = work.settings(desk, loaded)
    recording = begin(desk, "walk_forward", command, spec, loaded, settings["identities"], panel, windowing, work.seeds)
    with recording.ends_with():
        result = walk_forward(
            [one.strategy for one in loaded],
            panel,
            windowing,
            spec.costs,
            spec.execution,
            spec.cash,
            seeds=work.seeds,
            progress=progress,
            here_seconds=work.here_seconds if windowing.refit == "frozen" else 0.0,
            **settings,
        )
        _demand_one({run.name: run.skipped for run in result.runs})
    return Outcome(with_ceiling(result), tuple(loaded), work.seeds, recording)


def run_cross_validation(
    desk: Desk, spec: BacktestSpec, progress: Progress | None = None, work: Work | None = None, command: str = ""
) -> Outcome:
    """Judge the strategies on every path of the spec's groups, each learnt from other bars than it shows.

    Raises:
        TradekitError: as in ``run_walk_forward``.
    """
    work, scheme = work or Work(), spec.cross_validation or Combinatorial()
    loaded, panel = load_strategies(desk, spec.strategies), bars_of(spec.data, desk)
    scheme.cut(panel)  # bars that do not hold the groups are no run
    settings = work.settings(desk, loaded)
    known = settings["identities"]
    recording = begin(desk, "cross_validation", command, spec, loaded, known, panel, scheme, work.seeds)
    with recording.ends_with():
        result = cross_validate(
            [one.strategy for one in loaded],
            panel,
            scheme,
            spec.costs,
            spec.execution,
            spec.cash,
            seeds=work.seeds,
            progress=progress,
            here_seconds=work.here_seconds if scheme.refit == "frozen" else 0.0,
            **settings,
        )
        _demand_one({run.name: run.skipped for run in result.runs})
    return Outcome(with_ceiling(result), tuple(loaded), work.seeds, recording)


def run_single_pass(
    desk: Desk, spec: BacktestSpec, progress: Progress | None = None, work: Work | None = None, command: str = ""
) -> Outcome:
    """Run the strategies once over all bars; those that learn are left out by name.

    Raises:
        TradekitError: as in ``run_walk_forward``; ConfigError when seeds, workers or Ray are asked for.
    """
    if work is not None and (work.seeds or work.ray or work.workers):
        raise ConfigError("--seeds, --workers and --ray spread windows; add --walk-forward")
    loaded, panel = load_strategies(desk, spec.strategies), bars_of(spec.data, desk)
    identities = {one.strategy.name: identity(desk, one) for one in loaded}
    recording = begin(desk, "backtest", command, spec, loaded, identities, panel, None)
    with recording.ends_with():
        result = single_pass([one.strategy for one in loaded], panel, spec.costs, spec.execution, spec.cash, progress)
        _demand_one({run.name: run.skipped for run in result.runs})
    return Outcome(result, tuple(loaded), (), recording)


def run_stress(
    desk: Desk,
    spec: StressSpec,
    slippage_shock: float | None = None,
    progress: Progress | None = None,
    work: Work | None = None,
    command: str = "",
) -> Outcome:
    """Run the strategies under every scenario of the spec, and under a slippage shock when one is given.

    Replays draw on all bars of the source, however late the spec's own bars start.

    Raises:
        TradekitError: as in ``run_walk_forward``.
    """
    work = work or Work()
    scenarios = list(default_scenarios() if spec.scenarios is None else spec.scenarios)
    if slippage_shock is not None:
        shock = slippage_scenario(slippage_shock)
        scenarios = [one for one in scenarios if one.name != shock.name]
        scenarios.insert(1 if scenarios and scenarios[0].kind == "base" else 0, shock)
    loaded, panel = load_strategies(desk, spec.strategies), bars_of(spec.data, desk)
    cut = spec.data.start or spec.data.end
    history = bars_of(replace(spec.data, start=None, end=None), desk) if cut else panel
    windowing = spec.windows or Windowing.for_panel(panel)
    windowing.cut(panel)
    settings = work.settings(desk, loaded)
    recording = begin(desk, "stress", command, spec, loaded, settings["identities"], panel, windowing, work.seeds)
    with recording.ends_with():
        result = stress(
            [one.strategy for one in loaded],
            panel,
            scenarios,
            windowing,
            spec.costs,
            spec.execution,
            spec.cash,
            progress,
            history,
            seeds=work.seeds,
            here_seconds=work.here_seconds if windowing.refit == "frozen" else 0.0,
            **settings,
        )
        ran = {cell.strategy for cell in result.cells if cell.ledger is not None}
        _demand_one({cell.strategy: None if cell.strategy in ran else cell.skipped for cell in result.cells})
    return Outcome(result, tuple(loaded), work.seeds, recording)


def run_audit(
    desk: Desk,
    name: str,
    overrides: Overrides,
    cuts: int | None = 8,
    fill_at: Literal["auto", "open", "close"] = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> AuditReport:
    """Audit one strategy; one that learns is fitted on the first half of the bars and audited on the second.

    Args:
        desk: where names are looked up.
        name: of a strategy, or the path of a file.
        overrides: data and latency.
        cuts: how many bars to change the future after; None: every bar.
        fill_at: where orders fill.
        progress: called with the cuts that are done and how many there are.

    Raises:
        TradekitError: the strategy or source cannot be used.
    """
    strategy = load_strategy(name, desk).strategy
    spec = overrides.apply(BacktestSpec(DataSpec(desk.data)))
    panel, execution = bars_of(spec.data, desk), replace(spec.execution, fill_at=fill_at)
    if hasattr(strategy, "check"):
        strategy.check(panel, execution)
    half = len(panel) // 2
    fitted, failure = attempt(lambda: fit(strategy, panel[:half]))
    if failure is not None:
        raise StrategyError(f"{strategy.name}: fit on {half} bars raised {failure}")
    start = half if fitted.learnt else 0
    report, failure = attempt(
        lambda: audit(fitted.strategy, panel, cuts=cuts, start=start, execution=execution, progress=progress)
    )
    if failure is not None:
        raise StrategyError(f"{strategy.name}: raised {failure}")
    return cast("AuditReport", report)


def _demand_one(skipped: dict[str, str | None]) -> None:
    """Raise StrategyError, with the first reason, when no strategy ran at all."""
    if all(reason is not None for reason in skipped.values()):
        name, reason = next(iter(skipped.items()))
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise StrategyError(f"no strategy could run: {name}: {reason}{more}")
