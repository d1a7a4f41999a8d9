"""What users get wrong: one line that names the file and the mend, exit status 2, no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cli.conftest import prices

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

HEAD = "timestamp,open,high,low,close,volume\n"
DAYS = ["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08"]


def row(stamp: str, close: float | str = 10.0) -> str:
    return f"{stamp},10,11,9,{close},1000\n"


def rows(*stamps: str) -> str:
    return HEAD + "".join(map(row, stamps))


BAD = {
    "an empty file": ("", r"the file is empty; download or export it again"),
    "a header alone": (HEAD, r"no rows"),
    "wrong columns": ("a,b,c\n1,2,3\n", r"no timestamp column; it has a, b, c; rename"),
    "NaN": (rows(*DAYS[:2]) + row(DAYS[2], "nan"), r"line 4 \(2020-01-06\): close .*; correct or drop that row"),
    "a negative price": (rows(*DAYS[:2]) + row(DAYS[2], -5), r"line 4 .*close is not positive .*; correct or drop"),
    "a duplicated timestamp": (rows(DAYS[0], DAYS[1], DAYS[1]), r"line 4.*appears twice; keep one row"),
    "unsorted timestamps": (rows(DAYS[1], DAYS[0], DAYS[2]), r"line 3.*earlier than the row before; sort the rows"),
    "mixed time zones": (
        rows("2020-01-02 09:30:00-05:00", "2020-01-02 16:30:00+00:00"),
        r"line 3: mixed time zones .*; write every row in UTC",
    ),
    "one bar": (rows(DAYS[0]), r"one bar only; trading needs"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file(tradekit: Callable[..., Answer], tmp_path: Path, what: str) -> None:
    text, message = BAD[what]
    (tmp_path / "bars.csv").write_text(text)
    answer = tradekit("data", "info", "bars.csv", cwd=tmp_path)
    assert answer.status == 2
    assert answer.out == ""
    assert answer.error.startswith("bars.csv")
    assert re.search(message, answer.error)
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    "command", [("backtest", "--walk-forward"), ("stress",), ("audit", "momentum"), ("paper", "start")]
)
def test_every_command_says_the_same_of_a_bad_file(
    tradekit: Callable[..., Answer], desk: Path, command: tuple[str, ...]
) -> None:
    (desk / "bars.csv").write_text(rows(DAYS[1], DAYS[0]))
    options = ("--strategy", "momentum") if command[0] == "paper" else ()
    answer = tradekit(*command, "--data", "bars.csv", *options, cwd=desk)
    assert answer.status == 2
    assert answer.error.startswith("bars.csv, line 3: ")


def test_a_check_of_no_rows_is_no_pass(tradekit: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(HEAD)
    answer = tradekit("data", "check", "bars.csv", cwd=tmp_path)
    assert (answer.status, answer.out) == (2, "")
    assert answer.error == "bars.csv: no rows; the file holds only a header"


def test_a_truncated_parquet(tradekit: Callable[..., Answer], tmp_path: Path) -> None:
    import pandas as pd

    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    frame = pd.DataFrame({"timestamp": pd.date_range("2020-01-01", periods=300), "close": np.linspace(10.0, 20.0, 300)})
    frame.to_parquet(whole)
    cut.write_bytes(whole.read_bytes()[:-1000])
    assert tradekit("data", "info", whole).status == 0
    answer = tradekit("data", "info", cut)
    assert answer.status == 2
    assert answer.error.startswith(f"{cut}: cannot be read")
    assert answer.error.endswith("; download or export it again")


def test_one_symbol_works(tradekit: Callable[..., Answer], desk: Path) -> None:
    prices(desk / "one.csv", 400, ("ONE",))
    answer = tradekit("backtest", "--data", "one.csv", "--strategies", "buy_and_hold,sma_cross", "--json", cwd=desk)
    assert answer.status == 0
    assert answer.json["data"]["symbols"] == ["ONE"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("data", "info", "sample", "--symbols", "AAPL,KOO"), "no symbol KOO; did you mean KO?"),
        (("data", "info", "sample", "--symbols", ","), "no symbols given; name at least one"),
        (("data", "info", "sample", "--start", "soon"), "cannot read the date 'soon'; write YYYY-MM-DD"),
        (("data", "info", "sample", "--start", "2050-01-01"), "the data covers 1990-01-02 to 2022-12-28"),
        (("data", "info", "nowhere/bars.csv"), "nowhere/bars.csv: no such file or folder; check the path"),
        (("data", "info", "smaple"), "did you mean sample?"),
        (("backtest", "--strategies", "momentun"), "no strategy 'momentun' in"),
        (("backtest", "--strategies", ","), "strategies is empty; name at least one"),
        (("backtest", "--strategies", "momentum,momentum"), "strategies has 'momentum' twice; name each once"),
        (("backtest", "--walk-forward", "--seeds", "1,x"), "'1,x' is not a list of different whole numbers"),
        (("backtest", "--walk-forward", "--out", "tradekit.toml"), "tradekit.toml exists already; name another folder"),
        (("backtest", "--walk-forward", "--out", "tradekit.toml/run"), "tradekit.toml is a file; give another folder"),
        (("stress", "--out", "tradekit.toml/run"), "tradekit.toml is a file; give another folder"),
        (("stress", "--seeds", "1,1"), "'1,1' is not a list of different whole numbers"),
        (("backtest", "--costs", "realistc"), "no cost preset or file 'realistc'; did you mean realistic?"),
        (("backtest", "--cash", "0"), "cash is 0.0; give dollars above 0"),
        (("backtest", "--cash", "nan"), "cash is nan; give dollars above 0"),
        (("backtest", "--spec", "none.toml"), "none.toml: no such file; check the path"),
        (
            ("backtest", "--walk-forward", "--end", "2020-06-01"),
            "give more data (--start, --end) or lower train_sessions",
        ),
        (("report", "nothing"), "no run 'nothing' in"),
        (("report",), "no runs yet; run: tradekit backtest --walk-forward"),
        (("paper", "report"), "no sessions yet; run: tradekit paper start"),
        (("paper", "start", "none.toml"), "no session spec 'none.toml', as a path or in "),
        (("paper", "start", "locla"), "did you mean local?"),
        (("paper", "start", "--symbols", "ZZZ", "--strategy", "momentum"), "no symbol ZZZ"),
        (("train", "nobody"), "no policy 'nobody' with a recipe.toml in "),
        (("train", "symbol_po"), "did you mean symbol_ppo?"),
        (("train", "--recipe", "none.toml"), "none.toml: no such recipe, neither here nor in "),
        (("exchange", "--data", "nowhere/x"), "nowhere/x: no such file or folder"),
    ],
)
def test_a_wrong_setting(tradekit: Callable[..., Answer], desk: Path, line: tuple[str, ...], message: str) -> None:
    answer = tradekit(*line, cwd=desk)
    assert answer.status == 2
    assert message in answer.error


@pytest.mark.parametrize(
    "line",
    [("backtest", "--walk-forward"), ("stress",), ("train",), ("paper", "start"), ("audit", "momentum"), ("report",)],
)
def test_no_desk(tradekit: Callable[..., Answer], tmp_path: Path, line: tuple[str, ...]) -> None:
    answer = tradekit(*line, cwd=tmp_path)
    assert answer.status == 2
    assert answer.error.startswith(f"no desk here: neither {tmp_path} nor a folder above it")
    assert answer.error.endswith("run: tradekit init DIR")


def test_a_folder_that_cannot_be_written(tradekit: Callable[..., Answer], desk: Path) -> None:
    (desk / "taken").write_text("a file")
    line = ("backtest", "--data", "prices.csv", "--strategies", "buy_and_hold")
    answer = tradekit(*line, "--out", "taken/run", cwd=desk)
    assert answer.status == 2
    assert "taken" in answer.error
    (desk / "backtests" / "results").write_text("a file")
    answer = tradekit(*line, cwd=desk)
    assert answer.status == 2
    assert "backtests/results" in answer.error


def test_results_are_never_overwritten(tradekit: Callable[..., Answer], desk: Path) -> None:
    line = ("backtest", "--data", "prices.csv", "--strategies", "buy_and_hold", "--out", "run")
    assert tradekit(*line, cwd=desk).status == 0
    answer = tradekit(*line, cwd=desk)
    assert answer.status == 2
    assert answer.error.startswith("run exists already")


def test_a_broken_strategy_names_its_line(tradekit: Callable[..., Answer], desk: Path) -> None:
    (desk / "strategies" / "mine.py").write_text("x = 1\ny = (\n")
    answer = tradekit("backtest", "--walk-forward", cwd=desk)
    assert answer.status == 2
    assert answer.error.startswith("strategies/mine.py:2: syntax error")


def test_a_broken_spec_names_its_key(tradekit: Callable[..., Answer], desk: Path) -> None:
    spec = desk / "backtests" / "walk_forward.toml"
    spec.write_text(spec.read_text() + "[costs]\nspred_bps = 1\n")
    answer = tradekit("backtest", "--walk-forward", cwd=desk)
    assert answer.status == 2
    assert answer.error == f"{spec}: [costs]: unknown cost 'spred_bps'; did you mean spread_bps?"


def test_a_tampered_bundle(tradekit: Callable[..., Answer], desk: Path, repository: Path) -> None:
    bundle = desk / "policies" / "symbol_ppo" / "bundle"
    (desk / "strategies" / "symbol_ppo.py").write_bytes((repository / "strategies" / "symbol_ppo.py").read_bytes())
    weights = max(bundle.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    answer = tradekit("backtest", "--walk-forward", cwd=desk)
    assert answer.status == 2
    assert weights.name in answer.error
    sick = tradekit("doctor", "--json", cwd=desk)
    assert sick.status == 1
    failed = [check["name"] for check in sick.json["checks"] if check["ok"] is False]
    assert "policies/symbol_ppo/bundle" in failed


@pytest.mark.slow
def test_as_processes_of_their_own(process: Callable[..., Answer], desk: Path) -> None:
    (desk / "bars.csv").write_text(rows(DAYS[0], DAYS[0]))
    for line in (
        ("backtest", "--data", "bars.csv"),
        ("data", "info", "bars.csv"),
        ("audit", "momentum", "--data", "bars.csv"),
    ):
        answer = process(*line, cwd=desk)
        assert answer.status == 2
        assert answer.error.startswith("bars.csv, line 3")
        assert answer.out == ""


def test_a_message_of_two_lines_becomes_one(tradekit: Callable[..., Answer], desk: Path) -> None:
    (desk / "strategies" / "mine.py").write_text("raise ValueError('first\\nsecond')")
    answer = tradekit("audit", "mine", cwd=desk)
    assert answer.error == "strategies/mine.py:1: ValueError while the file was loaded: first second"


@pytest.mark.parametrize("command", [("backtest", "--walk-forward"), ("stress",)])
@pytest.mark.parametrize("option", ["--cost-shock", "--slippage-shock"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "twice"])
def test_a_factor_that_is_none_names_its_option(
    tradekit: Callable[..., Answer], desk: Path, command: tuple[str, ...], option: str, value: str
) -> None:
    answer = tradekit(*command, option, value, cwd=desk)
    assert answer.status == 2
    assert answer.error.startswith(f"Invalid value for '{option}': '{value}' is not a number, 0 or more")


def test_an_unknown_key_of_a_scenario_names_file_table_and_mend(tradekit: Callable[..., Answer], desk: Path) -> None:
    spec = desk / "worse.toml"
    spec.write_text('[data]\nsource = "prices.csv"\n[[scenarios]]\nname = "g"\nkind = "gap"\nsize = -0.1\nsed = 1\n')
    answer = tradekit("stress", "--spec", "worse.toml", cwd=desk)
    assert answer.status == 2
    assert answer.error == "worse.toml: [[scenarios]] 1: unknown scenario setting 'sed'; did you mean seed?"


def test_an_unknown_key_of_a_spec_names_the_file(tradekit: Callable[..., Answer], desk: Path) -> None:
    spec = desk / "backtests" / "mine.toml"
    for text, message in (
        (
            '[data]\nsource = "prices.csv"\n[windows]\ntrain_session = 5\n',
            r"\[windows\]: .*did you mean train_sessions",
        ),
        (
            '[data]\nsource = "prices.csv"\n[windows]\nrefit = "often"\n',
            "refit is 'often'; choose frozen or each or warm",
        ),
        ('strategys = ["momentum"]\n[data]\nsource = "prices.csv"\n', "did you mean strategies"),
    ):
        spec.write_text(text)
        answer = tradekit("backtest", "--walk-forward", "--spec", "backtests/mine.toml", cwd=desk)
        assert answer.status == 2
        assert answer.error.startswith("backtests/mine.toml")
        assert re.search(message, answer.error), answer.error


def test_a_window_longer_than_the_data(tradekit: Callable[..., Answer], desk: Path) -> None:
    spec = desk / "backtests" / "mine.toml"
    spec.write_text('[data]\nsource = "prices.csv"\n[windows]\ntrain_sessions = 5000\n')
    answer = tradekit("backtest", "--walk-forward", "--spec", spec, cwd=desk)
    assert (answer.status, answer.out) == (2, "")
    assert re.search(r"500 sessions cannot hold 5000 to train on and one to test; .*lower train_sessions", answer.error)
    assert list((desk / "backtests" / "results").glob("[!.]*")) == []


FALLS = """
import numpy as np
class Falls:
    name, lookback = "falls", 1
    def fit(self, train):
        if str(train.timestamps[0])[:10] > "2020-03-20" and str(train.timestamps[0])[:10] < "2020-05-01":
            raise ValueError("no such column")
        return self
    def weights(self, panel):
        return np.full(panel.close.shape, {weight})
strategy = Falls()
"""


def test_one_that_raises_in_one_window_is_named_and_the_rest_is_written(
    tradekit: Callable[..., Answer], desk: Path
) -> None:
    (desk / "strategies" / "falls.py").write_text(FALLS.format(weight=0.1))
    answer = tradekit("backtest", "--walk-forward", "--strategies", "falls,buy_and_hold", "--json", cwd=desk)
    assert answer.status == 1
    assert answer.error == "falls failed in 1 of 5 windows: ValueError: no such column"
    falls, held = answer.json["strategies"][:2]
    assert [one["failure"] for one in falls["windows"]].count(None) == 4
    assert held["metrics"]["total_return"] is not None


@pytest.mark.parametrize(
    ("weight", "message"),
    [("np.inf", "is infinite"), ("0.9", r"add up to 1\.8000 of equity"), ("[0.1, 0.1, 0.1]", "could not broadcast")],
)
def test_nonsense_leaves_its_strategy_out_and_the_rest_is_written(
    tradekit: Callable[..., Answer], desk: Path, weight: str, message: str
) -> None:
    (desk / "strategies" / "falls.py").write_text(FALLS.replace("2020-03-20", "2029-01-01").format(weight=weight))
    for mode in (("--walk-forward",), ("--data", "prices.csv")):
        answer = tradekit("backtest", *mode, "--strategies", "falls,buy_and_hold", "--json", cwd=desk)
        assert answer.status == 1
        assert re.search(message, answer.error), answer.error
        names = {one["name"]: one["skipped"] for one in answer.json["strategies"]}
        assert re.search(message, str(names["falls"]))
        assert names["buy_and_hold"] is None


def test_other_data_says_what_it_sets_aside(tradekit: Callable[..., Answer], desk: Path) -> None:
    prices(desk / "other.csv", 900)
    answer = tradekit("backtest", "--walk-forward", "--strategies", "buy_and_hold", "--data", "other.csv", cwd=desk)
    assert answer.status == 0
    assert "note: --data is not the spec's, whose windows of 250/60 sessions" in answer.err


def test_no_space_for_what_is_kept_or_written_leaves_nothing_half_done(
    desk: Path,
) -> None:
    command = (
        f"ulimit -f 8; exec {sys.executable} -m tradekit backtest --walk-forward --strategies buy_and_hold --fresh"
    )
    done = subprocess.run(["bash", "-c", command], cwd=desk, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert re.match(r"error: .*(free some space|file too large)", line, re.IGNORECASE), line
    assert "Traceback" not in done.stderr
    assert list((desk / "backtests" / "results").glob("*/manifest.json")) == []
