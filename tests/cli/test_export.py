"""``tradekit export``, and a backtest and a session on what it writes."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING

import pytest

from tradekit.desk.scaffold import init_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

BUNDLE = "policies/symbol_ppo/bundle"
LOADED = '"symbol_ppo")'


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return a desk as `tradekit init` writes it."""
    init_desk(tmp_path / "desk")
    return tmp_path / "desk"


def use_onnx(desk: Path) -> None:
    """Let the desk's strategy run the second file."""
    file = desk / "strategies" / "symbol_ppo.py"
    text = file.read_text()
    assert text.count(LOADED) == 1
    file.write_text(text.replace(LOADED, '"symbol_ppo", runtime="onnx")'))


def test_writes_the_file_and_its_digest_in_any_process(
    tradekit: Callable[..., Answer], process: Callable[..., Answer], fresh: Path
) -> None:
    answer = tradekit("export", cwd=fresh)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("10,000 observations: the same actions, probabilities within ")
    assert f'PolicyStrategy.load("{BUNDLE}", runtime="onnx")' in answer.out
    content = (fresh / BUNDLE / "policy.onnx").read_bytes()
    said = json.loads((fresh / BUNDLE / "bundle.json").read_text())
    assert said["exports"]["files"] == {"policy.onnx": hashlib.sha256(content).hexdigest()}
    again = process("export", BUNDLE, "--format", "onnx", "--json", cwd=fresh).json
    assert again["sha256"] == hashlib.sha256(content).hexdigest()
    assert (again["policy"], again["format"], again["observations"]) == ("symbol_ppo", "onnx", 10_000)
    assert 0.0 <= again["largest_difference"] <= 1e-12
    assert (fresh / BUNDLE / "policy.onnx").read_bytes() == content


@pytest.mark.slow
def test_a_backtest_on_it_has_the_same_equity_and_is_no_other_trial(
    tradekit: Callable[..., Answer], fresh: Path
) -> None:
    line = ("backtest", "--strategies", "symbol_ppo", "--symbols", "KO,PG", "--start", "2018-01-01", "--json", "--out")
    first = tradekit(*line, "one", cwd=fresh)
    assert tradekit("export", cwd=fresh).status == 0
    use_onnx(fresh)
    second = tradekit(*line, "two", cwd=fresh)
    assert first.status == second.status == 0
    assert (fresh / "one" / "equity.parquet").read_bytes() == (fresh / "two" / "equity.parquet").read_bytes()
    one, two = (answer.json["strategies"][0] for answer in (first, second))
    assert one["metrics"] == two["metrics"]
    assert [answer.json["trials"]["count"] for answer in (first, second)] == [1, 1]


def test_a_session_on_it_makes_the_same_decisions(tradekit: Callable[..., Answer], fresh: Path) -> None:
    spec = fresh / "paper" / "local.toml"
    spec.write_text(spec.read_text().replace("bars = 120 ", "bars = 30 "))
    use_onnx(fresh)
    refused = tradekit("paper", "start", cwd=fresh)
    assert refused.status == 2
    assert "has no policy.onnx; write it with: tradekit export " in refused.error
    assert tradekit("export", cwd=fresh).status == 0
    answer = tradekit("paper", "start", "--json", cwd=fresh)
    assert answer.status == 0
    report = answer.json
    assert (report["decision_parity"], report["equity_difference"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere/bundle.json: no such file; train the policy with `tradekit train`"),
        (("symbol_ppo", "--format", "torchscript"), "'torchscript' is not 'onnx'"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_one_line(
    tradekit: Callable[..., Answer], fresh: Path, arguments: tuple[str, ...], told: str
) -> None:
    answer = tradekit("export", *arguments, cwd=fresh)
    assert answer.status == 2
    assert told in answer.error


def test_without_the_extra_one_line_says_how_to_install_it(
    tradekit: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = tradekit("export", cwd=fresh)
    assert answer.status == 2
    assert answer.error.endswith("needs onnxruntime, not installed here; install with: pip install 'tradekit[onnx]'")
    assert not (fresh / BUNDLE / "policy.onnx").exists()
