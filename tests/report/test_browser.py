"""The pages in a real browser: no error on the console, the tables' numbers, nothing wider than the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.report.conftest import PANEL, RUN, WINDOWS, Agent, Held
from tests.report.pages import Page, numbers_that_differ
from tests.report.test_session import shadow
from tradekit.engine.walk_forward import walk_forward
from tradekit.report.order import MOST
from tradekit.report.run_folder import read_summary, write_run
from tradekit.report.session import session_html

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install it to open the pages in a browser"),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
DESK, PHONE = 1280, 390

# What the browser measured, written where --dump-dom shows it.
PROBE = """
<script>
addEventListener("load", () => {
  const drawn = (one) => getComputedStyle(one).display !== "none";
  const shown = [...document.querySelectorAll(".figure[data-set] .plot")].find((one) => one.offsetParent);
  const box = shown.getBoundingClientRect();
  const at = { clientX: box.right - 1, clientY: box.top + box.height / 2, bubbles: true };
  shown.dispatchEvent(new PointerEvent("pointermove", at));
  const tip = shown.closest(".figure").querySelector(".tip");
  const found = {
    width: innerWidth,
    wide: document.documentElement.scrollWidth,
    tip: tip.innerText,
    tipShown: getComputedStyle(tip).display,
    background: getComputedStyle(document.body).backgroundColor,
    ends: getComputedStyle(document.querySelector(".plot .end") || document.body).display,
    head: getComputedStyle(document.querySelector("table.cards thead") || document.body).position,
    lines: document.querySelectorAll(".plot path.line").length,
    few: [...shown.querySelectorAll("path.line")].filter(drawn).length,
    columns: [...document.querySelectorAll("#windows thead th")].filter(drawn).length,
  };
  for (const box of document.querySelectorAll("label.all")) box.click();
  found.all = [...shown.querySelectorAll("path.line")].filter(drawn).length;
  found.allColumns = [...document.querySelectorAll("#windows thead th")].filter(drawn).length;
  const out = document.createElement("output");
  out.id = "probe";
  out.textContent = JSON.stringify(found);
  parent.document.body.append(out);
});
</script>
"""


class Seen(NamedTuple):
    """A page as the browser left it, what it said on the console, and what was measured."""

    page: Page
    console: list[str]
    probe: dict[str, Any]


def _open(source: str, folder: Path, *, phone: bool = False, dark: bool = False) -> Seen:
    """Open a page; on a phone in a frame, since a window of chromium is never that narrow."""
    source = source.replace("</body>", PROBE + "</body>")
    path = folder / "page.html"
    frame = f'<body><iframe style="width:{PHONE}px;height:800px;border:0" srcdoc="{escape(source)}"></iframe></body>'
    path.write_text(f"<!doctype html>{frame}" if phone else source, encoding="utf-8")
    flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={DESK},900"]
    if dark:
        flags.append("--blink-settings=preferredColorScheme=0")
    done = subprocess.run(
        [str(CHROMIUM), *flags, "--virtual-time-budget=3000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    page = Page(done.stdout)
    return Seen(page, re.findall(r":CONSOLE.*", done.stderr), json.loads(page.one("probe").text))


@pytest.fixture(scope="module", params=["walked", "stressed"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(f"{request.param}_folder")
    return found


def test_the_browser_shows_the_summarys_numbers(folder: Path, tmp_path: Path) -> None:
    seen = _open((folder / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert seen.console == []
    assert numbers_that_differ(seen.page, read_summary(folder)) == []
    assert seen.probe["wide"] <= seen.probe["width"]
    assert (seen.probe["ends"], seen.probe["head"]) == ("block", "static")


def test_on_a_phone_nothing_is_wider_than_the_page(folder: Path, tmp_path: Path) -> None:
    seen = _open((folder / "report.html").read_text(encoding="utf-8"), tmp_path, phone=True)
    assert seen.console == []
    assert seen.probe["width"] == PHONE
    assert seen.probe["wide"] <= PHONE
    # Names leave the ends of the lines for the legend, and tables of cards lose their head.
    assert (seen.probe["ends"], seen.probe["head"]) == ("none", "absolute")


def test_a_console_error_would_be_seen(folder: Path, tmp_path: Path) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    broken = source.replace("</body>", "<script>undefined.broken</script></body>", 1)
    assert any("Uncaught" in line for line in _open(broken, tmp_path).console)


def test_nothing_can_be_loaded(folder: Path, tmp_path: Path) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    calling = source.replace("</body>", '<script>fetch("http://127.0.0.1:9/x").catch(() => 0)</script></body>', 1)
    assert any("Content Security Policy" in line for line in _open(calling, tmp_path).console)


def test_values_under_the_pointer(walked_folder: Path, tmp_path: Path) -> None:
    seen = _open((walked_folder / "report.html").read_text(encoding="utf-8"), tmp_path)
    summary = read_summary(walked_folder)
    assert seen.probe["tipShown"] == "block"
    moment, *told = str(seen.probe["tip"]).split("\n")
    assert moment == summary["data"]["scored"]["end"]
    shown = dict(zip(told[::2], map(float, told[1::2]), strict=True))
    for one in summary["strategies"]:
        if one["metrics"]:
            assert shown[one["name"]] == pytest.approx(1.0 + one["metrics"]["total_return"], abs=6e-4)
    assert list(shown.values()) == sorted(shown.values(), reverse=True)


def test_the_rest_of_many_strategies_shows_at_a_tick(tmp_path: Path) -> None:
    result = walk_forward([*(Held(name=f"held_{k}") for k in range(11)), Agent()], PANEL, WINDOWS, audit=False)
    folder = write_run(result, tmp_path / "run", **RUN)
    seen = _open((folder / "report.html").read_text(encoding="utf-8"), tmp_path)
    assert seen.console == []
    assert numbers_that_differ(seen.page, read_summary(folder)) == []
    # Beside the strategies there is a line for the benchmark, and columns for the window and the benchmark.
    assert (seen.probe["few"], seen.probe["all"]) == (MOST + 1, 12 + 1)
    assert (seen.probe["columns"], seen.probe["allColumns"]) == (MOST + 2, 12 + 2)


def test_dark_is_dark(walked_folder: Path, tmp_path: Path) -> None:
    source = (walked_folder / "report.html").read_text(encoding="utf-8")
    light, dark = (_open(source, tmp_path, dark=dark).probe["background"] for dark in (False, True))
    assert [max(map(int, re.findall(r"\d+", str(colour)))) for colour in (light, dark)] == [252, 22]


def test_a_session_in_the_browser(tmp_path: Path) -> None:
    seen = _open(session_html(shadow()), tmp_path)
    assert seen.console == []
    assert seen.probe["lines"] == 2
    assert "99,990.00" in str(seen.probe["tip"])
