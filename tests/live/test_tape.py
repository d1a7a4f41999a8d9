"""Bars over the wire: a session sees the bits that a backtest of the source sees."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import intraday, random_panel
from tradekit import load_panel
from tradekit.live.alpaca import AlpacaBars
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.journal import Event, dump
from tradekit.live.replay import Replay
from tradekit.live.session import index_closes
from tradekit.live.spec import SessionSpec
from tradekit.live.tape import Bar, Contract, Feed, LivePanel, Tape, from_json, to_json
from tradekit.market.features import FeatureSpec
from tradekit.market.panel import FIELDS, absent, equal_weight_returns

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

EVERYTHING = (*FIELDS, "tradable", "timestamps", "close_time")


def contract_of(panel: Panel) -> Contract:
    return Contract(
        panel.symbols, panel.columns, panel.frequency, panel.benchmark_name, panel.bars_per_year, panel.source
    )


def record(panel: Panel, start: int, history: int, bars: int, benchmark: Floats | None = None) -> LivePanel:
    """Return what a session that starts at row ``start`` has on tape after ``bars`` bars."""
    contract = contract_of(panel)
    with (
        ExchangeServer(Exchange(panel, Settings(start=start), benchmark)) as server,
        closing(AlpacaBars("local", "local", server.url)) as client,
        closing(Replay("local", "local", server.url)) as replay,
    ):
        feed, tape = Feed(client, contract), Tape(contract, history + bars)
        for bar in feed.history(replay.moment().timestamp, history):
            tape.append(bar)
        for k in range(bars):
            moment = replay.advance(start + k)
            tape.append(feed.bar(moment.timestamp, moment.close_time))
    return tape.panel()


def demand_same(live: Panel, source: Panel) -> None:
    for name in EVERYTHING:
        np.testing.assert_array_equal(getattr(live, name), getattr(source, name), err_msg=name)
    # The return of the very first bar needs the close before it, which the session has not seen.
    np.testing.assert_array_equal(live.benchmark_returns[1:], source.benchmark_returns[1:])
    assert (live.symbols, live.columns, live.frequency) == (source.symbols, source.columns, source.frequency)


def test_sample_index_included(sample: Panel) -> None:
    start, history, bars = len(sample) - 40, 130, 20
    live = record(sample, start, history, bars, index_closes(SessionSpec(), sample))
    source = sample[start - history : start + bars]
    demand_same(live, source)
    assert live.bars_per_year == sample.bars_per_year
    spec = FeatureSpec.named("close")
    np.testing.assert_array_equal(spec.compute(live)[-1], spec.compute(sample)[start + bars - 1])


def test_hourly_prices(shared_data: Path) -> None:
    panel = load_panel(shared_data / "hourly_ibkr")
    start, history, bars = len(panel) - 60, 150, 30
    live = record(panel, start, history, bars)
    demand_same(live, panel[start - history : start + bars])
    assert live.bars_per_year == panel.bars_per_year
    spec = FeatureSpec.named("ohlcv")
    np.testing.assert_array_equal(spec.compute(live)[-1], spec.compute(panel)[start + bars - 1])


@pytest.mark.parametrize("hourly", [False, True])
@pytest.mark.parametrize("close_only", [False, True])
def test_holes_and_halts(hourly: bool, close_only: bool) -> None:
    panel = random_panel(90, 3, seed=2, close_only=close_only)
    panel = intraday(panel, 6) if hourly else panel
    rng = np.random.default_rng(0)
    gone = rng.random(panel.close.shape) < 0.2
    gone[:, 0] &= rng.random(len(panel)) < 0.5
    gone[(~gone).sum(axis=1) == 0, 0] = False
    columns: dict[str, Any] = {
        name: np.where(gone, np.nan, getattr(panel, name)) if name in panel.columns else absent(*gone.shape)
        for name in FIELDS
    }
    halted = ~gone & (rng.random(gone.shape) < 0.1)
    panel = replace(panel, **columns, tradable=~gone & ~halted)
    panel = replace(panel, benchmark_returns=equal_weight_returns(panel.close))
    live = record(panel, 60, 50, 30)
    for name in (*FIELDS, "tradable", "timestamps"):
        np.testing.assert_array_equal(getattr(live, name), getattr(panel[10:], name), err_msg=name)
    np.testing.assert_array_equal(live.benchmark_returns[1:], panel.benchmark_returns[11:])


def test_a_bar_in_which_nothing_traded_is_still_a_bar() -> None:
    panel = random_panel(30, 2, seed=4)
    close = panel.close.copy()
    close[22] = np.nan
    holes: dict[str, Any] = {name: np.where(np.isnan(close), np.nan, getattr(panel, name)) for name in FIELDS}
    panel = replace(panel, **holes, tradable=~np.isnan(close))
    live = record(panel, 20, 5, 5)
    np.testing.assert_array_equal(live.close, panel.close[15:25])
    assert live.timestamps[7] == panel.timestamps[22]


def test_less_history_than_asked_for_is_what_there_is() -> None:
    panel = random_panel(30, 2, seed=4)
    assert len(record(panel, 3, 100, 2)) == 5


def test_the_journal_keeps_every_bit() -> None:

    bar = Bar(
        timestamp=np.datetime64("2022-01-03T14:30", "ns"),
        close_time=np.datetime64("2022-01-03T15:00:00.000000001", "ns"),
        values={"close": np.array([0.1 + 0.2, np.nan]), "volume": np.array([1e15 / 3.0, np.nan])},
        tradable=np.array([True, False]),
        benchmark_close=float("nan"),
    )
    body = json.loads(dump(to_json(bar)))
    back = from_json(Event(1, "bar", "2022-01-03T14:30:00Z", body, "", ""))
    assert (back.timestamp, back.close_time) == (bar.timestamp, bar.close_time)
    for name, column in bar.values.items():
        np.testing.assert_array_equal(back.values[name], column)
    np.testing.assert_array_equal(back.tradable, bar.tradable)
    assert np.isnan(back.benchmark_close)
