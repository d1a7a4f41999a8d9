"""Masks, orders and memory of the seven actions, worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.errors import ConfigError
from tradekit.learn.actions import (
    ACTIONS,
    ADD_POSITION,
    AS_CHOSEN,
    BUY_LARGE,
    BUY_MEDIUM,
    BUY_SMALL,
    HOLD,
    NAMES,
    NOT_ALLOWED,
    NOT_READY,
    NOT_TRADABLE,
    REPEAT_LIMIT,
    SELL_ALL,
    SELL_PARTIAL,
    ActionScheme,
    Memory,
    Own,
    allow,
    entropy,
    execute,
    order,
    remember_nothing,
)

SCHEME = ActionScheme().kernel
BUYS = {"BUY_SMALL", "BUY_MEDIUM", "BUY_LARGE"}
SELLS = {"SELL_PARTIAL", "SELL_ALL"}


def own(shares: float = 0.0, pending: float = 0.0, **changed: Any) -> Own:
    """Return a portfolio of 10,000 dollars marked at 50 dollars a share, bought at 40."""
    values = {
        "shares": shares,
        "position": shares + pending,
        "average_cost": 40.0 if shares else 0.0,
        "held": 3 if shares else 0,
        "cash": 10_000.0 - 50.0 * shares,
        "equity": 10_000.0,
        "peak": 10_000.0,
        "mark": 50.0,
    }
    return Own(**(values | changed))


def allowed(
    state: Own, memory: Memory | None = None, scheme: ActionScheme | None = None, ready: bool = True
) -> set[str]:
    mask = np.zeros(ACTIONS, np.bool_)
    kernel = SCHEME if scheme is None else scheme.kernel
    allow(kernel, memory or remember_nothing(1), 0, state, ready, ready, False, mask)
    return {name for name, flag in zip(NAMES, mask, strict=True) if flag}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (own(), {"HOLD"} | BUYS),
        (own(100.0), {"HOLD", "ADD_POSITION"} | SELLS),
        (own(100.0, average_cost=50.0), {"HOLD"} | SELLS),  # no profit yet
        (own(200.0), {"HOLD"} | SELLS),  # all of the equity is in it
        (own(199.0), {"HOLD"} | SELLS),  # room for half a per cent, less than the smallest trade
        (own(197.0), {"HOLD", "ADD_POSITION"} | SELLS),  # room for 1.5 %
        (own(3.0), {"HOLD", "SELL_ALL", "ADD_POSITION"}),  # half of it is 0.75 % of equity
        (own(0.0, 100.0), {"HOLD"} | SELLS),  # bought, not yet filled: a position, without a profit
        (own(100.0, -100.0), {"HOLD"} | BUYS),  # sold, not yet filled: flat
        (own(1e-10), {"HOLD"} | BUYS),  # less than half a billionth share is nothing
        (own(equity=0.0), {"HOLD"}),
        (own(mark=np.nan), {"HOLD"}),
    ],
)
def test_what_is_allowed(state: Own, expected: set[str]) -> None:
    assert allowed(state) == expected


def test_only_hold_where_the_bar_is_not_ready() -> None:
    assert allowed(own(100.0), ready=False) == {"HOLD"}


def test_disabled_actions_are_never_offered() -> None:
    scheme = ActionScheme(disabled_actions=("BUY_LARGE", "SELL_PARTIAL"))
    assert allowed(own(), scheme=scheme) == {"HOLD", "BUY_SMALL", "BUY_MEDIUM"}
    assert allowed(own(100.0), scheme=scheme) == {"HOLD", "SELL_ALL", "ADD_POSITION"}


@pytest.mark.parametrize(
    ("action", "state", "shares"),
    [
        (HOLD, own(100.0), 0.0),
        (BUY_SMALL, own(), 50.0),  # a quarter of 10,000 dollars at 50
        (BUY_MEDIUM, own(), 100.0),
        (BUY_LARGE, own(), 200.0),
        (SELL_PARTIAL, own(100.0), -50.0),
        (SELL_PARTIAL, own(100.0, -20.0), -40.0),  # what is on its way out is not sold twice
        (SELL_ALL, own(100.0), -100.0),
        (SELL_ALL, own(0.0, 30.0), -30.0),
        (ADD_POSITION, own(100.0), 50.0),  # another quarter
        (ADD_POSITION, own(170.0), 30.0),  # up to the whole: 15 % are left
        (ADD_POSITION, own(150.0, 20.0), 30.0),
    ],
)
def test_what_is_ordered(action: int, state: Own, shares: float) -> None:
    assert order(SCHEME, action, state) == pytest.approx(shares, rel=1e-12)


def test_the_fourth_equal_action_in_a_row_is_not_offered() -> None:
    memory = remember_nothing(1)
    for _ in range(3):
        assert "SELL_PARTIAL" in allowed(own(100.0), memory)
        assert choose(memory, SELL_PARTIAL, own(100.0)) == (SELL_PARTIAL, AS_CHOSEN)
    assert allowed(own(100.0), memory) == {"HOLD", "SELL_ALL", "ADD_POSITION"}
    assert choose(memory, SELL_PARTIAL, own(100.0)) == (HOLD, REPEAT_LIMIT)
    assert (memory.last[0], memory.streak[0]) == (HOLD, 0)
    assert "SELL_PARTIAL" in allowed(own(100.0), memory)


def test_another_action_ends_the_row() -> None:
    memory = remember_nothing(1)
    for action, streak in ((ADD_POSITION, 1), (ADD_POSITION, 2), (SELL_PARTIAL, 1), (SELL_PARTIAL, 2), (HOLD, 0)):
        choose(memory, action, own(100.0))
        assert (memory.last[0], memory.streak[0]) == (action, streak)


def test_holding_is_never_too_often() -> None:
    memory = remember_nothing(1)
    for _ in range(10):
        assert choose(memory, HOLD, own()) == (HOLD, AS_CHOSEN)


def test_what_is_not_allowed_executes_as_hold_and_says_why() -> None:
    assert choose(remember_nothing(1), SELL_ALL, own()) == (HOLD, NOT_ALLOWED)
    assert choose(remember_nothing(1), HOLD, own(), tradable=False, ready=False) == (HOLD, NOT_TRADABLE)
    assert choose(remember_nothing(1), HOLD, own(), ready=False) == (HOLD, NOT_READY)


def choose(memory: Memory, action: int, state: Own, tradable: bool = True, ready: bool = True) -> tuple[int, int]:
    mask = np.zeros(ACTIONS, np.bool_)
    allow(SCHEME, memory, 0, state, tradable, ready, False, mask)
    return execute(SCHEME, memory, 0, state, action, mask, tradable, ready, False)


@given(
    shares=st.floats(0.0, 500.0),
    pending=st.floats(-500.0, 500.0),
    cost=st.floats(0.01, 1000.0),
    mark=st.floats(0.01, 1000.0),
    cash=st.floats(1.0, 1e6),
    last=st.integers(0, 6),
    streak=st.integers(0, 3),
)
def test_an_allowed_action_trades_in_its_direction_and_within_its_means(
    shares: float, pending: float, cost: float, mark: float, cash: float, last: int, streak: int
) -> None:
    pending = max(pending, -shares)
    equity = cash + shares * mark
    state = own(shares, pending, average_cost=cost, cash=cash, equity=equity, peak=equity, mark=mark)
    mask = np.zeros(ACTIONS, np.bool_)
    allow(SCHEME, Memory(np.array([last]), np.array([streak])), 0, state, True, True, False, mask)
    assert mask[HOLD]
    for action in np.flatnonzero(mask[1:]) + 1:
        quantity = order(SCHEME, int(action), state)
        if action in (SELL_PARTIAL, SELL_ALL):
            assert -state.position <= quantity < 0.0
        else:
            assert quantity > 0.0
            assert (state.position + quantity) * mark <= equity * (1.0 + 1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buy_smal": 0.2}, "unknown action setting 'buy_smal'; did you mean buy_small?"),
        ({"buy_small": 0.0}, "buy_small is 0.0; a number above 0 and at most 1"),
        ({"buy_large": 1.5}, "buy_large is 1.5; a number above 0 and at most 1"),
        ({"max_consecutive_actions": -1}, "max_consecutive_actions is -1; a whole number, 0 or more"),
        ({"disabled_actions": ["SELL_AL"]}, "cannot disable the action 'SELL_AL'; did you mean SELL_ALL?"),
        ({"disabled_actions": ["HOLD"]}, "cannot disable the action 'HOLD'; known: "),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ActionScheme.from_dict(settings)
    assert str(caught.value).startswith(message)


def test_entropy() -> None:
    assert entropy(np.ones(ACTIONS)) == pytest.approx(np.log(7.0))
    assert entropy(np.array([5, 0, 0, 0, 0, 0, 0])) == 0.0
    assert np.isnan(entropy(np.zeros(ACTIONS)))
