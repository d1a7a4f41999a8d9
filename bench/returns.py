"""Series of returns whose Sharpe ratio is known, each hard for an interval in a way of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from tradekit.market.panel import Floats

WORLDS = ("normal", "fat_tails", "garch", "leverage", "trending", "reverting")
WARM_UP = 500


def series(world: str, bars: int, seed: int, sharpe_per_bar: float) -> Floats:
    """Return (bars,) returns of variance one and mean ``sharpe_per_bar``.

    - ``normal``: independent.
    - ``fat_tails``: independent, Student-t with 5 degrees of freedom.
    - ``garch``: volatility clusters, GARCH(1, 1) of persistence 0.98 with Student-t (6) shocks.
    - ``leverage``: the same of persistence 0.97, and volatility rises after losses only, hence skewed over longer
    spans. - ``trending``, ``reverting``: autocorrelation 0.2 and -0.1, Student-t (6) shocks.
    """
    random = np.random.default_rng([WORLDS.index(world), bars, seed])
    count = bars + WARM_UP
    shocks = random.standard_t(6.0, count) / math.sqrt(1.5)
    if world == "normal":
        values = random.standard_normal(count)
    elif world == "fat_tails":
        values = random.standard_t(5.0, count) / math.sqrt(5.0 / 3.0)
    elif world in ("garch", "leverage"):
        settings = (0.02, 0.08, 0.0, 0.90) if world == "garch" else (0.03, 0.02, 0.10, 0.90)
        values = _garch(shocks, *settings)
    else:
        values = _autoregressive(shocks, 0.2 if world == "trending" else -0.1)
    found: Floats = values[WARM_UP:] + sharpe_per_bar
    return found


@njit(cache=True)
def _garch(shocks: Floats, base: float, arch: float, after_loss: float, garch: float) -> Floats:
    values, variance = np.empty_like(shocks), 1.0
    for bar in range(len(shocks)):
        values[bar] = math.sqrt(variance) * shocks[bar]
        weight = arch + after_loss if values[bar] < 0.0 else arch
        variance = base + weight * values[bar] ** 2 + garch * variance
    return values


@njit(cache=True)
def _autoregressive(shocks: Floats, slope: float) -> Floats:
    values, before = np.empty_like(shocks), 0.0
    for bar in range(len(shocks)):
        before = slope * before + math.sqrt(1.0 - slope**2) * shocks[bar]
        values[bar] = before
    return values
