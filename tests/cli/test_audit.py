"""``tradekit audit``: what it prints, and what its options change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

RULE = """
import numpy as np

class Rule:
    name = "rule"
    {attributes}
    def fit(self, train):
        return self
    def weights(self, panel):
        rows = len(panel)
        up = np.zeros(panel.close.shape)
        {rule}
        return up / 2

strategy = Rule()
"""
MOMENTUM = "up[5:] = panel.close[5:] > panel.close[:-5]"
SHORT = "lookback = 3"
ONE_PEEK = "up[5:] = panel.close[5:] > panel.close[:-5]\n        up[200:201] = panel.close[201:202] > 0"
WAITS = """
import numpy as np
from tradekit.engine.strategy import Targets

class Waits:
    name, sleeves = "waits", True
    def fit(self, train):
        return self
    def start(self, portfolios):
        return None
    def decide(self, view, portfolios, state):
        print(f"pending {np.abs(portfolios.pending).max() > 0}")
        return Targets(np.full(portfolios.shares.shape, 0.5 * (view.bar % 2)))

strategy = Waits()
"""


def written(desk: Path, rule: str, attributes: str = "") -> str:
    (desk / "rule.py").write_text(RULE.format(rule=rule, attributes=attributes))
    return "./rule.py"


def test_how_much_history_a_decision_needs_is_said(tradekit: Callable[..., Answer], desk: Path) -> None:
    answer = tradekit("audit", written(desk, MOMENTUM), "--data", "prices.csv", cwd=desk)
    assert answer.status == 0
    assert answer.out.splitlines()[1] == (
        "a decision needs 6 bars, and does not depend on where history starts before them"
    )


def test_a_declared_lookback_that_is_too_short_is_a_verdict(tradekit: Callable[..., Answer], desk: Path) -> None:
    answer = tradekit("audit", written(desk, MOMENTUM, SHORT), "--data", "prices.csv", cwd=desk)
    assert answer.status == 1
    assert "its declared lookback is TOO SHORT" in answer.out


def test_dates_are_readable(tradekit: Callable[..., Answer], desk: Path) -> None:
    peek = "up[:-1] = panel.high[1:] > panel.high[:-1]"
    answer = tradekit("audit", written(desk, peek), "--data", "prices.csv", cwd=desk)
    assert answer.status == 1
    (line,) = [line for line in answer.out.splitlines() if line.startswith("its decision")]
    words = line.split()
    assert words[3] in ("AAA", "BBB")
    assert len(words[5]) == len("2020-01-02")
    assert line.endswith("when only later bars change (high)")


def test_the_end_of_the_data_used_is_said_in_words(tradekit: Callable[..., Answer], desk: Path) -> None:
    answer = tradekit("audit", written(desk, "up[:-5] = 1.0"), "--data", "prices.csv", cwd=desk)
    assert answer.status == 1
    assert answer.out.splitlines()[1].endswith("when later bars are left out")


def test_a_single_peek_is_found_when_every_bar_is_tried(tradekit: Callable[..., Answer], desk: Path) -> None:
    file = written(desk, ONE_PEEK)
    answer = tradekit("audit", file, "--data", "prices.csv", "--every-bar", cwd=desk)
    assert answer.status == 1
    assert "history" not in answer.out
    assert tradekit("audit", file, "--data", "prices.csv", "--cuts", 1, cwd=desk).status == 0


@pytest.mark.parametrize(("options", "waiting"), [((), False), (("--latency-bars", "1"), True)])
def test_a_closed_loop_is_driven_under_the_latency_given(
    tradekit: Callable[..., Answer], desk: Path, options: tuple[str, ...], waiting: bool
) -> None:
    (desk / "waits.py").write_text(WAITS)
    answer = tradekit("audit", "./waits.py", "--data", "prices.csv", "--cuts", 1, *options, cwd=desk)
    assert ("pending True" in answer.out) is waiting
    assert answer.status == 0


def test_fills_need_the_column_they_are_made_at(tradekit: Callable[..., Answer], desk: Path) -> None:
    lines = (desk / "prices.csv").read_text().splitlines()
    closes = [",".join(line.split(",")[k] for k in (0, 1, 5)) for line in lines]
    (desk / "closes.csv").write_text("\n".join(closes) + "\n")
    assert tradekit("audit", "equal_weight", "--data", "closes.csv", "--fill-at", "close", cwd=desk).status == 0
    answer = tradekit("audit", "equal_weight", "--data", "closes.csv", "--fill-at", "open", cwd=desk)
    assert answer.status == 2
    assert "fill_at='open' needs open, which this data does not have" in answer.error


def test_a_wrong_option(tradekit: Callable[..., Answer], desk: Path) -> None:
    answer = tradekit("audit", "momentum", "--fill-at", "noon", cwd=desk)
    assert answer.status == 2
    assert "'noon' is not one of 'auto', 'open', 'close'" in answer.err


def test_what_could_not_be_audited_is_no_success(tradekit: Callable[..., Answer], desk: Path) -> None:
    file = written(desk, "assert rows > 9999")
    answer = tradekit("audit", file, "--data", "prices.csv", cwd=desk)
    assert answer.status == 1
    assert answer.out.startswith("not audited: on part of the bars the strategy raised AssertionError")
