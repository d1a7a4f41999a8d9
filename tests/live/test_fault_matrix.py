"""Killed at every boundary of the journal, crossed with every kind of fault: hundreds of sessions, each made whole.

A cell is a session in a process that kills itself at the boundary, on an exchange with the fault, and then the same
session started again until it ends. Cells run side by side in processes forked from one that has everything loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.test_crash import FORK, POINTS
from tests.live.toys import Sleeves
from tests.live.trial import Outcome, demand_accounts, run
from tradekit.errors import TradekitError
from tradekit.live.exchange.faults import Fault
from tradekit.live.session import start

if TYPE_CHECKING:
    from tradekit.live.spec import SessionSpec

LONG = Fault("partial_fill", nth=3, share=0.4, reads=500)
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
    "unknown status": [Fault("unknown_status", nth=nth, reads=2) for nth in (3, 6)],
    "one request in ten": [
        Fault(("429", "500", "502", "503", "504", "reset", "truncated", "empty"), on="any", rate=0.1, seconds=0.02)
    ],
}  # fmt: skip
CELLS = [(point, fault) for point in POINTS for fault in FAULTS]


def kill_first(point: str) -> Any:
    """Return what runs the session once, in a process that kills itself at the point."""

    def prepare(spec: SessionSpec, desk: Path) -> None:
        def child() -> None:
            POINTS[point]()
            try:
                start(spec, Sleeves(), desk)
            except TradekitError:  # a fault stopped it before the point was reached: also a restart to survive
                os._exit(3)

        process = FORK.Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode in (-signal.SIGKILL, 3), process.exitcode

    return prepare


def cell(point: str, fault: str) -> tuple[str, str, Any]:
    """Run one cell; return what is wrong with it, nothing when all is well, and what was decided."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome: Outcome = run(FAULTS[fault], Path(folder), seed=len(point), prepare=kill_first(point))
            demand_accounts(outcome)
        except (AssertionError, TradekitError):
            return f"{point} x {fault}", traceback.format_exc(limit=-3), None
        return f"{point} x {fault}", "", outcome.decisions


@pytest.mark.slow
def test_every_boundary_times_every_fault() -> None:
    with tempfile.TemporaryDirectory() as folder:
        calm = run([], Path(folder))
    demand_accounts(calm)
    workers = max(2, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        results = list(pool.map(cell, *zip(*CELLS, strict=True)))
    assert len(results) == len(POINTS) * len(FAULTS) > 250
    broken = [f"{name}\n{trace}" for name, trace, _ in results if trace]
    assert not broken, f"{len(broken)} of {len(results)} cells:\n" + "\n".join(broken[:5])
    apart = [name for name, _, decisions in results if decisions != calm.decisions]
    assert not apart, f"{len(apart)} cells decided something else: {apart[:5]}"
