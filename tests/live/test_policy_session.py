"""The shipped policy in the shipped session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tradekit.engine.simulate import simulate
from tradekit.errors import BundleError
from tradekit.live.session import start
from tradekit.live.spec import SessionSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.policy import PolicyStrategy
    from tradekit.market.panel import Panel


@pytest.fixture
def policy(repository: Path) -> PolicyStrategy:
    from tradekit.learn.policy import PolicyStrategy

    folder = repository / "policies" / "symbol_ppo"
    if not (folder / "bundle").is_dir():
        pytest.skip(f"no bundle in {folder}; train it with: tradekit train")
    return PolicyStrategy.load(folder)


def test_the_shipped_session_decides_as_the_backtest(
    policy: PolicyStrategy, sample: Panel, repository: Path, tmp_path: Path
) -> None:
    spec = SessionSpec.from_toml(repository / "paper" / "local.toml")
    report = start(spec, policy, tmp_path).report
    assert (report["decision_parity"], report["equity_difference"], report["cash_difference"]) == (1.0, 0.0, 0.0)
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
    assert report["equity"] == simulate(policy, sample, start=len(sample) - 120).equity.tolist()


def test_on_bars_it_was_not_trained_for_it_is_refused(
    policy: PolicyStrategy, shared_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="was trained on"):
        start(SessionSpec(data=str(shared_data / "hourly_ibkr"), bars=5), policy, tmp_path)
