"""Reads parquet, csv and DataFrames as they are, refusing next to nothing: what quality checks look at.

``files`` reads what may be traded on and refuses the rest; this reader keeps every row, with unreadable cells as NaN
and unreadable timestamps as NaT, so that a check can name all defects at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tradekit.errors import DataError
from tradekit.market.panel import FIELDS, Panel
from tradekit.market.quality.table import RawTable, from_panel
from tradekit.market.sources.layouts import FIELD_NAMES, SYMBOL_NAMES, TIME_NAMES, plain, unfold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tradekit.market.actions import Actions
    from tradekit.market.panel import Floats, Times

Source = str | os.PathLike[str] | pd.DataFrame | Panel | RawTable
"""What can be read."""

SUFFIXES = (".parquet", ".csv")
_BLANK = frozenset(("", "na", "n/a", "nan", "null", "none", "nat"))
_OFFSET = r":\d\d(?:[.,]\d+)?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)$"
_UTC = frozenset(("UTC", "Z", "+00:00", "Etc/UTC", "GMT", "tzutc()", "UTC+00:00"))


def read_raw(source: Source, name: str | None = None) -> RawTable:
    """Read a file, a folder with one file per symbol, a DataFrame or a panel, row by row as it is.

    Args:
        source: what to read.
        name: of the symbol where the data do not say; the file's own name is the default.

    Raises:
        DataError: it cannot be opened at all, or has no timestamp or no close column.
    """
    if isinstance(source, RawTable):
        return source
    if isinstance(source, Panel):
        return from_panel(source)
    if isinstance(source, pd.DataFrame):
        return _from_frame(_plain_index(source), name or "table", name or "table", lines=False)
    path = Path(source)
    if path.is_dir():
        return _stack([_read_file(item, item.stem) for item in _members(path)], str(path))
    return _read_file(path, name or path.stem)


def open_raw(source: Source) -> RawTable:
    """Read anything that has bars: what ``read_raw`` reads, and the sources that ``load_panel`` knows by name.

    Raises:
        DataError: see ``read_raw`` and ``load_panel``.
    """
    if isinstance(source, (str, os.PathLike)) and not Path(source).exists():
        from tradekit.market.sources import SOURCES, load_panel

        kinds = {known.partition(":")[0] for known in SOURCES}
        # A symbol may end like a file: alpaca:BRK.B.
        if os.fspath(source).partition(":")[0] in kinds or not Path(source).suffix:
            return from_panel(load_panel(source))
    return read_raw(source)


def read_actions(path: str | os.PathLike[str]) -> Actions:
    """Read splits and dividends from a parquet or csv file: timestamp, symbol, and split or dividend or both.

    Rows without an action are passed over, so a price file with these columns will do, or a folder of such files;
    without a symbol column the file's name is the symbol.

    Raises:
        DataError: it cannot be read, or a value in it cannot be.
    """
    from tradekit.market.actions import actions_of

    origin = Path(path)
    tables = []
    for item in _members(origin) if origin.is_dir() else [origin]:
        frame, lines = read_frame(item)
        tables.append(_from_frame(frame, str(item), item.stem, lines, needs=()))
    return actions_of(_stack(tables, str(origin)))


def to_frame(table: RawTable) -> pd.DataFrame:
    """Return a table as a DataFrame: ``timestamp``, ``symbol`` where rows name it, then its numeric columns."""
    frame: dict[str, Any] = {"timestamp": _written_times(table)}
    if table.stated_symbols:
        frame["symbol"] = pd.Series(table.symbols.astype(object), dtype="str")
    own = {name: field for field, names in table.fields.items() for name in names[:1]}
    frame.update({own.get(name, name): values for name, values in table.columns.items()})
    return pd.DataFrame(frame)


def write_raw(table: RawTable, path: str | os.PathLike[str]) -> Path:
    """Write a table as parquet or csv, after its suffix, and return the path.

    Raises:
        DataError: the suffix is another one, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise DataError(f"{target}: neither .parquet nor .csv; give the file one of these endings")
    frame = to_frame(table)
    try:
        if target.suffix.lower() == ".csv":
            frame.to_csv(target, index=False)
        else:
            frame.to_parquet(target, index=False)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}); check the folder") from error
    return target


def _written_times(table: RawTable) -> pd.Series[Any]:
    times = pd.Series(table.times)
    if (table.zones == "").all():
        return times
    if (table.zones != "").all():
        return pd.Series(pd.DatetimeIndex(table.times).tz_localize("UTC"))
    text = np.datetime_as_string(table.times, unit="s")
    written: pd.Series[Any] = pd.Series(np.where(table.zones == "", text, np.char.add(text, "Z")), dtype="str")
    return written


def _members(folder: Path) -> list[Path]:
    files = [item for item in sorted(folder.iterdir()) if item.suffix.lower() in SUFFIXES and item.name[0] != "."]
    if not files:
        raise DataError(f"{folder}: no .parquet or .csv files in this folder; put one file per symbol there")
    return files


def _read_file(path: Path, name: str) -> RawTable:
    frame, lines = read_frame(path)
    return _from_frame(frame, str(path), name, lines)


def read_frame(path: Path) -> tuple[pd.DataFrame, bool]:
    """Return a parquet or csv file as a DataFrame, the csv's cells as text, and whether its rows are lines.

    Raises:
        DataError: it is not there, is neither, or cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; check the path")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: neither .parquet nor .csv; convert it or rename it")
    lines = path.suffix.lower() == ".csv"
    try:
        if lines:
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig"), lines
        return _plain_index(pd.read_parquet(path, engine="pyarrow")), lines
    except (OSError, ValueError) as error:
        # pandas' parser errors and pyarrow's are ValueErrors; their first line says what is wrong.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise DataError(f"{path}: cannot be read ({reason}); download or export it again") from error


def _plain_index(frame: pd.DataFrame) -> pd.DataFrame:
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis(index=TIME_NAMES[0])
    return frame.reset_index(drop=frame.index.names == [None])


def _from_frame(
    frame: pd.DataFrame, origin: str, name: str, lines: bool, needs: tuple[str, ...] = ("close",)
) -> RawTable:
    frame, layout, stated = unfold(frame, origin, name)
    stamps = _only(frame, TIME_NAMES, "timestamp", origin)
    times, zones = read_times(frame[stamps])
    symbol = next((column for column in frame.columns if plain(column) in SYMBOL_NAMES), None)
    symbols = frame[symbol].astype(str).str.strip() if symbol is not None else pd.Series([stated] * len(frame))
    columns, text, other = _numbers(frame, skip=(stamps, symbol))
    fields: dict[str, tuple[str, ...]] = {}
    for own in columns:
        if (field := FIELD_NAMES.get(plain(own))) is not None:
            fields[field] = (*fields.get(field, ()), own)
    for need in needs:
        if need not in fields:
            raise DataError(f"{origin}: no {need} column; it has {_few(frame.columns)}; rename the one that is meant")
    return RawTable(
        origin=origin,
        times=times,
        zones=zones,
        symbols=symbols.to_numpy(dtype=str),
        columns=columns,
        fields={name: fields[name] for name in (*FIELDS, *fields) if name in fields},
        text=text,
        other=other,
        layout=layout,
        counted_in_lines=lines,
        stated_symbols=symbol is not None,
    )


def _only(frame: pd.DataFrame, names: Sequence[str], what: str, origin: str) -> str:
    found = [str(column) for column in frame.columns if plain(column) in names]
    if not found and len(frame.columns) and str(frame.columns[0]).startswith("Unnamed: 0"):
        return str(frame.columns[0])
    if not found:
        raise DataError(f"{origin}: no {what} column; it has {_few(frame.columns)}; rename the one that is meant")
    return found[0]


def _few(columns: pd.Index[Any]) -> str:
    return ", ".join(str(column) for column in columns[:8])


def _numbers(
    frame: pd.DataFrame, skip: tuple[str | None, ...]
) -> tuple[dict[str, Floats], dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Return the numeric columns, the rows whose cell is text, and the names of the columns that hold no numbers."""
    columns: dict[str, Floats] = {}
    text: dict[str, tuple[int, ...]] = {}
    other: list[str] = []
    for name in map(str, frame.columns):
        if name in skip:
            continue
        values, wrong = numbers_of(frame[name])
        if FIELD_NAMES.get(plain(name)) is None and (name.startswith("Unnamed:") or np.isnan(values).all()):
            other.append(name)
            continue
        columns[name] = values
        if len(wrong):
            text[name] = tuple(int(row) for row in wrong)
    return columns, text, tuple(other)


def numbers_of(column: pd.Series[Any]) -> tuple[Floats, NDArray[np.intp]]:
    """Return (R,) a column's numbers, NaN for the rest, and which rows hold text that is neither number nor blank."""
    if column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.empty(0, dtype=np.intp)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    blank = column.isna() | column.astype(str).str.strip().str.lower().isin(_BLANK)
    return values, np.flatnonzero(np.isnan(values) & ~blank.to_numpy())


def read_times(column: pd.Series[Any]) -> tuple[Times, NDArray[np.str_]]:
    """Return (R,) times, UTC where a row names a zone and as written where not, and (R,) the zones."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        utc = column.dt.tz_convert("UTC").dt.tz_localize(None)
        name = str(column.dtype.tz)
        return _ns(utc), np.full(len(column), "UTC" if name in _UTC else name)
    if column.dtype.kind == "M":
        return _ns(column), np.full(len(column), "")
    if column.dtype.kind in "iufb":
        return np.full(len(column), np.datetime64("NaT"), dtype="M8[ns]"), np.full(len(column), "")
    text = column.astype(str).str.strip()
    utc = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
    offsets = text.str.extract(_OFFSET, expand=False).fillna("").map(_offset)
    return _ns(utc), offsets.to_numpy(dtype=str)


def utc_of(times: Times, zone: str, origin: str) -> Times:
    """Return (R,) UTC of the wall clock times (R,) of a zone.

    Raises:
        DataError: an unknown zone, or a time that its clock shows twice or never (when daylight saving changes).
    """
    try:
        local = pd.DatetimeIndex(times).tz_localize(zone, ambiguous="raise", nonexistent="raise")
    except ValueError as error:
        # At both ends of daylight saving; the message names the time.
        raise DataError(f"{origin}: times cannot be those of {zone} ({str(error).splitlines()[0][:80]})") from error
    except KeyError as error:
        raise DataError(f"unknown time zone {zone!r}; write it as America/New_York or UTC") from error
    return local.tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[ns]")


def _ns(column: pd.Series[Any]) -> Times:
    seconds = column.to_numpy().astype("M8[s]")
    # Nanoseconds end in 2262; a date outside any market's is a fault of the writer's unit.
    known = (seconds >= np.datetime64("1900-01-01")) & (seconds < np.datetime64("2100-01-01"))
    times = np.full(len(column), np.datetime64("NaT"), dtype="M8[ns]")
    times[known] = column.to_numpy()[known].astype("M8[ns]")
    return times


def _offset(text: str) -> str:
    if text in ("", "UTC", "Z"):
        return text and "UTC"
    digits = text[1:].replace(":", "").ljust(4, "0")
    return "UTC" if digits == "0000" else f"{text[0]}{digits[:2]}:{digits[2:]}"


def _stack(tables: list[RawTable], origin: str) -> RawTable:
    """Join the tables of a folder; a column that one of them lacks is NaN there."""
    starts = np.cumsum([0, *(len(table) for table in tables)])
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    fields: dict[str, tuple[str, ...]] = {}
    text: dict[str, tuple[int, ...]] = {}
    for start, table in zip(starts, tables, strict=False):
        for field, own in table.fields.items():
            fields[field] = tuple(dict.fromkeys((*fields.get(field, ()), *own)))
        for name, rows in table.text.items():
            text[name] = (*text.get(name, ()), *(row + int(start) for row in rows))
    return RawTable(
        origin=origin,
        times=np.concatenate([table.times for table in tables]),
        zones=np.concatenate([table.zones for table in tables]),
        symbols=np.concatenate([table.symbols for table in tables]),
        columns={name: np.concatenate([_column(table, name) for table in tables]) for name in names},
        fields=fields,
        text=text,
        other=tuple(dict.fromkeys(name for table in tables for name in table.other)),
        layout=next((table.layout for table in tables if table.layout != "long"), "long"),
        counted_in_lines=tables[0].counted_in_lines,
        starts=tuple(int(start) for start in starts[:-1]),
    )


def _column(table: RawTable, name: str) -> Floats:
    return table.columns[name] if name in table.columns else np.full(len(table), np.nan)
