"""Made-up price tables without a defect: what a test then breaks in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tradekit.market import calendar

DAILY_SIGMA = 0.015

# A pandas DataFrame. Its stubs take a cell for anything at all, so that no sum of two would pass the type check.
Frame = Any


def daily(rows: int = 300, seed: int = 0, start: str = "2022-01-03", symbol: str | None = None) -> Frame:
    """Return daily bars with a log-normal walk, ranges and volumes like a stock's."""
    dates = calendar.sessions_from(start, rows)
    frame = pd.DataFrame({"timestamp": dates.astype("M8[ns]"), **_walk(rows, seed, DAILY_SIGMA)})
    if symbol is not None:
        frame.insert(1, "symbol", symbol)
    return frame


def half_hours(start: str = "2023-10-16", sessions: int = 60, seed: int = 0) -> Frame:
    """Return half-hour bars of regular sessions in UTC; from 2023-10-16 over a change of clocks and a half day."""
    dates = calendar.sessions_from(start, sessions)
    times = [
        np.arange(opens, closes, np.timedelta64(30, "m"))
        for opens, closes in zip(calendar.session_open(dates), calendar.session_close(dates), strict=True)
    ]
    stamps = np.concatenate(times)
    return pd.DataFrame({"timestamp": pd.DatetimeIndex(stamps, tz="UTC"), **_walk(len(stamps), seed, 0.003)})


def _walk(rows: int, seed: int, sigma: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, sigma, rows)))
    before = np.concatenate([[100.0], close[:-1]])
    open_ = before * np.exp(rng.normal(0, sigma / 3, rows))
    reach = np.abs(rng.normal(0, sigma / 2, (2, rows))) + sigma / 10
    high = np.maximum(open_, close) * np.exp(reach[0])
    low = np.minimum(open_, close) * np.exp(-reach[1])
    volume = np.round(1e6 * np.exp(rng.normal(0, 0.3, rows)))
    return {"open": open_, "high": high, "low": low, "close": close, "volume": volume}


def scale(frame: Frame, before: int, ratio: float) -> Frame:
    """Return bars as they were traded before a split of ``ratio`` new shares for one at row ``before``."""
    raw = frame.copy()
    prices = ["open", "high", "low", "close"]
    raw.loc[: before - 1, prices] *= ratio
    raw.loc[: before - 1, "volume"] /= ratio
    return raw


def wall(frame: Frame, zone: str | None = "America/New_York") -> Frame:
    """Return intraday bars with naive stamps of a zone's clock; None keeps those of UTC."""
    stamps = frame["timestamp"].dt.tz_convert(zone or "UTC").dt.tz_localize(None)
    return frame.assign(timestamp=stamps)


def join(*frames: Frame) -> Frame:
    """Return the rows of several tables, numbered anew."""
    whole: list[pd.DataFrame] = list(frames)
    return pd.concat(whole, ignore_index=True)


def in_time_order(frame: Frame) -> Frame:
    """Return the rows by timestamp, those of the same one in the order they had."""
    return frame.sort_values("timestamp", kind="stable", ignore_index=True)
