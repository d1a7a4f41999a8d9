"""What orders cost and how much of them the cash pays for: ``tradekit.market.pricing`` over tensors.

Every function works on any device and dtype, element by element, and writes to none of its arguments. In float64 each
line does the arithmetic of its numba twin in the same order. Rows are B portfolios, columns their n positions; a (1, 1)
tensor stands for a rate that all portfolios share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tradekit.market import costs as column

if TYPE_CHECKING:
    from tradekit.market.panel import Floats

# Rounds of Newton's method. It starts within a factor of two of the root, from where five steps reach the last bit of
# a double; with minimum commissions, which orders pay them may change from round to round.
NEWTON, NEWTON_ABOVE_MINIMUM = 6, 12


class Terms(NamedTuple):
    """Which terms any of the scenarios has; a step leaves out what none has."""

    minimum: bool
    sampled: bool
    impact: bool
    adv: bool
    regulatory: bool
    carry: bool


class TorchCosts(NamedTuple):
    """S cost scenarios: (S, 1) tensors of fractions, dollars, flags and, int64, keys; see ``Rates`` of the kernel."""

    commission: Tensor
    per_share: Tensor
    minimum: Tensor
    spread: Tensor
    slippage: Tensor
    sampled: Tensor
    seed_key: Tensor
    impact: Tensor
    adv: Tensor
    regulatory: Tensor
    borrow: Tensor
    interest: Tensor
    terms: Terms


class Rates(NamedTuple):
    """What orders meet in one bar: (B, 1) or (1, 1) rates, and per order (B, n) slippage and k of the impact k v^1.5.

    ``impact`` is None where no scenario has any.
    """

    commission: Tensor
    per_share: Tensor
    minimum: Tensor
    spread: Tensor
    slippage: Tensor
    impact: Tensor | None


class Charge(NamedTuple):
    """Dollars, (B, n): executed value, and the terms of its cost but the regulatory one."""

    executed: Tensor
    commission: Tensor
    spread: Tensor
    slippage: Tensor
    impact: Tensor


def costs_to_torch(rows: Floats, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> TorchCosts:
    """Return the (S, COST_COLUMNS) table of ``cost_rows`` as tensors."""

    def put(values: Floats, kind: torch.dtype = dtype) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)[:, None], dtype=kind).to(device)

    mode, impact = rows[:, column.SLIPPAGE_MODE], rows[:, column.IMPACT]
    sampled, adv = mode == column.SAMPLED, (rows[:, column.IMPACT_ADV] != 0.0) & (impact != 0.0)
    part = np.where(sampled | (mode == column.WORST), 1.0, 0.5)
    regulatory, borrow, interest = (rows[:, i] for i in (column.REGULATORY, column.BORROW, column.INTEREST))
    minimum = rows[:, column.MINIMUM]
    return TorchCosts(
        commission=put(rows[:, column.COMMISSION]),
        per_share=put(rows[:, column.PER_SHARE]),
        minimum=put(minimum),
        spread=put(rows[:, column.SPREAD]),
        slippage=put(part * rows[:, column.SLIPPAGE]),
        sampled=put(sampled, torch.bool),
        seed_key=mix(put(rows[:, column.SEED].astype(np.int64), torch.int64)),
        impact=put(impact),
        adv=put(adv, torch.bool),
        regulatory=put(regulatory),
        borrow=put(borrow),
        interest=put(interest),
        terms=Terms(
            minimum=bool(minimum.any()),
            sampled=bool(sampled.any()),
            impact=bool(impact.any()),
            adv=bool(adv.any()),
            regulatory=bool(regulatory.any()),
            carry=bool(borrow.any() or interest.any()),
        ),
    )


# ---------------------------------------------------------------------------------------------------------- the draws


def _signed(word: int) -> int:
    """Return the int64 with the bits of a 64-bit word."""
    return word - (word >> 63 << 64)


_GAMMA, _FIRST, _SECOND = (_signed(word) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _shifted(key: Tensor, bits: int) -> Tensor:
    """Shift int64 right as if it were unsigned."""
    return (key >> bits) & ((1 << (64 - bits)) - 1)


def mix(key: Tensor) -> Tensor:
    """splitmix64 of int64 keys, whose sums and products wrap as unsigned ones do (doi:10.1145/2714064.2660195)."""
    key = key + _GAMMA
    key = (key ^ _shifted(key, 30)) * _FIRST
    key = (key ^ _shifted(key, 27)) * _SECOND
    return key ^ _shifted(key, 31)


def uniform(seed_key: Tensor, stream: Tensor, time_key: Tensor, symbol_key: Tensor) -> Tensor:
    """Return the float64 draws in [0, 1) of int64 keys, bit for bit the kernel's; ``seed_key`` is ``mix(seed)``."""
    key = mix(mix(mix(seed_key ^ stream) ^ time_key) ^ symbol_key)
    return _shifted(key, 11).to(torch.float64) * (1.0 / 9007199254740992.0)


# ----------------------------------------------------------------------------------------------------------- the lots


def whole(dtype: torch.dtype) -> float:
    """Return so many lots that the dtype holds no fraction of a lot to cut off."""
    return 0.5 / torch.finfo(dtype).eps


def floor_lots(quantity: Tensor, lots: float) -> Tensor:
    """Truncate shares toward zero to a whole number of lots."""
    units = quantity.abs() * lots
    cut = torch.copysign(units.floor() / lots, quantity)
    return torch.where(units >= whole(quantity.dtype), quantity, cut)


def nearest_lots(quantity: Tensor, lots: float) -> Tensor:
    """Truncate toward zero, but keep a quantity that is a whole number of lots up to rounding of the product."""
    units = quantity.abs() * lots
    closest, rounding = units.round(), 8.9e-16 * 2.0**52 * torch.finfo(quantity.dtype).eps
    near = (units - closest).abs() <= rounding * units
    cut = torch.copysign(torch.where(near, closest, units.floor()) / lots, quantity)
    return torch.where(units >= whole(quantity.dtype), quantity, cut)


# ---------------------------------------------------------------------------------------------------------- the costs


def charge(rates: Rates, side: float, quantity: Tensor, price: Tensor) -> Charge:
    """Return what trading ``quantity`` >= 0 shares (B, n) at ``price`` costs, buying (side 1) or selling (side -1)."""
    value = quantity * price
    spread, slip = rates.spread * value, rates.slippage * value
    push = torch.zeros_like(value) if rates.impact is None else rates.impact * value * value.sqrt()
    executed = value + side * (spread + slip + push)
    commission = torch.maximum(rates.commission * executed + rates.per_share * quantity, rates.minimum)
    return Charge(executed, commission, spread, slip, push)


def affordable(rates: Rates, quantity: Tensor, price: Tensor, cash: Tensor, *, minimum: bool) -> Tensor:
    """Return the largest common scale in [0, 1] at which ``cash`` (B, 1) pays for purchases (B, n), up to rounding.

    The outlay is convex and increasing in the scale, so Newton's method from an upper bound comes down on the root and
    never passes it. ``quantity`` and ``price`` are 0 where nothing is bought; ``minimum``: whether any row has one.
    """
    value = quantity * price
    linear = (value + rates.spread * value + rates.slippage * value).sum(1, keepdim=True)
    power = torch.zeros_like(linear)
    if rates.impact is not None:
        power = (rates.impact * value * value.sqrt()).sum(1, keepdim=True)
    rate = 1.0 + rates.commission
    full, push = rate * linear + rates.per_share * quantity.sum(1, keepdim=True), rate * power
    start = _bound(full, push, cash)
    if minimum:
        least = rates.minimum * (quantity > 0.0).sum(1, keepdim=True)
        start = torch.minimum(start, _bound(linear, power, cash - least))
        return _affordable_above_minimum(rates, quantity, price, cash, start)
    scale = torch.where(full + push <= cash, 1.0, start)
    for _ in range(NEWTON if rates.impact is not None else 1):
        root = scale.sqrt()
        scale = _lower(scale, (full + push * root) * scale - cash, full + 1.5 * push * root)
    return scale


def _bound(linear: Tensor, power: Tensor, cash: Tensor) -> Tensor:
    """Return a scale in [0, 1] not below the root of ``linear s + power s^1.5 = cash``, nor above twice the root."""
    above = torch.minimum(cash / linear, (cash / power) ** (2.0 / 3.0)).clamp(0.0, 1.0)
    return torch.where(cash > 0.0, above, 0.0)


def _lower(scale: Tensor, excess: Tensor, slope: Tensor) -> Tensor:
    """Return one step of Newton's method down from ``scale``, which stays where it is when it can be paid for."""
    return torch.where((excess > 0.0) & (scale > 0.0), (scale - excess / slope).clamp(min=0.0), scale)


def _affordable_above_minimum(rates: Rates, quantity: Tensor, price: Tensor, cash: Tensor, scale: Tensor) -> Tensor:
    """Return the common scale when each commission is the larger of two convex functions of it."""
    buying = quantity > 0.0
    for _ in range(NEWTON_ABOVE_MINIMUM):
        amount = quantity * scale
        paid = charge(rates, 1.0, amount, price)
        outlay = torch.where(buying, paid.executed + paid.commission, 0.0).sum(1, keepdim=True)
        proportional = rates.commission * paid.executed + rates.per_share * amount > rates.minimum
        slope = paid.executed + 0.5 * paid.impact
        slope = torch.where(proportional, slope * (1.0 + rates.commission) + rates.per_share * amount, slope)
        scale = _lower(scale, outlay - cash, slope.sum(1, keepdim=True) / scale)
    return scale
