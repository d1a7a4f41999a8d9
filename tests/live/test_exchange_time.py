"""How market time passes, what survives a restart, and the command that serves it all."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from alpaca.trading.client import TradingClient

from tests.panels import intraday, random_panel
from tradekit.errors import ConfigError, SessionError
from tradekit.live.exchange import Exchange, ExchangeServer, Pace, Settings
from tradekit.live.exchange.orders import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local"}
HOURLY = intraday(random_panel(20, 1, seed=2), 4)
PATIENCE_SECONDS = 20.0


def body(**more: Any) -> dict[str, Any]:
    return {"symbol": "S0", "qty": 2, "side": "buy", "type": "market", "time_in_force": "day", **more}


def state(server: ExchangeServer) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(server.url + "/exchange", headers=HEADERS, timeout=5).json()
    return found


def wait_for_bar(server: ExchangeServer, bar: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while state(server)["bar"] < bar:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_without_a_pace_time_stands_still() -> None:
    with ExchangeServer(Exchange(HOURLY, Settings(start=3))) as server:
        time.sleep(0.2)
        assert (state(server)["bar"], state(server)["speed"]) == (3, None)


def test_at_a_speed_hours_pass_in_their_time_and_nights_in_none() -> None:
    # An hour of the market in 0.1 s: two sessions of four bars take 0.8 s.
    with ExchangeServer(Exchange(HOURLY, Settings(start=3)), pace=Pace(speed=36_000.0)) as server:
        began = time.monotonic()
        wait_for_bar(server, 11)
        took = time.monotonic() - began
        assert 0.7 < took < PATIENCE_SECONDS
        found = requests.get(server.url + "/exchange/ledger", headers=HEADERS, timeout=5).json()
        assert found["fills"] == []


def test_between_closes_the_clock_runs_and_no_bar_shows() -> None:
    with ExchangeServer(Exchange(HOURLY, Settings(start=4)), pace=Pace(speed=60.0)) as server:  # a minute an hour
        client: Any = TradingClient("local", "local", url_override=server.url)
        first = client.get_clock()
        time.sleep(0.2)
        second = client.get_clock()
        moved = (second.timestamp - first.timestamp).total_seconds()
        assert 9.0 < moved < 3600.0
        assert second.is_open
        query = {"symbols": "S0", "timeframe": "1Hour", "start": "2024-01-01T00:00:00Z"}
        bars = requests.get(server.url + "/v2/stocks/bars", query, headers=HEADERS, timeout=5).json()["bars"]["S0"]
        assert len(bars) == 5
        requests.post(server.url + "/v2/orders", json=body(), headers=HEADERS, timeout=5).raise_for_status()
        (sent,) = client.get_orders()
        assert sent.submitted_at >= second.timestamp
        client._session.close()


def test_as_fast_as_the_client_keeps_up() -> None:
    """Each bar waits until the one before was read; then what the client does about it is done within the bar."""
    with ExchangeServer(Exchange(HOURLY, Settings(start=3)), pace=Pace(auto=True, quiet_seconds=0.3)) as server:
        time.sleep(0.5)
        assert state(server)["bar"] == 3  # nobody has asked for anything
        query = {"symbols": "S0", "timeframe": "1Hour", "start": "2024-01-01T00:00:00Z"}
        for bar in range(3, 8):
            wait_for_bar(server, bar)
            read = requests.get(server.url + "/v2/stocks/bars", query, headers=HEADERS, timeout=5).json()
            assert len(read["bars"]["S0"]) == bar + 1
            requests.post(server.url + "/v2/orders", json=body(), headers=HEADERS, timeout=5).raise_for_status()
        wait_for_bar(server, 8)
        ledger = requests.get(server.url + "/exchange/ledger", headers=HEADERS, timeout=5).json()
    assert [fill["bar"] for fill in ledger["fills"]] == [4, 5, 6, 7, 8]
    assert [fill["reference"] for fill in ledger["fills"]] == HOURLY.open[4:9, 0].tolist()


def test_paces_that_make_no_sense() -> None:
    for wrong in ({"speed": 0.0}, {"speed": -1.0}, {"speed": 2.0, "auto": True}, {"quiet_seconds": 0.0}):
        with pytest.raises(ConfigError):
            Pace(**wrong)  # type: ignore[arg-type]  # a dict of mixed values


# -------------------------------------------------------------------------------------------------------- the store


def test_a_store_that_is_empty_is_new_and_one_of_something_else_is_refused(tmp_path: Path) -> None:
    empty, other, folder = tmp_path / "empty.sqlite", tmp_path / "journal.sqlite", tmp_path / "folder"
    empty.touch()
    Exchange(HOURLY, Settings(), store=empty).close()
    Exchange(HOURLY, Settings(), store=empty).close()
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE events (id INTEGER)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(SessionError, match=r"journal.sqlite: a database of something else \(events\)"):
        Exchange(HOURLY, Settings(), store=other)
    assert other.read_bytes() == before
    folder.mkdir()
    with pytest.raises(SessionError, match="folder: cannot be opened"):
        Exchange(HOURLY, Settings(), store=folder)


def test_two_exchanges_cannot_keep_one_store(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    first = Exchange(HOURLY, Settings(), store=path)
    with pytest.raises(SessionError, match="in use by another exchange"):
        Exchange(HOURLY, Settings(), store=path)
    first.submit(body())
    first.close()


def test_a_restart_keeps_every_kind_of_change(tmp_path: Path) -> None:
    path, settings = tmp_path / "log.sqlite", Settings(start=3)
    first = Exchange(HOURLY, settings, store=path)
    first.venue.moment = np.datetime64("2024-01-02T03:00:00.5", "ns")
    old = first.submit(body(type="limit", limit_price="1.00", time_in_force="gtc"))
    new = first.replace(old.id, {"qty": 3})
    first.submit(body(notional="500", qty=None))
    first.advance()
    first.suspend(True)
    told = [first.state(), first.venue.cash, [(o.id, o.status, o.submitted_at) for o in first.venue.orders.values()]]
    first.close()
    again = Exchange(HOURLY, settings, store=path)
    assert [
        again.state(),
        again.venue.cash,
        [(o.id, o.status, o.submitted_at) for o in again.venue.orders.values()],
    ] == told
    assert again.venue.orders[old.id].replaced_by == new.id
    with pytest.raises(Refusal, match="not allowed to trade"):
        again.submit(body())
    again.close()


# ------------------------------------------------------------------------------------------------------ the command


@contextmanager
def served(*options: str, killed: bool = False) -> Iterator[str]:
    """Run ``tradekit exchange`` in a process of its own, return its URL, and interrupt or kill it in the end."""
    command = [sys.executable, "-m", "tradekit", "exchange", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL if killed else signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == (-signal.SIGKILL if killed else 0)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_the_command_serves_strikes_and_comes_back_after_a_kill(tmp_path: Path) -> None:
    faults, store = tmp_path / "faults.toml", tmp_path / "log.sqlite"
    faults.write_text('[[fault]]\nkind = "500"\non = "clock"\nnth = 2\n')
    options = ("--symbols", "AAPL,KO", "--from-bar", "5000", "--faults", str(faults), "--store", str(store))
    with served(*options, "--rate-limit", "200", killed=True) as url:
        answers = [requests.get(url + "/v2/clock", headers=HEADERS, timeout=10) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 500, 200]
        assert answers[0].headers["X-RateLimit-Limit"] == "200"
        sent = requests.post(url + "/v2/orders", json=body(symbol="KO"), headers=HEADERS, timeout=10).json()
        assert sent["status"] == "accepted"
    with served(*options, "--rate-limit", "200") as url:
        found = requests.get(url + "/v2/orders", headers=HEADERS, timeout=10).json()
        assert [order["id"] for order in found] == [sent["id"]]


@pytest.mark.slow
def test_the_commands_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exchange.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with served("--data", "sample", "--symbols", "AAPL,KO", "--from-bar", "5000") as url:
        script = 'set -eu\ncurl() { command curl -sSf "$@"; echo; }\n' + shown.replace("http://127.0.0.1:8765", url)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    clock, bars, sent, state, found, positions = map(json.loads, done.stdout.strip().splitlines())
    assert (clock["is_open"], len(bars["bars"]["KO"]), state["bar"]) == (False, 22, 5001)
    assert (sent["status"], found["status"], positions[0]["qty"]) == ("accepted", "filled", "10")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--faults", "none.toml"), "none.toml: cannot be read"),
        (("--quiet-ms", "20"), "--auto"),
        (("--speed", "2", "--auto"), "choose one"),
        (("--speed", "0"), "speed is 0.0"),
        (("--from-bar", "99999999"), "the data has"),
    ],
)
def test_wrong_options_are_one_line(options: tuple[str, ...], says: str) -> None:
    command = [sys.executable, "-m", "tradekit", "exchange", "--port", "0", "--symbols", "KO", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
