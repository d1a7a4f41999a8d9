"""Each command does its work, from the specs of a desk and from options."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from click.exceptions import Exit

from tradekit.cli.paper import show
from tradekit.desk.folder import find_desk
from tradekit.desk.loader import load_strategies
from tradekit.live.report import session_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer

PEEKS = """
import numpy as np

class Peeks:
    name, kind = "peeks", "heuristic"
    def fit(self, train):
        return self
    def weights(self, panel):
        later = np.vstack([panel.close[1:], panel.close[-1:]])
        return np.where(later > panel.close, 0.4, 0.0)

strategy = Peeks()
"""
FEW = ("--strategies", "buy_and_hold,sma_cross")


def runs(desk: Path) -> list[Path]:
    return sorted((desk / "backtests" / "results").glob("[!.]*"))


class TestInit:
    def test_says_what_to_do_next(self, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
        answer = tradekit("init", "my-desk", cwd=tmp_path)
        assert answer.status == 0
        assert "next: cd my-desk && tradekit backtest --walk-forward" in answer.out
        assert find_desk(tmp_path / "my-desk").root == tmp_path / "my-desk"

    def test_json_lists_the_files(self, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
        said = tradekit("init", "my-desk", "--json", cwd=tmp_path).json
        assert said["desk"] == str(tmp_path / "my-desk")
        assert all((tmp_path / "my-desk" / name).is_file() for name in said["written"])

    def test_refuses_a_full_folder(self, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
        (tmp_path / "mine").touch()
        assert tradekit("init", ".", cwd=tmp_path).status == 2
        assert tradekit("init", ".", "--force", cwd=tmp_path).status == 0


class TestData:
    def test_info(self, tradekit: Callable[..., Answer]) -> None:
        held = tradekit("data", "info", "sample", "--symbols", "KO,AAPL", "--start", "2022-01-01", "--json").json
        assert [one["symbol"] for one in held["symbols"]] == ["KO", "AAPL"]
        assert (held["start"], held["end"], held["bars"]) == ("2022-01-03", "2022-12-28", 249)
        assert (held["columns"], held["fills_at"], held["benchmark"]) == (["close"], "close", "SP500")
        assert held["symbols"][0] == {
            "symbol": "KO",
            "bars": 249,
            "missing": 0,
            "start": "2022-01-03",
            "end": "2022-12-28",
            "last_close": pytest.approx(62.61, abs=0.01),
        }

    def test_the_table_says_the_same(self, tradekit: Callable[..., Answer]) -> None:
        answer = tradekit("data", "info", "sample", "--symbols", "KO", "--start", "2022-01-01")
        assert "249 bars of 1D in 249 sessions, 2022-01-03 to 2022-12-28" in answer.out
        assert re.search(r"KO +249 +0 +2022-01-03 +2022-12-28 +62\.61", answer.out)

    def test_holes_are_counted(self, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
        days = ("2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07")
        lines = [f"{day},A,10" for day in days] + [f"{day},B,10" for day in (days[1], days[3])]
        (tmp_path / "bars.csv").write_text("timestamp,symbol,close\n" + "\n".join(lines) + "\n")
        a, b = tradekit("data", "info", "bars.csv", "--json", cwd=tmp_path).json["symbols"]
        assert (a["bars"], a["missing"]) == (4, 0)
        assert (b["bars"], b["missing"], b["start"], b["end"]) == (2, 1, "2020-01-03", "2020-01-07")

    def test_list(self, tradekit: Callable[..., Answer]) -> None:
        assert "sample" in tradekit("data", "list", "--json").json["sources"]
        assert "sample" in tradekit("data", "list").out.splitlines()


class TestAudit:
    @pytest.mark.parametrize("name", ["momentum", "boosting", "equal_weight"])
    def test_a_causal_strategy_passes(self, tradekit: Callable[..., Answer], desk: Path, name: str) -> None:
        answer = tradekit("audit", name, "--data", "prices.csv", cwd=desk)
        assert answer.status == 0
        assert f"{name} is causal" in answer.out

    def test_one_that_peeks_is_named_with_its_first_bar(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        (desk / "peeks.py").write_text(PEEKS)
        answer = tradekit("audit", "./peeks.py", "--data", "prices.csv", cwd=desk)
        assert answer.status == 1
        assert "peeks USES THE FUTURE" in answer.out
        said = tradekit("audit", "./peeks.py", "--data", "prices.csv", "--json", cwd=desk).json
        assert said["passed"] is False
        assert said["first_violation"]["column"] == "close"


class TestBacktest:
    def test_the_desk_s_spec_runs_without_options(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("backtest", "--walk-forward", cwd=desk)
        assert answer.status == 0
        (folder,) = runs(desk)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-walk_forward", folder.name)
        for one in load_strategies(find_desk(desk)):
            assert one.strategy.name in answer.out
        assert answer.out.rstrip().endswith(str(folder / "report.html"))
        assert (folder / "report.html").is_file()
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["command"] == "tradekit backtest --walk-forward"
        assert manifest["windowing"]["train_sessions"] == 250
        assert manifest["data"]["source"].endswith("prices.csv")

    def test_works_from_a_folder_inside(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        assert tradekit("backtest", "--walk-forward", *FEW, cwd=desk / "strategies").status == 0
        assert len(runs(desk)) == 1

    def test_json_is_the_summary_and_nothing_else(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("backtest", "--walk-forward", *FEW, "--json", "--out", "run", cwd=desk)
        summary = json.loads((desk / "run" / "summary.json").read_text())
        assert answer.json == summary | {"folder": "run", "report": "run/report.html"}
        assert [one["name"] for one in summary["strategies"]] == ["buy_and_hold", "sma_cross", "perfect_foresight"]
        assert all(one["audit"]["passed"] for one in summary["strategies"][:2])
        assert "backtest: 0/12 buy_and_hold, window 1 of 5" in answer.err

    def test_options_reach_the_models(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        options = ("--costs", "alpaca_low", "--cost-shock", 2, "--latency-bars", 1, "--cash", 5000, "--symbols", "BBB")
        dates = ("--start", "2020-03-02", "--end", "2021-10-29")
        said = tradekit("backtest", "--walk-forward", *FEW, *options, *dates, "--json", cwd=desk).json
        assert said["costs"]["slippage_bps"] == 2.0
        assert said["costs"]["commission_bps"] == pytest.approx(0.4)
        assert said["execution"]["latency_bars"] == 1
        assert said["cash"] == 5000
        assert said["data"]["symbols"] == ["BBB"]
        assert (said["data"]["start"][:10], said["data"]["end"][:10]) == ("2020-03-02", "2021-10-29")
        assert said["windowing"]["train_sessions"] == 250

    def test_other_data_leaves_the_spec_s_windows_aside(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        line = ("--data", "sample", "--symbols", "KO,PG", "--start", "2015-01-01", *FEW)
        said = tradekit("backtest", "--walk-forward", *line, "--json", cwd=desk).json
        assert (said["windowing"]["train_sessions"], said["windowing"]["test_sessions"]) == (756, 126)

    def test_a_single_pass_leaves_out_what_learns(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        names = "buy_and_hold,boosting"
        said = tradekit("backtest", "--data", "prices.csv", "--strategies", names, "--json", cwd=desk).json
        assert said["data"]["bars"] == 500
        assert said["windowing"] is None
        assert [one["strategy"] for one in said["skipped"]] == ["boosting"]
        assert "use --walk-forward" in said["skipped"][0]["reason"]

    def test_nothing_that_can_run_is_an_error(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("backtest", "--data", "prices.csv", "--strategies", "boosting", cwd=desk)
        assert answer.status == 2
        assert answer.error.startswith("no strategy could run: boosting: it learns from bars")

    def test_a_strategy_that_peeks_is_a_negative_verdict(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        (desk / "strategies" / "peeks.py").write_text(PEEKS)
        answer = tradekit("backtest", "--walk-forward", "--strategies", "buy_and_hold,peeks", cwd=desk)
        assert answer.status == 1
        assert answer.error == "uses the future: peeks; see tradekit audit peeks"
        assert len(runs(desk)) == 1


class TestStress:
    def test_the_desk_s_scenarios_and_the_shock(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        said = tradekit("stress", "--slippage-shock", "1.5", *FEW, "--json", cwd=desk).json
        assert [one["name"] for one in said["scenarios"]] == ["base", "slippage x1.5", "costs x2", "fall", "crash"]
        cells = {one["name"]: one["cells"] for one in said["scenarios"]}
        assert all(cell["metrics"] for cell in cells["fall"])
        assert all("the data covers 2020-01-02 to" in cell["skipped"] for cell in cells["crash"])
        hold = [cells[name][0]["metrics"]["total_return"] for name in ("base", "slippage x1.5", "costs x2")]
        assert hold[0] > hold[1] > hold[2]

    def test_prints_tables_and_the_path(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("stress", *FEW, cwd=desk)
        assert answer.status == 0
        assert "costs x2" in answer.out
        assert answer.out.rstrip().endswith("report.html")

    def test_a_replay_reaches_back_beyond_the_walked_bars(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        spec = desk / "backtests" / "stress.toml"
        spec.write_text(spec.read_text().replace('"prices.csv"\n', '"prices.csv"\nstart = "2020-12-01"\n'))
        said = tradekit("stress", *FEW, "--json", cwd=desk).json
        assert said["data"]["start"] == "2020-12-01"
        fall = next(one for one in said["scenarios"] if one["name"] == "fall")
        assert all(cell["metrics"] for cell in fall["cells"])


class TestPaper:
    def test_a_session_of_its_own_bars(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        line = ("paper", "start", "--strategy", "random_actions", "--data", "prices.csv", "--bars", 12)
        answer = tradekit(*line, cwd=desk)
        assert answer.status == 0
        assert "parity: 100.00% of decisions equal to the backtest of the same bars" in answer.out
        said = tradekit("paper", "report", "--json", cwd=desk).json
        assert (said["bars"], said["decision_parity"], said["duplicate_orders"]) == (12, 1.0, 0)
        assert said["journal"] == str(desk / "paper" / "journals" / "local.sqlite")
        page = Path(said["report"])
        assert page == desk / "paper" / "journals" / "local.html"
        assert "Paper session local" in page.read_text()
        stands = tradekit("paper", "status", "local", "--json", cwd=desk).json
        assert (stands["state"], stands["bars_done"]) == ("ended", 12)
        assert "ended" in tradekit("paper", "status", cwd=desk).out
        unknown = tradekit("paper", "report", "locale", cwd=desk)
        assert unknown.status == 2
        assert "did you mean local?" in unknown.error

    @pytest.mark.parametrize(("apart", "status"), [(9e-10, 0), (1.1e-9, 1), (float("nan"), 1)])
    def test_equity_apart_from_the_backtest_fails(
        self, tradekit: Callable[..., Answer], desk: Path, apart: float, status: int
    ) -> None:
        line = ("paper", "start", "--strategy", "momentum", "--data", "prices.csv", "--bars", 5)
        said = tradekit(*line, "--json", cwd=desk).json
        found = session_report(Path(said["journal"]))
        assert found["equity_difference"] <= 1e-9
        with contextlib.ExitStack() as stack:
            left = stack.enter_context(pytest.raises(Exit)) if status else None
            show(found | {"equity_difference": apart}, Path(said["journal"]), as_json=False)
        assert (left.value.exit_code if left else 0) == status


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestReport:
    def test_the_newest_of_everything(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        tradekit("backtest", "--walk-forward", *FEW, cwd=desk)
        tradekit("stress", *FEW, cwd=desk)
        tradekit("paper", "start", "--strategy", "momentum", "--data", "prices.csv", "--bars", 5, cwd=desk)
        answer = tradekit("report", cwd=desk)
        assert answer.status == 0
        lines = answer.out.rstrip().splitlines()
        stress, backtest = (folder / "report.html" for folder in sorted(runs(desk), key=lambda one: one.name[20:]))
        assert lines[-2:] == [str(stress), str(backtest)]
        assert any(line.startswith("session local: parity: 100.00%") for line in lines)
        assert "sma_cross" in answer.out
        said = tradekit("report", "--json", cwd=desk).json
        assert [one["kind"] for one in said["runs"]] == ["walk_forward", "stress"]
        assert said["session"]["decision_parity"] == 1.0

    def test_a_run_is_rebuilt_to_the_byte(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        tradekit("backtest", "--walk-forward", *FEW, cwd=desk)
        (folder,) = runs(desk)
        before = contents(folder)
        (folder / "report.html").unlink()
        (folder / "summary.json").write_text("{}")
        assert tradekit("report", folder.name, cwd=desk).status == 0
        after = contents(folder)
        assert [name for name in {*before, *after} if before.get(name) != after.get(name)] == []

    def test_tear_sheets_are_written_when_asked_for(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        tradekit("backtest", "--walk-forward", *FEW, cwd=desk)
        (folder,) = runs(desk)
        answer = tradekit("report", folder.name, "--tear-sheets", cwd=desk)
        assert answer.status == 0
        pages = sorted((folder / "tear_sheets").iterdir())
        assert pages
        assert all(str(page) in answer.out.splitlines() for page in pages)


class TestDoctor:
    def test_a_sound_desk(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("doctor", cwd=desk)
        assert "FAIL" not in answer.out
        assert answer.status == 0
        assert "strategy momentum" in answer.out

    def test_what_is_broken_fails_and_the_rest_is_still_checked(
        self, tradekit: Callable[..., Answer], desk: Path
    ) -> None:
        (desk / "strategies" / "a_broken.py").write_text("(")
        (desk / "backtests" / "results").write_text("a file")
        answer = tradekit("doctor", "--json", cwd=desk)
        assert answer.status == 1
        failed = {check["name"]: check["detail"] for check in answer.json["checks"] if check["ok"] is False}
        assert set(failed) == {"strategy a_broken", "write backtests/results"}
        assert "a_broken.py:1: syntax error" in failed["strategy a_broken"]

    def test_no_desk_is_worth_knowing_but_no_fault(self, tradekit: Callable[..., Answer], tmp_path: Path) -> None:
        answer = tradekit("doctor", cwd=tmp_path)
        assert answer.status == 0
        assert "tradekit init DIR" in answer.out


@pytest.mark.slow
class TestTrain:
    def test_trains_and_promotes(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        before = (desk / "policies" / "symbol_ppo" / "bundle" / "bundle.json").read_bytes()
        line = ("train", "--data", "sample", "--symbols", "KO,PG", "--start", "2000-01-01", "--timesteps", 4096)
        apart = tradekit(*line, "--seed", 3, "--json", "--out", "elsewhere", cwd=desk)
        said = apart.json
        assert apart.status == (0 if said["healthy"] else 1)
        assert (said["policy"], said["promoted"], said["bundle"]) == ("symbol_ppo", False, "elsewhere/bundle")
        assert json.loads((desk / "elsewhere" / "bundle" / "bundle.json").read_text())["seed"] == 3
        assert (desk / "policies" / "symbol_ppo" / "bundle" / "bundle.json").read_bytes() == before
        put = tradekit(*line, "--json", cwd=desk).json
        after = (desk / "policies" / "symbol_ppo" / "bundle" / "bundle.json").read_bytes()
        assert (after != before) == put["promoted"] == put["healthy"]

    def test_too_few_bars_is_an_error_that_leaves_nothing(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        answer = tradekit("train", "--data", "prices.csv", "--end", "2020-03-01", cwd=desk)
        assert answer.status == 2
        assert answer.error.startswith("prices.csv: ")
        assert not (desk / "policies" / "symbol_ppo" / "runs").exists()

    def test_two_policies_have_to_be_told_apart(self, tradekit: Callable[..., Answer], desk: Path) -> None:
        other = desk / "policies" / "other"
        other.mkdir()
        (other / "recipe.toml").write_bytes((desk / "policies" / "symbol_ppo" / "recipe.toml").read_bytes())
        answer = tradekit("train", cwd=desk)
        assert answer.status == 2
        assert answer.error == "several policies; name one: other, symbol_ppo"


@pytest.mark.slow
def test_the_exchange_answers_until_it_is_interrupted(repository: Path, desk: Path) -> None:
    line = [sys.executable, "-m", "tradekit", "exchange", "--data", "prices.csv", "--port", "0"]
    environment = {"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"}
    one = subprocess.Popen(line, cwd=desk, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert one.stdout is not None
        url = one.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        with pytest.raises(HTTPError, match="Unauthorized"):  # it listens, and wants keys
            urlopen(f"{url}/v2/account", timeout=5)
        one.send_signal(signal.SIGINT)
        assert one.communicate(timeout=20) == ("", "")
        assert one.returncode == 0
    finally:
        one.kill()
        one.communicate()


def test_progress_goes_to_standard_error_only(process: Callable[..., Answer], desk: Path) -> None:
    answer = process("backtest", "--walk-forward", *FEW, "--json", cwd=desk)
    assert answer.status == 0
    assert np.isfinite(answer.json["strategies"][0]["metrics"]["sharpe"])
    assert answer.err.splitlines()[0] == "backtest: 0/12 buy_and_hold, window 1 of 5"
    assert all(line.startswith("backtest: ") for line in answer.err.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "dates", "windows"),
    [
        ("hourly_ibkr", ("2024-09-03", "2025-10-31"), (30, 10)),
        ("daily_core_adj", ("2010-01-04", "2017-12-29"), (756, 126)),  # three of the symbols are listed on the way
    ],
)
def test_every_strategy_runs_on_real_prices(
    tradekit: Callable[..., Answer],
    desk: Path,
    shared_data: Path,
    source: str,
    dates: tuple[str, str],
    windows: tuple[int, int],
) -> None:
    given = ("--data", shared_data / source, "--start", dates[0], "--end", dates[1])
    answer = tradekit("backtest", "--walk-forward", *given, "--json", cwd=desk)
    assert answer.status == 0
    said = answer.json
    assert said["execution"]["fills_at"] == "open"
    assert (said["windowing"]["train_sessions"], said["windowing"]["test_sessions"]) == windows
    loaded = [one.strategy.name for one in load_strategies(find_desk(desk))]
    assert [one["name"] for one in said["strategies"]] == [*loaded, "perfect_foresight"]
    for one in said["strategies"][:-1]:
        assert one["metrics"], one["name"]
        assert one["audit"]["passed"]
        assert not [window for window in one["windows"] if window["failure"]]
