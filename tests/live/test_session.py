"""Sessions from end to end: alpaca-py over HTTP against the exchange, set beside the backtest of the same bars."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.live.toys import Callback, Drift, Pooled, Sleeves, agent
from tests.panels import BuyOnce, random_panel
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Targets
from tradekit.errors import BrokerError, ConfigError, SessionError, StrategyError
from tradekit.live.alpaca import AlpacaBroker
from tradekit.live.broker import Ticket
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.journal import Journal, read_events
from tradekit.live.limits import Limits
from tradekit.live.report import session_report, status
from tradekit.live.session import journal_path, start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel

SAMPLE = SessionSpec(symbols=("AAPL", "AMD", "GE", "JPM", "KO", "XOM"), bars=30, history=140)
FORMS: list[AnyStrategy] = [Drift(), BuyOnce(), Callback(), Sleeves(), Pooled(), agent()]


def demand_parity(report: dict[str, Any], bars: int) -> None:
    assert (report["bars"], report["decisions"], report["state"]) == (bars, bars - 1, "ended")
    assert report["decision_parity"] == 1.0
    assert report["mismatches"] == []
    assert report["equity_difference"] == 0.0
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
    assert report["intents"] == report["orders"] == report["broker_orders"]


@pytest.mark.parametrize("strategy", FORMS, ids=lambda one: one.name)
def test_every_form_decides_as_the_backtest_of_the_sample(strategy: AnyStrategy, sample: Panel, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = start(SAMPLE, strategy, tmp_path, watcher=lambda stands: seen.append((stands.done, stands.bars)))
    report = result.report
    demand_parity(report, 30)
    assert report["cash_difference"] == 0.0
    assert report["fill_cost"] == pytest.approx(report["model_cost"], rel=1e-9)
    assert report["fills"] > 5
    assert [done for done, _ in seen] == [k // 2 for k in range(1, 61)]  # before each bar and after it
    # The same from the source itself, features computed over thirty years at once.
    assert SAMPLE.symbols is not None
    panel = sample.select(SAMPLE.symbols)
    ledger = simulate(strategy, panel, start=len(panel) - 30)
    assert report["equity"] == ledger.equity.tolist()
    filled = ledger.orders[ledger.orders["quantity"] != 0.0]
    quantities = [row["model_quantity"] for row in report["per_order"] if row["model_quantity"]]
    assert sorted(quantities) == sorted(filled["quantity"].tolist())


@pytest.mark.parametrize("strategy", FORMS, ids=lambda one: one.name)
def test_hourly_bars_fill_at_the_open(strategy: AnyStrategy, shared_data: Path, tmp_path: Path) -> None:
    spec = SessionSpec(
        data=str(shared_data / "hourly_ibkr"),
        bars=40,
        history=130,
        costs=CostModel(impact_basis="adv", slippage_mode="sampled", regulatory=1.0, cash_interest_annual=0.04),
        execution=ExecutionModel(max_participation=1e-5, min_trade=50.0, cash_buffer=0.02),
    )
    report = start(spec, strategy, tmp_path).report
    demand_parity(report, 40)
    assert report["cash_difference"] == 0.0
    panel = load_panel(shared_data / "hourly_ibkr")
    ledger = simulate(strategy, panel, spec.costs, spec.execution, start=len(panel) - 40)
    assert report["equity"] == ledger.equity.tolist()
    if strategy.name == "drift":  # the rules bind: some orders were cut to a share of the volume
        assert any("participation" in row["reason"] for row in report["per_order"])


def test_short_sales(tmp_path: Path) -> None:
    class Reversal(Drift):
        def weights(self, panel: Panel) -> Any:
            return np.where(super().weights(panel) > 0.1, -0.1, 0.1)

    execution = ExecutionModel(allow_short=True, fractional=False)
    spec = replace(SAMPLE, execution=execution, costs=CostModel(borrow_rate_annual=0.05))
    report = start(spec, Reversal(), tmp_path).report
    demand_parity(report, 30)
    assert report["cash_difference"] == 0.0
    assert any(row["ordered"] < 0.0 for row in report["per_order"])


def test_an_exchange_that_costs_more_than_the_model_says(tmp_path: Path) -> None:
    dear = CostModel(spread_bps=12.0)
    report = start(replace(SAMPLE, exchange=ExchangeSpec(costs=dear)), Drift(), tmp_path).report
    demand_parity(report, 30)
    # Ten basis points more of what was traded, and the commission on a slightly different price.
    traded = sum(abs(row["broker_quantity"]) * row["reference"] for row in report["per_order"])
    more = report["fill_cost"] - report["model_cost"]
    assert more == pytest.approx(10e-4 * traded, rel=2e-2)
    assert report["cash_difference"] == pytest.approx(-more, rel=1e-6)
    for row in report["per_order"]:
        assert row["difference"] > 0.0
        assert (row["broker_price"] - row["model_price"]) * row["ordered"] > 0.0


def test_per_order_rows_add_up(tmp_path: Path) -> None:
    report = start(SAMPLE, Sleeves(), tmp_path).report
    for row in report["per_order"]:
        model = sum(row["model_costs"].values())
        assert row["model_cost"] == pytest.approx(model, rel=1e-14)
        price_cost = row["broker_quantity"] * (row["broker_price"] - row["reference"])
        assert row["fill_cost"] == pytest.approx(price_cost + row["broker_commission"], abs=1e-12)
        assert row["client_order_id"].startswith("local.")
    assert report["model_cost"] == pytest.approx(sum(row["model_cost"] for row in report["per_order"]))
    assert len({row["client_order_id"] for row in report["per_order"]}) == report["orders"]
    json.dumps(report, allow_nan=False)


def test_observe_decides_and_sends_nothing(tmp_path: Path) -> None:
    report = start(replace(SAMPLE, mode="observe"), Sleeves(), tmp_path).report
    assert (report["decisions"], report["intents"], report["orders"], report["fills"]) == (29, 0, 0, 0)
    assert (report["decision_parity"], report["equity_difference"]) == (1.0, 0.0)
    assert report["cash_difference"] is None
    assert report["equity"][-1] != 100_000.0  # the shadow trades all the same


def test_paper_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    monkeypatch.setenv("APCA_API_SECRET_KEY", "topsecret")
    with pytest.raises(SessionError, match=r'"paper" needs APCA_API_KEY_ID in the') as caught:
        start(replace(SAMPLE, mode="paper"), Drift(), tmp_path)
    assert "topsecret" not in str(caught.value)
    assert not (tmp_path / "paper").exists()


def test_journals_are_numbered_and_resumable_ones_reused(tmp_path: Path) -> None:
    short = replace(SAMPLE, bars=3, history=10)
    names = [start(short, Drift(), tmp_path).session for _ in range(3)]
    assert names == ["local", "local-2", "local-3"]
    folder = tmp_path / "paper" / "journals"
    with Journal(folder / "local-4.sqlite") as journal:
        journal.append("session", "", {})
    assert journal_path(folder, "local").name == "local-4.sqlite"
    assert journal_path(folder, "loc").name == "loc.sqlite"


def test_keys_are_written_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    keys = ("PKEXAMPLE0123456789", "s3cr3t/VeryLongSecret")
    spec = replace(SAMPLE, bars=4, exchange=ExchangeSpec(key_id=keys[0], secret_key=keys[1]))
    report = start(spec, Drift(), tmp_path).report
    assert report["orders"] > 0
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) > 10_000
    texts = f"{json.dumps(report)}{caplog.text}{Settings(secret_key=keys[1])!r}"
    assert keys[1] not in repr(spec)
    for key in keys:
        assert key.encode() not in written
        assert key not in texts


def test_a_second_instance_is_refused(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "paper" / "journals" / "local.sqlite"),
        pytest.raises(SessionError, match="another session is writing it"),
    ):
        start(SAMPLE, Drift(), tmp_path)


def test_a_cut_short_session_is_not_continued_by_another(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(SAMPLE, Interrupted(Drift(), after=5), tmp_path)
    with pytest.raises(SessionError, match=r"was started with strategy = 'drift', not 'callback'"):
        start(SAMPLE, Callback(), tmp_path)
    with pytest.raises(SessionError, match=r"was started with cash = 100000\.0, not 5\.0|other bars or settings"):
        start(replace(SAMPLE, cash=5.0), Drift(), tmp_path)
    assert status(tmp_path / "paper" / "journals" / "local.sqlite")["state"] == "stopped"
    demand_parity(start(SAMPLE, Drift(), tmp_path).report, 30)


class Interrupted(Drift):
    """A person presses Ctrl-C at the n-th question."""

    def __init__(self, inner: Drift, after: int) -> None:
        super().__init__(inner.gross)
        self._left = after

    def weights(self, panel: Panel) -> Any:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return super().weights(panel)


class Bad(Drift):
    """Answers well for a while."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer = answer

    def weights(self, panel: Panel) -> Any:
        table = super().weights(panel)
        if panel.timestamps[-1] >= np.datetime64("2022-12-01"):
            return self._answer(table)
        return table


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda table: table * np.inf, "infinite"),
        (lambda table: table * 9.0, "add up to"),
        (lambda table: table[:, :2], "shape"),
        (lambda table: 1 / 0, r"drift failed at 2022-12-01.*ZeroDivisionError"),
    ],
)
def test_nonsense_halts_the_session(answer: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=message) as caught:
        start(SAMPLE, Bad(answer), tmp_path)
    assert "\n" not in str(caught.value)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    report = session_report(journal)
    assert report["state"] == "halted"
    assert report["decision_parity"] is None
    assert [event.kind for event in read_events(journal)][-1] == "halt"
    # Nothing was decided or sent for the bar it stumbled at or later.
    assert max(event.bar for event in read_events(journal) if event.kind == "decision") == "2022-11-30"
    assert start(replace(SAMPLE, bars=3), Drift(), tmp_path).session == "local-2"


class Undecided(Drift):
    """Knows nothing from December on."""

    def weights(self, panel: Panel) -> Any:
        return np.where((panel.timestamps >= np.datetime64("2022-12-01"))[:, None], np.nan, super().weights(panel))


def test_not_knowing_holds(tmp_path: Path) -> None:
    report = start(SAMPLE, Undecided(), tmp_path).report
    demand_parity(report, 30)
    assert max(row["filled"] for row in report["per_order"]) == "2022-12-01"


class Clairvoyant(Drift):
    """Looks at the last bar it is given, which in a backtest is the end of the data."""

    def weights(self, panel: Panel) -> Any:
        return super().weights(panel) * (0.5 if panel.close[-1, 0] > panel.close[-2, 0] else 1.0)


def test_a_strategy_that_knows_the_end_has_no_parity(tmp_path: Path) -> None:
    report = start(SAMPLE, Clairvoyant(), tmp_path).report
    assert report["decision_parity"] < 1.0
    assert report["equity_difference"] > 0.0
    first = report["mismatches"][0]
    assert first["session"] != first["backtest"]
    assert (first["symbol"], first["feature"]) == ("AAPL", "")
    assert first["reason"] == "the strategy answered differently once it was shown later bars: it looks ahead"
    assert any((one["feature"], one["reason"][:10]) == ("equity", "equity was") for one in report["mismatches"])


class Unseen(Drift):
    """Learnt from bars up to late 2022."""

    seen_end = np.datetime64("2022-12-01")


def test_bars_it_learnt_from_are_no_session(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="was trained on bars up to 2022-12-01"):
        start(SAMPLE, Unseen(), tmp_path)
    assert start(replace(SAMPLE, bars=5), Unseen(), tmp_path).report["bars"] == 5


class Learner(Drift):
    """Needs to be fitted."""

    fitted: int | None = None

    def fit(self, train: Panel) -> Learner:
        copy = Learner()
        copy.fitted = len(train)
        assert train.timestamps[-1] < np.datetime64("2022-12-02")
        return copy

    def weights(self, panel: Panel) -> Any:
        assert self.fitted == 141
        return super().weights(panel)


def test_a_learner_learns_from_the_bars_before(tmp_path: Path) -> None:
    demand_parity(start(replace(SAMPLE, bars=18), Learner(), tmp_path).report, 18)


# ------------------------------------------------------------------------------ against an exchange opened elsewhere


def at(server: ExchangeServer, **more: Any) -> SessionSpec:
    return SessionSpec(exchange=ExchangeSpec(url=server.url), bars=15, history=20, **more)


def test_an_exchange_of_other_rules_is_refused(tmp_path: Path) -> None:
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40, cash=5.0, sleeves=True))) as server:
        with pytest.raises(SessionError, match=r"has cash = 5\.0, the session 100000\.0"):
            start(at(server), Sleeves(), tmp_path)
        with pytest.raises(SessionError, match="has sleeves = True, the session False"):
            start(at(server, cash=5.0), Drift(), tmp_path)
        wrong = replace(at(server, cash=5.0), exchange=ExchangeSpec(url=server.url, secret_key="guess"))
        with pytest.raises(BrokerError, match="not authorized"):
            start(wrong, Sleeves(), tmp_path)
    with pytest.raises(BrokerError, match="no answer from the exchange"):
        start(at(server), Sleeves(), tmp_path)
    with pytest.raises(BrokerError, match=r"api\.alpaca\.markets is refused"):
        start(replace(SAMPLE, exchange=ExchangeSpec(url="https://api.alpaca.markets")), Drift(), tmp_path)


def test_somebody_else_trading_in_the_account_halts_it(tmp_path: Path) -> None:
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server:
        other = AlpacaBroker("local", "local", server.url)

        class Meddler(Drift):
            def weights(self, view: Panel) -> Any:
                if len(view) == 10:
                    other.submit(Ticket("foreign", "S1", "buy", Decimal("0.5")))
                return super().weights(view)

        with pytest.raises(SessionError, match=r"halted at .*, no further orders: .*S1: the broker holds"):
            start(at(server), Meddler(), tmp_path)
        other.close()
        sent = server.exchange.venue.orders
    report = session_report(tmp_path / "paper" / "journals" / "local.sqlite")
    assert report["state"] == "halted"
    assert report["orders"] == len(sent) - 1  # nothing went out after the halt


class Greedy(Pooled):
    """Wants more than there is, from the fifth bar on."""

    def decide(self, view: Any, portfolios: Any, state: Any) -> Any:
        return Targets(np.full(portfolios.shares.shape, 1e6 if view.bar >= 24 else 1.0), are_shares=True)


def test_a_limit_halts_before_anything_is_sent(tmp_path: Path) -> None:
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server:
        with pytest.raises(SessionError, match=r"halted at .*limit order: S0 [\d,.]+, at most [\d,.]+"):
            start(at(server), Greedy(), tmp_path)
        assert len(server.exchange.venue.orders) == 9
    report = session_report(tmp_path / "paper" / "journals" / "local.sqlite")
    assert (report["state"], report["intents"], report["orders"]) == ("halted", 9, 9)


def test_refusals_are_made_good_and_halt_in_the_end(tmp_path: Path) -> None:
    panel = random_panel(60, 3, seed=1)
    lax = Limits(order=1e9, position=1e9, gross=1e9, turnover_per_day=1e9)
    with (
        ExchangeServer(Exchange(panel, Settings(start=40))) as server,
        pytest.raises(SessionError, match=r"limit refusals_in_a_row: orders refused in 3 bars running"),
    ):
        start(at(server, limits=lax), Greedy(), tmp_path)
    journal = tmp_path / "paper" / "journals" / "local.sqlite"
    refused = [e.body for e in read_events(journal) if e.kind == "ack" and e.body["status"] == "refused"]
    assert {body["code"] for body in refused} == {40310000}
    assert "insufficient buying power" in refused[0]["message"]
    assert session_report(journal)["state"] == "halted"


def test_the_journal_ends_where_the_exchange_stands(tmp_path: Path) -> None:
    panel = random_panel(60, 3, seed=1)
    with ExchangeServer(Exchange(panel, Settings(start=40))) as server, pytest.raises(KeyboardInterrupt):
        start(at(server), Interrupted(Drift(), after=5), tmp_path)
    with (
        ExchangeServer(Exchange(panel, Settings(start=40))) as server,
        pytest.raises(SessionError, match="ends at bar 45 of the replay, but the exchange stands at bar 40"),
    ):
        start(at(server), Drift(), tmp_path)


# ---------------------------------------------------------------------------------------------------------- the spec


def test_the_shipped_spec_is_the_default(repository: Path) -> None:
    text = (repository / "paper" / "local.toml").read_text(encoding="utf-8")
    assert SessionSpec.from_dict(tomllib.loads(text)) == SessionSpec()
    assert SessionSpec.from_toml(repository / "paper" / "local.toml") == SessionSpec()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bar = 3", "unknown session setting 'bar'; did you mean bars?"),
        ("bars = 1", "bars is 1; a whole number, 2 or more"),
        ('bars = "many"', "bars is 'many'"),
        ("cash = -1", "cash is -1; positive dollars"),
        ('mode = "real"', "mode is 'real'; choose local, observe, paper"),
        ('name = "../x"', r"session name is '\.\./x'"),
        ("symbols = 3", "symbols is 3"),
        ("costs = 3", "costs is 3; write it as a table"),
        ("[costs]\nspreads_bps = 1", "unknown cost 'spreads_bps'; did you mean spread_bps?"),
        ("[execution]\nlatency_bars = 1", "latency_bars: a session sends its orders at once"),
        ("[exchange]\nuri = 1", "unknown exchange setting 'uri'; did you mean url?"),
        ("[exchange.costs]\nspread = 1", "unknown cost 'spread'; did you mean spread_bps?"),
        ("name = ", "not TOML"),
    ],
)
def test_a_wrong_spec_is_one_line_that_names_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        SessionSpec.from_toml(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_spec(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        SessionSpec.from_toml(tmp_path / "none.toml")
    with pytest.raises(SessionError, match=r"sample: 8313 bars, the session wants 9000; widen start/end"):
        start(replace(SAMPLE, bars=9000), Drift(), tmp_path)
