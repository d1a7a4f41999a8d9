"""Other futures of a panel: the same bars up to a cut, and bars after it that differ as much as bars can."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.features import SIDE
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel

    Later = NDArray[np.bool_]

# Whatever of a bar can be known; each can be changed by itself.
COLUMNS = (*FIELDS, "benchmark_returns", "spread_multiple", "tradable", "timestamps")
_WIDER = 0.05


def columns_of(panel: Panel) -> tuple[str, ...]:
    """Return what can be changed of ``panel``: ``COLUMNS``, and each of its side series as ``side:NAME``."""
    return (*COLUMNS, *(f"{SIDE}{name}" for name in panel.side))


def futures(panel: Panel, cut: int, columns: tuple[str, ...] | None = None) -> Iterator[Panel]:
    """Yield copies of ``panel`` whose bars after row ``cut`` differ in ``columns``, by default in all.

    In the first all numbers are three times as high, in the second as low, so that every comparison of a bar with a
    later one turns out the same way for all symbols. In the third each number is multiplied by noise of its own, so
    that ratios within and between later bars change too. In the last half of the later bars are missing and none can be
    traded, and time goes on three days later; not every strategy can read it.
    """
    later, noise = np.arange(len(panel)) > cut, np.random.default_rng(cut)
    columns = columns_of(panel) if columns is None else columns
    if set(columns) - {"tradable", "timestamps"}:
        for factor in (3.0, 1.0 / 3.0):
            yield replace(panel, **_scaled(panel, later, columns, factor))
        yield replace(panel, **_noisy(panel, later, columns, noise))
    if {"tradable", "timestamps"} & set(columns):
        yield replace(panel, **_sparse(panel, later, columns, noise))


def _scaled(panel: Panel, later: Later, columns: tuple[str, ...], factor: float) -> dict[str, Any]:
    changed: dict[str, Any] = {
        name: np.where(later[:, None], getattr(panel, name) * factor, getattr(panel, name))
        for name in FIELDS
        if name in columns and name in panel.columns
    }
    changed |= _series(panel, later, columns, lambda values: values * factor + np.log(factor))
    return changed | _sides(panel, later, columns, np.full(len(panel), np.log(factor) / 10))


def _noisy(panel: Panel, later: Later, columns: tuple[str, ...], noise: np.random.Generator) -> dict[str, Any]:
    shape = panel.close.shape
    common = np.exp(noise.normal(0.0, 0.2, shape))
    drawn: dict[str, Floats] = {}
    for name in FIELDS:
        if name in columns and name in panel.columns:
            own = 0.2 if name == "volume" or len(columns) == 1 else _WIDER
            scale = common if name == "close" else (1.0 if name == "volume" else common)
            drawn[name] = (
                getattr(panel, name) * scale * (1.0 if name == "close" else np.exp(noise.normal(0, own, shape)))
            )
    if {"open", "high", "low", "close"} <= drawn.keys():  # as bars are, for strategies that rely on it
        drawn["high"] = np.maximum(drawn["high"], np.maximum(drawn["open"], drawn["close"]))
        drawn["low"] = np.minimum(drawn["low"], np.minimum(drawn["open"], drawn["close"]))
    changed: dict[str, Any] = {
        name: np.where(later[:, None], rows, getattr(panel, name)) for name, rows in drawn.items()
    }
    changed |= _sides(panel, later, columns, noise.normal(0.0, 0.05, len(panel)))
    return changed | _series(
        panel, later, columns, lambda values: values + noise.normal(0.0, _spread(values), values.shape)
    )


def _series(panel: Panel, later: Later, columns: tuple[str, ...], change: Callable[[Floats], Floats]) -> dict[str, Any]:
    """Return the side series, those in ``columns`` after ``change``; they may be 0, negative and NaN."""
    side = dict(panel.side)
    for name, values in panel.side.items():
        if f"{SIDE}{name}" in columns:
            side[name] = np.where(later if values.ndim == 1 else later[:, None], change(values), values)
    return {"side": side}


def _spread(values: Floats) -> float:
    """Return how far values lie apart, 1 where they do not."""
    known = values[np.isfinite(values)]
    return float(known.std()) or 1.0 if len(known) else 1.0


def _sides(panel: Panel, later: Later, columns: tuple[str, ...], shift: Floats) -> dict[str, Any]:
    """Return the changed columns that have one number a bar."""
    changed: dict[str, Any] = {}
    if "benchmark_returns" in columns:
        changed["benchmark_returns"] = np.where(later, panel.benchmark_returns + shift, panel.benchmark_returns)
    if "spread_multiple" in columns and panel.spread_multiple is not None:
        changed["spread_multiple"] = np.where(later, panel.spread_multiple * np.exp(shift), panel.spread_multiple)
    return changed


def _sparse(panel: Panel, later: Later, columns: tuple[str, ...], noise: np.random.Generator) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if "tradable" in columns:
        gone = later[:, None] & (noise.random(panel.close.shape) < 0.5)
        changed = {name: np.where(gone, np.nan, getattr(panel, name)) for name in FIELDS if name in panel.columns}
        changed["tradable"] = panel.tradable & ~later[:, None]
    if "timestamps" in columns:
        delay = np.where(later, np.timedelta64(3, "D"), np.timedelta64(0, "D")).astype("m8[ns]")
        changed |= {name: getattr(panel, name) + delay for name in ("timestamps", "close_time")}
    return changed
