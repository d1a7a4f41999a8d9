"""What one order costs, and how much of the orders the cash pays for. numba, scalars in and scalars out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradekit.market.costs import (
    COMMISSION,
    IMPACT,
    IMPACT_ADV,
    MINIMUM,
    PER_SHARE,
    REGULATORY,
    SAMPLED,
    SEED,
    SLIPPAGE,
    SLIPPAGE_MODE,
    SPREAD,
    WORST,
)
from tradekit.market.jit import compiled, inlined

Floats = NDArray[np.float64]

# So many lots, and a double of shares holds no fraction of a lot to cut off.
WHOLE = 2.0**51


class Rates(NamedTuple):
    """A cost row as one portfolio meets it in one bar, with all that its orders share worked out.

    slippage is the fraction of the notional paid, the most of it when ``sampled``; draws, the key of the portfolio's
    draws in this bar; impact, k of the impact k v^1.5, to be multiplied by the symbol's own factor when ``adv``.
    """

    commission: float
    per_share: float
    minimum: float
    spread: float
    slippage: float
    sampled: bool
    draws: np.uint64
    impact: float
    adv: bool
    regulatory: float


class Charge(NamedTuple):
    """Dollars: executed value, and the terms of its cost but the regulatory one."""

    executed: float
    commission: float
    spread: float
    slippage: float
    impact: float


@inlined
def _mix(key: np.uint64) -> np.uint64:
    """splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195)."""
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@inlined
def _draws(seed: int, stream: int, time_key: np.uint64) -> np.uint64:
    return _mix(_mix(_mix(np.uint64(seed)) ^ np.uint64(stream)) ^ time_key)


@inlined
def _draw(draws: np.uint64, symbol_key: np.uint64) -> float:
    return float(_mix(draws ^ symbol_key) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def uniform(seed: int, stream: int, time_key: np.uint64, symbol_key: np.uint64) -> float:
    """Return the draw in [0, 1) that belongs to (seed, stream, bar, symbol), in any order of asking."""
    return _draw(_draws(seed, stream, time_key), symbol_key)


@compiled
def floor_lots(quantity: float, lots: float) -> float:
    """Truncate shares toward zero to a whole number of lots."""
    units = abs(quantity) * lots
    if units >= WHOLE:
        return quantity
    return float(np.copysign(np.floor(units) / lots, quantity))


@compiled
def nearest_lots(quantity: float, lots: float) -> float:
    """Truncate toward zero, but keep a quantity that is a whole number of lots up to rounding of the product."""
    units = abs(quantity) * lots
    if units >= WHOLE:
        return quantity
    whole = np.rint(units)
    if abs(units - whole) > 8.9e-16 * units:
        whole = np.floor(units)
    return float(np.copysign(whole / lots, quantity))


@inlined
def rates_of(row: Floats, wide: float, equity: float, stream: int, time_key: np.uint64) -> Rates:
    """Return the rates of the cost ``row`` (COST_COLUMNS,) for a portfolio worth ``equity`` > 0 dollars.

    ``wide`` is the bar's factor on the spread.
    """
    sampled, adv = row[SLIPPAGE_MODE] == SAMPLED, row[IMPACT_ADV] != 0.0 and row[IMPACT] != 0.0
    return Rates(
        row[COMMISSION],
        row[PER_SHARE],
        row[MINIMUM],
        row[SPREAD] * wide,
        row[SLIPPAGE] if sampled or row[SLIPPAGE_MODE] == WORST else 0.5 * row[SLIPPAGE],
        sampled,
        _draws(int(row[SEED]), stream, time_key) if sampled else np.uint64(0),
        row[IMPACT] if adv or row[IMPACT] == 0.0 else row[IMPACT] / np.sqrt(equity),
        adv,
        row[REGULATORY],
    )


@inlined
def slippage_of(rates: Rates, symbol_key: np.uint64) -> float:
    """Return slippage as a fraction of the notional."""
    return rates.slippage * _draw(rates.draws, symbol_key) if rates.sampled else rates.slippage


@inlined
def charge(rates: Rates, side: float, quantity: float, price: float, slippage: float, impact: float) -> Charge:
    """Return what trading ``quantity`` > 0 shares at ``price`` costs, buying (side 1) or selling (side -1).

    ``slippage`` is a fraction of the notional, ``impact`` the k of k v^1.5.
    """
    value = quantity * price
    spread, slip, push = rates.spread * value, slippage * value, impact * value * np.sqrt(value)
    executed = value + side * (spread + slip + push)
    commission = max(rates.commission * executed + rates.per_share * quantity, rates.minimum)
    return Charge(executed, commission, spread, slip, push)


@inlined
def outlay_slope(rates: Rates, quantity: float, price: float, slippage: float, impact: float) -> float:
    """Return quantity x d(outlay)/d(quantity) of a purchase; the minimum commission counts as flat."""
    value = quantity * price
    push = impact * value * np.sqrt(value)
    executed = value + rates.spread * value + slippage * value + push
    slope = executed + 0.5 * push
    if rates.commission * executed + rates.per_share * quantity > rates.minimum:
        slope = slope * (1.0 + rates.commission) + rates.per_share * quantity
    return float(slope)


@inlined
def affordable(linear: float, power: float, cash: float) -> float:
    """Return the largest scale in [0, 1] with ``linear * scale + power * scale**1.5 <= cash``, up to rounding.

    The outlay is convex and increasing in the scale, so Newton's method from 1 comes down on the root and never
    passes it.
    """
    scale = 1.0
    while True:
        root = np.sqrt(scale)
        excess = (linear + power * root) * scale - cash
        if excess <= 0.0:
            return scale
        lower = scale - excess / (linear + 1.5 * power * root)
        if not lower > 0.0:
            return 0.0
        if lower >= scale * (1.0 - 2.3e-16):
            return scale
        scale = lower
