"""Killed at every boundary of the journal, crossed with every kind of fault: hundreds of sessions, each made whole.

A cell is a session in a process that kills itself at the boundary, on an exchange with the fault, and then the same
session started again until it is over. A cell in which the boundary is never reached, or the fault never strikes, has
failed. Cells run side by side in processes forked from one that has everything loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from alpaca.trading.stream import TradingStream

from tests.live.deaths import (
    CLOSE,
    FORK,
    HALTING,
    HISTORY,
    ORDER,
    POINTS,
    RUNNING,
    UNANSWERED,
    Boundary,
    demand_death,
    exit_code,
)
from tests.live.toys import Sleeves
from tests.live.trial import (
    IMPATIENT,
    PAPER,
    Outcome,
    demand_accounts,
    demand_orders,
    go_on_without_it,
    insist,
    killed,
    run,
)
from tradekit.errors import SessionError, TradekitError
from tradekit.live.exchange.faults import Fault
from tradekit.live.exchange.kinds import KINDS, WORLD
from tradekit.live.journal import KINDS as EVENTS
from tradekit.live.limits import Limits
from tradekit.live.session import KEYS, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.live.deaths import Point
    from tradekit.live.spec import SessionSpec

LONG = Fault("partial_fill", nth=3, share=0.4, reads=500)
REQUESTS = Fault(("429", "500", "502", "503", "504", "reset", "truncated", "empty"), on="any", rate=0.1, seconds=0.02)
LATE = Fault("late_bar", nth=6)
# One fault early, so that the kill comes after it or upon it, and one late, so that it meets the restart.
FAULTS: dict[str, list[Fault]] = {
    **{f"{kind} on submit": [Fault(kind, on="submit", nth=nth) for nth in (3, 6)] for kind in ("500", "502", "503")},
    "429": [Fault("429", on="any", nth=nth, seconds=0.05) for nth in (30, 60)],
    "504 after acceptance": [Fault("504", on="submit", nth=nth) for nth in (3, 6)],
    "reset before acceptance": [Fault("reset", on="submit", nth=nth, accepted=False) for nth in (3, 6)],
    "reset after acceptance": [Fault("reset", on="submit", nth=nth, accepted=True) for nth in (3, 6)],
    "truncated": [Fault("truncated", on="submit", nth=nth) for nth in (3, 6)],
    "empty": [Fault("empty", on="submit", nth=nth) for nth in (3, 6)],
    "redirect": [Fault("redirect", on="submit", nth=nth) for nth in (3, 6)],
    "hang": [Fault("hang", on="submit", nth=nth, seconds=0.5) for nth in (3, 6)],
    "slow": [Fault("slow", on="any", nth=nth, times=3, seconds=0.05) for nth in (20, 50)],
    "the look-up fails": [Fault("503", on="order", nth=1, times=2), Fault("504", on="submit", nth=3)],
    "the books cannot be read": [Fault("truncated", on=("orders", "positions"), rate=0.2)],
    "clock": [Fault("clock_skew", nth=7)],
    "buying power": [Fault("buying_power", nth=nth) for nth in (3, 6)],
    "wash trade": [Fault("wash_trade", nth=nth) for nth in (3, 6)],
    "not tradable": [Fault("not_tradable", nth=nth) for nth in (3, 6)],
    "filled in two": [Fault("partial_fill", nth=nth, share=0.4, reads=2) for nth in (3, 6)],
    "cancelled in the middle": [Fault("partial_cancel", nth=nth) for nth in (3, 6)],
    "filled while cancelled": [LONG, Fault("cancel_race")],
    "cancel stuck for a while": [LONG, Fault("stuck_cancel", reads=30)],
    "cancel stuck for ever": [LONG, Fault("stuck_cancel", reads=0)],
    "unknown status": [Fault("unknown_status", nth=nth, reads=2) for nth in (3, 6)],
    "one request in ten": [REQUESTS],
}  # fmt: skip
WAITING: dict[str, Any] = {"connection": replace(IMPATIENT, late_seconds=1.0)}
# Faults of the market itself change what there is to decide: what is killed must decide as what was not.
MARKET: dict[str, list[Fault]] = {
    "halt": [Fault("halt", symbol="S2", bar=4, bars=2)],
    "missing bar": [Fault("missing_bar", symbol="S3", bar=4, bars=2)],
    "half day": [Fault("half_day", bar=5)],
    "untradable": [Fault("untradable", symbol="S2", bar=3, bars=3)],
}
# Those that end a session: it halts once, for the one reason, and nothing goes out after that.
FATAL: dict[str, list[Fault]] = {
    "account blocked": [Fault("account_blocked", bar=10)],
    "split": [Fault("split", symbol="S0", bar=10)],
    "refused bar after bar": [Fault("not_tradable", nth=9, times=1000)],
    "too much lost": [],  # the limit is crossed, and remembers the highest equity of before
}
# Silence long enough that patience ends, in every way of being silent.
SILENT: dict[str, list[Fault]] = {
    f"{kind}, and no look-up": [
        Fault(kind, on="submit", nth=3, times=4, seconds=seconds), Fault("503", on="order", nth=1, times=30)
    ]
    for kind, seconds in {
        **dict.fromkeys(("500", "502", "503", "504", "reset", "truncated", "empty", "redirect")),
        "429": 0.05, "hang": 0.5, "slow": 0.5,
    }.items()
}  # fmt: skip
# Those of the trade updates that a session in paper mode listens to.
STREAM: dict[str, list[Fault]] = {
    "nothing": [],
    "drop": [Fault("drop", on="trade_updates", rate=0.5)],
    "close": [Fault("close", on="trade_updates", nth=nth) for nth in (2, 5)],
    "duplicate": [Fault("duplicate", on="trade_updates", rate=0.5)],
    "reorder": [Fault("reorder", on="trade_updates", rate=0.5)],
    "delay": [Fault("delay", on="trade_updates", rate=0.5, seconds=0.1)],
    "mute": [Fault("mute", on="trade_updates", nth=2)],
    "fill before ack": [Fault("fill_before_ack", times=100)],
    "unauthorised": [Fault("402", on="trade_updates", times=3)],
    "one request in ten": [REQUESTS],
    "late bar": [LATE],
}
# What is said on the stream of market data. A session opens none: it asks for its bars.
NEVER_MET = {
    "405": "answers a subscription to market data",
    "406": "answers auth on the stream of market data",
    "409": "answers auth on the stream of market data",
}

MEMORY = Path("/dev/shm")
"""Where there is one, journals of cells lie in memory: what SIGKILL leaves is with the kernel, not on a disk."""


class Cell(NamedTuple):
    """One session to kill: where, under what, and how."""

    name: str
    point: Point
    faults: list[Fault]
    settings: dict[str, Any]
    dying: Callable[[Boundary, SessionSpec, Path], None]
    fatal: bool


class Result(NamedTuple):
    """What came of a cell: what is wrong with it, nothing when all is well, and what must be as undisturbed."""

    name: str
    wrong: str
    told: Any


# -------------------------------------------------------------------------------------------------- ways of dying


def killed_on_a_full_disk(boundary: Boundary, session: SessionSpec, desk: Path) -> None:
    """The disk fills up before the second decision is written, is cleared, is full again at the next start."""

    def live() -> None:
        Boundary("decision", 2, "before").arm(_fill_disk)
        boundary.arm()
        with suppress(SessionError):
            start(session, Sleeves(), desk)
        _clear_disk()
        insist(session, desk)

    def cramped() -> None:
        _fill_disk()
        with pytest.raises(SessionError, match="start again to go on"):
            start(session, Sleeves(), desk)

    demand_death(live)
    if boundary.kind != "end":
        assert exit_code(cramped) == 0


def killed_beside_another(boundary: Boundary, session: SessionSpec, desk: Path) -> None:
    """Another process tries to run the session while the first one is there, and from outside comes SIGKILL."""
    ours, theirs = FORK.Pipe()

    def arrive() -> None:
        theirs.send(os.getpid())
        signal.pause()

    def live() -> None:
        boundary.arm(arrive)
        insist(session, desk)

    def rival() -> None:
        with pytest.raises(SessionError, match="another session is writing it"):
            start(session, Sleeves(), desk)

    process = FORK.Process(target=live)
    process.start()
    assert ours.poll(60)
    number = ours.recv()
    assert exit_code(rival) == 0
    os.kill(number, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def _fill_disk() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _clear_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


# --------------------------------------------------------------------------------------------------------- cells


def cross(
    points: Mapping[str, Point],
    faults: Mapping[str, list[Fault]],
    dying: Callable[[Boundary, SessionSpec, Path], None] = killed,
    *,
    fatal: bool = False,
    **settings: Any,
) -> list[Cell]:
    """Return every point with every fault."""
    return [
        Cell(f"{where} x {what}", point, struck, settings, dying, fatal)
        for what, struck in faults.items()
        for where, point in points.items()
    ]


def outcome_of(cell: Cell, desk: Path) -> Outcome:
    """Run one session, killed as often as its point has lives, until it is over."""

    def prepare(session: SessionSpec, desk: Path) -> None:
        for boundary in cell.point:
            cell.dying(boundary, session, desk)
            if session.mode == "paper":
                go_on_without_it(session)

    return run(cell.faults, desk, seed=len(cell.name), prepare=prepare, fatal=cell.fatal, **cell.settings)


def told(outcome: Outcome, *, fatal: bool) -> Any:
    """Return what is the same whether a session was killed or not, once its accounts are right."""
    if not fatal:
        demand_accounts(outcome)
        return outcome.decisions
    demand_orders(outcome)
    report = outcome.report
    assert report["state"] == "halted"
    return outcome.decisions, report["halted"], report["last"], sorted(outcome.sent)


def result_of(cell: Cell) -> Result:
    """Run one cell in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        try:
            outcome = outcome_of(cell, Path(folder))
            found = told(outcome, fatal=cell.fatal)
            met = outcome.exchange.faults.struck
            assert all(met[k] or fault.group == WORLD for k, fault in enumerate(cell.faults)), "a fault never struck"
        except (AssertionError, TradekitError):
            return Result(cell.name, traceback.format_exc(limit=-3), None)
        return Result(cell.name, "", found)


def demand_alike(cells: Iterable[Cell], undisturbed: Any) -> None:
    """Run cells side by side; each must be right, and tell what the session tells that nobody killed."""
    # Twice as many as there are cores: half of a cell's time is spent waiting for an answer.
    workers = 2 * max(2, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        results = list(pool.map(result_of, cells))
    broken = [f"{name}\n{wrong}" for name, wrong, _ in results if wrong]
    assert not broken, f"{len(broken)} of {len(results)} cells:\n" + "\n".join(broken[:5])
    apart = [name for name, _, found in results if found != undisturbed]
    assert not apart, f"{len(apart)} of {len(results)} cells tell something else: {apart[:5]}"


def undisturbed(faults: list[Fault], desk: Path, *, fatal: bool = False, **settings: Any) -> Any:
    """Return what a session tells that nobody killed."""
    return told(run(faults, desk, fatal=fatal, **settings), fatal=fatal)


# --------------------------------------------------------------------------------------------------------- tests

# Once there is a verdict, another instance is another session.
UNDER_WAY = {name: point for name, point in POINTS.items() if point[0] != Boundary("end", 1, "after")}
CALM = [
    *cross(POINTS, FAULTS),
    *cross(POINTS, {"late bar": [LATE]}, **WAITING),
    *cross(UNANSWERED, SILENT, connection=replace(IMPATIENT, patience_seconds=0.3)),
    *cross(POINTS, {"the disk fills up": []}, killed_on_a_full_disk),
    *cross(UNDER_WAY, {"a second instance": []}, killed_beside_another),
]


@pytest.mark.slow
def test_every_boundary_times_every_fault(tmp_path: Path) -> None:
    assert len(CALM) > 400
    demand_alike(CALM, undisturbed([], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("fault", MARKET)
def test_every_boundary_while_the_market_misbehaves(fault: str, tmp_path: Path) -> None:
    demand_alike(cross(POINTS, {fault: MARKET[fault]}), undisturbed(MARKET[fault], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FATAL)
def test_every_boundary_before_it_halts(fault: str, tmp_path: Path) -> None:
    points = {name: point for name, point in POINTS.items() if point[0].kind != "end"} | HALTING
    settings: dict[str, Any] = {"limits": Limits(drawdown=0.008)} if fault == "too much lost" else {}
    cells = cross(points, {fault: FATAL[fault]}, fatal=True, **settings)
    demand_alike(cells, undisturbed(FATAL[fault], tmp_path, fatal=True, **settings))


@pytest.fixture
def on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the keys that a session in paper mode takes from the environment, and have alpaca-py reconnect in no time."""
    for name in KEYS:
        monkeypatch.setenv(name, "local")
    opened = TradingStream.__init__

    def hasty(self: Any, *args: Any, **named: Any) -> None:
        opened(self, *args, **named)
        self._reconnect_min_backoff = self._reconnect_max_backoff = 0.05

    monkeypatch.setattr(TradingStream, "__init__", hasty)


@pytest.mark.slow
@pytest.mark.usefixtures("on_paper")
def test_every_boundary_while_the_stream_misbehaves(tmp_path: Path) -> None:
    demand_alike(cross(POINTS | RUNNING, STREAM, **PAPER), undisturbed([], tmp_path, **PAPER))


@pytest.mark.usefixtures("on_paper")
def test_a_session_never_meets_what_is_said_on_the_stream_of_market_data(tmp_path: Path) -> None:
    outcome = run([Fault(kind, on="market_data", rate=1.0) for kind in NEVER_MET], tmp_path, **PAPER)
    demand_accounts(outcome)
    assert not outcome.exchange.faults.struck


def test_every_kind_of_fault_is_crossed_and_every_kind_of_event() -> None:
    crossed = {
        kind for many in (FAULTS, MARKET, FATAL, SILENT, STREAM) for f in many.values() for x in f for kind in x.kinds
    }
    assert crossed | {"late_bar"} == set(KINDS) - set(NEVER_MET)
    ends = {boundary.kind for many in (POINTS, UNANSWERED, HALTING) for point in many.values() for boundary in point}
    assert ends == {*EVENTS, ORDER, CLOSE, HISTORY}
