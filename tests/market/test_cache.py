"""Fetching and keeping bars: from Alpaca's protocol over loopback, from Yahoo's answers, and out of the cache again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from aiohttp import web

from tests.market.tables import daily, half_hours, join
from tradekit.errors import DataError
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.market import calendar
from tradekit.market.quality import check
from tradekit.market.sources import load_panel
from tradekit.market.sources.alpaca import KEYS, URL
from tradekit.market.sources.cache import Answer, Request, _keep, cache_folder, fetch, list_cache, parse

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

KEY, SECRET = "PKTESTKEY0123456789", "s3cr3t/VeryLongSecret+Value"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a cache of its own, and no one's keys."""
    for name in (*KEYS, URL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRADEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def use(monkeypatch: pytest.MonkeyPatch, url: str, secret: str = SECRET) -> None:
    for name, value in zip((*KEYS, URL), (KEY, secret, url), strict=True):
        monkeypatch.setenv(name, value)


def serve(panel: Panel) -> ExchangeServer:
    """Return an exchange that has replayed all of a panel."""
    return ExchangeServer(Exchange(panel, Settings(start=len(panel) - 1, key_id=KEY, secret_key=SECRET)))


# Alpaca


def test_daily_bars_from_alpaca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    table = join(daily(symbol="AAA"), daily(symbol="SPY", seed=1))
    table.to_parquet(tmp_path / "bars.parquet")
    original = load_panel(tmp_path / "bars.parquet")
    with serve(original) as server:
        use(monkeypatch, server.url)
        path = fetch("alpaca:SPY,AAA", start="2022-01-05", end="2022-12-30")
    assert path.parent == cache
    assert check(path).findings == ()
    panel = load_panel("alpaca:AAA,SPY", start="2022-01-05", end="2022-12-30")  # the server is gone: from the cache
    expected = original.between("2022-01-05", "2022-12-30")
    assert (panel.symbols, panel.benchmark_name, panel.source) == (("AAA", "SPY"), "SPY", "alpaca:AAA,SPY")
    np.testing.assert_array_equal(panel.timestamps, expected.timestamps)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(panel, name), getattr(expected, name))
    (entry,) = list_cache()
    assert (entry.rows, entry.first, entry.last) == (2 * 249, "2022-01-05 00:00:00", "2022-12-30 00:00:00")
    assert entry.request == Request("alpaca", ("AAA", "SPY"), "2022-01-05", "2022-12-30", "1D")
    assert (entry.adjustment, entry.left_out, entry.intact) == ("splits, dividends and spin-offs", {}, True)
    assert entry.library.startswith("alpaca-py ")
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    json.dumps(entry.to_dict())


def test_a_symbol_may_end_like_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daily(symbol="BRK.B").to_parquet(tmp_path / "bars.parquet")
    with serve(load_panel(tmp_path / "bars.parquet")) as server:
        use(monkeypatch, server.url)
        report = check("alpaca:BRK.B")
    assert report.symbols == ("BRK.B",)
    assert load_panel("alpaca:BRK.B").symbols == ("BRK.B",)
    with pytest.raises(DataError, match=r"prices/BRK\.B: no such file or folder"):
        check("prices/BRK.B")


def test_intraday_bars_come_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bars").mkdir()
    for seed, name in enumerate(("AAA", "BBB")):
        half_hours("2022-01-03", 400, seed).to_parquet(tmp_path / f"bars/{name}.parquet")
    original = load_panel(tmp_path / "bars")
    assert original.close.size > 10_000  # more than one answer may hold
    with serve(original) as server:
        use(monkeypatch, server.url)
        panel = load_panel("alpaca:AAA,BBB@30m")
    np.testing.assert_array_equal(panel.timestamps, original.timestamps)
    np.testing.assert_array_equal(panel.close, original.close)
    assert panel.frequency == "30m"


class BarsServer:
    """Answers every request for bars with the same page, or with an error."""

    def __init__(self, bars: dict[str, list[dict[str, Any]]], status: int = 200, text: str | None = None) -> None:
        self._bars, self._status, self._text = bars, status, text
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.queries: list[dict[str, str]] = []
        self.url = ""

    def __enter__(self) -> BarsServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        if self._text is not None:
            return web.Response(status=self._status, text=self._text, content_type="application/json")
        return web.json_response({"bars": self._bars, "next_page_token": None})

    async def _start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/v2/stocks/bars", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def _run(self) -> None:
        runner = self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()


def bar(stamp: str, price: float = 10.0) -> dict[str, Any]:
    return {"t": stamp, "o": price, "h": price + 1, "l": price - 1, "c": price, "v": 100, "n": 5, "vw": price}


def test_bars_outside_sessions_and_bars_still_forming_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = calendar.sessions_from(str((datetime.now(UTC) + timedelta(days=3)).date()), 1)
    forming = str(calendar.session_open(soon)[0].astype("M8[s]"))
    stamps = ["2024-07-03T13:00:00Z", "2024-07-03T13:30:00Z", "2024-07-03T16:30:00Z", "2024-07-03T17:00:00Z"]
    with BarsServer({"AAA": [bar(stamp) for stamp in (*stamps, f"{forming}Z")]}) as server:
        use(monkeypatch, server.url)
        path = fetch("alpaca", "AAA", "2024-07-03", "2024-07-05", frequency="30m")
    kept = pd.read_parquet(path)["timestamp"].dt.strftime("%H:%M").tolist()
    assert kept == ["13:30", "16:30"]  # from 9:30 New York to the early close at 13:00
    assert list_cache()[0].left_out == {"outside regular sessions": 2, "not complete yet": 1}
    (query,) = server.queries
    assert (query["symbols"], query["timeframe"], query["adjustment"]) == ("AAA", "30Min", "all")
    assert (query["start"][:10], query["end"][:10]) == ("2024-07-03", "2024-07-05")


def test_a_daily_stamp_is_new_yorks_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    with BarsServer({"AAA": [bar("2024-01-02T05:00:00Z"), bar("2024-07-02T04:00:00Z")]}) as server:
        use(monkeypatch, server.url)
        path = fetch("alpaca:AAA", start="2024-01-02", end="2024-07-02")
    assert pd.read_parquet(path)["timestamp"].astype(str).tolist() == ["2024-01-02", "2024-07-02"]


@pytest.mark.parametrize(
    ("bars", "status", "text", "message"),
    [
        ({}, 200, None, "no bars of AAA from 2016-01-01 to today; check the symbols"),
        ({}, 403, '{"message": "forbidden."}', "alpaca: .*forbidden"),
        ({}, 422, '{"message": "start should not be after end"}', "start should not be after end"),
        ({}, 200, "<html>", "alpaca: "),
        ({}, 500, f'{{"message": "who is {KEY} with {SECRET}?"}}', r"who is \*\*\* with \*\*\*"),
    ],
)
def test_alpacas_refusals_are_one_line_without_secrets(
    monkeypatch: pytest.MonkeyPatch, bars: dict[str, Any], status: int, text: str | None, message: str
) -> None:
    with BarsServer(bars, status, text) as server:
        use(monkeypatch, server.url)
        with pytest.raises(DataError, match=message) as caught:
            fetch("alpaca:AAA")
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)
    assert list_cache() == []


def test_wrong_keys_and_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daily(symbol="AAA").to_parquet(tmp_path / "bars.parquet")
    with serve(load_panel(tmp_path / "bars.parquet")) as server:
        use(monkeypatch, server.url, secret="wrong")
        with pytest.raises(DataError, match="alpaca: "):
            fetch("alpaca:AAA")
    use(monkeypatch, server.url)
    with pytest.raises(DataError, match="check the keys, the dates and the network"):
        fetch("alpaca:AAA")


def test_missing_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="the alpaca source needs APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        load_panel("alpaca:SPY")
    use(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv(KEYS[1], "")
    with pytest.raises(DataError, match="needs APCA_API_KEY_ID"):
        fetch("alpaca:SPY")


@pytest.mark.parametrize(
    "url",
    ["https://example.com", "http://data.alpaca.markets", "https://data.alpaca.markets.example.com", "http://10.0.0.1"],
)
def test_keys_go_to_alpaca_and_this_machine_only(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    use(monkeypatch, url)
    with pytest.raises(DataError, match=r"keys go to https://data\.alpaca\.markets or to this machine only"):
        fetch("alpaca:SPY")


# Yahoo: yfinance's own code from the answer of its HTTP layer on


class YahooAnswer:
    def __init__(self, body: dict[str, Any]) -> None:
        self.text, self.status_code, self._body = json.dumps(body), 200, body

    def json(self) -> dict[str, Any]:
        return self._body

    def raise_for_status(self) -> None:
        """Do nothing: the answer came."""


def chart(symbol: str, stamps: np.ndarray, interval: str) -> dict[str, Any]:
    """Return an answer in the shape of Yahoo's chart API: a 2:1 split and a dividend, prices adjusted for splits."""
    seconds = stamps.astype("M8[s]").astype(int).tolist()
    close = [100.0 + row for row in range(len(seconds))]
    period = {"timezone": "EST", "start": seconds[-1], "end": seconds[-1] + 23_400, "gmtoffset": -18_000}
    meta = {
        "currency": "USD",
        "symbol": symbol,
        "instrumentType": "EQUITY",
        "gmtoffset": -18_000,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "priceHint": 2,
        "dataGranularity": interval,
        "validRanges": ["1d", "max"],
        "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
        "regularMarketTime": seconds[-1],
        "tradingPeriods": [
            [{"timezone": "EST", "start": first, "end": first + 23_400, "gmtoffset": -18_000}]
            for first in calendar.session_open(np.unique(stamps.astype("M8[D]"))).astype("M8[s]").astype(int).tolist()
        ],
    }
    quote = {
        "open": close,
        "high": [price + 1 for price in close],
        "low": [price - 1 for price in close],
        "close": close,
        "volume": [1000] * len(close),
    }
    events = {
        "dividends": {str(seconds[3]): {"amount": 1.02, "date": seconds[3]}},
        "splits": {str(seconds[5]): {"date": seconds[5], "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"}},
    }
    adjusted = [price * (0.99 if row < 3 else 1.0) for row, price in enumerate(close)]
    indicators: dict[str, Any] = {"quote": [quote]}
    if interval == "1d":
        indicators["adjclose"] = [{"adjclose": adjusted}]
    result = {
        "meta": meta,
        "timestamp": seconds,
        "events": events if interval == "1d" else {},
        "indicators": indicators,
    }
    return {"chart": {"result": [result], "error": None}}


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace yfinance's HTTP requests, and nothing else of it, by the answers a test puts in."""
    yfinance = pytest.importorskip("yfinance", reason="yfinance is not installed")
    client = pytest.importorskip("yfinance.data").YfData
    yfinance.set_tz_cache_location(str(tmp_path / "zones"))
    answers: dict[str, Any] = {"queries": []}

    def get(_: object, url: str, params: dict[str, Any] | None = None, **__: object) -> YahooAnswer:
        answers["queries"].append({"url": url, **(params or {})})
        answer = answers["body"]
        if isinstance(answer, Exception):
            raise answer
        return YahooAnswer(answer)

    monkeypatch.setattr(client, "get", get)
    monkeypatch.setattr(client, "cache_get", get)
    return answers


def test_daily_bars_from_yahoo(yahoo: dict[str, Any]) -> None:
    dates = calendar.sessions_from("2024-01-02", 8)
    yahoo["body"] = chart("SPY", calendar.session_open(dates), "1d")
    panel = load_panel("yahoo:spy", start="2024-01-02", end="2024-01-11")
    np.testing.assert_array_equal(panel.timestamps, dates.astype("M8[ns]"))
    # Adjusted for the dividend; the split was in Yahoo's prices already.
    np.testing.assert_allclose(panel.close[:, 0], [99.0, 99.99, 100.98, 103, 104, 105, 106, 107], rtol=1e-12)
    np.testing.assert_allclose(panel.high[:2, 0], [101 * 0.99, 102 * 0.99], rtol=1e-12)
    assert (panel.symbols, panel.source) == (("SPY",), "yahoo:spy")
    (entry,) = list_cache()
    assert (entry.adjustment, entry.library[:9], entry.rows) == ("splits and dividends", "yfinance ", 8)
    table = pd.read_parquet(entry.path)
    assert table.loc[3, "dividend"] == 1.02
    assert table.loc[5, "split"] == 2.0
    last = yahoo["queries"][-1]
    assert (last["interval"], last["includePrePost"]) == ("1d", False)
    assert last["period2"] - last["period1"] == 10 * 86_400  # to the end of the 11th
    assert [found.check for found in check(entry.path).findings] == ["actions"]


def test_hourly_bars_from_yahoo(yahoo: dict[str, Any]) -> None:
    opens = calendar.session_open(calendar.sessions_from("2024-01-02", 3))
    stamps = (opens[:, None] + np.arange(7) * np.timedelta64(1, "h")).ravel()
    yahoo["body"] = chart("AAPL", stamps, "1h")
    panel = load_panel("yahoo:AAPL@1h")
    np.testing.assert_array_equal(panel.timestamps, stamps)
    assert (panel.frequency, panel.bars_per_year) == ("1h", 7 * 252)
    assert panel.close_time[6] == np.datetime64("2024-01-02T21:00", "ns")


@pytest.mark.parametrize(
    "body",
    [
        {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found\nmaybe delisted"}}},
        OSError("could not resolve host"),
        ValueError("not JSON"),
    ],
)
def test_yahoos_failures_are_one_line(yahoo: dict[str, Any], body: Any) -> None:
    yahoo["body"] = body
    with pytest.raises(DataError, match=r"yahoo: no bars of NOPE .*check symbol, dates and network") as caught:
        fetch("yahoo:NOPE", start="2024-01-02", end="2024-01-11")
    assert "\n" not in str(caught.value)


def test_yahoo_without_yfinance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yfinance", None)
    with pytest.raises(DataError, match=r"the yahoo source needs yfinance; pip install 'tradekit\[yahoo\]'"):
        fetch("yahoo:SPY")


# The cache


def keep(request: Request, rows: int = 300) -> Path:
    tables = [daily(rows, symbol=symbol, seed=seed) for seed, symbol in enumerate(request.symbols)]
    return _keep(request, Answer(join(*tables), "none", "test 1"), cache_folder()).path


def test_a_wider_file_answers_a_narrower_request() -> None:
    wide = Request("yahoo", ("A", "B"), "2020-01-01", "2023-12-31")
    assert wide.covers(Request("yahoo", ("A",), "2020-01-01", "2021-01-01"))
    assert wide.covers(Request("yahoo", ("B",), "2021-01-01", None))
    for other in (
        Request("alpaca", ("A",), "2021-01-01"),
        Request("yahoo", ("A", "C"), "2021-01-01"),
        Request("yahoo", ("A",), "2019-12-31"),
        Request("yahoo", ("A",), None),
        Request("yahoo", ("A",), "2021-01-01", "2024-01-01"),
        Request("yahoo", ("A",), "2021-01-01", None, "1h"),
    ):
        assert not wide.covers(other)
    assert Request("yahoo", ("A",)).covers(Request("yahoo", ("A",), "1990-01-01", "2030-01-01"))


def test_the_newest_file_that_has_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Request("yahoo", ("A", "SPY"), "2022-01-03", "2022-12-30"))
    panel = load_panel("yahoo:A", start="2022-02-01", end="2022-06-30", benchmark="SPY")
    assert (panel.symbols, panel.benchmark_name) == (("A",), "SPY")
    assert panel.span == "2022-02-01 to 2022-06-30"
    assert load_panel("yahoo:A,SPY", symbols="SPY", start="2022-02-01").symbols == ("SPY",)


def test_an_altered_file_is_refused() -> None:
    path = keep(Request("yahoo", ("A",)))
    assert list_cache()[0].intact
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert not list_cache()[0].intact
    with pytest.raises(DataError, match=r"missing or altered since it was fetched; fetch it again"):
        load_panel("yahoo:A")
    path.unlink()
    with pytest.raises(DataError, match=r"missing or altered"):
        load_panel("yahoo:A")


def test_fetching_again_replaces_the_file() -> None:
    first = keep(Request("yahoo", ("A",)), rows=100)
    again = keep(Request("yahoo", ("A",)), rows=120)
    assert first == again
    assert [entry.rows for entry in list_cache()] == [120]
    assert load_panel("yahoo:A").close.shape == (120, 1)
    keep(Request("yahoo", ("A", "B")))
    assert [entry.request.symbols for entry in list_cache()] == [("A", "B"), ("A",)]
    assert load_panel("yahoo:A").close.shape == (300, 1)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder(tmp_path / "other") == tmp_path / "other"
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TRADEKIT_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tradekit"
    assert list_cache() == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match="the cache cannot be written"):
        keep(Request("yahoo", ("A",)))


def test_a_torn_note_is_named(cache: Path) -> None:
    note = keep(Request("yahoo", ("A",))).with_name("x.parquet.json")
    note.write_text('{"request": {}}')
    with pytest.raises(DataError, match=r"x\.parquet\.json: cannot be read as a note"):
        list_cache()


def test_requests_are_read_from_a_sources_name() -> None:
    assert parse("yahoo:spy, AAPL@1h", start="2024-01-02") == Request(
        "yahoo", ("AAPL", "SPY"), "2024-01-02", None, "1h"
    )
    assert parse("alpaca", ["BRK.B", "SPY"], frequency="5m").symbols == ("BRK.B", "SPY")
    assert Request("yahoo", ("^GSPC",)).file_name.startswith("yahoo-1D-GSPC-")
    assert "_and_2_more-" in Request("yahoo", ("A", "B", "C", "D", "E")).file_name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("yaho:SPY",), "'yaho' cannot be fetched; did you mean yahoo"),
        (("yahoo",), "no symbols; write them as yahoo:SPY,AAPL"),
        (("yahoo:../x",), r"'../X' is no symbol"),
        (("yahoo:SPY@2h",), "no bars of '2h'"),
        (("yahoo:SPY", None, "yesterday"), "cannot read the date 'yesterday'"),
        (("yahoo:SPY", None, "2024-01-02", "2023-01-02"), "start 2024-01-02 is after end 2023-01-02"),
    ],
)
def test_requests_that_make_no_sense(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)
