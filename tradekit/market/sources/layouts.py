"""The shapes that vendors and libraries give price tables, turned into one: a row per bar, a column per field.

yfinance alone writes four: columns of (field, ticker) pairs, their text after a round trip through a file, names joined
with the ticker (``Close_SPY``), and a csv whose second and third lines are leftovers of the column index.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Hashable

TIME_NAMES = ("timestamp", "date", "datetime", "time")
SYMBOL_NAMES = ("symbol", "ticker")

FIELD_NAMES = {
    **{name: name for name in ("open", "high", "low", "close", "volume", "adj_close", "dividend", "split")},
    "adjclose": "adj_close",
    "adjusted_close": "adj_close",
    "dividends": "dividend",
    "dividend_amount": "dividend",
    "div_cash": "dividend",
    "splits": "split",
    "stock_splits": "split",
    "split_coefficient": "split",
    "split_factor": "split",
}
"""A column's plain name and the field it holds."""

_PAIR = re.compile(r"^\(\s*'?(.*?)'?\s*,\s*'?(.*?)'?\s*\)$")


def plain(column: Hashable) -> str:
    """Return a column's name in lower case with underscores.

    >>> plain(" Adj Close ")
    'adj_close'
    """
    return str(column).strip().lower().replace(" ", "_")


def unfold(frame: pd.DataFrame, origin: str, name: str) -> tuple[pd.DataFrame, str, str]:
    """Return the table with a row per bar, the layout it had, and the symbol to give rows that name none.

    Args:
        frame: as read, its index reset.
        origin: where it came from, for messages.
        name: the symbol if the table does not say.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        # Levels come as (field, ticker) or (ticker, field); the date has an empty second one.
        levels = {column: (str(column[0]), str(column[1])) for column in frame.columns}
        return _long(frame, {column: _sides(*pair) or pair for column, pair in levels.items()}), "wide", name
    if len(frame) > 1 and plain(frame.columns[0]) == "price" and str(frame.iloc[0, 0]).strip().lower() == "ticker":
        return _second_header(frame, name)
    if any(FIELD_NAMES.get(plain(column)) == "close" for column in frame.columns):
        return frame, "long", name
    pairs: dict[Hashable, tuple[str, str]] = {
        column: pair for column in frame.columns if (pair := _pair(str(column))) is not None
    }
    if not any(FIELD_NAMES.get(plain(field)) == "close" for field, _ in pairs.values()):
        return frame, "long", name
    return _long(frame, {column: pairs.get(column, (str(column), "")) for column in frame.columns}), "wide", name


def _second_header(frame: pd.DataFrame, name: str) -> tuple[pd.DataFrame, str, str]:
    """Read yfinance's csv: a line of tickers under the header, then one that says only Date."""
    tickers = frame.iloc[0, 1:].astype(str).str.strip()
    body = frame.iloc[1:]
    if plain(body.iloc[0, 0]) in TIME_NAMES:
        body = body.iloc[1:]
    time, *fields = (str(column) for column in frame.columns)
    body = body.rename(columns={time: "timestamp"}).reset_index(drop=True)
    # pandas numbers a name that it meets again: Close, Close.1, ...
    pairs: dict[Hashable, tuple[str, str]] = {
        column: (re.sub(r"\.\d+$", "", column), ticker) for column, ticker in zip(fields, tickers, strict=True)
    }
    pairs["timestamp"] = ("timestamp", "")
    return _long(body, pairs), "header", name


def _pair(column: str) -> tuple[str, str] | None:
    """Split a column's name into field and symbol, either way round."""
    written = _PAIR.match(column)
    if written is not None:
        return _sides(written[1], written[2])
    for mark in ("_", " ", "."):
        for parts in (column.split(mark, 1), column.rsplit(mark, 1)):
            if len(parts) == 2 and (found := _sides(parts[0], parts[1])) is not None:
                return found
    return None


def _sides(left: str, right: str) -> tuple[str, str] | None:
    if plain(left) in FIELD_NAMES:
        return left, right
    return (right, left) if plain(right) in FIELD_NAMES else None


def _long(frame: pd.DataFrame, pairs: dict[Hashable, tuple[str, str]]) -> pd.DataFrame:
    """Stack the symbols' columns: a symbol has no row where all its cells are blank."""
    shared = [column for column, (field, symbol) in pairs.items() if not symbol or plain(field) not in FIELD_NAMES]
    symbols = list(dict.fromkeys(symbol for column, (_, symbol) in pairs.items() if column not in shared))
    parts = []
    for symbol in symbols:
        own = {column: field for column, (field, owner) in pairs.items() if owner == symbol and column not in shared}
        part = frame[[*shared, *own]].copy()
        part.columns = pd.Index([*(pairs[column][0] for column in shared), *own.values()])
        cells = part[list(own.values())]
        parts.append(part[~(cells.isna() | (cells == "")).all(axis=1)].assign(symbol=symbol))
    return pd.concat(parts, ignore_index=True)
