"""What a policy has seen counts for nobody, nor do the sessions of the embargo after it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.panels import BuyOnce, Table, intraday, random_panel
from tradekit.engine.scenarios import Scenario
from tradekit.engine.seen import last_seen, reason_to_skip
from tradekit.engine.stress import stress
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Window, Windowing
from tradekit.market.execution import ExecutionModel

PANEL = random_panel(200, 2)


def policy(seen_end: Any) -> Table:
    one: Any = Table(0.2, "policy")
    one.seen_end = seen_end
    made: Table = one
    return made


@pytest.mark.parametrize(("embargo", "row"), [(0, 120), (1, 121), (5, 125)])
def test_the_first_fair_decision_is_at_the_end_of_the_embargo(embargo: int, row: int) -> None:
    """A decision fills in the bar after it, whose return is the first that counts."""
    assert last_seen(policy(PANEL.timestamps[120]), PANEL, embargo) == row
    windowing = Windowing(train_sessions=50, test_sessions=20, embargo_sessions=embargo)
    for result in (
        walk_forward([policy(PANEL.timestamps[120]), BuyOnce()], PANEL, windowing),
        stress([policy(PANEL.timestamps[120]), BuyOnce()], PANEL, [Scenario("base", "base")], windowing),
    ):
        for ledger in result.ledgers.values():
            assert ledger.timestamps[0] == PANEL.timestamps[row]
        assert result.scored_from <= 1


def test_sessions_of_intraday_bars_are_counted_whole() -> None:
    panel = intraday(PANEL, 5)
    assert last_seen(policy(panel.timestamps[12]), panel, 0) == 12
    assert last_seen(policy(panel.timestamps[12]), panel, 1) == 19  # the session of rows 10 to 14, and the next one


def test_bars_that_begin_within_the_embargo_lose_what_is_left_of_it() -> None:
    """Trained to a Friday; the bars begin on the Tuesday after, the second weekday."""
    panel = random_panel(30, 1)[1:]
    assert str(panel.timestamps[0])[:10] == "2010-01-05"
    friday = np.datetime64("2010-01-01", "ns")
    assert [last_seen(policy(friday), panel, days) for days in (0, 1, 2, 3, 5)] == [0, 0, 0, 1, 3]
    assert last_seen(policy(np.datetime64("2009-06-01", "ns")), panel, 5) == 0


def test_a_policy_whose_embargo_reaches_the_last_bar_is_skipped_with_the_reason() -> None:
    windows, execution = [Window(0, 50, 50, 200)], ExecutionModel()
    assert reason_to_skip(policy(PANEL.timestamps[190]), PANEL, windows, execution, 7) is None
    assert reason_to_skip(policy(PANEL.timestamps[190]), PANEL, windows, execution, 8) == (
        "it was trained on bars up to 2010-07-13, and 8 sessions after them are embargoed, and the last bar here is "
        "2010-07-22; test on later bars"
    )
    windowing = Windowing(train_sessions=50, test_sessions=20, embargo_sessions=20)
    result = walk_forward([policy(PANEL.timestamps[190]), BuyOnce()], PANEL, windowing)
    assert "embargoed" in str(result.run("policy").skipped)
    assert result.run("buy_and_hold").ledger is not None


def test_a_replay_within_the_embargo_is_seen() -> None:
    start, end = str(PANEL.timestamps[140])[:10], str(PANEL.timestamps[160])[:10]
    scenarios = [Scenario("fall", "replay", start=start, end=end)]
    for embargo, seen in ((5, False), (20, True)):
        windowing = Windowing(train_sessions=50, test_sessions=20, embargo_sessions=embargo)
        (cell,) = stress(policy(PANEL.timestamps[110]), PANEL, scenarios, windowing).cells
        assert str(cell.skipped).startswith("seen: it was trained on bars up to") is seen
