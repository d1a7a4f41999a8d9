"""Bars from Alpaca's market data through alpaca-py, with the keys of the environment."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from requests.adapters import HTTPAdapter

from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.sources.cache import Answer, only_complete

if TYPE_CHECKING:
    from alpaca.data.historical import StockHistoricalDataClient
    from requests import PreparedRequest, Response

    from tradekit.market.sources.cache import Request

KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
URL = "APCA_API_DATA_URL"
HOST = "data.alpaca.markets"
FIRST = "2016-01-01"
"""Alpaca's history begins here."""
ADJUSTMENT = "splits, dividends and spin-offs"
TIMEOUT_SECONDS = (3.05, 60.0)


def download(request: Request) -> Answer:
    """Fetch the bars of a request: regular sessions, prices adjusted for every corporate action.

    Raises:
        DataError: keys are missing or refused, Alpaca cannot be reached, or it has no bars of a symbol.
    """
    from alpaca.common.exceptions import APIError

    keys = _keys()
    left_out: dict[str, int] = {}
    try:
        answer: Any = _client(keys).get_stock_bars(_query(request))
    except (APIError, OSError, ValueError) as error:
        # requests' failures are OSErrors, an answer that is no JSON a ValueError.
        reason = " ".join(str(error).split())
        for key in keys:
            reason = reason.replace(key, "***")
        raise DataError(f"alpaca: {reason[:200]}; check the keys, the dates and the network") from error
    frame = _frame(answer.data, request)
    frame = _regular(frame, request.frequency, left_out)
    return Answer(frame, ADJUSTMENT, f"alpaca-py {version('alpaca-py')}", left_out)


def _keys() -> tuple[str, str]:
    key, secret = (os.environ.get(name, "") for name in KEYS)
    if not key or not secret:
        raise DataError(f"the alpaca source needs {' and '.join(KEYS)} in the environment; a paper account's will do")
    return key, secret


def _client(keys: tuple[str, str]) -> StockHistoricalDataClient:
    from alpaca.data.historical import StockHistoricalDataClient

    url = os.environ.get(URL) or None
    if url is not None:
        _demand_own(url)
    client = StockHistoricalDataClient(*keys, url_override=url)
    # alpaca-py sets no time-out, and a server that never answers would hold the command for ever.
    for prefix in ("https://", "http://"):
        client._session.mount(prefix, _Patient())
    return client


def _demand_own(url: str) -> None:
    """Refuse to send the keys to anyone but Alpaca and this machine."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not local and (parts.scheme, parts.hostname) != ("https", HOST):
        raise DataError(f"{URL} leads to {parts.hostname}: keys go to https://{HOST} or to this machine only")


class _Patient(HTTPAdapter):
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send with a time-out."""
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT_SECONDS
        return super().send(request, *args, **kwargs)


def _query(request: Request) -> Any:
    from alpaca.data.enums import Adjustment
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

    units = {"D": TimeFrameUnit.Day, "h": TimeFrameUnit.Hour, "m": TimeFrameUnit.Minute}
    # The free plan answers nothing of the last quarter of an hour, and an error where it is asked for.
    latest = datetime.now(UTC) - timedelta(minutes=16)
    # A day's last regular bar begins before 21:00 UTC, and the next day's is stamped with its midnight, 04:00 or 05:00.
    end = latest if request.end is None else min(latest, _midnight(request.end) + timedelta(hours=23))
    return StockBarsRequest(
        symbol_or_symbols=list(request.symbols),
        timeframe=TimeFrame(int(request.frequency[:-1]), units[request.frequency[-1]]),
        start=_midnight(request.start or FIRST),
        end=end,
        adjustment=Adjustment.ALL,
    )


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _frame(bars: dict[str, list[Any]], request: Request) -> pd.DataFrame:
    absent = [symbol for symbol in request.symbols if not bars.get(symbol)]
    if absent:
        span = f"from {request.start or FIRST} to {request.end or 'today'}"
        raise DataError(f"alpaca: no bars of {', '.join(absent)} {span}; check the symbols and the dates")
    rows = [
        (bar.timestamp, symbol, bar.open, bar.high, bar.low, bar.close, bar.volume)
        for symbol in request.symbols
        for bar in bars[symbol]
    ]
    return pd.DataFrame(rows, columns=["timestamp", "symbol", "open", "high", "low", "close", "volume"])


def _regular(frame: pd.DataFrame, frequency: str, left_out: dict[str, int]) -> pd.DataFrame:
    """Return complete bars of regular sessions, daily ones with the session date as their timestamp."""
    utc = pd.DatetimeIndex(frame["timestamp"]).tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[ns]")
    wall = calendar.wall_clock(utc)
    opens, closes = calendar.session_open(wall), calendar.session_close(wall)
    if frequency == "1D":
        frame = frame.assign(timestamp=wall.astype("M8[D]").astype("M8[ns]"))
        return only_complete(frame, closes, left_out).reset_index(drop=True)
    length = pd.Timedelta(frequency).to_timedelta64()
    inside = (utc >= opens) & (utc < closes)
    left_out.update({"outside regular sessions": int((~inside).sum())} if not inside.all() else {})
    ends = np.fmin(utc + length, closes)
    return only_complete(frame[inside], ends[inside], left_out).reset_index(drop=True)
