"""Stop and kill: from another thread, another process, and in the middle of a bar."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.toys import Drift
from tests.panels import random_panel
from tradekit.errors import SessionError
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.journal import read_events, writer_of
from tradekit.live.patience import Killed, Patience, Persistence, Stopped
from tradekit.live.replay import Replay
from tradekit.live.report import session_report, status
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.live.switch import KillSwitch, StopRequest, stop

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

FORK = multiprocessing.get_context("fork")
SPEC = SessionSpec(symbols=("AAPL", "AMD", "GE"), bars=20, history=140)


class Meddler(Drift):
    """Does something at the n-th question."""

    def __init__(self, act: Any, at: int) -> None:
        super().__init__()
        self._act, self._left = act, at

    def weights(self, panel: Panel) -> Floats:
        self._left -= 1
        if self._left == 0:
            self._act()
        return super().weights(panel)


def test_the_kill_switch_cancels_and_halts(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path / "paper" / "journals")
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server:
        spec = SessionSpec(exchange=ExchangeSpec(url=server.url), bars=15, history=20)
        with pytest.raises(Killed, match="kill switch: too much"):
            start(spec, Meddler(lambda: switch.pull(flatten=False, why="too much"), 6), tmp_path)
        orders = list(server.exchange.venue.orders.values())
        sent = {order.ask.client_order_id for order in orders}
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    report = session_report(journal)
    assert report["state"] == "halted"
    assert report["halted"] == "kill switch: too much; 0 open orders cancelled"
    # The switch was pulled while the strategy was asked: nothing of that decision went out.
    last = [event.bar for event in read_events(journal) if event.kind == "decision"][-1]
    assert not [key for key in sent if last.replace("-", "") in key]
    with pytest.raises(SessionError, match=r"the kill switch is on since .*tradekit paper kill --clear"):
        start(SPEC, Drift(), tmp_path)
    assert switch.clear()
    assert not switch.clear()
    assert start(replace(SPEC, bars=3), Drift(), tmp_path).session == "local-2"


def test_flatten_orders_everything_away(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path / "paper" / "journals")
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server:
        spec = SessionSpec(exchange=ExchangeSpec(url=server.url), bars=15, history=20)
        with pytest.raises(Killed):
            start(spec, Meddler(lambda: switch.pull(flatten=True, why=""), 6), tmp_path)
        broker, replay = AlpacaBroker("local", "local", server.url), Replay("local", "local", server.url)
        assert set(broker.positions()) == {"S0", "S1", "S2"}
        replay.advance(replay.moment().bar + 1)
        assert broker.positions() == {}
        replay.close()
        broker.close()
    assert "3 positions sold" in session_report(tmp_path / "paper" / "journals" / "local.sqlite")["halted"]


def test_a_kill_file_nobody_can_read_is_a_kill(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    (tmp_path / "KILL").write_text("{nonsense")
    order = switch.order()
    assert order is not None
    assert order["why"] == "the kill file cannot be read"
    with pytest.raises(Killed):
        switch.demand_off()
    switch.pull(flatten=True, why="now in earnest")
    switch.pull(flatten=False, why="again")  # asking for less takes nothing back
    assert json.loads(switch.path.read_text())["flatten"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_bar_and_it_goes_on(number: int, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="tradekit paper start goes on from here"):
        start(SPEC, Meddler(lambda: os.kill(os.getpid(), number), 5), tmp_path)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    stands = status(journal)
    assert (stands["state"], stands["bars_done"], stands["in_doubt"]) == ("stopped", 5, 0)
    assert [event.kind for event in read_events(journal)][-1] in ("ack", "decision")  # the bar was finished
    report = start(SPEC, Drift(), tmp_path).report
    assert (report["state"], report["decision_parity"], report["equity_difference"]) == ("ended", 1.0, 0.0)


def test_stopping_from_another_process(tmp_path: Path) -> None:
    def run() -> None:
        start(replace(SPEC, bars=60), Meddler(lambda: time.sleep(0.3), 10), tmp_path)

    child = FORK.Process(target=run)
    child.start()
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    deadline = time.monotonic() + 30
    while not journal.is_file() or sum(e.kind == "decision" for e in read_events(journal)) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert writer_of(journal) == child.pid
    stop(journal)
    child.join(20)
    assert child.exitcode == 1  # Stopped, raised out of the process
    assert status(journal)["state"] == "stopped"
    with pytest.raises(SessionError, match="no session is running"):
        stop(journal)
    assert start(replace(SPEC, bars=60), Drift(), tmp_path).report["decision_parity"] == 1.0


def test_what_waits_hears_a_stop() -> None:
    stopping = StopRequest()
    persistence = Persistence(Patience(), stopping.check)
    threading.Timer(0.1, lambda: setattr(stopping, "asked", True)).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        persistence.pause(60.0)
    assert time.monotonic() - began < 10.0
