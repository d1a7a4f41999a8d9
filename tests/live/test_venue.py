"""The venue under its HTTP: what it accepts, how it shares fills out, and that a restart changes nothing."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import random_panel
from tradekit.errors import ConfigError, DataError, SessionError
from tradekit.live.exchange import Exchange, Settings, wire
from tradekit.live.exchange.orders import Refusal
from tradekit.live.exchange.venue import benchmark_closes
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.panel import equal_weight_returns

if TYPE_CHECKING:
    from pathlib import Path

PANEL = random_panel(30, 3, seed=11)


def body(symbol: str, signed: float, **more: Any) -> dict[str, Any]:
    side = "buy" if signed > 0 else "sell"
    return {"symbol": symbol, "qty": abs(signed), "side": side, "type": "market", "time_in_force": "day", **more}


def test_two_orders_of_one_symbol_fill_first_come_first_served() -> None:
    exchange = Exchange(PANEL, Settings(cash=1000.0, start=10))
    price = float(PANEL.close[10, 0])
    half = round(600.0 / price, 6)
    first, second = exchange.submit(body("S0", half)), exchange.submit(body("S0", half))
    exchange.advance()
    assert (first.status, first.filled) == ("filled", half)
    assert second.status == "canceled"
    assert 0.0 < second.filled < half
    assert exchange.venue.shares(0) == pytest.approx(first.filled + second.filled, abs=1e-9)
    assert 0.0 <= exchange.venue.cash < 1e-3


def test_sleeves_do_not_share_cash() -> None:
    pooled, sleeves = (Exchange(PANEL, Settings(cash=3000.0, start=10, sleeves=split)) for split in (False, True))
    quantity = round(2000.0 / float(PANEL.close[10, 0]), 6)
    for exchange in (pooled, sleeves):
        exchange.submit(body("S0", quantity))
        exchange.advance()
    assert pooled.venue.shares(0) == quantity
    # A third of the cash is all that S0 has: what it bought costs just that, with impact, spread, slippage, commission.
    value = sleeves.venue.shares(0) * float(PANEL.open[11, 0])
    assert value * (1.0 + 4.5e-4 + 0.01 * np.sqrt(value / 1000.0)) * (1.0 + 2e-5) == pytest.approx(1000.0, abs=1e-3)
    assert sleeves.venue.cash == pytest.approx(2000.0, abs=1e-3)


def test_a_symbol_that_does_not_trade_in_the_next_bar_is_not_filled() -> None:
    holes = PANEL.tradable.copy()
    holes[11, 1] = False
    exchange = Exchange(replace(PANEL, tradable=holes), Settings(start=10))
    order = exchange.submit(body("S1", 5.0))
    exchange.advance()
    assert (order.status, order.filled, exchange.venue.cash) == ("canceled", 0.0, 100_000.0)
    bars = exchange.bars.page({"symbols": "S1", "timeframe": "1Day", "start": "2010-01-04"})["bars"]["S1"]
    assert [bar["n"] for bar in bars[10:]] == [None, 0]


def test_what_the_wire_cannot_carry_is_refused() -> None:
    opens = PANEL.open.copy()
    opens[4, 2] = np.nan
    with pytest.raises(DataError, match=r"S2 at 2010-01-08.* has a close but no open"):
        Exchange(replace(PANEL, open=opens), Settings())
    with pytest.raises(ConfigError, match="latency_bars"):
        Exchange(PANEL, Settings(execution=ExecutionModel(latency_bars=1)))
    with pytest.raises(ConfigError, match="starts at bar 99"):
        Exchange(PANEL, Settings(start=99))


def test_whole_shares_only_where_the_model_says_so() -> None:
    exchange = Exchange(PANEL, Settings(start=10, execution=ExecutionModel(fractional=False)))
    with pytest.raises(Refusal, match="not fractionable"):
        exchange.submit(body("S0", 1.5))
    assert exchange.submit(body("S0", 2.0)).ask.quantity == 2.0


def test_an_index_of_the_benchmarks_returns() -> None:
    returns = equal_weight_returns(PANEL.close)
    panel = replace(PANEL, benchmark_returns=returns, benchmark_name="INDEX")
    closes = benchmark_closes(panel)
    assert closes is not None
    assert closes[0] == 100.0
    np.testing.assert_allclose(closes[1:] / closes[:-1] - 1.0, returns[1:], atol=1e-15)
    exchange = Exchange(panel, Settings(start=10))
    assert [asset["symbol"] for asset in wire.assets(exchange.venue)] == ["S0", "S1", "S2", "INDEX"]
    assert not wire.asset(exchange.venue, "INDEX")["tradable"]
    with pytest.raises(Refusal, match="could not find asset"):
        exchange.submit(body("INDEX", 1.0))
    page = exchange.bars.page({"symbols": "INDEX", "timeframe": "1Day", "start": "2010-01-04"})["bars"]["INDEX"]
    assert [bar["c"] for bar in page] == closes[:11].tolist()
    assert {(bar["o"] == bar["c"], bar["v"]) for bar in page} == {(True, 0.0)}


@given(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False))
def test_numbers_survive_the_wire(value: float) -> None:
    text = wire.number(value)
    assert float(text) == value
    assert "e" not in text.lower()


ASKS = st.lists(
    st.tuples(st.sampled_from(["S0", "S1", "S2"]), st.integers(-400_000_000_000, 400_000_000_000), st.booleans()),
    min_size=1,
    max_size=25,
)


@given(ASKS, st.booleans(), st.sampled_from([CostModel(), CostModel(commission_minimum=1.0, spread_bps=40.0)]))
def test_positions_are_the_sum_of_fills_and_cash_never_runs_out(
    asks: list[tuple[str, int, bool]], sleeves: bool, costs: CostModel
) -> None:
    exchange = Exchange(PANEL, Settings(cash=50_000.0, costs=costs, sleeves=sleeves))
    for symbol, billionths, then_advance in asks:
        with contextlib.suppress(Refusal):
            exchange.submit(body(symbol, billionths / 1e9 or 1e-9))
        if then_advance:
            exchange.advance()
    exchange.advance()
    venue = exchange.venue
    sums = {symbol: Decimal(0) for symbol in PANEL.symbols}
    for fill in venue.executions:
        sums[fill.symbol] += Decimal(repr(fill.quantity)) * (1 if fill.side == "buy" else -1)
    for column, symbol in enumerate(PANEL.symbols):
        assert Decimal(repr(venue.shares(column))) == sums[symbol]
    spent = sum(f.quantity * f.price * (1 if f.side == "buy" else -1) + f.fees for f in venue.executions)
    assert venue.cash >= 0.0
    assert venue.cash == pytest.approx(50_000.0 - spent, abs=1e-6)
    assert all(not order.is_open for order in venue.orders.values())


def test_a_restarted_exchange_is_where_it_was(tmp_path: Path) -> None:
    path, settings = tmp_path / "exchange.sqlite", Settings(start=10)
    first = Exchange(PANEL, settings, store=path)
    first.submit(body("S0", 1.25))
    refused = first.submit(body("S1", 3.0))
    first.cancel(refused.id)
    first.advance()
    first.submit(body("S0", -0.5, client_order_id="second"))
    with pytest.raises(Refusal):
        first.submit(body("S0", -0.5, client_order_id="second"))
    told = _ledger(first)
    first.close()
    again = Exchange(PANEL, settings, store=path)
    assert _ledger(again) == told
    again.advance()
    assert again.venue.find_client("second").status == "filled"
    again.close()
    with pytest.raises(SessionError, match="other bars or settings"):
        Exchange(PANEL, Settings(start=11), store=path)
    path.with_name("junk.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(SessionError, match="not an exchange log"):
        Exchange(PANEL, settings, store=path.with_name("junk.sqlite"))


def _ledger(exchange: Exchange) -> list[Any]:
    venue = exchange.venue
    orders = [wire.order(order) for order in venue.orders.values()]
    return [venue.bar, wire.account(venue), wire.positions(venue), orders, venue.executions]
