"""The shapes tables come in: each is read to the same bars, and named where it is not a row per bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.market.tables import Frame, daily, half_hours, join
from tradekit.errors import DataError
from tradekit.market.quality import check, repair
from tradekit.market.quality.table import from_panel
from tradekit.market.sources import load_panel
from tradekit.market.sources.raw import read_raw, to_frame, write_raw

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
FIELDS = list(NAMES)


def yfinance(*symbols: str, late: int = 0) -> Frame:
    """Return bars as ``yfinance.download`` does: (Price, Ticker) columns over a Date index; the last begins later."""
    parts = {}
    for seed, symbol in enumerate(symbols):
        part = daily(symbol=symbol, seed=seed).set_index("timestamp")[FIELDS]
        parts[symbol] = part.iloc[late:] if symbol == symbols[-1] else part
    frame = pd.concat(parts, axis=1).swaplevel(axis=1).rename(columns=NAMES, level=0)
    frame.columns.names = ["Price", "Ticker"]
    return frame.rename_axis(index="Date")


def expected(*symbols: str, late: int = 0) -> Frame:
    tables = [daily(symbol=symbol, seed=seed) for seed, symbol in enumerate(symbols)]
    return join(*tables[:-1], tables[-1].iloc[late:])


def same(path: Path | Frame, wanted: Frame, name: str | None = None) -> str:
    """Assert that a source reads as ``wanted``, and return the layout it had."""
    table = read_raw(path, name)
    for field in FIELDS:
        np.testing.assert_allclose(table.value(field), wanted[field], rtol=1e-12)
    np.testing.assert_array_equal(table.times, wanted["timestamp"])
    np.testing.assert_array_equal(table.symbols, wanted["symbol"])
    return table.layout


def test_pairs_of_field_and_ticker(tmp_path: Path) -> None:
    wanted = expected("AAA", "BBB", late=40)
    frame = yfinance("AAA", "BBB", late=40)
    assert same(frame, wanted) == "wide"
    frame.to_parquet(tmp_path / "x.parquet")
    assert same(tmp_path / "x.parquet", wanted) == "wide"
    swapped = frame.swaplevel(axis=1)
    assert same(swapped, wanted) == "wide"
    text = frame.reset_index()
    text.columns = [str(column) if column[1] else column[0] for column in text.columns]
    text.to_csv(tmp_path / "x.csv", index=False)
    assert same(tmp_path / "x.csv", wanted) == "wide"


def test_a_second_and_third_header_line(tmp_path: Path) -> None:
    for symbols in (("AAA",), ("AAA", "BBB")):
        yfinance(*symbols).to_csv(tmp_path / "x.csv")
        assert (tmp_path / "x.csv").read_text().splitlines()[2].startswith("Date")
        assert same(tmp_path / "x.csv", expected(*symbols)) == "header"


@pytest.mark.parametrize("pattern", ["{field}_{symbol}", "{symbol}_{field}", "{field} {symbol}", "{symbol}.{field}"])
def test_names_joined_with_the_ticker(pattern: str) -> None:
    frame = yfinance("AAA", "BBB")
    frame.columns = [pattern.format(field=field, symbol=symbol) for field, symbol in frame.columns]
    assert same(frame, expected("AAA", "BBB")) == "wide"


def test_such_tables_are_an_error_and_can_be_stacked(tmp_path: Path) -> None:
    yfinance("AAA", "BBB").to_csv(tmp_path / "x.csv")
    report = check(tmp_path / "x.csv")
    assert [(found.check, found.repair) for found in report.findings] == [("layout", "stack_columns")]
    with pytest.raises(DataError, match="ask for stack_columns too"):
        repair(tmp_path / "x.csv", ask=["sort"])
    path, _ = repair(tmp_path / "x.csv", ask=["stack_columns"]).save(tmp_path / "y.parquet")
    assert check(path).findings == ()
    assert load_panel(path).symbols == ("AAA", "BBB")


def test_other_names_for_the_fields() -> None:
    frame = daily(symbol="A").assign(adj_close=1.0, dividend=2.0, split=3.0)
    renamed = frame.rename(
        columns={
            "timestamp": "Date",
            "symbol": "Ticker",
            "adj_close": "Adj Close",
            "dividend": "Dividends",
            "split": "Stock Splits",
            **NAMES,
        }
    )
    table = read_raw(renamed)
    assert same(renamed, frame) == "long"
    assert [table.value(field)[0] for field in ("adj_close", "dividend", "split")] == [1.0, 2.0, 3.0]
    assert table.fields["adj_close"] == ("Adj Close",)


def test_a_folder_is_one_table_whose_rows_are_named_by_file(tmp_path: Path) -> None:
    for seed, name in enumerate(("AAA", "BBB")):
        daily(seed=seed).to_csv(tmp_path / f"{name}.csv", index=False)
    assert same(tmp_path, expected("AAA", "BBB")) == "long"
    table = read_raw(tmp_path)
    assert [table.where(row) for row in (0, 299, 300)] == ["line 2", "line 301", "line 2"]


def test_a_panel_reads_like_its_file(tmp_path: Path) -> None:
    table = join(daily(symbol="AAA"), daily(symbol="BBB", seed=1)[40:])
    table.to_parquet(tmp_path / "x.parquet")
    back = from_panel(load_panel(tmp_path / "x.parquet"))
    assert len(back) == 300 + 260
    for field in FIELDS:
        np.testing.assert_array_equal(back.value(field), table[field])
    np.testing.assert_array_equal(back.symbols, table["symbol"])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("intraday", [False, True])
def test_writing_and_reading_again_changes_nothing(tmp_path: Path, suffix: str, intraday: bool) -> None:
    frame = (half_hours() if intraday else daily()).assign(symbol="A", dividend=0.25)
    path = write_raw(read_raw(frame), tmp_path / f"x{suffix}")
    again = read_raw(path)
    pd.testing.assert_frame_equal(to_frame(again), to_frame(read_raw(frame)), rtol=1e-15)
    assert set(again.zones) == ({"UTC"} if intraday else {""})


def test_rows_without_a_zone_keep_having_none(tmp_path: Path) -> None:
    frame = half_hours().assign(symbol="A")
    frame["timestamp"] = frame["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame.loc[3, "timestamp"] = frame.loc[3, "timestamp"][:-1]
    again = read_raw(write_raw(read_raw(frame), tmp_path / "x.csv"))
    assert np.flatnonzero(again.zones == "").tolist() == [3]


@pytest.mark.parametrize("content", [b"", b"\x80\x81\x82", b"PAR1 torn PAR1"])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        check(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_numbers_for_timestamps_are_unreadable() -> None:
    report = check(daily().assign(timestamp=np.arange(300) + 1_700_000_000))
    assert len(report.of("timestamp")[0].rows) == 300
