"""Panel: what it refuses, and what follows from its arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tradekit.errors import DataError
from tradekit.market.calendar import wall_clock
from tradekit.market.panel import Panel, absent, equal_weight_returns

NAN = np.nan


def make(rows: list[list[float]], dates: list[str] | None = None, **changes: Any) -> Panel:
    """Return a close-only panel of A, B, ... on ``dates`` (days from 2024-01-02 if none are given)."""
    values = np.array(rows, dtype=float)
    bars, symbols = values.shape
    times = np.array(dates, "M8[ns]") if dates else np.datetime64("2024-01-02", "ns") + np.arange(bars) * _DAY
    given: dict[str, Any] = {
        "timestamps": times,
        "symbols": tuple("ABCDEF"[:symbols]),
        **{name: absent(bars, symbols) for name in ("open", "high", "low", "volume")},
        "close": values,
        "tradable": ~np.isnan(values),
        "close_time": times + _DAY,
        "benchmark_returns": np.zeros(bars),
        "columns": frozenset({"close"}),
        "source": "made",
    }
    return Panel(**{**given, **changes})


_DAY = np.timedelta64(1, "D").astype("m8[ns]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"close": np.ones((3, 1))}, r"made: close has shape \(3, 1\), expected \(2, 1\)"),
        ({"tradable": np.ones((2, 2), bool)}, "tradable has shape"),
        ({"timestamps": np.array(["2024-01-03", "2024-01-02"], "M8[ns]")}, "unique and increasing"),
        ({"timestamps": np.array(["2024-01-02", "2024-01-02"], "M8[ns]")}, "unique and increasing"),
        ({"symbols": ()}, "no bars"),
        ({"close": np.array([[1.0], [0.0]])}, "close of A at 2024-01-03.* is not positive"),
        ({"open": np.array([[-1.0], [1.0]])}, "open of A at 2024-01-02.* is not positive"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        make([[1.0], [2.0]], **changes)
    assert "\n" not in str(caught.value)


def test_refuses_a_symbol_twice() -> None:
    with pytest.raises(DataError, match="a symbol appears twice"):
        make([[1.0, 2.0]], symbols=("A", "A"))


def test_arrays_cannot_be_written() -> None:
    panel = make([[1.0], [2.0]])
    for name in ("open", "close", "volume", "tradable", "timestamps", "close_time", "benchmark_returns", "mark"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(panel, name)[0] = 1


def test_absent_columns_take_no_memory() -> None:
    column = absent(10_000, 500)
    assert column.shape == (10_000, 500)
    assert column.strides == (0, 0)
    assert np.isnan(column[-1, -1])


def test_mark_is_the_last_known_close() -> None:
    panel = make([[NAN, 5.0], [2.0, NAN], [NAN, NAN], [3.0, 6.0]])
    np.testing.assert_array_equal(panel.mark, [[NAN, 5.0], [2.0, 5.0], [2.0, 5.0], [3.0, 6.0]])


def test_sessions_and_bars_per_year() -> None:
    panel = make(
        [[1.0]] * 5,
        ["2024-01-02T14:30", "2024-01-02T15:00", "2024-01-03T14:30", "2024-01-03T15:00", "2024-01-04T14:30"],
        frequency="1h",
    )
    assert panel.sessions.tolist() == [0, 0, 1, 1, 2]
    assert panel.bars_per_year == pytest.approx(5 / 3 * 252)
    assert not panel.is_daily
    assert make([[1.0]] * 5).bars_per_year == 252.0


def test_slices_keep_rows_together() -> None:
    panel = make([[1.0], [2.0], [3.0], [4.0]], benchmark_returns=np.array([0.1, 0.2, 0.3, 0.4]))
    part = panel[1:3]
    assert part.close.ravel().tolist() == [2.0, 3.0]
    assert part.benchmark_returns.tolist() == [0.2, 0.3]
    assert str(part.timestamps[0].astype("M8[D]")) == "2024-01-03"
    assert len(part) == 2


def test_between_includes_both_dates() -> None:
    panel = make([[1.0], [2.0], [3.0], [4.0]])
    assert panel.between("2024-01-03", "2024-01-04").close.ravel().tolist() == [2.0, 3.0]
    assert panel.between(end="2024-01-02").close.ravel().tolist() == [1.0]
    assert panel.between("2024-01-05").close.ravel().tolist() == [4.0]


def test_between_includes_every_bar_of_the_last_day() -> None:
    panel = make([[1.0], [2.0], [3.0]], ["2024-01-02T14:30", "2024-01-02T20:30", "2024-01-03T14:30"], frequency="1h")
    assert panel.between("2024-01-02", "2024-01-02").close.ravel().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2025-01-01", None, "no bars from 2025-01-01 to the end; the data covers 2024-01-02 to 2024-01-03"),
        ("2024-01-03", "2024-01-02", "no bars"),
        ("soon", None, "cannot read the date 'soon'; write YYYY-MM-DD"),
    ],
)
def test_between_refuses(start: str, end: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make([[1.0], [2.0]]).between(start, end)


def test_select_reorders_and_suggests() -> None:
    panel = make([[1.0, 2.0, 3.0]] * 2, symbols=("AAPL", "MSFT", "KO"))
    assert panel.select(["KO", "AAPL"]).close.tolist() == [[3.0, 1.0]] * 2
    with pytest.raises(DataError, match="no symbol MSTF; did you mean MSFT"):
        panel.select(["MSTF"])


def test_require_names_what_is_missing() -> None:
    with pytest.raises(DataError, match="made: ATR needs high, low, which this data does not have"):
        make([[1.0], [2.0]]).require(("high", "low", "close"), "ATR")
    make([[1.0], [2.0]]).require(("close",), "momentum")


def test_content_hash_follows_the_data_only() -> None:
    panel = make([[1.0], [2.0]])
    assert panel.content_hash == make([[1.0], [2.0]], source="elsewhere").content_hash
    changed = [
        make([[1.0], [2.5]]),
        make([[1.0], [2.0]], symbols=("Z",)),
        make([[1.0], [2.0]], tradable=np.array([[True], [False]])),
        make([[1.0], [2.0]], frequency="1h"),
        make([[1.0], [2.0]], benchmark_returns=np.array([0.0, 0.1])),
        make([[1.0], [2.0]], ["2024-01-02", "2024-01-04"]),
        replace(panel, open=np.ones((2, 1)), columns=frozenset({"open", "close"})),
    ]
    assert len({panel.content_hash, *(other.content_hash for other in changed)}) == 1 + len(changed)


def test_equal_weight_returns_by_hand() -> None:
    close = np.array([[10.0, NAN], [11.0, 50.0], [NAN, 55.0], [12.0, NAN], [12.6, 60.0]])
    # Bar 1: only A has both bars. Bar 2: only B, 10 %. Bar 3: none has both. Bar 4: only A, 5 %.
    np.testing.assert_allclose(equal_weight_returns(close), [NAN, 0.1, 0.1, NAN, 0.05], rtol=1e-12)
    np.testing.assert_allclose(equal_weight_returns(np.array([[1.0, 2.0], [1.1, 2.6]])), [NAN, 0.2], rtol=1e-12)


def test_repr_says_what_it_holds() -> None:
    assert repr(make([[1.0], [2.0]])) == "Panel(made: 2 bars of 1D x 1 symbols, 2024-01-02 to 2024-01-03)"


def test_a_spread_multiple_belongs_to_its_bars() -> None:
    panel = make([[1.0], [2.0], [3.0]])
    wide = replace(panel, spread_multiple=np.array([1.0, 4.0, 9.0]))
    cut = wide[1:].spread_multiple
    assert cut is not None
    assert cut.tolist() == [4.0, 9.0]
    assert wide.content_hash != panel.content_hash
    for bad in ([1.0, 2.0], [1.0, -1.0, 1.0], [1.0, NAN, 1.0]):
        with pytest.raises(DataError, match="spread_multiple must be one finite number, 0 or more, for each bar"):
            replace(panel, spread_multiple=np.array(bad))


def test_an_evening_in_new_york_belongs_to_its_day() -> None:
    """Bars at 15:00, 19:00 and 19:30 New York, in winter (UTC-5) and summer (UTC-4): two are the next day in UTC."""
    stamps = [
        "2024-01-03T20:00", "2024-01-04T00:00", "2024-01-04T00:30", "2024-01-04T14:30",
        "2024-07-02T19:00", "2024-07-02T23:00", "2024-07-02T23:30", "2024-07-03T13:30", "2024-07-03T23:45",
    ]  # fmt: skip
    panel = make([[1.0]] * len(stamps), stamps, frequency="30m")
    assert panel.sessions.tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3]
    assert panel.bars_per_year == len(stamps) / 4 * 252


def test_daily_dates_are_sessions_as_they_stand() -> None:
    assert make([[1.0]] * 3).sessions.tolist() == [0, 1, 2]
    assert make([[1.0]] * 3).bars_per_year == 252


def test_a_detached_panel_is_the_same_bars_in_memory_of_its_own() -> None:
    whole = make([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    part = whole[:2].detached()
    assert part.content_hash == whole[:2].content_hash
    assert whole[:2].close.base is not None
    assert part.close.base is part.timestamps.base is part.tradable.base is part.benchmark_returns.base is None
    assert not part.close.flags.writeable


def test_session_dates_are_those_of_the_wall_clock() -> None:
    """Every half hour of three years, across six changes of the clocks, against pandas."""
    stamps = np.datetime64("2022-01-01", "ns") + np.arange(3 * 365 * 48) * np.timedelta64(30, "m")
    panel = make([[1.0]] * len(stamps), frequency="30m", timestamps=stamps)
    dates = wall_clock(stamps).astype("M8[D]")
    assert panel.sessions.tolist() == (dates - dates[0]).astype(int).tolist()
