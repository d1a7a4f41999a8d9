"""Cost parameters from fills: least squares, and intervals that hold when the noise grows with the size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_FILLS = 30
"""Fewer fills give no interval worth the name."""

_LEAST_SPREAD = 0.05  # of the regressor, relative to its mean; below it a slope is a guess
_ROUNDING = 1e-10  # a fraction of the price that rounding alone can move a fill by; no interval is narrower
_BPS = 1e4


class Estimate(NamedTuple):
    """A parameter, and the ends of its interval. NaN ends: it could not be estimated and was taken as given."""

    value: float
    low: float
    high: float

    @property
    def is_fitted(self) -> bool:
        """Whether it comes from the fills."""
        return bool(np.isfinite(self.low))


@dataclass(frozen=True)
class CostFit:
    """What fills say about costs.

    Attributes:
        proportional_bps: basis points of the notional that a fill is worse than the reference price: spread and the
            mean of slippage together, which prices alone cannot tell apart.
        impact_coefficient: of the square-root law.
        commission_bps: basis points of the executed notional.
        dispersion_bps: standard deviation of what the fit does not explain.
        fills: used.
        level: of the intervals.
    """

    proportional_bps: Estimate
    impact_coefficient: Estimate
    commission_bps: Estimate
    dispersion_bps: float
    fills: int
    level: float


def fit_costs(
    price_cost: Floats, root: Floats, commission: Floats, impact_given: float = 0.0, level: float = 0.95
) -> CostFit:
    """Fit ``price_cost = proportional + impact x root`` and the mean of ``commission``.

    Args:
        price_cost: (n,) adverse difference of fill and reference price, as a fraction of the reference.
        root: (n,) what the impact coefficient is multiplied by: the square root of notional over equity, or of notional
            over average dollar volume times volatility.
        commission: (n,) as a fraction of the executed notional; NaN where the broker does not say.
        impact_given: coefficient to take when the sizes are too alike to estimate one.
        level: of the two-sided intervals.

    Returns:
        the fit; intervals by Student's t over the larger of two standard errors: the classical one, and HC3 (MacKinnon
        and White 1985, doi:10.1016/0304-4076(85)90158-7), which allows for noise of uneven size but is too small where
        a few large orders carry the slope (Angrist and Pischke 2009, Mostly Harmless Econometrics, 8.1).

    Raises:
        ValueError: fewer than ``LEAST_FILLS`` fills, or a number that is not finite.

    >>> x = np.linspace(0.1, 1.0, 40)
    >>> fit = fit_costs(4.5e-4 + 0.01 * x, x, np.full(40, 2e-5))
    >>> round(fit.proportional_bps.value, 6), round(fit.impact_coefficient.value, 6), round(fit.commission_bps.value, 6)
    (4.5, 0.01, 0.2)
    """
    fills = len(price_cost)
    if fills < LEAST_FILLS:
        raise ValueError(f"{fills} fills; at least {LEAST_FILLS} are needed")
    if not (np.isfinite(price_cost).all() and np.isfinite(root).all()):
        raise ValueError("prices and sizes must be finite")
    if _varies(root):
        design = np.column_stack([np.ones(fills), root])
        (proportional, impact), noise = _least_squares(design, price_cost, level)
    else:
        (proportional,), noise = _least_squares(np.ones((fills, 1)), price_cost - impact_given * root, level)
        impact = Estimate(impact_given, np.nan, np.nan)
    known = commission[np.isfinite(commission)]
    charged = Estimate(np.nan, np.nan, np.nan)
    if len(known) >= LEAST_FILLS:
        (charged,), _ = _least_squares(np.ones((len(known), 1)), known, level)
    return CostFit(_in_bps(proportional), impact, _in_bps(charged), noise * _BPS, fills, level)


def _varies(root: Floats) -> bool:
    return bool(root.std() > _LEAST_SPREAD * abs(root.mean()))


def _in_bps(estimate: Estimate) -> Estimate:
    return Estimate(*(_BPS * number for number in estimate))


def _least_squares(design: Floats, answer: Floats, level: float) -> tuple[list[Estimate], float]:
    """Return (k,) estimates with HC3 intervals, and the standard deviation of the residuals."""
    rows, columns = design.shape
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ (design.T @ answer)
    residual = answer - design @ beta
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    scaled = design * (residual / (1.0 - leverage))[:, None]
    covariance = inverse @ (scaled.T @ scaled) @ inverse
    spread = float(np.sqrt(residual @ residual / (rows - columns)))
    error = np.sqrt(np.fmax(np.diag(covariance), spread**2 * np.diag(inverse)))
    reach = stats.t.ppf(0.5 + 0.5 * level, rows - columns)
    half = reach * error + _ROUNDING / np.sqrt((design**2).mean(axis=0))
    return [Estimate(float(b), float(b - h), float(b + h)) for b, h in zip(beta, half, strict=True)], spread
