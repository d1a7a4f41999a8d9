"""The page of a paper session, from a shadow report worked by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.report.pages import Page
from tradekit.report.session import findings, session_html
from tradekit.report.session_costs import drift_line


def order(symbol: str, fill_cost: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "filled": "2024-03-05",
        "client_order_id": f"local.20240304.{symbol}.buy.0",
        "symbol": symbol,
        "status": "filled",
        "ordered": 10.0,
        "broker_quantity": 10.0,
        "broker_price": 100.06,
        "broker_commission": 0.02,
        "fill_cost": fill_cost,
        "model_quantity": 10.0,
        "reference": 100.0,
        "model_price": 100.05,
        "model_costs": {"commission": 0.02, "spread": 0.2, "slippage": 0.3, "impact": 0.0, "regulatory": 0.0},
        "model_cost": 0.52,
        "reason": "filled",
        "difference": None if fill_cost is None else fill_cost - 0.52,
    } | changes


def drift(**changes: Any) -> dict[str, Any]:
    return {
        "level": 0.95,
        "bars": 40,
        "least_bars": 20,
        "alarm": None,
        "mean_bps": 0.5,
        "low_bps": -0.25,
        "high_bps": 1.25,
        "course": None,
    } | changes


def shadow(**changes: Any) -> dict[str, Any]:
    return {
        "session": "morning",
        "mode": "local",
        "strategy": "symbol_ppo",
        "source": "sample",
        "frequency": "1D",
        "first": "2024-03-04",
        "last": "2024-03-06",
        "state": "ended",
        "halted": None,
        "bars": 3,
        "decisions": 2,
        "intents": 2,
        "orders": 2,
        "fills": 1,
        "decision_parity": 1.0,
        "mismatches": [],
        "equity_difference": 2.5e-13,
        "duplicate_orders": 0,
        "unresolved_orders": 0,
        "cash_difference": -0.1,
        "model_cost": 1.04,
        "fill_cost": 0.62,
        "timestamps": ["2024-03-04", "2024-03-05", "2024-03-06"],
        "equity": [100_000.0, 100_010.0, 99_990.0],
        "broker_equity": [100_000.0, 100_009.9, None],
        "shortfall": {
            "commission": 0.02,
            "spread": 0.2,
            "slippage": 0.3,
            "impact": 0.0,
            "regulatory": 0.0,
            "beyond_model": 0.1,
            "delay": -0.5,
            "missed": 1.0,
            "unexplained": 0.0,
            "total": 1.12,
            "traded": 1000.0,
        },
        "drift": drift(),
        "per_order": [order("A", 0.62), order("B", None, status="canceled", broker_quantity=0.0, broker_price=None)],
    } | changes


def test_a_clean_session() -> None:
    page = Page(session_html(shadow()))
    assert page.faults == []
    assert page.having(outcome="ahead")
    tiles = {one.attributes["data-tile"]: one for one in page.having("tile")}
    assert tiles["decision_parity"].text.startswith("100.00\u00a0%")
    assert tiles["equity_difference"].text.startswith("2.5e-13")
    assert tiles["fills"].text.startswith("2 / 1")
    assert float(tiles["fill_cost"].attributes["data-value"]) == 0.62
    assert tiles["cash_difference"].text.startswith("\u2212$0.10")
    assert "Fills less the model\u2212$0.42" in page.one("costs").text.replace("-", "\u2212")


def test_every_order_with_both_costs() -> None:
    page = Page(session_html(shadow()))
    assert [one.attributes["data-order"] for one in page.having("order")] == [
        "local.20240304.A.buy.0",
        "local.20240304.B.buy.0",
    ]
    costs = {one.attributes["data-strategy"]: one for one in page.having(metric="order.fill_cost")}
    assert costs["A"].text == "$0.62"
    assert costs["B"].text == "-"
    assert "data-value" not in costs["B"].attributes
    assert [one.text for one in page.having(metric="order.model_cost")] == ["$0.52", "$0.52"]


def test_the_curve_holds_both_equities() -> None:
    sets = json.loads(Page(session_html(shadow())).one("data").text)
    lines = {line["name"]: line["values"] for line in sets["equity"]["lines"]}
    assert lines["broker"] == [100_000.0, 100_009.9, None]
    assert sets["equity"]["times"] == ["2024-03-04", "2024-03-05", "2024-03-06"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"decision_parity": 0.75}, "25.00 % of its decisions differ"),
        ({"duplicate_orders": 1}, "1 duplicate orders"),
        ({"unresolved_orders": 2}, "2 unresolved orders"),
        ({"halted": "the kill switch was pulled"}, "halted: the kill switch was pulled"),
    ],
)
def test_what_is_wrong_is_the_headline(changes: dict[str, Any], words: str) -> None:
    report = shadow(**changes)
    outcome, headline, wrong = findings(report)
    assert (outcome, headline) == ("behind", "Not clean")
    assert words in " ".join(wrong)
    title = next(one for one in Page(session_html(report)).elements if one.name == "h1").text
    assert words in title.replace("\u00a0", " ")


def test_differences_from_the_backtest_are_listed() -> None:
    mismatch = {"bar": "2024-03-05", "symbol": "A", "session": 10.0, "backtest": 0.0, "feature": "rsi_14"}
    page = Page(session_html(shadow(decision_parity=0.5, mismatches=[mismatch | {"reason": "had other values"}])))
    cells = [one.text for one in page.elements if one.name == "td"]
    assert {"rsi_14", "had other values"} <= set(cells)


def test_the_shortfall_part_by_part() -> None:
    page = Page(session_html(shadow()))
    metrics = {name: page.having(metric=f"shortfall.{name}") for name in ("spread", "delay", "missed", "total")}
    assert {name: one[0].text.replace("\u2212", "-") for name, one in metrics.items()} == {
        "spread": "$0.20",
        "delay": "-$0.50",
        "missed": "$1.00",
        "total": "$1.12",
    }
    assert not page.having(metric="shortfall.impact")  # a term that is not charged
    words = page.one("shortfall").text
    assert "of the $1,000.00 traded" in words
    assert "11.20" in words  # basis points in all
    assert "shortfall" not in session_html(shadow(shortfall=None, mode="observe"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "fills cost what the model says, +0.500 bp beside it, band -0.250 to +1.250 bp"),
        (
            {"mean_bps": -1e-9, "low_bps": -1e-8, "high_bps": 1e-8},
            "fills cost what the model says, +0.000 bp beside it, band +0.000 to +0.000 bp",
        ),
        ({"alarm": "2024-03-05", "low_bps": 0.1}, "ALARM since 2024-03-05: fills cost +0.500 bp beside the model"),
        ({"bars": 3, "mean_bps": None, "low_bps": None, "high_bps": None}, "3 bars with fills, too few to tell"),
    ],
)
def test_drift_of_the_costs(changes: dict[str, Any], words: str) -> None:
    assert drift_line(drift(**changes)).startswith(words)
    page = Page(session_html(shadow(drift=drift(**changes))))
    assert page.faults == []
    assert words in page.one("drift").text.replace("\u2212", "-").replace("\u00a0", " ")


def test_the_band_of_the_drift_is_drawn() -> None:
    course = {
        "bars": ["2024-03-04", "2024-03-05", "2024-03-06"],
        "mean_bps": [1.0, 2.0, 2.5],
        "low_bps": [-1.0, 0.25, 1.0],
        "high_bps": [3.0, 3.75, 4.0],
    }
    page = Page(session_html(shadow(drift=drift(alarm="2024-03-05", course=course))))
    assert page.faults == []
    drawn = json.loads(page.one("data").text)["drift"]
    assert drawn["times"] == course["bars"]
    assert {line["name"]: line["values"] for line in drawn["lines"]} == {
        "mean": course["mean_bps"],
        "lower end": course["low_bps"],
        "upper end": course["high_bps"],
    }
    (figure,) = [one for one in page.having("set") if one.attributes["data-set"] == "drift"]
    assert "the alarm is marked" in figure.text
    (mark,) = [one for one in page.elements if one.attributes.get("class") == "refit"]
    assert mark.attributes["d"].startswith("M500.0 ")  # the second of three bars
    calm = Page(session_html(shadow(drift=drift(course=course))))
    assert not [one for one in calm.elements if one.attributes.get("class") == "refit"]


def test_a_session_that_still_runs() -> None:
    unjudged = dict.fromkeys(
        ("decision_parity", "equity_difference", "duplicate_orders", "unresolved_orders", "mismatches")
    )
    page = Page(session_html(shadow(state="running", **unjudged)))
    assert page.having(outcome="no_candidate")
    assert page.faults == []


def test_a_session_before_its_first_bar() -> None:
    nothing: dict[str, Any] = {"timestamps": [], "equity": [], "broker_equity": [], "per_order": [], "last": None}
    page = Page(session_html(shadow(cash_difference=None, bars=0, **nothing)))
    assert page.faults == []
    assert not page.having("set")


def test_hourly_bars_in_utc() -> None:
    stamps = ["2024-03-04T14:30:00Z", "2024-03-04T15:30:00Z", "2024-03-04T16:30:00+00:00"]
    sets = json.loads(Page(session_html(shadow(frequency="1h", timestamps=stamps))).one("data").text)
    assert sets["equity"]["times"] == ["2024-03-04T14:30Z", "2024-03-04T15:30Z", "2024-03-04T16:30Z"]
