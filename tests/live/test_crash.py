"""A session that is killed goes on as if nothing had happened: SIGKILL at the boundaries of its journal and its orders.

Each child is a real process, forked from this one, that kills itself. The exchange either dies with it, as it does in a
session that opens its own, or runs on elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.toys import Sleeves, agent, told
from tests.panels import random_panel
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.exchange import Exchange, ExchangeServer, Settings, serve
from tradekit.live.journal import Journal, read_events
from tradekit.live.replay import Replay
from tradekit.live.report import status
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live.conftest import Open
    from tradekit.live.hours import Moment
    from tradekit.live.journal import Batch

FORK = multiprocessing.get_context("fork")
OWN = SessionSpec(symbols=("AAPL", "AMD", "GE", "JPM", "KO", "XOM"), bars=14, history=140)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def journal_point(kind: str, nth: int, when: str) -> Callable[[], None]:
    """Return a set-up that kills the process at the n-th batch with a ``kind`` in it, before or after it is durable."""

    def arm() -> None:
        durable, count = Journal.batch, [0]

        @contextmanager
        def batch(self: Journal) -> Iterator[Batch]:
            with durable(self) as one:
                yield one
                hit = any(event.kind == kind and event.body.get("history") is not True for event in one.events)
                count[0] += hit
                if hit and count[0] == nth and when == "before":
                    die()
            if hit and count[0] == nth:
                die()

        Journal.batch = batch  # type: ignore[method-assign]

    return arm


def order_point(nth: int, when: str) -> Callable[[], None]:
    """Return a set-up that kills the process at its n-th order, before or after the exchange has it."""

    def arm() -> None:
        submit, count = AlpacaBroker.submit, [0]

        def killing(self: AlpacaBroker, ticket: Any) -> Any:
            count[0] += 1
            if count[0] == nth and when == "before":
                die()
            answer = submit(self, ticket)
            if count[0] == nth:
                die()
            return answer

        AlpacaBroker.submit = killing  # type: ignore[method-assign]

    return arm


def advance_point(nth: int) -> Callable[[], None]:
    """Return a set-up that kills the process once the n-th bar has closed and before it was seen."""

    def arm() -> None:
        advance, count = Replay.advance, [0]

        def killing(self: Replay, to: int, between: Callable[[], None] = lambda: None) -> Moment:
            answer = advance(self, to, between)
            count[0] += 1
            if count[0] == nth:
                die()
            return answer

        Replay.advance = killing  # type: ignore[method-assign]

    return arm


ACCEPTED = "an order is accepted"
POINTS = {
    "the session is journalled": journal_point("session", 1, "after"),
    "a bar is seen": journal_point("bar", 4, "after"),
    "fills are collected, not journalled": journal_point("reconciliation", 5, "before"),
    "fills are journalled": journal_point("reconciliation", 5, "after"),
    "a decision is made, not journalled": journal_point("decision", 3, "before"),
    "intents are durable": journal_point("intent", 3, "after"),
    "sending begins": journal_point("sent", 2, "after"),
    "an order is about to go": order_point(4, "before"),
    ACCEPTED: order_point(4, "after"),
    "all are accepted, not journalled": journal_point("ack", 2, "before"),
    "all are acknowledged": journal_point("ack", 2, "after"),
    "the next bar has closed": advance_point(6),
    "the verdict is not journalled": journal_point("end", 1, "before"),
}


def kill(arm: Callable[[], None], spec: SessionSpec, asked: Path, desk: Path) -> None:
    """Run a session in a process that kills itself."""

    def run() -> None:
        arm()
        start(spec, Sleeves(asked), desk)

    child = FORK.Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


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


@pytest.mark.parametrize("point", POINTS)
def test_killed_together_with_its_exchange(point: str, undisturbed: list[Any], tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    kill(POINTS[point], OWN, asked, tmp_path)
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
        kill(POINTS[point], spec, tmp_path / "asked", tmp_path)
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
        kill(POINTS[point], OWN, tmp_path / "asked", tmp_path)
    report = start(OWN, Sleeves(), tmp_path).report
    demand_whole(report)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    assert without_sending(told(read_events(journal))) == without_sending(undisturbed)


def test_a_policy_remembers(tmp_path: Path) -> None:
    def run() -> None:
        POINTS["intents are durable"]()
        start(OWN, agent(), tmp_path)

    child = FORK.Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    result = start(OWN, agent(), tmp_path)
    demand_whole(result.report)
    assert result.report["orders"] > 10


def test_adopted_orders_say_so(tmp_path: Path) -> None:
    kill(POINTS["all are accepted, not journalled"], OWN, tmp_path / "asked", tmp_path)
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
