"""Real files: every known defect is named, every clean file passes, and real crashes are not called errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tradekit.errors import DataError
from tradekit.market.quality import check, demand_adjusted, repair
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.quality import Report

CLEAN = (
    "daily_core_adj",
    "daily_core_price_plus_adjclose",
    "daily_wide_price_adjclose_actions.parquet",
    "hourly_ibkr",
    "hourly_yahoo",
    "intraday_5m_ibkr",
    "mit_licensed_yahoo/daily",
)


def serious(report: Report) -> set[tuple[str, str, str]]:
    """Return check, symbol and first timestamp of everything worse than a note."""
    return {
        (found.check, found.symbol, (found.timestamps or ("",))[0])
        for found in report.findings
        if found.severity != "note"
    }


@pytest.mark.parametrize("name", CLEAN)
def test_clean_files_pass_without_an_alarm(shared_data: Path, name: str) -> None:
    report = check(shared_data / name)
    assert serious(report) == set()
    assert report.verdict == "ok"


def test_the_one_false_day_of_the_wide_universe(shared_data: Path) -> None:
    report = check(shared_data / "daily_wide145_adj.parquet")
    assert serious(report) == {("level_shift", "DHR", "2016-07-05")}
    noted = {(found.symbol, found.timestamps[0]): found.value for found in report.of("large_move")}
    assert noted["AMD", "2016-04-22"] == pytest.approx(0.42, abs=0.01)  # +52 %
    assert noted["OXY", "2020-03-09"] == pytest.approx(-0.73, abs=0.01)  # -52 %


def test_without_volume_or_with_closes_alone_real_crashes_are_no_errors_either(shared_data: Path) -> None:
    table = pd.read_parquet(shared_data / "daily_wide145_adj.parquet")
    bare = check(table[["timestamp", "symbol", "open", "high", "low", "close"]])
    assert serious(bare) == {("level_shift", "DHR", "2016-07-05")}
    assert serious(check(table[["timestamp", "symbol", "close"]])) == set()


def test_the_embedded_sample() -> None:
    # The closes of one stock, then traded for cents, stand still for weeks in 1990 to 1992.
    assert serious(check("sample")) == {("stale", "RRC", "1990-01-03")}


def test_a_spin_off_adjusted_wrongly(shared_data: Path) -> None:
    report = check(shared_data / "messy/DHR_spinoff_misadjusted.parquet")
    assert serious(report) == {("level_shift", "DHR_spinoff_misadjusted", "2016-07-05")}


def test_files_spliced_across_a_split(shared_data: Path) -> None:
    report = check(shared_data / "messy/daily_split_stitched_fnspid.parquet")
    assert serious(report) == {("unadjusted_split", "GOOG", "2020-07-06"), ("level_shift", "GE", "2020-07-06")}
    assert report.of("unadjusted_split")[0].value == 20.0


def test_small_caps_as_cached(shared_data: Path) -> None:
    report = check(shared_data / "messy/daily_ragged_unadjusted_smallcaps.parquet")
    assert serious(report) == {
        ("spike", "GSAT", "2025-02-14"),
        ("unadjusted_split", "SMST", "2024-11-18"),
        ("unadjusted_split", "TSLQ", "2024-11-27"),
        ("missing_session", "EFAS", "2022-04-01"),
        ("missing_session", "LUNR", "2022-04-01"),
        ("missing_session", "OKLO", "2022-03-23"),
        ("stale", "OKLO", "2022-04-29"),
    }
    assert {found.symbol: found.value for found in report.of("unadjusted_split")} == {"SMST": 1 / 5, "TSLQ": 1 / 6}
    assert {found.symbol: found.value for found in report.of("missing_session")} == {"EFAS": 3, "LUNR": 74, "OKLO": 20}
    assert len(report.of("ragged")) == 9


def test_missing_sessions_and_volumes(shared_data: Path) -> None:
    report = check(shared_data / "messy/daily_zero_volume_gaps.parquet")
    assert serious(report) == {
        ("ohlc", "DJI", "2019-02-04"),
        ("missing_session", "DJI", "2019-02-19"),
        ("missing_session", "^FTW5000", "2023-06-01"),
        ("stale", "AMCR", "2019-01-24"),
        ("stale", "FERG", "2019-01-09"),
        ("zero_volume", "AMCR", "2019-01-02"),
        ("zero_volume", "DJI", "2019-03-18"),
        ("zero_volume", "FERG", "2019-01-10"),
        ("zero_volume", "^FTW5000", "2019-01-02"),
    }
    assert report.of("missing_session", symbol="DJI")[0].value == 172
    assert [len(found.rows) for found in report.of("zero_volume")] == [53, 576, 309, 1431]
    assert len(report.of("ohlc")[0].rows) == 2


def test_two_downloads_written_side_by_side(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "messy/SPY_1h_moneytree_raw.csv"
    report = check(path)
    symbol = "SPY_1h_moneytree_raw"
    assert serious(report) == {
        *(("parallel_columns", "", found.timestamps[0]) for found in report.of("parallel_columns")),
        ("time_zone", "", "2022-07-28T17:00:00"),
        ("duplicate", symbol, "2022-08-04T09:30:00"),
        ("extended_hours", symbol, "2022-07-28T17:00:00"),
        ("half_day", symbol, "2022-11-25T13:00:00"),
        ("wick", symbol, "2022-07-28T17:00:00"),
        ("zero_volume", symbol, "2022-07-28T17:00:00"),
    }
    assert len(report.of("parallel_columns")) == 5
    assert len(report.of("duplicate")[0].rows) == 60
    assert report.of("time_zone")[0].repair == "localise:America/New_York"
    ask = ["merge_columns", "localise:America/New_York", "keep_last", "drop_extended_hours"]
    repaired = repair(path, report.findings, ask=ask)
    saved, _ = repaired.save(tmp_path / "SPY.parquet")
    assert check(saved).verdict == "ok"
    # Counted another way: the different stamps from 9:30 to 16:00, less the 12 after early closes.
    stamps = pd.DatetimeIndex(pd.read_csv(path)["Datetime"].unique())
    regular = (stamps.hour * 60 + stamps.minute >= 570) & (stamps.hour < 16)
    assert len(load_panel(saved)) == regular.sum() - 12


def test_bars_stamped_by_their_end(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "messy/SPY_60min_extended_hours_alphavantage.parquet"
    report = check(path)
    assert {found[0] for found in serious(report)} == {"time_zone", "bar_end", "extended_hours", "half_day"}
    repaired = repair(path, ask=["localise:America/New_York", "stamp_open", "drop_extended_hours"])
    saved, _ = repaired.save(tmp_path / "SPY.csv")
    assert check(saved).findings == ()
    panel = load_panel(saved)
    # Seven bars a session from the one that holds the opening bell; four on the two half days.
    assert len(panel) == 7 * 494 + 4 * 2


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["open", "high", "low", "close", "volume"], 22),
        (["close", "adj_close"], 22),
        (["open", "high", "low", "close"], 20),
        (["close"], 13),
    ],
)
def test_how_many_of_22_recorded_splits_are_found_without_the_record(
    shared_data: Path, columns: list[str], found: int
) -> None:
    folder = shared_data / "corp_actions"
    paths = sorted((folder / "daily_raw_alphavantage").glob("*.parquet"))
    tables = [pd.read_parquet(path).assign(symbol=f"{path.stem}_av") for path in paths]
    table = pd.concat([pd.read_parquet(folder / "daily_raw_tiingo.parquet"), *tables], ignore_index=True)
    report = check(table[["timestamp", "symbol", *columns]])
    named = {(one.symbol, one.timestamps[0]) for one in report.of("unadjusted_split")}
    split = ~table["split"].isin([0.0, 1.0])
    stamps = table.loc[split, "timestamp"].dt.strftime("%Y-%m-%d")
    recorded = set(zip(table.loc[split, "symbol"], stamps, strict=True))
    assert len(recorded) == 22
    assert len(named & recorded) == found
    # One more is real: a share class that was distributed, recorded as a dividend of half the price.
    assert named - recorded == {("GOOGL_av", "2014-04-03")}
    assert serious(report) == {("unadjusted_split", *name) for name in named}


def test_raw_files_without_actions(shared_data: Path) -> None:
    report = check(shared_data / "corp_actions/daily_raw_only_alphavantage_2023")
    assert serious(report) == {
        ("unadjusted_split", "AAPL", "2000-06-21"),
        ("unadjusted_split", "AAPL", "2005-02-28"),
        ("unadjusted_split", "AAPL", "2014-06-09"),
        ("unadjusted_split", "AAPL", "2020-08-31"),
        ("unadjusted_split", "JPM", "2000-06-12"),
        ("unadjusted_split", "MSFT", "2003-02-18"),
    }


def test_only_raw_panels_are_refused(shared_data: Path) -> None:
    for name in ("sample", *(str(shared_data / name) for name in (*CLEAN, "daily_wide145_adj.parquet"))):
        demand_adjusted(load_panel(name))
    with pytest.raises(DataError, match=r"AVGO steps by a 10:1 split on 2024-07-15 \(1700\.67 to 170\)") as caught:
        load_panel(shared_data / "corp_actions/daily_raw_tiingo.parquet")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="AAPL steps by a 2:1 split on 2000-06-21"):
        load_panel(shared_data / "corp_actions/daily_raw_alphavantage", symbols="SPY", benchmark="AAPL")
