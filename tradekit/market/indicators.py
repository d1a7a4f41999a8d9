"""Indicator kernels of finite memory: pure functions of (T, N) arrays.

Row t of a result reads the last ``lookback`` bars up to t and nothing else, and adds them up in the same order wherever
they stand in the array. A backtest over years, a window of it and a live session that loads ``lookback`` bars therefore
compute the same bits. Running sums would not: their rounding remembers every bar since the first.

An exponential average would reach back for ever. Here it starts anew in every window, from the mean of the window's
first ``period`` values, and so is one fixed weighted sum; what lies before the window would have weighed below 1e-4.

NaN rule of every kernel: a NaN among the values that a window reads, or too few bars, gives NaN.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from datetime import date

    from tradekit.market.panel import Floats, Times

NEW_YORK = ZoneInfo("America/New_York")
SESSION_OPEN_MINUTE = 9 * 60 + 30
SESSION_MINUTES = 390
_MIDDAY_UTC_HOUR = 17  # clocks change at night, so any hour of the session tells the day's offset
_DAYS_PER_WEEK = 7
_WEEKDAY_OF_EPOCH = 3  # 1970-01-01 was a Thursday, and Monday is 0


# ------------------------------------------------------------------------------------------------ windows


@njit(cache=True)
def weighted_sum(values: Floats, weights: Floats) -> Floats:
    """Return (T, N) the sum of the last ``len(weights)`` rows, each times its weight, oldest first."""
    bars, columns = values.shape
    window = len(weights)
    out = np.full((bars, columns), np.nan)
    for t in range(window - 1, bars):
        out[t, :] = 0.0
        for k in range(window):
            weight = weights[k]
            row = t - window + 1 + k
            for n in range(columns):
                out[t, n] += weight * values[row, n]
    return out


@njit(cache=True)
def _moments(values: Floats, t: int, n: int, window: int) -> tuple[float, float]:
    """Return (mean minus the newest value, sum of squared deviations) of a window.

    Measured from the newest value, so that a window of equal values has a deviation of exactly zero.
    """
    newest = values[t, n]
    shift = 0.0
    for row in range(t - window + 1, t + 1):
        shift += values[row, n] - newest
    shift /= window
    squares = 0.0
    for row in range(t - window + 1, t + 1):
        squares += (values[row, n] - newest - shift) ** 2
    return shift, squares


@njit(cache=True)
def deviation(values: Floats, window: int, ddof: int) -> Floats:
    """Return (T, N) the standard deviation of the last ``window`` values, divisor ``window - ddof``."""
    bars, columns = values.shape
    out = np.full((bars, columns), np.nan)
    for t in range(window - 1, bars):
        for n in range(columns):
            _, squares = _moments(values, t, n, window)
            out[t, n] = np.sqrt(squares / (window - ddof))
    return out


@njit(cache=True)
def z_score(values: Floats, window: int) -> Floats:
    """Return (T, N) how many standard deviations (divisor ``window``) a value is above the mean of its window.

    Zero where the window's values are all equal.
    """
    bars, columns = values.shape
    out = np.full((bars, columns), np.nan)
    for t in range(window - 1, bars):
        for n in range(columns):
            shift, squares = _moments(values, t, n, window)
            out[t, n] = 0.0 if squares == 0.0 else -shift / np.sqrt(squares / window)
    return out


@njit(cache=True)
def mid_rank(values: Floats, window: int) -> Floats:
    """Return (T, N) the share in [0, 1] of the ``window - 1`` earlier values below the newest; ties count half."""
    bars, columns = values.shape
    out = np.full((bars, columns), np.nan)
    for t in range(window - 1, bars):
        for n in range(columns):
            newest = values[t, n]
            halves = 0
            known = not np.isnan(newest)
            for row in range(t - window + 1, t):
                value = values[row, n]
                known = known and not np.isnan(value)
                halves += (value < newest) + (value <= newest)
            if known:
                out[t, n] = halves / (2 * (window - 1))
    return out


def mean(values: Floats, window: int) -> Floats:
    """Return (T, N) the simple moving average over ``window`` values."""
    return weighted_sum(values, np.ones(window)) / window


# ------------------------------------------------------------------------------------- exponential averages


def _recursion(values: Floats, period: int, alpha: float) -> Floats:
    """Return every state of an exponential average over the rows, seeded with the mean of the first ``period``."""
    states = [values[:period].mean(axis=0)]
    for row in values[period:]:
        states.append(states[-1] + alpha * (row - states[-1]))
    return np.array(states)


@lru_cache
def wilder_weights(period: int, window: int) -> Floats:
    """Return (window,) the weights, oldest first, of Wilder's average restarted in every window.

    They are the recursion's answer to one unit in each place (Wilder 1978, New Concepts in Technical Trading Systems).
    """
    weights: Floats = _recursion(np.eye(window), period, 1.0 / period)[-1]
    weights.setflags(write=False)
    return weights


@lru_cache
def macd_weights(fast: int, slow: int, signal: int, window: int) -> Floats:
    """Return (window,) the weights, oldest first, of the MACD histogram (Appel 2005) restarted in every window.

    Both averages speak first at bar ``slow``, the signal line ``signal - 1`` bars later, as in TA-Lib.
    """
    closes = np.eye(window)
    line = _recursion(closes[slow - fast :], fast, 2.0 / (fast + 1)) - _recursion(closes, slow, 2.0 / (slow + 1))
    weights: Floats = line[-1] - _recursion(line, signal, 2.0 / (signal + 1))[-1]
    weights.setflags(write=False)
    return weights


# ----------------------------------------------------------------------------------------- from closes alone


def _log_steps(close: Floats) -> Floats:
    steps = np.full(close.shape, np.nan)
    steps[1:] = np.log(close[1:] / close[:-1])
    return steps


def log_return(close: Floats, bars: int) -> Floats:
    """Return (T, N) the log return over ``bars`` bars; lookback ``bars + 1``."""
    return weighted_sum(_log_steps(close), np.ones(bars))


def benchmark_log_return(benchmark_returns: Floats, bars: int) -> Floats:
    """Return (T, 1) the benchmark's log return over ``bars`` bars; lookback ``bars``.

    Args:
        benchmark_returns: (T, 1) simple return of the benchmark over each bar.
        bars: how many of them.
    """
    return weighted_sum(np.log1p(benchmark_returns), np.ones(bars))


def relative_strength(close: Floats, benchmark_returns: Floats, bars: int) -> Floats:
    """Return (T, N) the log return over ``bars`` bars above the benchmark's; lookback ``bars + 1``."""
    return log_return(close, bars) - benchmark_log_return(benchmark_returns, bars)


def volatility(close: Floats, bars: int) -> Floats:
    """Return (T, N) the standard deviation (ddof 1) of the last ``bars`` log returns, lookback ``bars + 1``."""
    return deviation(_log_steps(close), bars, 1)


def volatility_rank(close: Floats, bars: int, window: int) -> Floats:
    """Return (T, N) the rank of the volatility among its last ``window`` values, 0 to 1; lookback ``bars + window``."""
    return mid_rank(volatility(close, bars), window)


def average_gap(close: Floats, window: int) -> Floats:
    """Return (T, N) the close over its moving average, less one; lookback ``window``."""
    return close / mean(close, window) - 1.0


def trend(close: Floats, fast: int, slow: int) -> Floats:
    """Return (T, N) the fast moving average over the slow one, less one; lookback ``slow``."""
    return mean(close, fast) / mean(close, slow) - 1.0


def rsi(close: Floats, period: int, lookback: int) -> Floats:
    """Return (T, N) Wilder's relative strength index in [0, 100]; 50 where no close in the window differs."""
    change = np.full(close.shape, np.nan)
    change[1:] = close[1:] - close[:-1]
    weights = wilder_weights(period, lookback - 1)
    gain = weighted_sum(np.maximum(change, 0.0), weights)
    moved = weighted_sum(np.abs(change), weights)
    flat = moved == 0.0
    return np.where(flat, 50.0, 100.0 * (gain / np.where(flat, 1.0, moved)))


def macd_histogram(close: Floats, fast: int, slow: int, signal: int, lookback: int) -> Floats:
    """Return (T, N) the MACD line less its signal line, as a fraction of the close."""
    return weighted_sum(close, macd_weights(fast, slow, signal, lookback)) / close


# ---------------------------------------------------------------------------------- from the whole bar


def bar_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return (T, N) high less low, as a fraction of the close; lookback 1."""
    return (high - low) / close


def close_location(high: Floats, low: Floats, close: Floats) -> Floats:
    """Return (T, N) where in the bar's range it closed: 0 at the low, 1 at the high, 1/2 without a range."""
    span = high - low
    flat = span == 0.0
    return np.where(flat, 0.5, (close - low) / np.where(flat, 1.0, span))


def open_gap(open_: Floats, close: Floats) -> Floats:
    """Return (T, N) the log return from the previous close to the open; lookback 2."""
    out = np.full(close.shape, np.nan)
    out[1:] = np.log(open_[1:] / close[:-1])
    return out


def average_true_range(high: Floats, low: Floats, close: Floats, period: int, lookback: int) -> Floats:
    """Return (T, N) Wilder's average true range, as a fraction of the close."""
    true_range = np.full(close.shape, np.nan)
    top, bottom = np.maximum(high[1:], close[:-1]), np.minimum(low[1:], close[:-1])
    true_range[1:] = top - bottom
    return weighted_sum(true_range, wilder_weights(period, lookback - 1)) / close


# ------------------------------------------------------------------------------------------- from the clock


def _offset_minutes(day: date) -> float:
    """Return New York's offset from UTC during the session of ``day``."""
    midday = datetime(day.year, day.month, day.day, _MIDDAY_UTC_HOUR, tzinfo=UTC)
    local = midday.astimezone(NEW_YORK).replace(tzinfo=UTC)
    return (local - midday) / timedelta(minutes=1)


def _session_angle(close_time: Times) -> Floats:
    """Return (T, 1) radians: a full turn from the regular open to the regular close in New York."""
    days, index = np.unique(close_time.astype("M8[D]"), return_inverse=True)
    offsets = np.array([_offset_minutes(day) for day in days.tolist()])
    minute = (close_time - days[index]) / np.timedelta64(1, "m") + offsets[index]
    angle: Floats = 2.0 * np.pi * (minute - SESSION_OPEN_MINUTE) / SESSION_MINUTES
    return angle[:, None]


def session_sin(close_time: Times, is_daily: bool) -> Floats:
    """Return (T, 1) the sine of the time of day at which each bar closes; 0 for daily bars."""
    return np.zeros((len(close_time), 1)) if is_daily else np.sin(_session_angle(close_time))


def session_cos(close_time: Times, is_daily: bool) -> Floats:
    """Return (T, 1) the cosine of the time of day at which each bar closes; 0 for daily bars."""
    return np.zeros((len(close_time), 1)) if is_daily else np.cos(_session_angle(close_time))


def _week_angle(timestamps: Times) -> Floats:
    weekday = (timestamps.astype("M8[D]").astype(np.int64) + _WEEKDAY_OF_EPOCH) % _DAYS_PER_WEEK
    angle: Floats = 2.0 * np.pi * weekday / _DAYS_PER_WEEK
    return angle[:, None]


def weekday_sin(timestamps: Times) -> Floats:
    """Return (T, 1) the sine of the day of the week, Monday at 0 of a turn of seven days."""
    return np.sin(_week_angle(timestamps))


def weekday_cos(timestamps: Times) -> Floats:
    """Return (T, 1) the cosine of the day of the week, Monday at 0 of a turn of seven days."""
    return np.cos(_week_angle(timestamps))
