"""Ledgers on disk, and what tells two of them apart. A saved ledger is a folder of parquet files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradekit.engine.ledger import ORDER, Ledger
from tradekit.errors import DataError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.panel import FIELDS, Panel, absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BARS, ORDERS, EXTRAS = "bars.parquet", "orders.parquet", "extras.parquet"
_KEY = b"tradekit"


def content_hash(ledger: Ledger) -> str:
    """Return the SHA-256 of everything the ledger says, its bars included: equal if and only if the runs were."""
    digest = hashlib.sha256(json.dumps(_settings(ledger), sort_keys=True).encode())
    for array in (ledger.equity, ledger.cash, *(ledger.orders[name] for name in ORDER.names or ())):
        digest.update(np.ascontiguousarray(array).tobytes())
    if ledger.sleeve_equity is not None:
        digest.update(np.ascontiguousarray(ledger.sleeve_equity).tobytes())
    for name in sorted(ledger.extras):
        digest.update(name.encode() + np.ascontiguousarray(ledger.extras[name]).tobytes())
    return digest.hexdigest()


def _settings(ledger: Ledger) -> dict[str, Any]:
    """Return what a ledger holds beside arrays; the panel by its own hash."""
    return {
        "name": ledger.name,
        "panel": ledger.panel.content_hash,
        "costs": asdict(ledger.cost_model),
        "execution": asdict(ledger.execution),
        "borrow_paid": ledger.borrow_paid,
        "interest_earned": ledger.interest_earned,
        "sleeves": ledger.sleeve_equity is not None,
        "extras": {name: _form(ledger, name) for name in sorted(ledger.extras)},
    }


def _form(ledger: Ledger, name: str) -> list[Any]:
    """Return dtype and shape of a recorded array.

    Raises:
        DataError: it is not an array of numbers.
    """
    array = ledger.extras[name]
    if not (isinstance(array, np.ndarray) and array.dtype.kind in "fiub"):
        raise DataError(f"{ledger.name}: cannot save extras {name!r}; record an array of numbers")
    return [array.dtype.str, list(array.shape)]


def save_ledger(ledger: Ledger, folder: str | Path) -> str:
    """Write ``ledger`` into ``folder``, made if need be, and return its content hash.

    Raises:
        DataError: the folder cannot be written, or an extra is not an array of numbers.
    """
    folder, digest, panel = Path(folder), content_hash(ledger), ledger.panel
    about = _settings(ledger) | {
        "hash": digest,
        "symbols": list(panel.symbols),
        "frequency": panel.frequency,
        "source": panel.source,
        "benchmark_name": panel.benchmark_name,
        "columns": sorted(panel.columns),
        "side": {name: values.ndim for name, values in panel.side.items()},
    }
    bars = pa.table(dict(_columns(ledger))).replace_schema_metadata({_KEY: json.dumps(about)})
    orders = pa.table({name: np.ascontiguousarray(ledger.orders[name]) for name in ORDER.names or ()})
    extras = pa.table({name: [array.ravel()] for name, array in ledger.extras.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(bars, folder / BARS)
        pq.write_table(orders, folder / ORDERS)
        pq.write_table(extras, folder / EXTRAS)
    except OSError as error:
        raise DataError(f"{folder}: cannot write the ledger ({error.strerror}); choose another folder") from error
    return digest


def _columns(ledger: Ledger) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the columns of the bar table; those of a (T, k) array are numbered."""
    panel = ledger.panel
    yield "timestamp", panel.timestamps.astype("M8[ns]")
    yield "close_time", panel.close_time.astype("M8[ns]")
    yield "benchmark", panel.benchmark_returns
    yield "equity", ledger.equity
    yield "cash", ledger.cash
    if panel.spread_multiple is not None:
        yield "spread_multiple", panel.spread_multiple
    arrays = {name: getattr(panel, name) for name in FIELDS if name in panel.columns}
    arrays["tradable"] = panel.tradable
    for name, values in panel.side.items():
        if values.ndim == 1:
            yield f"side {name}", values
        else:
            arrays[f"side {name}"] = values
    if ledger.sleeve_equity is not None:
        arrays["sleeve"] = ledger.sleeve_equity
    for name, array in arrays.items():
        for number in range(array.shape[1]):
            yield f"{name} {number}", np.ascontiguousarray(array[:, number])


def load_ledger(folder: str | Path) -> Ledger:
    """Read the ledger that ``save_ledger`` wrote into ``folder``.

    Raises:
        DataError: a file is missing, truncated, or was changed since it was written.
    """
    folder = Path(folder)
    try:
        bars, orders, extras = (pq.read_table(folder / name) for name in (BARS, ORDERS, EXTRAS))
        about = json.loads((bars.schema.metadata or {})[_KEY])
        ledger = _assembled(bars, orders, extras, about)
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no saved ledger; {Path(error.filename or BARS).name} is missing") from error
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{folder}: not a saved ledger, or a truncated one; save it again") from error
    if content_hash(ledger) != about["hash"]:
        raise DataError(f"{folder}: the ledger was changed after it was saved; save it again")
    return ledger


def _assembled(bars: pa.Table, orders: pa.Table, extras: pa.Table, about: dict[str, Any]) -> Ledger:
    symbols, length = tuple(about["symbols"]), bars.num_rows

    def matrix(name: str, width: int, dtype: str = "f8") -> NDArray[Any]:
        table = np.empty((length, width), dtype)
        for number in range(width):
            table[:, number] = bars[f"{name} {number}"].to_numpy()
        return table

    def field(name: str) -> NDArray[Any]:
        return matrix(name, len(symbols)) if name in about["columns"] else absent(length, len(symbols))

    def series(name: str, dimensions: int) -> NDArray[Any]:
        return bars[name].to_numpy().copy() if dimensions == 1 else matrix(name, len(symbols))

    panel = Panel(
        timestamps=bars["timestamp"].to_numpy().copy(),
        symbols=symbols,
        open=field("open"),
        high=field("high"),
        low=field("low"),
        close=field("close"),
        volume=field("volume"),
        tradable=matrix("tradable", len(symbols), "?"),
        close_time=bars["close_time"].to_numpy().copy(),
        benchmark_returns=bars["benchmark"].to_numpy().copy(),
        benchmark_name=about["benchmark_name"],
        columns=frozenset(about["columns"]),
        frequency=about["frequency"],
        source=about["source"],
        spread_multiple=bars["spread_multiple"].to_numpy().copy() if "spread_multiple" in bars.column_names else None,
        side={name: series(f"side {name}", dimensions) for name, dimensions in about.get("side", {}).items()},
    )
    table = np.zeros(orders.num_rows, ORDER)
    for name in ORDER.names or ():
        table[name] = orders[name].to_numpy()
    return Ledger(
        name=about["name"],
        panel=panel,
        equity=bars["equity"].to_numpy().copy(),
        cash=bars["cash"].to_numpy().copy(),
        orders=table,
        cost_model=CostModel(**about["costs"]),
        execution=ExecutionModel(**about["execution"]),
        sleeve_equity=matrix("sleeve", len(symbols)) if about["sleeves"] else None,
        borrow_paid=about["borrow_paid"],
        interest_earned=about["interest_earned"],
        extras={
            name: extras[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(dtype).reshape(shape)
            for name, (dtype, shape) in about["extras"].items()
        },
    )


@dataclass(frozen=True)
class Difference:
    """The first bar in which two ledgers differ.

    Attributes:
        bar: its row; the length of the shorter ledger when one goes on where the other ends.
        timestamp: its open, readable.
        what: what differs: data, what the strategies recorded, an order and its field, cash or equity.
        left, right: the two values.
        settings: cost and execution settings in which the runs differ, which may be why.
    """

    bar: int
    timestamp: str
    what: str
    left: Any
    right: Any
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        why = f" (the runs differ in {', '.join(self.settings)})" if self.settings else ""
        return f"bar {self.bar}, {self.timestamp}: {self.what} is {self.left} in one and {self.right} in the other{why}"


def first_difference(left: Ledger, right: Ledger, tolerance: float = 0.0) -> Difference | None:
    """Return where two runs over the same symbols part, and in what; None when they agree.

    Within a bar the cause is named before its effect: the data, what the strategies recorded (``extras`` that both
    have), then the orders, then cash, then equity.

    Args:
        left: one ledger.
        right: the other.
        tolerance: largest relative difference of two numbers that counts as none.

    Raises:
        DataError: the ledgers hold other symbols.
    """
    if left.symbols != right.symbols:
        raise DataError(f"{left.name} and {right.name} hold other symbols; compare runs over the same ones")
    bars = min(len(left.equity), len(right.equity))
    found = [item for item in _differences(left, right, bars, tolerance) if item is not None]
    if len(left.equity) != len(right.equity):
        found.append((bars, "number of bars", len(left.equity), len(right.equity)))
    if not found:
        return None
    bar, what, one, other = min(found, key=lambda item: item[0])
    longer = left if len(left.equity) >= len(right.equity) else right
    unit = "D" if longer.panel.is_daily else "m"
    stamp = str(longer.timestamps[bar].astype(f"M8[{unit}]"))
    return Difference(bar, stamp, what, one, other, tuple(_unlike_settings(left, right)))


_Found = tuple[int, str, Any, Any]


def _differences(left: Ledger, right: Ledger, bars: int, tolerance: float) -> Iterator[_Found | None]:
    """Yield the first difference of each kind, causes before effects."""
    yield _unlike("timestamp", left.timestamps[:bars].view("i8"), right.timestamps[:bars].view("i8"), 0.0)
    for name in (*FIELDS, "tradable"):
        one, other = getattr(left.panel, name)[:bars], getattr(right.panel, name)[:bars]
        yield _unlike(name, one, other, 0.0, left.symbols)
    yield _unlike("spread_multiple", _wide(left.panel)[:bars], _wide(right.panel)[:bars], 0.0)
    one, other = left.panel.benchmark_returns, right.panel.benchmark_returns
    yield _unlike("benchmark_returns", one[:bars], other[:bars], 0.0)
    for name in sorted({*left.panel.side} | {*right.panel.side}):
        yield _unlike_series(name, left, right, bars)
    for name in sorted({*left.extras} & {*right.extras}):
        yield _unlike_extra(name, left, right, bars, tolerance)
    yield _unlike_orders(left, right, bars, tolerance)
    yield _unlike("cash", left.cash[:bars], right.cash[:bars], tolerance)
    if left.sleeve_equity is not None and right.sleeve_equity is not None:
        one, other = left.sleeve_equity[:bars], right.sleeve_equity[:bars]
        yield _unlike("equity of the sleeve", one, other, tolerance, left.symbols)
    yield _unlike("equity", left.equity[:bars], right.equity[:bars], tolerance)


def _unlike_series(name: str, left: Ledger, right: Ledger, bars: int) -> _Found | None:
    here, there = name in left.panel.side, name in right.panel.side
    if not (here and there):
        return 0, f"side series {name}", here, there
    one, other = left.panel.side[name], right.panel.side[name]
    if one.ndim != other.ndim:  # one of all symbols against one of each
        one, other = (np.broadcast_to(each.reshape(len(each), -1), left.panel.close.shape) for each in (one, other))
    return _unlike(f"side series {name}", one[:bars], other[:bars], 0.0, left.symbols if one.ndim == 2 else ())


def _unlike_extra(name: str, left: Ledger, right: Ledger, bars: int, tolerance: float) -> _Found | None:
    """Return where what two strategies recorded differs; what one of them did not record is no difference."""
    one, other = left.extras[name], right.extras[name]
    if one.shape[1:] != other.shape[1:]:
        return 0, f"shape of {name}", one.shape, other.shape
    rows = min(bars, len(one), len(other))
    return _unlike(name, one[:rows], other[:rows], tolerance)


def _wide(panel: Panel) -> NDArray[np.float64]:
    """Return (T,) what every bar multiplies the spread by."""
    return np.ones(len(panel)) if panel.spread_multiple is None else panel.spread_multiple


def _unlike(
    what: str, left: NDArray[Any], right: NDArray[Any], tolerance: float, symbols: tuple[str, ...] = ()
) -> _Found | None:
    exact = left.dtype.kind != "f"
    unlike = left != right if exact else ~np.isclose(left, right, rtol=tolerance, atol=0.0, equal_nan=True)
    if not unlike.any():
        return None
    where = tuple(int(k) for k in np.argwhere(unlike)[0])
    of = f"{what} of {symbols[where[1]]}" if symbols else what
    return where[0], of, left[where].item(), right[where].item()


def _unlike_orders(left: Ledger, right: Ledger, bars: int, tolerance: float) -> _Found | None:
    """Return the first order that only one ledger has, or that has another field in the other."""
    tables = [_sorted(ledger.orders[ledger.orders["fill_bar"] < bars]) for ledger in (left, right)]
    keys = ["fill_bar", "portfolio", "symbol", "decision_bar"]
    for one, other in zip(*tables, strict=False):
        if one[keys] != other[keys]:
            first, present = (one, (True, False)) if tuple(one[keys]) < tuple(other[keys]) else (other, (False, True))
            return int(first["fill_bar"]), f"an order for {left.symbols[first['symbol']]}", *present
        for name in (ORDER.names or ())[4:]:
            if not np.isclose(one[name], other[name], rtol=tolerance, atol=0.0, equal_nan=True):
                what = f"{name} of the order for {left.symbols[one['symbol']]}"
                return int(one["fill_bar"]), what, one[name].item(), other[name].item()
    shorter = min(len(table) for table in tables)
    for table, present in zip(tables, ((True, False), (False, True)), strict=True):
        if len(table) > shorter:
            extra = table[shorter]
            return int(extra["fill_bar"]), f"an order for {left.symbols[extra['symbol']]}", *present
    return None


def _sorted(orders: NDArray[np.void]) -> NDArray[np.void]:
    return orders[np.lexsort((orders["symbol"], orders["portfolio"], orders["fill_bar"]))]


def _unlike_settings(left: Ledger, right: Ledger) -> Iterator[str]:
    for one, other in ((left.cost_model, right.cost_model), (left.execution, right.execution)):
        for item in fields(one):
            if getattr(one, item.name) != getattr(other, item.name):
                yield item.name
