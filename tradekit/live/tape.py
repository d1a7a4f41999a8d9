"""The bars of a session as they come in: fetched over REST, appended to one panel, never looked at ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.live.times import bar_time, utc_text, wire_times
from tradekit.market.panel import FIELDS, SESSIONS_PER_YEAR, Panel, absent, equal_weight_returns
from tradekit.market.sources.assemble import EQUAL_WEIGHT, close_times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tradekit.live.alpaca import AlpacaBars
    from tradekit.live.journal import Event
    from tradekit.market.panel import Bools, Floats, Times

SECONDS = {"m": 60, "h": 3600, "D": 86_400}


@dataclass(frozen=True)
class Contract:
    """What the bars of a session are, known before the first one arrives."""

    symbols: tuple[str, ...]
    columns: frozenset[str]
    frequency: str
    benchmark: str
    bars_per_year: float
    source: str

    @property
    def is_daily(self) -> bool:
        """True when bars are sessions."""
        return self.frequency.endswith("D")

    @property
    def bar_seconds(self) -> int:
        """Length of a bar."""
        return int(self.frequency[:-1]) * SECONDS[self.frequency[-1]]

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, and the benchmark where it is another one."""
        extra = () if self.benchmark in (EQUAL_WEIGHT, *self.symbols) else (self.benchmark,)
        return (*self.symbols, *extra)


@dataclass(frozen=True, eq=False)
class Bar:
    """One bar of every symbol.

    Attributes:
        timestamp, close_time: as in a Panel.
        values: (N,) per column the source has; NaN where a symbol has no bar.
        tradable: (N,).
        benchmark_close: NaN where it has no bar, or where it is the symbols' mean.
    """

    timestamp: np.datetime64
    close_time: np.datetime64
    values: dict[str, Floats]
    tradable: Bools
    benchmark_close: float


@dataclass(frozen=True, eq=False, repr=False)
class LivePanel(Panel):
    """A panel that still grows, so its bars per year are given and not counted."""

    rate: float = float(SESSIONS_PER_YEAR)

    @cached_property
    def bars_per_year(self) -> float:
        """Bars in a year of 252 sessions, of the whole data that the session belongs to."""
        return self.rate


class Tape:
    """The bars so far, at most ``capacity`` of them."""

    def __init__(self, contract: Contract, capacity: int) -> None:
        self.contract, self._count = contract, 0
        shape = (capacity, len(contract.symbols))
        self._values = {name: np.full(shape, np.nan) for name in FIELDS if name in contract.columns}
        self._tradable = np.zeros(shape, np.bool_)
        self._times, self._closes = np.empty(capacity, "M8[ns]"), np.empty(capacity, "M8[ns]")
        self._benchmark_close = np.full((capacity, 1), np.nan)
        self._benchmark_returns = np.full(capacity, np.nan)

    @classmethod
    def of(cls, contract: Contract, events: Iterable[Event]) -> Tape:
        """Return the bars that a journal holds."""
        bars = [from_json(event) for event in events if event.kind == "bar"]
        tape = cls(contract, len(bars))
        for bar in bars:
            tape.append(bar)
        return tape

    def __len__(self) -> int:
        return self._count

    def append(self, bar: Bar) -> None:
        """Add the next bar."""
        t = self._count
        self._times[t], self._closes[t] = bar.timestamp, bar.close_time
        for name, column in self._values.items():
            column[t] = bar.values[name]
        self._tradable[t], self._benchmark_close[t] = bar.tradable, bar.benchmark_close
        prices = self._values["close"] if self.contract.benchmark == EQUAL_WEIGHT else self._benchmark_close
        if t:
            self._benchmark_returns[t] = equal_weight_returns(prices[t - 1 : t + 1])[1]
        self._count += 1

    def panel(self) -> LivePanel:
        """Return everything so far. Later bars do not show in it: it ends here."""
        rows, contract = slice(0, self._count), self.contract
        none = absent(self._count, len(contract.symbols))
        columns: dict[str, Any] = {name: self._values[name][rows] if name in self._values else none for name in FIELDS}
        return LivePanel(
            timestamps=self._times[rows],
            symbols=contract.symbols,
            **columns,
            tradable=self._tradable[rows],
            close_time=self._closes[rows],
            benchmark_returns=self._benchmark_returns[rows],
            benchmark_name=contract.benchmark,
            columns=contract.columns,
            frequency=contract.frequency,
            source=contract.source,
            rate=contract.bars_per_year,
        )


class Feed:
    """Bars from Alpaca's market data REST in the form of a tape's."""

    def __init__(self, client: AlpacaBars, contract: Contract) -> None:
        self._client, self._contract = client, contract

    def bar(self, timestamp: np.datetime64, close_time: np.datetime64) -> Bar:
        """Return the bar that opened at ``timestamp`` and closed at ``close_time``; empty where nothing traded."""
        if self._contract.is_daily:
            first = last = wire_times(np.array([timestamp]), daily=True)[0]
        else:
            # Sources differ in how they stamp the short bar at the open of a session, not in when it closes.
            first = close_time - np.timedelta64(self._contract.bar_seconds, "s")
            last = close_time - np.timedelta64(1, "us")
        return self._bar(self._fetch(first, last), timestamp, close_time)

    def history(self, before: np.datetime64, count: int) -> list[Bar]:
        """Return the last ``count`` bars that opened before ``before``, oldest first; fewer where the data begins."""
        if count == 0:
            return []
        daily = self._contract.is_daily
        opened = wire_times(np.array([before]), daily)[0]
        # Enough calendar days for count bars, with room for holidays.
        sessions = math.ceil(count / self._contract.bars_per_year * SESSIONS_PER_YEAR)
        start = opened - np.timedelta64(math.ceil(sessions * 1.5) + 15, "D")
        raw = self._fetch(start, opened - np.timedelta64(1, "us"))
        by_time: dict[np.datetime64, dict[str, dict[str, Any]]] = {}
        for symbol, bars in raw.items():
            for bar in bars:
                by_time.setdefault(bar_time(bar["t"], daily), {})[symbol] = bar
        known = [time for time in sorted(by_time) if any(name in by_time[time] for name in self._contract.symbols)]
        times: Times = np.array(known[-count:], "M8[ns]")
        if not len(times):
            return []
        closes = close_times(times, self._contract.bar_seconds)
        pairs = zip(times, closes, strict=True)
        return [self._bar({s: [b] for s, b in by_time[time].items()}, time, close) for time, close in pairs]

    def _fetch(self, start: np.datetime64, end: np.datetime64) -> dict[str, list[dict[str, Any]]]:
        return self._client.fetch(self._contract.names, self._contract.frequency, _moment(start), _moment(end))

    def _bar(self, raw: dict[str, list[dict[str, Any]]], timestamp: np.datetime64, close_time: np.datetime64) -> Bar:
        symbols, columns = self._contract.symbols, self._contract.columns
        newest = {symbol: bars[-1] for symbol, bars in raw.items() if bars}
        values = {
            name: np.array([float(newest[s][name[0]]) if s in newest else np.nan for s in symbols])
            for name in FIELDS
            if name in columns
        }
        # A bar in which no trade took place is a price, but not one that can be had.
        tradable = np.array([s in newest and newest[s].get("n") != 0 for s in symbols])
        index = newest.get(self._contract.benchmark)
        return Bar(timestamp, close_time, values, tradable, float("nan") if index is None else float(index["c"]))


def _moment(time: np.datetime64) -> datetime:
    naive: datetime = time.astype("M8[us]").item()
    return naive.replace(tzinfo=UTC)


def bar_text(timestamp: np.datetime64, daily: bool) -> str:
    """Return a bar's open as the journal and the order ids write it: a date, or UTC.

    >>> bar_text(np.datetime64("2022-01-03T14:30", "ns"), daily=False)
    '2022-01-03T14:30:00Z'
    """
    return str(timestamp.astype("M8[D]")) if daily else utc_text(timestamp)


def to_json(bar: Bar) -> dict[str, Any]:
    """Return a bar as the journal keeps it: every bit of every float, null for NaN."""
    return {
        "close_time": utc_text(bar.close_time),
        "values": {name: nullable(column) for name, column in bar.values.items()},
        "tradable": bar.tradable.astype(int).tolist(),
        "benchmark_close": nullable(np.array([bar.benchmark_close]))[0],
    }


def from_json(event: Event) -> Bar:
    """Return the bar of a journal event."""
    body = event.body
    return Bar(
        timestamp=np.datetime64(event.bar.removesuffix("Z"), "ns"),
        close_time=np.datetime64(body["close_time"].removesuffix("Z"), "ns"),
        values={name: np.array(column, np.float64) for name, column in body["values"].items()},
        tradable=np.array(body["tradable"], np.bool_),
        benchmark_close=np.nan if body["benchmark_close"] is None else float(body["benchmark_close"]),
    )


def nullable(values: Floats) -> list[Any]:
    """Return nested lists with None for NaN, which JSON does not know."""
    cells: list[Any] = values.astype(object).tolist()
    return _without_nan(cells)


def _without_nan(cells: list[Any]) -> list[Any]:
    return [_without_nan(cell) if isinstance(cell, list) else None if cell != cell else cell for cell in cells]
