"""The keys of an account are in the environment and in the requests, and nowhere else, whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.panels import random_panel
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.exchange.pace import Pace
from tradekit.market.calendar import session_close, sessions_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer
    from tradekit.market.panel import Panel

KEYS = ("PKEXAMPLE0123456789", "s3cr3t/VeryLongSecretOfAnAccount")
SESSION_SECONDS = 23_400
EVERYTHING = "import logging; logging.basicConfig(level=logging.DEBUG); from tradekit.cli import main; main()"
SPEC = """
name = "keys"
mode = "paper"
strategy = "equal_weight"
symbols = ["S0", "S1"]
bars = 4
history = 5
[exchange]
url = "{url}"
[limits]
stale_seconds = 18000.0
clock_seconds = 1e9
[connection]
timeout_seconds = 0.5
patience_seconds = 3.0
first_wait_seconds = 0.01
longest_wait_seconds = 0.05
delay_seconds = 0.0
poll_seconds = 0.02
"""


def sessions(bars: int) -> Panel:
    """Return a random walk on the dates of real sessions."""
    panel, dates = random_panel(bars, 2, seed=2), sessions_from("2024-01-02", bars)
    return replace(panel, timestamps=dates.astype("M8[ns]"), close_time=session_close(dates))


@pytest.mark.parametrize("wrong", [False, True], ids=["right keys", "wrong keys"])
def test_keys_are_written_nowhere(
    wrong: bool, desk: Path, tradekit: Callable[..., Answer], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [
        Fault(("429", "500", "504", "reset", "truncated", "empty"), on="any", rate=0.1, seconds=0.05),
        Fault(("drop", "duplicate"), on="streams", rate=0.3),
        Fault("close", on="trade_updates", nth=3),
    ]
    given = ("PKGUESSED", "guessed/Secret0123456789") if wrong else KEYS
    settings = Settings(start=20, key_id=KEYS[0], secret_key=KEYS[1])
    exchange = Exchange(sessions(40), settings, faults=Faults(faults, seed=1))
    monkeypatch.setenv("APCA_API_KEY_ID", given[0])
    monkeypatch.setenv("APCA_API_SECRET_KEY", given[1])
    monkeypatch.setenv("PYTHONPATH", str(repository))
    with ExchangeServer(exchange, pace=Pace(speed=SESSION_SECONDS)) as server:
        (desk / "paper" / "keys.toml").write_text(SPEC.format(url=server.url))
        command = [sys.executable, "-X", "dev", "-c", EVERYTHING, "paper", "start", "keys", "--json"]
        session = subprocess.Popen(command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        titles = set()
        while session.poll() is None:
            titles.add(Path(f"/proc/{session.pid}/cmdline").read_text() + Path(f"/proc/{session.pid}/comm").read_text())
            try:
                out, err = session.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
        if not wrong:
            assert tradekit("paper", "reconcile", "keys", cwd=desk).status == 0
        after = [
            tradekit("paper", *line, cwd=desk) for line in (("status",), ("report", "--json"), ("reconcile", "keys"))
        ]
    assert session.returncode == (2 if wrong else 0), err[-2000:]
    assert "DEBUG" in err
    assert titles
    if not wrong:
        assert '"decision_parity": 1.0' in out
        assert "websockets" in err or "authoriz" in err.lower() or exchange.faults.struck
    texts = "".join([out, err, *titles, *(answer.out + answer.err for answer in after)])
    written = b"".join(path.read_bytes() for path in desk.rglob("*") if path.is_file())
    for key in (*KEYS, *given):
        assert key not in texts, texts[max(0, texts.index(key) - 300) : texts.index(key) + 20]
        assert key.encode() not in written
