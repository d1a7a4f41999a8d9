"""Probabilities that a recipe asks for: out of fold, and the same wherever a bar is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.learn.conftest import quick
from tests.panels import random_panel
from tradekit.engine.audit import audit
from tradekit.engine.classifier import ClassifierStrategy
from tradekit.engine.futures import futures
from tradekit.engine.out_of_fold import out_of_fold
from tradekit.engine.simulate import simulate
from tradekit.engine.view import Watch
from tradekit.errors import BundleError, ConfigError, DataError
from tradekit.learn.observations import Stacked
from tradekit.learn.policy import PolicyStrategy, RefitPolicy
from tradekit.learn.recipe import Recipe
from tradekit.learn.recipe_text import recipe_text
from tradekit.learn.supervised import Supervised, WithProbabilities, with_probabilities
from tradekit.learn.train import train, train_policy
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

BASE = FeatureSpec.named("return_1", "sma_gap_20")
SETTINGS = Supervised(first_sessions=60, fold_sessions=20, features=("return_5", "sma_gap_20"))


def asked(**settings: Any) -> Recipe:
    return replace(quick(**settings), supervised=SETTINGS)


@pytest.fixture(scope="module")
def seen(panel: Panel) -> WithProbabilities:
    return with_probabilities(BASE, SETTINGS, panel, 180)


@pytest.fixture(scope="module")
def policy(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> PolicyStrategy:
    return PolicyStrategy(train(asked(), panel, tmp_path_factory.mktemp("p") / "run").bundle)


def test_up_to_the_end_of_training_they_are_out_of_fold(panel: Panel, seen: WithProbabilities) -> None:
    """By the engine's own, which asks scikit-learn for each fold and rounds to nine digits."""
    model = make_pipeline(StandardScaler(), LogisticRegression())
    learner = ClassifierStrategy("p", model, smooth_bars=1, features=SETTINGS.spec)
    table = seen.compute(panel)
    np.testing.assert_array_equal(table[:, :, :2], BASE.compute(panel))
    np.testing.assert_allclose(table[:180, :, 2], out_of_fold(learner, panel[:180], 60, 20), atol=1e-9)
    # After it, by a classifier that has learnt from all of it and nothing else.
    last = learner.fit(panel[:180]).guesses(SETTINGS.spec.compute(panel))
    np.testing.assert_allclose(table[180:, :, 2], last[180:], atol=1e-9)
    assert seen.describe()[2][:2] == ("p_rise", 20)
    assert seen.since == (*(str(panel.timestamps[row].astype("M8[ns]")) for row in range(60, 180, 20)), seen.since[-1])


@pytest.mark.parametrize("cut", [60, 79, 80, 150])
def test_later_bars_change_none(panel: Panel, cut: int) -> None:
    def until(bars: Panel) -> Any:
        return with_probabilities(BASE, SETTINGS, bars, 180).compute(bars)[: cut + 1]

    for other in futures(panel, cut, ("open", "high", "low", "close", "volume")):
        np.testing.assert_array_equal(until(other), until(panel))


@pytest.mark.parametrize("stacked", [1, 3])
def test_training_backtest_and_a_growing_window_see_the_same(
    panel: Panel, seen: WithProbabilities, stacked: int
) -> None:
    """To the bit: all bars at once as training does, and bar by bar with no more than the lookback as a session."""
    spec = seen if stacked == 1 else Stacked(seen.names, stacked, seen)
    table, watch = spec.compute(panel), Watch(panel)
    past = watch.past()
    for bar in range(len(panel)):
        first = max(0, bar + 1 - spec.lookback)
        np.testing.assert_array_equal(spec.compute(panel[first : bar + 1])[-1], table[bar])
        np.testing.assert_array_equal(watch.view(past, bar).features(spec), table[bar])


def test_the_bundle_keeps_every_fit(policy: PolicyStrategy, panel: Panel, seen: WithProbabilities) -> None:
    said = policy.bundle.manifest["observation"]
    assert said["features"] == ["return_1", "sma_gap_20", "p_rise"]
    assert said["names"][:3] == ["return_1", "sma_gap_20", "p_rise"]
    assert policy.features == seen
    np.testing.assert_array_equal(policy.features.compute(panel), seen.compute(panel))
    assert Recipe.from_dict(dict(policy.bundle.manifest["recipe"])).supervised == SETTINGS


def test_it_decides_by_them_and_holds_before_there_are_any(policy: PolicyStrategy, panel: Panel) -> None:
    policy.check(panel, ExecutionModel())
    base = simulate(policy, panel)
    assert (base.extras["executed"][:60] == 0).all()
    assert (base.extras["executed"][:-1] != 0).any()
    assert audit(policy, panel).passed
    features: Any = policy.features
    other = PolicyStrategy(policy.bundle)
    other.features = other._sees = replace(features, bias=tuple(bias + 3.0 for bias in features.bias))
    assert (simulate(other, panel).extras["chosen"] != base.extras["chosen"]).any()


def test_a_changed_fit_is_found(policy: PolicyStrategy, tmp_path: Path) -> None:
    import json
    import shutil

    from tradekit.learn.bundle import read_bundle

    folder = tmp_path / "bundle"
    shutil.copytree(policy.bundle.folder, folder)
    said = json.loads((folder / "bundle.json").read_text())
    said["observation"]["supervised"]["bias"][0] += 1.0
    (folder / "bundle.json").write_text(json.dumps(said))
    with pytest.raises(BundleError, match="it was changed after training"):
        read_bundle(folder)


def test_a_window_of_a_walk_forward_learns_its_own(panel: Panel) -> None:
    refit = RefitPolicy("quick", asked(), 1)
    refit.check(panel, ExecutionModel())
    window = refit.fit(panel[:200])
    assert window.features == with_probabilities(BASE, SETTINGS, panel[:200], 200)


def test_a_recipe_asks_for_them_in_a_table_of_its_own() -> None:
    recipe = Recipe.from_dict({"supervised": {"horizon_bars": 3, "features": "close"}})
    assert recipe.supervised == Supervised(horizon_bars=3)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert "[supervised]\nhorizon_bars = 3\nfirst_sessions = 504\n" in recipe_text(recipe)
    assert "supervised" not in Recipe().to_dict()
    assert "supervised" not in recipe_text(Recipe())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"horizon": 3}, r"unknown key of \[supervised\] 'horizon'; did you mean horizon_bars\?"),
        ({"fold_sessions": 0}, "fold_sessions is 0; a whole number, 1 or more"),
        ({"features": ["retrun_1"]}, r"unknown feature 'retrun_1'; did you mean return_1\?"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.from_dict({"supervised": settings})


def test_what_the_data_cannot_give_is_refused(tmp_path: Path) -> None:
    short = replace(quick(), supervised=Supervised(first_sessions=150, features=("return_5",)))
    with pytest.raises(DataError) as caught:
        train_policy("quick", tmp_path, random_panel(300, 3), recipe=short)
    assert str(caught.value) == (
        "random: [supervised] only learns from the first 150 sessions, and training ends after 124; lower "
        "supervised.first_sessions, or give more bars"
    )
    lacking = replace(quick(), supervised=Supervised(features=("volume_z_20",)))
    with pytest.raises(DataError, match="feature volume_z_20 needs volume"):
        train_policy("quick", tmp_path, random_panel(300, 1, close_only=True), recipe=lacking)
    assert list(tmp_path.iterdir()) == []  # refused before a folder is made
    window = RefitPolicy("quick", short, 1)
    with pytest.raises(DataError, match=r"\[supervised\]: random: 120 sessions leave none .*, or give more bars"):
        window.fit(random_panel(120, 3))
