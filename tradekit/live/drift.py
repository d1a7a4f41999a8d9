"""Do fills still cost what the model says? A band around the mean difference that may be looked at after every bar.

An interval of the usual kind holds at one sample size chosen beforehand; looked at after every fill it is left sooner
or later by chance alone. The band here is a confidence sequence: with probability ``level`` it holds the true mean at
all times together, so leaving zero once is evidence enough. Asymptotic form of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas (2024), "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52(6),
theorem 2.2 with their equation for rho, tightest at TIGHTEST bars.

Fills of one bar share its moment, so a bar is one observation: what its fills cost beyond the model, in basis points of
their value.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVEL = 0.95
LEAST_BARS = 20
"""Bars with fills before which the band says nothing: it holds in the limit of many."""
TIGHTEST = 60
PRICE_TERMS = ("spread", "slippage", "impact")
ROUNDING_BPS = 1e-6
"""What rounding alone can move the mean by; no band is narrower."""


def band(differences: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the mean and the half-width of its band after 1 to T observations, (T,) each.

    Args:
        differences: (T,) in the order they came.
        level: that the band holds the true mean at every T.
    """
    count = np.arange(1.0, len(differences) + 1.0)
    mean = np.cumsum(differences) / count
    variance = np.maximum(np.cumsum(differences**2) / count - mean**2, 0.0)
    alpha = 1.0 - level
    rho = math.sqrt((-2.0 * math.log(alpha) + math.log(1.0 - 2.0 * math.log(alpha))) / TIGHTEST)
    spent = count * rho**2 + 1.0
    width = np.sqrt(variance * 2.0 * spent / (count * rho) ** 2 * np.log(np.sqrt(spent) / alpha))
    return mean, np.maximum(width, ROUNDING_BPS)


def drift(rows: Sequence[dict[str, Any]], level: float = LEVEL) -> dict[str, Any]:
    """Return whether fills cost what the model says, per bar in basis points of their value.

    Orders count that the broker filled as the model did, share for share; commissions count where the broker reports
    any. ``alarm`` is the first bar in which zero lay outside the band, None while there is none; ``mean_bps``,
    ``low_bps`` and ``high_bps`` are those of the newest bar, and ``course`` has lists of them and of their ``bars``
    from the LEAST_BARS-th on; None before it.
    """
    bars: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row["broker_quantity"] and row["broker_quantity"] == row["model_quantity"] and row["fill_cost"] is not None:
            bars.setdefault(row["filled"], []).append(_excess(row))
    said: dict[str, Any] = {"level": level, "bars": len(bars), "least_bars": LEAST_BARS, "alarm": None}
    if len(bars) < LEAST_BARS:
        return said | dict.fromkeys(("mean_bps", "low_bps", "high_bps", "course"))
    sums = np.array([np.sum(fills, axis=0) for fills in bars.values()])
    mean, width = band(1e4 * sums[:, 0] / sums[:, 1], level)
    told = slice(LEAST_BARS - 1, None)
    moments, mean, low, high = list(bars)[told], mean[told], (mean - width)[told], (mean + width)[told]
    outside = np.flatnonzero((low > 0.0) | (high < 0.0))
    said["alarm"] = moments[outside[0]] if len(outside) else None
    course = {"mean_bps": mean.tolist(), "low_bps": low.tolist(), "high_bps": high.tolist()}
    return said | {name: values[-1] for name, values in course.items()} | {"course": {"bars": moments, **course}}


def _excess(row: dict[str, Any]) -> tuple[float, float]:
    """Return what a fill cost beyond the model, and its value at the reference price, dollars."""
    costs = row["model_costs"]
    silent = row["broker_commission"] is None
    expected = sum(costs[term] for term in PRICE_TERMS) if silent else sum(costs.values())
    return row["fill_cost"] - expected, abs(row["broker_quantity"]) * row["reference"]
