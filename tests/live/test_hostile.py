"""Hostile conditions, one by one: each ends in one clear line, a status that is documented, and nothing sent."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.live.toys import CLOSE, Drift, Sleeves
from tests.live.trial import IMPATIENT
from tests.panels import random_panel
from tradekit.errors import BrokerError, BundleError, SessionError, StrategyError, TradekitError
from tradekit.learn.actions import ACTIONS, ActionScheme
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.policy import PolicyStrategy
from tradekit.live.broker import BrokerUncertain
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.journal import Journal, read_events
from tradekit.live.report import session_report, status
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

SAMPLE = SessionSpec(symbols=("AAPL", "AMD", "GE"), bars=8, history=140)


def at(server: ExchangeServer, **more: Any) -> SessionSpec:
    return SessionSpec(exchange=ExchangeSpec(url=server.url), bars=15, history=20, connection=IMPATIENT, **more)


def one_line(error: BaseException) -> None:
    assert isinstance(error, TradekitError)
    assert error.exit_status == 2
    assert "\n" not in str(error)


def test_wrong_keys_of_a_paper_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "PKWRONG")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "guessed-secret")
    with ExchangeServer(Exchange(random_panel(60, 3), Settings(start=40))) as server:
        paper = replace(at(server), mode="paper", symbols=("S0",))
        with pytest.raises(BrokerError, match="not authorized") as caught:
            start(paper, Drift(), tmp_path)
        assert not server.exchange.venue.orders
    one_line(caught.value)
    assert "guessed-secret" not in str(caught.value)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"guessed-secret" not in written
    assert b"PKWRONG" not in written


class Expired(Drift):
    """In the middle of the session the keys stop working."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self.exchange = exchange

    def __deepcopy__(self, memo: Any) -> Expired:
        return self

    def weights(self, panel: Panel) -> Any:
        if len(panel) == self.lookback + 4:
            settings = self.exchange.venue.settings
            self.exchange.venue.settings = replace(settings, secret_key="renewed")
        return super().weights(panel)


def test_keys_that_expire_halt_it(tmp_path: Path) -> None:
    exchange = Exchange(random_panel(60, 3), Settings(start=40))
    with ExchangeServer(exchange) as server:
        with pytest.raises(BrokerError, match="not authorized") as caught:
            start(at(server), Expired(exchange), tmp_path)
        sent = len(exchange.venue.orders)
    one_line(caught.value)
    report = session_report(tmp_path / "paper" / "journals" / "local.sqlite")
    assert report["orders"] == sent


def test_a_symbol_that_cannot_be_traded(tmp_path: Path) -> None:
    faults = Faults([Fault("untradable", symbol="S1", bar=1)])
    exchange = Exchange(random_panel(60, 3), Settings(start=41), faults=faults)
    exchange.advance(42)
    with ExchangeServer(exchange) as server:
        with pytest.raises(
            SessionError, match="the broker takes no orders for S1; leave them out of symbols"
        ) as caught:
            start(at(server), Drift(), tmp_path)
        assert not exchange.venue.orders
    one_line(caught.value)


def test_orders_of_somebody_else_in_the_account(tmp_path: Path) -> None:
    exchange = Exchange(random_panel(60, 3), Settings(start=40))
    exchange.submit({"symbol": "S1", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"})
    with (
        ExchangeServer(exchange) as server,
        pytest.raises(SessionError, match="1 orders of somebody else are open in the account, S1") as caught,
    ):
        start(at(server), Drift(), tmp_path)
    one_line(caught.value)


def test_an_account_that_holds_something_already_keeps_it(tmp_path: Path) -> None:
    exchange = Exchange(random_panel(60, 3), Settings(start=40, cash=200_000.0))
    exchange.submit({"symbol": "S1", "qty": "7", "side": "buy", "type": "market", "time_in_force": "day"})
    exchange.advance(41)
    with ExchangeServer(exchange) as server:
        report = start(at(server, cash=200_000.0), Drift(), tmp_path).report
    assert (report["state"], report["decision_parity"]) == ("ended", 1.0)
    last = [
        e.body for e in read_events(tmp_path / "paper" / "journals" / "local.sqlite") if e.kind == "reconciliation"
    ][-1]
    assert (last["differences"], last["drift"]) == ([], {})


def test_data_that_stops_coming(tmp_path: Path) -> None:
    faults = Faults([Fault("503", on="bars", nth=6, times=10**6)])
    exchange = Exchange(random_panel(60, 3), Settings(start=40), faults=faults)
    with ExchangeServer(exchange) as server:
        with pytest.raises(BrokerUncertain, match=r"bars: .*HTTP 503") as caught:
            start(at(server), Drift(), tmp_path)
        before = len(exchange.venue.orders)
    one_line(caught.value)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    assert status(journal)["state"] == "stopped"  # it goes on when data is back
    assert session_report(journal)["orders"] == before


def test_a_journal_of_another_version(tmp_path: Path) -> None:
    journal = start(SAMPLE, Drift(), tmp_path).journal
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    with pytest.raises(
        SessionError, match="a journal of version 1, not 3; finish it with the tradekit that wrote it"
    ) as e:
        start(SAMPLE, Drift(), tmp_path)
    one_line(e.value)


@pytest.mark.parametrize("damage", ["tail", "body", "torn"])
def test_a_corrupted_journal(damage: str, tmp_path: Path) -> None:
    journal = start(SAMPLE, Drift(), tmp_path).journal
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("DROP TRIGGER event_is_final")
        connection.execute("DROP TRIGGER event_stays")
        if damage == "tail":
            connection.execute("UPDATE event SET hash = 'x' WHERE seq = (SELECT max(seq) FROM event)")
        elif damage == "body":
            connection.execute("UPDATE event SET body = '{}' WHERE seq = 5")
        connection.commit()
    if damage == "torn":
        size = journal.stat().st_size
        with journal.open("r+b") as file:
            file.seek(size // 2)
            file.write(os.urandom(size // 4))
    with pytest.raises(SessionError, match=r"damaged or edited|not a readable journal") as caught:
        start(SAMPLE, Drift(), tmp_path)
    one_line(caught.value)
    assert str(journal) in str(caught.value)


def test_no_disk_space_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files is a disk that fills up in the middle of a bar."""
    calm = start(SAMPLE, Sleeves(), tmp_path / "calm").report
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Sleeves):
        def decide(self, view: Any, portfolios: Any, state: Any) -> Any:
            if view.bar == 144:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
            return super().decide(view, portfolios, state)

    try:
        with pytest.raises(SessionError, match=r"cannot be written \(.*\); free space there and start again") as caught:
            start(SAMPLE, Filling(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(caught.value)
    report = start(SAMPLE, Sleeves(), tmp_path).report
    assert (report["state"], report["decision_parity"], report["duplicate_orders"]) == ("ended", 1.0, 0)
    assert report["equity"] == calm["equity"]


def test_a_disk_that_is_full_already_says_nothing_of_damage(tmp_path: Path) -> None:
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    with Journal(journal) as open_one:
        open_one.append("session", "", {})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(SessionError, match=r"cannot be opened \(.*\); see to space and rights there") as caught:
            start(SAMPLE, Drift(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(caught.value)
    assert "move the file away" not in str(caught.value)


def test_a_policy_that_returns_nonsense(tmp_path: Path) -> None:
    def decide(raw: Any, mask: Any) -> Any:
        weight = np.full((len(raw), ACTIONS), np.nan)
        return np.zeros(len(raw), np.int64), weight

    broken = SymbolAgent("broken", CLOSE, ActionScheme(), decide)
    with pytest.raises(StrategyError, match="broken: probabilities that are not finite") as caught:
        start(SAMPLE, broken, tmp_path)
    one_line(caught.value)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    report = session_report(journal)
    assert (report["state"], report["intents"]) == ("halted", 0)


def test_a_bundle_of_another_bar_length(shared_data: Path, repository: Path, tmp_path: Path) -> None:
    daily = PolicyStrategy.load(repository / "policies" / "symbol_ppo")
    hourly = SessionSpec(data=str(shared_data / "hourly_ibkr"), bars=8, history=140)
    with pytest.raises(BundleError, match=r"was trained on 1D bars .* has 1h bars") as caught:
        start(hourly, daily, tmp_path)
    one_line(caught.value)
    assert session_report(tmp_path / "paper" / "journals" / "local.sqlite")["intents"] == 0


def test_two_instances(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "paper" / "journals" / "local.sqlite"),
        pytest.raises(SessionError, match="another session is writing it; stop that one or use another name") as caught,
    ):
        start(SAMPLE, Drift(), tmp_path)
    one_line(caught.value)
