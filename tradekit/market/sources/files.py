"""Bars from parquet and csv: a folder with one file per symbol, one file of one symbol, or one long panel.

A long panel has a ``symbol`` column. Columns are found by name, in any case: a timestamp (``timestamp``, ``date``,
``datetime`` or ``time``, or a datetime index), ``close``, and where the data has them ``open``, ``high``, ``low``
and ``volume``; others are ignored. Daily rows carry the session date, intraday rows the bar's open with a time zone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import DataError
from tradekit.market.sources.assemble import Bars, Universe, choose_benchmark, choose_symbols
from tradekit.market.sources.stamps import read_stamps
from tradekit.market.sources.table import SUFFIXES, Table, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Times

# Vendors adjust the four prices of a bar separately, so its high may fall short of its close by a rounding.
ROUNDING = 1e-6


def open_files(source: str, symbols: Sequence[str] | None, benchmark: str | None) -> Universe:
    """Return the universe of a file or folder. A folder's files are read only for the symbols that are needed.

    Raises:
        DataError: a file cannot be used; the message names it, the row and the mend.
    """
    path = Path(source)
    if path.is_file():
        return Universe.choose(source, _read_file(path), symbols, benchmark)
    files = _files(path)
    against = choose_benchmark(source, list(files), benchmark)
    wanted = {*choose_symbols(source, list(files), symbols), *([against] if against else [])}
    bars = {name: _read_member(name, files[name]) for name in sorted(wanted)}
    return Universe.choose(source, bars, symbols or sorted(files), benchmark)


def _files(folder: Path) -> dict[str, Path]:
    try:
        members = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}); check its permissions") from error
    files: dict[str, Path] = {}
    for path in members:
        if not _is_data(path):
            continue
        if path.stem in files:
            raise DataError(f"{folder}: {files[path.stem].name} and {path.name} are both {path.stem}; keep one")
        files[path.stem] = path
    if not files:
        inner = next((item for item in members if item.is_dir() and any(map(_is_data, item.iterdir()))), None)
        hint = f"did you mean {inner}?" if inner else "put one .parquet or .csv file per symbol there"
        raise DataError(f"{folder}: no .parquet or .csv files in this folder; {hint}")
    return files


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _read_file(path: Path) -> dict[str, Bars]:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: neither .parquet nor .csv; convert it or rename it")
    table = read_table(path)
    if table.symbols is None:
        return {path.stem: _bars(table, path.stem, np.arange(len(table.stamps)))}
    blank = (table.symbols == "").to_numpy()
    if blank.any():
        raise DataError(f"{table.where(int(np.argmax(blank)))}: symbol is blank; name it or drop that row")
    codes, names = table.symbols.factorize()
    rows = np.argsort(codes, kind="stable")
    groups = np.split(rows, np.searchsorted(codes[rows], np.arange(1, len(names))))
    return _all_bars(table, dict(zip(map(str, names), groups, strict=True)))


def _read_member(name: str, path: Path) -> Bars:
    """Read a folder's file: one symbol, which its name says; a symbol column may only repeat it."""
    bars = _read_file(path)
    if set(bars) != {name}:
        raise DataError(f"{path}: its symbol column holds {', '.join(list(bars)[:3])}; give this file as the source")
    return bars[name]


def _bars(table: Table, name: str, rows: NDArray[np.intp]) -> Bars:
    return _all_bars(table, {name: rows})[name]


def _all_bars(table: Table, groups: dict[str, NDArray[np.intp]]) -> dict[str, Bars]:
    stamps = read_stamps(table.stamps, table.where)
    columns = {name: table.numbers(name) for name in table.columns}
    _check_shape(table, columns)
    bars = {}
    for name, rows in groups.items():
        _check_order(table, name, stamps.times[rows], rows)
        own = {column: values[rows] for column, values in columns.items()}
        bars[name] = Bars(name, str(table.path), stamps.times[rows], own, stamps.zone)
    return bars


def _check_order(table: Table, name: str, times: Times, rows: NDArray[np.intp]) -> None:
    steps = np.diff(times).astype(np.int64)
    for fault, wrong, mend in (
        ("is earlier than the row before", steps < 0, "sort the rows by time"),
        ("appears twice", steps == 0, "keep one row for each timestamp"),
    ):
        if wrong.any():
            row = int(rows[np.argmax(wrong) + 1])
            raise DataError(f"{table.where(row)}: timestamp {table.stamps.iloc[row]} of {name} {fault}; {mend}")


def _check_shape(table: Table, columns: dict[str, Floats]) -> None:
    """Refuse bars whose low is above, or whose high is below, one of the bar's other prices."""
    for edge, sign in (("high", 1.0), ("low", -1.0)):
        for other in ("open", "high", "low", "close"):
            if edge not in columns or other not in columns:
                continue
            beyond = sign * (columns[other] - columns[edge]) > ROUNDING * columns["close"]
            if beyond.any():
                row, side = int(np.argmax(beyond)), "below" if sign > 0 else "above"
                table.refuse(row, f"{edge} {columns[edge][row]:g} is {side} {other} {columns[other][row]:g}")
