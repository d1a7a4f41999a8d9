"""Checks of cells: blanks, impossible prices, highs below lows, bars without trades, prices that stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.market.quality.findings import count, finding
from tradekit.market.quality.jumps import runs
from tradekit.market.quality.table import PRICES, usable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats
    from tradekit.market.quality.bars import SymbolBars
    from tradekit.market.quality.findings import Finding, Severity
    from tradekit.market.quality.table import RawTable

# Vendors adjust the four prices of a bar one by one, so they may cross by a rounding of the sixth digit.
ROUNDING = 1e-6
# Up to this share of bars without volume is a vendor's hiccup; above it, a symbol that does not trade every bar.
FEW = 0.01
# Bars that repeat the close before in all four prices: two may happen in a quiet stock, three are a feed at rest.
STALE_BARS = 3
# Repeated closes without highs and lows: runs so long that chance gives one in a hundred such tables, with the share of
# repeats that the symbol's quietest year has (in eighths of a dollar one close in five repeats).
STALE_CHANCE, MOST_EQUAL, YEAR = 0.01, 0.5, 252


def check_cells(table: RawTable) -> Iterator[Finding]:
    """Yield rows whose prices or volume cannot be used: blank, text, infinite, zero or negative."""
    for name in table.names:
        rows = np.flatnonzero(table.symbols == name)
        for field in table.fields:
            if field != "adj_close":
                yield from _faults(table, name, field, rows)


def _faults(table: RawTable, name: str, field: str, rows: NDArray[np.intp]) -> Iterator[Finding]:
    values = table.value(field)[rows]
    written = {row for own in table.fields[field] for row in table.text.get(own, ())}
    text = np.isin(rows, list(written)) & np.isnan(values)
    low, below = ("zero or negative", values <= 0) if field in PRICES else ("negative", values < 0)
    rest = ~np.isnan(values) & ~below & np.isnan(usable(field, values))
    faults = {
        "not a number": text,
        "blank": np.isnan(values) & ~text,
        low: below,
        "infinite": rest & np.isinf(values),
        "beyond any market's": rest & ~np.isinf(values),
    }
    if field in ("dividend", "split"):
        del faults["blank"]  # a day without an action
    for fault, wrong in faults.items():
        if wrong.any():
            bad = rows[wrong]
            text_ = f"{field} is {fault} in {count(bad, 'row')}, first {table.where(int(bad[0]))}; drop or correct them"
            yield finding("value", "error", table, name, bad, text_, repair="drop_bad_values")


def broken_ranges(table: RawTable) -> Floats:
    """Return (R,) by how much of the close a high is below, or a low above, the bar's other prices; 0 if not."""
    values = {field: usable(field, table.value(field)) for field in PRICES if table.has(field)}
    beyond = np.zeros(len(table))
    for edge, sign in (("high", 1.0), ("low", -1.0)):
        if edge in values:
            for other in values.values():
                beyond = np.fmax(beyond, sign * (other - values[edge]) / values["close"])
    return np.where(beyond > ROUNDING, beyond, 0.0)


def check_ranges(bars: SymbolBars, broken: Floats) -> Iterator[Finding]:
    """Yield bars whose high or low contradicts their other prices (``broken`` as ``broken_ranges`` gives it)."""
    here = broken[bars.rows]
    rows = bars.rows[here > 0]
    if len(rows):
        worst = float(here.max())
        text = (
            f"high below or low above the bar's other prices in {count(rows, 'bar')}, first "
            f"{bars.table.stamp(int(rows[0]))}, by up to {worst:.2g} of the close"
        )
        yield finding("ohlc", "error", bars.table, bars.symbol, rows, text, worst, repair="widen_range")


def check_volume(bars: SymbolBars) -> Iterator[Finding]:
    """Yield bars without volume; a symbol that never has any is an index or lacks the column."""
    if not bars.table.has("volume"):
        return
    none = bars.value("volume") == 0
    share = float(none.mean())
    rows = bars.rows[none]
    if share == 1.0:
        text = f"volume is zero in all {len(bars)} bars: an index, or a feed without volume; no order could fill by it"
        yield finding("zero_volume", "warning", bars.table, bars.symbol, rows, text, share, repair="drop_volume")
    elif len(rows):
        moved = int((_moved(bars) & none).sum())
        text = (
            f"no volume in {count(rows, 'bar')} ({share:.1%}), first {bars.table.stamp(int(rows[0]))}; "
            f"the price moved in {moved} of them"
        )
        severity: Severity = "note" if share < FEW else "warning"
        yield finding("zero_volume", severity, bars.table, bars.symbol, rows, text, share, repair="drop_zero_volume")


def _moved(bars: SymbolBars) -> Bools:
    close = bars.close
    moved: Bools = np.concatenate([[False], close[1:] != close[:-1]])
    return moved | (bars.value("high") > bars.value("low"))


def check_stale(bars: SymbolBars) -> Iterator[Finding]:
    """Yield runs of bars that repeat the close before them in every price."""
    close = bars.close
    still = np.concatenate([[False], close[1:] == close[:-1]])
    if bars.table.has("high", "low") and not np.isnan(bars.value("high")).all():
        least, same = STALE_BARS, still & (bars.value("high") == bars.value("low"))
    else:
        quietest = np.convolve(still, np.ones(YEAR) / YEAR, "valid").max() if len(still) >= YEAR else still.mean()
        share = min(float(quietest), MOST_EQUAL)
        least = max(STALE_BARS, int(np.ceil(np.log(STALE_CHANCE / len(close)) / np.log(share)))) if share else 0
        same = still
    found = runs(same, least) if least else []
    if found:
        first, longest = found[0][0], max(length for _, length in found)
        rows = np.concatenate([bars.rows[start : start + length] for start, length in found])
        text = (
            f"the price stands still in {count(found, 'run')} of {least} bars or more ({count(rows, 'bar')}, longest "
            f"{longest}), first {bars.table.stamp(int(bars.rows[first]))}"
        )
        yield finding("stale", "warning", bars.table, bars.symbol, rows, text, float(longest), repair="drop_stale")
