"""A session that is killed goes on as if nothing had happened: SIGKILL at the boundaries of its journal and its orders.

Each child is a real process, forked from this one, that kills itself. The exchange either dies with it, as it does in a
session that opens its own, or runs on elsewhere.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.deaths import ACCEPTED, FORK, POINTS, demand_death
from tests.live.toys import Sleeves, agent, told
from tests.panels import random_panel
from tradekit.live.exchange import Exchange, ExchangeServer, Settings, serve
from tradekit.live.journal import read_events
from tradekit.live.replay import Replay
from tradekit.live.report import status
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.conftest import Open
    from tests.live.deaths import Boundary, Point
    from tradekit.engine.strategy import AnyStrategy

OWN = SessionSpec(symbols=("AAPL", "AMD", "GE", "JPM", "KO", "XOM"), bars=14, history=140)


def kill(point: Point, spec: SessionSpec, strategy: AnyStrategy, desk: Path) -> None:
    """Run a session in a process that kills itself, and once more for every further life of the point."""
    for boundary in point:

        def run(boundary: Boundary = boundary) -> None:
            boundary.arm()
            start(spec, strategy, desk)

        demand_death(run)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return what the journal of a session says that nobody killed."""
    result = start(OWN, Sleeves(), tmp_path_factory.mktemp("calm"))
    assert result.report["orders"] > 10
    return told(read_events(result.journal))


def demand_whole(report: dict[str, Any]) -> None:
    assert (report["state"], report["decision_parity"], report["equity_difference"]) == ("ended", 1.0, 0.0)
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
    assert report["intents"] == report["orders"] == report["broker_orders"]
    assert report["cash_difference"] == 0.0


@pytest.mark.parametrize("point", [name for name in POINTS if name != "the verdict is journalled"])
def test_killed_together_with_its_exchange(point: str, undisturbed: list[Any], tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    kill(POINTS[point], OWN, Sleeves(asked), tmp_path)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    assert status(journal)["state"] == "stopped"
    result = start(OWN, Sleeves(asked), tmp_path)
    assert result.journal == journal
    demand_whole(result.report)
    assert without_sending(told(read_events(journal))) == without_sending(undisturbed)
    # Asked once a bar, plus once a bar by the backtests of the verdict. A decision that was lost with the process
    # before it was written has to be made again.
    verdicts = 2 if point == "the verdict is not journalled" else 1
    times = Counter(asked.read_text(encoding="utf-8").split())
    again = {bar for bar, count in times.items() if count != 1 + verdicts}
    assert len(again) == (1 if point == "a decision is made, not journalled" else 0)


def without_sending(events: list[Any]) -> list[Any]:
    """Leave out ``sent``, since an intent may have been sent before unnoticed, and early looks at fills."""
    return [event for event in events if event[0] not in ("sent", "event")]


@pytest.mark.parametrize("point", [ACCEPTED, "all are accepted, not journalled", "the next bar has closed"])
def test_killed_while_the_exchange_runs_on(point: str, tmp_path: Path) -> None:
    panel = random_panel(220, 4, seed=9)
    with ExchangeServer(Exchange(panel, Settings(start=180, sleeves=True))) as server:
        spec = SessionSpec(exchange=ExchangeSpec(url=server.url), bars=14, history=140)
        kill(POINTS[point], spec, Sleeves(), tmp_path)
        accepted = len(server.exchange.venue.orders)
        assert accepted > 0
        report = start(spec, Sleeves(), tmp_path).report
        demand_whole(report)
        ids = [order.ask.client_order_id for order in server.exchange.venue.orders.values()]
        assert len(ids) == len(set(ids)) == report["intents"]
        theirs = [(fill.client_order_id, fill.quantity, fill.price) for fill in server.exchange.venue.executions]
    rows = [row for row in report["per_order"] if row["broker_quantity"]]
    ours = [(row["client_order_id"], abs(row["broker_quantity"]), row["broker_price"]) for row in rows]
    assert sorted(ours) == sorted(theirs)


def test_killed_again_and_again(undisturbed: list[Any], tmp_path: Path) -> None:
    for point in ("intents are durable", ACCEPTED, "a bar is seen", "sending begins"):
        kill(POINTS[point], OWN, Sleeves(), tmp_path)
    report = start(OWN, Sleeves(), tmp_path).report
    demand_whole(report)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    assert without_sending(told(read_events(journal))) == without_sending(undisturbed)


def test_a_policy_remembers(tmp_path: Path) -> None:
    kill(POINTS["intents are durable"], OWN, agent(), tmp_path)
    result = start(OWN, agent(), tmp_path)
    demand_whole(result.report)
    assert result.report["orders"] > 10


def test_adopted_orders_say_so(tmp_path: Path) -> None:
    kill(POINTS["all are accepted, not journalled"], OWN, Sleeves(), tmp_path)
    result = start(OWN, Sleeves(), tmp_path)
    acks = [event.body for event in read_events(result.journal) if event.kind == "ack"]
    assert 0 < sum(ack["adopted"] for ack in acks) < len(acks)


def test_the_foreground_server_stops_cleanly(market: Open) -> None:
    ours, theirs = FORK.Pipe()

    def run() -> None:
        serve(random_panel(30, 2), ready=theirs.send)

    child = FORK.Process(target=run)
    child.start()
    assert ours.poll(20)
    replay = Replay("local", "local", ours.recv())
    assert replay.advance(3).bar == 3
    replay.close()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGTERM)
    child.join(20)
    assert child.exitcode == 0
