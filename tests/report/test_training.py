"""The report of a training run: every number the summary's or the metrics', and whole without the network."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.report.pages import Page
from tradekit.errors import DeskError
from tradekit.report.figures import POINTS
from tradekit.report.training import training_html, write_training_report
from tradekit.report.training_curves import curves_of

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = ("HOLD", "BUY_SMALL", "SELL_ALL")


def rows(count: int = 30) -> list[dict[str, Any]]:
    told = []
    for number in range(1, count + 1):
        row: dict[str, Any] = {"step": 512 * number, "entropy": 1.0 / number, "executed_entropy": 0.5, "kl": 0.01}
        row |= {"reward_mean": 0.1, "reward.pnl": 0.2, "reward.cost": -0.1, "reward_unexplained": 2e-16}
        row |= {"reward_share.pnl": 0.75, "reward_share.cost": 0.25, "explained_variance": 0.1, "clip_fraction": 0.1}
        row |= {f"{kind}.{name}": 1.0 / 3.0 for kind in ("chosen", "executed") for name in ACTIONS}
        if number % 5 == 0:
            row |= {"validation_sharpe": 0.1 * number, "validation_exposure": 0.4, "validation_return": 0.2}
        told.append(row)
    return told


def summary(**changed: Any) -> dict[str, Any]:
    counts = {"HOLD": 900, "BUY_SMALL": 60, "SELL_ALL": 40}
    metrics = {
        "steps": 15_360,
        "checkpoint_step": 5_120,
        "validation_sharpe": -0.25,
        "validation_total_return": 0.05,
        "exposure": 0.4,
        "trades_per_symbol_year": 3.25,
        "total_trades": 90,
        "policy_action_entropy_mean": 0.5,
        "policy_action_entropy_normalised": 0.4,
        "decisions": 1000,
        "chosen": counts,
        "executed": counts | {"HOLD": 910, "SELL_ALL": 30},
        "reasons": {"as_chosen": 990, "not_allowed": 7, "repeat_limit": 3},
        "unfilled_orders": 2,
    }
    alarms = {"kl": {"first_step": 512, "last_step": 1024, "said": "kl: a KL of 1 <b>; lower it"}}
    roll_out = {
        "histogram": [1] * 20 + [500] + [2] * 20,
        "edges": [0.1 * edge for edge in range(42)],
        "components": ["pnl", "cost"],
        "correlation": [[1.0, -0.5, 0.9], [-0.5, 1.0, None], [0.9, None, 1.0]],
        "to_go": [0.5, -0.25, 0.25],
    }
    told = {
        "name": "quick",
        "seed": 7,
        "verdict": "trades: validation Sharpe -0.25",
        "why": "",
        "healthy": True,
        "seconds": 1.5,
        "metrics": metrics,
        "alarms": alarms,
        "findings": [],
        "last_roll_out": roll_out,
        "recipe": {"seed": 7, "entropy": {"guard": True, "guard_floor": 0.22}},
    }
    return told | changed


def page_of(told: dict[str, Any], of: list[dict[str, Any]]) -> Page:
    page = Page(training_html(told, of))
    assert page.faults == []
    return page


def test_every_section_is_drawn() -> None:
    page = page_of(summary(), rows())
    headings = [one.text for one in page.elements if one.name == "h2"]
    assert headings == [
        "What looked wrong",
        "Validation Sharpe ratio",
        "Entropy: the policy against what executed",
        "Actions over time",
        "Reward by component",
        "Value fit",
        "The optimiser",
        "How it was run",
    ]


def test_the_verdict_and_its_figures() -> None:
    page = page_of(summary(), rows())
    assert next(one for one in page.elements if one.name == "h1").text == "Trades: validation Sharpe \u22120.25."
    told = summary()["metrics"]
    tiles = {
        one.attributes["data-tile"]: one.attributes["data-value"]
        for one in page.elements
        if "data-tile" in one.attributes
    }
    assert tiles == {name: repr(told[name]) for name in tiles}
    assert set(tiles) >= {"validation_sharpe", "trades_per_symbol_year", "policy_action_entropy_mean"}


def test_chosen_executed_and_the_reasons_between() -> None:
    page = page_of(summary(), rows())
    counts = {
        (one.attributes["data-action"], one.attributes["data-kind"]): one.text
        for one in page.elements
        if "data-kind" in one.attributes
    }
    assert counts[("SELL_ALL", "chosen")] == "40"
    assert counts[("SELL_ALL", "executed")] == "30"
    notes = " ".join(one.text for one in page.elements if one.name == "p")
    assert "Executed otherwise than chosen: not allowed 7, repeat limit 3. 2 orders did not fill" in notes


def test_what_each_component_brings_until_the_end() -> None:
    page = page_of(summary(), rows())
    told = {one.attributes["data-to-go"]: one.text for one in page.elements if "data-to-go" in one.attributes}
    assert told == {"pnl": "0.5000", "cost": "\u22120.2500", "reward": "0.2500"}


def test_the_pointer_shows_the_metrics() -> None:
    source = training_html(summary(), rows())
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', source, re.DOTALL)[1])  # type: ignore[index]
    entropy = {line["name"]: line["values"] for line in data["entropy"]["lines"]}
    assert entropy["policy"] == [round(row["entropy"], 6) for row in rows()]
    assert data["entropy"]["times"][:2] == ["step 512", "step 1,024"]
    sharpe = data["sharpe"]["lines"][0]["values"]
    assert sharpe[:5] == [None, None, None, None, 0.5]
    shares = {line["name"] for line in data["executed"]["lines"]}
    assert shares == {"BUY_SMALL", "SELL_ALL"}


def test_text_is_escaped_and_nothing_comes_from_elsewhere() -> None:
    source = training_html(summary(), rows())
    assert "a KL of 1 &lt;b&gt;; lower it" in source
    assert re.findall(r"https?:|//[a-z]|@import|url\(|\bsrc=|<link", source) == []


def test_long_runs_are_thinned_and_judgements_kept() -> None:
    curves = curves_of(rows(3_000))
    assert curves.figure("sharpe", [("validation_sharpe", "Sharpe", "policy")]) is not None
    line = json.loads(curves.data())["sharpe"]["lines"][0]["values"]
    assert len(line) == POINTS
    assert line[-1] == 300.0
    assert None not in line[2:]


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_of_hardly_any_updates_has_no_curves(count: int) -> None:
    told = summary(metrics=None, alarms={}, last_roll_out=None, healthy=False, verdict="training diverged: lower it")
    page = page_of(told, rows(count))
    assert any("there are no curves" in one.text for one in page.elements if one.name == "p")


def test_it_is_written_from_the_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DeskError, match="no training run that has ended can be read there"):
        write_training_report(tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary()))
    pq.write_table(pa.Table.from_pylist(rows()), tmp_path / "metrics.parquet")
    first = write_training_report(tmp_path).read_bytes()
    assert write_training_report(tmp_path).read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "metrics.parquet", "report.html"}


def test_the_figures_stand_beside_those_of_holding() -> None:
    page = page_of(summary(held={"sharpe": 1.305, "total_return": 0.4}), rows())
    beside = [one.text.replace("\u202f", " ").replace("\u00a0", " ") for one in page.elements if one.name == "small"]
    assert beside[0].endswith("; held 1.30")
    assert beside[1].endswith("; held +40.0 %")
