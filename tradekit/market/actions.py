"""Corporate actions: splits and dividends by ex-date, and prices adjusted for them.

Raw prices are what was paid on the day; adjusted ones are multiplied so that a return across an ex-date is what a
holder earned. Adjustment runs backwards from the newest bar, which keeps its price: with P the last raw close before an
ex-date, a split of s new shares for one and a dividend of D per new share multiply every earlier price by

    (1 - D s / P) / s

and every earlier volume by s (the convention of CRSP, Yahoo and Alpha Vantage). Earlier prices therefore depend on
later actions, by a common factor only: returns, and with them decisions that use ratios of prices, do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np

from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.panel import Panel, equal_weight_returns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Times
    from tradekit.market.quality.table import RawTable

PRICES = ("open", "high", "low", "close")

# A recorded split is looked for in the prices when it is this many robust standard deviations of a return.
DECIDABLE = 4.0
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, eq=False)
class Actions:
    """Splits and dividends of any number of symbols (A entries, in any order).

    Attributes:
        symbols: (A,) whose.
        dates: (A,) datetime64[D] ex-date: the first session without the right.
        splits: (A,) new shares for one old; 1 where there was no split.
        dividends: (A,) cash per share as counted after a split of the same date; 0 where there was none.
        origin: where they come from, for messages.

    Raises:
        DataError: lengths differ, a split is not positive or a dividend is negative.
    """

    symbols: NDArray[np.str_]
    dates: Times
    splits: Floats
    dividends: Floats
    origin: str = "actions"

    def __post_init__(self) -> None:
        lengths = {len(self.symbols), len(self.dates), len(self.splits), len(self.dividends)}
        if len(lengths) > 1:
            raise DataError(f"{self.origin}: symbols, dates, splits and dividends differ in length; give one of each")
        for fault, wrong in (
            ("split is not positive", ~(self.splits > 0)),
            ("dividend is negative or blank", ~(self.dividends >= 0)),
        ):
            if wrong.any():
                place = int(np.argmax(wrong))
                raise DataError(f"{self.origin}: {fault} ({self.symbols[place]} on {self.dates[place]}); correct it")

    def __len__(self) -> int:
        return len(self.dates)

    def of(self, symbol: str) -> Actions:
        """Return one symbol's actions, in date order."""
        rows = np.flatnonzero(self.symbols == symbol)
        rows = rows[np.argsort(self.dates[rows], kind="stable")]
        return replace(
            self,
            symbols=self.symbols[rows],
            dates=self.dates[rows],
            splits=self.splits[rows],
            dividends=self.dividends[rows],
        )


def actions_of(table: RawTable) -> Actions:
    """Return the actions in a table's own ``split`` and ``dividend`` columns.

    Raises:
        DataError: it has neither column, or a value that cannot be.
    """
    if not (table.has("split") or table.has("dividend")):
        raise DataError(f"{table.origin}: no split and no dividend column; name them so, one row for each ex-date")
    split, dividend = np.nan_to_num(table.value("split"), nan=1.0), np.nan_to_num(table.value("dividend"))
    split = np.where(split == 0.0, 1.0, split)
    rows = np.flatnonzero(((split != 1.0) | (dividend != 0.0)) & ~np.isnat(table.times))
    return Actions(
        table.symbols[rows], table.times[rows].astype("M8[D]"), split[rows], dividend[rows], origin=table.origin
    )


@overload
def apply_actions(data: Panel, actions: Actions, *, splits: bool = True, dividends: bool = True) -> Panel: ...
@overload
def apply_actions(data: RawTable, actions: Actions, *, splits: bool = True, dividends: bool = True) -> RawTable: ...
def apply_actions(
    data: Panel | RawTable, actions: Actions, *, splits: bool = True, dividends: bool = True
) -> Panel | RawTable:
    """Return raw prices adjusted for splits and dividends, and volume for splits.

    Actions before a symbol's first bar or after its last one change nothing. A table's adj_close, dividend and split
    columns are dropped from the result, for they no longer describe it.

    Args:
        data: a panel or table of raw prices.
        actions: what to apply; symbols that the data lack are left out.
        splits: apply the splits; False where the prices hold them already.
        dividends: apply the dividends.

    Raises:
        DataError: a split is already in the prices, or a dividend is as large as the price.
    """
    if isinstance(data, Panel):
        return _adjust_panel(data, actions, splits, dividends)
    return _adjust_table(data, actions, splits, dividends)


def factors(
    dates: Times,
    close: Floats,
    actions: Actions,
    *,
    splits: bool = True,
    dividends: bool = True,
    at: Times | None = None,
) -> tuple[Floats, Floats]:
    """Return (R,) by what to multiply prices and (R,) volumes of one symbol's raw bars.

    Args:
        dates: (B,) datetime64[D] session of each bar, increasing; several bars of one session may follow each other.
        close: (B,) raw closes, none NaN.
        actions: of this symbol, in date order.
        splits: apply the splits.
        dividends: apply the dividends.
        at: (R,) datetime64[D] the sessions to answer for, in any order; None answers for ``dates``.

    Raises:
        DataError: a dividend is as large as the price before it.
    """
    wanted = dates if at is None else at
    price, volume = np.ones(len(wanted)), np.ones(len(wanted))
    for date, split, dividend in zip(actions.dates, actions.splits, actions.dividends, strict=True):
        first = int(np.searchsorted(dates, date))
        if first in (0, len(dates)):
            continue
        ratio, cash = split if splits else 1.0, dividend if dividends else 0.0
        rest = 1.0 - cash * ratio / close[first - 1]
        if rest <= 0:
            raise DataError(
                f"{actions.origin}: the dividend {dividend:g} of {actions.symbols[0]} on {date} is not less than the "
                f"close before it, {close[first - 1]:g}; correct it"
            )
        earlier = wanted < date
        price[earlier] *= rest / ratio
        volume[earlier] *= ratio
    return price, volume


def demand_raw(dates: Times, open_: Floats, close: Floats, actions: Actions) -> None:
    """Raise DataError when a split is in the prices of one symbol already, so that applying it would undo it.

    Args:
        dates: (B,) datetime64[D] session of each bar.
        open_: (B,) opens, NaN where there are none.
        close: (B,) closes.
        actions: of this symbol, in date order.
    """
    known = in_prices(dates, open_, close, actions)
    for date, split, applied in zip(actions.dates, actions.splits, known, strict=True):
        if applied == 1:
            raise DataError(
                f"{actions.origin}: the {text_of(split)} split of {actions.symbols[0]} on {date} is in the prices "
                "already; apply the dividends only (splits=False), or give raw prices"
            )


def in_prices(dates: Times, open_: Floats, close: Floats, actions: Actions) -> NDArray[np.int8]:
    """Return (A,) 1 where a split is in the prices already, 0 where they step by it, -1 where it is too small to tell.

    Arguments as for ``demand_raw``.
    """
    steps = np.abs(np.diff(np.log(close)))
    scale = MAD_TO_SIGMA * float(np.median(steps)) if len(steps) else np.nan
    known = np.full(len(actions), -1, dtype=np.int8)
    for place, (date, split) in enumerate(zip(actions.dates, actions.splits, strict=True)):
        first = int(np.searchsorted(dates, date))
        if first in (0, len(dates)) or not abs(np.log(split)) > DECIDABLE * scale:
            continue
        begins = close[first] if np.isnan(open_[first]) else open_[first]
        move = np.log(begins / close[first - 1])
        known[place] = abs(move) <= abs(move + np.log(split))
    return known


def text_of(split: float) -> str:
    """Return a split as people write it.

    >>> text_of(4.0), text_of(1.5), text_of(0.1), text_of(1.319)
    ('4:1', '3:2', '1:10', '1.319:1')
    """
    for old in (1, 2, 3, 4):
        if abs(split * old - round(split * old)) < 1e-4 * split and round(split * old) > 0:
            return f"{round(split * old)}:{old}"
    if abs(1 / split - round(1 / split)) < 1e-4 / split:
        return f"1:{round(1 / split)}"
    return f"{split:g}:1"


def _adjust_panel(panel: Panel, actions: Actions, splits: bool, dividends: bool) -> Panel:
    _demand_benchmark(panel, actions)
    dates = session_dates(panel)
    price, volume = np.ones(panel.close.shape), np.ones(panel.close.shape)
    for column, symbol in enumerate(panel.symbols):
        bars, own = ~np.isnan(panel.close[:, column]), actions.of(symbol)
        close = panel.close[bars, column]
        if splits:
            demand_raw(dates[bars], panel.open[bars, column], close, own)
        price[:, column], volume[:, column] = factors(
            dates[bars], close, own, splits=splits, dividends=dividends, at=dates
        )
    changed = {name: getattr(panel, name) * price for name in PRICES if name in panel.columns}
    if "volume" in panel.columns:
        changed["volume"] = panel.volume * volume
    return replace(panel, **changed, benchmark_returns=_benchmark(panel, changed["close"]))


def session_dates(panel: Panel) -> Times:
    """Return (T,) datetime64[D], the session of each bar of a panel."""
    return (panel.timestamps if panel.is_daily else calendar.wall_clock(panel.timestamps)).astype("M8[D]")


def _demand_benchmark(panel: Panel, actions: Actions) -> None:
    if panel.benchmark_name in actions.symbols and panel.benchmark_name not in panel.symbols:
        raise DataError(
            f"{panel.source}: the benchmark {panel.benchmark_name} has actions but is not among the symbols, so its "
            "returns cannot be adjusted; load it as a symbol"
        )


def _benchmark(panel: Panel, close: Floats) -> Floats:
    if panel.benchmark_name in panel.symbols:
        return equal_weight_returns(close[:, [panel.symbols.index(panel.benchmark_name)]])
    return equal_weight_returns(close) if panel.benchmark_name == "equal_weight" else panel.benchmark_returns


def _adjust_table(table: RawTable, actions: Actions, splits: bool, dividends: bool) -> RawTable:
    from tradekit.market.quality.bars import each_symbol
    from tradekit.market.quality.clock import read_clock

    if np.isnat(table.times).any():
        row = table.where(int(np.argmax(np.isnat(table.times))))
        raise DataError(f"{table.origin}, {row}: the timestamp cannot be read; drop that row first (drop_unreadable)")
    clock = read_clock(table)
    price, volume = np.ones(len(table)), np.ones(len(table))
    for bars in each_symbol(table, clock):
        own, rows = actions.of(bars.symbol), table.symbols == bars.symbol
        if splits:
            demand_raw(bars.dates, bars.value("open"), bars.close, own)
        # Rows that repeat a timestamp are none of the bars, and are adjusted with them all the same.
        price[rows], volume[rows] = factors(
            bars.dates, bars.close, own, splits=splits, dividends=dividends, at=clock.dates[rows]
        )
    adjusted = table.drop_fields(("adj_close", "dividend", "split"))
    for name in PRICES:
        if table.has(name):
            adjusted = adjusted.put(name, table.value(name) * price)
    return adjusted.put("volume", table.value("volume") * volume) if table.has("volume") else adjusted
