"""A session under faults, started again as often as it stops, set beside the exchange's own ledger."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.live.deaths import demand_death
from tests.live.toys import Sleeves
from tests.panels import random_panel
from tradekit.errors import SessionError
from tradekit.live.broker import BrokerUncertain
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.exchange.pace import Pace
from tradekit.live.journal import read_events
from tradekit.live.limits import Limits
from tradekit.live.orders import State, lives
from tradekit.live.patience import Patience, Stopped
from tradekit.live.replay import Replay
from tradekit.live.report import session_report
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.market.calendar import session_close, sessions_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.live.deaths import Boundary
    from tradekit.live.journal import Event
    from tradekit.market.panel import Panel

BARS, HISTORY, START = 14, 140, 180
IMPATIENT = Patience(timeout_seconds=0.3, patience_seconds=3.0, first_wait_seconds=0.005, longest_wait_seconds=0.05)


@cache
def panel() -> Panel:
    """Return the bars of every trial: 220 sessions of 4 symbols."""
    dates = sessions_from("2010-01-04", 220)
    return replace(random_panel(220, 4, seed=9), timestamps=dates.astype("M8[ns]"), close_time=session_close(dates))


def spec(url: str, **more: Any) -> SessionSpec:
    """Return the session of every trial on the exchange at ``url``."""
    return replace(
        SessionSpec(exchange=ExchangeSpec(url=url), bars=BARS, history=HISTORY, connection=IMPATIENT), **more
    )


PAPER: dict[str, Any] = {
    "mode": "paper",
    "symbols": ("S0", "S1", "S2", "S3"),
    "bars": 9,
    "connection": replace(IMPATIENT, delay_seconds=0.0, poll_seconds=0.08),
    "limits": Limits(stale_seconds=1e9, clock_seconds=1e9),
}
"""What makes the session of a trial one in paper mode: the market runs by itself, and trade updates are listened to."""
PACE = Pace(auto=True, quiet_seconds=0.03)


@dataclass
class Outcome:
    """What a trial left: the report, the journal, the exchange, and how the session ended each time it stopped."""

    report: dict[str, Any]
    events: list[Event]
    exchange: Exchange
    stops: list[Exception] = field(default_factory=list)

    @property
    def sent(self) -> list[str]:
        """Ids of the orders that the exchange has."""
        return [order.ask.client_order_id for order in self.exchange.venue.orders.values()]

    @property
    def decisions(self) -> list[Any]:
        """What was decided, bar by bar."""
        keep = ("targets", "are_shares", "equity", "orders", "memory")
        return [(e.bar, [e.body[key] for key in keep]) for e in self.events if e.kind == "decision"]


def run(
    faults: Sequence[Fault],
    desk: Path,
    *,
    seed: int = 0,
    prepare: Callable[[SessionSpec, Path], None] | None = None,
    fatal: bool = False,
    **more: Any,
) -> Outcome:
    """Run a session to its end against an exchange with these faults; ``more`` are settings of the session.

    ``prepare`` may run and kill it first. A session that is over by then is not started again. A ``fatal`` fault halts
    it, which is no failure.
    """
    exchange = Exchange(panel(), Settings(start=START, sleeves=True), faults=Faults(list(faults), seed))
    journal = desk / "paper" / "journals" / "local.sqlite"
    with ExchangeServer(exchange, pace=PACE if more.get("mode") == "paper" else None) as server:
        session = spec(server.url, **more)
        if prepare is not None:
            prepare(session, desk)
        stops: list[Exception] = []
        with suppress(SessionError) if fatal else nullcontext():
            stops = [] if is_over(journal) else insist(session, desk)
        return Outcome(session_report(journal), read_events(journal), exchange, stops)


def insist(session: SessionSpec, desk: Path, restarts: int = 20) -> list[Exception]:
    """Start a session as often as it stops for want of an answer, as a person would; return why it stopped."""
    stops: list[Exception] = []
    while True:
        try:
            start(session, Sleeves(), desk)
            return stops
        except (BrokerUncertain, Stopped) as stop:
            stops.append(stop)
            if len(stops) > restarts:
                raise


def killed(boundary: Boundary, session: SessionSpec, desk: Path) -> None:
    """Run a session in a process that kills itself there."""

    def live() -> None:
        boundary.arm()
        insist(session, desk)

    demand_death(live)


def go_on_without_it(session: SessionSpec, bars: int = 1) -> None:
    """Move the market on while nobody is there."""
    with closing(Replay("local", "local", session.exchange.url)) as market:
        market.advance(market.moment().bar + bars)


def is_over(journal: Path) -> bool:
    """Return whether the session of a journal has ended or halted; started again, it would be another one."""
    return journal.is_file() and bool({"end", "halt"} & {event.kind for event in read_events(journal)})


def demand_orders(outcome: Outcome) -> None:
    """One order per intent, and the journal equal to the exchange's ledger in orders and fills."""
    orders, theirs = lives(outcome.events), Counter(outcome.sent)
    assert max(theirs.values()) == 1
    refused = {key for key, life in orders.items() if life.state == State.REJECTED}
    assert set(theirs) == set(orders) - refused
    filled: Counter[str] = Counter()
    for execution in outcome.exchange.venue.executions:
        filled[execution.client_order_id] += Decimal(execution.quantity).quantize(Decimal("1e-9"))  # type: ignore[assignment]
    ours = {key: life.filled for key, life in orders.items() if life.filled}
    assert ours == dict(filled)


def demand_accounts(outcome: Outcome) -> None:
    """As ``demand_orders``, none is open, positions and cash are equal too, and the session ended well."""
    demand_orders(outcome)
    orders, venue = lives(outcome.events).values(), outcome.exchange.venue
    assert not [life for life in orders if life.is_open]
    for column, symbol in enumerate(venue.panel.symbols):
        bought = sum(
            (life.filled if life.quantity > 0 else -life.filled for life in orders if life.symbol == symbol), Decimal(0)
        )
        assert bought == Decimal(venue.shares(column)).quantize(Decimal("1e-9"))
    last = [event.body for event in outcome.events if event.kind == "reconciliation"][-1]
    assert (last["differences"], last["broker_cash"]) == ([], venue.cash)
    report = outcome.report
    assert (report["state"], report["decision_parity"], report["equity_difference"]) == ("ended", 1.0, 0.0)
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
