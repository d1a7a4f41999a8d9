"""A classifier as a strategy: what it learns from, and what its guesses become."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.panels import random_panel
from tradekit.engine.classifier import ClassifierStrategy
from tradekit.errors import ConfigError, StrategyError
from tradekit.market.features import FeatureSpec
from tradekit.market.panel import equal_weight_returns

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())


def make(**settings: Any) -> ClassifierStrategy:
    return ClassifierStrategy("logistic", LOGISTIC, **settings)


@pytest.mark.parametrize("horizon", [1, 5])
def test_an_example_pairs_a_bar_with_the_return_after_its_fill(horizon: int) -> None:
    strategy, panel = make(horizon_bars=horizon), random_panel(200, 2, seed=4)
    table, rises, known = strategy.examples(panel)
    d = 150
    assert rises[d].tolist() == (panel.open[d + 1 + horizon] > panel.open[d + 1]).tolist()
    assert np.array_equal(table[d], strategy.features.compute(panel)[d])
    assert not known[-horizon - 1 :].any()
    assert known[-horizon - 2].all()
    assert not known[: strategy.features.lookback - 1].any()


def test_close_only_data_is_judged_at_the_close() -> None:
    panel = random_panel(200, 2, seed=4, close_only=True)
    _, rises, _ = make(horizon_bars=1).examples(panel)
    assert rises[150].tolist() == (panel.close[152] > panel.close[151]).tolist()


def test_no_label_reaches_past_the_train_slice() -> None:
    """What comes after the slice cannot be learnt: change it, and the fit is the same to the bit."""
    panel = random_panel(600, 3, seed=6)
    later = np.arange(600) >= 400
    changed = {name: np.where(later[:, None], getattr(panel, name) * 3.0, getattr(panel, name)) for name in PRICES}
    other = replace(panel, **changed)
    one, two = make().fit(panel[:400]), make().fit(other[:400])
    assert one.levels == two.levels
    assert np.array_equal(one.weights(panel[:400]), two.weights(panel[:400]), equal_nan=True)


PRICES = ("open", "high", "low", "close")


def test_levels_are_quantiles_of_the_smoothed_guesses_in_training() -> None:
    import pandas as pd

    panel = random_panel(600, 3, seed=6)
    learnt = make(sell=0.3, buy=0.8, smooth_bars=4).fit(panel[:500])
    table = learnt.features.compute(panel)
    raw = np.full(table.shape[:2], np.nan)
    known = ~np.isnan(table).any(axis=2)
    raw[known] = learnt.fitted.predict_proba(table[known])[:, 1]
    smooth = pd.DataFrame(raw).rolling(4).mean().to_numpy()
    trained = smooth[:500][~np.isnan(smooth[:500])]
    assert learnt.levels == pytest.approx(np.quantile(trained, [0.3, 0.8]), abs=1e-8)
    expected = np.where(smooth >= learnt.levels[1], 1 / 3, np.where(smooth <= learnt.levels[0], 0.0, np.nan))
    clear = np.abs(smooth[..., None] - np.array(learnt.levels)).min(axis=2) > 1e-6
    weights = learnt.weights(panel)
    assert clear.mean() > 0.5
    assert np.array_equal(weights[clear], expected[clear], equal_nan=True)


def test_finds_a_planted_edge() -> None:
    """The bar after the fill goes on in the direction of the decision bar: d up means d + 2 up."""
    rng = np.random.default_rng(3)
    steps = rng.normal(0.0, 0.01, (1500, 3))
    for t in range(2, 1500):
        steps[t] += 0.01 * np.sign(steps[t - 2])
    close: Floats = 100.0 * np.exp(np.cumsum(steps, axis=0))
    panel = replace(random_panel(1500, 3, close_only=True), close=close, benchmark_returns=equal_weight_returns(close))
    fitted = make(sell=0.1, buy=0.9, horizon_bars=1, smooth_bars=1).fit(panel[:1000])
    weights, test = fitted.weights(panel), slice(1000, 1498)
    later = panel.close[1002:] / panel.close[1001:-1] - 1.0
    bought, sold = weights[test] > 0.0, weights[test] == 0.0
    assert bought.sum() > 20
    assert sold.sum() > 20
    assert (later[bought] > 0.0).mean() > 0.75
    assert (later[sold] < 0.0).mean() > 0.75


def test_smoothing_and_wide_levels_keep_it_from_changing_its_mind() -> None:
    """The same learner on bars without an edge: acting on every guess trades at least ten times as much."""
    from tradekit.engine.simulate import simulate

    panel = random_panel(900, 4, seed=9)

    def traded(**settings: Any) -> float:
        learnt: Any = make(**settings).fit(panel[:600])
        ledger = simulate(learnt, panel, start=600)
        return float(ledger.traded.sum() / ledger.equity.mean())

    assert traded(sell=0.4999, buy=0.5001, smooth_bars=1, horizon_bars=1) > 10.0 * traded()


def test_the_lookback_counts_the_smoothed_bars() -> None:
    spec = FeatureSpec.named("return_5")
    assert make(features=spec, smooth_bars=3).lookback == spec.lookback + 2


def test_a_classifier_that_tells_nothing_apart_does_nothing() -> None:
    from sklearn.dummy import DummyClassifier

    panel: Panel = random_panel(400, 2)
    learnt = ClassifierStrategy("dummy", DummyClassifier()).fit(panel)
    assert np.isnan(learnt.weights(panel)).all()


def test_must_learn_first_and_from_enough() -> None:
    with pytest.raises(StrategyError, match="logistic: nothing learnt yet; run it with backtest --walk-forward"):
        make().weights(random_panel(200, 2))
    with pytest.raises(ValueError, match="20 bars hold no two examples"):
        make().fit(random_panel(20, 2))


@pytest.mark.parametrize(
    "settings", [{"sell": 0.6, "buy": 0.5}, {"sell": -0.1}, {"buy": 1.1}, {"horizon_bars": 0}, {"smooth_bars": 0}]
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"logistic: (sell|horizon_bars)"):
        make(**settings)
