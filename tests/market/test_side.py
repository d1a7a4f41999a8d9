"""Side series: never on their own day, the newest that was published, nothing from the future."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.tables import half_hours
from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.side import join_as_of, join_by_symbol
from tradekit.market.sources import load_panel
from tradekit.market.sources.series import read_series

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

NAN = np.nan


@pytest.fixture(scope="module")
def panel(sample: Panel) -> Panel:
    """Return two stocks from Thursday 2019-06-27 to Wednesday 2019-07-10, over Independence Day."""
    return sample.select(["AAPL", "MSFT"]).between("2019-06-27", "2019-07-10")


def stamps(*dates: str) -> np.ndarray:
    return np.array(dates, "M8[D]")


def test_by_hand(panel: Panel) -> None:
    # Sessions: Th 27, Fr 28, Mo 1, Tu 2, We 3, (Th 4 closed), Fr 5, Mo 8, Tu 9, We 10.
    assert panel.timestamps.astype("M8[D]").astype(str).tolist()[4:6] == ["2019-07-03", "2019-07-05"]
    dates = stamps("2019-06-27", "2019-06-29", "2019-07-03", "2019-07-04", "2019-07-09")
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    # The value of Saturday 29 counts from Monday; of We 3 and of the holiday from Fr 5, where the later one wins.
    np.testing.assert_array_equal(join_as_of(panel, dates, values), [NAN, 1, 2, 2, 2, 4, 4, 4, 5])
    np.testing.assert_array_equal(join_as_of(panel, dates, values, lag=2), [NAN, NAN, 1, 2, 2, 2, 4, 4, 4])
    # With lag 1 and max_age 2 a value serves on two sessions.
    np.testing.assert_array_equal(join_as_of(panel, dates, values, max_age=2), [NAN, 1, 2, 2, NAN, 4, 4, NAN, 5])


def test_blanks_were_not_published(panel: Panel) -> None:
    dates = stamps("2019-06-27", "2019-06-28", "2019-07-01")
    values = np.array([[1.0, NAN], [NAN, 7.0], [3.0, NAN]])
    joined = join_as_of(panel, dates, values)
    np.testing.assert_array_equal(joined[:, 0], [NAN, 1, 1, 3, 3, 3, 3, 3, 3])
    np.testing.assert_array_equal(joined[:, 1], [NAN, NAN, 7, 7, 7, 7, 7, 7, 7])


@given(
    start=st.integers(0, 40),
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    blanks=st.lists(st.booleans(), min_size=60, max_size=60),
    lag=st.integers(1, 4),
    bar=st.integers(0, 250),
    noise=st.floats(-1e6, 1e6),
)
@settings(max_examples=200)
def test_values_of_the_bars_day_and_later_change_nothing(
    sample: Panel, start: int, gaps: list[int], blanks: list[bool], lag: int, bar: int, noise: float
) -> None:
    year = sample.between("2018-01-02", "2018-12-31")
    dates = np.datetime64("2017-12-15") + np.cumsum([start, *gaps]).astype("m8[D]")
    values = np.where(blanks[: len(dates)] + [False] * (len(dates) - 60), NAN, np.arange(1.0, len(dates) + 1))
    joined = join_as_of(year, dates, values, lag)
    day = year.timestamps[bar].astype("M8[D]")
    future = np.where(dates >= day, noise, values)
    np.testing.assert_array_equal(join_as_of(year, dates, future, lag)[: bar + 1], joined[: bar + 1])
    # A second way to the same answer: look through the sessions one by one.
    between = calendar.sessions(str(dates[0]), str(day))
    known = [
        value
        for date, value in zip(dates, values, strict=True)
        if (between > date).sum() >= lag and not np.isnan(value)
    ]
    np.testing.assert_equal(joined[bar], known[-1] if known else NAN)


def test_every_intraday_bar_of_a_session_has_the_same_value(tmp_path: Path) -> None:
    half_hours(sessions=3).to_parquet(tmp_path / "A.parquet")
    panel = load_panel(tmp_path / "A.parquet")
    joined = join_as_of(panel, stamps("2023-10-13", "2023-10-16", "2023-10-17"), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(joined, np.repeat([1.0, 2.0, 3.0], 13))


def test_one_value_for_each_symbol(panel: Panel) -> None:
    owners = np.array(["MSFT", "TSLA", "MSFT"])
    joined = join_by_symbol(panel, owners, stamps("2019-06-28", "2019-06-28", "2019-07-01"), np.array([1.0, 9.0, 2.0]))
    np.testing.assert_array_equal(joined[:, 0], np.full(9, NAN))
    np.testing.assert_array_equal(joined[:, 1], [NAN, NAN, 1, 2, 2, 2, 2, 2, 2])


@pytest.mark.parametrize(
    ("dates", "values", "lag", "max_age", "message"),
    [
        (("2019-06-28",), [1.0], 0, None, "the publication lag is 0 sessions; at least 1"),
        (("2019-06-28",), [1.0], 3, 2, "max_age is 2 sessions but the lag is 3"),
        (("2019-06-28",), [1.0, 2.0], 1, None, "1 dates but 2 values"),
        (("2019-06-28", "2019-06-27"), [1.0, 2.0], 1, None, r"date 2019-06-27 \(row 2\) is not later"),
        (("2019-06-28", "2019-06-28"), [1.0, 2.0], 1, None, r"date 2019-06-28 \(row 2\) is not later"),
        (("2019-06-28", "NaT"), [1.0, 2.0], 1, None, r"date NaT \(row 2\)"),
    ],
)
def test_what_is_refused(
    panel: Panel, dates: tuple[str, ...], values: list[float], lag: int, max_age: int | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        join_as_of(panel, stamps(*dates), np.array(values), lag, max_age)


def test_symbols_that_do_not_fit_are_refused(panel: Panel) -> None:
    with pytest.raises(DataError, match="no value of AAPL, MSFT"):
        join_by_symbol(panel, ["aapl"], stamps("2019-06-28"), np.array([1.0]))
    with pytest.raises(DataError, match="1 values but 2 symbols"):
        join_by_symbol(panel, ["AAPL", "MSFT"], stamps("2019-06-28"), np.array([1.0]))


# Real series


def test_the_peak_of_2020_is_known_the_day_after(shared_data: Path, sample: Panel) -> None:
    dates, values, owners = read_series(shared_data / "macro/vix_daily.parquet", "close")
    assert owners is None
    panel = sample.between("2020-03-13", "2020-03-18")
    joined = join_as_of(panel, dates, values)
    assert panel.timestamps[2].astype("M8[D]") == np.datetime64("2020-03-17")
    assert joined[2] == pytest.approx(82.69, abs=0.005)  # VIX closed there on 2020-03-16
    assert joined[1] != joined[2]


def test_rates_with_blanks_and_weekends(shared_data: Path, sample: Panel) -> None:
    panel = sample.between("2019-01-02", "2019-12-31")
    dates, values, _ = read_series(shared_data / "macro/fred_rates.parquet", "dgs10")
    assert np.isnan(values).any()
    joined = join_as_of(panel, dates, values)
    assert not np.isnan(joined).any()
    assert np.isin(joined, values).all()


def test_sentiment_by_symbol(shared_data: Path, sample: Panel) -> None:
    dates, values, owners = read_series(shared_data / "sentiment/fnspid_daily50.parquet", "sentiment")
    assert owners is not None
    panel = sample.between("2018-01-02", "2018-12-31")
    joined = join_by_symbol(panel, owners, dates, values)
    held = np.isin(panel.symbols, owners)
    assert 0 < held.sum() < len(held)
    assert np.isnan(joined[:, ~held]).all()
    column = int(np.argmax(held))
    own = owners == panel.symbols[column]
    np.testing.assert_array_equal(joined[:, column], join_as_of(panel, dates[own], values[own]))


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("date,vix\n2024-01-02,12\n", "vxn", "no column vxn; "),
        ("when,vix\n2024-01-02,12\n", "vix", "no timestamp column; it has when, vix"),
        ("date,vix\nsoon,12\n", "vix", "row 1 has no readable date"),
        ("date,vix\n2024-01-02,high\n", "vix", "vix in row 1 is not a number"),
    ],
)
def test_series_that_cannot_be_read(tmp_path: Path, content: str, column: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_series(tmp_path / "x.csv", column)
