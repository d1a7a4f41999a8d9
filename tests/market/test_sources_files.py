"""Files: every form that is read, every fault that is refused by file and row, and real prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tradekit.errors import DataError
from tradekit.market import calendar
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from pathlib import Path

DAILY = """date,open,high,low,close,volume
2024-01-02,10,11,9,10.5,1000
2024-01-03,10.5,12,10,11.5,1500
2024-01-04,11.5,11.6,11,11.25,0
"""

HOURLY = """timestamp,close
2024-01-02T14:30:00Z,10
2024-01-02T15:00:00Z,11
2024-01-02T16:00:00Z,12
2024-01-02T17:00:00Z,13
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def frame(stamps: Any, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"timestamp": stamps, **columns})


# ------------------------------------------------------------------------------------------------- what is read


def test_one_file_of_one_symbol(tmp_path: Path) -> None:
    panel = load_panel(write(tmp_path / "AAA.csv", DAILY))
    assert panel.symbols == ("AAA",)
    assert panel.columns == {"open", "high", "low", "close", "volume"}
    assert panel.close.ravel().tolist() == [10.5, 11.5, 11.25]
    assert panel.volume.ravel().tolist() == [1000.0, 1500.0, 0.0]
    assert panel.timestamps.astype("M8[D]").astype(str).tolist() == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert panel.frequency == "1D"
    assert panel.benchmark_name == "equal_weight"


@pytest.mark.parametrize("name", ["timestamp", "Date", "DATETIME", "time", ""])
def test_the_timestamp_goes_by_many_names(tmp_path: Path, name: str) -> None:
    panel = load_panel(write(tmp_path / "A.csv", f"{name}, Close ,wap\n2024-01-02,1,9\n2024-01-03,2,9\n"))
    assert panel.close.ravel().tolist() == [1.0, 2.0]
    assert panel.columns == {"close"}


def test_csv_and_parquet_hold_the_same_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = frame(pd.date_range("2024-01-01", periods=50, freq="D"), close=rng.uniform(1.0, 9.0, 50))
    table.to_csv(tmp_path / "A.csv", index=False)
    table.to_parquet(tmp_path / "A.parquet")
    csv, parquet = load_panel(tmp_path / "A.csv"), load_panel(tmp_path / "A.parquet")
    assert csv.content_hash == parquet.content_hash


@pytest.mark.parametrize("name", ["Date", None])
def test_a_datetime_index_is_the_timestamp(tmp_path: Path, name: str | None) -> None:
    index = pd.DatetimeIndex(["2024-01-02", "2024-01-03"], name=name)
    table = pd.DataFrame({"Close": [1.0, 2.0]}, index=index)
    table.to_parquet(tmp_path / "A.parquet")
    table.to_csv(tmp_path / "B.csv")
    assert load_panel(tmp_path).close.tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_dates_as_date_objects_and_numbers_as_integers(tmp_path: Path) -> None:
    table = frame(pd.to_datetime(["2024-01-02", "2024-01-03"]).date, close=[3, 4])
    table.to_parquet(tmp_path / "A.parquet")
    assert load_panel(tmp_path / "A.parquet").close.ravel().tolist() == [3.0, 4.0]


def test_folder_is_the_union_of_timestamps_and_nothing_is_filled(tmp_path: Path) -> None:
    write(tmp_path / "AAA.csv", "date,close\n2024-01-02,1\n2024-01-03,2\n")
    write(tmp_path / "BBB.csv", "date,close\n2024-01-03,5\n2024-01-04,6\n")
    write(tmp_path / "notes.txt", "not data")
    write(tmp_path / "._AAA.csv", "what some systems leave beside a file")
    panel = load_panel(tmp_path)
    np.testing.assert_array_equal(panel.close, [[1.0, np.nan], [2.0, 5.0], [np.nan, 6.0]])
    assert panel.tradable.tolist() == [[True, False], [True, True], [False, True]]


def test_only_the_files_that_are_needed_are_read(tmp_path: Path) -> None:
    write(tmp_path / "AAA.csv", DAILY)
    write(tmp_path / "BAD.csv", "")
    assert load_panel(tmp_path, "AAA").symbols == ("AAA",)
    with pytest.raises(DataError, match=r"BAD\.csv: the file is empty"):
        load_panel(tmp_path)


@pytest.mark.parametrize("by_symbol", [True, False])
def test_long_panel(tmp_path: Path, by_symbol: bool) -> None:
    rows = [("2024-01-02", "BBB", 5), ("2024-01-03", "BBB", 6), ("2024-01-02", "AAA", 1), ("2024-01-03", "AAA", 2)]
    rows = rows if by_symbol else sorted(rows)
    text = "Date,Symbol,Close\n" + "".join(f"{date},{name},{close}\n" for date, name, close in rows)
    panel = load_panel(write(tmp_path / "all.csv", text))
    assert panel.symbols == ("AAA", "BBB")
    assert panel.close.tolist() == [[1.0, 5.0], [2.0, 6.0]]
    assert load_panel(tmp_path / "all.csv", "BBB").close.ravel().tolist() == [5.0, 6.0]


def test_symbols_that_look_like_missing_values_are_names(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", "date,symbol,close\n2024-01-02,NA,1\n2024-01-03,NA,2\n")
    assert load_panel(tmp_path / "all.csv").symbols == ("NA",)


def test_intraday_bars_end_at_the_grid_and_at_the_session_close(tmp_path: Path) -> None:
    panel = load_panel(write(tmp_path / "A.csv", HOURLY + "2024-01-02T20:00:00Z,14\n2024-01-02T21:00:00Z,15\n"))
    assert panel.frequency == "1h"
    # The first bar is cut short by the opening bell; the one of 21:00 lies after the close of 21:00.
    assert panel.close_time.astype("M8[m]").astype(str).tolist() == [
        "2024-01-02T15:00",
        "2024-01-02T16:00",
        "2024-01-02T17:00",
        "2024-01-02T18:00",
        "2024-01-02T21:00",
        "2024-01-02T22:00",
    ]


def test_bars_on_the_half_hour_end_on_the_half_hour_and_the_last_at_the_close(tmp_path: Path) -> None:
    hours = "".join(f"2024-07-02T{hour}:30:00Z,1\n" for hour in range(13, 20))
    panel = load_panel(write(tmp_path / "A.csv", "timestamp,close\n" + hours))
    assert panel.close_time.astype("M8[m]").astype(str).tolist()[-2:] == ["2024-07-02T19:30", "2024-07-02T20:00"]


def test_half_day_cuts_the_last_bar_short(tmp_path: Path) -> None:
    hours = "".join(f"2024-11-29T{hour}:30:00Z,1\n" for hour in range(14, 18))
    panel = load_panel(write(tmp_path / "A.csv", "timestamp,close\n" + hours))
    assert panel.close_time[-1] == np.datetime64("2024-11-29T18:00", "ns")


def test_a_daily_bar_outside_the_calendar_is_complete_at_the_end_of_its_date(tmp_path: Path) -> None:
    # 2024-01-06 and 07 are a weekend.
    panel = load_panel(write(tmp_path / "A.csv", "date,close\n2024-01-05,1\n2024-01-06,2\n2024-01-07,3\n"))
    assert panel.close_time.astype("M8[m]").astype(str).tolist() == [
        "2024-01-05T21:00",
        "2024-01-07T00:00",
        "2024-01-08T00:00",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-01-02T14:30:00Z", "2024-01-02T15:30:00Z"),
        ("2024-01-02 14:30:00+00:00", "2024-01-02 15:30:00+0000"),
        ("2024-01-02T09:30:00-05:00", "2024-01-02T10:30:00-05:00"),
        ("2024-01-02T15:30:00+01", "2024-01-02T16:30:00+01"),
        ("2024-01-02 14:30:00 UTC", "2024-01-02 15:30:00 UTC"),
    ],
)
def test_intraday_stamps_become_utc(tmp_path: Path, first: str, second: str) -> None:
    panel = load_panel(write(tmp_path / "A.csv", f"time,close\n{first},1\n{second},2\n"))
    expected = np.array(["2024-01-02T14:30", "2024-01-02T15:30"], "M8[ns]")
    np.testing.assert_array_equal(panel.timestamps, expected)


def test_new_york_offsets_of_both_seasons_are_one_zone(tmp_path: Path) -> None:
    stamps = ("2024-03-08T09:30-05:00", "2024-03-08T10:30-05:00", "2024-03-11T09:30-04:00", "2024-03-11T10:30-04:00")
    text = "time,close\n" + "".join(f"{stamp},1\n" for stamp in stamps)
    panel = load_panel(write(tmp_path / "A.csv", text))
    assert panel.timestamps.astype("M8[m]").astype(str).tolist()[1:3] == ["2024-03-08T15:30", "2024-03-11T13:30"]


def test_a_zoned_parquet_column_becomes_utc(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-07-02 09:30", periods=3, freq="h", tz="America/New_York")
    frame(stamps, close=[1.0, 2.0, 3.0]).to_parquet(tmp_path / "A.parquet")
    assert load_panel(tmp_path / "A.parquet").timestamps[0] == np.datetime64("2024-07-02T13:30", "ns")


@pytest.mark.parametrize("stamp", ["2024-01-{}T00:00:00-05:00", "2024-01-{}T05:00:00Z", "2024-01-{}T00:00:00Z"])
def test_midnights_with_a_zone_are_session_dates(tmp_path: Path, stamp: str) -> None:
    text = "date,close\n" + "".join(f"{stamp.format(day)},1\n" for day in ("02", "03", "04"))
    panel = load_panel(write(tmp_path / "A.csv", text))
    assert panel.frequency == "1D"
    assert panel.timestamps.astype("M8[D]").astype(str).tolist() == ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_rounding_of_adjusted_prices_is_not_a_fault(tmp_path: Path) -> None:
    text = DAILY.replace("10,11,9,10.5", "10,10.4999999,9,10.5")
    assert load_panel(write(tmp_path / "A.csv", text)).high[0, 0] == 10.4999999


# ---------------------------------------------------------------------------------------------- what is refused


def daily(line: str) -> str:
    """Return the daily file with ``line`` for its third line."""
    lines = DAILY.splitlines()
    lines[2] = line
    return "\n".join(lines) + "\n"


BAD_FILES = {
    "empty": ("", "A.csv: the file is empty"),
    "header only": ("date,close\n", "A.csv: no rows; the file holds only a header"),
    "no close": ("date,price\n2024-01-02,1\n", "A.csv: no close column; it has date, price"),
    "no timestamp": ("day,close\n2024-01-02,1\n", "A.csv: no timestamp column; it has day, close"),
    "semicolons": ("date;close\n2024-01-02;1\n", "A.csv: no timestamp column; it has date;close"),
    "two timestamps": ("date,time,close\n2024-01-02,09:30,1\n", "two columns for timestamp .date and time.; keep one"),
    "two closes": ("date,close,Close\n2024-01-02,1,1\n", "two columns for close .close and Close.; keep one"),
    "blank price": (daily("2024-01-03,10.5,12,10,,1500"), r"A.csv, line 3 .2024-01-03.: close is blank or not a num"),
    "nan price": (daily("2024-01-03,10.5,12,10,NaN,1500"), "line 3 .2024-01-03.: close is blank or not a number"),
    "short row": (daily("2024-01-03,10.5,12"), "line 3 .2024-01-03.: (low|close) is blank or not a number"),
    "word": (daily("2024-01-03,10.5,12,10,eleven,1500"), "line 3 .2024-01-03.: close is .* a number .eleven."),
    "underscore": (daily("2024-01-03,10.5,12,10,1_1,1500"), "close is blank or not a number .1_1."),
    "infinite": (daily("2024-01-03,10.5,inf,10,11.5,1500"), "line 3 .2024-01-03.: high is infinite"),
    "overflow": (daily("2024-01-03,10.5,1e999,10,11.5,1500"), "line 3 .2024-01-03.: high is infinite"),
    "zero": (daily("2024-01-03,10.5,12,0,11.5,1500"), "line 3 .2024-01-03.: low is not positive .0."),
    "negative": (daily("2024-01-03,-10.5,12,10,11.5,1500"), "line 3 .2024-01-03.: open is not positive .-10.5."),
    "negative volume": (daily("2024-01-03,10.5,12,10,11.5,-1"), "line 3 .2024-01-03.: volume is negative"),
    "blank volume": (daily("2024-01-03,10.5,12,10,11.5,"), "line 3 .2024-01-03.: volume is blank"),
    "stray field": (daily("2024-01-03,10.5,12,10,11.5,1500,7"), "A.csv: cannot be read .*line 3"),
    "stray field in every row": (
        DAILY.replace("00\n", "00,7\n").replace(",0\n", ",0,7\n"),
        "A.csv: cannot be read",
    ),
    "high below low": (daily("2024-01-03,10.5,9,10,9.5,1500"), "line 3 .2024-01-03.: high 9 is below open 10.5"),
    "close above high": (daily("2024-01-03,10.5,12,10,12.5,1500"), "line 3 .2024-01-03.: high 12 is below close 12.5"),
    "low above open": (daily("2024-01-03,10.5,12,10.8,11.5,1500"), "line 3 .2024-01-03.: low 10.8 is above open 10.5"),
    "unsorted": ("date,close\n2024-01-03,1\n2024-01-02,2\n", "line 3: timestamp 2024-01-02 of A is earlier than the"),
    "twice": ("date,close\n2024-01-02,1\n2024-01-02,2\n", "line 3: timestamp 2024-01-02 of A appears twice; keep one"),
    "one bar": ("date,close\n2024-01-02,1\n", "A.csv: A has one bar only"),
    "blank date": ("date,close\n2024-01-02,1\n,2\n", "A.csv, line 3: timestamp is blank"),
    "american date": ("date,close\n01/02/2024,1\n01/03/2024,2\n", "line 2: timestamp '01/02/2024' cannot be read"),
    "epoch": ("date,close\n1704205800,1\n1704292200,2\n", "line 2: timestamp '1704205800' cannot be read"),
    "the year 1700": ("date,close\n1700-01-02,1\n1700-01-03,2\n", "line 2: the date 1700-01-02.* 1900 and 2100"),
    "naive intraday": (HOURLY.replace("Z", ""), "line 2: time of day without a time zone; write intraday stamps as"),
    "mixed offsets": (
        HOURLY.replace("16:00:00Z", "11:00:00-05:00"),
        r"A.csv, line 4: mixed time zones \(-05:00 here, UTC in the first row\); write every row in UTC",
    ),
    "naive among zoned": (
        HOURLY.replace("16:00:00Z", "16:00:00"),
        r"A.csv, line 4: mixed time zones \(none here, UTC in the first row\)",
    ),
    "one bar a day": (
        "time,close\n2024-01-02T14:30:00Z,1\n2024-01-03T14:30:00Z,2\n",
        "A.csv: one bar a day with a time of day; write the session date alone",
    ),
    "weekly": ("date,close\n2024-01-05,1\n2024-01-12,2\n2024-01-19,3\n", "A.csv: bars lie 7 days apart"),
    "blank symbol": ("date,symbol,close\n2024-01-02,X,1\n2024-01-03,,2\n", "A.csv, line 3: symbol is blank"),
    "twice in a long panel": (
        "date,symbol,close\n2024-01-02,X,1\n2024-01-02,Y,1\n2024-01-02,X,2\n",
        "line 4: timestamp 2024-01-02 of X appears twice",
    ),
    "one bar of a long panel's symbol": (
        "date,symbol,close\n2024-01-02,X,1\n2024-01-03,X,2\n2024-01-03,Y,2\n",
        "A.csv: Y has one bar only",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_that_says_where(tmp_path: Path, case: str) -> None:
    text, message = BAD_FILES[case]
    path = write(tmp_path / "A.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        load_panel(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    # The same fault is found when the file is one of a folder.
    write(tmp_path / "B.csv", DAILY)
    with pytest.raises(DataError):
        load_panel(tmp_path)


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_bytes(b"date,close\n2024-01-02,\xff\xfe\n")
    with pytest.raises(DataError, match="not UTF-8 text"):
        load_panel(tmp_path / "A.csv")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_parquet(tmp_path: Path, share: float) -> None:
    path = tmp_path / "A.parquet"
    frame(pd.date_range("2024-01-01", periods=500), close=np.arange(1.0, 501.0)).to_parquet(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"A\.parquet: (the file is empty|cannot be read)") as caught:
        load_panel(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("close", np.nan, "row 2 .2024-01-02 00:00:00.: close is blank or not a number"),
        ("close", np.inf, "row 2 .2024-01-02 00:00:00.: close is infinite"),
        ("close", -1.0, "row 2 .2024-01-02 00:00:00.: close is not positive"),
        ("timestamp", pd.NaT, "row 2: timestamp is blank"),
    ],
)
def test_a_bad_parquet_row(tmp_path: Path, column: str, value: object, message: str) -> None:
    table = frame(pd.date_range("2024-01-01", periods=4), close=[1.0, 2.0, 3.0, 4.0])
    table.loc[1, column] = value  # type: ignore[call-overload]  # the stubs do not know a plain object
    table.to_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match=message):
        load_panel(tmp_path / "A.parquet")


def test_a_parquet_with_numbers_for_dates(tmp_path: Path) -> None:
    frame([1704205800, 1704292200], close=[1.0, 2.0]).to_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match="timestamp holds numbers; write dates as YYYY-MM-DD"):
        load_panel(tmp_path / "A.parquet")


def test_folders_that_hold_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.parquet or \.csv files in this folder; put one"):
        load_panel(tmp_path)
    inner = tmp_path / "daily"
    inner.mkdir()
    write(inner / "A.csv", DAILY)
    with pytest.raises(DataError, match=f"did you mean {inner}"):
        load_panel(tmp_path)


def test_neither_csv_nor_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A\.xlsx: neither \.parquet nor \.csv"):
        load_panel(write(tmp_path / "A.xlsx", DAILY))


def test_two_files_of_one_symbol(tmp_path: Path) -> None:
    write(tmp_path / "A.csv", DAILY)
    frame(pd.date_range("2024-01-01", periods=2), close=[1.0, 2.0]).to_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match=r"A\.csv and A\.parquet are both A; keep one"):
        load_panel(tmp_path)


def test_a_long_panel_inside_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", "date,symbol,close\n2024-01-02,X,1\n2024-01-03,X,2\n")
    with pytest.raises(DataError, match=r"all\.csv: its symbol column holds X; give this file as the source"):
        load_panel(tmp_path)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "A.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"A\.csv: cannot be read"):
        load_panel(tmp_path)
    (tmp_path / "B.parquet").mkdir()
    with pytest.raises(DataError, match=r"B\.parquet: neither|B\.parquet: cannot be read|A\.csv"):
        load_panel(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (HOURLY, r"B\.csv: bars of 1h but .*A\.csv has 1D; load one bar length at a time"),
        ("date,close\n2024-01-02,1\n2024-01-03,2\n", r"B\.csv: has close but .*A\.csv has open, high, low, close, vol"),
    ],
)
def test_files_that_do_not_go_together(tmp_path: Path, second: str, message: str) -> None:
    write(tmp_path / "A.csv", DAILY)
    write(tmp_path / "B.csv", second)
    with pytest.raises(DataError, match=message):
        load_panel(tmp_path)


def test_a_benchmark_that_does_not_go_with_the_symbols(tmp_path: Path) -> None:
    write(tmp_path / "A.csv", DAILY)
    write(tmp_path / "SPY.csv", HOURLY)
    with pytest.raises(DataError, match=r"SPY\.csv: bars of 1h but .*A\.csv has 1D"):
        load_panel(tmp_path, "A")
    assert load_panel(tmp_path, "A", benchmark="equal_weight").frequency == "1D"


def test_files_of_different_zones_and_grids(tmp_path: Path) -> None:
    write(tmp_path / "A.csv", HOURLY)
    write(tmp_path / "B.csv", HOURLY.replace("Z", "+01:00"))
    with pytest.raises(DataError, match=r"B\.csv: time zone \+01:00 but .*A\.csv has UTC; write both in UTC"):
        load_panel(tmp_path)
    write(tmp_path / "B.csv", HOURLY.replace(":00:00Z", ":30:00Z").replace("14:30", "14:15"))
    with pytest.raises(DataError, match=r"B\.csv: bars start 30 min past the grid but those of .*A\.csv 0 min"):
        load_panel(tmp_path)


def test_a_symbol_without_bars_in_the_range(tmp_path: Path) -> None:
    write(tmp_path / "OLD.csv", "date,close\n2023-01-03,1\n2023-01-04,2\n")
    write(tmp_path / "NEW.csv", "date,close\n2024-01-02,1\n2024-01-03,2\n")
    with pytest.raises(DataError, match="no bars of NEW in 2023-01-03 to 2023-01-04; leave the symbol out or widen"):
        load_panel(tmp_path, end="2023-12-31")


# -------------------------------------------------------------------------------------------------- real prices


@pytest.mark.parametrize(
    ("path", "bars", "symbols", "frequency"),
    [
        ("hourly_ibkr", 7074, 9, "1h"),
        ("hourly_yahoo", 3767, 4, "1h"),
        ("intraday_5m_ibkr", 32148, 1, "5m"),
        ("daily_core_adj", 5242, 28, "1D"),
        ("daily_core_price_plus_adjclose", 1432, 13, "1D"),
        ("daily_wide145_adj.parquet", 2412, 145, "1D"),
        ("mit_licensed_yahoo/daily", 1112, 7, "1D"),
    ],
)
def test_real_prices_load_as_they_are(shared_data: Path, path: str, bars: int, symbols: int, frequency: str) -> None:
    panel = load_panel(shared_data / path)
    assert panel.close.shape == (bars, symbols)
    assert panel.frequency == frequency
    assert panel.has_open
    assert panel.benchmark_name == ("SPY" if "SPY" in panel.symbols else "equal_weight")
    # A bar is complete after it opened and before the next one opens.
    assert (panel.close_time > panel.timestamps).all()
    assert (panel.close_time[:-1] <= panel.timestamps[1:]).all()
    if panel.is_daily:
        assert calendar.is_session(panel.timestamps).all()
    else:
        dates = calendar.wall_clock(panel.timestamps)
        assert (panel.timestamps >= calendar.session_open(dates)).all()
        assert (panel.close_time <= calendar.session_close(dates)).all()


def test_real_hourly_bars_equal_the_file(shared_data: Path) -> None:
    panel = load_panel(shared_data / "hourly_ibkr", "META,SPY")
    table = pd.read_parquet(shared_data / "hourly_ibkr" / "META.parquet")
    held = panel.tradable[:, 0]
    # META lacks seven of the bars that SPY has; they are not filled in.
    assert (~held).sum() == 7
    assert np.isnan(panel.open[~held, 0]).all()
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(panel, name)[held, 0], table[name])
    np.testing.assert_array_equal(panel.timestamps[held], table["timestamp"].dt.tz_localize(None).to_numpy())
    first = panel.close_time[0] - panel.timestamps[0]
    assert first == np.timedelta64(30, "m"), "the first bar of a session lasts half an hour"


def test_real_crash_drawdown(shared_data: Path) -> None:
    # SPY's total return lost a third between its high of 2020-02-19 and 2020-03-23.
    panel = load_panel(shared_data / "daily_core_adj", "SPY", start="2020-02-19", end="2020-03-23")
    assert panel.close[-1, 0] / panel.close[0, 0] - 1.0 == pytest.approx(-0.337, abs=0.001)
    assert np.prod(1.0 + panel.benchmark_returns[1:]) - 1.0 == pytest.approx(-0.337, abs=0.001)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("messy/SPY_1h_moneytree_raw.csv", "two columns for open .open and Open.; keep one"),
        ("messy/SPY_60min_extended_hours_alphavantage.parquet", "time of day without a time zone"),
        ("messy/daily_zero_volume_gaps.parquet", r"row 2887 .* high 25236.7 is below close 25239.4"),
        ("macro/cboe_vol_indices.parquet", "no close column"),
    ],
)
def test_real_defects_are_refused(shared_data: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_panel(shared_data / path)
