"""Moves that no market made: splits, spikes and wicks, and adjusted closes that their actions do not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.tables import Frame, daily, half_hours, scale
from tests.market.test_quality import only
from tradekit.market.quality import check
from tradekit.market.quality.jumps import SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable

PRICES = ["open", "high", "low", "close"]


@given(split=st.sampled_from(SPLITS), row=st.integers(30, 270), seed=st.integers(0, 50))
@settings(max_examples=150)
def test_every_split_in_use_is_found_where_it_is(split: tuple[int, int], row: int, seed: int) -> None:
    new, old = split
    found = only(check(scale(daily(seed=seed), row, new / old)), "unadjusted_split")
    assert (found.rows, found.value, found.severity) == ((row,), new / old, "error")


@pytest.mark.parametrize("columns", [PRICES, ["close"]])
def test_splits_without_volume_or_ranges(columns: list[str]) -> None:
    raw = scale(daily(), 100, 7.0)[["timestamp", *columns]]
    assert only(check(raw), "unadjusted_split").value == 7.0


def test_a_split_is_named_by_the_first_bar_of_its_session() -> None:
    table = half_hours()
    row = int(np.argmax(table["timestamp"] >= pd.Timestamp("2023-12-01", tz="UTC")))
    found = only(check(scale(table, row, 10.0)), "unadjusted_split")
    assert (found.rows, found.value) == ((row,), 10.0)


def traded(table: Frame, row: int, ratio: float) -> Frame:
    """Return bars that fall by a ratio as real ones do: on many times the volume and over a wide range."""
    moved = table.copy()
    moved.loc[row:, PRICES] /= ratio
    moved.loc[row, "high"] *= 1.15
    moved.loc[row, "low"] /= 1.15
    moved.loc[row, "volume"] *= 12
    return moved


@pytest.mark.parametrize("ratio", [2.0, 1.5, 0.5])
def test_a_move_of_a_splits_size_that_was_traded_is_only_noted(ratio: float) -> None:
    report = check(traded(daily(), 100, ratio))
    assert [(found.check, found.severity) for found in report.findings] == [("large_move", "note")]
    assert report.ok


def test_a_bid_at_a_fixed_price_is_no_error() -> None:
    table = daily()
    table.loc[100:, PRICES] = 1.5 * table.loc[99, "close"] * (table.loc[100:, PRICES] / table.loc[100, "close"]) ** 0.02
    table.loc[100, "volume"] *= 40
    report = check(table)
    assert [(found.check, found.severity, found.rows) for found in report.findings] == [
        ("level_shift", "warning", (100,))
    ]


def test_a_step_that_is_no_split() -> None:
    found = only(check(scale(daily(), 100, 1 / 1.6)), "level_shift")
    assert (found.rows, found.severity) == ((100,), "error")
    assert found.value == pytest.approx(np.log(1.6), abs=0.03)


@given(
    row=st.integers(25, 270),
    length=st.integers(1, 3),
    factor=st.sampled_from([0.05, 0.5, 0.75, 1.3, 2.0, 100.0]),
    seed=st.integers(0, 50),
)
@settings(max_examples=100)
def test_spikes_that_revert_are_found_whole(row: int, length: int, factor: float, seed: int) -> None:
    table = daily(seed=seed)
    table.loc[row : row + length - 1, PRICES] *= factor
    found = only(check(table), "spike")
    assert found.rows == tuple(range(row, row + length))
    assert found.repair == "drop_spikes"


def test_a_spike_of_closes() -> None:
    table = daily()[["timestamp", "close"]]
    table.loc[100, "close"] *= 2.0
    found = only(check(table), "spike")
    assert (found.rows, found.severity) == ((100,), "warning")


def test_a_wick_that_nothing_traded_in() -> None:
    table = daily()
    table.loc[100, "high"] *= 1.3
    assert check(table).findings == ()  # someone paid it
    table.loc[100, "volume"] = 0.0
    found = only(check(table), "wick")
    assert (found.rows, found.repair) == ((100,), "clip_wicks")


# Corporate actions


def with_actions(applied: Callable[[int], bool]) -> Frame:
    """Return bars with 2:1 splits recorded on rows 100 and 200, in the prices where ``applied`` says so."""
    table = daily().assign(split=1.0, dividend=0.0)
    for row in (100, 200):
        table.loc[row, "split"] = 2.0
        table = table if applied(row) else scale(table, row, 2.0)
    return table


def test_recorded_splits_that_are_not_applied() -> None:
    report = check(with_actions(lambda row: False))
    assert [(found.check, found.rows, found.value, found.repair) for found in report.findings] == [
        ("unadjusted_split", (100,), 2.0, "apply_actions"),
        ("unadjusted_split", (200,), 2.0, "apply_actions"),
    ]


def test_recorded_splits_that_are_applied_are_noted() -> None:
    report = check(with_actions(lambda row: True))
    assert [(found.check, found.severity, found.rows) for found in report.findings] == [("actions", "note", (100, 200))]


def test_splits_of_which_one_is_applied() -> None:
    report = check(with_actions(lambda row: row == 100))
    assert [(found.check, found.severity, found.rows) for found in report.findings] == [
        ("actions", "error", (100,)),
        ("unadjusted_split", "error", (200,)),
    ]


def test_an_adjusted_close_that_its_actions_do_not_give() -> None:
    table = daily().assign(split=0.0, dividend=0.0)
    table.loc[100, "dividend"] = 1.0
    rest = 1 - 1.0 / table.loc[99, "close"]
    right = table["close"] * np.where(np.arange(300) < 100, rest, 1.0)
    assert check(table.assign(adj_close=right)).findings == ()
    wrong = right * np.where(np.arange(300) < 200, 0.97, 1.0)
    found = only(check(table.assign(adj_close=wrong)), "actions")
    assert (found.rows, found.severity) == ((200,), "warning")
    assert found.value == pytest.approx(0.03)


def test_an_adjusted_close_that_falls_without_actions() -> None:
    table = daily()
    adjusted = table["close"] * np.where(np.arange(300) < 100, 1.05, 1.0)
    assert only(check(table.assign(adj_close=adjusted)), "actions").rows == (100,)


def test_a_raw_close_beside_an_adjusted_one() -> None:
    table = daily()
    raw = scale(table, 100, 3.0).assign(adj_close=table["close"])
    found = only(check(raw), "unadjusted_split")
    assert (found.rows, found.repair) == ((100,), "scale_to_adjusted")
    assert found.value == pytest.approx(3.0, rel=1e-9)


def test_a_special_dividend_explains_its_move() -> None:
    table = scale(daily(), 100, 1.3).assign(split=0.0, dividend=0.0)
    assert only(check(table.drop(columns=["split", "dividend"])), "level_shift").rows == (100,)
    table.loc[100, "dividend"] = table.loc[99, "close"] * 0.3 / 1.3
    (found,) = check(table).findings
    assert (found.check, found.severity) == ("large_dividend", "note")


# The report
