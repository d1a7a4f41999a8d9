"""Applies corporate actions to the bars of a universe, and refuses raw prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import calendar
from tradekit.market.actions import PRICES, demand_raw, factors
from tradekit.market.quality import demand_adjusted

if TYPE_CHECKING:
    from tradekit.market.actions import Actions
    from tradekit.market.panel import Panel
    from tradekit.market.sources.assemble import Bars, Universe


def adjust(universe: Universe, actions: Actions) -> Universe:
    """Return the universe with the actions applied to the bars of every symbol and of the benchmark.

    Raises:
        DataError: a split is in the prices already, or a dividend is as large as the price.
    """
    benchmark = universe.benchmark and _adjust(universe.benchmark, actions)
    return replace(universe, bars=tuple(_adjust(bars, actions) for bars in universe.bars), benchmark=benchmark)


def _adjust(bars: Bars, actions: Actions) -> Bars:
    own, close = actions.of(bars.symbol), bars.columns["close"]
    dates = (calendar.wall_clock(bars.times) if bars.zone else bars.times).astype("M8[D]")
    demand_raw(dates, bars.columns.get("open", np.full(len(close), np.nan)), close, own)
    price, volume = factors(dates, close, own)
    scale = {**dict.fromkeys(PRICES, price), "volume": volume}
    return replace(bars, columns={name: values * scale[name] for name, values in bars.columns.items()})


def refuse_raw(universe: Universe, panel: Panel) -> None:
    """Raise DataError when the panel's prices, or those of its benchmark, step by a split."""
    demand_adjusted(panel)
    if universe.benchmark is not None and universe.benchmark.symbol not in panel.symbols:
        demand_adjusted(replace(universe, bars=(universe.benchmark,)).panel())
