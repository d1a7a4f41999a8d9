"""Every check finds its defect, names its rows, and leaves clean bars alone."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.tables import daily, half_hours, in_time_order, join, scale, wall
from tradekit.errors import DataError
from tradekit.market.quality import check, demand_adjusted
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from random import Random

    from tradekit.market.quality import Finding, Report

PRICES = ["open", "high", "low", "close"]


def only(report: Report, name: str) -> Finding:
    """Return the finding of one check, demanding that nothing else but notes was found."""
    serious = [finding for finding in report.findings if finding.severity != "note"]
    assert [finding.check for finding in serious] == [name], [finding.message for finding in serious]
    return serious[0]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_clean_daily_bars_have_no_findings(seed: int) -> None:
    assert check(daily(seed=seed)).findings == ()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10)
def test_clean_intraday_bars_have_no_findings(seed: int) -> None:
    report = check(half_hours(seed=seed))
    assert (report.findings, report.verdict, report.rows) == ((), "ok", 60 * 13 - 6)  # one half day: 7 bars, not 13


def test_a_panel_is_checked_like_its_table(tmp_path: Path) -> None:
    raw = scale(daily(), 100, 4.0).drop(index=50)
    raw.to_parquet(tmp_path / "A.parquet")
    with pytest.raises(DataError, match="A steps by a 4:1 split on 2022-05-26"):
        load_panel(tmp_path / "A.parquet")
    cut = load_panel(tmp_path / "A.parquet", start="2022-06-01")
    assert check(cut).findings == ()
    late = load_panel(tmp_path / "A.parquet", end="2022-05-01")
    assert only(check(late), "missing_session").timestamps == ("2022-03-16",)
    demand_adjusted(late)


# Stamps


def test_missing_sessions_are_named() -> None:
    table = daily().drop(index=[10, 11, 200])
    found = only(check(table), "missing_session")
    assert found.timestamps == ("2022-01-18", "2022-01-19", "2022-10-19")
    assert (found.rows, found.value, found.severity) == ((), 3.0, "warning")


def test_a_bar_on_a_holiday_is_named() -> None:
    table = daily()
    table.loc[10, "timestamp"] = pd.Timestamp("2022-01-17")  # Martin Luther King day; the session after it goes missing
    report = check(table)
    assert report.of("not_a_session")[0].rows == (10,)
    assert report.of("missing_session")[0].timestamps == ("2022-01-18",)


def test_missing_bars_are_named_within_their_session() -> None:
    found = only(check(half_hours().drop(index=[20, 300])), "missing_bar")
    assert found.timestamps == ("2023-10-17T13:00", "2023-11-16T10:00")  # New York wall clock


def test_data_that_begin_or_end_within_a_session_have_no_gap() -> None:
    assert check(half_hours().iloc[5:-4]).findings == ()


def test_bars_after_an_early_close_are_named() -> None:
    table = half_hours()
    late = pd.DatetimeIndex(["2023-11-24T18:00", "2023-11-24T18:30", "2023-11-24T20:30"], tz="UTC")
    extra = table.iloc[:3].assign(timestamp=late)
    table = in_time_order(join(table, extra))
    report = check(table)
    rows = tuple(np.flatnonzero(table["timestamp"].isin(late)).tolist())
    assert report.of("half_day")[0].rows == rows
    assert report.of("extended_hours")[0].rows == rows


def test_half_days_that_stop_short_are_noted() -> None:
    table = half_hours(sessions=30)
    lost = table["timestamp"] == pd.Timestamp("2023-11-24T17:30", tz="UTC")
    report = check(table[~lost].reset_index(drop=True))
    assert [(found.check, found.severity, found.timestamps) for found in report.findings] == [
        ("half_day", "note", ("2023-11-24",))
    ]
    assert "no bar at 12:30" in report.findings[0].message


def test_repeated_rows_are_told_from_conflicting_ones() -> None:
    table = in_time_order(join(daily(), daily().iloc[[5, 7]]))
    table.loc[9, "close"] *= 1.0001
    same, differing = check(table).of("duplicate")
    assert (same.rows, same.repair) == ((6,), "drop_duplicates")
    assert (differing.rows, differing.repair) == ((9,), "keep_last")


def test_rows_out_of_order_are_named() -> None:
    table = daily()
    order = [*range(5), 6, 5, *range(7, 300)]
    found = only(check(table.iloc[order].reset_index(drop=True)), "order")
    assert (found.rows, found.timestamps) == ((6,), ("2022-01-10",))


def test_unreadable_timestamps_are_named() -> None:
    table = daily().astype({"timestamp": str})
    table.loc[3, "timestamp"] = "soon"
    table.loc[299, "timestamp"] = "9999-01-01"
    report = check(table)
    assert report.of("timestamp")[0].rows == (3, 299)


def test_daily_bars_with_a_time_of_day_are_named() -> None:
    table = daily()
    table["timestamp"] += pd.Timedelta("16h")
    assert only(check(table), "time_of_day").repair == "to_dates"


@pytest.mark.parametrize(("zone", "name"), [("America/New_York", "America/New_York"), (None, "UTC")])
def test_naive_intraday_stamps_are_an_error_and_their_zone_is_inferred(zone: str | None, name: str) -> None:
    found = only(check(wall(half_hours(), zone)), "time_zone")
    assert (found.repair, found.value) == (f"localise:{name}", 1.0)


def test_stamps_that_mark_the_end_are_told() -> None:
    table = half_hours()
    table["timestamp"] += pd.Timedelta("30m")
    found = check(table).of("bar_end")
    assert len(found) == 1
    assert found[0].repair == "stamp_open"


def test_naive_rows_among_rows_with_a_zone() -> None:
    table = half_hours()
    table["timestamp"] = table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    table.loc[100:110, "timestamp"] = table.loc[100:110, "timestamp"].str[:-1]
    found = check(table).of("time_zone")[0]
    assert found.rows == tuple(range(100, 111))
    assert "mixed time zones: 11 rows without a zone among rows in UTC" in found.message


def test_offsets_of_several_zones() -> None:
    table = half_hours()
    table["timestamp"] = table["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    table.loc[5, "timestamp"] = "2023-10-16T17:00:00+01:00"
    found = check(table).of("time_zone")[0]
    assert (found.repair, "mixed time zones: +01:00, UTC" in found.message) == ("to_utc", True)


def test_new_yorks_two_offsets_are_one_zone() -> None:
    table = half_hours()
    text = table["timestamp"].dt.tz_convert("America/New_York").map(lambda stamp: stamp.isoformat())
    assert {stamp[-6:] for stamp in text} == {"-04:00", "-05:00"}
    assert check(table.assign(timestamp=text)).findings == ()


def test_a_clock_that_ignores_daylight_saving_is_told() -> None:
    table = half_hours()
    fixed = wall(table, "Etc/GMT+5")["timestamp"].dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    found = check(table.assign(timestamp=fixed)).of("time_zone")[0]
    assert "first bar is at 09:30 and in summer at 08:30" in found.message


def test_a_block_written_in_another_zone_is_told() -> None:
    table = half_hours(sessions=12)
    late = table["timestamp"] >= pd.Timestamp("2023-10-26", tz="UTC")
    shifted = table["timestamp"].where(~late, table["timestamp"] + pd.Timedelta("4h"))
    found = check(table.assign(timestamp=shifted)).of("time_zone")[0]
    assert found.rows == tuple(np.flatnonzero(late).tolist())
    assert "4 sessions from 2023-10-26 are 4 hours away" in found.message


# Values


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("close", None, "blank"),
        ("close", "n/a", "blank"),
        ("close", "12,5", "not a number"),
        ("open", np.inf, "infinite"),
        ("low", 0.0, "zero or negative"),
        ("close", -3.0, "zero or negative"),
        ("close", -np.inf, "zero or negative"),
        ("high", 1e300, "beyond any market's"),
        ("low", 1e-300, "beyond any market's"),
        ("volume", -1.0, "negative"),
        ("volume", 1e300, "beyond any market's"),
        ("volume", None, "blank"),
    ],
)
def test_cells_that_cannot_be_used(column: str, value: object, fault: str) -> None:
    table = daily().astype({column: object})
    table.loc[42, column] = value
    found = check(table).of("value")[0]
    assert (found.rows, found.severity, found.repair) == ((42,), "error", "drop_bad_values")
    assert f"{column} is {fault} in 1 row, first row 43" in found.message


@pytest.mark.parametrize(("column", "factor"), [("high", 0.9), ("low", 1.1)])
def test_ranges_that_contradict_their_bar(column: str, factor: float) -> None:
    table = daily()
    table.loc[42, column] *= factor
    found = only(check(table), "ohlc")
    assert (found.rows, found.severity, found.repair) == ((42,), "error", "widen_range")
    assert 0.05 < (found.value or 0) < 0.2


def test_a_rounding_is_no_contradiction() -> None:
    table = daily()
    table["high"] = table[PRICES].max(axis=1) * (1 - 1e-9)
    assert check(table).of("ohlc") == ()


@pytest.mark.parametrize(("bars", "severity"), [(2, "note"), (9, "warning"), (300, "warning")])
def test_bars_without_volume(bars: int, severity: str) -> None:
    table = daily()
    table.loc[: bars - 1, "volume"] = 0.0
    (found,) = check(table).findings
    assert (found.check, found.severity, found.rows) == ("zero_volume", severity, tuple(range(bars)))
    assert found.value == bars / 300
    assert ("index" in found.message) == (bars == 300)


def test_a_price_that_stands_still() -> None:
    table = daily()
    table.loc[50:53, PRICES] = table.loc[49, "close"]
    found = only(check(table), "stale")
    assert (found.rows, found.value) == ((50, 51, 52, 53), 4.0)
    table = daily()
    table.loc[50:51, PRICES] = table.loc[49, "close"]
    assert check(table).findings == ()


def test_closes_that_stand_still_longer_than_chance_allows() -> None:
    table = daily()[["timestamp", "close"]]
    table.loc[50:53, "close"] = table.loc[49, "close"]
    # 4 repeats in 299: chance gives such a run less than once in a hundred tables of 300 rows.
    assert only(check(table), "stale").rows == (50, 51, 52, 53)
    ticks = daily(2000)[["timestamp", "close"]].round({"close": 0})
    assert (ticks["close"].diff() == 0).mean() > 0.2
    assert check(ticks).of("stale") == ()


def test_actions_that_cannot_be_are_named_and_passed_over() -> None:
    table = daily().assign(dividend=np.nan, split=0.0)
    table.loc[42, "dividend"] = -1.0
    table.loc[43, "split"] = -2.0
    assert [(found.rows, found.severity) for found in check(table).of("value")] == [((42,), "error"), ((43,), "error")]


# Columns


def test_two_columns_for_one_field() -> None:
    table = daily()
    table["Close"] = table["close"]
    table.loc[7, "Close"] += 1.0
    table.loc[8, "Close"] = None
    table.loc[9, "close"] = None
    found = only(check(table), "parallel_columns")
    assert found.rows == (7,)
    assert "close and Close agree in 297 rows, differ in 1, and 1 and 1 rows have only one" in found.message


def test_an_adjusted_close_that_repeats_the_close_is_noted() -> None:
    (found,) = check(daily().assign(adj_close=lambda frame: frame["close"])).findings
    assert (found.check, found.severity) == ("parallel_columns", "note")


def test_an_index_written_as_data_is_noted(tmp_path: Path) -> None:
    daily().to_csv(tmp_path / "A.csv")
    (found,) = check(tmp_path / "A.csv").findings
    assert (found.check, found.severity, "Unnamed: 0" in found.message) == ("index_column", "note", True)


# Prices


def test_the_report_is_json_and_counts() -> None:
    table = join(daily(symbol="A"), daily(symbol="B", seed=1)[50:])
    table.loc[20, "close"] = None
    report = check(table)
    assert report.symbols == ("A", "B")
    assert report.counts == {"error": 1, "warning": 1, "note": 1}
    assert report.checks == {"missing_session": 1, "ragged": 1, "value": 1}
    assert (report.ok, report.verdict) == (False, "not ok")
    held: dict[str, Any] = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert held["findings"][0]["check"] == "value"
    assert held["findings"][0]["rows"] == [20]
    assert [line.split()[0] for line in report.lines()] == ["error", "warning", "note"]


def test_messages_are_one_line() -> None:
    table = scale(daily(), 100, 1 / 1.6).drop(index=[20, 30])
    for finding in check(table).findings:
        assert "\n" not in finding.message
        assert not np.isnan(finding.value or 0.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "no timestamp column; it has a, b"),
        ("date,open\n2024-01-02,1\n", "no close column; it has date, open"),
    ],
)
def test_what_cannot_be_opened_at_all(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        check(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"no such file"):
        check(tmp_path / "nothing.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.parquet or \.csv files"):
        check(tmp_path / "empty")


def test_the_documentation_runs(repository: Path) -> None:
    failed, attempted = doctest.testfile(str(repository / "docs" / "data.md"), module_relative=False)
    assert (failed, attempted > 10) == (0, True)


def test_importing_every_module_leaves_the_functions_callable() -> None:
    import tradekit.market.quality as quality

    for path in Path(str(quality.__file__)).parent.glob("*.py"):
        import_module(f"tradekit.market.quality.{path.stem}")
    assert all(callable(getattr(quality, name)) for name in quality.__all__)


# Nothing in a table can stop the checks

JUNK = st.sampled_from([None, 0.0, -1.0, np.inf, -np.inf, "x", "", 1e-300, 1e300, np.nan, 5.0])


@given(
    rows=st.sampled_from([1, 2, 3, 30, 300]),
    close_only=st.booleans(),
    cells=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 6), st.sampled_from([1, 5, 300]), JUNK), max_size=10),
    stamp=st.sampled_from([None, pd.NaT, "soon"]),
    again=st.booleans(),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=150)
def test_junk_is_reported_and_never_raised(
    rows: int, close_only: bool, cells: list[tuple[int, int, int, object]], stamp: object, again: bool, order: Random
) -> None:
    table = daily(rows).assign(adj_close=lambda frame: frame["close"], dividend=0.0).astype(object)
    table = table[["timestamp", "close"]] if close_only else table
    for row, column, length, value in cells:
        table.iloc[row % rows : row % rows + length, 1 + column % (table.shape[1] - 1)] = value
    if stamp is not None:
        table.iloc[-1, 0] = stamp
    if again:
        table = join(table, table.iloc[: rows // 2])
        table = table.iloc[order.sample(range(len(table)), len(table))].reset_index(drop=True)
    report = check(table)
    json.dumps(report.to_dict(), allow_nan=False)
    assert all(0 <= row < len(table) for found in report.findings for row in found.rows)
    assert all("\n" not in found.message for found in report.findings)
