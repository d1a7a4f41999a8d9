"""The exchange's answers in Alpaca's shapes: money and shares as text that keeps every bit, times in RFC 3339."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid5

from tradekit.live.exchange.account import MULTIPLIER, NAMESPACE
from tradekit.live.times import utc_text

if TYPE_CHECKING:
    from tradekit.live.exchange.orders import Execution, Order
    from tradekit.live.exchange.venue import Venue
    from tradekit.live.exchange.world import Split

Json = dict[str, Any]

UNKNOWN_STATUS = "under_consideration"
"""A status that no client library knows; what a fault shows in place of the real one."""
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


@cache
def asset_id(symbol: str) -> str:
    """Return the id of a symbol; the same in every replay."""
    return str(uuid5(NAMESPACE, f"asset/{symbol}"))


def account(venue: Venue) -> Json:
    """Return GET /v2/account."""
    long, short = _market_values(venue)
    blocked = venue.world.is_blocked(venue.bar)
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
        "trading_blocked": blocked,
        "transfers_blocked": blocked,
        "account_blocked": blocked,
        "trade_suspended_by_user": venue.suspended,
        "created_at": utc_text(venue.panel.close_time[venue.settings.start]),
    }


def _market_values(venue: Venue) -> tuple[float, float]:
    values = [venue.shares(c) * venue.mark(c) for c in range(len(venue.panel.symbols)) if venue.shares(c)]
    return sum(v for v in values if v > 0), sum(v for v in values if v < 0)


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
    tradable = column is not None and venue.is_tradable(column)
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


def order(item: Order, odd: bool = False) -> Json:
    """Return one order; an ``odd`` answer shows the status that a fault puts in place of the real one."""
    ask, submitted = item.ask, utc_text(item.submitted_at)
    closed = None if item.closed_at is None else utc_text(item.closed_at)
    kind = "market" if ask.limit is None else "limit"
    return {
        "id": item.id,
        "client_order_id": ask.client_order_id,
        "created_at": submitted,
        "updated_at": submitted if item.updated_at is None else utc_text(item.updated_at),
        "submitted_at": submitted,
        "filled_at": None if item.filled_at is None else utc_text(item.filled_at),
        "expired_at": closed if item.status == "expired" else None,
        "canceled_at": closed if item.status == "canceled" else None,
        "failed_at": None,
        "replaced_at": closed if item.status == "replaced" else None,
        "replaced_by": item.replaced_by,
        "replaces": item.replaces,
        "asset_id": asset_id(ask.symbol),
        "symbol": ask.symbol,
        "asset_class": "us_equity",
        "notional": None if ask.notional is None else number(ask.notional),
        "qty": None if ask.notional is not None else number(ask.quantity),
        "filled_qty": number(item.filled),
        "filled_avg_price": None if item.price is None else number(item.price),
        "order_class": "",
        "order_type": kind,
        "type": kind,
        "side": ask.side,
        "time_in_force": ask.time_in_force,
        "limit_price": None if ask.limit is None else number(ask.limit),
        "stop_price": None,
        "status": UNKNOWN_STATUS if odd else item.status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        # What was taken in cash beside the price: commission and regulatory fees.
        "commission": number(item.commission),
    }


def update(event: str, item: Order, fill: Execution | None, venue: Venue) -> Json:
    """Return what the trade-updates stream says about an order."""
    column = venue.panel.symbols.index(item.ask.symbol)
    moment = item.updated_at if item.updated_at is not None else item.submitted_at
    data: Json = {"event": event, "timestamp": utc_text(moment), "order": order(item)}
    if fill is not None:
        held = number(venue.shares(column))
        data |= {"execution_id": fill.id, "price": number(fill.price), "qty": number(fill.quantity)}
        data |= {"position_qty": held, "timestamp": utc_text(fill.time)}
    return {"stream": "trade_updates", "data": data}


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
        "qty_available": number(venue.lots(shares + venue.pending(column, "sell")) if shares > 0 else shares),
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
    """Return one fill as an account activity; ``order_quantity`` is 0 for an order by value."""
    stamp = utc_text(fill.time)
    leaves = max(order_quantity - fill.cumulative, 0.0) if fill.status != "filled" else 0.0
    return {
        "id": f"{_digits(stamp)}::{fill.id}",
        "account_id": ACCOUNT_ID,
        "activity_type": "FILL",
        "transaction_time": stamp,
        "type": "fill" if fill.status == "filled" else "partial_fill",
        "price": number(fill.price),
        "qty": number(fill.quantity),
        "cum_qty": number(fill.cumulative),
        "leaves_qty": number(leaves),
        "side": fill.side,
        "symbol": fill.symbol,
        "order_id": fill.order_id,
        "order_status": fill.status,
    }


def split_activity(venue: Venue, split: Split, before: float) -> Json:
    """Return the split of a position as an account activity: the shares it added."""
    stamp, symbol = utc_text(venue.opens_at(split.bar)), venue.panel.symbols[split.column]
    return {
        "id": f"{_digits(stamp)}::{uuid5(NAMESPACE, f'split/{split.bar}/{symbol}')}",
        "account_id": ACCOUNT_ID,
        "activity_type": "SPLIT",
        "date": stamp[:10],
        "net_amount": "0",
        "description": f"{symbol} split, {number(split.ratio)} for 1",
        "symbol": symbol,
        "qty": number(venue.lots(before * split.ratio - before)),
        "status": "executed",
    }


def _digits(stamp: str) -> str:
    return "".join(filter(str.isdigit, stamp))[:17].ljust(17, "0")


def execution(fill: Execution) -> Json:
    """Return one fill as the exchange's own ledger keeps it, numbers as they are."""
    return {**fill._asdict(), "time": utc_text(fill.time)}


def portfolio(venue: Venue, rows: list[int], timeframe: str) -> Json:
    """Return GET /v2/account/portfolio/history for the bars ``rows`` of the panel."""
    base, start = venue.settings.cash, venue.settings.start
    equity = [venue.history[row - start] for row in rows]
    return {
        "timestamp": [int(venue.panel.close_time[row].astype("M8[s]").astype(int)) for row in rows],
        "equity": equity,
        "profit_loss": [value - base for value in equity],
        "profit_loss_pct": [value / base - 1.0 for value in equity],
        "base_value": base,
        "timeframe": timeframe,
    }


def configuration(venue: Venue) -> Json:
    """Return GET /v2/account/configurations."""
    execution = venue.settings.execution
    return {
        "dtbp_check": "entry",
        "fractional_trading": execution.fractional,
        "max_margin_multiplier": number(MULTIPLIER),
        "no_shorting": not execution.allow_short,
        "pdt_check": "entry",
        "suspend_trade": venue.suspended,
        "trade_confirm_email": "none",
        "ptp_no_exception_entry": False,
        "max_options_trading_level": None,
    }
