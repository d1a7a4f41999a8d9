"""CostModel: the price of trading; no term of it can favour the trader.

Take an order for ``q`` shares while the reference price is ``p``; its notional is ``v = |q| p``. Three terms worsen the
price of the fill: spread, slippage and impact. Two are paid in cash on what was executed, ``|q|`` times that price:
commission and regulatory fees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tradekit.errors import ConfigError, demand_known, suggest
from tradekit.market.panel import SESSIONS_PER_YEAR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SlippageMode = Literal["expected", "worst", "sampled"]
ImpactBasis = Literal["equity", "adv"]

TERMS = ("commission", "spread", "slippage", "impact", "regulatory")

# Columns of the kernel's cost row. Basis points become fractions here, once.
(
    COMMISSION,
    PER_SHARE,
    MINIMUM,
    SPREAD,
    SLIPPAGE,
    SLIPPAGE_MODE,
    SEED,
    IMPACT,
    IMPACT_ADV,
    REGULATORY,
    BORROW,
    INTEREST,
    COST_COLUMNS,
) = range(13)

EXPECTED, WORST, SAMPLED = 0.0, 1.0, 2.0
_BPS = 1e-4
_EXACT = 2**53  # the cost row is float64, and a seed must survive in it


@dataclass(frozen=True)
class CostModel:
    """Rates and rules by which a fill is charged; as constructed without arguments, the ``realistic`` preset.

    Attributes:
        commission_bps: basis points of the executed notional.
        commission_per_share: dollars per share.
        commission_minimum: dollars, the least an order pays in commission.
        spread_bps: basis points of the notional, in full on each side.
        slippage_bps: basis points of the notional at the worst; ``slippage_mode`` says how much of it is paid.
        slippage_mode: ``expected`` half, ``worst`` all, ``sampled`` a uniform share in [0, 1) drawn by a counter-based
            generator from (seed, stream, bar time, symbol), so that a draw depends on nothing else.
        slippage_seed: seed of ``sampled``.
        impact_coefficient: c of the square-root law, ``c sqrt(v / X) v``.
        impact_basis: ``equity``: X is the portfolio's equity; ``adv``: X is the average dollar volume and c is
            multiplied by the volatility per bar (Toth et al. 2011, doi:10.1103/PhysRevX.1.021006).
        impact_window_bars: bars in the average dollar volume and volatility of the ``adv`` basis.
        regulatory: multiple of the dated SEC and FINRA fee schedule paid on sales; 0 is off, 1 as published.
        borrow_rate_annual: fraction of the short value a year.
        cash_interest_annual: fraction of positive cash earned a year; income, not a cost.

    Raises:
        ConfigError: a value is negative, not finite, or its name is unknown.

    >>> CostModel().shocked(1.5).slippage_bps
    7.5
    >>> CostModel.preset("alpaca_low").spread_bps
    0.0
    """

    commission_bps: float = 0.2
    commission_per_share: float = 0.0
    commission_minimum: float = 0.0
    spread_bps: float = 2.0
    slippage_bps: float = 5.0
    slippage_mode: SlippageMode = "expected"
    slippage_seed: int = 0
    impact_coefficient: float = 0.01
    impact_basis: ImpactBasis = "equity"
    impact_window_bars: int = 20
    regulatory: float = 0.0
    borrow_rate_annual: float = 0.0
    cash_interest_annual: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            choices = {"slippage_mode": get_args(SlippageMode), "impact_basis": get_args(ImpactBasis)}.get(item.name)
            if choices:
                if value not in choices:
                    raise ConfigError(f"{item.name} is {value!r}; choose {' or '.join(choices)}")
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{item.name} is {value!r}; it must be a number")
            elif not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{item.name} is {value}; a cost is finite and never negative")
        if self.impact_window_bars < 2 or self.impact_window_bars % 1:
            raise ConfigError(f"impact_window_bars is {self.impact_window_bars}; a whole number of bars, at least 2")
        if self.slippage_seed % 1 or self.slippage_seed >= _EXACT:
            raise ConfigError(f"slippage_seed is {self.slippage_seed}; a whole number below 2^53")
        if (self.spread_bps + self.slippage_bps) * _BPS >= 1.0:
            raise ConfigError("spread_bps + slippage_bps reach the whole price; a sale would bring nothing")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> CostModel:
        """Build from plain settings; ``preset`` may name the one to start from.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("cost", settings, ["preset", *(item.name for item in fields(cls))])
        settings = dict(settings)
        base = cls.preset(settings.pop("preset", "realistic"))
        return replace(base, **settings)

    @classmethod
    def preset(cls, name: str) -> CostModel:
        """Return a named model: ``realistic``, ``alpaca_low`` or ``free``."""
        if name not in PRESETS:
            raise ConfigError(f"unknown cost preset {name!r}; {suggest(name, PRESETS)}")
        return PRESETS[name]

    def shocked(self, factor: float) -> CostModel:
        """Return the model with slippage, spread and impact multiplied by ``factor`` (dimensionless, >= 0)."""
        return replace(
            self,
            spread_bps=self.spread_bps * factor,
            slippage_bps=self.slippage_bps * factor,
            impact_coefficient=self.impact_coefficient * factor,
        )

    def scaled(self, factor: float) -> CostModel:
        """Return the model with every cost multiplied by ``factor``; interest on cash is income and stays."""
        return replace(
            self.shocked(factor),
            commission_bps=self.commission_bps * factor,
            commission_per_share=self.commission_per_share * factor,
            commission_minimum=self.commission_minimum * factor,
            regulatory=self.regulatory * factor,
            borrow_rate_annual=self.borrow_rate_annual * factor,
        )

    def row(self) -> NDArray[np.float64]:
        """Return the (COST_COLUMNS,) row the kernels read: fractions per trade, rates per session."""
        row = np.zeros(COST_COLUMNS)
        row[COMMISSION] = self.commission_bps * _BPS
        row[PER_SHARE] = self.commission_per_share
        row[MINIMUM] = self.commission_minimum
        row[SPREAD] = self.spread_bps * _BPS
        row[SLIPPAGE] = self.slippage_bps * _BPS
        row[SLIPPAGE_MODE] = {"expected": EXPECTED, "worst": WORST, "sampled": SAMPLED}[self.slippage_mode]
        row[SEED] = self.slippage_seed
        row[IMPACT] = self.impact_coefficient
        row[IMPACT_ADV] = float(self.impact_basis == "adv")
        row[REGULATORY] = self.regulatory
        row[BORROW] = self.borrow_rate_annual / SESSIONS_PER_YEAR
        row[INTEREST] = self.cash_interest_annual / SESSIONS_PER_YEAR
        return row


def cost_rows(costs: Sequence[CostModel]) -> NDArray[np.float64]:
    """Return the (S, COST_COLUMNS) table of S scenarios."""
    return np.stack([cost.row() for cost in costs])


PRESETS = {
    "realistic": CostModel(),
    "alpaca_low": CostModel(commission_bps=0.2, spread_bps=0.0, slippage_bps=1.0, impact_coefficient=0.0),
    "free": CostModel(commission_bps=0.0, spread_bps=0.0, slippage_bps=0.0, impact_coefficient=0.0),
}
