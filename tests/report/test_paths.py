"""The report of a cross-validation: every path in the tables, the same bytes when rebuilt, nothing said that is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.report.conftest import PANEL, RUN, Held, Rotation
from tests.report.pages import Page, numbers_that_differ
from tests.report.test_browser import CHROMIUM
from tests.report.test_browser import _open as opened
from tradekit.engine.combinatorial import Combinatorial
from tradekit.engine.cross_validation import CrossValidated, PathsRun, cross_validate
from tradekit.report.paths import Paths, path_figures
from tradekit.report.run_folder import read_run, read_summary, rebuild, write_run

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

SCHEME = Combinatorial(groups=4, held_out=2, purge_sessions=2, embargo_sessions=3)


@dataclass
class Mean:
    """A user's own: holds what closed below the mean of what it learnt from. Fails in one split where it is told to."""

    fails: bool = False
    mean: float = 0.0
    name: str = "mean"
    lookback: int = 1

    def fit(self, train: Panel) -> Mean:
        if self.fails and train.timestamps[0] == PANEL.timestamps[135]:
            raise ValueError("a class has no members")
        return replace(self, mean=float(np.nanmean(train.close)))

    def weights(self, panel: Panel) -> Floats:
        return np.where(panel.close < self.mean, 0.3, 0.1)


@pytest.fixture(scope="module")
def crossed() -> CrossValidated:
    return cross_validate([Held(), Rotation(), Mean(), Mean(fails=True, name="breaks")], PANEL, SCHEME)


@pytest.fixture(scope="module")
def folder(crossed: CrossValidated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(crossed, tmp_path_factory.mktemp("crossed") / "run", **RUN)


def entry(folder: Path, name: str) -> dict[str, Any]:
    return next(one for one in read_summary(folder)["strategies"] if one["name"] == name)


def test_figures_by_hand() -> None:
    up, flat = np.array([100.0, 110.0, 99.0, 118.8]), np.array([100.0, 100.0, 100.0, 100.0])
    learning = {name: {"learns": True, "shown": 1, "lost": []} for name in ("buy_and_hold", "mine")}
    paths = [Paths("mine", np.array([up, flat, up])), Paths("buy_and_hold", np.array([flat, up, up]))]
    found = path_figures(paths, learning, 1, 252.0)
    mine = found["mine"]
    assert [row["total_return"] for row in mine["each"]] == pytest.approx([0.188, 0.0, 0.188])
    assert [row["path"] for row in mine["each"]] == [1, 2, 3]
    assert (mine["total_return_lowest"], mine["total_return_median"]) == pytest.approx((0.0, 0.188))
    assert (mine["max_drawdown_median"], mine["max_drawdown_highest"]) == pytest.approx((0.1, 0.1))
    assert np.isnan(mine["sharpe_median"])  # three bars are too few
    assert mine["ahead_by_return"] == pytest.approx(1 / 3)  # on path 1; behind on 2, level on 3
    assert np.isnan(mine["ahead_by_sharpe"])
    assert np.isnan(found["buy_and_hold"]["ahead_by_return"])


def test_the_summary_has_every_path(folder: Path, crossed: CrossValidated) -> None:
    summary, run = read_summary(folder), crossed.run("mean")
    assert isinstance(run, PathsRun)
    assert summary["kind"] == "cross_validation"
    assert summary["windowing"] is None
    assert summary["cross_validation"] == {
        "groups": 4,
        "held_out": 2,
        "purge_sessions": 2,
        "embargo_sessions": 3,
        "refit": "frozen",
        "splits": 6,
        "paths": 3,
    }
    told = entry(folder, "mean")["paths"]
    returns = [ledger.total_return for ledger in run.paths]
    assert [row["total_return"] for row in told["each"]] == pytest.approx(returns)
    assert told["total_return_median"] == pytest.approx(np.median(returns))
    assert entry(folder, "mean")["metrics"]["total_return"] == told["each"][told["shown"] - 1]["total_return"]
    assert told["total_return_median"] == entry(folder, "mean")["metrics"]["total_return"]
    held = entry(folder, "buy_and_hold")["paths"]
    ahead = [one["sharpe"] > other["sharpe"] for one, other in zip(told["each"], held["each"], strict=True)]
    assert told["ahead_by_sharpe"] == pytest.approx(np.mean(ahead))
    assert (told["learns"], held["learns"]) == (True, False)
    assert len({row["sharpe"] for row in held["each"]}) == 1
    lost = entry(folder, "breaks")["paths"]["lost"]
    assert lost == [{"split": 1, "failure": "ValueError: a class has no members"}]


def test_the_verdict_says_how_far_the_paths_lie_apart(folder: Path) -> None:
    verdict, told = read_summary(folder)["verdict"], entry(folder, "mean")["paths"]
    name = verdict["candidate"]
    told = entry(folder, name)["paths"]
    assert verdict["reasons"][0].startswith(f"Over 3 paths its median Sharpe ratio is {told['sharpe_median']:.2f}, [")
    assert "no path could have been traded" in verdict["reasons"][1]


def test_the_table_of_paths_is_what_a_reader_expects(folder: Path, crossed: CrossValidated) -> None:
    table = pq.read_table(folder / "paths.parquet").to_pandas()
    run = crossed.run("mean")
    assert isinstance(run, PathsRun)
    for number, ledger in enumerate(run.paths, 1):
        mine = table[(table["strategy"] == "mean") & (table["path"] == number)]
        np.testing.assert_array_equal(mine["equity"], ledger.equity)
        np.testing.assert_array_equal(mine["timestamp"].to_numpy(), ledger.timestamps)
    for one, run_ in zip(read_run(folder).paths, crossed.runs, strict=True):
        assert one.strategy == run_.name
        assert isinstance(run_, PathsRun)
        np.testing.assert_array_equal(one.equity, [ledger.equity for ledger in run_.paths])


def test_rebuilding_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for view in ("summary.json", "summary.md", "report.html", "trades.parquet"):
        (copy / view).unlink()
    rebuild(copy)
    for path in sorted(folder.rglob("*.*")):
        assert (copy / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name


def test_the_page_has_a_section_of_its_own(folder: Path) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    summary, page = json.loads((folder / "summary.json").read_text()), Page(source)
    assert page.faults == []
    assert numbers_that_differ(page, summary) == []
    assert [one.text for one in page.elements if one.name == "h2"][1:3] == [
        "Every strategy on the same bars and costs",
        "Every path",
    ]
    assert len(page.having("strategy", metric="paths.sharpe_median")) == 4
    drawn = {one.attributes.get("data-line") for one in page.elements if one.name == "path"}
    assert {"mean 1", "mean 2", "mean 3", "breaks 1"} <= drawn
    assert "breaks failed in split 1: ValueError: a class has no members" in page.one("every-path").text
    assert "rotation 1" not in drawn  # it learns nothing: one path


def test_the_text_has_those_that_learn_and_holding(folder: Path) -> None:
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert text.startswith("# Combinatorial purged cross-validation")
    rows = text.split("## Every path")[1].split("##")[0].strip().splitlines()[2:]
    assert {row.split("|")[1].strip() for row in rows} == {"mean", "breaks", "buy_and_hold"}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install it to open the pages in a browser")
@pytest.mark.parametrize("phone", [False, True])
def test_the_browser_shows_it_without_an_error(folder: Path, tmp_path: Path, phone: bool) -> None:
    seen = opened((folder / "report.html").read_text(encoding="utf-8"), tmp_path, phone=phone)
    assert seen.console == []
    assert seen.probe["wide"] <= seen.probe["width"]
