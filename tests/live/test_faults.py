"""Every fault the exchange knows, against a session that nobody restarts by hand unless it says that it stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.toys import Sleeves
from tests.live.trial import IMPATIENT, Outcome, demand_accounts, panel, run, spec
from tradekit.errors import SessionError
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.journal import read_events
from tradekit.live.patience import Stopped
from tradekit.live.report import session_report
from tradekit.live.session import start

if TYPE_CHECKING:
    from pathlib import Path

SHORT: dict[str, Any] = {"429": {"seconds": 0.1}, "hang": {"seconds": 1.0}, "slow": {"seconds": 0.1}}
HTTP = ("429", "500", "502", "503", "504", "reset", "truncated", "empty", "redirect", "hang", "slow")
ASKED = ("submit", "orders", "positions", "account", "bars", "clock")
LONG = Fault("partial_fill", nth=3, share=0.4, reads=500)  # its rest shows only when somebody cancels

CALM_ALIKE: dict[str, list[Fault]] = {
    **{f"{kind} on {on}": [Fault(kind, on=on, nth=3, **SHORT.get(kind, {}))] for kind in HTTP for on in ASKED},
    **{
        f"{kind} on submit, {'after' if accepted else 'before'} acceptance": [
            Fault(kind, on="submit", nth=2, times=2, accepted=accepted, **SHORT.get(kind, {}))
        ]
        for kind in ("500", "502", "503", "504", "reset", "redirect", "hang")
        for accepted in (True, False)
    },
    **{f"refused: {kind}": [Fault(kind, nth=3, times=2)] for kind in ("buying_power", "wash_trade", "not_tradable")},
    "filled in two": [Fault("partial_fill", nth=3, share=0.4, reads=2)],
    "the rest waits until it is cancelled": [LONG],
    "partly filled, then cancelled": [Fault("partial_cancel", nth=2, times=3)],
    "a status nobody knows": [Fault("unknown_status", nth=3, reads=2)],
    "filled while it is cancelled": [LONG, Fault("cancel_race")],
    "everything at once": [
        Fault(("429", "500", "502", "503", "504", "reset", "truncated", "empty", "redirect", "slow"), on="any",
              rate=0.15, seconds=0.02)
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return what happens when nothing goes wrong."""
    outcome = run([], tmp_path_factory.mktemp("calm"))
    demand_accounts(outcome)
    assert outcome.report["orders"] > 8
    assert outcome.report["cash_difference"] == 0.0
    return outcome


@pytest.mark.parametrize("name", CALM_ALIKE)
def test_the_same_decisions_and_exact_accounts(name: str, calm: Outcome, tmp_path: Path) -> None:
    outcome = run(CALM_ALIKE[name], tmp_path)
    assert sum(outcome.exchange.faults.struck.values()) > 0
    demand_accounts(outcome)
    assert outcome.decisions == calm.decisions


def test_a_rest_that_never_filled_is_made_good(tmp_path: Path) -> None:
    outcome = run([Fault("partial_cancel", nth=2)], tmp_path)
    intents = [event.body for event in outcome.events if event.kind == "intent"]
    made_good = [body for body in intents if body["catch_up"]]
    assert len(made_good) == 1
    (cut,) = [event.body for event in outcome.events if event.kind == "fill" and event.body["status"] == "canceled"]
    missing = cut["ordered"] - cut["broker_quantity"]
    assert made_good[0]["symbol"] == cut["symbol"]
    assert made_good[0]["catch_up"] == pytest.approx(missing, abs=1e-9)
    assert [event.body["drift"] for event in outcome.events if event.kind == "reconciliation"][-1] == {}


def test_a_rest_that_cannot_be_cancelled_holds_its_symbol_back(tmp_path: Path) -> None:
    outcome = run([LONG, Fault("stuck_cancel", reads=0)], tmp_path)
    held = [event for event in outcome.events if event.kind == "decision" and event.body["held_back"]]
    assert held
    stuck = held[0].body["held_back"][0]
    for decision in held:  # no second order for the symbol while the first may still fill
        sent = [e.body["symbol"] for e in outcome.events if e.kind == "intent" and e.bar == decision.bar]
        assert stuck not in sent
    demand_accounts(outcome)


@pytest.mark.parametrize("kind", ["halt", "missing_bar", "half_day", "untradable"])
@pytest.mark.parametrize("symbol", ["S0", "S2"])
def test_a_market_that_misbehaves_is_traded_as_it_is(kind: str, symbol: str, tmp_path: Path) -> None:
    concerned: dict[str, Any] = {} if kind == "half_day" else {"symbol": symbol, "bars": 2}
    outcome = run([Fault(kind, bar=5, **concerned)], tmp_path)
    demand_accounts(outcome)  # parity with the backtest of the bars that came
    bars = [event.body for event in outcome.events if event.kind == "bar" and not event.body["history"]]
    if kind in ("halt", "missing_bar"):
        column = ("S0", "S1", "S2", "S3").index(symbol)
        assert [row for row, bar in enumerate(bars) if not bar["tradable"][column]] == [5, 6]


def test_a_bar_that_is_late_is_waited_for(tmp_path: Path) -> None:
    exchange = Exchange(panel(), Settings(start=180, sleeves=True), faults=Faults([Fault("late_bar", nth=6, reads=3)]))
    with ExchangeServer(exchange) as server:
        patient = replace(spec(server.url), connection=replace(IMPATIENT, late_seconds=5.0))
        start(patient, Sleeves(), tmp_path)
    events = read_events(tmp_path / "paper" / "journals" / "local.sqlite")
    assert all(all(event.body["tradable"]) for event in events if event.kind == "bar")


def test_a_split_overnight_halts_and_says_so(tmp_path: Path) -> None:
    messages = []
    for symbol in ("S0", "S1", "S2", "S3"):
        desk = tmp_path / symbol
        try:
            run([Fault("split", symbol=symbol, bar=8, ratio=2.0)], desk)
        except SessionError as error:
            messages.append(str(error))
            report = session_report(desk / "paper" / "journals" / "local.sqlite")
            assert report["state"] == "halted"
    assert any("exactly 2 to 1: a split?" in message for message in messages)


def test_a_blocked_account_halts(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"halted at .*the broker has blocked the account"):
        run([Fault("account_blocked", bar=6, bars=3)], tmp_path)
    exchange = Exchange(panel(), Settings(start=180, sleeves=True))
    exchange.suspend(True)
    with (
        ExchangeServer(exchange) as server,
        pytest.raises(SessionError, match="the broker has blocked the account; nothing was sent"),
    ):
        start(spec(server.url), Sleeves(), tmp_path / "from the start")


def test_a_clock_five_minutes_off_stops_and_sends_nothing(calm: Outcome, tmp_path: Path) -> None:
    outcome = run([Fault("clock_skew", nth=4, seconds=300.0)], tmp_path)
    assert [type(stop) for stop in outcome.stops] == [Stopped]
    assert "the broker's clock is +300 s from the replay's; nothing was sent" in str(outcome.stops[0])
    demand_accounts(outcome)
    assert outcome.decisions == calm.decisions  # started again, with the clock set right
