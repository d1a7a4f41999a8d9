"""Round trips: by hand, and against the account that they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tradekit.market.costs import TERMS
from tradekit.report.record import ORDER_NUMBERS, Orders
from tradekit.report.run_folder import read_run
from tradekit.report.trades import round_trips

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.walk_forward import WalkForward

DAYS = np.arange("2024-01-01", "2024-02-01", dtype="M8[D]").astype("M8[ns]")


def _orders(quantity: list[float], price: list[float], cost: list[float]) -> Orders:
    count = len(quantity)
    numbers = {name: np.zeros(count) for name in ORDER_NUMBERS}
    numbers |= {"quantity": np.array(quantity), "reference": np.array(price), TERMS[0]: np.array(cost)}
    words = {"strategy": np.full(count, "mine"), "symbol": np.full(count, "A"), "reason": np.full(count, "filled")}
    return Orders(decided=DAYS[:count], filled=DAYS[1 : count + 1], numbers=numbers, **words)


def test_two_purchases_and_a_sale_by_hand() -> None:
    # 2 at 10 and 2 at 20, sold at 30 in two parts; 0 shares filled is no fill.
    (trip,) = round_trips(_orders([2.0, 0.0, 2.0, -1.0, -3.0], [10, 99, 20, 30, 30], [1, 0, 1, 1, 1]))
    assert (trip.side, trip.fills, trip.shares) == ("long", 4, 4.0)
    assert (trip.entered, trip.exited) == (DAYS[1], DAYS[5])
    assert (trip.entry_price, trip.exit_price) == (15.0, 30.0)
    assert (trip.cost, trip.profit) == (4.0, 120.0 - 60.0 - 4.0)
    assert trip.profit_rate == pytest.approx(56.0 / 60.0)


def test_an_order_that_turns_a_position_around_counts_for_both() -> None:
    # 2 long at 10; 6 sold at 11 for a cost of 3: a third closes, the rest opens 4 short, bought back at 9.
    first, second = round_trips(_orders([2.0, -6.0, 4.0], [10, 11, 9], [0, 3, 0]))
    assert (first.side, first.profit, first.cost) == ("long", 2.0 - 1.0, 1.0)
    assert (second.side, second.shares, second.profit, second.cost) == ("short", 4.0, 8.0 - 2.0, 2.0)
    assert first.exited == second.entered == DAYS[2]


def test_sums_of_floats_are_flat() -> None:
    trips = round_trips(_orders([0.1, 0.2, -0.3, 1.0], [10] * 4, [0] * 4))
    assert [np.isnat(one.exited) for one in trips] == [False, True]
    assert np.isnan(trips[1].profit)
    assert np.isnan(trips[1].exit_price)


@pytest.mark.parametrize("name", ["buy_and_hold", "rotation", "breaks", "symbol_ppo"])
def test_they_add_up_to_the_gain_of_the_account(name: str, walked: WalkForward, walked_folder: Path) -> None:
    ledger = walked.run(name).ledger
    assert ledger is not None
    table: list[dict[str, Any]] = [
        row for row in pq.read_table(walked_folder / "trades.parquet").to_pylist() if row["strategy"] == name
    ]
    done = sum(row["profit"] for row in table if row["exited"] is not None)
    still = [row for row in table if row["exited"] is None]
    orders = read_run(walked_folder).orders.of(name)
    held = 0.0
    for row in still:  # worth what it is marked at, less what it cost
        mine = (orders.symbol == row["symbol"]) & (orders.filled >= np.datetime64(row["entered"]))
        shares, prices = orders.numbers["quantity"][mine], orders.numbers["reference"][mine]
        mark = ledger.panel.mark[-1, ledger.symbols.index(row["symbol"])]
        held += shares.sum() * mark - (shares * prices).sum() - row["cost"]
    assert done + held == pytest.approx(ledger.equity[-1] - ledger.equity[0], abs=1e-6)
    assert table
