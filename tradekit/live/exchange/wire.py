"""The exchange's answers in Alpaca's shapes: money and shares as text that keeps every bit, times in RFC 3339."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid5

import numpy as np

from tradekit.errors import DataError
from tradekit.live.exchange.venue import MULTIPLIER, NAMESPACE
from tradekit.live.times import eastern_clock, eastern_text, utc_text
from tradekit.market import calendar

if TYPE_CHECKING:
    from tradekit.live.exchange.orders import Execution, Order
    from tradekit.live.exchange.venue import Venue

Json = dict[str, Any]

ACCOUNT_ID = str(uuid5(NAMESPACE, "account"))


def number(value: float) -> str:
    """Return a float as plain decimal text that reads back as the very same float.

    >>> number(1e-9), number(15.0), float(number(0.1 + 0.2)) == 0.1 + 0.2
    ('0.000000001', '15', True)
    """
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


def money(value: float) -> str:
    """Return dollars for fields nobody computes with, to the cent."""
    return f"{value:.2f}"


def asset_id(symbol: str) -> str:
    """Return the id of a symbol; the same in every replay."""
    return str(uuid5(NAMESPACE, f"asset/{symbol}"))


def account(venue: Venue) -> Json:
    """Return GET /v2/account."""
    long, short = _market_values(venue)
    return {
        "id": ACCOUNT_ID,
        "account_number": "LOCAL00001",
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "cash": number(venue.cash),
        "equity": number(venue.equity),
        "portfolio_value": number(venue.equity),
        "last_equity": number(venue.previous_equity),
        "buying_power": number(venue.buying_power),
        "regt_buying_power": number(venue.buying_power),
        "non_marginable_buying_power": number(max(venue.cash, 0.0)),
        "long_market_value": number(long),
        "short_market_value": number(short),
        "initial_margin": money((long - short) / MULTIPLIER),
        "maintenance_margin": money((long - short) * 0.25),
        "accrued_fees": "0",
        "pending_transfer_in": "0",
        "multiplier": number(MULTIPLIER),
        "shorting_enabled": venue.settings.execution.allow_short,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": False,
        "created_at": utc_text(venue.panel.close_time[venue.settings.start]),
    }


def _market_values(venue: Venue) -> tuple[float, float]:
    values = [venue.shares(c) * venue.mark(c) for c in range(len(venue.panel.symbols)) if venue.shares(c)]
    return sum(v for v in values if v > 0), sum(v for v in values if v < 0)


def clock(venue: Venue) -> Json:
    """Return GET /v2/clock: the close of the newest bar, in New York's offset."""
    panel, bar = venue.panel, venue.bar
    today = panel.timestamps[bar].astype("M8[D]")
    more_today = bar + 1 < len(panel) and panel.timestamps[bar + 1].astype("M8[D]") == today
    later = panel.timestamps[bar + 1 :].astype("M8[D]")
    later = later[later > today]
    following = later[0] if len(later) else _next_session(today)
    opens, closes = _bells(following)
    return {
        "timestamp": eastern_text(venue.now),
        "is_open": bool(more_today),
        "next_open": eastern_text(opens),
        "next_close": eastern_text(_bells(today)[1] if more_today else closes),
    }


def _next_session(day: np.datetime64) -> np.datetime64:
    following = day + np.timedelta64(1, "D")
    try:
        found = calendar.sessions(str(following), str(day + np.timedelta64(14, "D")))
    except DataError:
        return following
    return found[0] if len(found) else following


def _bells(day: np.datetime64) -> tuple[np.datetime64, np.datetime64]:
    """Return open and close of a session, UTC; the whole date where the calendar has no session."""
    days = np.array([day], "M8[D]")
    opens, closes = calendar.session_open(days)[0], calendar.session_close(days)[0]
    if np.isnat(opens):
        return day.astype("M8[ns]"), (day + np.timedelta64(1, "D")).astype("M8[ns]")
    return opens, closes


def sessions(start: str, end: str) -> list[Json]:
    """Return GET /v2/calendar: dates with opens and closes as HH:MM in New York."""
    days = calendar.sessions(start, end)
    opens, closes = calendar.session_open(days), calendar.session_close(days)
    return [
        {"date": str(day), "open": eastern_clock(opened), "close": eastern_clock(closed)}
        for day, opened, closed in zip(days, opens, closes, strict=True)
    ]


def assets(venue: Venue) -> list[Json]:
    """Return GET /v2/assets: the panel's symbols, and its benchmark, which cannot be traded."""
    listed = [asset(venue, symbol) for symbol in venue.panel.symbols]
    name = venue.panel.benchmark_name
    if venue.benchmark is not None and name not in venue.panel.symbols:
        listed.append(asset(venue, name))
    return listed


def asset(venue: Venue, symbol: str) -> Json:
    """Return one asset; it is tradable once it has a price."""
    column = venue.column(symbol)
    tradable = column is not None and not np.isnan(venue.mark(column))
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "",
        "symbol": symbol,
        "name": symbol,
        "status": "active",
        "tradable": tradable,
        "marginable": tradable,
        "shortable": tradable and venue.settings.execution.allow_short,
        "easy_to_borrow": tradable and venue.settings.execution.allow_short,
        "fractionable": tradable and venue.settings.execution.fractional,
        "attributes": [],
    }


def order(item: Order) -> Json:
    """Return one order."""
    ask, submitted = item.ask, utc_text(item.submitted_at)
    closed = None if item.closed_at is None else utc_text(item.closed_at)
    return {
        "id": item.id,
        "client_order_id": ask.client_order_id,
        "created_at": submitted,
        "updated_at": closed or submitted,
        "submitted_at": submitted,
        "filled_at": closed if item.filled else None,
        "expired_at": None,
        "canceled_at": closed if item.status == "canceled" else None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": asset_id(ask.symbol),
        "symbol": ask.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": number(ask.quantity),
        "filled_qty": number(item.filled),
        "filled_avg_price": None if item.price is None else number(item.price),
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": ask.side,
        "time_in_force": ask.time_in_force,
        "limit_price": None,
        "stop_price": None,
        "status": item.status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        # What was taken in cash beside the price: commission and regulatory fees.
        "commission": number(item.commission),
    }


def positions(venue: Venue) -> list[Json]:
    """Return GET /v2/positions."""
    return [position(venue, column) for column in range(len(venue.panel.symbols)) if venue.shares(column)]


def position(venue: Venue, column: int) -> Json:
    """Return the position in one panel column."""
    shares, mark, cost = venue.shares(column), venue.mark(column), venue.average_cost(column)
    before = float(venue.panel.mark[max(venue.bar - 1, 0), column])
    basis, value = cost * shares, mark * shares
    return {
        "asset_id": asset_id(venue.panel.symbols[column]),
        "symbol": venue.panel.symbols[column],
        "exchange": "",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": number(shares),
        "qty_available": number(shares + min(venue.pending(column), 0.0) if shares > 0 else shares),
        "side": "long" if shares > 0 else "short",
        "avg_entry_price": number(cost),
        "cost_basis": number(basis),
        "market_value": number(value),
        "unrealized_pl": number(value - basis),
        "unrealized_plpc": number((value - basis) / abs(basis)) if basis else "0",
        "unrealized_intraday_pl": number((mark - before) * shares),
        "unrealized_intraday_plpc": number(mark / before - 1.0),
        "current_price": number(mark),
        "lastday_price": number(before),
        "change_today": number(mark / before - 1.0),
    }


def activity(fill: Execution, order_quantity: float) -> Json:
    """Return one fill as an account activity."""
    stamp = utc_text(fill.time)
    digits = "".join(filter(str.isdigit, stamp))[:17].ljust(17, "0")
    whole = fill.quantity == order_quantity
    return {
        "id": f"{digits}::{fill.id}",
        "account_id": ACCOUNT_ID,
        "activity_type": "FILL",
        "transaction_time": stamp,
        "type": "fill" if whole else "partial_fill",
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "cum_qty": number(fill.quantity),
        "leaves_qty": "0" if whole else number(order_quantity - fill.quantity),
        "side": fill.side,
        "symbol": fill.symbol,
        "order_id": fill.order_id,
        "order_status": "filled" if whole else "canceled",
    }


def execution(fill: Execution) -> Json:
    """Return one fill as the exchange's own ledger keeps it, numbers as they are."""
    return {**fill._asdict(), "time": utc_text(fill.time)}
