"""When the market opens and closes, as Alpaca's clock and calendar say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError
from tradekit.live.exchange.world import early_close
from tradekit.live.times import eastern_clock, eastern_text
from tradekit.market import calendar

if TYPE_CHECKING:
    from tradekit.live.exchange.venue import Venue

Json = dict[str, Any]


def clock(venue: Venue, ahead_seconds: float = 0.0) -> Json:
    """Return GET /v2/clock in New York's offset; a fault may put the time ``ahead_seconds`` out."""
    panel, bar, is_open = venue.panel, venue.bar, venue.is_open
    # While the market is open, the session is that of the bar that is under way.
    today = panel.timestamps[bar + 1 if is_open else bar].astype("M8[D]")
    later = panel.timestamps[bar + 1 :].astype("M8[D]")
    later = later[later > today]
    following = later[0] if len(later) else _next_session(today)
    opens, closes = bells(venue, following)
    skew = np.timedelta64(round(ahead_seconds * 1e9), "ns")
    return {
        "timestamp": eastern_text(venue.now + skew),
        "is_open": is_open,
        "next_open": eastern_text(opens),
        "next_close": eastern_text(bells(venue, today)[1] if is_open else closes),
    }


def _next_session(day: np.datetime64) -> np.datetime64:
    following = day + np.timedelta64(1, "D")
    try:
        found = calendar.sessions(str(following), str(day + np.timedelta64(14, "D")))
    except DataError:
        return following
    return found[0] if len(found) else following


def bells(venue: Venue, day: np.datetime64) -> tuple[np.datetime64, np.datetime64]:
    """Return open and close of a session, UTC; the whole date where the calendar has no session."""
    days = np.array([day], "M8[D]")
    opens, closes = calendar.session_open(days)[0], calendar.session_close(days)[0]
    if np.isnat(opens):
        return day.astype("M8[ns]"), (day + np.timedelta64(1, "D")).astype("M8[ns]")
    return opens, _early(venue, day, closes)


def _early(venue: Venue, day: np.datetime64, closes: np.datetime64) -> np.datetime64:
    return min(closes, early_close(day)) if day in venue.world.early else closes


def sessions(venue: Venue, start: str, end: str) -> list[Json]:
    """Return GET /v2/calendar: dates with opens and closes as HH:MM in New York."""
    days = calendar.sessions(start, end)
    opens, closes = calendar.session_open(days), calendar.session_close(days)
    return [
        {"date": str(day), "open": eastern_clock(opened), "close": eastern_clock(_early(venue, day, closed))}
        for day, opened, closed in zip(days, opens, closes, strict=True)
    ]
