"""What a strategy remembers, written down and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tradekit.errors import SessionError
from tradekit.learn.agent import Diary
from tradekit.live.memory import Keeper, freeze, thaw


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Book:
    counts: Any = field(default_factory=lambda: np.zeros(3, np.int64))
    pair: Pair = field(default_factory=lambda: Pair(np.zeros(2), None))
    diary: list[Any] = field(default_factory=list)
    generator: Any = field(default_factory=lambda: np.random.default_rng(1))
    notes: dict[Any, Any] = field(default_factory=dict)


def test_objects_arrays_and_generators_go_on_where_they_were() -> None:
    book = Book(np.array([1, 2, 3]), Pair(np.array([0.1, np.nan]), np.float64(0.3)), [np.bool_(True), [1.5, "x"]])
    book.notes = {"a": (1, None), 2: float("inf"), "when": np.array(["2022-01-03"], "M8[ns]")}
    book.generator.random(5)
    back = thaw(freeze(book), Book())
    assert type(back) is Book
    np.testing.assert_array_equal(back.counts, book.counts)
    assert back.counts.dtype == np.int64
    back.counts[0] = 9  # memory is changed in place, so what comes back must be writable
    assert type(back.pair) is Pair
    np.testing.assert_array_equal(back.pair.left, book.pair.left)
    assert (back.pair.right, type(back.pair.right)) == (0.3, np.float64)
    assert back.diary == [np.bool_(True), [1.5, "x"]]
    assert back.notes["a"] == (1, None)
    assert back.notes[2] == float("inf")
    assert back.notes["when"] == book.notes["when"]
    assert back.generator.random() == book.generator.random()
    assert freeze(book) == freeze(thaw(freeze(book), Book()))


@pytest.mark.parametrize("thing", [object(), {1, 2}, lambda: 0, torch.zeros(2), np.array([object()]), b"bytes"])
def test_what_cannot_be_written_down_is_named(thing: Any) -> None:
    with pytest.raises(SessionError, match=f"remembers a {type(thing).__name__}"):
        freeze([thing])


# ------------------------------------------------------------------------------------------- lists that only grow


def noted(diary: Diary, bars: int) -> None:
    for bar in range(bars):
        diary.memory.last[:] = bar
        diary.steps.append(np.full((4, 3), bar % 100, np.int8))
        diary.entropy.append(np.full(3, 1.5 * bar))


def test_a_diary_costs_a_bar_the_same_however_long_it_is() -> None:
    keeper, diary = Keeper(), Diary(3)
    noted(diary, 10)
    keeper.freeze(diary)
    noted(diary, 1)
    text, added = keeper.freeze(diary)
    noted(diary, 2000)
    keeper.freeze(diary)
    noted(diary, 1)
    later, more = keeper.freeze(diary)
    assert [one.name for one in added] == [one.name for one in more] == ["steps", "entropy"]
    assert [one.number for one in more] == [2011, 2011]
    assert sum(len(one.text) for one in more) == sum(len(one.text) for one in added)
    assert 0 <= len(later) - len(text) <= 4  # 2012 instead of 11, twice


def test_a_diary_comes_back_whole_and_goes_on() -> None:
    keeper, diary, rows = Keeper(), Diary(3), []
    for _ in range(3):
        noted(diary, 5)
        text, added = keeper.freeze(diary)
        rows += added
    restarted = Keeper()
    back = restarted.thaw(text, rows, Diary(3))
    np.testing.assert_array_equal(back.steps, diary.steps)
    np.testing.assert_array_equal(back.entropy, diary.entropy)
    np.testing.assert_array_equal(back.memory.last, diary.memory.last)
    for one in (diary, back):
        noted(one, 1)
    assert restarted.freeze(back) == keeper.freeze(diary)


def test_a_diary_that_was_altered_is_refused() -> None:
    keeper, diary = Keeper(), Diary(3)
    noted(diary, 4)
    text, rows = keeper.freeze(diary)
    for wrong in (rows[:-1], rows[1:], [rows[0]._replace(text=rows[1].text), *rows[1:]]):
        with pytest.raises(SessionError, match=r"remembers as (steps|entropy)"):
            Keeper().thaw(text, wrong, Diary(3))
    diary.steps.pop()
    with pytest.raises(SessionError, match="took items from steps, which its GROWS says only grows"):
        keeper.freeze(diary)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(VALUES)
def test_plain_values_come_back_equal(value: Any) -> None:
    assert thaw(freeze(value), None) == value
