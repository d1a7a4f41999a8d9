"""vectorbt as an independent engine, and as a reader of ledgers."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.worlds import Shares, Sleeves, Table, panel_of, random_case
from tradekit.engine.ledger import REASONS
from tradekit.engine.simulate import simulate
from tradekit.errors import DataError
from tradekit.market import kernel
from tradekit.market.costs import CostModel

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Floats, Panel

RUST = importlib.util.find_spec("vectorbt_rust") is not None
# Both are named: vectorbt's "auto" takes whichever is installed.
ENGINES = ["numba", pytest.param("rust", marks=pytest.mark.skipif(not RUST, reason="vectorbt-rust is not installed"))]
LINEAR = CostModel(commission_bps=10, spread_bps=3, slippage_bps=4, slippage_mode="worst", impact_coefficient=0)


@pytest.fixture(scope="module", autouse=True)
def vectorbt() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports, which are not ours to mend
        return pytest.importorskip("vectorbt")


def from_orders(
    vectorbt: Any, engine: str, panel: Panel, weights: Floats, costs: CostModel, prices: Floats, cash: float
) -> Floats:
    """Return the equity of the same weights as vectorbt simulates them.

    It fills a row's order in that row, so the weights move down one bar; ``val_price`` sizes them at the close before.
    """
    later = np.vstack([np.full((1, weights.shape[1]), np.nan), weights[:-1]])
    before = np.vstack([np.full((1, weights.shape[1]), np.nan), panel.close[:-1]])
    portfolio = vectorbt.Portfolio.from_orders(
        close=panel.close,
        size=later,
        size_type="targetpercent",
        price=prices,
        val_price=before,
        fees=costs.commission_bps * 1e-4,
        slippage=(costs.spread_bps + costs.slippage_bps) * 1e-4,
        init_cash=cash,
        cash_sharing=True,
        group_by=True,
        call_seq="auto",
        engine=engine,
    )
    assert portfolio.engine == engine
    return np.asarray(portfolio.value(), dtype=np.float64)


def rebalanced(panel: Panel, every: int) -> Floats:
    """Return weights of at most 0.9 in all, now and then, with exits and symbols left alone.

    They are near enough to equal for what is left alone not to take the cash that the others need.
    """
    rng = np.random.default_rng(8)
    weights: Floats = 0.9 * rng.dirichlet(np.full(len(panel.symbols), 20.0), len(panel))
    weights[rng.random(weights.shape) < 0.1] = 0.0
    weights[rng.random(weights.shape) < 0.05] = np.nan
    weights[np.arange(len(panel)) % every != 0] = np.nan
    return weights


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("every", [1, 21])
def test_linear_costs_equal_vectorbt_on_real_closes(sample: Panel, vectorbt: Any, every: int, engine: str) -> None:
    panel = sample[-2000:]
    weights = rebalanced(panel, every)
    ledger = simulate(Table(weights), panel, LINEAR, cash=1e6)
    assert (len(panel.symbols), len(ledger.equity)) == (20, 2000)
    assert ledger.execution.fills_at(panel) == "close"
    assert (ledger.orders["reason"] == 0).all()
    expected = from_orders(vectorbt, engine, panel, weights, LINEAR, panel.close, 1e6)
    np.testing.assert_allclose(ledger.equity, expected, rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_linear_costs_equal_vectorbt_at_the_open(sample: Panel, vectorbt: Any, engine: str) -> None:
    closes = sample.close[-500:]
    opens = closes * np.exp(np.random.default_rng(3).normal(0, 0.01, closes.shape))
    panel = panel_of(opens, closes)
    weights = rebalanced(panel, 1)
    ledger = simulate(Table(weights), panel, LINEAR, cash=1e6)
    assert (ledger.orders["reason"] == 0).all()
    np.testing.assert_allclose(
        ledger.equity, from_orders(vectorbt, engine, panel, weights, LINEAR, opens, 1e6), rtol=1e-9
    )


# ----------------------------------------------------------------------------------------------------- reading a ledger


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("driver", [Table, Sleeves, Shares])
def test_the_portfolio_is_worth_the_ledger(driver: type[Table], short: bool) -> None:
    """Rejected, partial and cash-limited orders, shorts, whole shares, and each of several scenarios."""
    reasons, lowest = 0, 0.0
    for seed in range(25):
        case = random_case(seed)
        execution = dataclasses.replace(case.execution, allow_short=short)
        costs = dataclasses.replace(case.costs, borrow_rate_annual=0.0, cash_interest_annual=0.0)
        weights = case.targets if short else np.abs(case.targets)
        weights = weights / np.maximum(1.0, np.nansum(np.abs(weights), axis=1, keepdims=True))
        targets = case.cash / 50 * weights if driver is Shares else weights
        scenarios = [costs, costs.shocked(2.0), costs.scaled(0.0)]
        for ledger in simulate(driver(targets), case.panel, scenarios, execution, case.cash):
            assert_equal_value(ledger)
            reasons |= int(np.bitwise_or.reduce(ledger.orders["reason"], initial=0))
            lowest = min(lowest, ledger.positions.min())
    assert {kernel.CASH_LIMITED, kernel.PARTICIPATION, kernel.UNTRADABLE} <= {
        flag for flag in REASONS if reasons & flag
    }
    assert bool(lowest < 0.0) == short


def assert_equal_value(ledger: Ledger) -> None:
    portfolio = ledger.to_vectorbt()
    value = portfolio.value()
    assert (np.asarray(value.index) == ledger.timestamps).all()
    # vectorbt takes a sum within 1e-9 of its parts for zero, such as cash that is all but spent.
    most = 1e-9 * max(ledger.equity.max(), ledger.traded.max())
    np.testing.assert_allclose(np.asarray(value), ledger.equity, rtol=1e-9, atol=most)
    np.testing.assert_allclose(np.asarray(portfolio.cash()), ledger.cash, rtol=0, atol=most)
    if ledger.sleeve_equity is not None:
        each = np.asarray(portfolio.value(group_by=False))
        np.testing.assert_allclose(each, ledger.sleeve_equity, rtol=1e-9)
    assert portfolio.orders.count() == (ledger.orders["quantity"] != 0).sum()


def test_the_portfolio_answers_vectorbts_questions(sample: Panel) -> None:
    panel = sample[-300:]
    ledger = simulate(Table(rebalanced(panel, 21)), panel, LINEAR)
    portfolio = ledger.to_vectorbt()
    assert portfolio.total_return() == pytest.approx(ledger.total_return, rel=1e-9)
    fees = ledger.orders["commission"] + ledger.orders["regulatory"]
    assert portfolio.orders.fees.sum() == pytest.approx(fees.sum())
    assert portfolio.trades.count() > 0
    peak = np.maximum.accumulate(ledger.equity)
    assert portfolio.max_drawdown() == pytest.approx((ledger.equity / peak - 1).min(), rel=1e-9)


def test_what_orders_cannot_express_is_refused(sample: Panel) -> None:
    panel = sample[-50:]
    weights = rebalanced(panel, 5)
    with pytest.raises(DataError, match="vectorbt knows no borrow and no interest"):
        simulate(Table(weights), panel, dataclasses.replace(LINEAR, cash_interest_annual=0.02)).to_vectorbt()
    with pytest.raises(DataError, match="the run kept no orders; run simulate with records=True"):
        simulate(Table(weights), panel, LINEAR, records=False).to_vectorbt()
