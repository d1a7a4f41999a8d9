"""GET /v2/stocks/bars over a replayed panel: what is complete at market time, page by page."""

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
    from tradekit.market.panel import Floats

MOST, DEFAULT = 10_000, 1_000


class BarPages:
    """Serves bars. Those of close-only data carry o = h = l = c and v = 0, as does the benchmark."""

    def __init__(self, venue: Venue) -> None:
        self._venue, panel = venue, venue.panel
        self._times = wire_times(panel.timestamps, panel.is_daily)
        amount, unit = timeframe(panel.frequency)
        self._timeframes = {f"{amount}{unit}", f"{amount}{unit[0]}", *(["1D"] if panel.is_daily else [])}

    @cached_property
    def _stamps(self) -> list[str]:
        return [utc_text(moment) for moment in self._times]

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return one page: bars by symbol, symbols in order, and the token of the next page.

        Raises:
            Refusal: another bar length than the replay has, or an unreadable parameter.
        """
        symbols = sorted({name for name in query.get("symbols", "").split(",") if name})
        if not symbols:
            raise Refusal(400, BAD_REQUEST, "symbols is required")
        if query.get("timeframe") not in self._timeframes:
            has = min(self._timeframes, key=len)
            raise Refusal(400, BAD_REQUEST, f"invalid timeframe {query.get('timeframe')}: this replay has {has} bars")
        first, last = self._rows(query)
        limit = min(_whole(query.get("limit"), DEFAULT), MOST)
        newest_first = query.get("sort") == "desc"
        return self._collect(symbols, first, last, limit, newest_first, _read_token(query.get("page_token")))

    def _rows(self, query: Mapping[str, str]) -> tuple[int, int]:
        now = self._venue.now
        start = _moment(query.get("start"), now.astype("M8[D]").astype("M8[ns]"))
        end = _moment(query.get("end"), now)
        first = int(np.searchsorted(self._times, start))
        last = int(np.searchsorted(self._times, end, side="right"))
        return first, min(last, self._venue.bar + 1)

    def _collect(
        self, symbols: list[str], first: int, last: int, limit: int, newest_first: bool, token: tuple[str, int] | None
    ) -> dict[str, Any]:
        pages: dict[str, list[dict[str, Any]]] = {}
        room = limit
        for symbol in symbols:
            if token and symbol < token[0]:
                continue
            rows = self._known(symbol, first, last)
            rows = rows[::-1] if newest_first else rows
            skip = token[1] if token and symbol == token[0] else 0
            take = rows[skip : skip + room]
            if len(take):
                pages[symbol] = self._bars(symbol, take)
            room -= len(take)
            if skip + len(take) < len(rows):
                return {"bars": pages, "next_page_token": _write_token(symbol, skip + len(take))}
        return {"bars": pages, "next_page_token": None}

    def _columns(self, symbol: str) -> dict[str, Floats] | None:
        panel, column = self._venue.panel, self._venue.column(symbol)
        if column is None:
            if symbol != panel.benchmark_name or self._venue.benchmark is None:
                return None
            return {"close": self._venue.benchmark}
        return {name: getattr(panel, name)[:, column] for name in panel.columns}

    def _known(self, symbol: str, first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        columns = self._columns(symbol)
        if columns is None or first >= last:
            return np.empty(0, np.intp)
        return first + np.flatnonzero(~np.isnan(columns["close"][first:last]))

    def _bars(self, symbol: str, rows: np.ndarray[Any, np.dtype[np.intp]]) -> list[dict[str, Any]]:
        columns, column = self._columns(symbol), self._venue.column(symbol)
        assert columns is not None
        close = columns["close"][rows].tolist()
        high, low, opened = (columns[k][rows].tolist() if k in columns else close for k in ("high", "low", "open"))
        volume = columns["volume"][rows].tolist() if "volume" in columns else [0.0] * len(rows)
        # The number of trades is unknown, except that it is 0 where nothing could trade.
        halted = [False] * len(rows) if column is None else (~self._venue.panel.tradable[rows, column]).tolist()
        return [
            {"t": self._stamps[row], "o": o, "h": h, "l": lo, "c": c, "v": v, "n": 0 if halt else None, "vw": None}
            for row, o, h, lo, c, v, halt in zip(rows.tolist(), opened, high, low, close, volume, halted, strict=True)
        ]


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
