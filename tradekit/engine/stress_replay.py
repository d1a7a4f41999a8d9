"""Replays: crises of the past, each with a strategy that learnt on the bars before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.seen import last_seen, reason_to_skip
from tradekit.engine.stress_setup import Cell
from tradekit.engine.windows import Window
from tradekit.errors import DataError

if TYPE_CHECKING:
    from tradekit.engine.account import Account
    from tradekit.engine.scenarios import Scenario
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress_setup import Setup

LEAD_SESSIONS = 63


def replay_window(strategy: AnyStrategy, scenario: Scenario, setup: Setup) -> Window | str:
    """Return the window in which a strategy is fitted for a replay and run through it, or why there is none."""
    panel, window = setup.history, _covered(scenario, setup)
    if isinstance(window, str):
        return window
    seen = getattr(strategy, "seen_end", None)
    if seen is not None and window.test_start < last_seen(strategy, panel, setup.windowing.embargo_sessions):
        return f"seen: it was trained on bars up to {panel.moment(seen)}"
    return reason_to_skip(strategy, panel, [window], setup.execution) or window


def replayed(strategy: AnyStrategy, scenario: Scenario, setup: Setup, account: Account) -> Cell:
    """Run a strategy that was fitted in a replay's window, and score it from the first of its dates on."""
    ledger = account.run(setup.history, [setup.costs], setup.execution, setup.cash)[0]
    assert scenario.start is not None
    first = int(np.searchsorted(ledger.timestamps, np.datetime64(scenario.start, "ns")))
    return Cell(strategy.name, scenario.name, ledger, scored_from=first)


def _covered(scenario: Scenario, setup: Setup) -> Window | str:
    """Return the window of a replay, or why the data cannot carry it.

    It begins a test slice, or a quarter at most, before the dates: what is scored is how a strategy fared that had been
    running for a while, and not that a monthly one happened to be in cash on the first of them.
    """
    panel, windowing = setup.history, setup.windowing
    try:
        covered = panel.between(scenario.start, scenario.end)
    except DataError:
        return f"the data covers {panel.span}"
    start = int(np.searchsorted(panel.timestamps, covered.timestamps[0]))
    lead = panel.sessions[start] - min(windowing.test_sessions, LEAD_SESSIONS)
    first, session = int(np.searchsorted(panel.sessions, lead)), lead - windowing.train_sessions
    starts_late = panel.timestamps[0].astype("M8[D]") > np.datetime64(scenario.start, "D")
    if session < 0 or starts_late or len(covered) < 3:
        return f"too little data before {scenario.start} to train on; the data covers {panel.span}"
    if panel.timestamps[-1].astype("M8[D]") < np.datetime64(scenario.end, "D") - np.timedelta64(7, "D"):
        return f"the data covers {panel.span}"
    begin = 0 if windowing.anchored else int(np.searchsorted(panel.sessions, session))
    learnt = panel.sessions[first] - windowing.purge_sessions - windowing.embargo_sessions
    return Window(begin, int(np.searchsorted(panel.sessions, learnt)), first, start + len(covered))
