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
from tradekit.live.memory import freeze, thaw


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


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner), max_leaves=12
)


@given(VALUES)
def test_plain_values_come_back_equal(value: Any) -> None:
    assert thaw(freeze(value), None) == value
