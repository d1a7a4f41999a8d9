"""The metrics of a training run: one row for every update, as a parquet table of numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = "metrics.parquet"
STEP = "step"


def table_of(rows: Sequence[dict[str, Any]], file: Any) -> None:
    """Write ``rows``, numbers by name, as a table; a number that a row lacks or that is not defined is null.

    Columns stand in the order in which rows first name them; ``step`` is an integer, the rest are float64.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    arrays = {name: pa.array([_known(row.get(name)) for row in rows], _kind(name)) for name in columns}
    pq.write_table(pa.table(arrays), file, compression="zstd")


def rows_of(file: Path | Any) -> list[dict[str, Any]]:
    """Return the rows of ``table_of``, without the numbers that are null."""
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _kind(name: str) -> pa.DataType:
    return pa.int64() if name == STEP else pa.float64()


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
