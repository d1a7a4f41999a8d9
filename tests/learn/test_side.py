"""A policy that sees side series: from the recipe to the bundle, which data lack them, and no session without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.learn.conftest import quick, untrained
from tests.panels import random_panel
from tradekit.engine.audit import audit
from tradekit.engine.simulate import simulate
from tradekit.engine.view import Watch
from tradekit.errors import BundleError, ConfigError, DataError
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.lanes import Lanes
from tradekit.learn.policy import PolicyStrategy
from tradekit.learn.recipe import DataChoice, Recipe
from tradekit.learn.slices import feature_spec
from tradekit.learn.task import Task
from tradekit.learn.train import resume_policy, train_policy
from tradekit.market.execution import ExecutionModel
from tradekit.market.features import FeatureSpec
from tradekit.market.side_series import SideSeries

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel

NO_ANSWER = np.zeros(3, np.int64), np.zeros((3, 7))
SEES = DataChoice(features=("return_1", "side:vix", "side:mood"))


def beside() -> Panel:
    """Return 300 bars with a series for all symbols and one for each; values begin at the tenth bar."""
    rng, bars = np.random.default_rng(5), random_panel(300, 3)
    mood = rng.normal(size=(300, 3))
    mood[:10] = np.nan
    return bars.with_side("vix", 20.0 + rng.normal(size=300)).with_side("mood", mood)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> PolicyStrategy:
    """Return a policy of random weights that sees both series."""
    folder = tmp_path_factory.mktemp("side") / "bundle"
    return PolicyStrategy(untrained(replace(quick(), data=SEES), beside(), folder))


def test_the_bundle_says_what_it_sees(policy: PolicyStrategy) -> None:
    said = policy.bundle.manifest
    assert said["observation"]["features"] == ["return_1", "side:vix", "side:mood"]
    assert said["observation"]["names"][:3] == ["return_1", "side:vix", "side:mood"]
    assert said["data"]["side"] == ["mood", "vix"]
    assert policy.bundle.features.side == ("vix", "mood")


def test_statistics_are_those_of_the_series_in_training(policy: PolicyStrategy) -> None:
    trained = beside()[:144]  # 300 bars, of which 60 % are seen, a fifth of them for validation
    said = policy.bundle.manifest["observation"]["normalisation"]
    stop = int(np.searchsorted(trained.timestamps, np.datetime64(policy.bundle.data["train_end"]), side="right"))
    rows = slice(10, stop)
    assert said["mean"][1] == pytest.approx(trained.series("vix")[rows].mean())
    assert said["mean"][2] == pytest.approx(trained.series("mood")[rows].mean())
    assert said["scale"][2] == pytest.approx(trained.series("mood")[rows].std())


def test_it_decides_by_the_series_and_uses_none_of_their_future(policy: PolicyStrategy) -> None:
    panel = beside()
    policy.check(panel, ExecutionModel())
    base = simulate(policy, panel)
    other = simulate(policy, panel.with_side("vix", panel.series("vix") - 5.0))
    assert (base.extras["chosen"] != other.extras["chosen"]).any()
    assert audit(policy, panel).passed


@pytest.mark.parametrize("stacked", [1, 3])
def test_training_and_backtest_see_the_same(stacked: int) -> None:
    """To the bit: what the environments show at every bar, and what a strategy is shown of the bars up to there."""
    panel = beside()
    task = Task(panel, FeatureSpec.named(*SEES.features), episode_bars=0, stacked_bars=stacked)
    agent = SymbolAgent(
        "looks", task.features, task.scheme, decide_by=lambda raw, mask: NO_ANSWER, stacked_bars=stacked
    )
    lanes, watch = Lanes(task, np.arange(3)), Watch(panel)
    lanes.begin()
    past = watch.past()
    for bar in range(len(panel) - 1):
        shown = watch.view(past, bar).features(agent._sees)
        np.testing.assert_array_equal(lanes.raw()[:, : shown.shape[1]], shown)
        lanes.step(np.zeros(3, np.int64), restart=False)


def test_without_a_value_it_holds(policy: PolicyStrategy) -> None:
    panel = beside()
    mood = panel.series("mood").copy()
    mood[:, 1] = np.nan
    ledger = simulate(policy, panel.with_side("mood", mood))
    assert (ledger.extras["executed"][:-1, 1] == 0).all()
    assert (ledger.extras["executed"][:-1, 0] != 0).any()
    assert (ledger.extras["executed"][:9] == 0).all()


def test_data_without_the_series_are_refused_by_name(policy: PolicyStrategy) -> None:
    panel = beside()
    for given, lacking in (
        (random_panel(300, 3), "vix, mood"),
        (replace(panel, side={"vix": panel.series("vix")}), "mood"),
    ):
        with pytest.raises(BundleError) as caught:
            policy.check(given, ExecutionModel())
        assert str(caught.value) == (
            f"quick sees the side series {lacking}, which random comes without; give each under side in [data] or "
            "by --side, with the lag that it was trained with"
        )


def test_a_recipe_names_series_and_survives_a_round_trip() -> None:
    recipe = Recipe.from_dict(
        {
            "data": {
                "features": ["close", "side:vix"],
                "side": [{"name": "vix", "file": "vix.parquet", "column": "close", "lag_sessions": 2}],
            }
        }
    )
    assert recipe.data.side == (SideSeries("vix", "vix.parquet", "close", 2),)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ConfigError, match=r"side: unknown key 'colum'; did you mean column\?"):
        Recipe.from_dict({"data": {"side": [{"name": "v", "file": "x", "colum": "c"}]}})
    with pytest.raises(DataError, match="no side series vix; give its file under side in"):
        feature_spec(recipe, random_panel(300, 3))


def test_trained_from_a_recipe_with_a_file_and_gone_on_with(tmp_path: Path) -> None:
    """The recipe names the file; a run that was put away after an update reads it again, and refuses another one."""
    from tradekit.errors import Interrupted

    file = tmp_path / "vix.csv"
    days = np.arange(np.datetime64("1989-12-20"), np.datetime64("2023-01-10"))
    levels = np.random.default_rng(1).normal(20.0, 3.0, len(days))
    text = "".join(f"{day},{level}\n" for day, level in zip(days, levels, strict=True))
    file.write_text("date,close\n" + text)
    side = (SideSeries("vix", str(file), "close"),)
    recipe = quick(timesteps=1024)
    recipe = replace(recipe, data=replace(recipe.data, features=("return_1", "side:vix"), side=side))
    whole = train_policy("seeing", tmp_path, recipe=recipe, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_policy("seeing", tmp_path, recipe=recipe, out=tmp_path / "cut", stop=lambda: True)
    gone_on = resume_policy("seeing", tmp_path, tmp_path / "cut")
    weights = [(made.run_folder / "bundle" / "weights.safetensors").read_bytes() for made in (whole, gone_on)]
    assert weights[0] == weights[1]
    with pytest.raises(Interrupted):
        train_policy("seeing", tmp_path, recipe=recipe, out=tmp_path / "other", stop=lambda: True)
    file.write_text("date,close\n" + text.replace("2000-01-03,", "2000-01-03,9"))
    with pytest.raises(DataError, match="its bars are not those that"):
        resume_policy("seeing", tmp_path, tmp_path / "other")
