"""Statistics of decisions, counted by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.learn.actions import (
    ACTIONS,
    AS_CHOSEN,
    BUY_LARGE,
    BUY_SMALL,
    HOLD,
    NO_DECISION,
    NOT_ALLOWED,
    REASONS,
    REPEAT_LIMIT,
    SELL_ALL,
    SELL_PARTIAL,
    STOP_LOSS,
)
from tradekit.learn.diagnosis import diagnose
from tradekit.learn.telemetry import WINDOW, ActionStatistics, count_actions

# Chosen, executed, why, and whether an order filled: two agents, four decisions each.
ROWS = [
    [(BUY_SMALL, BUY_SMALL, AS_CHOSEN, True), (SELL_ALL, HOLD, NOT_ALLOWED, False)],
    [(HOLD, SELL_ALL, STOP_LOSS, True), (BUY_LARGE, BUY_LARGE, AS_CHOSEN, False)],
    [(HOLD, HOLD, AS_CHOSEN, False), (SELL_PARTIAL, HOLD, REPEAT_LIMIT, False)],
    [(NO_DECISION, NO_DECISION, NO_DECISION, False), (SELL_ALL, SELL_ALL, AS_CHOSEN, True)],
]


def counted(rows: list[list[tuple[int, int, int, bool]]], **more: Any) -> ActionStatistics:
    chosen, executed, reason, filled = np.moveaxis(np.array(rows), 2, 0)
    known = {"entropies": np.full(chosen.shape, 0.5), "choices": np.full(chosen.shape, 4)} | more
    return count_actions(chosen, executed, reason, filled.astype(bool), **known)


def test_every_decision_is_counted_once_by_what_became_of_it() -> None:
    said = counted(ROWS)
    assert said.decisions == 7
    assert said.chosen.tolist() == [2, 1, 0, 1, 1, 2, 0]
    assert said.executed.tolist() == [4, 1, 0, 0, 0, 2, 0]  # what did not fill did not happen
    assert (said.not_allowed, said.repeat_violations, said.forced_exits, said.unfilled) == (1, 1, 1, 1)
    assert (said.total_trades, said.voluntary_trades) == (3, 3)
    told = said.to_dict()
    assert told["voluntary_trade_rate"] == pytest.approx(3 / 7)  # bought, bought unfilled, sold
    assert told["sanitizer_trade_delta"] == pytest.approx(2 / 7)  # of five asked for
    assert told["forced_exit_ratio"] == pytest.approx(1 / 2)  # one forced, one chosen
    assert told["consecutive_action_violations"] == 1
    assert told["policy_action_entropy_mean"] == 0.5
    assert told["policy_action_entropy_normalised"] == pytest.approx(0.5 / math.log(4.0))
    assert sum(told["reasons"].values()) == 7


def test_variety_is_judged_in_windows_of_one_agent() -> None:
    # 120 decisions of buying and holding in turn, 120 of holding; the rest is less than a window.
    turns = [BUY_SMALL, HOLD] * (WINDOW // 2) + [HOLD] * (WINDOW + 30)
    said = counted([[(action, action, AS_CHOSEN, action != HOLD)] for action in turns])
    assert said.unique_actions == pytest.approx(1.5)
    assert said.executed_entropy == pytest.approx(math.log(2.0) / 2.0)
    # A run shorter than a window is one.
    assert counted([[(HOLD, HOLD, AS_CHOSEN, False)]] * 5).unique_actions == 1.0


def test_rewards_are_means_by_choice_and_reason() -> None:
    rewards = np.array([[1.0, -1.0], [2.0, 0.5], [4.0, 0.0], [9.0, 3.0]])
    said = counted(ROWS, rewards=rewards)
    assert said.rewards[SELL_ALL, NOT_ALLOWED] == -1.0
    assert said.rewards[HOLD, STOP_LOSS] == 2.0
    assert said.rewards[HOLD, AS_CHOSEN] == 4.0
    assert np.isnan(said.rewards[BUY_SMALL, NOT_ALLOWED])
    assert np.isnan(counted(ROWS).rewards).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 5))
def test_nothing_is_lost_in_counting(seed: int, steps: int, agents: int) -> None:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, ACTIONS, (steps, agents))
    reason = rng.integers(0, len(REASONS), chosen.shape)
    executed = np.where(reason == AS_CHOSEN, chosen, np.where(reason >= STOP_LOSS, SELL_ALL, HOLD))
    filled = rng.random(chosen.shape) < 0.5
    said = count_actions(chosen, executed, reason, filled, np.ones(chosen.shape), np.full(chosen.shape, 2))
    assert said.outcomes.sum() == said.executed.sum() == said.chosen.sum() == steps * agents
    assert said.total_trades == int(((executed != HOLD) & filled).sum())
    assert said.total_trades + said.unfilled == said.voluntary_trades + said.forced_exits
    assert 1.0 <= said.unique_actions <= ACTIONS
    assert 0.0 <= said.executed_entropy <= math.log(ACTIONS) + 1e-12


HEALTHY = counted([[(BUY_SMALL, BUY_SMALL, AS_CHOSEN, True)], [(SELL_ALL, SELL_ALL, AS_CHOSEN, True)]] * 50)


def repeated(chosen: int, executed: int, reason: int, share: float) -> ActionStatistics:
    """Return a healthy run of which a share is replaced by one outcome."""
    rows = [[(BUY_SMALL, BUY_SMALL, AS_CHOSEN, True)], [(SELL_ALL, SELL_ALL, AS_CHOSEN, True)]] * 50
    rows[: int(100 * share)] = [[(chosen, executed, reason, executed != HOLD)]] * int(100 * share)
    return counted(rows)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (HEALTHY, []),
        (replace(HEALTHY, policy_entropy=math.nan), ["not_a_number"]),
        (replace(HEALTHY, policy_entropy=0.05), ["low_entropy"]),
        (repeated(SELL_ALL, HOLD, NOT_ALLOWED, 0.30), ["many_refusals"]),
        (repeated(SELL_ALL, HOLD, NOT_ALLOWED, 0.98), ["rejected_spam"]),
        (repeated(SELL_ALL, HOLD, NOT_ALLOWED, 0.20), []),
        (repeated(BUY_LARGE, BUY_LARGE, AS_CHOSEN, 0.98), ["always_buy"]),
        (repeated(HOLD, HOLD, AS_CHOSEN, 1.0), ["no_trades", "one_action"]),
        (repeated(SELL_PARTIAL, HOLD, REPEAT_LIMIT, 0.06), ["repeat_limit"]),
        (replace(HEALTHY, unfilled=101), ["unfilled"]),
        (counted([[(NO_DECISION, NO_DECISION, NO_DECISION, False)]]), []),
    ],
)
def test_what_is_found(said: ActionStatistics, expected: list[str]) -> None:
    found = diagnose(said)
    assert [one.name for one in found] == expected
    for one in found:
        assert str(one) == f"{one.name}: {one.evidence}; {one.what_to_change}"


def test_a_refusal_that_pays_better_than_holding_is_a_double_bind() -> None:
    spam = repeated(SELL_ALL, HOLD, NOT_ALLOWED, 0.98)
    rewards = np.full(spam.rewards.shape, math.nan)
    rewards[SELL_ALL, NOT_ALLOWED] = -0.5
    for holding, name in ((-2.0, "double_bind"), (0.0, "rejected_spam"), (math.nan, "rejected_spam")):
        rewards[HOLD, AS_CHOSEN] = holding
        assert [found.name for found in diagnose(replace(spam, rewards=rewards.copy()))] == [name]
    rewards[SELL_ALL, NOT_ALLOWED] = -1.0  # nobody holds, and yet a refusal costs all that it should
    assert [found.name for found in diagnose(replace(spam, rewards=rewards))] == ["double_bind"]
