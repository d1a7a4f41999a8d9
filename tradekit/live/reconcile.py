"""A journal beside the broker's own books: what the session believes, what the broker says, and what to do about it.

Reads only, except for ``cancel_open``. It works on a session that runs, that was killed, or that halted itself.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import SessionError
from tradekit.live.follow import Opening
from tradekit.live.journal import read_events
from tradekit.live.orders import lives, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.live.broker import Broker, BrokerOrder
    from tradekit.live.orders import OrderLife

ZERO = Decimal(0)
A_WHILE = np.timedelta64(7, "D")


def reconcile(path: Path, broker: Broker) -> dict[str, Any]:
    """Return every difference between the journal at ``path`` and the broker, and advice in words.

    Quantities are exact: decimals as text. ``agrees`` is True when positions, orders and fills are the same on both
    sides; an order that has filled since the journal was last written is listed as news and is no difference.

    Raises:
        SessionError: no such journal, it is damaged, or it never sent orders.
        BrokerError: no answer.
    """
    events = read_events(path)
    if not events or events[0].body.get("account") is None:
        raise SessionError(f"{path}: this session never traded; there is nothing to reconcile")
    name, opening = str(events[0].body["session"]), Opening.from_json(events[0].body["account"])
    ours = lives(events)
    account, listed = broker.account(), broker.orders()
    theirs = {order.client_order_id: order for order in listed}
    mine = {key: order for key, order in theirs.items() if key.startswith(f"{name}.")}
    orders = [_order_row(life, mine.get(key)) for key, life in ours.items()]
    foreign = [_foreign(order) for order in listed if order.id not in {o.id for o in mine.values()}]
    foreign = [row for row in foreign if not row["final"] or row["submitted_at"] >= str(opening.at)]
    unplanned = sorted(set(mine) - set(ours))
    positions = _positions(broker, opening, mine)
    fills = _fills(broker, opening, mine)
    faults = [
        *(f"{row['client_order_id']}: {row['fault']}" for row in orders if row["fault"]),
        *(f"{key}: at the broker under this session's name, and not in its journal" for key in unplanned),
        *(f"{row['symbol']}: {row['client_order_id']} is somebody else's order" for row in foreign),
        *(f"{row['symbol']}: holds {row['broker']}, own orders make it {row['expected']}" for row in positions),
        *fills,
        *(["the broker has blocked the account"] if account.blocked else []),
    ]
    state = next((event.kind for event in reversed(events) if event.kind in ("halt", "end")), "open")
    return {
        "session": name,
        "journal": str(path),
        "state": state,
        "agrees": not faults,
        "faults": faults,
        "orders": len(ours),
        "open_orders": [row for row in orders if row["open"]],
        "news": [row for row in orders if row["news"]],
        "foreign": foreign,
        "positions": positions,
        "account": {"cash": account.cash, "equity": account.equity, "blocked": account.blocked},
        "advice": _advice(state, faults, foreign, orders),
    }


def _order_row(life: OrderLife, order: BrokerOrder | None) -> dict[str, Any]:
    """Return one order of the journal beside the broker's."""
    sent = life.state not in ("planned", "rejected")
    fault = "" if order is not None or not sent or life.state in ("sent", "unknown") else "the broker does not know it"
    state = life.state if order is None else state_of(order.status, order.filled)
    filled = life.filled if order is None else order.filled
    if order is not None and (order.quantity != abs(Decimal(repr(life.quantity))) or order.symbol != life.symbol):
        fault = f"the broker has {order.side} {order.quantity} {order.symbol}"
    if filled < life.filled:
        fault = f"the broker says {filled} filled, and had said {life.filled}"
    return {
        "client_order_id": life.client_order_id,
        "symbol": life.symbol,
        "quantity": life.quantity,
        "journal": str(life.state),
        "broker": None if order is None else order.status,
        "filled": str(filled),
        "open": order is not None and not order.is_final,
        "news": order is not None and not fault and (state != life.state or filled != life.filled),
        "fault": fault,
    }


def _foreign(order: BrokerOrder) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "order_id": order.id,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": str(order.quantity),
        "status": order.status,
        "final": order.is_final,
        "submitted_at": str(order.submitted_at),
    }


def _positions(broker: Broker, opening: Opening, mine: dict[str, BrokerOrder]) -> list[dict[str, str]]:
    """Return the symbols whose position is not the one before the session plus its fills."""
    expected: defaultdict[str, Decimal] = defaultdict(Decimal, opening.positions)
    for order in mine.values():
        expected[order.symbol] += order.filled if order.side == "buy" else -order.filled
    held = broker.positions()
    return [
        {"symbol": symbol, "expected": f"{expected[symbol].normalize():f}", "broker": f"{theirs.normalize():f}"}
        for symbol in sorted({*expected, *held})
        if (theirs := held.get(symbol, ZERO)) != expected[symbol]
    ]


def _fills(broker: Broker, opening: Opening, mine: dict[str, BrokerOrder]) -> list[str]:
    """Return every own order whose executions do not add up to what it says it has filled."""
    summed: defaultdict[str, Decimal] = defaultdict(Decimal)
    # A fill may carry the time at which its price was made, before the order; own ids tell whose it is.
    for execution in broker.executions(opening.at - A_WHILE):
        summed[execution.order_id] += execution.quantity
    return [
        f"{key}: executions add up to {summed[order.id]}, the order says {order.filled}"
        for key, order in mine.items()
        if summed[order.id] != order.filled
    ]


def _advice(state: str, faults: list[str], foreign: list[dict[str, Any]], orders: list[dict[str, Any]]) -> list[str]:
    advice = []
    if any(not row["final"] for row in foreign):
        advice.append("cancel what is not yours: tradekit paper reconcile --cancel-open")
    if state == "open":
        advice.append(
            "start the session again; it goes on from its journal: tradekit paper start"
            if not faults
            else "the session would halt as things stand; put the account right first"
        )
    elif any(row["open"] for row in orders):
        advice.append("orders of this session are still open: tradekit paper reconcile --cancel-open")
    else:
        advice.append("a new session takes what the account holds as its beginning: tradekit paper start")
    return advice


def cancel_open(broker: Broker) -> int:
    """Ask to cancel every open order of the account, whoever placed it, and return how many there were."""
    open_orders = [order for order in broker.orders() if not order.is_final]
    for order in open_orders:
        broker.cancel(order.id)
    return len(open_orders)
