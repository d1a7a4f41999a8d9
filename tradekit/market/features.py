"""Features: named columns of what a policy or model may see, each of finite memory and known lookback.

A feature of bar t is computed from bars up to t. ``FeatureSpec`` is an ordered choice of features; its content hash
goes into whatever was fitted on them, so that nothing is ever fed columns that mean something else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import ConfigError, suggest
from tradekit.market import indicators
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Floats, Panel

# Part of every content hash: raise it when a kernel answers other numbers for the same name and parameters.
KERNEL_VERSION = 1

# Bars that truncated averages see. 127 steps of Wilder's 14 leave a weight of 1e-4, of a span of 26 less.
MEMORY = 128

SIDE = "side:"
"""Begins the name of a feature that is a side series of the panel."""


@dataclass(frozen=True)
class Feature:
    """How one feature is computed.

    Attributes:
        kernel: pure function of ``inputs`` and ``parameters`` to (T, N), or to (T, 1) where all symbols share it.
        inputs: attributes of the panel that the kernel is called with; (T,) floats arrive as (T, 1).
        parameters: the kernel's further arguments, in bars.
        lookback: the number of bars, the newest included, that a value depends on.
        formula: what it is, for people; c, o, h, l, v are the columns and b the benchmark's return.
    """

    kernel: Callable[..., Floats]
    inputs: tuple[str, ...]
    parameters: tuple[int, ...]
    lookback: int
    formula: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The price and volume columns it needs."""
        return tuple(name for name in self.inputs if name in FIELDS)

    def compute(self, panel: Panel) -> Floats:
        """Return (T, N) or (T, 1) float64; the first ``lookback - 1`` rows are NaN."""
        return self.kernel(*(_argument(panel, name) for name in self.inputs), *self.parameters)


def _argument(panel: Panel, name: str) -> Any:
    if name.startswith(SIDE):
        values = panel.series(name.removeprefix(SIDE))
        return values[:, None] if values.ndim == 1 else values
    return panel.benchmark_returns[:, None] if name == "benchmark_returns" else getattr(panel, name)


def feature(name: str) -> Feature:
    """Return the feature of a name of ``FEATURES``, or of ``side:NAME``, a side series of the panel as it is.

    Raises:
        ConfigError: there is no such feature.
    """
    if name.startswith(SIDE) and len(name) > len(SIDE):
        return Feature(
            as_it_is, (name,), (), 1, f"newest {name.removeprefix(SIDE)} that was published by the bar's close"
        )
    if name not in FEATURES:
        raise ConfigError(f"unknown feature {name!r}; {suggest(name, {*FEATURES, *SETS, f'{SIDE}NAME'})}")
    return FEATURES[name]


def as_it_is(values: Floats) -> Floats:
    """Return a side series unchanged: (T, 1) or (T, N), NaN where nothing was published yet."""
    return values


_CLOSE, _BAR, _BENCHMARK = ("close",), ("high", "low", "close"), ("benchmark_returns",)

CLOSE_FEATURES = {
    "return_1": Feature(indicators.log_return, _CLOSE, (1,), 2, "ln(c[t] / c[t-1])"),
    "return_5": Feature(indicators.log_return, _CLOSE, (5,), 6, "ln(c[t] / c[t-5])"),
    "return_20": Feature(indicators.log_return, _CLOSE, (20,), 21, "ln(c[t] / c[t-20])"),
    "volatility_20": Feature(
        indicators.volatility, _CLOSE, (20,), 21, "standard deviation (ddof 1) of the last 20 one-bar log returns"
    ),
    "momentum_60": Feature(indicators.log_return, _CLOSE, (60,), 61, "ln(c[t] / c[t-60])"),
    "rsi_14": Feature(
        indicators.rsi, _CLOSE, (14, MEMORY), MEMORY, "Wilder's RSI(14), 0 to 100, restarted in every 128 bars"
    ),
    "macd_histogram": Feature(
        indicators.macd_histogram,
        _CLOSE,
        (12, 26, 9, MEMORY),
        MEMORY,
        "MACD(12, 26) less its signal(9), over c[t], restarted in every 128 bars",
    ),
    "bollinger_20": Feature(
        indicators.z_score, _CLOSE, (20,), 20, "(c[t] - SMA(20)) / standard deviation (ddof 0) of the last 20 closes"
    ),
    "sma_gap_20": Feature(indicators.average_gap, _CLOSE, (20,), 20, "c[t] / SMA(20) - 1"),
    "sma_gap_50": Feature(indicators.average_gap, _CLOSE, (50,), 50, "c[t] / SMA(50) - 1"),
    "sma_gap_100": Feature(indicators.average_gap, _CLOSE, (100,), 100, "c[t] / SMA(100) - 1"),
    "trend_20_100": Feature(indicators.trend, _CLOSE, (20, 100), 100, "SMA(20) / SMA(100) - 1"),
    "volatility_rank_100": Feature(
        indicators.volatility_rank, _CLOSE, (20, 100), 120, "rank of volatility_20 among its last 100 values, 0 to 1"
    ),
    "benchmark_return_1": Feature(indicators.benchmark_log_return, _BENCHMARK, (1,), 1, "ln(1 + b[t])"),
    "benchmark_return_5": Feature(indicators.benchmark_log_return, _BENCHMARK, (5,), 5, "sum of the last 5 ln(1 + b)"),
    "benchmark_return_20": Feature(
        indicators.benchmark_log_return, _BENCHMARK, (20,), 20, "sum of the last 20 ln(1 + b)"
    ),
    "relative_strength_20": Feature(
        indicators.relative_strength, _CLOSE + _BENCHMARK, (20,), 21, "return_20 - benchmark_return_20"
    ),
}

BAR_FEATURES = {
    "range_1": Feature(indicators.bar_range, _BAR, (), 1, "(h[t] - l[t]) / c[t]"),
    "atr_14": Feature(
        indicators.average_true_range,
        _BAR,
        (14, MEMORY),
        MEMORY,
        "Wilder's ATR(14) over c[t], restarted in every 128 bars",
    ),
    "close_location": Feature(
        indicators.close_location, _BAR, (), 1, "(c[t] - l[t]) / (h[t] - l[t]); 1/2 without a range"
    ),
    "gap_1": Feature(indicators.open_gap, ("open", "close"), (), 2, "ln(o[t] / c[t-1])"),
    "volume_z_20": Feature(
        indicators.z_score, ("volume",), (20,), 20, "(v[t] - mean) / standard deviation (ddof 0) of the last 20 volumes"
    ),
    "session_sin": Feature(
        indicators.session_sin,
        ("close_time", "is_daily"),
        (),
        1,
        "sin of the bar's close, a turn from 9:30 to 16:00 in New York; 0 for daily bars",
    ),
    "session_cos": Feature(
        indicators.session_cos, ("close_time", "is_daily"), (), 1, "cos of the same; 0 for daily bars"
    ),
    "weekday_sin": Feature(indicators.weekday_sin, ("timestamps",), (), 1, "sin(2 pi weekday / 7), Monday 0"),
    "weekday_cos": Feature(indicators.weekday_cos, ("timestamps",), (), 1, "cos(2 pi weekday / 7), Monday 0"),
}

FEATURES = CLOSE_FEATURES | BAR_FEATURES

SETS = {"close": tuple(CLOSE_FEATURES), "ohlcv": tuple(FEATURES)}


@dataclass(frozen=True)
class FeatureSpec:
    """An ordered choice of features.

    Attributes:
        names: F keys of ``FEATURES``, or ``side:NAME`` for a side series of the panel, in the order of the last axis of
            ``compute``.

    Raises:
        ConfigError: a name is unknown or comes twice, or there is none.

    >>> FeatureSpec.named("close").lookback
    128
    >>> FeatureSpec.named("return_1", "sma_gap_50").names
    ('return_1', 'sma_gap_50')
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.reads:
            raise ConfigError(f"no features; choose a set ({', '.join(SETS)}) or names of features")
        for name in self.reads:
            feature(name)
            if self.names.count(name) > 1:
                raise ConfigError(f"feature {name} is listed twice; list it once")

    @classmethod
    def named(cls, *names: str) -> FeatureSpec:
        """Build from names of features and of sets (``close``, ``ohlcv``), in the order given.

        Raises:
            ConfigError: a name is unknown or comes twice, or there is none.
        """
        return cls(tuple(name for entry in names for name in SETS.get(entry, (entry,))))

    @property
    def reads(self) -> tuple[str, ...]:
        """The features that have to be computed for it: ``names``, where it adds nothing that is made of others."""
        return self.names

    @property
    def lookback(self) -> int:
        """Bars, the newest included, that a row of ``compute`` depends on: load this many to have one complete row."""
        return max(feature(name).lookback for name in self.reads)

    @property
    def requires(self) -> tuple[str, ...]:
        """The panel columns needed, in the order open, high, low, close, volume."""
        needed = {column for name in self.reads for column in feature(name).columns}
        return tuple(column for column in FIELDS if column in needed)

    @property
    def side(self) -> tuple[str, ...]:
        """The side series of the panel that are needed."""
        return tuple(name.removeprefix(SIDE) for name in self.reads if name.startswith(SIDE))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over names, kernels, inputs, parameters and lookbacks: the meaning of the columns."""
        chosen = [(name, feature(name)) for name in self.names]
        rows = [[name, item.kernel.__name__, item.inputs, item.parameters, item.lookback] for name, item in chosen]
        return hashlib.sha256(json.dumps([KERNEL_VERSION, rows]).encode()).hexdigest()

    def check(self, panel: Panel) -> None:
        """Raise DataError when the panel lacks a column or a side series, naming what needs it."""
        for name in self.reads:
            panel.require(feature(name).columns, f"feature {name}")
        for name in self.side:
            panel.series(name)

    def compute(self, panel: Panel) -> Floats:
        """Return the features of every bar, (T, N, F) float64, C-contiguous and read-only.

        Row t depends on bars ``t - lookback + 1`` to t alone, bit for bit. A feature is NaN in its first
        ``lookback - 1`` rows and wherever a value that it reads is NaN.

        Raises:
            DataError: the panel lacks a column or a side series that a feature needs.
        """
        self.check(panel)
        out = np.empty((*panel.close.shape, len(self.names)))
        for index, name in enumerate(self.names):
            out[:, :, index] = feature(name).compute(panel)
        out.setflags(write=False)
        return out

    def describe(self) -> list[tuple[str, int, str]]:
        """Return a row (name, lookback in bars, formula) for each feature."""
        return [(name, feature(name).lookback, feature(name).formula) for name in self.names]
