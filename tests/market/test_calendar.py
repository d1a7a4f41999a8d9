"""The exchange calendar against days that are public knowledge."""

from __future__ import annotations

import numpy as np
import pytest

from tradekit.errors import DataError
from tradekit.market import calendar


def _days(*texts: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array(texts, dtype="M8[D]")


def test_sessions_skip_weekends_and_holidays_and_include_both_ends() -> None:
    # 2024-07-04 was a Thursday; the sixth and seventh a weekend.
    found = calendar.sessions("2024-07-03", "2024-07-09")
    assert [str(day) for day in found] == ["2024-07-03", "2024-07-05", "2024-07-08", "2024-07-09"]


def test_days_the_exchange_closed_for_once_only() -> None:
    closed = _days("2001-09-11", "2001-09-14", "2012-10-29", "2012-10-30", "2018-12-05", "2025-01-09")
    assert not calendar.is_session(closed).any()
    assert calendar.is_session(_days("2001-09-10", "2001-09-17", "2012-10-31", "2025-01-10")).all()


def test_closes_follow_summer_time_and_half_days() -> None:
    days = _days("2024-01-02", "2024-07-02", "2024-07-03", "2024-11-29")
    assert [str(time) for time in calendar.session_close(days).astype("M8[m]")] == [
        "2024-01-02T21:00",
        "2024-07-02T20:00",
        "2024-07-03T17:00",
        "2024-11-29T18:00",
    ]
    assert [str(time) for time in calendar.session_open(days).astype("M8[m]")][:2] == [
        "2024-01-02T14:30",
        "2024-07-02T13:30",
    ]
    assert calendar.is_half_day(days).tolist() == [False, False, True, True]


def test_other_days_have_no_open_and_no_close() -> None:
    days = _days("2024-07-04", "2024-07-06", "1850-01-02", "2200-01-01")
    assert np.isnat(calendar.session_close(days)).all()
    assert np.isnat(calendar.session_open(days)).all()
    assert not calendar.is_half_day(days).any()


def test_a_time_of_day_does_not_change_the_date_looked_up() -> None:
    noon = np.array(["2024-01-02T12:00"], dtype="M8[ns]")
    assert calendar.session_close(noon)[0] == np.datetime64("2024-01-02T21:00", "ns")


def test_a_year_has_about_252_sessions() -> None:
    assert len(calendar.sessions("2023-01-01", "2023-12-31")) == 250
    assert len(calendar.sessions("2024-01-01", "2024-12-31")) == 252


def test_sessions_from_counts_from_the_first_session_on_or_after() -> None:
    assert [str(day) for day in calendar.sessions_from("2000-01-01", 2)] == ["2000-01-03", "2000-01-04"]
    assert len(calendar.sessions_from("2000-01-03", 12_000)) == 12_000


@pytest.mark.parametrize(("start", "end"), [("1899-12-31", "1950-01-01"), ("2000-01-01", "2051-01-01")])
def test_no_calendar_outside_its_range(start: str, end: str) -> None:
    with pytest.raises(DataError, match="no exchange calendar"):
        calendar.sessions(start, end)


@pytest.mark.parametrize(("start", "count"), [("1899-01-01", 1), ("2050-12-01", 100)])
def test_no_sessions_counted_past_the_calendar(start: str, count: int) -> None:
    with pytest.raises(DataError, match="no exchange calendar"):
        calendar.sessions_from(start, count)


def test_wall_clock_is_new_york() -> None:
    stamps = np.array(["2024-03-08T14:30", "2024-03-11T13:30"], dtype="M8[ns]")
    assert [str(time) for time in calendar.wall_clock(stamps).astype("M8[m]")] == [
        "2024-03-08T09:30",
        "2024-03-11T09:30",
    ]
