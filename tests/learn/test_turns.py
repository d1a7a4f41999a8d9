"""Symbols take turns: none is trained more than another because there are more environments than symbols, or fewer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.learn.actions import HOLD
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.task import Task
from tradekit.market.features import FeatureSpec


def task_of(symbols: int) -> Task:
    return Task(random_panel(120, symbols), FeatureSpec.named("return_1"), episode_bars=7)


def episodes(environments: VectorSymbolEnv, steps: int) -> list[int]:
    """Return the symbols of the episodes begun, in order."""
    environments.reset()
    column = environments.lanes.state.book.column
    begun: list[int] = column.tolist()
    for _ in range(steps):
        *_, ended, _ = environments.step(np.full(environments.num_envs, HOLD))
        begun += column[ended].tolist()
    return begun


@pytest.mark.parametrize(("environments", "symbols"), [(64, 20), (3, 20), (1, 4), (5, 5)])
def test_every_symbol_is_traded_as_often(environments: int, symbols: int) -> None:
    begun = episodes(VectorSymbolEnv(task_of(symbols), environments), 7 * 20)
    assert begun == [k % symbols for k in range(environments * 21)]


def test_a_reset_begins_with_the_first_again() -> None:
    environments = VectorSymbolEnv(task_of(4), 3)
    environments.seed(5)
    first = episodes(environments, 30)
    environments.seed(5)
    assert episodes(environments, 30) == first


def test_an_environment_of_one_symbol_keeps_it() -> None:
    env = SymbolEnv(task_of(4), "S2")
    for _ in range(3):
        env.reset()
        assert env.lanes.state.book.column.tolist() == [2]
