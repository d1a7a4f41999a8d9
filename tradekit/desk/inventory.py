"""What a panel holds, in plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tradekit.market.panel import Panel


def inventory(panel: Panel) -> dict[str, Any]:
    """Return the panel's identity, and for each symbol its bars, the holes between them, and its dates."""
    first, last = panel.span.split(" to ")
    return {
        "source": panel.source,
        "frequency": panel.frequency,
        "bars": len(panel),
        "sessions": int(panel.sessions[-1]) + 1,
        "start": first,
        "end": last,
        "columns": sorted(panel.columns),
        "fills_at": "open" if panel.has_open else "close",
        "benchmark": panel.benchmark_name,
        "hash": panel.content_hash,
        "symbols": [_symbol(panel, column) for column in range(len(panel.symbols))],
    }


def _symbol(panel: Panel, column: int) -> dict[str, Any]:
    rows = np.flatnonzero(~np.isnan(panel.close[:, column]))
    unit = "D" if panel.is_daily else "m"
    ends = (
        [str(panel.timestamps[row].astype(f"M8[{unit}]")) for row in (rows[0], rows[-1])] if len(rows) else [None] * 2
    )
    return {
        "symbol": panel.symbols[column],
        "bars": len(rows),
        "missing": int(rows[-1] - rows[0] + 1 - len(rows)) if len(rows) else len(panel),
        "start": ends[0],
        "end": ends[1],
        "last_close": float(panel.close[rows[-1], column]) if len(rows) else None,
    }


def inventory_table(held: dict[str, Any]) -> list[RenderableType]:
    """Return an inventory as text and a table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Symbol", "Bars", "Missing", "First", "Last", "Last close"):
        table.add_column(name, justify="left" if name == "Symbol" else "right", no_wrap=True)
    for one in held["symbols"]:
        close = "" if one["last_close"] is None else f"{one['last_close']:,.2f}"
        table.add_row(one["symbol"], str(one["bars"]), str(one["missing"]), one["start"], one["end"], close)
    bars = f"{held['bars']} bars of {held['frequency']} in {held['sessions']} sessions"
    return [
        f"{held['source']}: {bars}, {held['start']} to {held['end']}",
        f"columns {', '.join(held['columns'])}; orders fill at the {held['fills_at']}; benchmark {held['benchmark']}",
        f"hash {held['hash']}",
        "",
        table,
    ]
