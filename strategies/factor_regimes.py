"""Factor regimes held fixed: what each choice of the portfolio agent earns when nobody chooses.

The agent picks one of twelve regimes a bar (tradekit.engine.regimes). Here one is kept for ever and put in order on the
first bar of a month. HOLD and FULL_CASH are not in the list: kept from the start, both are cash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.regimes import LOOKBACK, REGIMES, regime_weights

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class FixedRegime:
    """One of REGIMES, on the first bar of every month."""

    regime: str

    kind = "heuristic"
    lookback = LOOKBACK

    @property
    def name(self) -> str:
        """The regime's name in small letters."""
        return f"regime_{self.regime.lower()}"

    def fit(self, train: Panel) -> FixedRegime:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        month = panel.timestamps.astype("M8[M]")
        new_month = np.append(False, month[1:] != month[:-1])
        return np.where(new_month[:, None], regime_weights(self.regime, panel), np.nan)


strategy = [FixedRegime(name) for name in REGIMES if name not in ("HOLD", "FULL_CASH")]
