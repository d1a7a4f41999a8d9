"""report.html: whole, self-contained, and every number in it that of summary.json."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.report.conftest import PANEL, RUN, WINDOWS, Agent, Held
from tests.report.pages import Page, numbers_that_differ
from tradekit.engine.single_pass import single_pass
from tradekit.engine.walk_forward import walk_forward
from tradekit.market.costs import CostModel
from tradekit.report.run_folder import read_summary, write_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module", params=["walked", "stressed"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"{request.param}_folder")
    return found


def _page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_every_number_is_the_summarys(folder: Path) -> None:
    summary, page = read_summary(folder), _page(folder)
    assert page.faults == []
    assert numbers_that_differ(page, summary) == []
    scored = [one["name"] for one in summary["strategies"] if one["metrics"]]
    for metric in ("sharpe", "total_return", "cagr", "max_drawdown", "turnover", "trades", "cost_a_year", "sortino"):
        cells = [one for one in page.having("strategy", metric=metric) if "data-scenario" not in one.attributes]
        assert {one.attributes["data-strategy"] for one in cells} == set(scored), metric


def test_what_is_shown_is_the_number_rounded(folder: Path) -> None:
    cells = _page(folder).having("value", "strategy", metric="sharpe")
    for cell in cells:
        value = float(cell.attributes["data-value"])
        assert cell.text.replace("\u2212", "-").startswith(f"{value:.2f}")
    assert cells


def test_nothing_comes_from_elsewhere(folder: Path) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"https?:|//[a-z]|@import|url\(|\bsrc=|<link", source) == []
    assert "default-src 'none'" in source
    assert len(source) < 600_000


def test_the_verdict_comes_first(folder: Path) -> None:
    summary, page = read_summary(folder), _page(folder)
    names = [one.name for one in page.elements]
    assert names.index("h1") < names.index("table")
    headline = next(one for one in page.elements if one.name == "h1").text
    assert headline.replace("\u2212", "-").replace("\u00a0", " ") == summary["verdict"]["line"].split(". ")[0] + "."
    assert page.having(outcome=summary["verdict"]["outcome"])


def test_sections_of_a_walk_forward(walked_folder: Path) -> None:
    page = _page(walked_folder)
    headings = [one.text for one in page.elements if one.name == "h2"]
    assert headings == [
        "Equity against the baselines",
        "Every strategy on the same bars and costs",
        "How far this can be believed",
        "Window by window",
        "Month by month",
        "Over time",
        "What trading cost",
        "Actions: chosen and executed",
        "Orders",
        "Further measures",
        "Causality audit",
        "Skipped",
        "How it was run",
        "Definitions",
    ]
    assert [one.text for one in page.elements if one.text == "failed"] == ["failed"]
    assert len(page.having(passed="true")) == 4
    assert "breaks in window 2: ValueError: a class has no members" in page.one("skipped").text


def test_sections_of_a_stress_test(stressed_folder: Path) -> None:
    page = _page(stressed_folder)
    headings = [one.text for one in page.elements if one.name == "h2"]
    assert headings[2:4] == ["Under stress", "Break-even costs"]
    for metric in ("sharpe", "total_return", "max_drawdown"):
        # Four scenarios ran, of three strategies each.
        assert len(page.having("scenario", metric=metric)) == 12
    assert "every strategy in dot-com: the data covers" in page.one("skipped").text
    (told,) = [one.text for one in page.elements if one.name == "details"]
    for scenario in json.loads((stressed_folder / "summary.json").read_text())["scenarios"]:
        assert scenario["description"] in told


def test_actions_carry_both_shares(walked_folder: Path) -> None:
    told = {one["name"]: one for one in read_summary(walked_folder)["strategies"]}["symbol_ppo"]["actions"]
    shown = {
        one.attributes["data-action"]: (float(one.attributes["data-chosen"]), float(one.attributes["data-executed"]))
        for one in _page(walked_folder).having("action")
    }
    assert shown == {name: (told["chosen"][name], told["executed"][name]) for name in told["chosen"]}


def test_values_under_the_pointer_end_at_the_total_return(folder: Path) -> None:
    summary, page = read_summary(folder), _page(folder)
    sets: dict[str, Any] = json.loads(page.one("data").text.replace("<\\/", "</"))
    growth = {line["name"]: line["values"] for line in sets["growth"]["lines"]}
    for one in summary["strategies"]:
        if one["metrics"]:
            assert growth[one["name"]][0] == 1.0
            assert growth[one["name"]][-1] == pytest.approx(1.0 + one["metrics"]["total_return"], abs=5.1e-4)
    assert sets["growth"]["times"][-1] == summary["data"]["scored"]["end"]
    falls = {line["name"]: min(line["values"]) for line in sets["falls"]["lines"]}
    deepest = {one["name"]: one["metrics"]["max_drawdown"] for one in summary["strategies"] if one["metrics"]}
    assert falls == pytest.approx({name: -deepest[name] for name in falls}, abs=5.1e-4)


def test_interest_and_borrowing_are_told(tmp_path: Path) -> None:
    costs = CostModel(cash_interest_annual=0.05)
    result = walk_forward(Agent(), PANEL, WINDOWS, costs, audit=False)
    ledger = result.runs[0].ledger
    assert ledger is not None
    assert ledger.interest_earned > 1000.0
    folder = write_run(result, tmp_path / "run", **RUN)
    assert read_summary(folder)["strategies"][0]["carry"]["interest_earned"] == ledger.interest_earned
    notes = [one.text for one in _page(folder).elements if one.attributes.get("class") == "note"]
    assert any(f"earned ${ledger.interest_earned:,.0f} on cash" in note for note in notes)


class Hostile(Held):
    kind = "</script><script>alert(1)</script>"


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    result = walk_forward(Hostile(name='<img src=x onerror="alert(1)">'), PANEL, WINDOWS, audit=False)
    page = _page(write_run(result, tmp_path / "run", **RUN))
    assert page.faults == []
    assert not [one for one in page.elements if one.name == "img"]
    assert len([one for one in page.elements if one.name == "script"]) == 2


def test_one_pass_without_windows(tmp_path: Path) -> None:
    folder = write_run(single_pass([Held()], PANEL), tmp_path / "run", **RUN)
    summary, page = read_summary(folder), _page(folder)
    assert (summary["kind"], summary["windowing"]) == ("backtest", None)
    assert numbers_that_differ(page, summary) == []
    assert "Window by window" not in [one.text for one in page.elements if one.name == "h2"]
    assert "Backtest in one pass" in next(one for one in page.elements if one.name == "title").text


def test_a_run_of_which_everything_was_skipped(tmp_path: Path) -> None:
    class Late(Agent):
        seen_end = PANEL.timestamps[-1]

    folder = write_run(walk_forward(Late(), PANEL, WINDOWS), tmp_path / "run", **RUN)
    page = _page(folder)
    assert page.faults == []
    assert page.having(outcome="no_candidate")
    assert "it was trained on bars up to" in page.one("skipped").text
    assert read_summary(folder)["data"]["scored"] == {"start": None, "end": None, "bars": 0}
