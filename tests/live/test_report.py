"""The shadow report: the shortfall by hand and against the account's own cash, the band, and what parity blames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.live.test_session import SAMPLE, demand_parity
from tests.live.toys import CLOSE, Drift, Pooled, agent
from tests.live.trial import Outcome, run
from tradekit.engine.strategy import Targets
from tradekit.learn.actions import ActionScheme
from tradekit.learn.agent import SymbolAgent
from tradekit.live.drift import LEAST_BARS, band, drift
from tradekit.live.exchange.faults import Fault
from tradekit.live.journal import Event, read_events
from tradekit.live.session import start
from tradekit.live.shortfall import shortfall
from tradekit.live.spec import ExchangeSpec
from tradekit.market.costs import TERMS, CostModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import Portfolios, View
    from tradekit.market.panel import Bools, Floats, Panel

# ---------------------------------------------------------------------------------------------------- the shortfall


def event(kind: Any, **body: Any) -> Event:
    return Event(0, kind, "bar", body, "", "")


def row(quantity: float, model: float, price: float, reference: float, **terms: float) -> dict[str, Any]:
    costs = dict.fromkeys(TERMS, 0.0) | terms
    return {
        "broker_quantity": quantity,
        "model_quantity": model,
        "reference": reference,
        "fill_cost": quantity * (price - reference) if quantity else None,
        "model_costs": costs,
        "model_cost": sum(costs.values()),
    }


def test_two_symbols_by_hand() -> None:
    """Ten A are bought in three pieces, one of them too late; four B are never bought at all.

    Bar 1 at 100: the model buys 10 A, and the broker 6 at 100.30: 1.80, of which the model expects six tenths of
    spread 2.00 and impact 1.00. Bar 2 at 103: 3 more A at 103.10, made good 3 dollars later: 3 x 3 + 0.30. The tenth is
    missing at the end, at 105: 1 x 5. B is bought by the model at 50 and marked at 48: missing it saved 4 x 2.
    """
    opened = event("session", symbols=["A", "B"], execution={"fill_at": "auto"}, columns=["open", "close"])
    opens, closes = [(99.0, 49.0), (100.0, 50.0), (103.0, 47.0)], [(99.5, 49.5), (101.0, None), (105.0, 48.0)]
    drifts: list[dict[str, float]] = [{}, {"A": 4.0, "B": 4.0}, {"A": 1.0, "B": 4.0}]
    # The model's cash: 1000 + 3 for A, 200 + 0.5 for B. The account's: 6 x 100.30 and 3 x 103.10.
    gaps = [0.0, 1203.5 - 601.8, 1203.5 - 601.8 - 309.3]
    costs: list[dict[str, float]] = [{}, {"spread": 2.5, "impact": 1.0}, {}]
    events = [opened]
    for k in range(3):
        events.append(event("bar", values={"open": list(opens[k]), "close": list(closes[k])}))
        events.append(event("reconciliation", drift=drifts[k], cash_difference=gaps[k], model_costs=costs[k]))
    rows = [
        row(6.0, 10.0, 100.3, 100.0, spread=2.0, impact=1.0),
        row(0.0, 4.0, 50.0, 50.0, spread=0.5),
        row(3.0, 0.0, 103.1, 103.0),
    ]
    found = shortfall(events, rows)
    assert found is not None
    expected = {"spread": 1.2, "impact": 0.6, "slippage": 0.0, "commission": 0.0, "regulatory": 0.0}
    expected |= {"beyond_model": 0.0, "delay": 9.3, "missed": 5.0 - 8.0, "total": 1.8 + 9.3 - 3.0}
    expected |= {"unexplained": 0.0, "traded": 6.0 * 100.0 + 3.0 * 103.0}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault("partial_cancel", nth=2, times=3)],
        [Fault("buying_power", nth=3, times=2)],
        [Fault("halt", symbol="S1", bar=5, bars=2), Fault("partial_cancel", nth=4)],
        [Fault("partial_fill", nth=3, share=0.4, reads=2)],
    ],
    ids=["calm", "cut", "refused", "halted", "in two"],
)
def test_its_parts_make_up_what_the_account_is_short_of(faults: list[Fault], tmp_path: Path) -> None:
    outcome: Outcome = run(faults, tmp_path)
    report, money = outcome.report, [e.body for e in outcome.events if e.kind == "reconciliation"]
    found = report["shortfall"]
    parts = sum(found[name] for name in (*TERMS, "beyond_model", "delay", "missed"))
    assert parts == pytest.approx(found["total"], abs=1e-6)
    assert found["unexplained"] == pytest.approx(0.0, abs=1e-6)
    # The exchange's own books, marked as the shadow is: a portfolio free of costs would have gained more by the total.
    gained = money[-1]["broker_equity"] - money[0]["broker_equity"]
    free = money[-1]["equity"] - money[0]["equity"] + report["model_cost"]
    assert free - gained == pytest.approx(found["total"], abs=1e-6)
    assert (found["delay"] != 0.0) == any(row["catch_up"] for row in report["per_order"] if row["broker_quantity"])


def test_dearer_fills_are_beyond_the_model(tmp_path: Path) -> None:
    dear = ExchangeSpec(costs=CostModel(spread_bps=CostModel().spread_bps + 7.0))
    report = start(replace(SAMPLE, exchange=dear), Drift(), tmp_path).report
    found = report["shortfall"]
    assert found["beyond_model"] == pytest.approx(7e-4 * found["traded"], rel=1e-2)
    assert found["spread"] == pytest.approx(sum(row["model_costs"]["spread"] for row in report["per_order"]))
    drifted = report["drift"]
    assert drifted["mean_bps"] == pytest.approx(7.0, rel=1e-2)
    assert drifted["alarm"] is not None


def test_without_a_broker_there_is_none(tmp_path: Path) -> None:
    report = start(replace(SAMPLE, mode="observe", bars=6), Drift(), tmp_path).report
    assert report["shortfall"] is None
    assert report["model_cost"] > 0.0  # what the model says it would have cost


# --------------------------------------------------------------------------------------------------------- the band


def test_the_band_is_seldom_left_by_chance_and_soon_by_a_change() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_t(5, size=(600, 400))
    count = np.arange(400) >= LEAST_BARS - 1

    def left(table: Floats) -> Any:
        bands = [band(path) for path in table]
        return np.array([(np.abs(mean) > width)[count].any() for mean, width in bands])

    false_alarms = left(noise).mean()
    assert false_alarms < 0.05 + 2.0 * (0.05 * 0.95 / 600) ** 0.5
    # An interval for one sample size, looked at just as often, is left far more often.
    naive = [np.abs(np.cumsum(p) / np.arange(1, 401)) > 1.96 * p.std() / np.arange(1, 401) ** 0.5 for p in noise]
    assert np.mean([path[count].any() for path in naive]) > 0.2
    assert left(noise[:100] + 0.6).all()


def fills(excess_bps: float, bars: int, commission: float | None = 0.1) -> list[dict[str, Any]]:
    terms = dict.fromkeys(TERMS, 0.0) | {"spread": 0.5, "commission": 0.1}
    cost = 0.5 + (commission or 0.0) + 1000.0 * excess_bps / 1e4
    fill = {"broker_quantity": 10.0, "model_quantity": 10.0, "reference": 100.0, "fill_cost": cost}
    return [{**fill, "filled": str(k), "model_costs": terms, "broker_commission": commission} for k in range(bars)]


def test_too_few_bars_say_nothing() -> None:
    said = drift(fills(50.0, LEAST_BARS - 1))
    assert (said["bars"], said["alarm"], said["mean_bps"], said["course"]) == (LEAST_BARS - 1, None, None, None)


@pytest.mark.parametrize("commission", [0.1, None])  # a broker that reports none is not cheaper than the model for it
def test_an_alarm_names_the_first_bar_outside(commission: float | None) -> None:
    calm = drift(fills(0.0, 40, commission))
    assert calm["alarm"] is None
    assert calm["mean_bps"] == pytest.approx(0.0, abs=1e-9)
    said = drift(fills(3.0, 40, commission))
    assert said["mean_bps"] == pytest.approx(3.0)
    assert said["alarm"] == str(LEAST_BARS - 1)
    course = said["course"]
    assert course["bars"] == [str(k) for k in range(LEAST_BARS - 1, 40)]
    assert course["mean_bps"] == pytest.approx([3.0] * len(course["bars"]))
    assert [course[key][-1] for key in ("low_bps", "high_bps")] == [said["low_bps"], said["high_bps"]]
    partial = [{**one, "broker_quantity": 5.0} for one in fills(3.0, 40)]
    assert drift(partial)["bars"] == 0


# -------------------------------------------------------------------------------------------- what parity is lost to


@dataclass
class Leaning(Drift):
    """Changes prices in what its bars are kept in, behind the arrays it is given, which cannot be written to."""

    name: str = "leaning"
    lookback: int = 12

    def weights(self, panel: Panel) -> Floats:
        if len(panel) == 20:  # in the session; its verdict asks for all at once
            buffer: Any = panel.close.base
            buffer[148] *= 0.96  # looked at once more, after the next bar
        return super().weights(panel)


class Demeaned(FeatureSpec):
    """Features of which one is less its own mean over whatever bars there are: it is not causal."""

    def compute(self, panel: Panel) -> Floats:
        table = super().compute(panel).copy()
        table[:, :, 1] -= np.nanmean(table[:, :, 1], axis=0)
        return table


LEAKY = Demeaned(CLOSE.names)


@dataclass
class Featured:
    """Half of every sleeve while a feature is above zero."""

    name: str = "featured"
    sleeves: bool = True
    lookback: int = CLOSE.lookback

    def fit(self, train: Panel) -> Featured:
        return self

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        signal = view.features(LEAKY)[portfolios.column, 1]
        return Targets(np.where(signal > 0.0, 0.5, 0.0)[:, None])


@dataclass
class Moody(Pooled):
    """Rolls dice that nothing remembers."""

    name: str = "moody"

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        answer = super().decide(view, portfolios, state)
        return answer._replace(values=answer.values * DICE.random())


DICE = np.random.default_rng()


def moody_agent() -> SymbolAgent:
    """Return an agent that draws its actions from a generator nobody keeps."""

    def decide(raw: Floats, mask: Bools) -> tuple[Any, Floats]:
        weight = mask * DICE.random(mask.shape)
        return weight.argmax(axis=1), weight / weight.sum(axis=1, keepdims=True)

    return SymbolAgent("moody_agent", CLOSE, ActionScheme(), decide)


@pytest.mark.parametrize(
    ("strategy", "feature", "reason"),
    [
        (Leaning(), "close", "close was not what the journal holds when the strategy was asked"),
        (Featured(), CLOSE.names[1], f"{CLOSE.names[1]} had other values in the session than in the backtest"),
        (Moody(), "", "the strategy answered differently to the same inputs: chance, or something it remembers"),
        (moody_agent(), "chosen", "chosen was "),
    ],
    ids=["written to", "not causal", "chance", "another action"],
)
def test_what_differed_is_named(strategy: Any, feature: str, reason: str, tmp_path: Path) -> None:
    report = start(SAMPLE, strategy, tmp_path).report
    assert report["decision_parity"] < 1.0
    first = report["mismatches"][0]
    assert (first["feature"], first["reason"][: len(reason)]) == (feature, reason)
    assert first["symbol"] in (SAMPLE.symbols or ())
    assert first["session"] != first["backtest"]
    decisions = {event.bar: event.body for event in read_events(tmp_path / "paper" / "journals" / "local.sqlite")
                 if event.kind == "decision"}  # fmt: skip
    assert first["bar"] in decisions


def test_a_decision_is_journalled_with_what_it_was_made_of(tmp_path: Path) -> None:
    result = start(SAMPLE, agent(), tmp_path)
    demand_parity(result.report, 30)
    decisions = [event.body["saw"] for event in read_events(result.journal) if event.kind == "decision"]
    width = len(SAMPLE.symbols or ())
    for saw in decisions:
        assert set(saw["features"]) == set(CLOSE.names)
        assert set(saw["bars"]) == {"timestamps", "close", "tradable", "benchmark_returns"}
        diary = saw["diary"]
        assert [len(diary[name]) for name in ("chosen", "executed", "reason", "entropy")] == [width] * 4
        assert np.sum(diary["probabilities"], axis=1) == pytest.approx(np.ones(width), abs=1e-5)
        assert np.argmax(diary["probabilities"], axis=1).tolist() == diary["chosen"]
    assert len({saw["bars"]["close"] for saw in decisions}) == len(decisions)
