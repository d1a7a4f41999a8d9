"""``tradekit paper`` as it is used: several shells, a terminal, and every exit status that --help promises."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.panels import random_panel
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.broker import Ticket
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.switch import KillSwitch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

# Trades at every bar, and thinks long about each unless somebody put a file named "hurry" into the desk.
BUSY = """
import time
from pathlib import Path

import numpy as np


class Busy:
    name = "busy"
    lookback = 1

    def fit(self, train):
        return self

    def weights(self, panel):
        if not Path("hurry").exists():
            time.sleep(0.15)
        odd = (panel.timestamps.astype("M8[D]").astype(int) % 2 == 0)[:, None]
        return np.where(odd, 0.4, 0.1 + 0.1 * np.arange(len(panel.symbols)))


strategy = Busy()
"""
START = ("paper", "start", "--strategy", "busy", "--data", "prices.csv")


@pytest.fixture
def busy(desk: Path) -> Path:
    """Return a desk with the busy strategy, that hurries."""
    (desk / "strategies" / "busy.py").write_text(BUSY)
    (desk / "hurry").touch()
    return desk


@contextmanager
def shell(desk: Path, *arguments: str, repository: Path, on_terminal: bool = False) -> Iterator[tuple[Any, int]]:
    """Run a command beside the test, on a terminal of its own when asked; give process and what to read it from."""
    environment = {**os.environ, "PYTHONPATH": str(repository), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    command = [sys.executable, "-m", "tradekit", *arguments]
    process = subprocess.Popen(command, cwd=desk, env=environment, stdin=theirs if on_terminal else None,
                               stdout=theirs, stderr=theirs)  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(20)
        os.close(ours)


def read_until(source: int, words: str, seconds: float = 40.0) -> str:
    """Read until ``words`` have come, or the other side has closed."""
    text, deadline = "", time.monotonic() + seconds
    while words not in text:
        assert time.monotonic() < deadline, text
        if select.select([source], [], [], 0.1)[0]:
            try:
                more = os.read(source, 65_536)
            except OSError:  # a terminal whose other side has closed
                break
            if not more:
                break
            text += more.decode(errors="replace")
    return text


def rest_of(source: int) -> str:
    """Read what is left."""
    return read_until(source, "\0")


def orders_so_far(tradekit: Callable[..., Answer], desk: Path) -> int:
    """Return how many orders the newest session has sent; none before it has begun."""
    stands = tradekit("paper", "status", "--json", cwd=desk)
    return int(stands.json["orders"]) if stands.status == 0 else 0


def test_two_shells_and_a_terminal(busy: Path, tradekit: Callable[..., Answer], repository: Path) -> None:
    (busy / "hurry").unlink()
    line = (*START, "--bars", "60")
    with shell(busy, *line, repository=repository, on_terminal=True) as (running, screen):
        shown = read_until(screen, "5 of 60")
        stands = tradekit("paper", "status", "--json", cwd=busy).json
        assert (stands["session"], stands["state"], stands["bars"]) == ("local", "running", 60)
        assert 3 <= stands["bars_done"] < 60
        words = tradekit("paper", "status", cwd=busy).out
        assert re.search(r"local, mode local: busy, running\n\d+ of 60 bars", words)
        shown += read_until(screen, "9 of 60")
        stopped = tradekit("paper", "stop", cwd=busy)
        assert (stopped.status, stopped.out) == (0, "local: stopped; tradekit paper start goes on from there\n")
        shown += rest_of(screen)
        assert running.wait(20) == 130
    page = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    for name in ("session", "bar", "next", "shadow", "account", "cost so far", "limits"):
        assert re.search(rf"^{name}\s+\S", page, re.MULTILINE), name
    assert "local, mode local: busy" in page
    assert re.search(r"symbol\s+shadow\s+account", page)
    assert re.search(r"AAA\s+[\d,.]+\s+[\d,.]+", page)
    assert re.search(r"\d{4}-\d\d-\d\d  equity [\d,.]+  2 orders", page)  # the last events
    assert "stopped; tradekit paper start goes on from here" in page
    assert tradekit("paper", "status", "--json", cwd=busy).json["state"] == "stopped"
    again = tradekit("paper", "stop", cwd=busy)
    assert (again.status, again.error) == (2, "local: no session is running; nothing to stop")

    (busy / "hurry").touch()
    with shell(busy, *line, repository=repository) as (running, output):
        said = rest_of(output)
        assert running.wait(20) == 0
    assert "\x1b" not in said
    assert said.startswith("paper local: going on from its journal\n")
    assert re.search(r"^paper local: \d+/60 bars .*, account [\d,.]+, \d+ orders, cost [\d,.]+; ", said, re.MULTILINE)
    assert re.search(r"^shortfall [\d,.]+: ", said, re.MULTILINE)
    assert "parity: 100.00% of decisions equal" in said


def test_kill_flatten_clear(busy: Path, tradekit: Callable[..., Answer], repository: Path) -> None:
    (busy / "hurry").unlink()
    line = (*START, "--bars", "60")
    with shell(busy, *line, repository=repository) as (running, output):
        while orders_so_far(tradekit, busy) < 4:
            assert running.poll() is None
            time.sleep(0.1)
        killed = tradekit("paper", "kill", "--flatten", "--why", "a drill", cwd=busy)
        assert killed.status == 0
        assert "the kill switch is on: " in killed.out
        assert running.wait(30) == 2
        said = rest_of(output)
    assert said.splitlines()[-1].startswith("error: kill switch: a drill")
    (busy / "hurry").touch()
    stands = tradekit("paper", "status", cwd=busy).out
    assert "halted: kill switch: a drill; " in stands
    assert "2 positions sold" in stands
    assert "the kill switch is on since " in stands
    refused = tradekit(*line, cwd=busy)
    assert refused.status == 2
    assert refused.error.endswith("when all is well again: tradekit paper kill --clear")

    # What was to be sold waits for the next bar of a replay that stands still.
    local = busy / "paper" / "local.toml"
    local.write_text('strategy = "busy"\ndata = "prices.csv"\nbars = 60\n')
    books = tradekit("paper", "reconcile", cwd=busy)
    assert books.status == 0
    assert "journal and broker agree" in books.out
    assert "orders of this session are still open: tradekit paper reconcile --cancel-open" in books.out
    assert "2 orders cancelled" in tradekit("paper", "reconcile", "--cancel-open", cwd=busy).out
    assert tradekit("paper", "reconcile", "--json", cwd=busy).json["open_orders"] == []

    report = tradekit("paper", "report", cwd=busy)
    assert report.status == 1
    assert "halted: kill switch: a drill" in report.out
    assert tradekit("paper", "kill", "--clear", cwd=busy).out == "the kill switch is off\n"
    assert tradekit("paper", "kill", "--clear", cwd=busy).out == "the kill switch was off already\n"
    assert KillSwitch(busy / "paper" / "journals").order() is None
    after = tradekit(*line, cwd=busy)
    assert after.status == 0
    assert after.err.startswith("paper local-2: a new session; local is over\n")


def test_books_that_differ(busy: Path, tradekit: Callable[..., Answer]) -> None:
    with ExchangeServer(Exchange(random_panel(60, 2), Settings(start=40))) as server:
        spec = 'name = "far"\nstrategy = "busy"\nbars = 8\nhistory = 10\n[connection]\npatience_seconds = 0.5\n'
        spec += f'[exchange]\nurl = "{server.url}"\n'
        (busy / "paper" / "far.toml").write_text(spec)
        assert tradekit("paper", "start", "far", cwd=busy).status == 0
        assert tradekit("paper", "reconcile", "far", cwd=busy).status == 0
        other = AlpacaBroker("local", "local", server.url)
        other.submit(Ticket("foreign", "S1", "buy", Decimal(1)))
        books = tradekit("paper", "reconcile", "far", cwd=busy)
        assert books.status == 1
        assert "S1: foreign is somebody else's order" in books.out
        assert "next: cancel what is not yours: tradekit paper reconcile --cancel-open" in books.out
        assert not [order for order in other.orders() if order.is_final and order.client_order_id == "foreign"]
        assert "1 orders cancelled" in tradekit("paper", "reconcile", "far", "--cancel-open", cwd=busy).out
        other.close()
    gone = tradekit("paper", "reconcile", "far", cwd=busy)
    assert gone.status == 2
    assert "\n" not in gone.error


def test_calibrate(busy: Path, tradekit: Callable[..., Answer]) -> None:
    assert tradekit(*START, "--bars", 5, cwd=busy).status == 0
    few = tradekit("paper", "calibrate", cwd=busy)
    assert few.status == 2
    assert "8 fills that can be used, at least 30 are needed; run the session longer" in few.error
    assert tradekit(*START, "--bars", 40, cwd=busy).status == 0
    fitted = tradekit("paper", "calibrate", "--json", cwd=busy).json
    assert (fitted["fills"], fitted["sessions"], fitted["level"]) == (78, ["local-2"], 0.95)
    bounds = fitted["proportional_bps"]
    assert bounds["low"] <= 4.5 <= bounds["high"]  # a spread of 2, and half of 5 on average
    assert fitted["path"] == str(busy / "paper" / "calibrated.toml")
    both = tradekit("paper", "calibrate", "local", "local-2", cwd=busy)
    assert both.out.startswith("86 fills of local, local-2; 95% intervals\n")
    run = ("backtest", "--walk-forward", "--strategies", "busy", "--costs", "calibrated", "--json")
    costs = tradekit(*run, cwd=busy).json["costs"]
    assert costs["slippage_bps"] == 0.0
    assert costs["spread_bps"] == pytest.approx(4.5, rel=1e-3)


def test_every_shipped_file_of_a_session_is_what_it_says(busy: Path, tradekit: Callable[..., Answer]) -> None:
    said = {one["name"]: one for one in tradekit("doctor", "--json", cwd=busy).json["checks"]}
    for name in ("local", "alpaca", "faults"):
        assert said[f"paper/{name}.toml"]["ok"], said[f"paper/{name}.toml"]
    (busy / "paper" / "faults.toml").write_text("[[fault]]\nkind = 'nonsense'\n")
    said = {one["name"]: one for one in tradekit("doctor", "--json", cwd=busy).json["checks"]}
    assert not said["paper/faults.toml"]["ok"]


@pytest.mark.parametrize("command", ["start", "status", "stop", "kill", "reconcile", "report", "calibrate"])
def test_help_says_how_it_ends(command: str, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
    said = tradekit("paper", command, "--help", cwd=tmp_path)
    assert said.status == 0
    if command in ("start", "reconcile", "report"):
        assert "Exit status 1" in " ".join(said.out.split())
