"""What a stress test is made of: the set-up that all strategies share, and the cell that each leaves per scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.compute import hash_of
from tradekit.engine.paths import MAKERS, paths
from tradekit.engine.worlds import SHOCKS, Span, worlds
from tradekit.errors import DataError
from tradekit.evidence import measures
from tradekit.evidence.sharpe import sharpe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.scenarios import Scenario
    from tradekit.engine.windows import Window, Windowing
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Floats, Panel

RANGE = (0.025, 0.5, 0.975)


class Draws(NamedTuple):
    """What D worlds drawn for one scenario made of a strategy: Sharpe ratio a year, return and drawdown, (D,) each."""

    sharpe: Floats
    total_return: Floats
    max_drawdown: Floats

    @classmethod
    def of(cls, equities: Sequence[Floats], bars_per_year: float) -> Draws:
        """Return the figures of the equities (T,) of each world."""
        returns = [measures.bar_returns(equity) for equity in equities]
        return cls(
            np.array([sharpe(one, bars_per_year) for one in returns]),
            np.array([measures.total_return(one) for one in returns]),
            np.array([measures.max_drawdown(equity) for equity in equities]),
        )

    def ranges(self) -> dict[str, dict[str, float]]:
        """Return, of each figure by name, the median and the 2.5 % and 97.5 % quantiles over the worlds that have one.

        NaN where none has: a strategy that never traded has no Sharpe ratio.
        """
        found = {}
        for name, values in self._asdict().items():
            known = values[~np.isnan(values)]
            cuts = np.quantile(known, RANGE) if len(known) else np.full(3, np.nan)
            found[name] = dict(zip(("low", "median", "high"), map(float, cuts), strict=True))
        return found


@dataclass(frozen=True)
class Cell:
    """One strategy in one scenario; ledger None when ``skipped`` says why.

    Of several worlds drawn, ``ledger`` is that of number ``draw``, the one with the median final equity, and ``draws``
    has the figures of all. ``failed``: it was skipped through a fault of its own, or of its worker, rather than for not
    fitting the bars.
    """

    strategy: str
    scenario: str
    ledger: Ledger | None
    scored_from: int = 0
    skipped: str | None = None
    draws: Draws | None = None
    draw: int = 0
    failed: bool = False


@dataclass(frozen=True)
class Setup:
    """What every strategy of one stress test meets; worlds: the panels of a scenario by name, or why it has none."""

    panel: Panel
    history: Panel
    windowing: Windowing
    windows: tuple[Window, ...]
    costs: CostModel
    execution: ExecutionModel
    cash: float
    scenarios: tuple[Scenario, ...]
    worlds: dict[str, tuple[Panel, ...] | str]

    def world(self, scenario: Scenario, draw: int = 0) -> Panel:
        """Return the bars of one of a scenario's worlds."""
        panels = self.worlds[scenario.name]
        return panels[draw] if isinstance(panels, tuple) and panels else self.panel

    @property
    def identity(self) -> str:
        """A hash of all that the result of a strategy depends on beside the strategy."""
        models = (self.windowing, self.windows, self.costs, self.execution, self.cash, self.scenarios)
        return hash_of(self.panel.content_hash, self.history.content_hash, *map(repr, models))


def worlds_of(scenario: Scenario, panel: Panel, windows: Sequence[Window]) -> tuple[Panel, ...] | str:
    """Return the worlds of a scenario, none when it has the bars as they were, or why the data cannot carry it."""
    span = Span(windows[0].test_start, windows[-1].test_stop)
    try:
        if scenario.kind in SHOCKS:
            return tuple(worlds(scenario, panel, span))
        return tuple(paths(scenario, panel, span)) if scenario.kind in MAKERS else ()
    except DataError as error:
        return str(error)
