"""Which bars a strategy may be judged on: those it can use, and has not seen in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import TradekitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.windows import Window
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel


def reason_to_skip(
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], execution: ExecutionModel
) -> str | None:
    """Return why ``strategy`` cannot be judged on these bars, or None."""
    if hasattr(strategy, "check"):
        try:
            strategy.check(panel, execution)
        except TradekitError as error:
            return str(error)
    seen = getattr(strategy, "seen_end", None)
    last = panel.timestamps[windows[-1].test_stop - 1]
    if seen is not None and panel.timestamps[windows[-1].test_stop - 2] <= seen:
        end = panel.moment(last)
        return f"it was trained on bars up to {panel.moment(seen)}, and the last bar here is {end}; test on later bars"
    return None


def unseen(
    strategies: Sequence[AnyStrategy], panel: Panel, windows: Sequence[Window], execution: ExecutionModel
) -> list[Window]:
    """Return the windows cut to begin where the last of the policies that can run has seen nothing more.

    All strategies start there, flat and with the same cash: what a policy earned on its own training bars must not
    decide how much money its symbols have afterwards.
    """
    able = [one for one in strategies if reason_to_skip(one, panel, windows, execution) is None]
    first = max((last_seen(one, panel) for one in able), default=0)
    return [w._replace(test_start=max(w.test_start, first)) for w in windows if w.test_stop > first]


def last_seen(strategy: AnyStrategy, panel: Panel) -> int:
    """Return the row of the last bar that ``strategy`` was trained on, its first fair decision; 0 without training."""
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    return max(0, int(np.searchsorted(panel.timestamps, np.datetime64(seen, "ns"), side="right")) - 1)


def scored_from(strategy: AnyStrategy, ledger: Ledger) -> int:
    """Return the first ledger row whose return the strategy has not seen in training."""
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    return int(np.searchsorted(ledger.timestamps, np.datetime64(seen, "ns"), side="right"))
