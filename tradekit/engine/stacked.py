"""Several panels as one market, so that one kernel call settles portfolios in all of them.

Their rows lie one panel below the other. A portfolio stays within its panel's rows, and the kernels look no further
than one row back, so nothing of one panel is seen from another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import DataError
from tradekit.market.execution import market_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.kernel import Market
    from tradekit.market.panel import Panel

BY_ROW = (
    *("reference", "mark", "volume", "dollar_volume", "volatility"),
    *("time_key", "sec_rate", "taf_rate", "taf_cap", "nights"),
)
"""Arrays of a market that have a row for each bar; a single row stands for an array that nothing reads."""


class Stacked(NamedTuple):
    """One market of P panels; row t of panel p is row ``t + shift[p]`` of it."""

    market: Market
    shift: tuple[int, ...]


def stacked(
    panels: Sequence[Panel],
    spans: Sequence[tuple[int, int]],
    execution: ExecutionModel,
    costs: Sequence[CostModel],
) -> Stacked:
    """Return the rows ``first <= t < stop`` that ``spans`` (P) says of each panel as one market.

    Orders wait in slots that go by the number of the bar, modulo how long they may wait. Every shift is a multiple of
    that, so that a strategy, which counts the bars of its own panel, finds them where the kernel does.

    Raises:
        DataError: as in ``market_of``; or the panels differ in their symbols, or in where orders fill.
    """
    if len(panels) == 1:
        return Stacked(market_of(panels[0], execution, costs), (0,))
    if len({(panel.symbols, execution.fills_at(panel)) for panel in panels}) > 1:
        raise DataError("panels that run together have the same symbols, and fills at the same price of the bar")
    markets = [market_of(panel, execution, costs) for panel in panels]
    slots = execution.latency_bars + 1
    shift, rows = [], 0
    for first, stop in spans:
        begin = rows + (first - rows) % slots  # the rows passed over are nobody's
        shift.append(begin - first)
        rows = begin + stop - first
    arrays = {name: _joined([getattr(one, name) for one in markets], spans, shift, rows) for name in BY_ROW}
    wide = [np.broadcast_to(one.spread_multiple, len(panel)) for one, panel in zip(markets, panels, strict=True)]
    if any(panel.spread_multiple is not None for panel in panels):
        arrays["spread_multiple"] = _joined(wide, spans, shift, rows)
    return Stacked(markets[0]._replace(**arrays), tuple(shift))


def _joined(arrays: Sequence[Any], spans: Sequence[tuple[int, int]], shift: Sequence[int], rows: int) -> Any:
    """Return the spans of ``arrays`` below each other, read-only."""
    if any(len(array) < stop for array, (_, stop) in zip(arrays, spans, strict=True)):
        return arrays[0]
    whole = np.zeros((rows, *arrays[0].shape[1:]), arrays[0].dtype)
    for array, (first, stop), by in zip(arrays, spans, shift, strict=True):
        whole[first + by : stop + by] = array[first:stop]
    whole.setflags(write=False)
    return whole
