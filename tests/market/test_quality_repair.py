"""A repair does what is asked, on the rows that findings name, and writes down every change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.tables import Frame, daily, half_hours, in_time_order, join, scale, wall
from tradekit.errors import DataError
from tradekit.market.actions import Actions
from tradekit.market.quality import check, repair
from tradekit.market.quality.repairs import ASKS
from tradekit.market.quality.steps import DROPS, STEPS
from tradekit.market.sources.raw import read_raw, to_frame

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.quality.repairs import Repaired

PRICES = ["open", "high", "low", "close"]


def frame_of(repaired: Repaired) -> Frame:
    return to_frame(repaired.table).drop(columns="symbol", errors="ignore")


def test_every_repair_has_a_step_and_a_description() -> None:
    assert set(ASKS) == set(STEPS) | DROPS
    assert not set(STEPS) & DROPS


def test_every_repair_that_a_finding_suggests_exists() -> None:
    table = wall(half_hours())
    table["Close"] = table["close"]
    table.loc[5, "high"] = 1.0
    table.loc[7, ["volume"]] = 0.0
    for finding in check(table).findings:
        assert finding.repair is None or finding.repair.split(":")[0] in ASKS


def test_repeated_rows() -> None:
    clean = daily()
    table = in_time_order(join(clean, clean.iloc[[5, 7]]))
    table.loc[9, "close"] *= 1.01  # row 9 repeats row 8, the second of 2022-01-12
    one = repair(table, ask=["drop_duplicates"])
    assert [(change.row, change.column, change.after) for change in one.changes] == [(6, "row", None)]
    pd.testing.assert_frame_equal(frame_of(repair(table, ask=["drop_duplicates", "keep_first"])), clean)
    last = frame_of(repair(table, ask=["keep_last", "drop_duplicates"]))
    assert last.loc[7, "close"] == clean.loc[7, "close"] * 1.01
    assert repair(table, ask=["keep_first"]).counts == {"keep_first": 1}


@given(
    rows=st.lists(st.integers(5, 290), min_size=1, max_size=6, unique=True),
    ask=st.sampled_from(["drop_bad_values", "widen_range", "drop_zero_volume"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_only_the_rows_of_the_findings_change(rows: list[int], ask: str, seed: int) -> None:
    table = daily(seed=seed)
    table.loc[rows, "close"] = {"drop_bad_values": np.nan}.get(ask, table.loc[rows, "close"])
    table.loc[rows, "high"] *= {"widen_range": 0.9}.get(ask, 1.0)
    table.loc[rows, "volume"] *= {"drop_zero_volume": 0.0}.get(ask, 1.0)
    repaired = repair(table, ask=[ask])
    assert sorted({change.row for change in repaired.changes}) == sorted(rows)
    assert all(change.ask == ask for change in repaired.changes)
    if ask != "widen_range":
        expected = table.drop(index=rows)
    else:
        expected = table.assign(high=table["high"].where(~table.index.isin(rows), table[["open", "close"]].max(axis=1)))
    pd.testing.assert_frame_equal(frame_of(repaired), expected.reset_index(drop=True))
    again = check(repaired.table)
    assert not [finding for finding in again.findings if finding.repair == ask]


def test_nothing_that_was_not_asked_for_is_touched() -> None:
    table = daily()
    table.loc[10, "high"] = 1.0
    table.loc[20, "volume"] = 0.0
    table.loc[30, PRICES] *= 3.0
    repaired = repair(table, ask=["drop_spikes", "drop_stale"])
    pd.testing.assert_frame_equal(frame_of(repaired), table.drop(index=30).reset_index(drop=True))
    assert repaired.unused == ("drop_stale",)
    assert (repaired.counts, repaired.changes[0].before) == ({"drop_spikes": 1}, table.loc[30, "close"])


def test_findings_that_are_left_out_are_left_alone() -> None:
    table = daily()
    table.loc[30, PRICES] *= 3.0
    table.loc[90, PRICES] *= 3.0
    first, second = check(table).of("spike")
    repaired = repair(table, [second], ask=["drop_spikes"])
    assert [change.row for change in repaired.changes] == [90]
    assert check(repaired.table).of("spike")[0].rows == first.rows


def test_sorting_says_where_rows_went() -> None:
    clean = daily()
    table = clean.iloc[[1, 0, *range(2, 300)]].reset_index(drop=True)
    repaired = repair(table, ask=["sort"])
    pd.testing.assert_frame_equal(frame_of(repaired), clean)
    assert [(change.row, change.before, change.after) for change in repaired.changes] == [
        (1, "row 2", "row 1"),
        (0, "row 1", "row 2"),
    ]


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
def test_times_are_localised_to_the_zone_given(zone: str) -> None:
    clean = half_hours()
    repaired = repair(wall(clean, zone), ask=[f"localise:{zone}"])
    pd.testing.assert_series_equal(frame_of(repaired)["timestamp"], clean["timestamp"], check_index_type=False)
    assert repaired.counts == {"localise": len(clean)}
    assert repaired.changes[0].after == "2023-10-16T13:30:00Z"


def test_offsets_become_utc_and_daily_times_become_dates() -> None:
    clean = half_hours()
    text = clean["timestamp"].map(lambda stamp: stamp.tz_convert("Europe/Berlin").isoformat())
    repaired = repair(clean.assign(timestamp=text), ask=["to_utc"])
    pd.testing.assert_series_equal(frame_of(repaired)["timestamp"], clean["timestamp"])
    late = daily().assign(timestamp=lambda frame: frame["timestamp"] + pd.Timedelta("16h"))
    pd.testing.assert_frame_equal(frame_of(repair(late, ask=["to_dates"])), daily())


def test_stamps_of_ends_become_those_of_opens() -> None:
    clean = half_hours()
    late = clean.assign(timestamp=clean["timestamp"] + pd.Timedelta("30m"))
    repaired = repair(late, ask=["stamp_open"])
    pd.testing.assert_frame_equal(frame_of(repaired), clean)
    assert check(repaired.table).findings == ()


def test_bars_outside_sessions_are_dropped_with_their_repeats() -> None:
    clean = half_hours()
    early = clean.iloc[:2].assign(timestamp=pd.Timestamp("2023-10-17T12:00", tz="UTC"))
    table = in_time_order(join(clean, early))
    repaired = repair(table, ask=["drop_extended_hours"])
    assert repaired.counts == {"drop_extended_hours": 2}
    pd.testing.assert_frame_equal(frame_of(repaired), clean)


def test_two_columns_become_one() -> None:
    table = daily()
    table["Close"] = table["close"]
    table.loc[7, "Close"] += 1.0
    table.loc[9, "close"] = np.nan
    repaired = repair(table, ask=["merge_columns"])
    expected = daily()
    pd.testing.assert_frame_equal(frame_of(repaired), expected)
    assert [(change.row, change.column, change.before, change.after) for change in repaired.changes] == [
        (9, "close", None, expected.loc[9, "close"]),
        (7, "Close", expected.loc[7, "close"] + 1.0, expected.loc[7, "close"]),
    ]


def test_a_wick_is_clipped_to_its_body() -> None:
    table = daily()
    table.loc[100, "high"] *= 1.3
    table.loc[100, "volume"] = 0.0
    repaired = frame_of(repair(table, ask=["clip_wicks"]))
    assert repaired.loc[100, "high"] == table.loc[100, ["open", "close"]].max()
    assert repaired.loc[100, "low"] == table.loc[100, ["open", "close"]].min()
    pd.testing.assert_frame_equal(repaired.drop(index=100), table.drop(index=100))


def test_splits_are_applied_when_actions_are_given() -> None:
    clean = daily(symbol="A")
    raw = scale(clean, 100, 4.0)
    day = clean.loc[100, "timestamp"]
    actions = Actions(np.array(["A"]), np.array([day], "M8[D]"), np.array([4.0]), np.array([0.0]))
    repaired = repair(raw, ask=["apply_actions"], actions=actions)
    pd.testing.assert_frame_equal(to_frame(repaired.table), clean, rtol=1e-12)
    assert {change.row for change in repaired.changes} == set(range(100))
    assert check(repaired.table).findings == ()
    with pytest.raises(DataError, match="no split and no dividend column"):
        repair(raw, ask=["apply_actions"])
    own = raw.assign(split=np.where(clean["timestamp"] == day, 4.0, 0.0))
    pd.testing.assert_frame_equal(to_frame(repair(own, ask=["apply_actions"]).table), clean, rtol=1e-12)


def test_actions_may_come_from_a_file(tmp_path: Path) -> None:
    clean = daily(symbol="A")
    (tmp_path / "actions.csv").write_text(f"date,ticker,split\n{clean.loc[100, 'timestamp']:%Y-%m-%d},A,4\n")
    repaired = repair(scale(clean, 100, 4.0), ask=["apply_actions"], actions=tmp_path / "actions.csv")
    pd.testing.assert_frame_equal(to_frame(repaired.table), clean, rtol=1e-12)


def test_prices_are_scaled_to_an_adjusted_close() -> None:
    clean = daily()
    raw = scale(clean, 100, 3.0).assign(adj_close=clean["close"])
    repaired = frame_of(repair(raw, ask=["scale_to_adjusted"]))
    pd.testing.assert_frame_equal(repaired[PRICES], clean[PRICES], rtol=1e-12)
    assert "adj_close" not in repaired
    with pytest.raises(DataError, match="needs an adj_close column"):
        repair(clean, ask=["scale_to_adjusted"])


def test_a_volume_column_without_volume_is_left_out() -> None:
    table = join(daily(symbol="A"), daily(symbol="B")).assign(volume=0.0)
    assert "volume" not in repair(table, ask=["drop_volume"]).table.columns
    table.loc[5, "volume"] = 1.0
    with pytest.raises(DataError, match="A trade; leave the symbols without volume out"):
        repair(table, ask=["drop_volume"])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (["drop_spike"], "unknown repair 'drop_spike'; did you mean drop_spikes"),
        ([], "no repair asked for; choose from stack_columns, "),
        (["keep_first", "keep_last"], "contradict each other"),
        (["localise"], "localise needs the zone"),
        (["localise:Mars/Base"], "unknown time zone 'Mars/Base'"),
        (["to_dates"], "needs daily bars"),
    ],
)
def test_what_cannot_be_asked(ask: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        repair(wall(half_hours()), ask=ask)
    assert "\n" not in str(caught.value)


def test_a_time_that_a_clock_shows_twice_is_refused() -> None:
    stamps = pd.date_range("2023-11-05T00:00", periods=12, freq="30min")
    table = daily(12).assign(timestamp=stamps)
    with pytest.raises(DataError, match="times cannot be those of America/New_York"):
        repair(table, ask=["localise:America/New_York"])


def test_saving(tmp_path: Path) -> None:
    source = tmp_path / "A.parquet"
    table = daily()
    table.loc[30, PRICES] *= 3.0
    table.to_parquet(source)
    repaired = repair(source, ask=["drop_spikes"])
    with pytest.raises(DataError, match="never written over its source"):
        repaired.save(source)
    with pytest.raises(DataError, match=r"neither \.parquet nor \.csv"):
        repaired.save(tmp_path / "A.txt")
    with pytest.raises(DataError, match="cannot be written"):
        repaired.save(tmp_path / "nowhere" / "A.csv")
    for name in ("B.parquet", "B.csv"):
        path, report = repaired.save(tmp_path / name)
        assert [found.check for found in check(path).findings] == ["missing_session"]
        held = json.loads(report.read_text())
        assert held["changes"][0]["timestamp"] == "2022-02-15"
        assert held["counts"] == {"drop_spikes": 1}
        np.testing.assert_allclose(read_raw(path).value("close"), table["close"].drop(index=30), rtol=1e-15)


def test_an_infinite_price_is_written_as_json_can_hold_it(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(
        "timestamp,symbol,open,close\n2020-01-02,A,10,10\n2020-01-03,A,10,inf\n2020-01-06,A,-inf,10\n2020-01-07,A,10,1e999\n"
    )
    _, report = repair(tmp_path / "bars.csv", ask=["drop_bad_values"]).save(tmp_path / "out.csv")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    changes = json.loads(report.read_text(), parse_constant=refuse)["changes"]
    assert [(one["row"], one["before"], one["after"]) for one in changes] == [
        (1, "inf", None),
        (2, 10.0, None),
        (3, "inf", None),
    ]
