"""Bars of a session come without side series: what needs them is refused before anything is journalled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tradekit.engine.classifier import ClassifierStrategy
from tradekit.errors import SessionError, StrategyError
from tradekit.live.session import start
from tradekit.live.spec import SessionSpec
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

SPEC = SessionSpec(symbols=("AAPL", "KO"), bars=5, history=300)


def test_features_of_a_side_series_are_refused_in_one_line(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    sees: Any = ClassifierStrategy("logistic", LogisticRegression(), features=FeatureSpec.named("return_1", "side:vix"))
    with pytest.raises(SessionError) as caught:
        start(SPEC, sees, tmp_path)
    assert str(caught.value) == (
        "logistic sees the side series vix, and bars of a session come without; choose a strategy that goes by its "
        "bars alone"
    )


class Reads:
    """A rule that asks its panel for a series by itself."""

    name, lookback = "reads", 2

    def fit(self, train: Panel) -> Reads:
        return self

    def weights(self, panel: Panel) -> Floats:
        return panel.series("vix")


def test_a_rule_that_asks_for_one_is_told_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=r"reads failed at .* no side series vix"):
        start(SPEC, Reads(), tmp_path)
