"""The places at which a session is killed: before and after every transaction of its journal, and around its orders.

A point is a list of lives: each is a process that kills itself at a boundary, and the next one finds what it left.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.hours import MarketClock
from tradekit.live.journal import Journal
from tradekit.live.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tradekit.live.hours import Moment
    from tradekit.live.journal import Batch, Event

FORK = multiprocessing.get_context("fork")

ORDER, CLOSE, HISTORY = "order", "close", "history"
"""Boundaries that are no event of the journal: an order, the close of a bar, the bars before the session."""


def die() -> None:
    """Be gone at once."""
    os.kill(os.getpid(), signal.SIGKILL)


class Boundary(NamedTuple):
    """The n-th time something happens, before it has or after.

    ``kind`` is a kind of journal event, of which the n-th transaction with one counts, or one of those above.
    """

    kind: str
    nth: int
    when: Literal["before", "after"]

    def arm(self, then: Callable[[], None] = die) -> None:
        """Have this process do ``then``, once, when it gets there."""
        arms = {ORDER: _at_order, CLOSE: _at_close}
        arms.get(self.kind, _at_transaction)(self, then)


def exit_code(live: Callable[[], None]) -> int | None:
    """Run something in a process of its own and return how it ended."""
    process = FORK.Process(target=live)
    process.start()
    process.join(60)
    return process.exitcode


def demand_death(live: Callable[[], None]) -> None:
    """Run something that has to kill itself."""
    assert exit_code(live) == -signal.SIGKILL, "the boundary was never reached"


def _at_transaction(boundary: Boundary, then: Callable[[], None]) -> None:
    durable, count = Journal.batch, [0]

    @contextmanager
    def batch(self: Journal) -> Iterator[Batch]:
        with durable(self) as one:
            yield one
            count[0] += (hit := any(_kind(event) == boundary.kind for event in one.events))
            here = hit and count[0] == boundary.nth
            if here and boundary.when == "before":
                then()
        if here and boundary.when == "after":
            then()

    Journal.batch = batch  # type: ignore[method-assign]


def _kind(event: Event) -> str:
    return HISTORY if event.body.get("history") is True else event.kind


def _at_order(boundary: Boundary, then: Callable[[], None]) -> None:
    submit, count = AlpacaBroker.submit, [0]

    def killing(self: AlpacaBroker, ticket: Any) -> Any:
        if boundary.when == "before":
            count[0] += 1
            if count[0] == boundary.nth:
                then()
            return submit(self, ticket)
        answer = submit(self, ticket)  # an order that is refused, or unanswered, is not one that was accepted
        count[0] += 1
        if count[0] == boundary.nth:
            then()
        return answer

    AlpacaBroker.submit = killing  # type: ignore[method-assign]


def _at_close(boundary: Boundary, then: Callable[[], None]) -> None:
    count = [0]

    def armed(advance: Callable[..., Moment]) -> Callable[..., Moment]:
        def killing(self: Any, to: int, between: Callable[[], None] = lambda: None) -> Moment:
            answer = advance(self, to, between)
            count[0] += 1
            if count[0] == boundary.nth:
                then()
            return answer

        return killing

    Replay.advance = armed(Replay.advance)  # type: ignore[method-assign]
    MarketClock.advance = armed(MarketClock.advance)  # type: ignore[method-assign]


Point = tuple[Boundary, ...]

ACCEPTED = "an order is accepted"
ALL_SENT = Boundary("ack", 2, "after")
CLOSED = Boundary(CLOSE, 6, "after")
POINTS: dict[str, Point] = {
    "the session is journalled": (Boundary("session", 1, "after"),),
    "the bars before it are journalled": (Boundary(HISTORY, 1, "after"),),
    "a bar is seen": (Boundary("bar", 4, "after"),),
    "fills are collected, not journalled": (Boundary("reconciliation", 5, "before"),),
    "fills are journalled": (Boundary("fill", 3, "after"),),
    "a decision is made, not journalled": (Boundary("decision", 3, "before"),),
    "intents are durable": (Boundary("intent", 3, "after"),),
    "sending begins": (Boundary("sent", 2, "after"),),
    "an order is about to go": (Boundary(ORDER, 4, "before"),),
    ACCEPTED: (Boundary(ORDER, 4, "after"),),
    "all are accepted, not journalled": (Boundary("ack", 2, "before"),),
    "all are acknowledged": (ALL_SENT,),
    "the next bar has closed": (CLOSED,),
    # Progress of an order between two bars is seen by whoever comes back.
    "progress is seen, not journalled": (CLOSED, Boundary("event", 1, "before")),
    "progress is journalled": (CLOSED, Boundary("event", 1, "after")),
    "the verdict is not journalled": (Boundary("end", 1, "before"),),
    "the verdict is journalled": (Boundary("end", 1, "after"),),
}
"""Those that every session passes."""

RUNNING: dict[str, Point] = {
    "progress is seen, not journalled": (ALL_SENT, Boundary("event", 1, "before")),
    "progress is journalled": (ALL_SENT, Boundary("event", 1, "after")),
}
"""The two in which orders fill meanwhile, where the market goes on while nobody is there."""

UNANSWERED: dict[str, Point] = {
    "a lost order is not yet journalled": (Boundary("unknown", 1, "before"),),
    "a lost order is journalled": (Boundary("unknown", 1, "after"),),
}
"""Those of a session that could not find out whether an order arrived."""

HALTING: dict[str, Point] = {
    "the halt is not journalled": (Boundary("halt", 1, "before"),),
    "the halt is journalled": (Boundary("halt", 1, "after"),),
}
"""Those of a session that halts."""
