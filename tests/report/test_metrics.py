"""Metrics of a track against numbers worked by hand, and against the ledger they come from."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.report.conftest import SEEN
from tradekit.market.costs import TERMS
from tradekit.report.metrics import ANNUAL, costs_of, metrics_of, orders_of, scored, window_metrics
from tradekit.report.record import Orders, Record, Track, WindowRow, record_of
from tradekit.report.run_folder import versions

if TYPE_CHECKING:
    from tradekit.engine.walk_forward import WalkForward

# Five bars. Bought in bar 1 for 60 dollars at a cost of 1 + 0.5, sold in bar 3 for 99 at 2.
TRACK = Track(
    strategy="hand",
    scenario="base",
    timestamps=np.arange("2020-01-01", "2020-01-06", dtype="M8[D]").astype("M8[ns]"),
    equity=np.array([100.0, 110.0, 99.0, 99.0, 108.9]),
    cash=np.array([100.0, 50.0, 50.0, 99.0, 108.9]),
    exposure=np.array([0.0, 0.5, 0.5, 0.0, 0.0]),
    benchmark=np.array([np.nan, 0.05, -0.10, 0.0, 0.02]),
    traded=np.array([0.0, 60.0, 0.0, 99.0, 0.0]),
    fills=np.array([0, 2, 0, 1, 0]),
    costs=np.array([[0.0] * 5, [1.0, 0.5, 0, 0, 0], [0.0] * 5, [0, 2.0, 0, 0, 0], [0.0] * 5]),
    scored_from=1,
)


def test_by_hand() -> None:
    found = metrics_of(TRACK, bars_per_year=4.0, fewest=2)
    deviation = math.sqrt(0.0275 / 3.0)
    expected = {
        "bars": 4,
        "sessions": 4,
        "total_return": 0.089,
        "cagr": 0.089,
        "volatility": 2.0 * deviation,
        "sharpe": 2.0 * 0.025 / deviation,
        "max_drawdown": 0.1,
        "longest_drawdown_bars": 3,
        "hit_rate": 2.0 / 3.0,
        "profit_factor": 2.0,
        "session_hit_rate": 2.0 / 3.0,
        "session_profit_factor": 2.0,
        "exposure": 0.25,
        "turnover": 60.0 / 100.0 + 99.0 / 99.0,
        "trades": 3,
        "cost": 3.5,
        "cost_a_year": 1.5 / 100.0 + 2.0 / 99.0,
        "cost_ratio": 3.5 / (8.9 + 3.5),
        "benchmark_total_return": 1.05 * 0.9 * 1.02 - 1.0,
        "excess_over_benchmark": 0.089 - (1.05 * 0.9 * 1.02 - 1.0),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["sharpe_low"] < found["sharpe"] < found["sharpe_high"]


def test_nothing_is_annualised_on_a_few_bars() -> None:
    found = metrics_of(TRACK, bars_per_year=252.0)
    assert all(math.isnan(found[name]) for name in ANNUAL)
    assert found["total_return"] == pytest.approx(0.089)
    assert found["trades"] == 3
    assert found["max_drawdown"] == pytest.approx(0.1)
    long = replace(
        TRACK,
        timestamps=np.arange("2020-01-01", "2020-01-22", dtype="M8[D]").astype("M8[ns]"),
        equity=np.resize(TRACK.equity, 21),
        exposure=np.zeros(21),
        benchmark=np.zeros(21),
        traded=np.zeros(21),
        fills=np.zeros(21, np.int64),
        costs=np.zeros((21, len(TERMS))),
    )
    assert not math.isnan(metrics_of(long, bars_per_year=252.0)["sharpe"])
    assert math.isnan(metrics_of(replace(long, scored_from=2), bars_per_year=252.0)["sharpe"])


def test_bars_of_a_day_make_a_session() -> None:
    hours = np.array(["2020-01-02T15", "2020-01-02T16", "2020-01-03T15", "2020-01-03T16", "2020-01-03T17"], "M8[ns]")
    found = metrics_of(replace(TRACK, timestamps=hours), bars_per_year=1764.0)
    # The first session has +0.1 left of it; the second makes -0.1, 0 and +0.1, together -0.01.
    assert found["sessions"] == 2
    assert found["session_hit_rate"] == 0.5
    assert found["session_profit_factor"] == pytest.approx(10.0)


def test_costs_by_term() -> None:
    assert costs_of(TRACK, 4.0)["dollars"] == {
        "commission": 1.0,
        "spread": 2.5,
        "slippage": 0.0,
        "impact": 0.0,
        "regulatory": 0.0,
    }
    assert costs_of(TRACK, 4.0)["a_year"]["spread"] == pytest.approx(0.5 / 100.0 + 2.0 / 99.0)


def test_only_scored_bars_count() -> None:
    late = replace(TRACK, scored_from=3)
    found = metrics_of(late, bars_per_year=2.0)
    assert found["bars"] == 2
    assert found["total_return"] == pytest.approx(0.1)
    assert found["trades"] == 1
    assert found["cost"] == 2.0
    assert found["max_drawdown"] == 0.0
    assert found["benchmark_total_return"] == pytest.approx(0.02)


def test_a_run_without_a_scored_bar_has_no_numbers() -> None:
    found = metrics_of(replace(TRACK, scored_from=5), bars_per_year=4.0)
    assert found["bars"] == found["trades"] == found["cost"] == 0
    assert all(math.isnan(found[name]) for name in ("total_return", "sharpe", "turnover", "exposure"))


def test_windows_by_hand() -> None:
    stamp = TRACK.timestamps[0]
    whole = WindowRow("hand", 1, stamp, stamp, stamp, stamp, 0, 5, None)
    found = [window_metrics(TRACK, whole._replace(first=a, last=b), 4.0) for a, b in ((0, 3), (3, 5))]
    assert [row["bars"] for row in found] == [2, 2]
    assert [row["total_return"] for row in found] == pytest.approx([-0.01, 0.1])
    assert found[0]["max_drawdown"] == pytest.approx(0.1)
    assert found[0]["benchmark_total_return"] == pytest.approx(1.05 * 0.9 - 1.0)


def test_seen_bars_of_a_window_do_not_count() -> None:
    stamp = TRACK.timestamps[0]
    first = WindowRow("hand", 1, stamp, stamp, stamp, stamp, 0, 3, None)
    late = replace(TRACK, scored_from=2)
    partly = window_metrics(late, first, 4.0)
    assert (partly["bars"], partly["seen_bars"]) == (1, 1)
    assert partly["total_return"] == pytest.approx(-0.1)
    wholly = window_metrics(replace(TRACK, scored_from=4), first, 4.0)
    assert (wholly["bars"], wholly["seen_bars"]) == (0, 2)
    assert math.isnan(wholly["total_return"])


def test_orders_by_hand() -> None:
    times = TRACK.timestamps
    orders = Orders(
        strategy=np.array(["hand"] * 4),
        symbol=np.array(["A"] * 4),
        decided=times[[0, 0, 1, 2]],
        filled=times[[1, 1, 2, 3]],
        numbers={"quantity": np.array([5.0, 2.0, 0.0, -7.0])},
        reason=np.array(["filled", "cash_limited", "untradable", "filled"]),
    )
    assert orders_of(orders, TRACK) == {
        "requested": 4,
        "filled": 2,
        "partial": 1,
        "rejected": 1,
        "reasons": {"cash_limited": 1, "untradable": 1},
    }
    assert orders_of(orders, replace(TRACK, scored_from=3))["requested"] == 1


@pytest.fixture(scope="module")
def record(walked: WalkForward) -> Record:
    run = {"file_hashes": {}, "bundle_hashes": {}, "versions": versions(), "action_names": [], "action_reasons": []}
    return record_of(walked, run)


def test_all_strategies_are_scored_on_the_same_bars(record: Record) -> None:
    assert {track.scored_from for track in record.tracks} == {1}  # every run starts at the last bar the policy has seen
    assert {len(scored(track).returns) for track in record.tracks} == {200 - SEEN - 1}


def test_a_track_holds_what_its_ledger_holds(walked: WalkForward, record: Record) -> None:
    for name, track in record.base.items():
        ledger = walked.run(name).ledger
        assert ledger is not None
        assert track.costs.sum() == pytest.approx(ledger.total_cost)
        assert track.costs.sum(axis=0) == pytest.approx([ledger.orders[term].sum() for term in TERMS])
        assert track.fills.sum() == np.count_nonzero(ledger.orders["quantity"])
        np.testing.assert_array_equal(track.equity, ledger.equity)


def test_windows_compound_to_the_whole(record: Record) -> None:
    track = record.base["rotation"]
    growth = [
        1.0 + window_metrics(track, row, record.bars_per_year)["total_return"]
        for row in record.windows
        if row.strategy == "rotation"
    ]
    assert len(growth) == 4
    assert np.prod(growth) - 1.0 == pytest.approx(metrics_of(track, record.bars_per_year)["total_return"])
