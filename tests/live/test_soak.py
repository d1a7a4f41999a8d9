"""Twenty trading days of hourly bars with one request in twenty going wrong: nothing lost, nothing piling up."""

from __future__ import annotations

import gc
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.live.toys import Sleeves
from tests.live.trial import IMPATIENT
from tradekit.live.broker import BrokerUncertain
from tradekit.live.exchange import Settings, serve
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.journal import read_events
from tradekit.live.orders import State, lives
from tradekit.live.patience import Stopped
from tradekit.live.report import session_report
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from tradekit.live.links import Snapshot

FORK = multiprocessing.get_context("fork")
DAYS, BARS_A_DAY = 20, 7
BARS = DAYS * BARS_A_DAY
WRONG = [
    Fault(("429", "500", "502", "503", "504", "reset", "truncated", "empty", "redirect", "slow"), on="any", rate=0.04,
          seconds=0.02),
    Fault(("buying_power", "wash_trade"), rate=0.02),
    Fault(("partial_fill", "partial_cancel", "unknown_status"), rate=0.05),
    Fault("hang", on="any", rate=0.005, seconds=0.5),
]  # fmt: skip


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_twenty_days_of_hourly_bars(shared_data: Path, tmp_path: Path) -> None:
    panel = load_panel(shared_data / "hourly_ibkr")
    settings = Settings(start=len(panel) - BARS, sleeves=True)
    ours, theirs = FORK.Pipe()

    def exchange() -> None:
        serve(panel, settings=settings, faults=Faults(WRONG, seed=20), ready=theirs.send)

    process = FORK.Process(target=exchange, daemon=True)
    process.start()
    assert ours.poll(30)
    spec = SessionSpec(
        exchange=ExchangeSpec(url=ours.recv()),
        bars=BARS,
        history=200,
        connection=replace(IMPATIENT, patience_seconds=10),
    )
    watched: list[tuple[int, float, int]] = []

    def watch(stands: Snapshot) -> None:
        if stands.doing == "bar done":
            gc.collect()
            watched.append((stands.done, resident_mib(), len(list(Path("/proc/self/fd").iterdir()))))

    stops: list[Any] = []
    while True:
        try:
            start(spec, Sleeves(), tmp_path, watch)
            break
        except (BrokerUncertain, Stopped) as stop:
            stops.append(stop)
            assert len(stops) < 10
    process.terminate()
    process.join(20)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    report, orders = session_report(journal), lives(read_events(journal))
    assert (report["bars"], report["state"], report["decision_parity"]) == (BARS, "ended", 1.0)
    assert (report["duplicate_orders"], report["unresolved_orders"], report["equity_difference"]) == (0, 0, 0.0)
    assert report["orders"] > 200
    refused = sum(life.state == State.REJECTED for life in orders.values())
    assert report["broker_orders"] == len(orders) - refused
    assert refused > 0
    # After the first quarter, where caches fill, memory and handles stay where they are.
    done, memory, handles = np.array(watched).T
    settled = done > BARS / 4
    assert np.polyfit(done[settled], memory[settled], 1)[0] * BARS < 16.0  # MiB over the whole session
    assert handles[settled].max() <= handles[settled].min() + 2
