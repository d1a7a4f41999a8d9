"""Side series of a panel: joined as of their dates when bars are loaded, and kept by everything made of a panel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.panels import intraday, random_panel
from tradekit.errors import ConfigError, DataError
from tradekit.market import calendar
from tradekit.market.features import FeatureSpec
from tradekit.market.side_series import SideSeries, side_of
from tradekit.market.sources import load_panel
from tradekit.market.sources.series import attach

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel


def beside(panel: Panel) -> Panel:
    """Return ``panel`` with one series for all symbols and one for each."""
    rows = np.arange(float(len(panel)))
    return panel.with_side("vix", rows).with_side("mood", rows[:, None] + 1000.0 * np.arange(len(panel.symbols)))


def test_what_is_made_of_a_panel_keeps_its_side() -> None:
    panel = beside(random_panel(10, 3))
    cut = panel[2:5]
    assert cut.side["vix"].tolist() == [2, 3, 4]
    assert cut.side["mood"].tolist() == [[2, 1002, 2002], [3, 1003, 2003], [4, 1004, 2004]]
    chosen = panel.select(["S2", "S0"])
    assert chosen.side["vix"].tolist() == list(range(10))
    assert chosen.side["mood"][1].tolist() == [2001, 1]
    assert panel.between(end="2010-01-06").side["vix"].tolist() == [0, 1, 2]
    assert intraday(panel, 5).side["vix"].tolist() == list(range(10))


def test_detached_leads_to_no_later_value() -> None:
    panel = beside(random_panel(10, 3))
    for values in panel[:4].detached().side.values():
        assert len(values) == 4
        assert values.base is None
        assert not values.flags.writeable


def test_the_hash_tells_series_apart() -> None:
    bare = random_panel(10, 3)
    panel = beside(bare)
    changed = panel.side["mood"].copy()
    changed[9, 2] += 1.0
    others = [
        bare,
        panel,
        panel.with_side("mood", changed),
        replace(panel, side={"vix": panel.side["vix"]}),
        replace(panel, side={"vxn": panel.side["vix"], "mood": panel.side["mood"]}),
    ]
    assert len({each.content_hash for each in others}) == len(others)
    turned = replace(panel, side=dict(reversed(list(panel.side.items()))))
    assert turned.content_hash == panel.content_hash


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("vix", np.zeros(9), r"side series vix has shape \(9,\), expected \(10,\) or \(10, 3\)"),
        ("vix", np.zeros((10, 2)), r"side series vix has shape \(10, 2\)"),
        ("a b", np.zeros(10), "side series 'a b'; name it by a letter"),
        ("", np.zeros(10), "side series ''; name it by a letter"),
    ],
)
def test_what_a_panel_refuses(name: str, values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        random_panel(10, 3).with_side(name, values)


def test_a_series_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="random: no side series vix; give its file under side in"):
        random_panel(10, 3).series("vix")
    with pytest.raises(DataError, match=r"no side series vic; did you mean vix\?"):
        beside(random_panel(10, 3)).series("vic")


# Features


def test_features_hold_the_series_as_they_are() -> None:
    panel, spec = beside(random_panel(40, 3)), FeatureSpec.named("return_1", "side:vix", "side:mood")
    table = spec.compute(panel)
    for symbol in range(3):
        np.testing.assert_array_equal(table[:, symbol, 1], panel.side["vix"])
    np.testing.assert_array_equal(table[:, :, 2], panel.side["mood"])
    assert spec.side == ("vix", "mood")
    assert spec.lookback == 2
    assert spec.requires == ("close",)
    assert spec.describe()[1] == ("side:vix", 1, "newest vix that was published by the bar's close")


def test_a_feature_of_a_series_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match="no side series vix"):
        FeatureSpec.named("side:vix").compute(random_panel(40, 3))
    with pytest.raises(ConfigError, match="unknown feature 'side:'"):
        FeatureSpec.named("side:")
    names = (("side:vix",), ("side:vxn",), ("return_1",))
    assert len({FeatureSpec.named(*each).content_hash for each in names}) == 3


# Loading


def write(folder: Path, dates: list[str], values: list[float]) -> str:
    file = folder / "vix.csv"
    rows = [f"{date},{value}" for date, value in zip(dates, values, strict=True)]
    file.write_text("\n".join(["date,close", *rows]) + "\n")
    return str(file)


def test_loaded_series_are_never_of_their_own_day(tmp_path: Path) -> None:
    file = write(tmp_path, ["2020-03-12", "2020-03-13", "2020-03-16", "2020-03-17"], [1.0, 2.0, 3.0, 4.0])
    about = {"name": "vix", "file": file, "column": "close"}
    some: dict[str, Any] = {"symbols": "AAPL", "start": "2020-03-13", "end": "2020-03-18"}
    assert load_panel("sample", **some, side=[about]).series("vix").tolist() == [1, 2, 3, 4]
    assert load_panel("sample", **some, side=[SideSeries("vix", file, "close", 2)]).series("vix")[1:].tolist() == [
        1,
        2,
        3,
    ]
    short = load_panel("sample", **some | {"end": "2020-03-20"}, side=[about | {"max_age_sessions": 2}])
    np.testing.assert_array_equal(short.series("vix"), [1, 2, 3, 4, 4, np.nan])


@given(
    lag=st.integers(1, 5),
    gaps=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    hourly=st.booleans(),
)
@settings(max_examples=60)
def test_no_value_is_dated_later_than_the_decision_less_the_lag(
    tmp_path_factory: pytest.TempPathFactory, lag: int, gaps: list[int], hourly: bool
) -> None:
    """Each value is the number of its own date, so what is joined says where it came from."""
    begin = "2023-12-20" if hourly else "2009-12-20"
    dates = np.datetime64(begin) + np.cumsum(gaps).astype("m8[D]")
    file = write(tmp_path_factory.mktemp("side"), [str(date) for date in dates], dates.astype(float).tolist())
    daily = load_panel("sample", symbols="KO", start="2009-12-21", end="2010-03-31")
    panel = intraday(daily, 7) if hourly else daily
    joined = attach(panel, [SideSeries("stamp", file, "close", lag)]).series("stamp")
    days = (calendar.wall_clock(panel.timestamps) if hourly else panel.timestamps).astype("M8[D]")
    for day, value in zip(days, joined, strict=True):
        if not np.isnan(value):
            stamp = np.datetime64(int(value), "D")
            assert stamp < day
            after = calendar.sessions(str(stamp), str(day))
            assert (after > stamp).sum() >= lag


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("vix.csv", "side is 'vix.csv'; write a list"),
        (["vix.csv"], "side: 'vix.csv' is not a table"),
        ([{"name": "vix", "file": "x", "colum": "c"}], r"side: unknown key 'colum'; did you mean column\?"),
        ([{"name": "vix", "file": "x"}], "side: column is missing"),
        ([{"name": "vix", "file": 3, "column": "c"}], "side: file is 3; write it as text"),
        ([{"name": "v", "file": "x", "column": "c", "lag_sessions": 0}], "lag_sessions is 0; .*never used on its own"),
        ([{"name": "v", "file": "x", "column": "c", "lag_sessions": 3, "max_age_sessions": 2}], "2; a whole number, 3"),
        ([{"name": "v", "file": "x", "column": "c"}] * 2, "two series are called v"),
    ],
)
def test_entries_that_cannot_be_used(entries: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        side_of(entries)


def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, ["2020-03-13", "2020-03-12"], [1.0, 2.0])
    with pytest.raises(DataError, match=r"vix.csv: the side series' date 2020-03-12 \(row 2\)"):
        load_panel("sample", symbols="AAPL", side=[SideSeries("vix", file, "close")])
    with pytest.raises(DataError, match=r"vix.csv: no column open"):
        load_panel("sample", symbols="AAPL", side=[SideSeries("vix", file, "open")])


# Real series


def test_the_peak_of_2020_is_seen_by_the_next_days_decision(shared_data: Path) -> None:
    side = [SideSeries("vix", str(shared_data / "macro/vix_daily.parquet"), "close")]
    panel = load_panel(shared_data / "daily_core_adj", symbols="SPY,AAPL", side=side)
    vix, days = panel.series("vix"), panel.timestamps.astype("M8[D]")
    first = int(np.argmax(np.isclose(vix, 82.69, atol=0.005)))
    assert str(days[first]) == "2020-03-17"
    assert FeatureSpec.named("side:vix").compute(panel)[first, :, 0] == pytest.approx([82.69, 82.69], abs=0.005)


def test_sentiment_is_at_least_a_day_old(shared_data: Path) -> None:
    import pandas as pd

    file = shared_data / "sentiment/fnspid_daily50.parquet"
    panel = load_panel(
        shared_data / "daily_core_adj",
        symbols="AAPL,MSFT,SPY",
        start="2022-07-01",
        end="2023-12-29",
        side=[SideSeries("mood", str(file), "sentiment")],
    )
    mood, known = panel.series("mood"), pd.read_parquet(file)
    assert mood.shape == (len(panel), 3)
    assert np.isnan(mood[:, 2]).all()  # nobody scores news of SPY there
    own = known[(known.symbol == "AAPL") & known.sentiment.notna()].set_index("timestamp").sentiment
    for day, value in zip(panel.timestamps, mood[:, 0], strict=True):
        earlier = own[own.index < pd.Timestamp(day)]
        assert value == earlier.iloc[-1]
