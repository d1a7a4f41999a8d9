"""Bars from Yahoo Finance through yfinance (optional: ``pip install tradekit[yahoo]``)."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from datetime import date, timedelta
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.sources.cache import Answer, only_complete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.market.sources.cache import Request

COLUMNS = {
    "Open": "open",
    "High": "high",
    "Low": "low",
    "Close": "close",
    "Volume": "volume",
    "Dividends": "dividend",
    "Stock Splits": "split",
}
ADJUSTMENT = "splits and dividends"
TIMEOUT_SECONDS = 30


def download(request: Request) -> Answer:
    """Fetch the bars of a request: regular sessions, prices adjusted for splits and dividends, actions beside them.

    Raises:
        DataError: yfinance is not installed, Yahoo cannot be reached, or has no bars of a symbol.
    """
    yfinance = _package()
    left_out: dict[str, int] = {}
    frames = [_history(yfinance, request, symbol, left_out) for symbol in request.symbols]
    return Answer(pd.concat(frames, ignore_index=True), ADJUSTMENT, f"yfinance {version('yfinance')}", left_out)


def _package() -> Any:
    try:
        return import_module("yfinance")
    except ImportError as error:
        raise DataError("the yahoo source needs yfinance; pip install 'tradekit[yahoo]'") from error


def _history(yfinance: Any, request: Request, symbol: str, left_out: dict[str, int]) -> pd.DataFrame:
    end = None if request.end is None else str(date.fromisoformat(request.end) + timedelta(days=1))
    span: dict[str, Any] = {"start": request.start, "end": end}
    if request.start is None:
        span = {"period": "max", "end": end}
    try:
        with _plain_answers(yfinance):
            frame = yfinance.Ticker(symbol).history(
                **span,
                interval=request.frequency.lower(),
                auto_adjust=True,
                actions=True,
                prepost=False,
                timeout=TIMEOUT_SECONDS,
            )
    except (yfinance.exceptions.YFException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        # Curl's failures are OSErrors, an answer that is no JSON is a ValueError; yfinance meets one of another shape
        # than it expects with the rest.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(f"yahoo: no bars of {symbol} ({reason}); check symbol, dates and network") from error
    if frame.empty:
        raise DataError(f"yahoo: no bars of {symbol} from {request.start or 'its first'} to {request.end or 'today'}")
    return _bars(frame, symbol, request.frequency, left_out)


@contextmanager
def _plain_answers(yfinance: Any) -> Iterator[None]:
    """Let yfinance raise what went wrong (by default it logs it and answers with no bars), and nothing else."""
    debug = yfinance.config.debug
    before, debug.hide_exceptions = debug.hide_exceptions, False
    try:
        with warnings.catch_warnings():
            # yfinance 1.7 calls pandas in ways that pandas 3.1 deprecates; they are not ours to mend.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        debug.hide_exceptions = before


def _bars(frame: pd.DataFrame, symbol: str, frequency: str, left_out: dict[str, int]) -> pd.DataFrame:
    stamps = pd.DatetimeIndex(frame.index)
    bars = frame[[name for name in COLUMNS if name in frame]].rename(columns=COLUMNS).reset_index(drop=True)
    if frequency == "1D":
        dates = stamps.tz_localize(None).to_numpy().astype("M8[D]")
        bars.insert(0, "timestamp", dates.astype("M8[ns]"))
        ends = calendar.session_close(dates)
        ends[np.isnat(ends)] = (dates + 1).astype("M8[ns]")[np.isnat(ends)]
    else:
        utc = stamps.tz_convert("UTC")
        bars.insert(0, "timestamp", utc)
        starts = utc.tz_localize(None).to_numpy().astype("M8[ns]")
        closes = calendar.session_close(calendar.wall_clock(starts))
        ends = np.fmin(starts + pd.Timedelta(frequency).to_timedelta64(), closes)
    bars.insert(1, "symbol", symbol)
    return only_complete(bars, ends, left_out)
