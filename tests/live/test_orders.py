"""The life of an order: every road the states allow, and none besides; and one that was lost on the way."""

from __future__ import annotations

import time
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import random_panel
from tradekit.errors import SessionError
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.follow import Follower, Opening
from tradekit.live.journal import Event, Journal, Kind
from tradekit.live.orders import NEXT, OPEN, OrderLife, State, lives, state_of
from tradekit.live.outbox import Intent, Outbox

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.live.broker import BrokerOrder

LIFE = OrderLife("s.1", "A", 5.0, "2024-01-02")
ENDS = sorted(set(State) - OPEN)


def event(kind: Kind, **body: Any) -> Event:
    return Event(1, kind, "2024-01-02", {"client_order_id": "s.1", **body}, "", "")


INTENT = event("intent", symbol="A", quantity=5.0, catch_up=0.0)
SENT = event("sent")


def test_the_usual_road() -> None:
    events = [
        INTENT,
        SENT,
        event("ack", status="accepted"),
        event("event", status="partially_filled", filled_shares="2"),
        event("fill", status="filled", filled_shares="5"),
    ]
    states = [lives(events[: k + 1])["s.1"].state for k in range(len(events))]
    assert states == [State.PLANNED, State.SENT, State.WORKING, State.PARTIAL, State.FILLED]
    assert lives(events)["s.1"].filled == Decimal(5)


def test_lost_and_found_again() -> None:
    events = [INTENT, SENT, event("unknown"), SENT, event("ack", status="new")]
    assert lives(events[:3])["s.1"].state == State.UNKNOWN
    assert lives(events)["s.1"].state == State.WORKING


def test_refused() -> None:
    life = lives([INTENT, SENT, event("ack", status="refused")])["s.1"]
    assert (life.state, life.is_open) == (State.REJECTED, False)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("then", list(State))
def test_an_end_is_an_end(end: State, then: State) -> None:
    ended = OrderLife("s.1", "A", 5.0, "2024-01-02", end)
    if then == end:
        assert ended.moved(then).state == end
    else:
        with pytest.raises(SessionError, match=f"from {end} with 0 filled to {then}"):
            ended.moved(then)


def test_fills_are_never_taken_back() -> None:
    partly = LIFE.moved(State.SENT).moved(State.PARTIAL, Decimal(3))
    with pytest.raises(SessionError, match="with 3 filled to canceled with 2"):
        partly.moved(State.CANCELED, Decimal(2))
    assert partly.moved(State.CANCELED).filled == 3


@given(st.lists(st.sampled_from(list(State)), max_size=8))
def test_every_walk_ends_for_good(walk: list[State]) -> None:
    life, ended = LIFE, False
    for state in walk:
        if state not in NEXT.get(life.state, {life.state}):
            continue
        before, life = life, life.moved(state)
        assert not ended or life == before
        ended = not life.is_open


@pytest.mark.parametrize("status", ["held", "pending_cancel", "stopped", "a_word_from_next_year"])
def test_words_nobody_knows_are_open(status: str) -> None:
    assert state_of(status, Decimal(0)) == State.WORKING
    assert state_of(status, Decimal("0.1")) == State.PARTIAL


@pytest.mark.parametrize("late", [False, True])
def test_a_request_that_was_on_its_way_is_adopted(late: bool, tmp_path: Path) -> None:
    intent = Intent("s.1", "S0", 2.0)

    class OnItsWay(AlpacaBroker):
        """The order arrives when it has been looked for in vain: it was sent by a process that is dead by now."""

        looks = 0

        def find(self, client_order_id: str) -> BrokerOrder | None:
            found = super().find(client_order_id)
            self.looks += 1
            if self.looks == 1:
                super().submit(intent.ticket)
            return found

    with (
        ExchangeServer(Exchange(random_panel(30, 1), Settings(start=20))) as server,
        closing(OnItsWay("local", "local", server.url)) as broker,
        Journal(tmp_path / "s.sqlite") as journal,
    ):
        opening = Opening({}, 100_000.0, broker.clock().now)
        follower = Follower(broker, journal, "s", opening, time.sleep)
        outbox = Outbox(broker, journal, follower, lambda: None, time.sleep)
        journal.append("intent", "2010-01-24", intent._asdict())
        outbox.restore(journal.events()[0])
        assert outbox.resolve(late=late) == 0
        (ack,) = [event.body for event in journal.events() if event.kind == "ack"]
        assert ack["adopted"]
        assert (outbox.unknown, len(follower.open_ids)) == ([], 1)
        assert len(server.exchange.venue.orders) == 1
