"""load_panel: the sample, the names of sources, symbols, dates and benchmarks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tradekit.errors import DataError
from tradekit.market.panel import equal_weight_returns
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

PRICES = {"AAA": [10.0, 11.0, 12.1], "BBB": [20.0, 20.0, 30.0], "SPY": [100.0, 101.0, 103.02]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three symbols over three sessions."""
    for name, closes in PRICES.items():
        rows = [f"2024-01-0{day},{close}" for day, close in zip((2, 3, 4), closes, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["date,close", *rows]) + "\n")
    return tmp_path


def test_sample_is_close_only_with_the_index_as_benchmark(sample: Panel) -> None:
    assert sample.close.shape == (8313, 20)
    assert sample.columns == {"close"}
    assert np.isnan(sample.open).all()
    assert sample.symbols[:3] == ("AAPL", "AMD", "BAC")
    assert sample.span == "1990-01-02 to 2022-12-28"
    assert sample.benchmark_name == "SP500"
    assert sample.tradable.all()
    assert sample.frequency == "1D"
    assert sample.source == "sample"
    # The S&P 500 lost 11.98 % on 2020-03-16, its worst day since 1987.
    crash = np.searchsorted(sample.timestamps, np.datetime64("2020-03-16"))
    assert sample.benchmark_returns[crash] == pytest.approx(-0.1198, abs=5e-5)
    assert np.isnan(sample.benchmark_returns[0])


def test_daily_bars_are_complete_at_the_session_close(sample: Panel) -> None:
    day = np.searchsorted(sample.timestamps, np.datetime64("2022-11-25"))
    # The day after Thanksgiving closes at 13:00 in New York.
    assert sample.close_time[day] == np.datetime64("2022-11-25T18:00", "ns")
    assert sample.close_time[day + 1] == np.datetime64("2022-11-28T21:00", "ns")
    assert (sample.close_time > sample.timestamps).all()
    assert (sample.close_time[:-1] <= sample.timestamps[1:]).all()


def test_symbols_as_text_or_list_in_the_order_given() -> None:
    assert load_panel("sample", "KO, AAPL").symbols == ("KO", "AAPL")
    assert load_panel("sample", ["KO", "AAPL"]).content_hash == load_panel("sample", "KO,AAPL").content_hash


def test_start_and_end_equal_a_cut_of_the_whole(sample: Panel) -> None:
    part = load_panel("sample", start="2000-01-03", end="2001-12-31")
    assert part.content_hash == sample.between("2000-01-03", "2001-12-31").content_hash
    # The first return of the part is known, from the bar before it.
    assert np.isfinite(part.benchmark_returns[0])


def test_loading_twice_gives_the_same_panel(folder: Path) -> None:
    assert load_panel(folder).content_hash == load_panel(folder).content_hash
    assert load_panel(str(folder)).source == str(folder)


@pytest.mark.parametrize(
    ("symbols", "benchmark", "name", "returns"),
    [
        (None, None, "SPY", [0.01, 0.02]),
        ("AAA", None, "SPY", [0.01, 0.02]),
        ("AAA,BBB", "BBB", "BBB", [0.0, 0.5]),
        ("AAA,BBB", "equal_weight", "equal_weight", [0.05, 0.3]),
    ],
)
def test_benchmark(folder: Path, symbols: str | None, benchmark: str | None, name: str, returns: list[float]) -> None:
    panel = load_panel(folder, symbols, benchmark=benchmark)
    assert panel.benchmark_name == name
    np.testing.assert_allclose(panel.benchmark_returns[1:], returns, rtol=1e-9)
    assert panel.symbols == tuple(symbols.split(",") if symbols else PRICES)


def test_without_spy_the_benchmark_is_the_mean_of_the_chosen(folder: Path) -> None:
    (folder / "SPY.csv").unlink()
    panel = load_panel(folder, "AAA")
    assert panel.benchmark_name == "equal_weight"
    np.testing.assert_array_equal(panel.benchmark_returns, equal_weight_returns(panel.close))


def test_the_index_of_the_sample_loads_when_it_is_named(sample: Panel) -> None:
    assert "SP500" not in sample.symbols
    index = load_panel("sample", "SP500").close[:, 0]
    np.testing.assert_allclose(index[1:] / index[:-1] - 1.0, sample.benchmark_returns[1:], rtol=1e-12)


def test_sample_takes_another_benchmark() -> None:
    panel = load_panel("sample", "KO", benchmark="AAPL", start="2022-01-03")
    apple = load_panel("sample", "AAPL").close[:, 0]
    assert panel.benchmark_returns[-1] == pytest.approx(apple[-1] / apple[-2] - 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "smaple"}, "unknown source 'smaple'.*did you mean sample"),
        ({"source": "sampel.parquet"}, "sampel.parquet: no such file or folder; check the path or use sample"),
        ({"source": "prices/spy"}, "prices/spy: no such file or folder"),
        ({"source": "yahoo"}, "yahoo: which symbols. write yahoo:SPY,AAPL"),
        ({"source": "alpaca:S P"}, "'S P' is no symbol"),
        ({"source": "synthetic:planed"}, "no synthetic market 'planed'; did you mean planted"),
        ({"source": "sample", "symbols": "APPL"}, "sample: no symbol APPL; did you mean AAPL"),
        ({"source": "sample", "symbols": "aapl"}, "no symbol aapl; did you mean AAPL"),
        ({"source": "sample", "symbols": " , "}, "no symbols given"),
        ({"source": "sample", "symbols": "KO,KO"}, "symbol KO is given twice"),
        ({"source": "sample", "benchmark": "SP50"}, "no benchmark SP50; did you mean SP500"),
        ({"source": "sample", "start": "2030-01-01"}, "no bars from 2030-01-01 to the end"),
        ({"source": "sample", "start": "01/02/2020"}, "cannot read the date '01/02/2020'; write YYYY-MM-DD"),
        ({"source": "sample", "start": "2020-01-02", "end": "2020-01-02"}, "one bar only .*widen start/end"),
    ],
)
def test_refuses_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_panel(**arguments)
    assert "\n" not in str(caught.value)


def test_importing_the_package_loads_no_pandas() -> None:
    code = "import sys, tradekit.market.sources; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
