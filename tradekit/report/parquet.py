"""A Record's arrays as parquet files and back, every float to its last bit.

equity.parquet   one row per strategy, scenario and bar
costs.parquet    one row per strategy, scenario and bar in which something filled: dollars traded, fills, cost by term
orders.parquet   one row per order of the base scenario, rejected ones included
windows.parquet  one row per strategy and walk-forward window
trades.parquet   one row per round trip of the base scenario, from flat to flat, those still open included
actions.parquet  one row per decision and symbol of a policy: the action chosen, the one executed, and why
trials.parquet   one row per bar and trial of an earlier run that could have been picked instead, where there are such
paths.parquet    of a cross-validation, one row per strategy, path and bar: equity at its close
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tradekit.market.costs import TERMS
from tradekit.report.other_trials import OtherTrial
from tradekit.report.paths import Paths
from tradekit.report.record import ORDER_NUMBERS, Actions, Orders, Record, Track, WindowRow
from tradekit.report.trades import RoundTrip, round_trips

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAMES = ("equity", "costs", "orders", "windows", "actions")
STAMP = pa.timestamp("ns")
PATHS, TRIALS = "paths", "trials"
_WINDOW_TIMES = ("train_start", "train_end", "test_start", "test_end")


def names_of(record: Record) -> tuple[str, ...]:
    """Return the names of the tables of ``record``."""
    return (*NAMES, *((PATHS,) if record.paths else ()), *((TRIALS,) if record.others else ()))


def write_tables(record: Record, folder: Path) -> None:
    """Write the tables of ``record`` into ``folder``.

    Raises:
        OSError: the folder cannot be written.
    """
    tables = {
        "equity": _equity(record.tracks),
        "costs": _costs(record.tracks),
        "orders": _orders(record.orders),
        "windows": _windows(record.windows),
        "actions": _actions(record.actions),
    }
    if record.paths:
        tables[PATHS] = _paths(record)
    if record.others:
        tables[TRIALS] = _trials(record)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def write_trades(orders: Orders, folder: Path) -> None:
    """Write trades.parquet, the round trips that ``orders`` made; what is not known yet is null.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = round_trips(orders)
    kinds = dict.fromkeys(("entered", "exited"), STAMP) | dict.fromkeys(("strategy", "symbol", "side"), pa.string())
    columns = {
        name: pa.array(
            [getattr(row, name) for row in rows],
            kinds.get(name, pa.int64() if name == "fills" else pa.float64()),
            from_pandas=True,
        )
        for name in RoundTrip._fields
    }
    pq.write_table(pa.table(columns), folder / "trades.parquet", compression="zstd")


def read_tables(manifest: dict[str, Any], folder: Path) -> Record:
    """Return the record that ``write_tables`` wrote.

    Raises:
        OSError, pyarrow.ArrowInvalid, KeyError: a file is missing or is not what was written.
    """
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in NAMES}
    return Record(
        manifest=manifest,
        tracks=tuple(_read_tracks(tables["equity"], tables["costs"], manifest["scored_from"])),
        orders=_read_orders(tables["orders"]),
        windows=tuple(_read_windows(tables["windows"])),
        actions=tuple(_read_actions(tables["actions"])),
        paths=tuple(_read_paths(manifest, folder)),
        others=tuple(_read_trials(manifest, folder)),
    )


def _keys(tracks: Sequence[Track], lengths: Sequence[int]) -> dict[str, Any]:
    """Return the strategy and scenario columns of tracks that have ``lengths`` rows each."""
    return {
        name: pa.DictionaryArray.from_arrays(
            pa.array(np.repeat(np.arange(len(tracks)), lengths), pa.int32()),
            pa.array([getattr(track, name) for track in tracks], pa.string()),
        ).dictionary_decode()
        for name in ("strategy", "scenario")
    }


def _joined(columns: Sequence[Any], kind: str = "f8") -> Any:
    return np.concatenate(columns) if columns else np.empty(0, kind)


def _equity(tracks: Sequence[Track]) -> Any:
    return pa.table(
        {
            **_keys(tracks, [len(track.equity) for track in tracks]),
            "timestamp": pa.array(_joined([track.timestamps for track in tracks], "M8[ns]"), STAMP),
            "equity": _joined([track.equity for track in tracks]),
            "cash": _joined([track.cash for track in tracks]),
            "exposure": _joined([track.exposure for track in tracks]),
            "benchmark_return": _joined([track.benchmark for track in tracks]),
        }
    )


def _costs(tracks: Sequence[Track]) -> Any:
    rows = [np.flatnonzero(track.fills) for track in tracks]
    both = list(zip(tracks, rows, strict=True))
    return pa.table(
        {
            **_keys(tracks, [len(kept) for kept in rows]),
            "timestamp": pa.array(_joined([track.timestamps[kept] for track, kept in both], "M8[ns]"), STAMP),
            "fills": _joined([track.fills[kept] for track, kept in both], "i8"),
            "traded": _joined([track.traded[kept] for track, kept in both]),
            **{term: _joined([track.costs[kept, column] for track, kept in both]) for column, term in enumerate(TERMS)},
        }
    )


def _read_tracks(equity: Any, costs: Any, scored_from: dict[str, int]) -> Iterator[Track]:
    pairs = equity.select(["strategy", "scenario"]).group_by(["strategy", "scenario"], use_threads=False).aggregate([])
    for strategy, scenario in zip(*(pairs[name].to_pylist() for name in ("strategy", "scenario")), strict=True):
        mine = (pc.field("strategy") == strategy) & (pc.field("scenario") == scenario)
        bars, spent = equity.filter(mine), costs.filter(mine)
        times = _numpy(bars, "timestamp")
        rows = np.searchsorted(times, _numpy(spent, "timestamp"))

        yield Track(
            strategy=strategy,
            scenario=scenario,
            timestamps=times,
            equity=_numpy(bars, "equity"),
            cash=_numpy(bars, "cash"),
            exposure=_numpy(bars, "exposure"),
            benchmark=_numpy(bars, "benchmark_return"),
            traded=_spread(spent, "traded", rows, len(times)),
            fills=_spread(spent, "fills", rows, len(times)),
            costs=np.stack([_spread(spent, term, rows, len(times)) for term in TERMS], axis=1),
            scored_from=scored_from[scenario],
        )


def _spread(table: Any, name: str, rows: Any, bars: int) -> Any:
    """Return (T,) a column of costs.parquet at its bars and 0 elsewhere."""
    values = _numpy(table, name)
    column = np.zeros(bars, values.dtype)
    column[rows] = values
    return column


def _orders(orders: Orders) -> Any:
    return pa.table(
        {
            "strategy": pa.array(orders.strategy, pa.string()),
            "symbol": pa.array(orders.symbol, pa.string()),
            "decided": pa.array(orders.decided, STAMP),
            "filled": pa.array(orders.filled, STAMP),
            **orders.numbers,
            "reason": pa.array(orders.reason, pa.string()),
        }
    )


def _read_orders(table: Any) -> Orders:
    return Orders(
        strategy=_words(table, "strategy"),
        symbol=_words(table, "symbol"),
        decided=_numpy(table, "decided"),
        filled=_numpy(table, "filled"),
        numbers={name: _numpy(table, name) for name in ORDER_NUMBERS},
        reason=_words(table, "reason"),
    )


def _windows(windows: Sequence[WindowRow]) -> Any:
    kinds = dict.fromkeys(_WINDOW_TIMES, STAMP) | {"strategy": pa.string(), "failure": pa.string()}
    return pa.table(
        {
            name: pa.array([getattr(row, name) for row in windows], kinds.get(name, pa.int64()))
            for name in WindowRow._fields
        }
    )


def _read_windows(table: Any) -> Iterator[WindowRow]:
    columns = {
        name: _numpy(table, name) if name in _WINDOW_TIMES else table[name].to_pylist() for name in WindowRow._fields
    }
    for values in zip(*columns.values(), strict=True):
        yield WindowRow(*values)


def _actions(actions: Sequence[Actions]) -> Any:
    return pa.table(
        {
            "strategy": pa.array([one.strategy for one in actions for _ in range(one.chosen.size)], pa.string()),
            "timestamp": pa.array(
                _joined([np.repeat(one.timestamps, len(one.symbols)) for one in actions], "M8[ns]"), STAMP
            ),
            "symbol": pa.array([name for one in actions for _ in one.timestamps for name in one.symbols], pa.string()),
            "chosen": _joined([one.chosen.ravel() for one in actions], "i8"),
            "executed": _joined([one.executed.ravel() for one in actions], "i8"),
            "reason": _joined([one.reason.ravel() for one in actions], "i8"),
        }
    )


def _read_actions(table: Any) -> Iterator[Actions]:
    for strategy in dict.fromkeys(table["strategy"].to_pylist()):
        mine = table.filter(pc.field("strategy") == strategy)
        symbols = tuple(dict.fromkeys(mine["symbol"].to_pylist()))
        told = (_numpy(mine, name).reshape(-1, len(symbols)) for name in ("chosen", "executed", "reason"))
        yield Actions(strategy, _numpy(mine, "timestamp")[:: len(symbols)], symbols, *told)


def _paths(record: Record) -> Any:
    shapes = [one.equity.shape for one in record.paths]
    times = [np.tile(record.base[one.strategy].timestamps, len(one.equity)) for one in record.paths]
    owner = np.repeat(np.arange(len(shapes)), [paths * bars for paths, bars in shapes])
    names = pa.array([one.strategy for one in record.paths], pa.string())
    numbers = [np.repeat(np.arange(1, paths + 1), bars) for paths, bars in shapes]
    return pa.table(
        {
            "strategy": pa.DictionaryArray.from_arrays(pa.array(owner, pa.int32()), names).dictionary_decode(),
            "path": np.concatenate(numbers),
            "timestamp": pa.array(np.concatenate(times), STAMP),
            "equity": np.concatenate([one.equity.ravel() for one in record.paths]),
        }
    )


def _read_paths(manifest: dict[str, Any], folder: Path) -> Iterator[Paths]:
    if f"{PATHS}.parquet" not in manifest["digests"]:
        return
    table = pq.read_table(folder / f"{PATHS}.parquet")
    for strategy in pc.unique(table["strategy"]).to_pylist():
        mine = table.filter(pc.field("strategy") == strategy)
        yield Paths(strategy, _numpy(mine, "equity").reshape(pc.max(mine["path"]).as_py(), -1))


def _trials(record: Record) -> Any:
    lengths = [len(one.equity) for one in record.others]
    return pa.table(
        {
            **{
                name: pa.array(np.repeat([getattr(one, name) for one in record.others], lengths), pa.string())
                for name in ("key", "name")
            },
            "timestamp": pa.array(np.concatenate([one.timestamps for one in record.others]), STAMP),
            "equity": np.concatenate([one.equity for one in record.others]),
        }
    )


def _read_trials(manifest: dict[str, Any], folder: Path) -> Iterator[OtherTrial]:
    if f"{TRIALS}.parquet" not in manifest["digests"]:
        return
    table = pq.read_table(folder / f"{TRIALS}.parquet")
    for key in pc.unique(table["key"]).to_pylist():
        mine = table.filter(pc.field("key") == key)
        yield OtherTrial(key, mine["name"][0].as_py(), _numpy(mine, "timestamp"), _numpy(mine, "equity"))


def _numpy(table: Any, name: str) -> Any:
    return table[name].to_numpy()


def _words(table: Any, name: str) -> Any:
    return np.array(table[name].to_pylist(), np.str_)
