"""Momentum: each month, hold the third of the symbols that rose most over a year, the last month left out.

The last month is left out because short-term reversal works against it (Jegadeesh and Titman 1993,
doi:10.1111/j.1540-6261.1993.tb04702.x). A symbol that fell is not held, however good its rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.market import indicators

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel


@dataclass(frozen=True)
class Momentum:
    """Equal shares of the top symbols by return from ``long`` to ``skip`` bars ago, on the first bar of a month.

    long, skip: bars. top: fraction of the symbols that may be held.
    """

    long: int = 252
    skip: int = 21
    top: float = 1.0 / 3.0

    name = "momentum"
    kind = "heuristic"

    @property
    def lookback(self) -> int:
        """Bars a decision needs, the newest included."""
        return self.long + 1

    def fit(self, train: Panel) -> Momentum:
        """Nothing to learn."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights; NaN leaves a position alone."""
        rise = indicators.log_return(panel.close, self.long) - indicators.log_return(panel.close, self.skip)
        places = max(1, round(self.top * len(panel.symbols)))
        rank = np.argsort(np.argsort(-rise, axis=1, kind="stable"), axis=1)  # 0 is best; NaN sorts last
        target = np.where((rank < places) & (rise > 0.0), 1.0 / places, 0.0)
        month = panel.timestamps.astype("M8[M]")
        new_month = np.append(False, month[1:] != month[:-1])
        return np.where(new_month[:, None] & ~np.isnan(rise), target, np.nan)


strategy = Momentum()
