"""Reads one parquet or csv file into columns with canonical names, and says where a row stands in it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from tradekit.errors import DataError
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats

TIME_NAMES = ("timestamp", "date", "datetime", "time")
SUFFIXES = (".parquet", ".csv")
_BLANK = frozenset(("", "na", "n/a", "nan", "null", "none"))


@dataclass(frozen=True, eq=False)
class Table:
    """A file's columns as written, under lower-case names.

    Attributes:
        path: the file.
        stamps: its timestamp column, R rows.
        symbols: its symbol column (R,), or None.
        columns: those of open, high, low, close, volume that it has, each with R rows.
    """

    path: Path
    stamps: pd.Series[Any]
    symbols: pd.Series[str] | None
    columns: dict[str, pd.Series[Any]]

    def where(self, row: int) -> str:
        """Name row ``row`` (from 0) for a message: the line of a csv, the row (from 1) of a parquet file."""
        place = f"line {row + 2}" if self.path.suffix.lower() == ".csv" else f"row {row + 1}"
        return f"{self.path}, {place}"

    def numbers(self, name: str) -> Floats:
        """Return column ``name`` as (R,) float64.

        Raises:
            DataError: a value is missing, not a number, infinite, negative, or a price of zero.
        """
        values = _floats(self.columns[name])
        low, below = ("negative", values < 0) if name == "volume" else ("not positive", values <= 0)
        faults = {"blank or not a number": np.isnan(values), "infinite": np.isinf(values), low: below}
        for fault, wrong in faults.items():
            if wrong.any():
                row = int(np.argmax(wrong))
                self.refuse(row, f"{name} is {fault} ({self.columns[name].iloc[row]!s})")
        return values

    def refuse(self, row: int, fault: str) -> NoReturn:
        """Raise DataError for ``row``."""
        raise DataError(f"{self.where(row)} ({self.stamps.iloc[row]}): {fault}; correct or drop that row")


def read_table(path: Path) -> Table:
    """Read a file.

    Raises:
        DataError: it cannot be read, is empty, or lacks a timestamp or a close.
    """
    frame = _read(path)
    names = _canonical(path, frame)
    if frame.empty:
        raise DataError(f"{path}: no rows; the file holds only a header")
    symbols = frame[names["symbol"]].astype(str).str.strip() if "symbol" in names else None
    stamps = frame[names["timestamp"]].rename("timestamp")
    return Table(path, stamps, symbols, {name: frame[names[name]] for name in FIELDS if name in names})


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty; download or export it again")
        return _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; save the csv again as UTF-8") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        # pyarrow and pandas raise these for truncated, corrupt and unreadable files; their first line says which.
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); download or export it again") from error


def _read_csv(path: Path) -> pd.DataFrame:
    # Text only: a value is converted here, where a bad one can be named by its line, and the same number is read
    # from a csv as from a parquet file. Without index_col=False a row with a stray field shifts every column.
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path, engine="pyarrow")
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame.index.name = TIME_NAMES[0]
    return frame.reset_index(drop=frame.index.names == [None])


def _canonical(path: Path, frame: pd.DataFrame) -> dict[str, str]:
    """Map timestamp, symbol and the fields to the file's own column names."""
    names: dict[str, str] = {}
    for column in frame.columns:
        plain = str(column).strip().lower()
        name = "timestamp" if plain in TIME_NAMES else plain
        if name not in ("timestamp", "symbol", *FIELDS):
            continue
        if name in names:
            raise DataError(f"{path}: two columns for {name} ({names[name]} and {column}); keep one")
        names[name] = str(column)
    # pandas writes an unnamed date index as a first column without a name.
    if "timestamp" not in names and len(frame.columns) and str(frame.columns[0]).startswith("Unnamed: 0"):
        names["timestamp"] = str(frame.columns[0])
    for name in ("timestamp", "close"):
        if name not in names:
            held = ", ".join(str(column) for column in frame.columns[:8])
            raise DataError(f"{path}: no {name} column; it has {held}; rename the one that is meant")
    return names


def _floats(column: pd.Series[Any]) -> Floats:
    """Return (R,) float64; what is not a number becomes NaN, which the caller refuses by row."""
    if column.dtype.kind in "iuf":
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array([_number(value) for value in column.to_numpy(dtype=object)], dtype=np.float64)


def _number(value: object) -> float:
    """Return the number that a cell holds, NaN if it holds none."""
    text = str(value).strip()
    if text.lower() in _BLANK or "_" in text:
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return float("nan")
