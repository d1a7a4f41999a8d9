"""One replay: the venue, its market data, the faults it was asked for, and the log it is restored from."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.live.exchange import wire
from tradekit.live.exchange.bars import BarPages
from tradekit.live.exchange.faults import Faults
from tradekit.live.exchange.kinds import CANCEL, LATE, ORDER, REFUSAL, WORLD
from tradekit.live.exchange.orders import FORBIDDEN, UNPROCESSABLE, Behaviour, Refusal
from tradekit.live.exchange.store import Store
from tradekit.live.exchange.streams import Hub, Message
from tradekit.live.exchange.venue import Settings, Venue, benchmark_closes
from tradekit.live.exchange.world import shape
from tradekit.live.times import utc_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tradekit.live.exchange.faults import Struck
    from tradekit.live.exchange.orders import Execution, Order
    from tradekit.market.panel import Floats, Panel

REFUSALS = {
    "buying_power": (403, FORBIDDEN, "insufficient buying power"),
    "wash_trade": (403, FORBIDDEN, "potential wash trade detected. use complex orders"),
    "not_tradable": (422, UNPROCESSABLE, 'asset "{symbol}" is not tradable'),
}


class Exchange:
    """One replay. Not thread-safe: one thread talks to it.

    Args:
        panel: the bars to replay.
        settings: cash, costs, sleeves, where the replay starts.
        benchmark: (T,) closes of the panel's benchmark; None derives an index from its returns.
        store: file that keeps what happened; an exchange opened on it again is where it was.
        faults: what is to go wrong. How often each has met its match is not kept in the file.

    Raises:
        ConfigError: settings or faults that the bars do not allow.
        DataError: bars that the wire cannot carry.
        SessionError: the store belongs to another replay, or cannot be used.
    """

    def __init__(
        self,
        panel: Panel,
        settings: Settings,
        benchmark: Floats | None = None,
        store: Path | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        if benchmark is None and panel.benchmark_name not in panel.symbols:
            benchmark = benchmark_closes(panel)
        shaped, benchmark, world = shape(panel, benchmark, settings.start, self.faults)
        self.venue = Venue(shaped, settings, benchmark, world)
        self.bars = BarPages(self.venue)
        self.hub = Hub(lambda: self.faults)
        self._store: Store | None = None
        if store is not None:
            text = f"{panel.content_hash} {settings!r} {[f for f in self.faults.listed if f.group == WORLD]!r}"
            self._store = Store(store, hashlib.sha256(text.encode()).hexdigest())
            for kind, body in self._store.changes():
                self._apply(kind, body)
        self.venue.listener = self._told

    # -------------------------------------------------------------------------------------------- what changes it

    def submit(self, body: Mapping[str, Any]) -> Order:
        """Accept an order, or raise Refusal."""
        symbol = str(body.get("symbol"))
        struck = self.faults.strike(REFUSAL, "submit", [symbol])
        if struck:
            status, code, message = REFUSALS[struck.kind]
            raise Refusal(status, code, message.format(symbol=symbol))
        order = self.venue.submit(body)
        behaviour = _behaviour(self.faults.strike(ORDER, "submit", [symbol]))
        order.behave(behaviour)
        said = {**body, "client_order_id": order.ask.client_order_id}
        self._record("submit", {"body": said, "behaviour": asdict(behaviour)})
        return order

    def cancel(self, order_id: str) -> None:
        """Cancel an open order, or raise Refusal."""
        struck = self.faults.strike(CANCEL, "cancel", [self.venue.find(order_id).ask.symbol])
        outcome = struck.kind if struck else ""
        reads = struck.settings.get("reads", 0) if struck else 0
        self.venue.cancel(order_id, outcome, reads)
        self._record("cancel", {"id": order_id, "outcome": outcome, "reads": reads})

    def replace(self, order_id: str, body: Mapping[str, Any]) -> Order:
        """Replace an open order, or raise Refusal."""
        order = self.venue.replace(order_id, body)
        said = {**body, "client_order_id": order.ask.client_order_id}
        self._record("replace", {"id": order_id, "body": said})
        return order

    def shown(self, *orders: Order) -> None:
        """Note that an answer showed these orders: faults that last for a number of answers end by it."""
        for order in orders:
            if self.venue.shown(order):
                self._record("finish", {"id": order.id})
                self.venue.finish(order.id)

    def suspend(self, suspended: bool) -> None:
        """Set whether the user has suspended trading."""
        self.venue.suspended = suspended
        self._record("suspend", {"suspended": suspended})

    def advance(self, to: int | None = None) -> None:
        """Move to the next bar, or to bar ``to``; staying where market time stands already is no error."""
        target = self.venue.bar + 1 if to is None else to
        if target < self.venue.bar:
            raise Refusal(422, UNPROCESSABLE, f"market time stands at bar {self.venue.bar} and never goes back")
        while self.venue.bar < target:
            self.venue.advance()
            self._record("advance", {})
            self._publish()

    def answered(self, query: Mapping[str, str]) -> None:
        """Note an answer with market data: a bar that a fault holds back for a number of answers may be out by it."""
        for symbol in self.bars.answered(query):
            self.hub.market([self._message("updatedBars", symbol, "bars")])

    def close(self) -> None:
        """Release the log."""
        if self._store is not None:
            self._store.close()

    def _record(self, kind: str, body: dict[str, Any]) -> None:
        if self._store is not None:
            moment = self.venue.moment
            self._store.record(kind, body if moment is None else {**body, "at": int(moment.astype(np.int64))})

    def _apply(self, kind: str, body: dict[str, Any]) -> None:
        venue = self.venue
        venue.moment = np.datetime64(body["at"], "ns") if "at" in body else None
        if kind == "submit":
            venue.submit(body["body"]).behave(Behaviour(**body["behaviour"]))
        elif kind == "cancel":
            venue.cancel(body["id"], body["outcome"], body["reads"])
        elif kind == "replace":
            venue.replace(body["id"], body["body"])
        elif kind == "finish":
            venue.finish(body["id"])
        elif kind == "suspend":
            venue.suspended = body["suspended"]
        else:
            venue.advance()

    # ---------------------------------------------------------------------------------------------- what it says

    def _told(self, event: str, order: Order, fill: Execution | None) -> None:
        if self.hub.is_heard("trade_updates"):
            body = wire.update(event, order, fill, self.venue)
            self.hub.trade_update(Message(order.ask.symbol, body, event, order.id))

    def _publish(self) -> None:
        """Say on the market-data stream what the newest bar brought, late bars and halts included."""
        self.bars.late.clear()
        for symbol in self.venue.panel.symbols:
            struck = self.faults.strike(LATE, "bars", [symbol])
            if struck and struck.settings["reads"]:
                self.bars.late[symbol] = struck.settings["reads"]
        if not self.hub.is_heard("market_data"):
            return
        messages = [self._status(column) for column in range(len(self.venue.panel.symbols))]
        for channel, what in self._channels():
            known = [symbol for symbol in self._listed() if self.bars.newest(symbol, what) is not None]
            messages += [self._message(channel, symbol, what) for symbol in known]
        self.hub.market([message for message in messages if message is not None])

    def _channels(self) -> list[tuple[str, str]]:
        daily = [("dailyBars", "bars")] if self.venue.panel.is_daily else []
        return [("trades", "trades"), ("quotes", "quotes"), ("bars", "bars"), *daily]

    def _listed(self) -> list[str]:
        panel = self.venue.panel
        index = [] if self.venue.benchmark is None or panel.benchmark_name in panel.symbols else [panel.benchmark_name]
        return [*panel.symbols, *index]

    def _message(self, channel: str, symbol: str, what: str) -> Message:
        body = self.bars.newest(symbol, what)
        assert body is not None
        return Message(symbol, {"T": LETTERS[channel], "S": symbol, **body}, channel)

    def _status(self, column: int) -> Message | None:
        """Return the message of a halt that begins or has ended with the newest bar."""
        venue, symbol = self.venue, self.venue.panel.symbols[column]
        before, now = (venue.world.is_halted(column, bar) for bar in (venue.bar - 1, venue.bar))
        if before == now:
            return None
        words = ("H", "Trading Halt", "T1", "News Pending") if now else ("T", "Trading Resumption", "", "")
        codes = dict(zip(("sc", "sm", "rc", "rm"), words, strict=True))
        when = utc_text(venue.opens_at(venue.bar))
        return Message(symbol, {"T": "s", "S": symbol, **codes, "t": when, "z": "C"}, "statuses")

    def state(self) -> dict[str, Any]:
        """Return where the replay stands and what it replays."""
        venue, panel = self.venue, self.venue.panel
        return {
            "bar": venue.bar,
            "first": venue.settings.start,
            "last": len(panel) - 1,
            "timestamp": utc_text(panel.timestamps[venue.bar]),
            "close_time": utc_text(panel.close_time[venue.bar]),
            "symbols": list(panel.symbols),
            "columns": sorted(panel.columns),
            "frequency": panel.frequency,
            "benchmark": panel.benchmark_name,
            "bars_per_year": panel.bars_per_year,
            "source": panel.source,
            "fill_at": venue.fills_at,
            "sleeves": venue.settings.sleeves,
            "cash": venue.settings.cash,
        }


LETTERS = {"trades": "t", "quotes": "q", "bars": "b", "updatedBars": "u", "dailyBars": "d", "statuses": "s"}


def _behaviour(struck: Struck | None) -> Behaviour:
    """Return how a fault makes an order behave."""
    if struck is None:
        return Behaviour()
    settings = struck.settings
    if struck.kind == "unknown_status":
        return Behaviour(odd_reads=settings["reads"])
    if struck.kind == "partial_fill":
        return Behaviour(share=settings["share"], rest_reads=settings["reads"])
    return Behaviour(share=settings["share"])
