"""Figures beside the page: there, of the right kind, and drawn from the summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.report.conftest import PANEL, RUN, WINDOWS, Agent
from tradekit.engine.walk_forward import walk_forward
from tradekit.report.order import few
from tradekit.report.run_folder import read_summary, write_run
from tradekit.report.words import number

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.walk_forward import WalkForward


@pytest.mark.parametrize("name", ["equity", "drawdown", "costs", "stress"])
def test_each_is_a_picture_of_its_kind(stressed_folder: Path, name: str) -> None:
    figures = stressed_folder / "figures"
    assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
    root = ET.parse(figures / f"{name}.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_heat_map_says_the_sharpe_ratio_of_every_cell(stressed_folder: Path) -> None:
    summary = read_summary(stressed_folder)
    source = (stressed_folder / "figures" / "stress.svg").read_text(encoding="utf-8")
    written = re.findall(r"<!-- (.*?) -->", source)  # matplotlib draws letters as paths, and notes what they say
    for scenario in summary["scenarios"]:
        cells = [cell["metrics"] for cell in scenario["cells"] if cell["metrics"] and cell["strategy"] in few(summary)]
        assert (scenario["name"] in written) == bool(cells)
        assert {number(metrics["sharpe"]) for metrics in cells} <= set(written)


def test_lines_are_named(walked_folder: Path) -> None:
    summary = read_summary(walked_folder)
    source = (walked_folder / "figures" / "equity.svg").read_text(encoding="utf-8")
    assert {*few(summary), summary["data"]["benchmark"]} <= set(re.findall(r"<!-- (.*?) -->", source))


def test_a_run_in_which_nothing_was_scored_has_none(tmp_path: Path) -> None:
    class Late(Agent):
        seen_end = PANEL.timestamps[-1]

    folder = write_run(walk_forward(Late(), PANEL, WINDOWS), tmp_path / "run", **RUN)
    assert not (folder / "figures").exists()


def test_two_runs_draw_the_same_bytes(walked: WalkForward, walked_folder: Path, tmp_path: Path) -> None:
    again = write_run(walked, tmp_path / "run", **RUN)
    for path in (walked_folder / "figures").iterdir():
        assert (again / "figures" / path.name).read_bytes() == path.read_bytes(), path.name
