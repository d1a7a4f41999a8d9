"""ExecutionModel: when and how much of an order fills, and the arrays the kernels run on."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tradekit.errors import ConfigError, DataError, demand_known
from tradekit.market.kernel import Book, Market, Rules
from tradekit.market.regulatory import schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tradekit.market.costs import CostModel
    from tradekit.market.panel import Floats, Panel

# Shares come in billionths, the finest quantity Alpaca accepts, so that a backtest and a broker hold the same number.
FRACTIONAL_LOTS = 1e9


@dataclass(frozen=True)
class ExecutionModel:
    """When and how much of an order fills. A decision never fills before the next bar; nothing here changes that.

    Attributes:
        fill_at: ``open`` or ``close`` of the fill bar; ``auto`` is the open when the data has opens.
        latency_bars: bars to wait on top of the one bar that is always waited.
        fractional: allow fractions of a share, to a billionth; else whole shares, truncated toward zero.
        max_participation: the most of the decision bar's volume that may fill, in (0, 1]; None: no limit.
        min_trade: dollars; smaller trades are not ordered.
        cash_buffer: fraction of equity that sizing leaves in cash, in [0, 1).
        allow_short: permit negative positions.

    Raises:
        ConfigError: a value out of range.
    """

    fill_at: Literal["auto", "open", "close"] = "auto"
    latency_bars: int = 0
    fractional: bool = True
    max_participation: float | None = None
    min_trade: float = 0.0
    cash_buffer: float = 0.0
    allow_short: bool = False

    def __post_init__(self) -> None:
        if self.fill_at not in ("auto", "open", "close"):
            raise ConfigError(f"fill_at is {self.fill_at!r}; choose auto, open or close")
        for name in ("fractional", "allow_short"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose true or false")
        latency: Any = self.latency_bars
        if isinstance(latency, bool) or not isinstance(latency, int) or latency < 0:
            raise ConfigError(f"latency_bars is {latency!r}; a whole number of bars, 0 or more")
        if self.max_participation is not None and not 0.0 < _number(self, "max_participation") <= 1.0:
            raise ConfigError(f"max_participation is {self.max_participation}; a fraction of volume in (0, 1]")
        if not (math.isfinite(_number(self, "min_trade")) and self.min_trade >= 0.0):
            raise ConfigError(f"min_trade is {self.min_trade}; dollars, 0 or more")
        if not 0.0 <= _number(self, "cash_buffer") < 1.0:
            raise ConfigError(f"cash_buffer is {self.cash_buffer}; a fraction of equity in [0, 1)")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> ExecutionModel:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("execution setting", settings, [item.name for item in fields(cls)])
        return cls(**settings)

    def fills_at(self, panel: Panel) -> Literal["open", "close"]:
        """Return where orders on ``panel`` fill.

        Raises:
            DataError: ``fill_at="open"`` on data without opens.
        """
        if self.fill_at == "auto":
            return "open" if panel.has_open else "close"
        panel.require([self.fill_at], f"fill_at={self.fill_at!r}")
        return self.fill_at

    @property
    def rules(self) -> Rules:
        """The model as the kernels read it."""
        return Rules(
            latency=self.latency_bars,
            lots=FRACTIONAL_LOTS if self.fractional else 1.0,
            participation=math.inf if self.max_participation is None else self.max_participation,
            min_trade=float(self.min_trade),
            cash_buffer=float(self.cash_buffer),
            allow_short=self.allow_short,
        )


def _number(model: ExecutionModel, name: str) -> float:
    value: Any = getattr(model, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    return value


def symbol_key(symbol: str) -> int:
    """Return the 64-bit key of a symbol's slippage draws."""
    return int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=8).digest(), "little")


def market_of(panel: Panel, execution: ExecutionModel, costs: Sequence[CostModel]) -> Market:
    """Return the arrays the kernels read of ``panel`` under one execution model and the cost scenarios.

    Raises:
        DataError: the data lacks a column that the execution or cost model needs.
    """
    price = panel.open if execution.fills_at(panel) == "open" else panel.close
    unused = np.zeros((1, 1))
    volume = unused
    if execution.max_participation is not None:
        panel.require(["volume"], "max_participation")
        volume = panel.volume
    dollar_volume, volatility = unused, unused
    windows = {cost.impact_window_bars for cost in costs if cost.impact_basis == "adv" and cost.impact_coefficient}
    if windows:
        panel.require(["volume"], 'impact_basis="adv"')
        if len(windows) > 1:
            raise DataError(f"scenarios of one run share impact_window_bars; got {sorted(windows)}")
        dollar_volume, volatility = trailing_liquidity(panel, windows.pop())
    if any(cost.regulatory for cost in costs):
        sec_rate, taf_rate, taf_cap = schedule(panel.timestamps)
    else:
        sec_rate = taf_rate = taf_cap = np.zeros(len(panel))
    return Market(
        reference=_read_only(np.where(panel.tradable, price, np.nan)),
        mark=_read_only(panel.mark),
        volume=_read_only(volume),
        dollar_volume=_read_only(dollar_volume),
        volatility=_read_only(volatility),
        time_key=_read_only(panel.timestamps.astype("M8[ns]").view(np.uint64)),
        symbol_key=_read_only(np.array([symbol_key(symbol) for symbol in panel.symbols], np.uint64)),
        sec_rate=_read_only(sec_rate),
        taf_rate=_read_only(taf_rate),
        taf_cap=_read_only(taf_cap),
        nights=_read_only(np.diff(panel.sessions, prepend=panel.sessions[:1]).astype(float)),
        spread_multiple=_read_only(np.ones(1) if panel.spread_multiple is None else panel.spread_multiple),
    )


def _read_only(array: Any) -> Any:
    """Return a contiguous view that cannot be written: to numba another type, and kernels are compiled for one only."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def trailing_liquidity(panel: Panel, window: int) -> tuple[Floats, Floats]:
    """Return (T, N) mean dollar volume and log-return volatility per bar of the last ``window`` bars, current included.

    Bars without a price are left out; NaN until two returns are known, and where the dollar volume is zero.
    """
    known = np.lib.stride_tricks.sliding_window_view
    head = np.full((window - 1, len(panel.symbols)), np.nan)
    dollars = np.concatenate([head, panel.close * panel.volume])
    returns = np.concatenate([head, np.full((1, len(panel.symbols)), np.nan), np.diff(np.log(panel.close), axis=0)])
    dollar_volume = _nan_mean(known(dollars, window, axis=0), least=1)
    mean = _nan_mean(known(returns, window, axis=0), least=2)
    variance = _nan_mean((known(returns, window, axis=0) - mean[..., None]) ** 2, least=2)
    return np.where(dollar_volume > 0.0, dollar_volume, np.nan), np.sqrt(variance)


def _nan_mean(values: Floats, least: int) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where fewer than ``least`` are known."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(count >= least, total / np.maximum(count, 1), np.nan)


def open_book(
    cash: float | NDArray[np.float64],
    columns: Sequence[int] | NDArray[np.int64],
    width: int,
    latency: int,
    scenario: Sequence[int] | NDArray[np.int64] | None = None,
    stream: Sequence[int] | NDArray[np.int64] | None = None,
) -> Book:
    """Return B flat portfolios of ``width`` consecutive panel columns each.

    Args:
        cash: dollars, one number or (B,).
        columns: (B,) first panel column of each portfolio.
        width: n, positions per portfolio.
        latency: extra bars orders wait.
        scenario: (B,) row of the cost table; 0 by default.
        stream: (B,) stream of sampled slippage; 0 by default.
    """
    batch = len(columns)
    money = np.full(batch, cash, dtype=np.float64)
    zeros = np.zeros(batch, np.int64)
    return Book(
        cash=money,
        equity=money.copy(),
        peak=money.copy(),
        shares=np.zeros((batch, width)),
        average_cost=np.zeros((batch, width)),
        held=np.zeros((batch, width), np.int64),
        due=np.zeros((batch, latency + 1, width)),
        asked=np.zeros((batch, latency + 1, width)),
        flags=np.zeros((batch, latency + 1, width), np.int64),
        carry=np.zeros((batch, 2)),
        column=np.array(columns, np.int64),
        scenario=zeros.copy() if scenario is None else np.array(scenario, np.int64),
        stream=zeros.copy() if stream is None else np.array(stream, np.int64),
        queue=np.zeros((batch, width), np.int64),
    )


def copy_book(book: Book) -> Book:
    """Return an independent copy, to continue a run from."""
    arrays: Any = (array.copy() for array in book)
    return Book(*arrays)
