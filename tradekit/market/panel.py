"""Panel: the aligned bars of a universe, the only form in which data enters a kernel."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tradekit.errors import DataError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Times = NDArray[np.datetime64]

SESSIONS_PER_YEAR = 252
_NEW_YORK = ZoneInfo("America/New_York")
FIELDS = ("open", "high", "low", "close", "volume")
_SIDE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def absent(bars: int, symbols: int) -> Floats:
    """Return a read-only (T, N) array of NaN that takes no memory: a column the source does not have."""
    return np.broadcast_to(np.float64(np.nan), (bars, symbols))


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """Bars of N symbols over T timestamps, aligned, read-only, float64.

    Attributes:
        timestamps: (T,) datetime64[ns], strictly increasing; a bar's OPEN. Daily bars carry the naive
            session date, intraday bars UTC.
        symbols: N names, the columns of every array.
        open, high, low, close, volume: (T, N). NaN where the symbol has no bar; a column that the source
            does not have is NaN throughout and is not in ``columns``. Prices in account currency, volume
            in shares.
        tradable: (T, N) True where an order may fill in that bar.
        close_time: (T,) datetime64[ns], when the bar is complete and may be known; UTC for intraday bars.
        benchmark_returns: (T,) simple return of the benchmark over each bar, NaN where unknown.
        benchmark_name: what the benchmark is; ``equal_weight`` is the mean return of the symbols themselves.
        columns: which of open, high, low, close, volume the source has.
        frequency: bar length, ``1D`` or as ``1h``, ``5m``.
        source: where the bars came from, as given to ``load_panel``.
        spread_multiple: (T,) how many times the cost model's spread fills in each bar pay, >= 0; None: once.
        side: series beside the bars by name, such as a volatility index or a news score: (T,) where all symbols share
            one, (T, N) where each has its own; what was known at the close of each bar, NaN before anything was.

    Raises:
        DataError: shapes disagree, timestamps are not strictly increasing, a price is not positive, a multiple of
            the spread is negative or not finite, or a side series is not called by letters, digits and _.
    """

    timestamps: Times
    symbols: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    tradable: Bools
    close_time: Times
    benchmark_returns: Floats
    benchmark_name: str = "equal_weight"
    columns: frozenset[str] = field(default=frozenset(FIELDS))
    frequency: str = "1D"
    source: str = "memory"
    spread_multiple: Floats | None = None
    side: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.timestamps), len(self.symbols))
        if 0 in shape:
            raise DataError(f"{self.source}: no bars; choose other symbols or a wider start/end")
        for name in (*FIELDS, "tradable"):
            if getattr(self, name).shape != shape:
                raise DataError(f"{self.source}: {name} has shape {getattr(self, name).shape}, expected {shape}")
        if (np.diff(self.timestamps) <= np.timedelta64(0, "ns")).any():
            raise DataError(f"{self.source}: timestamps must be unique and increasing; sort them and drop duplicates")
        if len(set(self.symbols)) != len(self.symbols):
            raise DataError(f"{self.source}: a symbol appears twice")
        for name in ("open", "high", "low", "close"):
            if (getattr(self, name) <= 0).any():
                row, column = np.argwhere(getattr(self, name) <= 0)[0]
                where = f"{self.symbols[column]} at {self.timestamps[row]}"
                raise DataError(f"{self.source}: {name} of {where} is not positive; repair or drop that bar")
        for name in (*FIELDS, "tradable", "timestamps", "close_time", "benchmark_returns"):
            getattr(self, name).setflags(write=False)
        if self.spread_multiple is not None:
            self._check_spread(self.spread_multiple)
        for name, values in self.side.items():
            self._check_side(name, values)

    def _check_side(self, name: str, values: Floats) -> None:
        if not _SIDE_NAME.fullmatch(name):
            raise DataError(f"{self.source}: side series {name!r}; name it by a letter, then letters, digits and _")
        if values.shape not in ((len(self),), self.close.shape):
            fitting = f"({len(self)},) or {self.close.shape}"
            raise DataError(f"{self.source}: side series {name} has shape {values.shape}, expected {fitting}")
        values.setflags(write=False)

    def _check_spread(self, multiple: Floats) -> None:
        if multiple.shape != (len(self),) or not (np.isfinite(multiple) & (multiple >= 0.0)).all():
            raise DataError(f"{self.source}: spread_multiple must be one finite number, 0 or more, for each bar")
        multiple.setflags(write=False)

    def __repr__(self) -> str:
        return f"Panel({self.source}: {len(self)} bars of {self.frequency} x {len(self.symbols)} symbols, {self.span})"

    def __len__(self) -> int:
        return len(self.timestamps)

    def __getitem__(self, rows: slice) -> Panel:
        """Return the panel of the bars ``rows`` (a slice with step 1)."""
        cut = {name: getattr(self, name)[rows] for name in (*FIELDS, "tradable")}
        return replace(
            self,
            timestamps=self.timestamps[rows],
            close_time=self.close_time[rows],
            benchmark_returns=self.benchmark_returns[rows],
            spread_multiple=None if self.spread_multiple is None else self.spread_multiple[rows],
            side=self.each_side(lambda values: values[rows]),
            **cut,
        )

    def detached(self) -> Panel:
        """Return the same bars in memory of their own: what a slice is cut from stays out of reach."""
        names = (*sorted(self.columns), "tradable", "timestamps", "close_time", "benchmark_returns")
        own: dict[str, Any] = {name: getattr(self, name).copy() for name in names}
        return replace(self, **own, side=self.each_side(np.copy))

    def each_side(self, change: Callable[[Floats], Floats]) -> dict[str, Floats]:
        """Return the side series after ``change``, for a panel that is made of this one."""
        return {name: change(values) for name, values in self.side.items()}

    def with_side(self, name: str, values: Floats) -> Panel:
        """Return the panel with one more side series, or another one of that name; (T,) or (T, N), as in ``side``.

        The values are taken as they are: row t has to be known at the close of bar t. ``market.side`` joins dated ones.
        """
        return replace(self, side={**self.side, name: np.asarray(values, np.float64)})

    def series(self, name: str) -> Floats:
        """Return a side series, (T,) or (T, N).

        Raises:
            DataError: the panel has none of that name.
        """
        if name not in self.side:
            known = f"; {suggest(name, self.side)}" if self.side else ""
            mend = "give its file under side in [data], or by --side"
            raise DataError(f"{self.source}: no side series {name}{known}; {mend}")
        return self.side[name]

    @property
    def span(self) -> str:
        """First and last timestamp, readable."""
        return f"{self.moment(self.timestamps[0])} to {self.moment(self.timestamps[-1])}"

    def moment(self, stamp: np.datetime64) -> str:
        """Return a timestamp as people write it: the date, and the time of day on intraday bars."""
        return str(stamp.astype("M8[D]" if self.is_daily else "M8[m]"))

    @property
    def is_daily(self) -> bool:
        """True when bars are sessions."""
        return self.frequency.endswith("D")

    @property
    def has_open(self) -> bool:
        """True when the source has opens, so that orders can fill at the open."""
        return "open" in self.columns

    @cached_property
    def sessions(self) -> NDArray[np.int64]:
        """(T,) running number of the session each bar belongs to: the date of the bar's open, in New York.

        An evening there is the next day in UTC, so intraday bars after 19:00 would count as a session of their own.
        """
        dates = self.timestamps.astype("M8[D]") if self.is_daily else _new_york_dates(self.timestamps)
        return np.concatenate([[0], np.cumsum(dates[1:] != dates[:-1])]).astype(np.int64)

    @cached_property
    def bars_per_year(self) -> float:
        """Bars in a year of 252 sessions; the number every annualisation uses."""
        return len(self) / (int(self.sessions[-1]) + 1) * SESSIONS_PER_YEAR

    @cached_property
    def mark(self) -> Floats:
        """(T, N) last known close of each symbol; NaN before its first bar."""
        row = np.where(np.isnan(self.close), 0, np.arange(len(self))[:, None])
        marks = self.close[np.maximum.accumulate(row, axis=0), np.arange(len(self.symbols))]
        marks.setflags(write=False)
        return marks

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over timestamps, symbols and every array: the identity of the data."""
        digest = hashlib.sha256("\0".join((*self.symbols, self.frequency, self.benchmark_name)).encode())
        for array in (self.timestamps.astype("M8[ns]").view("i8"), self.tradable, self.benchmark_returns):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name in FIELDS:
            if name in self.columns:
                digest.update(name.encode() + np.ascontiguousarray(getattr(self, name)).tobytes())
        if self.spread_multiple is not None:
            digest.update(b"spread_multiple" + np.ascontiguousarray(self.spread_multiple).tobytes())
        for name in sorted(self.side):
            digest.update(f"side {name} {self.side[name].shape}".encode())
            digest.update(np.ascontiguousarray(self.side[name]).tobytes())
        return digest.hexdigest()

    def select(self, symbols: Sequence[str]) -> Panel:
        """Return the panel of ``symbols``, in that order; the benchmark stays as it is.

        Raises:
            DataError: a symbol is not in the panel.
        """
        for symbol in symbols:
            if symbol not in self.symbols:
                raise DataError(f"{self.source}: no symbol {symbol}; {suggest(symbol, self.symbols)}")
        take = [self.symbols.index(symbol) for symbol in symbols]
        cut: dict[str, Any] = {
            name: np.ascontiguousarray(getattr(self, name)[:, take]) for name in (*FIELDS, "tradable")
        }
        side = self.each_side(lambda values: values if values.ndim == 1 else np.ascontiguousarray(values[:, take]))
        return replace(self, symbols=tuple(symbols), side=side, **cut)

    def between(self, start: str | None = None, end: str | None = None) -> Panel:
        """Return the bars from ``start`` to ``end``, both dates inclusive.

        Raises:
            DataError: a date cannot be read, or no bar lies between them.
        """
        first, last = 0, len(self)
        if start is not None:
            first = int(np.searchsorted(self.timestamps, _date(start).astype("M8[ns]")))
        if end is not None:
            last = int(np.searchsorted(self.timestamps, (_date(end) + 1).astype("M8[ns]")))
        if first >= last:
            raise DataError(
                f"{self.source}: no bars from {start or 'the start'} to {end or 'the end'}; the data covers {self.span}"
            )
        return self[first:last]

    def require(self, columns: Sequence[str], why: str) -> None:
        """Raise DataError when the source lacks one of ``columns``, naming what needs it."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise DataError(f"{self.source}: {why} needs {', '.join(missing)}, which this data does not have")


def _new_york_dates(stamps: Times) -> Times:
    """Return (T,) datetime64[D] of UTC times.

    The offset at midnight UTC holds for the date all day: clocks change at 6:00 or 7:00 UTC, after New York's midnight.
    """
    days, place = np.unique(stamps.astype("M8[D]"), return_inverse=True)
    midnights = (datetime.combine(day, time(), UTC).astimezone(_NEW_YORK) for day in days.tolist())
    offsets = np.array([midnight.utcoffset() for midnight in midnights], "m8[ns]")
    dates: Times = (stamps + offsets[place]).astype("M8[D]")
    return dates


def _date(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "D")
    except ValueError as error:
        raise DataError(f"cannot read the date {text!r}; write YYYY-MM-DD") from error


def equal_weight_returns(close: Floats) -> Floats:
    """Return (T,) the mean simple return over the symbols that have both bars; NaN where none has.

    The default benchmark of a universe that brings none of its own: a function of bars t-1 and t only.
    """
    returns = np.full(len(close), np.nan)
    step = close[1:] / close[:-1] - 1.0
    known = ~np.isnan(step)
    count = known.sum(axis=1)
    total = np.where(known, step, 0.0).sum(axis=1)
    returns[1:][count > 0] = total[count > 0] / count[count > 0]
    return returns
