"""``tradekit data check``, ``repair``, ``fetch`` and ``list``, and --actions wherever --data is."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import prices
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.market.sources import load_panel
from tradekit.market.sources.alpaca import KEYS, URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

HEAD = "timestamp,symbol,close\n"
TWICE = HEAD + "2020-01-03,A,10\n2020-01-02,A,11\n2020-01-02,A,11\n"
ONE_SPLIT = "timestamp,symbol,split,dividend\n2020-10-01,AAA,4,0\n"


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """Return a csv with one row out of order and one repeated."""
    path = tmp_path / "twice.csv"
    path.write_text(TWICE)
    return path


@pytest.fixture
def raw(desk: Path) -> Path:
    """Return the desk, its prices stepping by AAA's split 4:1 on 2020-10-01, which actions.csv records."""
    path = prices(desk / "prices.csv", 500)
    table = pd.read_csv(path)
    before = ((table["symbol"] == "AAA") & (table["timestamp"] < "2020-10-01")).to_numpy()
    for name in ("open", "high", "low", "close"):
        table[name] = np.where(before, 4.0 * table[name], table[name])
    table["volume"] = np.where(before, 25_000, table["volume"])
    table.to_csv(path, index=False)
    (desk / "actions.csv").write_text(ONE_SPLIT)
    return desk


class TestCheck:
    def test_a_clean_source_is_ok(self, tradekit: Callable[..., Answer]) -> None:
        answer = tradekit("data", "check", "synthetic:noise?bars=300&symbols=2")
        assert answer.status == 0
        assert answer.out.splitlines()[-1] == "ok: 600 rows of 2 symbols; 0 errors, 0 warnings, 0 notes"

    def test_warnings_are_no_negative_verdict(self, tradekit: Callable[..., Answer]) -> None:
        answer = tradekit("data", "check", "sample")
        assert answer.status == 0
        assert answer.out.startswith("warning stale            RRC: ")
        assert answer.out.splitlines()[-1].startswith("ok with warnings: ")

    def test_errors_are_named_with_the_repair_and_end_with_1(
        self, tradekit: Callable[..., Answer], twice: Path
    ) -> None:
        answer = tradekit("data", "check", twice)
        assert answer.status == 1
        assert answer.err == ""
        lines = answer.out.splitlines()
        assert [line.split()[:2] for line in lines[:2]] == [["error", "duplicate"], ["error", "order"]]
        assert lines[-2].startswith("not ok: 3 rows of 1 symbol; 2 errors, ")
        assert lines[-1] == f"next: tradekit data repair {twice} --ask sort,drop_duplicates --out FILE"

    def test_the_next_line_can_be_pasted(self, tradekit: Callable[..., Answer], twice: Path) -> None:
        spaced = twice.rename(twice.with_name("my prices.csv"))
        said = tradekit("data", "check", spaced).out.splitlines()[-1]
        line = shlex.split(said.removeprefix("next: tradekit ").replace("FILE", "clean.csv"))
        assert tradekit(*line, cwd=twice.parent).status == 0
        assert tradekit("data", "check", "clean.csv").status == 0

    def test_json_is_the_report(self, tradekit: Callable[..., Answer], twice: Path) -> None:
        answer = tradekit("data", "check", twice, "--json")
        assert answer.status == 1
        assert (answer.json["verdict"], answer.json["ok"], answer.json["counts"]["error"]) == ("not ok", False, 2)
        (duplicate,) = (found for found in answer.json["findings"] if found["check"] == "duplicate")
        assert duplicate["rows"] == [2]
        assert duplicate["timestamps"] == ["2020-01-02"]

    def test_a_real_file_with_two_of_every_column(self, tradekit: Callable[..., Answer], shared_data: Path) -> None:
        path = shared_data / "messy" / "SPY_1h_moneytree_raw.csv"
        answer = tradekit("data", "check", path)
        assert answer.status == 1
        assert answer.out.splitlines()[-1] == (
            f"next: tradekit data repair {path} --ask merge_columns,localise:America/New_York,keep_last --out FILE"
        )
        assert tradekit("data", "check", path, "--json").json["checks"]["parallel_columns"] == 5

    def test_an_error_that_only_the_source_can_mend(self, tradekit: Callable[..., Answer], shared_data: Path) -> None:
        answer = tradekit("data", "check", shared_data / "messy" / "DHR_spinoff_misadjusted.parquet")
        assert answer.status == 1
        assert "2016-07-05" in answer.out
        assert "next:" not in answer.out
        assert answer.out.splitlines()[-1] == "errors without a repair can be mended at the source only"

    def test_raw_prices_ask_for_their_actions(self, tradekit: Callable[..., Answer], raw: Path) -> None:
        answer = tradekit("data", "check", "prices.csv", cwd=raw)
        assert answer.status == 1
        assert answer.out.splitlines()[-1].endswith("--ask apply_actions [--actions FILE] --out FILE")


class TestRepair:
    def test_counts_what_was_changed_and_what_was_not(self, tradekit: Callable[..., Answer], twice: Path) -> None:
        out = twice.with_name("clean.csv")
        answer = tradekit("data", "repair", twice, "--ask", "drop_duplicates, sort,drop_stale", "--out", out)
        assert answer.status == 0
        assert "drop_duplicates: 1 change\n" in answer.out
        assert "drop_stale: nothing to do\n" in answer.out
        assert answer.out.splitlines()[-2:] == [f"table  {out}", f"report {out}.repairs.json"]
        assert out.read_text() == HEAD + "2020-01-02,A,11.0\n2020-01-03,A,10.0\n"
        assert twice.read_text() == TWICE
        report = json.loads(out.with_name("clean.csv.repairs.json").read_text())
        assert report["counts"]["drop_duplicates"] == 1

    def test_json(self, tradekit: Callable[..., Answer], twice: Path) -> None:
        out = twice.with_name("clean.parquet")
        said = tradekit("data", "repair", twice, "--ask", "drop_duplicates,drop_stale", "--out", out, "--json").json
        assert (said["counts"], said["unused"], said["rows"]) == ({"drop_duplicates": 1}, ["drop_stale"], 2)
        assert (said["table"], said["report"]) == (str(out), f"{out}.repairs.json")
        assert len(pd.read_parquet(out)) == 2

    def test_actions_are_applied(self, tradekit: Callable[..., Answer], raw: Path) -> None:
        line = ("data", "repair", "prices.csv", "--ask", "apply_actions", "--actions", "actions.csv")
        assert tradekit(*line, "--out", "adjusted.csv", cwd=raw).status == 0
        given, mended = pd.read_csv(raw / "prices.csv"), pd.read_csv(raw / "adjusted.csv")
        before = (given["symbol"] == "AAA") & (given["timestamp"] < "2020-10-01")
        expected = np.where(before, given["close"] / 4.0, given["close"])
        np.testing.assert_allclose(mended["close"], expected, rtol=1e-12)

    @pytest.mark.parametrize("taken", ["twice.csv", "other.csv", "new.csv"])
    def test_no_file_is_written_over(self, tradekit: Callable[..., Answer], twice: Path, taken: str) -> None:
        for name in ("other.csv", "new.csv.repairs.json"):
            twice.with_name(name).write_text("kept")
        answer = tradekit("data", "repair", "twice.csv", "--ask", "sort", "--out", taken, cwd=twice.parent)
        assert answer.status == 2
        assert "exists already; a repair is never written over a file" in answer.error
        assert twice.read_text() == TWICE
        assert {twice.with_name(name).read_text() for name in ("other.csv", "new.csv.repairs.json")} == {"kept"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ("--ask srot --out new.csv", "unknown repair 'srot'; did you mean sort?"),
            ("--ask , --out new.csv", "no repair asked for; choose from stack_columns, "),
            ("--ask keep_first,keep_last --out new.csv", "contradict each other; ask for one"),
            ("--ask sort --out new.txt", "new.txt: neither .parquet nor .csv"),
            ("--ask sort --out none/new.csv", "none/new.csv: no folder none; make it first"),
            ("--ask sort --actions a.csv --out new.csv", "--actions is for apply_actions; add it to --ask; see: "),
            ("--ask apply_actions --actions a.csv --out new.csv", "a.csv: no such file or folder; check the path"),
            ("--ask sort", "Missing option '--out'; see: tradekit data repair --help"),
            ("--out new.csv", "Missing option '--ask'; see: tradekit data repair --help"),
        ],
    )
    def test_a_wrong_call(self, tradekit: Callable[..., Answer], twice: Path, options: str, message: str) -> None:
        answer = tradekit("data", "repair", "twice.csv", *options.split(), cwd=twice.parent)
        assert (answer.status, answer.out) == (2, "")
        assert message in answer.error
        assert [path.name for path in twice.parent.iterdir()] == ["twice.csv"]


class TestFetch:
    @pytest.fixture
    def market(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Point the Alpaca source at an exchange on this machine and return a cache folder."""
        panel = load_panel(prices(tmp_path / "bars.csv", 30))
        settings = Settings(start=len(panel) - 1, key_id="KEY", secret_key="SECRET")
        with ExchangeServer(Exchange(panel, settings)) as server:
            for name, value in zip((*KEYS, URL), ("KEY", "SECRET", server.url), strict=True):
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("TRADEKIT_CACHE", str(tmp_path / "unused"))
            yield tmp_path / "cache"

    def test_prints_the_file_which_the_list_then_has(self, tradekit: Callable[..., Answer], market: Path) -> None:
        line = ("data", "fetch", "alpaca", "--symbols", "AAA,BBB", "--start", "2020-01-06", "--cache", market)
        answer = tradekit(*line)
        assert answer.status == 0
        (path,) = market.glob("*.parquet")
        assert answer.out == f"{path}\n"
        assert load_panel(path).symbols == ("AAA", "BBB")
        assert tradekit(*line, "--json").json["path"] == str(path)

        said = tradekit("data", "list", "--cache", market, "--json").json
        assert said["cache"] == str(market)
        (entry,) = said["fetched"]
        assert (entry["path"], entry["intact"], entry["request"]["start"]) == (str(path), True, "2020-01-06")
        assert f"{path.name}  {entry['rows']} bars, 2020-01-06 to " in tradekit("data", "list", "--cache", market).out
        path.write_bytes(b"altered")
        assert "MISSING OR ALTERED: fetch it again" in tradekit("data", "list", "--cache", market).out

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("yaho:SPY", "'yaho' cannot be fetched; did you mean yahoo?"),
            ("yahoo", "yahoo: no symbols; write them as yahoo:SPY,AAPL"),
            ("alpaca:SPY --frequency 1hr", "no bars of '1hr'; did you mean 1h?"),
            ("alpaca:SPY --start soon", "cannot read the date 'soon'; write YYYY-MM-DD"),
            ("alpaca:SPY --start 2020-02-01 --end 2020-01-01", "start 2020-02-01 is after end 2020-01-01; swap them"),
            ("alpaca:SPY", "needs APCA_API_KEY_ID and APCA_API_SECRET_KEY in the environment"),
        ],
    )
    def test_a_wrong_call(
        self,
        tradekit: Callable[..., Answer],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        line: str,
        message: str,
    ) -> None:
        for name in KEYS:
            monkeypatch.delenv(name, raising=False)
        answer = tradekit("data", "fetch", *line.split(), "--cache", tmp_path / "cache")
        assert (answer.status, answer.out) == (2, "")
        assert message in answer.error
        assert not (tmp_path / "cache").exists()


class TestActions:
    COMMANDS = (
        ("data", "info"),
        ("backtest", "--strategies", "buy_and_hold"),
        ("backtest", "--walk-forward", "--strategies", "buy_and_hold"),
        ("stress", "--strategies", "buy_and_hold"),
        ("audit", "momentum"),
        ("paper", "start", "--strategy", "buy_and_hold", "--bars", "5"),
    )

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_raw_prices_are_refused_without_and_taken_with(
        self, tradekit: Callable[..., Answer], raw: Path, command: tuple[str, ...]
    ) -> None:
        refused = tradekit(*command, "--data", "prices.csv", cwd=raw)
        assert refused.status == 2
        assert "AAA steps by a 4:1 split on 2020-10-01" in refused.error
        assert "load it with its actions (--actions FILE" in refused.error
        taken = tradekit(*command, "--data", "prices.csv", "--actions", "actions.csv", "--json", cwd=raw)
        assert taken.status == 0
        assert taken.json

    @pytest.mark.parametrize("command", [("train",), ("exchange", "--port", "0")], ids=" ".join)
    def test_the_others_read_the_file_too(
        self, tradekit: Callable[..., Answer], raw: Path, command: tuple[str, ...]
    ) -> None:
        refused = tradekit(*command, "--data", "prices.csv", cwd=raw)
        assert (refused.status, "--actions FILE" in refused.error) == (2, True)
        answer = tradekit(*command, "--data", "prices.csv", "--actions", "nowhere.csv", cwd=raw)
        assert answer.status == 2
        assert answer.error == "nowhere.csv: no such file or folder; check the path"

    def test_the_closes_are_the_adjusted_ones(self, tradekit: Callable[..., Answer], raw: Path) -> None:
        line = ("data", "info", "prices.csv", "--end", "2020-09-30", "--actions", "actions.csv", "--json")
        held = tradekit(*line, cwd=raw).json
        given = pd.read_csv(raw / "prices.csv")
        last = given[(given["symbol"] == "AAA") & (given["timestamp"] <= "2020-09-30")]["close"].iloc[-1]
        assert held["symbols"][0]["last_close"] == pytest.approx(last / 4.0, rel=1e-6)

    def test_a_spec_may_name_them_beside_the_desk_s_prices(self, tradekit: Callable[..., Answer], raw: Path) -> None:
        spec = raw / "backtests" / "walk_forward.toml"
        spec.write_text(spec.read_text().replace("[windows]", 'actions = "actions.csv"\n[windows]'))
        line = ("backtest", "--walk-forward", "--strategies", "buy_and_hold", "--json")
        assert tradekit(*line, cwd=raw / "strategies").status == 0

        (raw / "actions.csv").unlink()
        assert tradekit(*line, cwd=raw).error == "actions.csv: no such file or folder; check the path"
        assert tradekit(*line, "--data", "synthetic:noise?bars=900&symbols=2", cwd=raw).status == 0
