"""The local exchange as alpaca-py's unmodified clients and models see it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.enums import AssetStatus, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import TradeActivity
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
)

from tests.live.conftest import step
from tests.panels import intraday, random_panel
from tradekit.errors import SessionError
from tradekit.live.exchange import Exchange, ExchangeServer, Settings, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live.conftest import Open

START = datetime(2010, 1, 4, tzinfo=UTC)
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local"}


def order(symbol: str = "S0", qty: float = 1.5, side: str = "buy", **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=OrderSide(side), time_in_force=TimeInForce.DAY, **more)


def refusal(market: Open, request: MarketOrderRequest | LimitOrderRequest) -> tuple[int, int]:
    with pytest.raises(APIError) as caught:
        market.trading.submit_order(request)
    return caught.value.status_code, caught.value.code


def test_every_trading_answer_parses_into_alpacas_models(market: Open) -> None:
    account = market.trading.get_account()
    assert (account.cash, account.equity, account.status.value) == ("100000", "100000", "ACTIVE")
    clock = market.trading.get_clock()
    assert not clock.is_open
    assert clock.timestamp < clock.next_open < clock.next_close
    assert clock.timestamp.utcoffset().total_seconds() == -5 * 3600  # New York in February
    days = market.trading.get_calendar(GetCalendarRequest(start=date(2022, 11, 23), end=date(2022, 11, 25)))
    assert [(day.date.day, day.close.hour) for day in days] == [(23, 16), (25, 13)]  # Thanksgiving, then a half day
    assert [asset.symbol for asset in market.trading.get_all_assets()] == ["S0", "S1", "S2"]
    assert market.trading.get_all_assets(GetAssetsRequest(status=AssetStatus.INACTIVE)) == []
    asset = market.trading.get_asset("S1")
    assert asset.tradable
    assert market.trading.get_asset(asset.id).symbol == "S1"
    assert market.trading.get_all_positions() == []


def test_market_order_lifecycle(market: Open) -> None:
    accepted = market.trading.submit_order(order(client_order_id="mine", qty=2.5))
    assert accepted.status == OrderStatus.ACCEPTED
    assert (accepted.qty, accepted.filled_qty, accepted.filled_avg_price) == ("2.5", "0", None)
    assert accepted.submitted_at.replace(microsecond=0) == market.trading.get_clock().timestamp.astimezone(UTC)
    step(market)
    filled = market.trading.get_order_by_client_id("mine")
    assert filled == market.trading.get_order_by_id(accepted.id)
    assert (filled.status, filled.filled_qty) == (OrderStatus.FILLED, "2.5")
    # Bought at the open of bar 41 plus spread, half the slippage and the impact of c sqrt(v / E) v.
    value = 2.5 * market.panel.open[41, 0]
    paid = value * (1.0 + 2e-4 + 2.5e-4 + 0.01 * np.sqrt(value / 100_000.0))
    assert float(filled.filled_avg_price or 0.0) == pytest.approx(paid / 2.5, rel=1e-12)
    account, position = market.trading.get_account(), market.trading.get_open_position("S0")
    assert float(account.cash or 0.0) == pytest.approx(100_000.0 - paid * (1.0 + 0.2e-4), rel=1e-12)
    assert (position.qty, position.side.value) == ("2.5", "long")
    assert float(position.market_value or 0.0) == 2.5 * market.panel.close[41, 0]
    (activity,) = market.trading.get("/account/activities/FILL", {})
    fill = TradeActivity(**activity)
    assert (fill.order_id, fill.qty, fill.leaves_qty) == (accepted.id, 2.5, 0.0)
    assert fill.price == float(filled.filled_avg_price or 0.0)


def test_cancelled_before_the_bar_nothing_fills(market: Open) -> None:
    first = market.trading.submit_order(order(qty=1.0))
    market.trading.submit_order(order(qty=2.0))
    market.trading.cancel_order_by_id(first.id)
    step(market)
    assert market.trading.get_order_by_id(first.id).status == OrderStatus.CANCELED
    assert market.trading.get_open_position("S0").qty == "2"
    with pytest.raises(APIError) as caught:
        market.trading.cancel_order_by_id(first.id)
    assert (caught.value.status_code, caught.value.code) == (422, 42210000)


def test_cancel_all_and_the_order_queries(market: Open) -> None:
    sent = [market.trading.submit_order(order(symbol=f"S{k % 3}", qty=1.0 + k)) for k in range(6)]
    newest_first = market.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN))
    assert [one.id for one in newest_first] == [one.id for one in reversed(sent)]
    two = market.trading.get_orders(GetOrdersRequest(symbols=["S1"], limit=1))
    assert [one.id for one in two] == [sent[4].id]
    answers = market.trading.cancel_orders()
    assert [answer.status for answer in answers] == [200] * 6
    assert market.trading.get_orders() == []
    assert len(market.trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))) == 6


def test_more_than_cash_can_pay_ends_canceled_and_partly_filled(market: Open) -> None:
    shares = 1.5 * 100_000.0 / float(market.panel.close[40, 0])
    accepted = market.trading.submit_order(order(qty=round(shares, 4)))
    step(market)
    done = market.trading.get_order_by_id(accepted.id)
    assert done.status == OrderStatus.CANCELED
    assert 0.0 < float(done.filled_qty or 0.0) < shares
    assert 0.0 <= float(market.trading.get_account().cash or -1.0) < 1e-3


def test_alpacas_refusals(market: Open) -> None:
    market.trading.submit_order(order(client_order_id="once"))
    assert refusal(market, order(symbol="S1", client_order_id="once")) == (422, 40010001)
    assert refusal(market, order(symbol="NONE")) == (422, 40010001)
    assert refusal(market, order(client_order_id="x" * 129)) == (422, 40010001)
    assert refusal(market, order(qty=1.0000000001)) == (422, 42210000)
    assert refusal(market, order(qty=1e6)) == (403, 40310000)  # buying power
    assert refusal(market, order(symbol="S1", side="sell")) == (403, 40310000)  # none held
    assert refusal(market, order(side="sell", qty=0.5)) == (403, 40310000)  # wash trade with the open buy
    limit = LimitOrderRequest(symbol="S0", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=1.001)
    assert refusal(market, limit) == (422, 42210000)  # sub-penny
    asks: list[Callable[[], Any]] = [
        lambda: market.trading.get_order_by_client_id("never"),
        lambda: market.trading.get_order_by_id(uuid4()),
        lambda: market.trading.get_asset("NONE"),
        lambda: market.trading.get_open_position("S2"),
    ]
    for ask in asks:
        with pytest.raises(APIError) as caught:
            ask()
        assert (caught.value.status_code, caught.value.code) == (404, 40410000)


def test_configuration_is_the_models_and_trading_can_be_suspended(market: Open) -> None:
    held = market.trading.get_account_configurations()
    assert (held.fractional_trading, held.no_shorting, held.suspend_trade) == (True, True, False)
    held.suspend_trade = True
    assert market.trading.set_account_configurations(held).suspend_trade
    assert market.trading.get_account().trade_suspended_by_user
    assert refusal(market, order()) == (403, 40310000)
    held.suspend_trade, held.no_shorting = False, False
    with pytest.raises(APIError, match="no_shorting cannot be changed here"):
        market.trading.set_account_configurations(held)


def test_limits_notionals_and_replacements(market: Open) -> None:
    far = LimitOrderRequest(symbol="S0", qty=4, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=1.0)
    resting = market.trading.submit_order(far)
    assert (resting.limit_price, resting.order_type.value) == ("1", "limit")
    newer = market.trading.replace_order_by_id(
        resting.id, ReplaceOrderRequest(qty=5, limit_price=2.5, client_order_id="newer")
    )
    older = market.trading.get_order_by_id(resting.id)
    assert (older.status, older.replaced_by, newer.replaces) == (OrderStatus.REPLACED, newer.id, older.id)
    assert (newer.qty, newer.limit_price, newer.client_order_id) == ("5", "2.5", "newer")
    by_value = MarketOrderRequest(symbol="S1", notional=500.0, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    asked = market.trading.submit_order(by_value)
    assert (asked.notional, asked.qty) == ("500", None)
    step(market)
    filled = market.trading.get_order_by_id(asked.id)
    assert filled.status == OrderStatus.FILLED
    assert float(filled.filled_qty) * float(filled.filled_avg_price) == pytest.approx(500.0, abs=1e-6)
    assert [one.id for one in market.trading.get_orders()] == [newer.id]


def test_positions_are_closed_in_part_and_in_whole(market: Open) -> None:
    for number in range(3):
        market.trading.submit_order(order(symbol=f"S{number}", qty=4.0))
    step(market)
    assert market.trading.close_position("S0", ClosePositionRequest(qty="1.5")).qty == "1.5"
    assert market.trading.close_position("S1", ClosePositionRequest(percentage="25")).qty == "1"
    answers = market.trading.close_all_positions()  # what the two sales hold cannot be sold again
    assert [(answer.symbol, answer.status) for answer in answers] == [("S0", 403), ("S1", 403), ("S2", 200)]
    assert answers[0].body.available == 2.5
    answers = market.trading.close_all_positions(cancel_orders=True)
    assert [(answer.status, answer.body.qty) for answer in answers] == [(200, "4")] * 3
    step(market)
    assert market.trading.get_all_positions() == []
    with pytest.raises(APIError) as caught:
        market.trading.close_position("S0")
    assert (caught.value.status_code, caught.value.code) == (404, 40410000)


def test_portfolio_history_is_the_equity_at_each_close(market: Open) -> None:
    market.trading.submit_order(order(qty=50.0))
    equity = [100_000.0]
    for _ in range(5):
        step(market)
        equity.append(float(market.trading.get_account().equity or 0.0))
    history = market.trading.get_portfolio_history()
    assert history.equity == equity
    assert history.profit_loss == [value - 100_000.0 for value in equity]
    assert history.timestamp[-1] == int(market.trading.get_clock().timestamp.timestamp())
    short = market.trading.get_portfolio_history(GetPortfolioHistoryRequest(period="2D", timeframe="1D"))
    assert short.equity == equity[-3:]


def test_trades_quotes_and_snapshots_of_the_newest_bar(market: Open) -> None:
    data, close = market.data, market.panel.close
    names = ["S0", "S1"]
    assert data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=names))["S1"].close == close[40, 1]
    assert data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="S0"))["S0"].price == close[40, 0]
    quote = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=names))["S0"]
    assert (quote.bid_price, quote.ask_price) == (close[40, 0] * (1.0 - 2e-4), close[40, 0] * (1.0 + 2e-4))
    assert quote.timestamp == market.trading.get_clock().timestamp
    trades = data.get_stock_trades(StockTradesRequest(symbol_or_symbols=names, start=START, limit=50)).data
    assert [trade.price for trade in trades["S0"]] == close[:41, 0].tolist()
    assert len(trades["S1"]) == 9
    quotes = data.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="S0", start=START)).data["S0"]
    assert len(quotes) == 41
    snapshot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=names))["S1"]
    assert snapshot.daily_bar.close == snapshot.latest_trade.price == close[40, 1]
    assert (snapshot.previous_daily_bar.close, snapshot.minute_bar) == (close[39, 1], None)


def test_a_snapshot_of_hourly_bars_sums_the_day_up() -> None:
    panel = intraday(random_panel(12, 1, seed=6), 4)
    opened = Exchange(panel, Settings(start=6))
    snapshot = opened.bars.snapshots({"symbols": "S0,NONE"})
    assert set(snapshot) == {"S0"}
    day, before = snapshot["S0"]["dailyBar"], snapshot["S0"]["prevDailyBar"]
    assert (day["o"], day["c"]) == (panel.open[4, 0], panel.close[6, 0])
    assert (day["h"], day["l"]) == (panel.high[4:7, 0].max(), panel.low[4:7, 0].min())
    assert day["v"] == pytest.approx(panel.volume[4:7, 0].sum())
    assert (before["o"], before["c"]) == (panel.open[0, 0], panel.close[3, 0])
    assert snapshot["S0"]["minuteBar"]["c"] == panel.close[6, 0]


def test_wrong_keys_are_refused_everywhere(market: Open) -> None:
    for path in ("/v2/account", "/v2/stocks/bars", "/exchange"):
        answer = requests.get(market.server.url + path, headers={**HEADERS, "APCA-API-SECRET-KEY": "guess"}, timeout=5)
        assert (answer.status_code, answer.json()["code"]) == (401, 40110000)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'{"symbol": "S0", "side": "buy", "type": "market"}'])
def test_nonsense_is_answered_not_crashed_on(market: Open, body: bytes) -> None:
    answer = requests.post(market.server.url + "/v2/orders", data=body, headers=HEADERS, timeout=5)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"code", "message"}


def test_bars_keep_every_bit_and_never_show_the_future(market: Open) -> None:
    request = StockBarsRequest(symbol_or_symbols=["S0", "S2"], timeframe=TimeFrame.Day, start=START)
    bars = market.data.get_stock_bars(request).data
    assert [len(bars[symbol]) for symbol in ("S0", "S2")] == [41, 41]
    assert [bar.close for bar in bars["S2"]] == market.panel.close[:41, 2].tolist()
    assert [bar.open for bar in bars["S2"]] == market.panel.open[:41, 2].tolist()
    assert bars["S0"][0].timestamp == datetime(2010, 1, 4, 5, tzinfo=UTC)  # midnight in New York
    step(market)
    assert len(market.data.get_stock_bars(request).data["S0"]) == 42


def test_bars_come_in_pages(market: Open) -> None:
    query = {"symbols": "S1,S0", "timeframe": "1Day", "start": "2010-01-04", "limit": "30"}
    seen: dict[str, list[Any]] = {}
    pages = 0
    while True:
        url = market.server.url + "/v2/stocks/bars"
        page = requests.get(url, params=query, headers=HEADERS, timeout=5).json()
        for symbol, bars in page["bars"].items():
            seen.setdefault(symbol, []).extend(bars)
        pages += 1
        if page["next_page_token"] is None:
            break
        query["page_token"] = page["next_page_token"]
    assert pages == 3
    assert [bar["c"] for bar in seen["S0"]] == market.panel.close[:41, 0].tolist()
    assert [bar["c"] for bar in seen["S1"]] == market.panel.close[:41, 1].tolist()
    newest = requests.get(
        url, params={**query, "sort": "desc", "limit": "1", "page_token": ""}, headers=HEADERS, timeout=5
    )
    assert newest.json()["bars"]["S0"][0]["c"] == market.panel.close[40, 0]


def test_another_bar_length_is_refused(market: Open) -> None:
    query = {"symbols": "S0", "timeframe": "1Hour"}
    answer = requests.get(market.server.url + "/v2/stocks/bars", params=query, headers=HEADERS, timeout=5)
    assert (answer.status_code, "1D" in answer.json()["message"]) == (400, True)


def test_the_replay_ends(market: Open) -> None:
    assert market.replay.advance(59).bar == 59
    answer = requests.post(market.server.url + "/exchange/advance", json={}, headers=HEADERS, timeout=5)
    assert answer.status_code == 409
    back = requests.post(market.server.url + "/exchange/advance", json={"to": 3}, headers=HEADERS, timeout=5)
    assert back.status_code == 422


def test_only_this_machine() -> None:
    panel = random_panel(5, 1)
    for host in ("0.0.0.0", "192.168.1.7", "example.org"):
        with pytest.raises(SessionError, match="this machine only"):
            serve(panel, host=host)


def test_a_taken_port_is_one_line(market: Open) -> None:
    port = int(market.server.url.rsplit(":", 1)[1])
    with pytest.raises(SessionError, match=f"cannot listen on 127.0.0.1:{port}"):
        serve(market.panel, port=port)
    with (
        pytest.raises(SessionError, match="cannot listen"),
        ExchangeServer(Exchange(market.panel, Settings()), port=port),
    ):
        pass
