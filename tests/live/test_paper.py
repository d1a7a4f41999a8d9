"""Paper mode, rehearsed: the session that would talk to Alpaca, on an exchange whose clock runs by itself."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.live.deaths import Boundary
from tests.live.toys import Drift
from tests.live.trial import IMPATIENT, PAPER, demand_accounts, go_on_without_it, killed, panel, run
from tradekit.errors import ConfigError, SessionError
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.broker import Ticket
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.exchange.pace import Pace
from tradekit.live.journal import read_events
from tradekit.live.limits import Limits
from tradekit.live.session import KEYS, paper_contract, start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.live.stream import Hints
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tradekit.market.panel import Floats, Panel

SYMBOLS = ("SPY", "AAPL", "MSFT")
SESSION_SECONDS = 23_400
HASTE = replace(IMPATIENT, delay_seconds=0.0, poll_seconds=0.02)
SPEC = SessionSpec(mode="paper", symbols=SYMBOLS, bars=6, history=30, connection=HASTE,
                   limits=Limits(stale_seconds=0.8 * SESSION_SECONDS, clock_seconds=1e9))  # fmt: skip


@pytest.fixture
def bars(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Panel:
    monkeypatch.setenv("APCA_API_KEY_ID", "local")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "local")
    return load_panel(shared_data / "daily_core_adj", SYMBOLS, start="2025-01-01")


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        [],
        [
            Fault(("drop", "duplicate", "reorder", "delay"), on="streams", rate=0.5, seconds=0.1),
            Fault("fill_before_ack", times=50),
            Fault("close", on="trade_updates", nth=5, times=2),
        ],
        [Fault("mute", on="trade_updates")],
        [Fault("402", times=50)],
        [Fault(("429", "500", "504", "reset", "truncated", "empty"), on="any", rate=0.05, seconds=0.05)],
    ],
    ids=["calm", "streams", "mute", "unauthorised", "requests"],
)
def test_a_week_on_a_clock_that_runs(faults: list[Fault], bars: Panel, tmp_path: Path) -> None:
    exchange = Exchange(bars, Settings(start=len(bars) - 10), faults=Faults(faults, seed=3))
    with ExchangeServer(exchange, pace=Pace(speed=SESSION_SECONDS)) as server:
        report = start(replace(SPEC, exchange=ExchangeSpec(url=server.url)), Drift(), tmp_path).report
    assert (report["mode"], report["bars"], report["state"]) == ("paper", 6, "ended")
    assert (report["decision_parity"], report["equity_difference"]) == (1.0, 0.0)
    assert report["orders"] >= 9
    assert (report["duplicate_orders"], report["unresolved_orders"]) == (0, 0)
    theirs = [order.ask.client_order_id for order in exchange.venue.orders.values()]
    assert len(theirs) == len(set(theirs)) == report["broker_orders"]
    events = read_events(tmp_path / "paper" / "journals" / "local.sqlite")
    assert [e.bar for e in events if e.kind == "bar" and not e.body["history"]] == [
        str(stamp.astype("M8[D]")) for stamp in bars.timestamps[-9:-3]
    ]


def test_somebody_else_is_noticed_between_two_bars(bars: Panel, tmp_path: Path) -> None:
    exchange = Exchange(bars, Settings(start=len(bars) - 10))
    with ExchangeServer(exchange) as server:  # time stands still: no bar will ever bring the next look

        def meddle() -> None:
            while len(exchange.venue.orders) < len(SYMBOLS):
                time.sleep(0.02)
            time.sleep(0.3)
            other = AlpacaBroker("local", "local", server.url)
            other.submit(Ticket("foreign", "SPY", "buy", Decimal(1)))
            other.close()

        meddler = threading.Thread(target=meddle)
        meddler.start()
        with pytest.raises(SessionError, match=r"halted at .*SPY: order foreign is not of this session"):
            start(replace(SPEC, exchange=ExchangeSpec(url=server.url)), Drift(), tmp_path)
        meddler.join()


class Asleep(Drift):
    """Thinks for nearly three days about one bar."""

    def __init__(self, bar: np.datetime64) -> None:
        super().__init__()
        self._bar = bar

    def weights(self, panel: Panel) -> Floats:
        if len(panel) < 10 and panel.timestamps[-1] == self._bar:  # asked by the session, not by its verdict
            time.sleep(2.8)
        return super().weights(panel)


@pytest.mark.slow
def test_after_a_long_absence_old_bars_are_decided_and_not_sent(bars: Panel, tmp_path: Path) -> None:
    exchange = Exchange(bars, Settings(start=len(bars) - 10))
    with ExchangeServer(exchange, pace=Pace(speed=SESSION_SECONDS)) as server:
        spec = replace(SPEC, exchange=ExchangeSpec(url=server.url), bars=8)
        report = start(spec, Asleep(bars.timestamps[-7]), tmp_path).report
    assert (report["decision_parity"], report["state"]) == (1.0, "ended")
    events = read_events(tmp_path / "paper" / "journals" / "local.sqlite")
    late = [event.bar for event in events if event.kind == "decision" and event.body["late"]]
    assert late
    intents = [event for event in events if event.kind == "intent"]
    assert not {event.bar for event in intents} & set(late)
    # What was not sent is made good with the first decision that is in time.
    assert any(event.body["catch_up"] for event in intents if event.bar > late[-1])


@pytest.mark.parametrize(("kind", "nth"), [("intent", 3), ("reconciliation", 4)])
def test_what_a_restart_finds_too_late_is_not_sent(
    kind: str, nth: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "local")
    died_at: list[str] = []

    def prepare(session: SessionSpec, desk: Path) -> None:
        killed(Boundary(kind, nth, "after"), session, desk)
        died_at.append(read_events(desk / "paper" / "journals" / "local.sqlite")[-1].bar)
        go_on_without_it(session, bars=3)

    strict = Limits(stale_seconds=3600.0, clock_seconds=1e9)
    outcome = run([], tmp_path, prepare=prepare, **{**PAPER, "limits": strict})
    demand_accounts(outcome)
    there = [event for event in outcome.events if event.bar == died_at[0]]
    (decision,) = [event.body for event in there if event.kind == "decision"]
    assert decision["orders"]
    assert decision["late"] == (kind == "reconciliation")
    acks = [event.body["status"] for event in there if event.kind == "ack"]
    assert acks == ["given up"] * (len(decision["orders"]) if kind == "intent" else 0)
    assert not [key for key in outcome.sent if died_at[0].replace("-", "") in key]
    assert outcome.report["orders"] == len(outcome.sent)
    # It is made good with the first decision that is in time.
    assert any(event.body["catch_up"] for event in outcome.events if event.kind == "intent")


def test_a_stream_that_connects_again_brings_a_look_at_the_account() -> None:
    def heard(hints: Hints) -> None:
        end = time.monotonic() + 10.0
        while not hints.due():
            assert time.monotonic() < end, "nothing heard"
            time.sleep(0.005)

    faults = Faults([Fault("close", on="trade_updates")])
    with ExchangeServer(Exchange(panel(), Settings(start=180), faults=faults)) as server:
        broker = AlpacaBroker("local", "local", server.url)
        with Hints("local", "local", server.url, silence_seconds=1e9) as hints:
            heard(hints)
            assert not hints.due()
            broker.submit(Ticket("one", "S0", "buy", Decimal(1)))  # the stream closes instead of telling of it
            heard(hints)
            assert hints.connections == 2
            before = time.monotonic()
        broker.close()
    assert time.monotonic() - before < 2.0
    assert faults.struck == {0: 1}


def test_what_a_paper_session_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r'"paper" needs symbols'):
        SessionSpec(mode="paper")
    with pytest.raises(ConfigError, match="fill_at"):
        SessionSpec.from_dict({"mode": "paper", "symbols": ["SPY"], "execution": {"fill_at": "close"}})
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.delenv("APCA_API_SECRET_KEY", raising=False)
    with pytest.raises(SessionError, match="needs APCA_API_KEY_ID and APCA_API_SECRET_KEY in the environment"):
        start(SPEC, Drift(), tmp_path)
    contract = paper_contract(replace(SPEC, frequency="1h", benchmark="SPY"))
    assert (contract.bars_per_year, contract.benchmark, contract.names) == (252.0 * 6, "SPY", SYMBOLS)
