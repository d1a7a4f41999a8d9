"""Out-of-fold probabilities: nothing of the future in them, and a leak would show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.panels import random_panel
from tradekit.engine.classifier import ClassifierStrategy
from tradekit.engine.futures import futures
from tradekit.engine.out_of_fold import out_of_fold
from tradekit.errors import ConfigError, DataError
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Floats, Panel

FIRST, FOLD = 260, 60
SEES = FeatureSpec.named("return_1", "return_5", "sma_gap_20")


def logistic(**settings: Any) -> ClassifierStrategy:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return ClassifierStrategy("logistic", model, features=SEES, **{"smooth_bars": 1, **settings})


def memory(**settings: Any) -> ClassifierStrategy:
    """Return a classifier that knows every answer it was ever given, and guesses at others."""
    nearest = KNeighborsClassifier(1)
    return ClassifierStrategy("memory", nearest, features=SEES, **{"smooth_bars": 1, **settings})


def honest(strategy: ClassifierStrategy, panel: Panel) -> Floats:
    return out_of_fold(strategy, panel, FIRST, FOLD)


def leaks(strategy: ClassifierStrategy, panel: Panel) -> Floats:
    """Answer what everybody would like to know: fitted on the very bars that are guessed."""
    return strategy.fit(panel).guesses(strategy.features.compute(panel))


def unpurged(strategy: ClassifierStrategy, panel: Panel) -> Floats:
    """Learn the answers of all bars before a fold, also those that only show within it."""
    table = strategy.features.compute(panel)
    guesses = np.full(panel.close.shape, np.nan)
    for start in range(FIRST, len(panel), FOLD):
        seen = panel[: min(len(panel), start + strategy.horizon_bars + 1)]
        guesses[start : start + FOLD] = strategy.fit(seen).guesses(table[start : start + FOLD])
    return guesses


def hit_rate(guess: Callable[[ClassifierStrategy, Panel], Floats], panel: Panel) -> float:
    strategy = memory()
    _, rises, known = strategy.examples(panel)
    guesses = guess(strategy, panel)
    judged = known & ~np.isnan(guesses)
    judged[:FIRST] = False
    return float(((guesses > 0.5) == rises)[judged].mean())


def is_causal(guess: Callable[[ClassifierStrategy, Panel], Floats], panel: Panel, cut: int) -> bool:
    base = guess(logistic(), panel)[: cut + 1]
    return all(
        np.array_equal(guess(logistic(), other)[: cut + 1], base, equal_nan=True)
        for other in futures(panel, cut, ("open", "high", "low", "close", "volume"))
    )


def test_rows_before_the_first_fold_are_nan_and_others_are_probabilities() -> None:
    guesses = honest(logistic(), random_panel(400, 3))
    assert np.isnan(guesses[:FIRST]).all()
    assert ((guesses[FIRST:] >= 0.0) & (guesses[FIRST:] <= 1.0)).all()


def test_a_fold_is_what_a_classifier_of_earlier_bars_says() -> None:
    panel = random_panel(400, 3, seed=2)
    guesses, table = honest(logistic(), panel), SEES.compute(panel)
    for start, stop in ((260, 320), (320, 380), (380, 400)):
        expected = logistic().fit(panel[:start]).guesses(table)[start:stop]
        np.testing.assert_allclose(guesses[start:stop], expected, atol=2e-9)


@pytest.mark.parametrize("cut", [FIRST - 1, FIRST, FIRST + FOLD - 2, FIRST + FOLD - 1, FIRST + FOLD, 390])
def test_later_bars_change_no_earlier_probability(cut: int) -> None:
    panel = random_panel(400, 3, seed=7)
    assert is_causal(honest, panel, cut)


def test_fewer_bars_give_the_same_probabilities() -> None:
    panel = random_panel(400, 3, seed=7)
    whole = honest(logistic(), panel)
    for bars in (261, 320, 350):
        np.testing.assert_array_equal(honest(logistic(), panel[:bars]), whole[:bars])


@pytest.mark.parametrize("leaky", [leaks, unpurged])
def test_a_leak_of_labels_would_be_caught(leaky: Callable[[ClassifierStrategy, Panel], Floats]) -> None:
    """The question of the tests above, put to two ways of doing it wrong."""
    panel = random_panel(400, 3, seed=7)
    assert not is_causal(leaky, panel, FIRST + FOLD)


def test_what_cannot_be_known_is_not() -> None:
    """In a random walk a memory of all answers is right about the bars it learnt, and half the time elsewhere."""
    panel = random_panel(900, 4, seed=11)
    assert hit_rate(leaks, panel) == 1.0
    assert hit_rate(honest, panel) == pytest.approx(0.5, abs=0.05)


def test_averages_are_of_out_of_fold_guesses_alone() -> None:
    panel = random_panel(400, 3, seed=2)
    raw, smooth = honest(logistic(), panel), honest(logistic(smooth_bars=4), panel)
    assert np.isnan(smooth[: FIRST + 3]).all()
    for row in (FIRST + 3, FIRST + FOLD, 399):
        np.testing.assert_allclose(smooth[row], raw[row - 3 : row + 1].mean(axis=0), atol=1e-12)


def test_as_a_side_series_a_feature_sees_it() -> None:
    panel = random_panel(400, 3)
    guesses = honest(logistic(), panel)
    seen = FeatureSpec.named("side:p_rise").compute(panel.with_side("p_rise", guesses))
    np.testing.assert_array_equal(seen[:, :, 0], guesses)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"first_sessions": 0}, ConfigError, "first_sessions is 0; 1 or more"),
        ({"fold_sessions": 0}, ConfigError, "fold_sessions is 0; 1 or more"),
        ({"first_sessions": 400}, DataError, "400 sessions leave none to guess after 400; lower first_sessions"),
        ({"first_sessions": 15}, DataError, "15 bars hold no two examples to tell apart .*raise first_sessions"),
    ],
)
def test_what_is_refused(settings: dict[str, int], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        out_of_fold(logistic(), random_panel(400, 3), **settings)


def test_it_does_not_use_what_was_learnt_before() -> None:
    panel = random_panel(400, 3, seed=2)
    learnt = replace(logistic().fit(random_panel(400, 3, seed=9)), levels=(0.0, 1.0))
    np.testing.assert_array_equal(honest(learnt, panel), honest(logistic(), panel))
