"""The embedded sample: 20 large US stocks and the S&P 500 index, daily closes, 1990-01-02 to 2022-12-28.

It ships inside skfolio (BSD-3-Clause) and is read from the installed package; nothing is downloaded. Prices are
adjusted closes of companies chosen because they are large today, so it carries survivorship bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.sources.assemble import Bars, Universe

if TYPE_CHECKING:
    import pandas as pd

INDEX = "SP500"


def open_sample(symbols: tuple[str, ...] | None, benchmark: str | None) -> Universe:
    """Return the sample's universe with the S&P 500 as its benchmark.

    Raises:
        DataError: a symbol is neither one of the 20 nor the index.
    """
    from skfolio.datasets import load_sp500_dataset, load_sp500_index

    stocks, index = load_sp500_dataset(), load_sp500_index()
    bars = {str(name): _bars(str(name), stocks[name]) for name in stocks.columns}
    return Universe.choose(
        "sample", {**bars, INDEX: _bars(INDEX, index[INDEX])}, symbols, benchmark or INDEX, aside=(INDEX,)
    )


def _bars(name: str, closes: pd.Series[float]) -> Bars:
    times = closes.index.to_numpy().astype("M8[ns]")
    return Bars(name, "sample", times, {"close": np.asarray(closes, dtype=np.float64)}, zone="")
