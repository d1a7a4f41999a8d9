"""The kinds of faults the exchange knows: what each one strikes, what it reads, and what it does."""

from __future__ import annotations

from typing import Any, NamedTuple

HTTP, CLOCK, LATE, REFUSAL, ORDER, CANCEL, STREAM, ACK, CONNECT, SUBSCRIBE, WORLD = (
    "http", "clock", "late", "refusal", "order", "cancel", "stream", "ack", "connect", "subscribe", "world",
)  # fmt: skip

TRADING = ("account", "configurations", "activities", "history", "clock", "calendar", "assets", "positions", "orders",
           "order", "submit", "replace", "cancel", "close")  # fmt: skip
DATA = ("bars", "quotes", "trades", "snapshots")
STREAMS = ("trade_updates", "market_data")
REQUESTS = (*TRADING, *DATA)
GROUPS = {"any": REQUESTS, "trading": TRADING, "data": DATA, "streams": STREAMS}


class Kind(NamedTuple):
    """One kind of fault: where it strikes, the settings it reads beyond those of every fault, and what it does."""

    group: str
    reads: tuple[str, ...]
    on: str
    what: str


KINDS: dict[str, Kind] = {
    # Answers to requests. ``accepted`` says whether the request was carried out all the same.
    "429": Kind(HTTP, ("seconds",), "any", "too many requests; the reset lies `seconds` ahead"),
    "500": Kind(HTTP, ("accepted",), "any", "internal server error, JSON"),
    "502": Kind(HTTP, ("accepted",), "any", "bad gateway, an HTML page"),
    "503": Kind(HTTP, ("accepted",), "any", "service unavailable, JSON"),
    "504": Kind(HTTP, ("accepted",), "any", "gateway time-out; carried out unless accepted = false"),
    "reset": Kind(HTTP, ("accepted",), "any", "connection reset, before or after the request is carried out"),
    "truncated": Kind(HTTP, (), "any", "carried out; half of the answer, then a reset"),
    "empty": Kind(HTTP, (), "any", "carried out; status 200 and no body"),
    "redirect": Kind(HTTP, ("accepted",), "any", "302 to a host that is not this machine"),
    "hang": Kind(HTTP, ("accepted", "seconds"), "any", "no answer for `seconds`, then a reset"),
    "slow": Kind(HTTP, ("seconds",), "any", "the right answer, `seconds` late"),
    "clock_skew": Kind(CLOCK, ("seconds",), "clock", "the clock is `seconds` ahead (negative: behind)"),
    "late_bar": Kind(LATE, ("reads",), "bars", "the newest bar is left out of `reads` answers"),
    # Refusals of orders.
    "buying_power": Kind(REFUSAL, (), "submit", "403 40310000, insufficient buying power"),
    "wash_trade": Kind(REFUSAL, (), "submit", "403 40310000, potential wash trade"),
    "not_tradable": Kind(REFUSAL, (), "submit", "422 42210000, the asset is not tradable; this one order only"),
    # How an accepted order behaves.
    "partial_fill": Kind(ORDER, ("share", "reads"), "submit", "fills in two; the rest shows after `reads` answers"),
    "partial_cancel": Kind(ORDER, ("share",), "submit", "`share` of it fills, the rest is cancelled"),
    "unknown_status": Kind(ORDER, ("reads",), "submit", "`reads` answers give a status that alpaca-py does not know"),
    "cancel_race": Kind(CANCEL, (), "cancel", "204 and pending_cancel, and it fills all the same"),
    "stuck_cancel": Kind(CANCEL, ("reads",), "cancel", "pending_cancel for `reads` answers; 0: for ever"),
    # Messages of the streams.
    "drop": Kind(STREAM, (), "streams", "the message is lost"),
    "close": Kind(STREAM, (), "streams", "the connection closes before the message"),
    "duplicate": Kind(STREAM, (), "streams", "the message comes twice"),
    "reorder": Kind(STREAM, (), "streams", "the message comes after the one that follows it"),
    "delay": Kind(STREAM, ("seconds",), "streams", "the message comes `seconds` late"),
    "fill_before_ack": Kind(ACK, (), "trade_updates", "an order's first message comes after its fill's"),
    "mute": Kind(STREAM, (), "streams", "from this message on the connection stays open and says nothing"),
    "402": Kind(CONNECT, (), "streams", "auth failed; the trading stream says unauthorized"),
    "405": Kind(SUBSCRIBE, (), "market_data", "symbol limit exceeded, in answer to a subscription"),
    "406": Kind(CONNECT, (), "market_data", "connection limit exceeded, in answer to auth"),
    "409": Kind(CONNECT, (), "market_data", "insufficient subscription, in answer to auth"),
    # The market itself, from ``bar`` on: 1 is the first bar after the start of the replay.
    "halt": Kind(WORLD, ("bar", "bars"), "world", "no bar and no fill for `bars` bars; status messages on the stream"),
    "missing_bar": Kind(WORLD, ("bar", "bars"), "world", "the same without a word about it"),
    "split": Kind(WORLD, ("bar", "ratio"), "world", "before this bar one share becomes `ratio`"),
    "half_day": Kind(WORLD, ("bar",), "world", "the session of this bar closes at 13:00 in New York"),
    "untradable": Kind(WORLD, ("bar", "bars"), "world", "no orders for the symbol are taken, those before it stand"),
    "account_blocked": Kind(WORLD, ("bar", "bars"), "world", "the account is blocked, orders are refused"),
}  # fmt: skip

FOR_EVER = 10**9
DEFAULTS: dict[str, dict[str, Any]] = {
    "429": {"seconds": 1.0},
    "504": {"accepted": True},
    "hang": {"seconds": 60.0},
    "slow": {"seconds": 0.5},
    "delay": {"seconds": 0.5},
    "clock_skew": {"seconds": 300.0},
    "untradable": {"bars": FOR_EVER},
    "account_blocked": {"bars": FOR_EVER},
    "stuck_cancel": {"reads": 3},
}
OF_ONE_SYMBOL = ("halt", "missing_bar", "split", "untradable")
OF_NO_SYMBOL = ("clock_skew", "402", "406", "409", "half_day", "account_blocked")
