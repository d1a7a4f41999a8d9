"""What a journal says: the state of a session, and its shadow report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tradekit.errors import SessionError
from tradekit.live.drift import drift
from tradekit.live.journal import is_running, read_events
from tradekit.live.orders import NEVER_THERE, lives
from tradekit.live.shortfall import shortfall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tradekit.live.journal import Event, Kind

JUDGED = (
    "decision_parity",
    "mismatches",
    "equity_difference",
    "broker_orders",
    "duplicate_orders",
    "unresolved_orders",
    "latency",
)


def session_report(path: Path) -> dict[str, Any]:
    """Return the shadow report of a journal.

    Parity and the final count of orders are judged when a session ends; before that they are None. Money is in dollars,
    shares are signed, costs are against the trader when positive.

    Raises:
        SessionError: no such journal, or it is damaged or empty.
    """
    events = _events(path)
    opened, counts = events[0].body, Counter(event.kind for event in events)
    ended = next((event.body for event in events if event.kind == "end"), {})
    rows = [_row(event) for event in events if event.kind == "fill"]
    money = [event for event in events if event.kind == "reconciliation"]
    return {
        **{key: opened[key] for key in ("session", "mode", "strategy", "source", "frequency", "first")},
        "state": _state(path, counts),
        "halted": next((event.body["reason"] for event in events if event.kind == "halt"), None),
        "last": money[-1].bar if money else None,
        "bars": len(_seen(events)),
        "decisions": counts["decision"],
        "intents": counts["intent"],
        "orders": sum(event.kind == "ack" and event.body["status"] not in NEVER_THERE for event in events),
        "fills": sum(row["broker_quantity"] != 0.0 for row in rows),
        **{key: ended.get(key) for key in JUDGED},
        "cash_difference": money[-1].body.get("cash_difference") if money else None,
        "equity": [event.body["equity"] for event in money],
        "broker_equity": [event.body.get("broker_equity") for event in money],
        "timestamps": [event.bar for event in money],
        "model_cost": sum((sum(event.body["model_costs"].values()) for event in money), 0.0),
        "fill_cost": sum((row["fill_cost"] or 0.0 for row in rows), 0.0),
        "shortfall": shortfall(events, rows),
        "drift": drift(rows),
        "per_order": rows,
    }


def status(path: Path) -> dict[str, Any]:
    """Return where a session stands: running, stopped (start it again to go on), halted or ended.

    Raises:
        SessionError: no such journal, or it is damaged or empty.
    """
    events = _events(path)
    opened, counts = events[0].body, Counter(event.kind for event in events)
    money = [event for event in events if event.kind == "reconciliation"]
    acknowledged = {event.body["client_order_id"] for event in events if event.kind in ("fill", "ack")}
    intents = {event.body["client_order_id"] for event in events if event.kind == "intent"}
    return {
        "session": opened["session"],
        "mode": opened["mode"],
        "strategy": opened["strategy"],
        "state": _state(path, counts),
        "bars_done": len(_seen(events)),
        "bars": opened["bars"],
        "last": money[-1].bar if money else None,
        "equity": money[-1].body["equity"] if money else None,
        "orders": counts["ack"],
        "fills": counts["fill"],
        "in_doubt": len(intents - acknowledged),
        "open_orders": sum(life.is_open for life in lives(events).values()),
        "halted": next((event.body["reason"] for event in events if event.kind == "halt"), None),
    }


def _events(path: Path) -> list[Event]:
    events = read_events(path)
    if not events:
        raise SessionError(f"{path}: an empty journal; start the session again")
    return events


def _state(path: Path, counts: Counter[Kind]) -> str:
    if counts["end"]:
        return "ended"
    if counts["halt"]:
        return "halted"
    return "running" if is_running(path) else "stopped"


def _seen(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.kind == "bar" and not event.body["history"]]


def _row(event: Event) -> dict[str, Any]:
    """Return one order: what the model says it should have cost beside what it did cost."""
    body = event.body
    cost = body["fill_cost"]
    return {
        "filled": event.bar,
        **{key: value for key, value in body.items() if key != "order_id"},
        "difference": None if cost is None else cost - body["model_cost"],
    }
