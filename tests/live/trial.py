"""A session under faults, started again as often as it stops, set beside the exchange's own ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.live.toys import Sleeves
from tests.panels import random_panel
from tradekit.live.broker import BrokerUncertain
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.journal import read_events
from tradekit.live.orders import State, lives
from tradekit.live.patience import Patience, Stopped
from tradekit.live.report import session_report
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tradekit.live.journal import Event
    from tradekit.market.panel import Panel

BARS, HISTORY, START = 14, 140, 180
IMPATIENT = Patience(timeout_seconds=0.3, patience_seconds=3.0, first_wait_seconds=0.005, longest_wait_seconds=0.05)


def panel() -> Panel:
    """Return the bars of every trial: 220 days of 4 symbols."""
    return random_panel(220, 4, seed=9)


def spec(url: str, **more: Any) -> SessionSpec:
    """Return the session of every trial on the exchange at ``url``."""
    return SessionSpec(exchange=ExchangeSpec(url=url), bars=BARS, history=HISTORY, connection=IMPATIENT, **more)


@dataclass
class Outcome:
    """What a trial left: the report, the journal, the exchange, and how the session ended each time it stopped."""

    report: dict[str, Any]
    events: list[Event]
    exchange: Exchange
    stops: list[Exception] = field(default_factory=list)

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
    restarts: int = 4,
    prepare: Callable[[SessionSpec, Path], None] | None = None,
) -> Outcome:
    """Run a session to its end against an exchange with these faults; ``prepare`` may run and kill a first one."""
    exchange = Exchange(panel(), Settings(start=START, sleeves=True), faults=Faults(list(faults), seed))
    stops: list[Exception] = []
    with ExchangeServer(exchange) as server:
        session = spec(server.url)
        if prepare is not None:
            prepare(session, desk)
        while True:
            try:
                start(session, Sleeves(), desk)
                break
            except (BrokerUncertain, Stopped) as stop:  # what a person, or a supervisor, answers with another start
                stops.append(stop)
                if len(stops) > restarts:
                    raise
        journal = desk / "paper" / "journals" / "local.sqlite"
        return Outcome(session_report(journal), read_events(journal), exchange, stops)


def demand_accounts(outcome: Outcome) -> None:
    """One order per intent, and the journal equal to the exchange's ledger in orders, fills, positions and cash."""
    venue, orders = outcome.exchange.venue, lives(outcome.events)
    theirs = Counter(order.ask.client_order_id for order in venue.orders.values())
    assert max(theirs.values()) == 1
    refused = {key for key, life in orders.items() if life.state == State.REJECTED}
    assert set(theirs) == set(orders) - refused
    assert not [life for life in orders.values() if life.is_open]
    filled: Counter[str] = Counter()
    for execution in venue.executions:
        filled[execution.client_order_id] += Decimal(execution.quantity).quantize(Decimal("1e-9"))  # type: ignore[assignment]
    ours = {key: life.filled for key, life in orders.items() if life.filled}
    assert ours == dict(filled)
    last = [event.body for event in outcome.events if event.kind == "reconciliation"][-1]
    assert last["differences"] == []
    report = outcome.report
    assert (report["state"], report["decision_parity"], report["equity_difference"]) == ("ended", 1.0, 0.0)
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
