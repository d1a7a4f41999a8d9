from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.panels import Table, random_panel
from tradekit.engine.copies import alike, fit, fresh
from tradekit.errors import StrategyError


class Holds:
    """Anything with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def method(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
        ({"a": [1, (2.0, "x")]}, {"a": [1, (2.0, "x")]}),
        (Holds(a=np.arange(3), b={"c": None}), Holds(a=np.arange(3), b={"c": None})),
        (Holds(a=1).method, Holds(a=1).method),
        (np.random.default_rng(1), np.random.default_rng(1)),
        (float("nan"), float("nan")),
    ],
)
def test_equal_state_is_alike(one: Any, two: Any) -> None:
    assert alike(one, two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.array([1.0]), np.array([2.0])),
        (np.array([1.0]), np.array([1])),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        (Holds(a=1), Holds(a=2)),
        (Holds(a=1), Holds(a=1, b=2)),
        (Holds(a=1).method, Holds(a=2).method),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (1, 1.0),
        (None, 0),
    ],
)
def test_other_state_is_not(one: Any, two: Any) -> None:
    assert not alike(one, two)


def test_state_that_contains_itself_is_compared_once() -> None:
    one, two = Holds(a=1), Holds(a=1)
    one.__dict__["me"], two.__dict__["me"] = one, two
    assert alike(one, two)
    two.__dict__["a"] = 2
    assert not alike(one, two)


def test_a_fit_that_changes_nothing_has_nothing_to_learn() -> None:
    strategy = Table(0.1)
    fitted = fit(strategy, random_panel(10, 2))
    assert not fitted.learnt
    assert fitted.strategy is not strategy


def test_what_cannot_be_copied_is_named() -> None:
    strategy = Table(0.1, "opens_files")
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - an open file is the point
        strategy.file = file  # type: ignore[attr-defined]
        with pytest.raises(StrategyError, match="opens_files: it cannot be copied"):
            fresh(strategy)
