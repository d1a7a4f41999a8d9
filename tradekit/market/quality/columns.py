"""Checks of columns: two that say the same or disagree, layouts with leftovers, an adj_close that adjusts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.quality.findings import Finding, count, finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.market.quality.bars import SymbolBars
    from tradekit.market.quality.table import RawTable

INDEX_NAMES = ("index", "level_0")


def check_columns(table: RawTable) -> Iterator[Finding]:
    """Yield parallel columns, index columns and layouts other than one row per bar."""
    if table.layout != "long":
        text = {
            "wide": "one column for each field and symbol, side by side; stack them into a symbol column",
            "header": "a second header line names the symbol, as yfinance writes csv; make it a symbol column",
        }[table.layout]
        yield Finding("layout", "error", "", text, repair="stack_columns")
    left = [name for name in table.other if name.startswith("Unnamed:") or name.lower() in INDEX_NAMES]
    left += [name for name in table.columns if name.lower() in INDEX_NAMES]
    if left:
        yield Finding("index_column", "note", "", f"{', '.join(left)}: a row index that was written as data; ignored")
    for field, own in table.fields.items():
        for other in own[1:]:
            yield from _parallel(table, field, own[0], other)


def _parallel(table: RawTable, field: str, first: str, second: str) -> Iterator[Finding]:
    one, two = table.columns[first], table.columns[second]
    both = ~np.isnan(one) & ~np.isnan(two)
    differ = np.flatnonzero(both & (one != two))
    alone = np.flatnonzero(~np.isnan(one) & np.isnan(two)), np.flatnonzero(np.isnan(one) & ~np.isnan(two))
    text = (
        f"two columns for {field}: {first} and {second} agree in {both.sum() - len(differ)} rows, differ in "
        f"{len(differ)}, and {len(alone[0])} and {len(alone[1])} rows have only one; merge them"
    )
    share = len(differ) / max(int(both.sum()), 1)
    yield finding("parallel_columns", "error", table, "", differ, text, share, repair="merge_columns")


def check_adj_close(bars: SymbolBars) -> Iterator[Finding]:
    """Yield a symbol whose adj_close only repeats its close: no dividend in its range, or nothing adjusted."""
    if not bars.table.has("adj_close"):
        return
    adjusted = bars.value("adj_close")
    blank = bars.rows[np.isnan(adjusted)]
    if len(blank):
        text = f"adj_close is blank in {count(blank, 'row')}, first {bars.table.stamp(int(blank[0]))}"
        yield finding("value", "warning", bars.table, bars.symbol, blank, text)
    elif bool(np.allclose(adjusted, bars.close, rtol=1e-9, atol=0.0)):
        text = f"{bars.symbol}: adj_close repeats close in every row: no dividend in this range, or nothing is adjusted"
        yield Finding("parallel_columns", "note", bars.symbol, text)
