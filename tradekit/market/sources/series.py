"""Reads side series (an index, a rate, a score by symbol) from parquet or csv and puts them beside a panel's bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import DataError, suggest
from tradekit.market.side import join_as_of, join_by_symbol
from tradekit.market.sources.layouts import SYMBOL_NAMES, TIME_NAMES, plain
from tradekit.market.sources.raw import numbers_of, read_frame, read_times

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel, Times
    from tradekit.market.side_series import SideSeries


def attach(panel: Panel, side: Sequence[SideSeries]) -> Panel:
    """Return the panel with the series beside its bars, each joined as of its dates.

    Raises:
        DataError: a file cannot be read, or does not fit the bars; the message names it.
    """
    for one in side:
        dates, values, symbols = read_series(one.file, one.column)
        lag, age = one.lag_sessions, one.max_age_sessions
        try:
            if symbols is None:
                joined = join_as_of(panel, dates, values, lag, age)
            else:
                joined = join_by_symbol(panel, symbols, dates, values, lag, age)
        except DataError as error:
            raise DataError(f"{one.file}: {error}") from error
        panel = panel.with_side(one.name, joined)
    return panel


def read_series(path: str | os.PathLike[str], column: str) -> tuple[Times, Floats, NDArray[np.str_] | None]:
    """Return dates (S,), values (S,) and symbols (S,) of a column; None where the file names no symbols.

    Blank values stay NaN: they were not published.

    Raises:
        DataError: the file cannot be read, lacks the column, or a date in it cannot be read.
    """
    origin = Path(path)
    frame, _ = read_frame(origin)
    names = {plain(name): str(name) for name in frame.columns}
    if plain(column) not in names:
        raise DataError(f"{origin}: no column {column}; {suggest(plain(column), names)}")
    stamp = next((names[name] for name in TIME_NAMES if name in names), None)
    if stamp is None:
        raise DataError(f"{origin}: no timestamp column; it has {', '.join(names)}; rename the one that is meant")
    times, _ = read_times(frame[stamp])
    if np.isnat(times).any():
        raise DataError(f"{origin}: row {int(np.argmax(np.isnat(times))) + 1} has no readable date; write YYYY-MM-DD")
    values, wrong = numbers_of(frame[names[plain(column)]])
    if len(wrong):
        raise DataError(f"{origin}: {column} in row {int(wrong[0]) + 1} is not a number; correct it or leave it blank")
    owner = next((names[name] for name in SYMBOL_NAMES if name in names), None)
    return times, values, None if owner is None else frame[owner].astype(str).str.strip().to_numpy(dtype=str)
