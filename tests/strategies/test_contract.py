"""What every shipped strategy is held to, whatever it does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.audit import audit
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import AnyStrategy, Strategy, is_open_loop
from tradekit.market.panel import FIELDS, Panel

if TYPE_CHECKING:
    from tradekit.market.panel import Floats

CUT = 600


def fitted(strategy: AnyStrategy, panel: Panel) -> AnyStrategy:
    """Return ``strategy`` fitted on the first half of ``panel``."""
    return strategy.fit(panel[: len(panel) // 2])


def table(strategy: AnyStrategy, panel: Panel) -> Floats:
    """Return the weights of an open loop."""
    assert isinstance(strategy, Strategy)
    return strategy.weights(panel)


def with_another_future(panel: Panel) -> Panel:
    """Return ``panel`` with every value after row CUT drawn anew."""
    rng = np.random.default_rng(99)
    later = np.arange(len(panel)) > CUT
    factor = np.exp(rng.normal(0.0, 0.5, (len(panel), 1)))
    changed = {name: np.where(later[:, None], getattr(panel, name) * factor, getattr(panel, name)) for name in FIELDS}
    benchmark = np.where(later, rng.normal(0.0, 0.05, len(panel)), panel.benchmark_returns)
    return replace(panel, benchmark_returns=benchmark, **changed)


def test_has_what_reports_and_windows_need(shipped: AnyStrategy) -> None:
    assert shipped.name
    assert getattr(shipped, "kind", None) in ("heuristic", "supervised", "policy", "null")
    assert getattr(shipped, "lookback", 0) >= 1


def test_another_future_leaves_past_decisions_bit_identical(shipped: AnyStrategy, market: Panel) -> None:
    strategy, other = fitted(shipped, market), with_another_future(market)
    assert not np.array_equal(market.close[CUT + 1 :], other.close[CUT + 1 :])
    if is_open_loop(strategy):
        before, after = table(strategy, market), table(strategy, other)
        assert np.isfinite(before[: CUT + 1]).any()
        assert np.array_equal(before[: CUT + 1], after[: CUT + 1], equal_nan=True)
        assert np.array_equal(before[: CUT + 1], table(strategy, market[: CUT + 1]), equal_nan=True)
        return
    ledgers = [simulate(strategy, panel) for panel in (market, other)]
    past = [ledger.orders[ledger.orders["decision_bar"] <= CUT] for ledger in ledgers]
    assert len(past[0])
    for name in ("decision_bar", "symbol", "requested"):
        assert np.array_equal(past[0][name], past[1][name])


def test_the_declared_lookback_is_enough(shipped: AnyStrategy, market: Panel) -> None:
    strategy = fitted(shipped, market)
    lookback = int(strategy.lookback)  # type: ignore[union-attr]
    first = CUT + 1 - lookback
    whole = simulate(strategy, market, start=CUT)
    short = simulate(strategy, market[first:], start=lookback - 1)
    assert np.array_equal(whole.equity, short.equity)
    assert whole.orders.tobytes() == short.orders.tobytes()  # the price of an order that did not fill is NaN
    if is_open_loop(strategy):
        full = table(strategy, market)
        decided = np.flatnonzero(np.isfinite(full).any(axis=1))[-10:]
        for row in {*decided.tolist(), len(market) - 1}:
            newest = table(strategy, market[row + 1 - lookback : row + 1])[-1]
            assert np.array_equal(newest, full[row], equal_nan=True)


def test_the_audit_passes(shipped: AnyStrategy, market: Panel) -> None:
    report = audit(fitted(shipped, market), market)
    assert report.passed
    assert report.note == ""
    assert report.lookback_holds in (True, None)


def test_never_asks_for_more_than_there_is(shipped: AnyStrategy, market: Panel) -> None:
    strategy = fitted(shipped, market)
    if is_open_loop(strategy):
        weights = table(strategy, market)
        assert np.nanmin(weights) >= 0.0
        assert np.nansum(weights, axis=1).max() <= 1.0 + 1e-12
    ledger = simulate(strategy, market)
    assert len(ledger.orders)
    assert ledger.cash.min() >= 0.0
    assert ledger.positions.min() >= -1e-9


def test_trades_no_more_than_a_person_would_pay_for(shipped: AnyStrategy, market: Panel) -> None:
    """On bars without an edge every trade is a loss: at most one full turn of the book in thirty bars.

    The regime that holds the best of the last month alone is rash on purpose: it may sell all and buy all anew.
    """
    ledger = simulate(fitted(shipped, market), market)
    turns = ledger.traded.sum() / ledger.equity.mean()
    assert turns <= (2.0 if shipped.name == "regime_risk_on" else 1.0) * len(market) / 30.0


def test_a_hole_in_the_data_is_no_reason_to_sell(shipped: AnyStrategy, market: Panel) -> None:
    strategy = fitted(shipped, market)
    holes = {name: getattr(market, name).copy() for name in FIELDS}
    for column in holes.values():
        column[CUT, 0] = np.nan
    tradable = market.tradable.copy()
    tradable[CUT, 0] = False
    holed = replace(market, tradable=tradable, **holes)
    if shipped.name == "random_actions":  # it does not look at prices at all
        assert np.array_equal(table(strategy, holed), table(strategy, market), equal_nan=True)
        return
    orders = simulate(strategy, holed).orders
    at_the_hole = (orders["decision_bar"] == CUT) & (orders["symbol"] == 0)
    assert not at_the_hole.any()
