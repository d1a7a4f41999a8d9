"""Record: everything a report says, as plain arrays and settings that a run folder can hold.

A result of the engine becomes a Record once; every number and figure is computed from the Record and from nothing else.
A folder read back gives the same Record, hence the same numbers to the last bit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.ledger import reason_text
from tradekit.engine.stress import Stress
from tradekit.market.costs import TERMS
from tradekit.report.across_seeds import seed_rows
from tradekit.report.paths import Paths, paths_of, settings_of
from tradekit.report.words import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from tradekit.engine.audit import AuditReport
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.walk_forward import StrategyRun, WalkForward
    from tradekit.market.panel import Floats, Panel, Times
    from tradekit.report.other_trials import OtherTrial

BASE = "base"


@dataclass(frozen=True, eq=False)
class Track:
    """One strategy under one scenario, bar by bar.

    Attributes:
        strategy, scenario: names; the scenario of a backtest is ``base``.
        timestamps: (T,) opens of the bars.
        equity, cash: (T,) dollars at each close.
        exposure: (T,) gross positions as a fraction of equity.
        benchmark: (T,) simple return of the benchmark over each bar, NaN where unknown.
        traded: (T,) dollars bought plus sold in each bar.
        fills: (T,) orders that filled, whole or in part.
        costs: (T, 5) dollars by term, the columns of ``TERMS``.
        scored_from: first row whose return counts, >= 1; the same for all strategies of a scenario.
    """

    strategy: str
    scenario: str
    timestamps: Times
    equity: Floats
    cash: Floats
    exposure: Floats
    benchmark: Floats
    traded: Floats
    fills: NDArray[np.int64]
    costs: Floats
    scored_from: int


@dataclass(frozen=True, eq=False)
class Orders:
    """(M,) orders of the base scenario, column by column, rejected ones included."""

    strategy: NDArray[np.str_]
    symbol: NDArray[np.str_]
    decided: Times
    filled: Times
    numbers: dict[str, Floats]
    reason: NDArray[np.str_]

    def of(self, strategy: str) -> Orders:
        """Return the orders of one strategy."""
        mine = self.strategy == strategy
        numbers = {name: column[mine] for name, column in self.numbers.items()}
        return Orders(
            self.strategy[mine], self.symbol[mine], self.decided[mine], self.filled[mine], numbers, self.reason[mine]
        )


ORDER_NUMBERS = ("requested", "quantity", "reference", "price", *TERMS)


class WindowRow(NamedTuple):
    """One window of one strategy: first and last bar of each slice, its ledger rows, and why it failed if it did."""

    strategy: str
    window: int
    train_start: np.datetime64
    train_end: np.datetime64
    test_start: np.datetime64
    test_end: np.datetime64
    first: int
    last: int
    failure: str | None


class Actions(NamedTuple):
    """(R, N) action ids of one policy by decision bar (R,) and symbol (N,): chosen, executed, and why they differ.

    -1 where a bar asked for no decision; ``reason`` is 0 where the action was executed as chosen.
    """

    strategy: str
    timestamps: Times
    symbols: tuple[str, ...]
    chosen: NDArray[np.int64]
    executed: NDArray[np.int64]
    reason: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Record:
    """One run.

    Attributes:
        manifest: settings, identities and lists, as manifest.json holds them.
        tracks: those that ran, scenario after scenario.
        orders: of the base scenario, the one that the others are compared with.
        windows: of a walk-forward; empty for a stress run.
        actions: of policies that recorded them.
        others: trials of earlier runs that could have been picked instead, on the scored bars and the close before.
        paths: of a cross-validation, every one; the track of a strategy is that of one of them.
    """

    manifest: dict[str, Any]
    tracks: tuple[Track, ...]
    orders: Orders
    windows: tuple[WindowRow, ...] = ()
    actions: tuple[Actions, ...] = field(default=())
    paths: tuple[Paths, ...] = field(default=())
    others: tuple[OtherTrial, ...] = field(default=())

    @property
    def bars_per_year(self) -> float:
        """Bars in a year of 252 sessions."""
        return float(self.manifest["data"]["bars_per_year"])

    @property
    def base(self) -> dict[str, Track]:
        """Tracks of the base scenario by strategy."""
        return self.of(self.manifest["base_scenario"])

    def beside(self, others: Iterable[OtherTrial]) -> Record:
        """Return the record with those of ``others`` that have every scored bar."""
        track = next(iter(self.base.values()), None)
        times = track.timestamps[track.scored_from - 1 :] if track is not None else np.empty(0, "M8[ns]")
        found = [cut for one in others if (cut := one.on(times)) is not None]
        return replace(self, others=tuple(found))

    def of(self, scenario: str) -> dict[str, Track]:
        """Return the tracks of one scenario by strategy."""
        return {track.strategy: track for track in self.tracks if track.scenario == scenario}


def record_of(result: WalkForward | Stress, run: dict[str, Any]) -> Record:
    """Return the record of an engine result; ``run`` is what the engine does not know (command, versions, hashes)."""
    return _stress(result, run) if isinstance(result, Stress) else _walk_forward(result, run)


def _walk_forward(result: WalkForward, run: dict[str, Any]) -> Record:
    ledgers = [(one, one.ledger) for one in result.runs if one.ledger is not None]
    start = max(1, result.scored_from)
    crossed = settings_of(result)
    kind = "cross_validation" if crossed else "walk_forward" if result.windowing else "backtest"
    manifest = _settings(result, run, kind) | crossed
    manifest["strategies"] = [_strategy(one, run, start, result.panel) for one in result.runs]
    manifest["scored_from"] = {BASE: start}
    return Record(
        manifest=manifest,
        tracks=tuple(_track(one.name, BASE, ledger, start) for one, ledger in ledgers),
        orders=_orders([ledger for _, ledger in ledgers]),
        windows=tuple(row for one in result.runs for row in _windows(one, result.panel)),
        actions=tuple(_actions([ledger for _, ledger in ledgers])),
        paths=paths_of(result),
    )


def _stress(result: Stress, run: dict[str, Any]) -> Record:
    manifest = _settings(result, run, "stress")
    base = next((one.name for one in result.scenarios if one.kind == BASE), result.scenarios[0].name)
    manifest["base_scenario"] = base
    manifest["strategies"] = [
        {
            "name": name,
            "kind": result.kinds[name],
            "file_hash": run["file_hashes"].get(name),
            "bundle_hash": run["bundle_hashes"].get(name),
            "skipped": result.cell(name, base).skipped,
            "lost": result.lost.get(name),
            "audit": _audit(result.audits[name]) if name in result.audits else None,
            "break_even": result.break_even.get(name),
            "seen_bars": max(0, result.cell(name, base).scored_from - 1),
            "carry": _carry(result.cell(name, base).ledger),
            "seeds": [{"seed": seed, "windows": []} for seed in result.seeds.get(name, ())],
        }
        for name in result.strategies
    ]
    manifest["scenarios"] = [asdict(scenario) for scenario in result.scenarios]
    manifest["skipped_cells"] = [
        {"strategy": cell.strategy, "scenario": cell.scenario, "skipped": cell.skipped}
        for cell in result.cells
        if cell.ledger is None
    ]
    manifest["draws"] = [
        {"strategy": cell.strategy, "scenario": cell.scenario, "worlds": len(cell.draws.sharpe)} | cell.draws.ranges()
        for cell in result.cells
        if cell.draws is not None
    ]
    tracks = tuple(track for scenario in result.scenarios for track in _cells(result, scenario.name))
    manifest["scored_from"] = {track.scenario: track.scored_from for track in tracks}
    ledgers = [cell.ledger for cell in result.cells if cell.ledger is not None and cell.scenario == base]
    return Record(manifest=manifest, tracks=tracks, orders=_orders(ledgers), actions=tuple(_actions(ledgers)))


def _cells(result: Stress, scenario: str) -> Iterator[Track]:
    cells = [cell for cell in result.cells if cell.scenario == scenario and cell.ledger is not None]
    start = max([1, *(cell.scored_from for cell in cells)])
    for cell in cells:
        assert cell.ledger is not None
        yield _track(cell.strategy, scenario, cell.ledger, start)


def _settings(result: WalkForward | Stress, run: dict[str, Any], kind: str) -> dict[str, Any]:
    panel = result.panel
    return {
        **{key: value for key, value in run.items() if key != "file_hashes"},
        "kind": kind,
        "data": {
            "source": panel.source,
            "symbols": list(panel.symbols),
            "start": stamp(panel.timestamps[0], panel.frequency),
            "end": stamp(panel.timestamps[-1], panel.frequency),
            "bars": len(panel),
            "hash": panel.content_hash,
            "frequency": panel.frequency,
            "benchmark": panel.benchmark_name,
            "bars_per_year": panel.bars_per_year,
        },
        "costs": asdict(result.costs),
        "execution": asdict(result.execution) | {"fills_at": result.execution.fills_at(panel)},
        "windowing": None if result.windowing is None else asdict(result.windowing),
        "cash": result.cash,
        "base_scenario": BASE,
        "scenarios": [],
        "skipped_cells": [],
        "draws": [],
    }


def _strategy(one: StrategyRun, run: dict[str, Any], start: int, panel: Panel) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "file_hash": run["file_hashes"].get(one.name),
        "bundle_hash": run["bundle_hashes"].get(one.name),
        "skipped": one.skipped,
        "audit": None if one.audit is None else _audit(one.audit),
        "break_even": None,
        "seen_bars": max(0, one.scored_from - 1),
        "carry": _carry(one.ledger),
        "seeds": seed_rows(one, start, panel.bars_per_year),
    }


def _carry(ledger: Ledger | None) -> dict[str, float] | None:
    """Return what holding cost and brought over the whole run, in dollars; it is not known bar by bar."""
    if ledger is None:
        return None
    return {"borrow_paid": ledger.borrow_paid, "interest_earned": ledger.interest_earned}


def _audit(report: AuditReport) -> dict[str, Any]:
    return asdict(report) | {
        "first_violation": None if report.first_violation is None else report.first_violation._asdict()
    }


def _track(strategy: str, scenario: str, ledger: Ledger, start: int) -> Track:
    bars = len(ledger.equity)
    filled = ledger.orders[ledger.orders["quantity"] != 0.0]
    costs, fills = np.zeros((bars, len(TERMS))), np.zeros(bars, np.int64)
    for column, term in enumerate(TERMS):
        np.add.at(costs[:, column], filled["fill_bar"], filled[term])
    np.add.at(fills, filled["fill_bar"], 1)
    return Track(
        strategy=strategy,
        scenario=scenario,
        timestamps=ledger.timestamps,
        equity=ledger.equity,
        cash=ledger.cash,
        exposure=ledger.exposure,
        benchmark=ledger.panel.benchmark_returns,
        traded=ledger.traded,
        fills=fills,
        costs=costs,
        scored_from=min(start, bars),
    )


def _orders(ledgers: list[Ledger]) -> Orders:
    kept = [(ledger, ledger.orders) for ledger in ledgers]
    reasons = {int(flag): reason_text(int(flag)) for _, rows in kept for flag in np.unique(rows["reason"])}

    def joined(columns: list[Any], empty: str) -> Any:
        return np.concatenate(columns) if columns else np.empty(0, empty)

    return Orders(
        strategy=joined([np.full(len(rows), ledger.name) for ledger, rows in kept], "U1"),
        symbol=joined([np.array(ledger.symbols)[rows["symbol"]] for ledger, rows in kept], "U1"),
        decided=joined([ledger.timestamps[rows["decision_bar"]] for ledger, rows in kept], "M8[ns]"),
        filled=joined([ledger.timestamps[rows["fill_bar"]] for ledger, rows in kept], "M8[ns]"),
        numbers={name: joined([rows[name] for _, rows in kept], "f8") for name in ORDER_NUMBERS},
        reason=joined([np.array([reasons[int(flag)] for flag in rows["reason"]], "U") for _, rows in kept], "U1"),
    )


def _windows(one: StrategyRun, panel: Panel) -> Iterator[WindowRow]:
    for number, result in enumerate(one.windows, 1):
        window, times = result.window, panel.timestamps
        yield WindowRow(
            strategy=one.name,
            window=number,
            train_start=times[window.train_start],
            train_end=times[window.train_stop - 1],
            test_start=times[window.test_start],
            test_end=times[window.test_stop - 1],
            first=result.first,
            last=result.last,
            failure=result.failure,
        )


def _actions(ledgers: list[Ledger]) -> Iterator[Actions]:
    for ledger in ledgers:
        if all(name in ledger.extras for name in ("chosen", "executed", "reason")):
            told = [np.asarray(ledger.extras[name], np.int64) for name in ("chosen", "executed", "reason")]
            yield Actions(ledger.name, ledger.timestamps[: len(told[0])], ledger.symbols, *told)
