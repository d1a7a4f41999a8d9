"""Calibration from end to end: sessions on an exchange whose costs are known, and the model that comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.live.toys import Drift
from tradekit.desk.specs import read_costs
from tradekit.errors import SessionError
from tradekit.live.calibrate import calibrate, to_toml
from tradekit.live.session import start
from tradekit.live.spec import ExchangeSpec, SessionSpec
from tradekit.market.costs import CostModel

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = SessionSpec(symbols=("AAPL", "AMD", "GE", "JPM", "KO", "XOM"), bars=40, history=10)
TRUE = CostModel(commission_bps=1.0, spread_bps=3.0, slippage_bps=8.0, slippage_mode="sampled", impact_coefficient=0.03)


def session(desk: Path, true: CostModel, **more: object) -> Path:
    spec = replace(SAMPLE, exchange=ExchangeSpec(costs=true), **more)  # type: ignore[arg-type]
    return start(spec, Drift(), desk).journal


def test_known_costs_are_recovered(tmp_path: Path) -> None:
    found = calibrate([session(tmp_path, TRUE)])
    fit = found.fit
    assert fit.fills > 100
    assert fit.proportional_bps.low < 3.0 + 4.0 < fit.proportional_bps.high
    assert fit.proportional_bps.high - fit.proportional_bps.low < 3.0
    assert fit.impact_coefficient.low < 0.03 < fit.impact_coefficient.high
    assert fit.commission_bps.low <= 1.0 <= fit.commission_bps.high
    assert fit.dispersion_bps == pytest.approx(8.0 / 12**0.5, rel=0.15)  # of a uniform draw
    # The model the session ran on was another one; what is written is what was paid.
    assert found.costs.spread_bps == fit.proportional_bps.value
    assert found.costs.slippage_bps == 0.0
    path = tmp_path / "calibrated.toml"
    path.write_text(to_toml(found), encoding="utf-8")
    assert read_costs(path) == found.costs
    assert f"# {fit.proportional_bps.low:.6g} to " in path.read_text(encoding="utf-8")


def test_without_noise_the_truth_comes_back(tmp_path: Path) -> None:
    fit = calibrate([session(tmp_path, replace(TRUE, slippage_mode="worst"))]).fit
    assert fit.proportional_bps.value == pytest.approx(11.0, rel=1e-6)
    assert fit.impact_coefficient.value == pytest.approx(0.03, rel=1e-6)
    assert fit.commission_bps.value == pytest.approx(1.0, rel=1e-6)


def test_several_sessions_count_together_and_models_are_not_mixed(tmp_path: Path) -> None:
    first, second = session(tmp_path, TRUE, bars=12), session(tmp_path, TRUE, bars=12)
    both = calibrate([first, second])
    assert both.fit.fills == calibrate([first]).fit.fills + calibrate([second]).fit.fills
    assert both.sessions == ("local", "local-2")
    other = session(tmp_path, TRUE, bars=12, costs=CostModel(spread_bps=9.0))
    with pytest.raises(SessionError, match="different cost models"):
        calibrate([first, other])


def test_too_few_fills_say_so(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"\d+ fills that can be used, at least 30 are needed; run the session"):
        calibrate([session(tmp_path, TRUE, bars=4)])


def test_a_model_without_impact_cannot_scale_one(tmp_path: Path) -> None:
    found = calibrate([session(tmp_path, TRUE, costs=CostModel(impact_coefficient=0.0))])
    assert found.costs.impact_coefficient == 0.0
    assert any("impact cannot be fitted" in note for note in found.notes)
