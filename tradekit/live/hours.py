"""The market's own hours as the clock of a session: which bars there will be, and when each has closed.

Bars come from the calendar, half days included, and not from what arrives: a bar that fails to arrive is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import SessionError
from tradekit.live.patience import Stopped
from tradekit.live.times import eastern_clock
from tradekit.market.calendar import session_close, session_open, sessions_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.live.broker import BrokerClock
    from tradekit.live.patience import Persistence
    from tradekit.market.panel import Times

SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True)
class Moment:
    """Where a session stands: just after the close of its bar number ``bar`` of 0 to ``last``."""

    bar: int
    last: int
    timestamp: np.datetime64
    close_time: np.datetime64


@dataclass(frozen=True)
class Timetable:
    """Bars of regular sessions, (T,) datetime64[ns].

    Attributes:
        opens: as a panel stamps them: naive dates for daily bars.
        starts, closes: when trading in them begins and ends, UTC.
    """

    opens: Times
    starts: Times
    closes: Times

    @classmethod
    def of(cls, first: np.datetime64, frequency: str, seconds: int, bars: int) -> Timetable:
        """Return the next ``bars`` bars from the session of the date ``first`` on.

        Intraday bars start on the clock's own multiples of their length, as Alpaca's do, and after the session's open:
        hourly ones at 10:00 in New York. The last ends with the session.
        """
        if frequency.endswith("D"):
            dates = sessions_from(str(first.astype("M8[D]")), bars)
            return cls(dates.astype("M8[ns]"), session_open(dates), session_close(dates))
        # A half day has more than a third of the bars of a whole one.
        per_session = max(1, int(bars_per_session(seconds) / 3))
        dates = sessions_from(str(first.astype("M8[D]")), bars // per_session + 2)
        opens: list[np.datetime64] = []
        closes: list[np.datetime64] = []
        for start, end in zip(session_open(dates), session_close(dates), strict=True):
            grid = np.arange(_ceiling(start, seconds), end, np.timedelta64(seconds, "s"))
            opens += list(grid)
            closes += [min(moment + np.timedelta64(seconds, "s"), end) for moment in grid]
        rows = np.flatnonzero(np.array(opens, "M8[ns]") >= first)[:bars]
        begun = np.array(opens, "M8[ns]")[rows]
        return cls(begun, begun, np.array(closes, "M8[ns]")[rows])

    def __len__(self) -> int:
        return len(self.opens)


def bars_per_session(seconds: int) -> int:
    """Return how many whole bars of ``seconds`` a regular session has.

    >>> bars_per_session(3600), bars_per_session(1800), bars_per_session(300)
    (6, 13, 78)
    """
    return int(6.5 * 3600 // seconds)


def _ceiling(moment: np.datetime64, seconds: int) -> np.datetime64:
    whole = int(moment.astype("M8[s]").astype(np.int64))
    return np.datetime64((whole + -whole % seconds) * 10**9, "ns")


class MarketClock:
    """Waits for the bars of a timetable by the broker's clock.

    Args:
        timetable: bar 0 is the session's first.
        clock: asks the broker.
        persistence: waits, and hears a request to stop.
        delay_seconds: how long after its close a bar's data is asked for.
        poll_seconds: longest time between two looks at the clock.
    """

    always_trades = True

    def __init__(
        self,
        timetable: Timetable,
        clock: Callable[[], BrokerClock],
        persistence: Persistence,
        delay_seconds: float,
        poll_seconds: float,
    ) -> None:
        self._table, self._clock, self._again = timetable, clock, persistence
        self._delay, self._poll = delay_seconds, poll_seconds

    def moment(self) -> Moment:
        """Return the session's first bar; those before it are history."""
        return self._moment(0)

    def advance(self, to: int, between: Callable[[], None] = lambda: None) -> Moment:
        """Return bar ``to`` once its data can be had, at once when that is past; ``between`` is called meanwhile."""
        due = self._table.closes[to] + np.timedelta64(round(self._delay * 1e9), "ns")
        while True:
            left = float((due - self._clock().now) / SECOND)
            if left <= 0:
                return self._moment(to)
            between()
            self._again.pause(min(left, self._poll))

    def announce(self, to: int) -> str:
        """Return when bar ``to`` closes, in New York."""
        close = self._table.closes[to]
        return f"{close.astype('M8[D]')} {eastern_clock(close)} in New York"

    def demand_near(self, done: int, journal: str) -> None:
        """Raise SessionError when the timetable ended before bar ``done``."""
        if done >= len(self._table):
            raise SessionError(f"{journal}: has {done + 1} bars, the session {len(self._table)}; it was edited")

    def is_late(self, moment: Moment, seconds: float) -> bool:
        """Return whether the bar after this one began longer ago than ``seconds``: prices have moved on."""
        begins = self._table.starts[min(moment.bar + 1, len(self._table) - 1)]
        return bool((self._clock().now - begins) / SECOND > seconds + self._delay)

    def demand_time(self, clock: BrokerClock, moment: Moment, seconds: float) -> None:
        """Raise Stopped when the broker's clock is behind, or its market closed where the calendar has it open."""
        now, following = clock.now, min(moment.bar + 1, len(self._table) - 1)
        if self._table.starts[following] <= now < self._table.closes[following] and not clock.is_open:
            raise Stopped(
                "the broker's market is closed and the calendar's is open; nothing was sent; start again later"
            )
        if now < moment.close_time - np.timedelta64(round(seconds * 1e9), "ns"):
            demand_close(now, moment.close_time, seconds, "the calendar's")

    def _moment(self, bar: int) -> Moment:
        return Moment(bar, len(self._table) - 1, self._table.opens[bar], self._table.closes[bar])


def demand_close(now: np.datetime64, close_time: np.datetime64, seconds: float, whose: str) -> None:
    """Raise Stopped when two clocks that should agree are more than ``seconds`` apart."""
    apart = float((now - close_time) / SECOND)
    if abs(apart) > seconds:
        raise Stopped(
            f"the broker's clock is {apart:+,.0f} s from {whose}; nothing was sent; set the clock and start again"
        )


def first_bar(now: np.datetime64, frequency: str, seconds: int) -> np.datetime64:
    """Return the date or the open of the first bar that a session beginning at ``now`` (UTC) can act on.

    The last bar that has closed if no later one has opened yet, as after the close of a day; else the one under way.
    """
    day = now.astype("M8[D]") - np.timedelta64(5, "D")
    table = Timetable.of(day, frequency, seconds, 12 if frequency.endswith("D") else 12 * int(23400 / seconds + 2))
    under_way = int(np.searchsorted(table.starts, now, side="right"))  # bars that have begun
    closed = int(np.searchsorted(table.closes, now, side="right"))
    return np.datetime64(table.opens[under_way - 1 if closed == under_way else closed])
