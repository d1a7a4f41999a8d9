"""The ledger worked by hand in docs/execution.md, against the kernel, simulate and the slow reference."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.golden.tables import number, table
from tests.reference import run
from tests.worlds import EventStyle, Lockstep, Shares, Table, panel_of
from tradekit.engine.ledger import reason_text
from tradekit.engine.simulate import simulate
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Floats, Panel

COSTS = CostModel(commission_bps=10, spread_bps=10, slippage_bps=20, impact_coefficient=0)
EXECUTION = ExecutionModel(fractional=False, max_participation=0.1, min_trade=200)
EVERY_TERM = CostModel(
    commission_bps=10,
    commission_per_share=0.01,
    commission_minimum=20,
    spread_bps=10,
    slippage_bps=20,
    impact_coefficient=0.01,
    regulatory=1,
)


def golden() -> tuple[Panel, Floats]:
    """Return the panel and the wanted weights of the ten bars."""
    rows = table("Bars and wanted weights")
    column = {name: np.array([number(row[name]) for row in rows]) for name in rows[0] if name != "bar"}
    arrays = {
        item: np.column_stack([column[f"{symbol} {item}"] for symbol in "AB"]) for item in ("open", "close", "volume")
    }
    panel = panel_of(arrays["open"], arrays["close"], arrays["volume"])
    return panel, np.column_stack([column["want A"], column["want B"]])


def near(cell: str, *, rounded: bool = False) -> Any:
    """Compare with a cell of the document: six decimals where it is rounded, else to the last bits of a float."""
    return pytest.approx(number(cell), rel=1e-13, abs=0.5e-6 if rounded else 1e-10, nan_ok=True)


@pytest.mark.parametrize("strategy", [Table, Lockstep, EventStyle])
@pytest.mark.parametrize("scenarios", [1, 3])
def test_ten_bars(strategy: type[Table], scenarios: int) -> None:
    panel, weights = golden()
    for ledger in simulate(strategy(weights), panel, [COSTS] * scenarios, EXECUTION, 100_000):
        assert_closes(ledger)
        assert_orders(ledger)


def assert_closes(ledger: Ledger) -> None:
    rows = table("Closes")
    assert len(rows) == len(ledger.equity)
    for t, row in enumerate(rows):
        assert ledger.cash[t] == near(row["cash"])
        assert ledger.equity[t] == near(row["equity"])
        assert list(ledger.positions[t]) == [number(row["A"]), number(row["B"])]


def assert_orders(ledger: Ledger) -> None:
    rows = table("Orders")
    assert len(rows) == len(ledger.orders)
    for order, row in zip(ledger.orders, rows, strict=True):
        assert [order["decision_bar"], order["fill_bar"]] == [number(row["decided"]), number(row["filled"])]
        assert ledger.symbols[order["symbol"]] == row["symbol"]
        assert order["requested"] == near(row["asked"], rounded=True)
        assert order["quantity"] == number(row["done"])
        for name in ("reference", "price", "spread", "slippage", "commission"):
            assert order[name] == near(row[name]), (row, name)
        assert order["impact"] == order["regulatory"] == 0.0
        assert reason_text(int(order["reason"])) == row["reason"]


def test_the_reference_finds_the_same_numbers_exactly() -> None:
    panel, weights = golden()
    result = run(panel, weights, COSTS, EXECUTION, "100000")
    for t, row in enumerate(table("Closes")):
        assert (result.cash[t], result.equity[t]) == (Decimal(row["cash"]), Decimal(row["equity"]))
    rows = table("Orders")
    assert len(rows) == len(result.orders)
    for order, row in zip(result.orders, rows, strict=True):
        assert (order.decided, order.filled, "AB"[order.symbol]) == (
            int(row["decided"]),
            int(row["filled"]),
            row["symbol"],
        )
        assert float(order.asked) == near(row["asked"], rounded=True)
        assert order.done == Decimal(row["done"])
        assert order.reasons == {row["reason"]} - {"filled"}
        for term, value in order.terms.items():
            assert value == Decimal(row.get(term, "0"))


def test_the_ledger_adds_up() -> None:
    """The final equity is what the same fills bring without costs, less every cost in the document."""
    frictionless = 100_000.0
    for row in table("Orders"):
        if row["done"] != "0":
            frictionless -= number(row["done"]) * number(row["reference"])
            frictionless -= number(row["spread"]) + number(row["slippage"]) + number(row["commission"])
    assert frictionless == near(table("Closes")[-1]["equity"])


def two_trades() -> Panel:
    """Return three sessions of one stock, priced as in the document."""
    opens, closes = np.array([[50.0], [50.0], [40.0]]), np.array([[50.0], [50.41035], [40.0]])
    dates = np.array(["2024-06-03", "2024-06-04", "2024-06-05"], "M8[ns]")
    return panel_of(opens, closes, timestamps=dates, symbols=("X",))


def test_two_trades_with_every_term() -> None:
    wanted = np.array([[500.0], [-400.0], [0.0]])
    ledger = simulate(Shares(wanted), two_trades(), EVERY_TERM, cash=100_000)
    result = run(two_trades(), wanted, EVERY_TERM, ExecutionModel(), "100000", shares=True)
    rows = table("Terms")
    for t, (row, order, slow) in enumerate(zip(rows, ledger.orders, result.orders, strict=True), 1):
        assert str(ledger.timestamps[order["fill_bar"]]).startswith(row["filled"])
        assert order["quantity"] == slow.done == number(row["done"])
        assert order["price"] == near(row["price"])
        assert ledger.cash[t] == near(row["cash"])
        assert float(result.cash[t]) == near(row["cash"])
        for term, value in slow.terms.items():
            assert order[term] == near(row[term]), term
            assert float(value) == near(row[term]), term
    assert ledger.equity[1] == near("100000")
