"""From the bars of single symbols to one aligned panel: union of timestamps, NaN where a symbol has no bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError, suggest
from tradekit.market import calendar
from tradekit.market.panel import FIELDS, Panel, absent, equal_weight_returns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Times

EQUAL_WEIGHT = "equal_weight"
DAY = 86_400


@dataclass(frozen=True, eq=False)
class Bars:
    """The checked bars of one symbol.

    Attributes:
        symbol: its name.
        origin: the file it came from, for messages.
        times: (B,) datetime64[ns], strictly increasing: session dates, or bar opens in UTC.
        columns: the (B,) columns it has; ``close`` always.
        zone: time zone the source wrote; empty for session dates.
    """

    symbol: str
    origin: str
    times: Times
    columns: Mapping[str, Floats]
    zone: str


@dataclass(frozen=True, eq=False)
class Universe:
    """The symbols that were chosen from a source, and its benchmark if it has one."""

    source: str
    bars: tuple[Bars, ...]
    benchmark: Bars | None

    @classmethod
    def choose(
        cls,
        source: str,
        bars: Mapping[str, Bars],
        symbols: Sequence[str] | None,
        benchmark: str | None,
        aside: Sequence[str] = (),
    ) -> Universe:
        """Choose ``symbols`` (None: all but those ``aside``) and the benchmark from the bars of a source.

        Raises:
            DataError: a symbol is unknown.
        """
        listed = list(bars) if symbols else [name for name in bars if name not in aside]
        chosen = choose_symbols(source, listed, symbols)
        against = choose_benchmark(source, list(bars), benchmark)
        return cls(source, tuple(bars[name] for name in chosen), bars[against] if against else None)

    def panel(self, start: str | None = None, end: str | None = None) -> Panel:
        """Align the bars and return those from ``start`` to ``end``, both dates inclusive.

        Raises:
            DataError: bar lengths, time zones or columns differ between symbols, or a symbol has no bar in the range.
        """
        seconds = self._bar_seconds()
        times: Times = np.unique(np.concatenate([item.times for item in self.bars]))
        arrays: dict[str, Any] = {name: self._column(name, times) for name in FIELDS}
        whole = Panel(
            timestamps=times,
            symbols=tuple(item.symbol for item in self.bars),
            **arrays,
            tradable=~np.isnan(arrays["close"]),
            close_time=close_times(times, seconds),
            benchmark_returns=self._benchmark_returns(times, arrays["close"]),
            benchmark_name=self.benchmark.symbol if self.benchmark else EQUAL_WEIGHT,
            columns=frozenset(self.bars[0].columns),
            frequency=label(seconds),
            source=self.source,
        )
        cut = whole if start is None and end is None else whole.between(start, end)
        _demand_bars(cut)
        return cut

    def _bar_seconds(self) -> int:
        first, *others = (*self.bars, self.benchmark) if self.benchmark else self.bars
        seconds, grid = bar_seconds(first), phase(first.times, bar_seconds(first))
        for item in others:
            _demand_same(first, item, seconds, grid)
        for item in self.bars[1:]:
            if set(item.columns) != set(first.columns):
                raise DataError(
                    f"{item.origin}: has {_list(item.columns)} but {first.origin} has {_list(first.columns)}; "
                    "give every symbol the same columns"
                )
        return seconds

    def _column(self, name: str, times: Times) -> Floats:
        if name not in self.bars[0].columns:
            return absent(len(times), len(self.bars))
        values = np.full((len(times), len(self.bars)), np.nan)
        for column, item in enumerate(self.bars):
            values[np.searchsorted(times, item.times), column] = item.columns[name]
        return values

    def _benchmark_returns(self, times: Times, close: Floats) -> Floats:
        if self.benchmark is None:
            return equal_weight_returns(close)
        known = np.isin(self.benchmark.times, times)
        prices = np.full((len(times), 1), np.nan)
        prices[np.searchsorted(times, self.benchmark.times[known]), 0] = self.benchmark.columns["close"][known]
        return equal_weight_returns(prices)


def choose_symbols(source: str, known: Sequence[str], symbols: Sequence[str] | None) -> list[str]:
    """Return ``symbols``, or all ``known`` ones sorted.

    Raises:
        DataError: a symbol is not known.
    """
    for symbol in symbols or ():
        if symbol not in known:
            near = symbol.upper() if symbol.upper() in known else symbol
            raise DataError(f"{source}: no symbol {symbol}; {suggest(near, known)}")
    return list(symbols) if symbols else sorted(known)


def choose_benchmark(source: str, known: Sequence[str], benchmark: str | None) -> str | None:
    """Return the benchmark's symbol: the one asked for, else SPY where the data has it, else None (equal weight).

    Raises:
        DataError: the one asked for is not known.
    """
    if benchmark is None:
        return "SPY" if "SPY" in known else None
    if benchmark == EQUAL_WEIGHT:
        return None
    if benchmark not in known:
        raise DataError(f"{source}: no benchmark {benchmark}; {suggest(benchmark, [*known, EQUAL_WEIGHT])}")
    return benchmark


def bar_seconds(item: Bars) -> int:
    """Return the bar length of one symbol: a day, or the commonest spacing within a day.

    Raises:
        DataError: one bar only, bars longer than a day, or intraday stamps with one bar a day.
    """
    if len(item.times) < 2:
        raise DataError(f"{item.origin}: {item.symbol} has one bar only; trading needs at least two")
    gaps = np.diff(item.times.astype("M8[s]")).astype(np.int64)
    if not item.zone:
        if np.median(gaps) >= 5 * DAY:
            raise DataError(
                f"{item.origin}: bars lie {np.median(gaps) / DAY:.0f} days apart; give daily or shorter bars"
            )
        return DAY
    within = gaps[np.diff(calendar.wall_clock(item.times).astype("M8[D]")).astype(np.int64) == 0]
    if not len(within):
        raise DataError(f"{item.origin}: one bar a day with a time of day; write the session date alone (YYYY-MM-DD)")
    lengths, counts = np.unique(within, return_counts=True)
    return int(lengths[np.argmax(counts)])


def label(seconds: int) -> str:
    """Return the name of a bar length.

    >>> [label(s) for s in (86400, 3600, 300, 30)]
    ['1D', '1h', '5m', '30s']
    """
    for unit, name in ((DAY, "D"), (3600, "h"), (60, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{name}"
    return f"{seconds}s"


def phase(times: Times, seconds: int) -> int:
    """Return where bars of ``seconds`` sit on the New York clock, in seconds past a multiple of their length.

    Hours that start on the hour answer 0, those that start at half past answer 1800. The commonest place counts:
    a first bar cut short by the opening bell does not.
    """
    if seconds == DAY:
        return 0
    places, counts = np.unique(_second_of_day(times) % seconds, return_counts=True)
    return int(places[np.argmax(counts)])


def close_times(times: Times, seconds: int) -> Times:
    """Return (T,) datetime64[ns], when each bar is complete and may be known.

    A daily bar is complete at the session's close (UTC), on days without a session at the end of the date. An
    intraday bar is complete at the next point of its grid, so a first bar that starts at the opening bell ends where
    the next one begins, or at the session's close if that comes first.
    """
    if seconds == DAY:
        closes = calendar.session_close(times)
        closes[np.isnat(closes)] = (times + np.timedelta64(1, "D"))[np.isnat(closes)]
        return closes
    rest = seconds - (_second_of_day(times) - phase(times, seconds)) % seconds
    ends: Times = times + rest.astype("m8[s]").astype("m8[ns]")
    dates = calendar.wall_clock(times)
    closes = calendar.session_close(dates)
    inside = (times >= calendar.session_open(dates)) & (times < closes)
    ends[inside] = np.minimum(ends, closes)[inside]
    return ends


def _second_of_day(times: Times) -> NDArray[np.int64]:
    clock = calendar.wall_clock(times)
    seconds: NDArray[np.int64] = (clock - clock.astype("M8[D]")).astype("m8[s]").astype(np.int64)
    return seconds


def _demand_same(first: Bars, item: Bars, seconds: int, grid: int) -> None:
    if bar_seconds(item) != seconds:
        raise DataError(
            f"{item.origin}: bars of {label(bar_seconds(item))} but {first.origin} has {label(seconds)}; "
            "load one bar length at a time"
        )
    if item.zone != first.zone:
        raise DataError(f"{item.origin}: time zone {item.zone} but {first.origin} has {first.zone}; write both in UTC")
    if phase(item.times, seconds) != grid:
        raise DataError(
            f"{item.origin}: bars start {phase(item.times, seconds) // 60} min past the grid but those of "
            f"{first.origin} {grid // 60} min; load them one at a time"
        )


def _demand_bars(panel: Panel) -> None:
    empty = [name for column, name in enumerate(panel.symbols) if not panel.tradable[:, column].any()]
    if empty:
        raise DataError(
            f"{panel.source}: no bars of {', '.join(empty)} in {panel.span}; leave the symbol out or widen start/end"
        )


def _list(columns: Mapping[str, Floats]) -> str:
    return ", ".join(name for name in FIELDS if name in columns)
