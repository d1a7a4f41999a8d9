"""The run folder: what is in it, that it can be rebuilt to the byte, and that it is written whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.report.conftest import PANEL, RUN, SEEN
from tradekit.errors import DeskError
from tradekit.report.record import Record, record_of
from tradekit.report.run_folder import read_run, read_summary, rebuild, versions, write_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.engine.stress import Stress
    from tradekit.engine.walk_forward import WalkForward

FILES = {
    "actions.parquet",
    "costs.parquet",
    "equity.parquet",
    "manifest.json",
    "orders.parquet",
    "report.html",
    "summary.json",
    "summary.md",
    "trades.parquet",
    "windows.parquet",
}


PICTURES = {f"{name}.{kind}" for name in ("equity", "drawdown", "costs") for kind in ("png", "svg")}
STRESS_PICTURES = {"stress.png", "stress.svg"}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _strict(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def _same(one: Record, other: Record) -> None:
    for mine, theirs in zip(one.tracks, other.tracks, strict=True):
        assert (mine.strategy, mine.scenario) == (theirs.strategy, theirs.scenario)
        assert mine.scored_from == theirs.scored_from
        for name in ("timestamps", "equity", "cash", "exposure", "benchmark", "traded", "fills", "costs"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
    for name in ("strategy", "symbol", "decided", "filled", "reason"):
        np.testing.assert_array_equal(getattr(one.orders, name), getattr(other.orders, name))
    for name, column in one.orders.numbers.items():
        np.testing.assert_array_equal(column, other.orders.numbers[name])
    assert one.windows == other.windows
    for asked, read in zip(one.actions, other.actions, strict=True):
        assert (asked.strategy, asked.symbols) == (read.strategy, read.symbols)
        for name in ("timestamps", "chosen", "executed", "reason"):
            np.testing.assert_array_equal(getattr(asked, name), getattr(read, name))


@pytest.mark.parametrize("kind", ["walked", "stressed"])
def test_a_folder_gives_back_the_record_to_the_bit(kind: str, request: pytest.FixtureRequest) -> None:
    result: WalkForward | Stress = request.getfixturevalue(kind)
    folder: Path = request.getfixturevalue(f"{kind}_folder")
    pictures = PICTURES | (STRESS_PICTURES if kind == "stressed" else set())
    assert set(_bytes(folder)) == FILES | {f"figures/{name}" for name in pictures}
    _same(record_of(result, {**RUN, "versions": versions()}), read_run(folder))


@pytest.mark.parametrize("kind", ["walked", "stressed"])
def test_rebuilding_gives_the_same_bytes(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    original: Path = request.getfixturevalue(f"{kind}_folder")
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in _bytes(original).items():
        # The views are made from the tables alone, so that they need not be there.
        if name.endswith((".parquet", "manifest.json")) and name != "trades.parquet":
            (folder / name).write_bytes(content)
    assert rebuild(folder) == folder / "report.html"
    assert _bytes(folder) == _bytes(original)


def test_two_runs_differ_in_the_timestamp_alone(write: Callable[..., Path]) -> None:
    first, second = write("first"), write("second", created="2030-01-01T00:00:00+00:00")
    assert {name for name, content in _bytes(first).items() if content != _bytes(second)[name]} == {
        "manifest.json",
        "summary.json",
        "summary.md",
        "report.html",
    }
    for name in ("manifest.json", "summary.json"):
        one, other = _strict(first / name), _strict(second / name)
        assert one.pop("created") != other.pop("created")
        assert one == other


def test_tables_are_what_a_reader_expects(walked_folder: Path, walked: WalkForward) -> None:
    equity = pq.read_table(walked_folder / "equity.parquet").to_pandas()
    mine = equity[equity["strategy"] == "rotation"].set_index("timestamp")
    ledger = walked.run("rotation").ledger
    assert ledger is not None
    np.testing.assert_array_equal(mine["equity"], ledger.equity)
    np.testing.assert_array_equal(mine.index.to_numpy(), ledger.timestamps)
    orders = pq.read_table(walked_folder / "orders.parquet").to_pandas()
    assert len(orders[orders["strategy"] == "rotation"]) == len(ledger.orders)
    windows = pq.read_table(walked_folder / "windows.parquet").to_pandas()
    assert windows["failure"].notna().sum() == 1
    actions = pq.read_table(walked_folder / "actions.parquet").to_pandas()
    assert len(actions) == (200 - SEEN) * 3
    assert (actions.groupby("timestamp")["chosen"].nunique() == 1).all()


def test_manifest_says_what_was_run(walked_folder: Path) -> None:
    manifest = _strict(walked_folder / "manifest.json")
    assert manifest["data"]["hash"] == PANEL.content_hash
    assert manifest["data"]["symbols"] == ["S0", "S1", "S2"]
    assert manifest["command"] == RUN["command"]
    assert manifest["seeds"] == [42]
    assert manifest["bundle_hashes"] == {"symbol_ppo": "c" * 64}
    assert {one["name"]: one["file_hash"] for one in manifest["strategies"]}["buy_and_hold"] == "a" * 64
    assert manifest["costs"]["spread_bps"] == 2.0
    assert manifest["execution"]["fills_at"] == "open"
    assert manifest["windowing"]["train_sessions"] == 60
    assert {"python", "numpy", "numba", "tradekit"} <= set(manifest["versions"]) | {"tradekit"}


def test_summary_holds_every_part(walked_folder: Path) -> None:
    summary = _strict(walked_folder / "summary.json")
    assert summary == read_summary(walked_folder)
    assert {"schema", "kind", "command", "data", "costs", "execution", "windowing", "strategies", "verdict"} <= set(
        summary
    )
    by_name = {one["name"]: one for one in summary["strategies"]}
    assert by_name["unfit"]["metrics"] is None
    assert summary["skipped"] == [{"strategy": "unfit", "scenario": None, "reason": "random: it needs volume at night"}]
    assert [row["failure"] for row in by_name["breaks"]["windows"]] == [
        None,
        "ValueError: a class has no members",
        None,
        None,
    ]
    assert by_name["symbol_ppo"]["seen_bars"] == 0
    assert summary["data"]["scored"]["bars"] == 200 - SEEN - 1
    assert summary["data"]["scored"]["start"] == str(PANEL.timestamps[60 + SEEN + 1].astype("M8[D]"))
    assert by_name["rotation"]["audit"]["passed"] is True
    # Buy and hold buys its three symbols on the first bar that the policy has not seen, and pays for it there.
    assert by_name["buy_and_hold"]["metrics"]["trades"] == 3
    assert by_name["buy_and_hold"]["metrics"]["cost"] > 0.0


def test_actions_are_told_as_chosen_and_as_executed(walked_folder: Path) -> None:
    told = {one["name"]: one for one in read_summary(walked_folder)["strategies"]}["symbol_ppo"]["actions"]
    # Decisions behind the 179 scored bars of 3 sleeves: bought, held, sold, and asked to sell once more.
    assert told["decisions"] == 179 * 3
    assert told["chosen"]["SELL"] == pytest.approx(0.5, abs=0.01)
    assert told["executed"]["SELL"] == pytest.approx(0.25, abs=0.01)
    assert told["changed"] == pytest.approx(0.25, abs=0.01)
    assert told["reasons"] == {"not_allowed": told["changed"]}
    assert sum(told["executed"].values()) == pytest.approx(1.0)


def test_stress_summary_holds_every_cell(stressed_folder: Path, stressed: Stress) -> None:
    summary = _strict(stressed_folder / "summary.json")
    scenarios = {one["name"]: one for one in summary["scenarios"]}
    assert list(scenarios) == [one.name for one in stressed.scenarios]
    for scenario in scenarios.values():
        assert [cell["strategy"] for cell in scenario["cells"]] == list(stressed.strategies)
        assert all((cell["metrics"] is None) == (cell["skipped"] is not None) for cell in scenario["cells"])
    assert {one["scenario"] for one in summary["skipped"]} == {None, "dot-com"}
    base = {cell["strategy"]: cell["metrics"] for cell in scenarios["base"]["cells"]}
    by_name = {one["name"]: one for one in summary["strategies"]}
    for name, metrics in base.items():
        assert metrics is None or metrics.items() <= by_name[name]["metrics"].items()
    dearer = {cell["strategy"]: cell["metrics"] for cell in scenarios["costs x4"]["cells"]}
    assert dearer["rotation"]["cost_a_year"] > 2.0 * base["rotation"]["cost_a_year"]
    assert by_name["symbol_ppo"]["break_even"] == stressed.break_even["symbol_ppo"]
    assert by_name["symbol_ppo"]["kind"] == "policy"


def test_nothing_overwrites_a_run(write: Callable[..., Path]) -> None:
    folder = write()
    before = _bytes(folder)
    with pytest.raises(DeskError, match="exists already"):
        write()
    assert _bytes(folder) == before


def test_a_folder_below_a_file_is_one_line(walked: WalkForward, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DeskError, match=r"^cannot write the run to .*run: (Not a directory|File exists); name"
    ) as caught:
        write_run(walked, tmp_path / "file" / "run", **RUN)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_folder_is_one_line(walked: WalkForward, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(DeskError, match="Permission denied"):
            write_run(walked, tmp_path / "run", **RUN)
    finally:
        tmp_path.chmod(0o700)


NO_SPACE = """
import resource, signal, sys
from pathlib import Path
from tests.report.conftest import PANEL, RUN, WINDOWS, Held
from tradekit.engine.walk_forward import walk_forward
from tradekit.errors import DeskError
from tradekit.report.run_folder import write_run

result = walk_forward(Held(), PANEL, WINDOWS)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_run(result, sys.argv[1], **RUN)
except DeskError as error:
    print(error)
"""


def test_no_space_leaves_nothing_behind(tmp_path: Path, repository: Path) -> None:
    """A limit on the size of a file stands in for a full disk: the page does not fit."""
    done = subprocess.run(
        [sys.executable, "-c", NO_SPACE, str(tmp_path / "results" / "run")],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("cannot write the run to "), done.stderr
    assert "File too large; free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list((tmp_path / "results").iterdir()) == []


def test_a_changed_table_is_refused(write: Callable[..., Path]) -> None:
    folder = write()
    path = folder / "equity.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DeskError, match=r"equity\.parquet was changed after the run"):
        rebuild(folder)


def test_a_missing_table_is_named(write: Callable[..., Path]) -> None:
    folder = write()
    (folder / "orders.parquet").unlink()
    with pytest.raises(DeskError, match=r"orders\.parquet is missing"):
        rebuild(folder)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": "other/9"}'])
def test_no_run_folder(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DeskError) as caught:
        read_run(tmp_path)
    assert "manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_drawn_worlds_are_told_by_their_median_and_range(tmp_path: Path) -> None:
    from tests.panels import BuyOnce, random_panel
    from tradekit.engine.scenarios import Scenario
    from tradekit.engine.stress import stress
    from tradekit.engine.windows import Windowing

    scenarios = (Scenario("base", "base"), Scenario("paths", "bootstrap", bars=60, draws=9))
    result = stress(BuyOnce(), random_panel(200, 3), scenarios, Windowing(50, 50))
    draws = result.cell("buy_and_hold", "paths").draws
    assert draws is not None
    folder = write_run(result, tmp_path / "run", **RUN)
    cell = read_summary(folder)["scenarios"][1]["cells"][0]
    assert cell["draws"]["worlds"] == 9
    assert cell["draws"]["total_return"]["median"] == np.median(draws.total_return)
    assert cell["metrics"]["total_return"] == np.median(draws.total_return)
    assert cell["draws"]["sharpe"]["low"] == np.quantile(draws.sharpe, 0.025)
    page = (folder / "report.html").read_text()
    low, high = (100.0 * np.quantile(draws.max_drawdown, share) for share in (0.025, 0.975))
    assert f"<small>{low:.1f}\u00a0% to {high:.1f}\u00a0%</small>" in page
    assert read_summary(folder)["scenarios"][0]["cells"][0]["draws"] is None
