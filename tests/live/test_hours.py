"""The market's hours as a session's clock."""

from __future__ import annotations

import numpy as np
import pytest

from tradekit.errors import SessionError
from tradekit.live.broker import BrokerClock
from tradekit.live.hours import MarketClock, Timetable, demand_close, first_bar
from tradekit.live.patience import Patience, Persistence, Stopped


def texts(times: np.ndarray) -> list[str]:
    return [str(time.astype("M8[m]")) for time in times]


def at(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


def test_days_around_a_holiday_and_a_half_day() -> None:
    table = Timetable.of(at("2025-11-26"), "1D", 86_400, 3)
    assert texts(table.opens) == ["2025-11-26T00:00", "2025-11-28T00:00", "2025-12-01T00:00"]
    assert texts(table.closes) == ["2025-11-26T21:00", "2025-11-28T18:00", "2025-12-01T21:00"]  # closes at 13:00


def test_hours_start_on_the_clock_and_end_with_the_session() -> None:
    table = Timetable.of(at("2025-11-26"), "1h", 3600, 11)
    assert texts(table.opens)[:6] == [f"2025-11-26T{hour}:00" for hour in range(15, 21)]  # 10:00 in New York
    assert texts(table.opens)[6:9] == [f"2025-11-28T{hour}:00" for hour in range(15, 18)]
    assert texts(table.closes)[8] == "2025-11-28T18:00"
    assert texts(table.opens)[9] == "2025-12-01T15:00"


def test_a_timetable_may_start_within_a_session() -> None:
    table = Timetable.of(at("2025-11-26T19:00"), "1h", 3600, 3)
    assert texts(table.opens) == ["2025-11-26T19:00", "2025-11-26T20:00", "2025-11-28T15:00"]
    assert len(Timetable.of(at("2025-07-03"), "5m", 300, 500)) == 500


def test_summer_and_winter() -> None:
    table = Timetable.of(at("2025-03-07"), "30m", 1800, 14)
    assert texts(table.opens)[0] == "2025-03-07T14:30"
    assert texts(table.opens)[13] == "2025-03-10T13:30"


@pytest.mark.parametrize(
    ("now", "frequency", "seconds", "expected"),
    [
        ("2025-11-25T21:00:30", "1D", 86_400, "2025-11-25T00:00"),  # just closed: act on it
        ("2025-11-25T23:00", "1D", 86_400, "2025-11-25T00:00"),
        ("2025-11-26T15:00", "1D", 86_400, "2025-11-26T00:00"),  # the day under way
        ("2025-11-27T15:00", "1D", 86_400, "2025-11-26T00:00"),  # Thanksgiving
        ("2025-11-26T16:30", "1h", 3600, "2025-11-26T16:00"),
        ("2025-11-26T22:00", "1h", 3600, "2025-11-26T20:00"),
    ],
)
def test_the_first_bar(now: str, frequency: str, seconds: int, expected: str) -> None:
    assert texts(np.array([first_bar(at(now), frequency, seconds)])) == [expected]


class Clock:
    """A broker's clock that moves a minute whenever it is read."""

    def __init__(self, start: str) -> None:
        self.now, self.reads = at(start), 0

    def __call__(self) -> BrokerClock:
        self.now += np.timedelta64(60, "s")
        self.reads += 1
        return BrokerClock(self.now, is_open=True)


def market(clock: Clock) -> MarketClock:
    table = Timetable.of(at("2025-11-26"), "1h", 3600, 6)
    return MarketClock(table, clock, Persistence(Patience()), delay_seconds=30.0, poll_seconds=0.001)


def test_it_waits_for_the_close_and_the_data() -> None:
    clock = Clock("2025-11-26T15:50")
    hours = market(clock)
    moment = hours.advance(0)
    assert (moment.bar, moment.last, texts(np.array([moment.close_time]))) == (0, 5, ["2025-11-26T16:00"])
    assert clock.now == at("2025-11-26T16:01")  # 30 seconds after the close, on a clock of whole minutes
    assert hours.announce(1) == "2025-11-26 12:00 in New York"


def test_bars_long_past_come_at_once_and_are_late() -> None:
    clock = Clock("2025-11-26T19:30")
    hours = market(clock)
    moments = [hours.advance(bar) for bar in range(4)]
    assert clock.reads == 4
    assert [hours.is_late(moment, 3600.0) for moment in moments] == [True, True, True, False]


def test_a_journal_longer_than_its_session() -> None:
    with pytest.raises(SessionError, match="has 7 bars, the session 6"):
        market(Clock("2025-11-26T15:50")).demand_near(6, "j")


def test_a_clock_five_minutes_off() -> None:
    close = at("2025-11-26T16:00")
    with pytest.raises(Stopped, match=r"the broker's clock is \+300 s from the calendar's; nothing was sent"):
        demand_close(close + np.timedelta64(300, "s"), close, 60.0, "the calendar's")
    demand_close(close + np.timedelta64(59, "s"), close, 60.0, "the calendar's")
    hours = market(Clock("2025-11-26T15:50"))
    moment = hours.advance(0)
    with pytest.raises(Stopped, match="-300 s"):
        hours.demand_time(BrokerClock(close - np.timedelta64(300, "s"), is_open=True), moment, 60.0)
    hours.demand_time(BrokerClock(close + np.timedelta64(7200, "s"), is_open=True), moment, 60.0)  # late is not wrong


def test_a_market_that_is_closed_when_it_should_be_open() -> None:
    hours = market(Clock("2025-11-26T15:50"))
    moment = hours.advance(0)
    with pytest.raises(Stopped, match="the broker's market is closed and the calendar's is open; nothing was sent"):
        hours.demand_time(BrokerClock(at("2025-11-26T16:00:20"), is_open=False), moment, 60.0)
    last = hours.advance(5)
    hours.demand_time(BrokerClock(at("2025-11-26T21:00:20"), is_open=False), last, 60.0)  # after the close it may be
