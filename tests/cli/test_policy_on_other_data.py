"""A policy trained on the user's own bars, from the first command to the last: trained, scored, stressed, shadowed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tradekit.desk.scaffold import init_desk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer

# One update: hardly more than random weights. Without a bias to HOLD those trade, so the policy is put in place.
RECIPE = """
[ppo]
timesteps = 512
environments = 8
steps = 64
batch = 128
epochs = 1
network = [8]
hold_bias = 0.0
"""


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "start"), [("hourly_ibkr", "2024-01-02"), ("daily_core_adj", "2014-01-02")])
def test_a_policy_of_the_user_s_bars(
    tradekit: Callable[..., Answer], shared_data: Path, tmp_path: Path, folder: str, start: str
) -> None:
    desk, data = tmp_path / "desk", ("--data", shared_data / folder, "--start", start)
    init_desk(desk)
    (desk / "policies" / "symbol_ppo" / "recipe.toml").write_text(RECIPE)
    trained = tradekit("train", *data, "--json", cwd=desk)
    assert trained.status == 0, trained.err
    assert trained.json["bundle"] == str(desk / "policies" / "symbol_ppo" / "bundle")
    strategies = ("--strategies", "buy_and_hold,symbol_ppo")
    for command in (("backtest", "--walk-forward"), ("stress", "--slippage-shock", 1.5)):
        answer = tradekit(*command, *data, *strategies, cwd=desk)
        assert answer.status == 0, answer.err
    walked, stressed = (
        json.loads(next((desk / "backtests" / "results").glob(f"*-{kind}/summary.json")).read_text())
        for kind in ("walk_forward", "stress")
    )
    demand_scored(walked)
    demand_scored(stressed)
    assert "slippage x1.5" in [one["name"] for one in stressed["scenarios"]]
    session = tradekit("paper", "start", *data, "--json", cwd=desk)
    assert session.status == 0, session.err
    assert (session.json["strategy"], session.json["bars"]) == ("symbol_ppo", 120)
    assert (session.json["decision_parity"], session.json["equity_difference"]) == (1.0, 0.0)
    assert session.json["orders"] > 0


def demand_scored(summary: dict[str, Any]) -> None:
    """Demand that the policy ran, traded and was scored on unseen bars alone; a crisis may lie outside the data."""
    (row,) = (row for row in summary["strategies"] if row["name"] == "symbol_ppo")
    assert (row["skipped"], row["seen_bars"]) == (None, 0)
    shocks = [one for one in summary["scenarios"] if one["kind"] != "replay"]
    cells = [cell for one in shocks for cell in one["cells"] if cell["strategy"] == "symbol_ppo"]
    assert len(cells) == len(shocks)
    drawn = [cell for cell in cells if cell["draws"]]  # paths have a length of their own
    for cell in (row, *cells):
        assert cell["skipped"] is None
        assert cell["metrics"]["bars"] == summary["data"]["scored"]["bars"] > 200 or cell in drawn
        assert cell["metrics"]["trades"] > 0
        assert math.isfinite(cell["metrics"]["sharpe"])
