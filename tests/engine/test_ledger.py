"""Ledger: what it derives, how it is stored, and what tells two of them apart."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import Lockstep, Shares, Sleeves, Table, panel_of, random_case
from tradekit.engine.ledger import ORDER, REASONS, Ledger, reason_text
from tradekit.engine.ledger_io import BARS, ORDERS, content_hash, first_difference, load_ledger, save_ledger
from tradekit.engine.simulate import simulate
from tradekit.errors import DataError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import Portfolios, Targets, View
    from tradekit.market.panel import Panel

FREE = CostModel.preset("free")
TENTHS = CostModel(commission_bps=10, spread_bps=10, slippage_bps=20, impact_coefficient=0, borrow_rate_annual=0)


def small() -> Ledger:
    """Buy 10 A at 10 and 5 B at 20, sell 4 A at 12: three orders, prices that stand still but for A's rise."""
    prices = np.array([[10.0, 20.0], [10.0, 20.0], [12.0, 20.0], [12.0, 20.0]])
    asked = np.array([[10.0, 5.0], [-4.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    return simulate(Shares(asked), panel_of(prices, prices), TENTHS, cash=1000)


def test_what_it_derives_by_hand() -> None:
    ledger = small()
    assert ledger.positions.tolist() == [[0, 0], [10, 5], [6, 5], [6, 5]]
    assert ledger.traded.tolist() == [0, 200, 48, 0]
    # Bought 2 x 100 at 1.002 and 0.1 % commission on it; sold 48 at 0.998 and 0.1 % of that.
    spent, got = 200 * 1.002 * 1.001, 48 * 0.998 * 0.999
    assert ledger.cash.tolist() == pytest.approx([1000, 1000 - spent, 1000 - spent + got, 1000 - spent + got])
    assert ledger.equity[-1] == pytest.approx(1000 - spent + got + 6 * 12 + 5 * 20)
    assert ledger.total_cost == pytest.approx(spent - 200 + 48 - got)
    assert ledger.cost_by_term == pytest.approx(
        {
            "commission": 0.1002 * 2 + 0.001 * 48 * 0.998,
            "spread": 0.248,
            "slippage": 0.248,
            "impact": 0,
            "regulatory": 0,
            "borrow": 0,
        }
    )
    assert ledger.turnover.tolist() == pytest.approx([0, 0.2, 48 / ledger.equity[1], 0])
    assert len(ledger.rejected) == len(ledger.partial) == 0
    assert ledger.total_return == pytest.approx(ledger.equity[-1] / 1000 - 1)
    assert ledger.returns.tolist() == pytest.approx((ledger.equity[1:] / ledger.equity[:-1] - 1).tolist())
    assert ledger.exposure[2] == pytest.approx((6 * 12 + 5 * 20) / ledger.equity[2])
    assert ledger.costs.dtype.names == ("commission", "spread", "slippage", "impact", "regulatory")
    assert len(ledger.costs) == len(ledger.orders) == 3


def test_what_was_refused_whole_or_in_part() -> None:
    """99 of 100 A are paid for; a sale of 5 B that nobody holds is refused; 4 of 99.5 A are truncated, not refused."""
    asked = np.array([[100.0, 0.0], [-4.5, -5.0], [0.0, 0.0]])
    panel = panel_of(np.full((3, 2), 10.0), np.full((3, 2), 10.0))
    ledger = simulate(Shares(asked), panel, FREE, ExecutionModel(fractional=False), cash=999)
    (part,), (none,) = ledger.partial, ledger.rejected
    assert (part["requested"], part["quantity"], reason_text(int(part["reason"]))) == (100, 99, "cash_limited")
    assert (none["requested"], none["quantity"], reason_text(int(none["reason"]))) == (-5, 0, "long_only")
    assert len(ledger.orders) == 3


def test_frames_speak_in_words() -> None:
    frame = small().orders_frame()
    assert frame["symbol"].tolist() == ["A", "B", "A"]
    assert frame["reason"].tolist() == ["filled"] * 3
    assert frame["filled"].dt.strftime("%Y-%m-%d").tolist() == ["2024-01-02", "2024-01-02", "2024-01-03"]
    equity = small().equity_frame()
    assert equity.columns.tolist() == ["equity", "cash", "exposure", "turnover"]
    assert len(equity) == 4


def test_every_reason_has_a_name_of_its_own() -> None:
    assert len(set(REASONS.values())) == len(REASONS)
    assert reason_text(sum(REASONS)).count("+") == len(REASONS) - 1
    assert reason_text(0) == "filled"


# -------------------------------------------------------------------------------------------------------------- storing


def same(left: Ledger, right: Ledger) -> bool:
    orders = all(np.array_equal(left.orders[n], right.orders[n], equal_nan=True) for n in ORDER.names or ())
    return orders and np.array_equal(left.equity, right.equity) and np.array_equal(left.cash, right.cash)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), sleeves=st.booleans())
def test_a_saved_ledger_is_the_same_ledger(tmp_path_factory: Any, seed: int, sleeves: bool) -> None:
    case, folder = random_case(seed), tmp_path_factory.mktemp("ledger")
    driver = Sleeves if sleeves else Shares if case.are_shares else Table
    targets = np.sign(case.targets) * np.minimum(np.abs(case.targets), 1.0) if sleeves else case.targets
    ledger = simulate(driver(targets), case.panel, case.costs, case.execution, case.cash)
    assert save_ledger(ledger, folder) == content_hash(ledger)
    again = load_ledger(folder)
    assert same(ledger, again)
    assert content_hash(again) == content_hash(ledger)
    assert first_difference(ledger, again) is None
    assert (again.cost_model, again.execution, again.name) == (ledger.cost_model, ledger.execution, ledger.name)
    assert (again.borrow_paid, again.interest_earned) == (ledger.borrow_paid, ledger.interest_earned)
    assert again.panel.columns == ledger.panel.columns
    assert (again.sleeve_equity is None) == (ledger.sleeve_equity is None)
    if ledger.sleeve_equity is not None and again.sleeve_equity is not None:
        assert np.array_equal(again.sleeve_equity, ledger.sleeve_equity)


def test_what_a_strategy_recorded_is_stored(tmp_path: Path) -> None:
    extras = {"action": np.arange(4), "chance": np.linspace(0, 1, 18).reshape(3, 2, 3), "mask": np.ones(4, np.bool_)}
    ledger = dataclasses.replace(small(), extras=extras)
    save_ledger(ledger, tmp_path)
    again = load_ledger(tmp_path).extras
    assert again.keys() == extras.keys()
    for name, array in extras.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)
    with pytest.raises(DataError, match="cannot save extras 'note'; record an array of numbers"):
        save_ledger(dataclasses.replace(ledger, extras={"note": "text"}), tmp_path)


def test_a_column_the_source_lacks_is_not_invented(tmp_path: Path, sample: Panel) -> None:
    panel = sample[-20:]
    save_ledger(simulate(Table(np.full(panel.close.shape, 0.04)), panel), tmp_path)
    again = load_ledger(tmp_path).panel
    assert again.columns == panel.columns == {"close"}
    assert again.content_hash == panel.content_hash


def test_every_part_is_in_the_hash() -> None:
    ledger = small()
    orders = ledger.orders.copy()
    orders["spread"][0] += 1e-9
    others = [
        dataclasses.replace(ledger, equity=ledger.equity + 1e-9),
        dataclasses.replace(ledger, cash=ledger.cash + 1e-9),
        dataclasses.replace(ledger, orders=orders),
        dataclasses.replace(ledger, cost_model=FREE),
        dataclasses.replace(ledger, execution=ExecutionModel(cash_buffer=0.1)),
        dataclasses.replace(ledger, extras={"a": np.zeros(4)}),
        dataclasses.replace(ledger, name="other"),
        dataclasses.replace(ledger, panel=dataclasses.replace(ledger.panel, volume=ledger.panel.volume + 1)),
    ]
    assert len({content_hash(one) for one in [ledger, *others]}) == 1 + len(others)


def test_a_changed_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    save_ledger(small(), tmp_path)
    changed = small()
    changed.orders["price"][0] *= 1.01
    save_ledger(changed, tmp_path / "changed")
    (tmp_path / ORDERS).write_bytes((tmp_path / "changed" / ORDERS).read_bytes())
    with pytest.raises(DataError, match="the ledger was changed after it was saved"):
        load_ledger(tmp_path)
    whole = (tmp_path / BARS).read_bytes()
    (tmp_path / BARS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a saved ledger, or a truncated one"):
        load_ledger(tmp_path)
    (tmp_path / BARS).unlink()
    with pytest.raises(DataError, match=r"no saved ledger; bars\.parquet is missing"):
        load_ledger(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the ledger"):
        save_ledger(small(), tmp_path / "file" / "below")


# ------------------------------------------------------------------------------------------------------------ comparing


def told(left: Ledger, right: Ledger, tolerance: float = 0.0) -> str:
    return str(first_difference(left, right, tolerance))


def test_a_dearer_run_parts_at_its_first_fill_and_says_why() -> None:
    ledger = small()
    asked = np.array([[10.0, 5.0], [-4.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    dearer = simulate(Shares(asked), ledger.panel, dataclasses.replace(TENTHS, spread_bps=60), cash=1000)
    assert told(ledger, dearer) == (
        "bar 1, 2024-01-02: price of the order for A is 10.02 in one and 10.07 in the other "
        "(the runs differ in spread_bps)"
    )


def test_another_decision_is_named_before_what_follows_from_it() -> None:
    ledger = small()
    asked = np.array([[10.0, 5.0], [-3.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    other = simulate(Shares(asked), ledger.panel, TENTHS, cash=1000)
    expected = "bar 2, 2024-01-03: requested of the order for A is -4.0 in one and -3.0 in the other"
    assert told(ledger, other) == expected
    asked[1] = 0.0
    quiet = simulate(Shares(asked), ledger.panel, TENTHS, cash=1000)
    assert told(ledger, quiet) == "bar 2, 2024-01-03: an order for A is True in one and False in the other"
    assert told(quiet, ledger) == "bar 2, 2024-01-03: an order for A is False in one and True in the other"


def test_other_data_is_the_first_cause() -> None:
    ledger = small()
    close = ledger.panel.close.copy()
    close[2, 1] = 21
    panel = dataclasses.replace(ledger.panel, close=close)
    other = dataclasses.replace(ledger, panel=panel, equity=ledger.equity + np.array([0, 0, 5, 0]))
    assert told(ledger, other) == "bar 2, 2024-01-03: close of B is 20.0 in one and 21.0 in the other"


def test_a_wider_spread_is_data_too(tmp_path: Path) -> None:
    ledger = small()
    panel = dataclasses.replace(ledger.panel, spread_multiple=np.array([1.0, 1.0, 5.0, 1.0]))
    other = simulate(Shares(np.array([[10.0, 5.0], [-4.0, 0.0], [0.0, 0.0], [0.0, 0.0]])), panel, TENTHS, cash=1000)
    assert told(ledger, other) == "bar 2, 2024-01-03: spread_multiple is 1.0 in one and 5.0 in the other"
    assert content_hash(ledger) != content_hash(other)
    save_ledger(other, tmp_path)
    assert first_difference(load_ledger(tmp_path), other) is None


def test_whatever_a_ledger_holds_by_bars_is_compared() -> None:
    ledger = dataclasses.replace(small(), extras={"chosen": np.array([1, 2, 0])})
    panel = ledger.panel
    index = np.where(np.arange(4) == 2, 0.5, panel.benchmark_returns)
    others = [
        dataclasses.replace(ledger, panel=dataclasses.replace(panel, benchmark_returns=index)),
        dataclasses.replace(ledger, panel=panel.with_side("vix", np.arange(4.0))),
        dataclasses.replace(ledger, extras={"chosen": np.array([1, 5, 0])}),
        dataclasses.replace(ledger, extras={"chosen": np.zeros((3, 2))}),
    ]
    assert [told(ledger, other).partition(" in one")[0] for other in others] == [
        f"bar 2, 2024-01-03: benchmark_returns is {panel.benchmark_returns[2]}",
        "bar 0, 2024-01-01: side series vix is False",
        "bar 1, 2024-01-02: chosen is 2",
        "bar 0, 2024-01-01: shape of chosen is (3,)",
    ]
    assert told(ledger, dataclasses.replace(ledger, extras={})) == "None"
    short = dataclasses.replace(ledger, extras={"chosen": np.array([1, 2])})
    assert told(ledger, short) == "None"


def test_sleeves_that_add_up_to_the_same_are_told_apart() -> None:
    case = random_case(1)
    ledger = simulate(Sleeves(np.full(case.panel.close.shape, 0.5)), case.panel, FREE)
    assert ledger.sleeve_equity is not None
    moved = ledger.sleeve_equity.copy()
    moved[1, [0, -1]] += [1.0, -1.0]
    other = dataclasses.replace(ledger, sleeve_equity=moved)
    assert told(ledger, other).startswith("bar 1, 2024-01-02: equity of the sleeve of A is ")


def test_a_tolerance_forgives_rounding_only() -> None:
    ledger = small()
    near = dataclasses.replace(ledger, equity=ledger.equity * (1 + 1e-12))
    assert told(ledger, near, 1e-9) == "None"
    assert told(ledger, near).startswith("bar 0, 2024-01-01: equity is 1000.0 in one and")


def test_a_shorter_run_and_other_symbols() -> None:
    ledger = small()
    short = simulate(Shares(np.array([[10.0, 5.0], [-4.0, 0.0], [0, 0]])), ledger.panel[:3], TENTHS, cash=1000)
    assert told(ledger, short) == "bar 3, 2024-01-04: number of bars is 4 in one and 3 in the other"
    other = simulate(Shares(np.zeros((4, 1))), ledger.panel.select(["B"]), TENTHS)
    with pytest.raises(DataError, match="hold other symbols"):
        first_difference(ledger, other)


# -------------------------------------------------------------------------------------------------------------- extras


class Diary(Lockstep):
    """Record what every portfolio was told, scenario by scenario."""

    def start(self, portfolios: int) -> Any:
        return []

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        answer = super().decide(view, portfolios, state)
        state.append(answer.values[:, 0] + portfolios.cash)
        return answer

    def extras(self, state: Any, portfolios: slice) -> dict[str, Any]:
        return {"told": np.stack(state)[:, portfolios]}


def test_extras_are_those_of_the_scenario() -> None:
    panel = panel_of(np.full((4, 1), 10.0), np.full((4, 1), 10.0))
    ledgers = simulate(Diary(np.full((4, 1), 0.5)), panel, [FREE, TENTHS], cash=1000)
    assert ledgers[0].extras["told"][:, 0].tolist() == [1000.5, 500.5, 500.5]
    assert (ledgers[1].extras["told"][1:, 0] < 500.5).all()
