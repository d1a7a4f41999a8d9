"""Market data over a replayed panel: what is complete at market time, page by page or the newest of it."""

from __future__ import annotations

import base64
import binascii
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.live.exchange.orders import BAD_REQUEST, Refusal
from tradekit.live.times import parse_utc, timeframe, utc_text, wire_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradekit.live.exchange.venue import Venue
    from tradekit.market.panel import Floats, Times

    Rows = np.ndarray[tuple[int], np.dtype[np.intp]]

Json = dict[str, Any]

MOST, DEFAULT = 10_000, 1_000
ADJUSTED = ("split", "all")


class BarPages:
    """Serves what a replay knows of its symbols at market time.

    Bars of close-only data carry o = h = l = c and v = 0, as does the benchmark. A bar stands for one trade, its close,
    and one quote, the model's spread on either side of it, both of unknown size (0), at the time of its close.
    """

    def __init__(self, venue: Venue) -> None:
        self._venue, panel = venue, venue.panel
        self._times = wire_times(panel.timestamps, panel.is_daily)
        amount, unit = timeframe(panel.frequency)
        self._timeframes = {f"{amount}{unit}", f"{amount}{unit[0]}", *(["1D"] if panel.is_daily else [])}
        self._spread = venue.settings.costs.spread_bps * 1e-4
        self.late: dict[str, int] = {}
        """Symbols whose newest bar a fault holds back, and from how many more answers."""

    @cached_property
    def _stamps(self) -> list[str]:
        return [utc_text(moment) for moment in self._times]

    @cached_property
    def _closes(self) -> list[str]:
        return [utc_text(moment) for moment in self._venue.panel.close_time]

    def page(self, query: Mapping[str, str], what: str = "bars") -> Json:
        """Return one page: ``bars``, ``quotes`` or ``trades`` by symbol, symbols in order, and the next page's token.

        Raises:
            Refusal: another bar length than the replay has, or an unreadable parameter.
        """
        symbols = _symbols(query)
        if what == "bars" and query.get("timeframe") not in self._timeframes:
            has = min(self._timeframes, key=len)
            raise Refusal(400, BAD_REQUEST, f"invalid timeframe {query.get('timeframe')}: this replay has {has} bars")
        adjusted = query.get("adjustment", "raw") in ADJUSTED
        times = self._times if what == "bars" else self._venue.panel.close_time
        first, last = self._rows(query, times)
        limit = min(_whole(query.get("limit"), DEFAULT), MOST)
        token, room = _read_token(query.get("page_token")), limit
        pages: dict[str, list[Json]] = {}
        for symbol in symbols:
            if token and symbol < token[0]:
                continue
            rows = self._known(symbol, first, last)
            rows = rows[::-1] if query.get("sort") == "desc" else rows
            skip = token[1] if token and symbol == token[0] else 0
            take = rows[skip : skip + room]
            if len(take):
                pages[symbol] = self._read(symbol, take, what, adjusted)
            room -= len(take)
            if skip + len(take) < len(rows):
                return {what: pages, "next_page_token": _write_token(symbol, skip + len(take))}
        return {what: pages, "next_page_token": None}

    def latest(self, query: Mapping[str, str], what: str) -> Json:
        """Return the newest of ``bars``, ``quotes`` or ``trades`` of every symbol that has one."""
        found: Json = {}
        for symbol in _symbols(query):
            rows = self._known(symbol, 0, self._venue.bar + 1)
            if len(rows):
                found[symbol] = self._read(symbol, rows[-1:], what, adjusted=False)[0]
        return {what: found}

    def snapshots(self, query: Mapping[str, str]) -> Json:
        """Return the newest trade, quote and bar of every symbol, and its bars of the day so far and the day before."""
        found: Json = {}
        for symbol in _symbols(query):
            rows = self._known(symbol, 0, self._venue.bar + 1)
            if len(rows):
                found[symbol] = self._snapshot(symbol, rows)
        return found

    def _snapshot(self, symbol: str, rows: Rows) -> Json:
        panel, newest = self._venue.panel, rows[-1:]
        days = panel.sessions[rows]
        earlier = rows[days < days[-1]]
        before = earlier[panel.sessions[earlier] == panel.sessions[earlier[-1]]] if len(earlier) else earlier
        return {
            "latestTrade": self._read(symbol, newest, "trades", adjusted=False)[0],
            "latestQuote": self._read(symbol, newest, "quotes", adjusted=False)[0],
            "minuteBar": None if panel.is_daily else self._read(symbol, newest, "bars", adjusted=False)[0],
            "dailyBar": self._day(symbol, rows[days == days[-1]]),
            "prevDailyBar": self._day(symbol, before) if len(before) else None,
        }

    def _day(self, symbol: str, rows: Rows) -> Json:
        """Return one bar made of the bars ``rows`` of a session."""
        bars = self._read(symbol, rows, "bars", adjusted=False)
        day = self._venue.panel.timestamps[rows[:1]].astype("M8[D]")
        return {
            "t": utc_text(wire_times(day, daily=True)[0]),
            "o": bars[0]["o"],
            "h": max(bar["h"] for bar in bars),
            "l": min(bar["l"] for bar in bars),
            "c": bars[-1]["c"],
            "v": sum(bar["v"] for bar in bars),
            "n": None,
            "vw": None,
        }

    def newest(self, symbol: str, what: str) -> Json | None:
        """Return what the newest bar brought of ``bars``, ``quotes`` or ``trades``; None when it brought nothing."""
        bar = self._venue.bar
        if symbol in self.late or not len(self._known(symbol, bar, bar + 1)):
            return None
        return self._read(symbol, np.array([bar]), what, adjusted=False)[0]

    def answered(self, query: Mapping[str, str]) -> list[str]:
        """Count an answer to ``query`` for the bars held back; return the symbols whose newest bar is out now."""
        named = [symbol for symbol in _symbols(query) if symbol in self.late]
        for symbol in named:
            self.late[symbol] -= 1
        out = [symbol for symbol in named if self.late[symbol] <= 0]
        for symbol in out:
            del self.late[symbol]
        return out

    def _rows(self, query: Mapping[str, str], times: Times) -> tuple[int, int]:
        now = self._venue.now
        start = _moment(query.get("start"), now.astype("M8[D]").astype("M8[ns]"))
        end = _moment(query.get("end"), now)
        first = int(np.searchsorted(times, start))
        last = int(np.searchsorted(times, end, side="right"))
        return first, min(last, self._venue.bar + 1)

    def _columns(self, symbol: str) -> dict[str, Floats] | None:
        panel, column = self._venue.panel, self._venue.column(symbol)
        if column is None:
            if symbol != panel.benchmark_name or self._venue.benchmark is None:
                return None
            return {"close": self._venue.benchmark}
        return {name: getattr(panel, name)[:, column] for name in panel.columns}

    def _known(self, symbol: str, first: int, last: int) -> Rows:
        columns = self._columns(symbol)
        last = min(last, self._venue.bar) if symbol in self.late else last
        if columns is None or first >= last:
            return np.empty(0, np.intp)
        return first + np.flatnonzero(~np.isnan(columns["close"][first:last]))

    def _read(self, symbol: str, rows: Rows, what: str, adjusted: bool) -> list[Json]:
        columns, column = self._columns(symbol), self._venue.column(symbol)
        assert columns is not None
        factor = None
        if adjusted and column is not None:
            factor = self._venue.world.adjustment(column, self._venue.bar, len(self._times))
        cut = {name: values[rows] for name, values in columns.items()}
        if factor is not None:
            cut = {name: v * factor[rows] if name == "volume" else v / factor[rows] for name, v in cut.items()}
        if what == "quotes":
            return [self._quote(row, price) for row, price in zip(rows.tolist(), cut["close"].tolist(), strict=True)]
        if what == "trades":
            return [self._trade(row, price) for row, price in zip(rows.tolist(), cut["close"].tolist(), strict=True)]
        close = cut["close"].tolist()
        high, low, opened = (cut[k].tolist() if k in cut else close for k in ("high", "low", "open"))
        volume = cut["volume"].tolist() if "volume" in cut else [0.0] * len(rows)
        # The number of trades is unknown, except that it is 0 where nothing could trade.
        halted = [False] * len(rows) if column is None else (~self._venue.panel.tradable[rows, column]).tolist()
        return [
            {"t": self._stamps[row], "o": o, "h": h, "l": lo, "c": c, "v": v, "n": 0 if halt else None, "vw": None}
            for row, o, h, lo, c, v, halt in zip(rows.tolist(), opened, high, low, close, volume, halted, strict=True)
        ]

    def _quote(self, row: int, price: float) -> Json:
        bid, ask = price * (1.0 - self._spread), price * (1.0 + self._spread)
        venue = {"ax": "V", "bx": "V", "c": ["R"], "z": "C"}
        return {"t": self._closes[row], "ap": ask, "as": 0, "bp": bid, "bs": 0, **venue}

    def _trade(self, row: int, price: float) -> Json:
        return {"t": self._closes[row], "x": "V", "p": price, "s": 0, "i": row, "c": ["@"], "z": "C"}


def _symbols(query: Mapping[str, str]) -> list[str]:
    symbols = sorted({name for name in query.get("symbols", "").split(",") if name})
    if not symbols:
        raise Refusal(400, BAD_REQUEST, "symbols is required")
    return symbols


def _moment(text: str | None, default: np.datetime64) -> np.datetime64:
    if not text:
        return default
    try:
        return parse_utc(text)
    except ValueError as error:
        raise Refusal(400, BAD_REQUEST, f"invalid time {text!r}; write RFC 3339 or YYYY-MM-DD") from error


def _whole(text: str | None, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(400, BAD_REQUEST, f"invalid limit {text!r}; a whole number from 1 to {MOST}")
    return int(text)


def _write_token(symbol: str, row: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{row}".encode()).decode()


def _read_token(text: str | None) -> tuple[str, int] | None:
    if not text:
        return None
    try:
        symbol, _, row = base64.urlsafe_b64decode(text.encode()).decode().rpartition("|")
        return symbol, int(row)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, BAD_REQUEST, "invalid page_token") from error
