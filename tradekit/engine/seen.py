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
    strategy: AnyStrategy, panel: Panel, windows: Sequence[Window], execution: ExecutionModel, embargo_sessions: int = 0
) -> str | None:
    """Return why ``strategy`` cannot be judged on these bars, or None."""
    if hasattr(strategy, "check"):
        try:
            strategy.check(panel, execution)
        except TradekitError as error:
            return str(error)
    seen, stop = getattr(strategy, "seen_end", None), windows[-1].test_stop
    if seen is None or last_seen(strategy, panel, embargo_sessions) < stop - 2:
        return None
    seen, end = panel.moment(seen), panel.moment(panel.timestamps[stop - 1])
    after = f" and {embargo_sessions} sessions after them are embargoed," if embargo_sessions else ""
    return f"it was trained on bars up to {seen},{after} and the last bar here is {end}; test on later bars"


def unseen(
    strategies: Sequence[AnyStrategy],
    panel: Panel,
    windows: Sequence[Window],
    execution: ExecutionModel,
    embargo_sessions: int = 0,
) -> list[Window]:
    """Return the windows cut to begin where the last of the policies that can run has seen nothing more.

    All strategies start there, flat and with the same cash: what a policy earned on its own training bars must not
    decide how much money its symbols have afterwards.
    """
    able = [one for one in strategies if reason_to_skip(one, panel, windows, execution, embargo_sessions) is None]
    first = max((last_seen(one, panel, embargo_sessions) for one in able), default=0)
    return [w._replace(test_start=max(w.test_start, first)) for w in windows if w.test_stop > first]


def last_seen(strategy: AnyStrategy, panel: Panel, embargo_sessions: int = 0) -> int:
    """Return the row of a strategy's first fair decision, 0 without training.

    That is the last bar that it was trained on, or the last of ``embargo_sessions`` after it: a decision there fills in
    the bar that follows.
    """
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    row = int(np.searchsorted(panel.timestamps, np.datetime64(seen, "ns"), side="right")) - 1
    if not embargo_sessions:
        return max(0, row)
    if row >= 0:
        session = int(panel.sessions[row])
    else:  # the bars begin later; weekdays stand for the sessions that are not here
        session = -int(np.busday_count(seen.astype("M8[D]"), panel.timestamps[0].astype("M8[D]")))
    return max(0, int(np.searchsorted(panel.sessions, session + embargo_sessions, side="right")) - 1)


def scored_from(strategy: AnyStrategy, ledger: Ledger) -> int:
    """Return the first ledger row whose return the strategy has not seen in training."""
    seen = getattr(strategy, "seen_end", None)
    if seen is None:
        return 0
    return int(np.searchsorted(ledger.timestamps, np.datetime64(seen, "ns"), side="right"))
