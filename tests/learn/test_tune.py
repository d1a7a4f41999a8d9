"""Studies of small trainings: what is searched, kept, ended early, gone on with and written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from optuna.trial import TrialState

from tests.learn.conftest import quick
from tradekit.errors import DataError, Interrupted
from tradekit.learn import tune as tuning
from tradekit.learn.entropy import Entropy
from tradekit.learn.recipe import Guard, Recipe
from tradekit.learn.recipe_text import recipe_text
from tradekit.learn.rewards import Reward
from tradekit.learn.run import BEGUN
from tradekit.learn.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.learn.tune import TuneResult
    from tradekit.market.panel import Panel


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "policies" / "quick"
    folder.mkdir(parents=True)
    return folder


def settings(found: TuneResult) -> list[dict[str, Any]]:
    return [one.params for one in found.trials]


def values(found: TuneResult) -> list[float | None]:
    return [one.value for one in found.trials]


def test_the_grid_and_what_the_recipe_has_of_it() -> None:
    ranges = tuning.grid(Recipe())
    bounds = {name: (one.low, one.high) for name, one in ranges.items() if name != "batch"}  # type: ignore[attr-defined]
    assert bounds == {
        "learning_rate": (1e-4, 1e-3),
        "entropy_coefficient": (1e-3, 5e-2),
        "gae_lambda": (0.90, 0.98),
        "clip_range": (0.1, 0.3),
        "epochs": (5, 15),
    }
    assert ranges["batch"].choices == (32, 64, 128, 256)  # type: ignore[attr-defined]
    wide = tuning.grid(Recipe().changed(learning_rate=2e-3, epochs=3, batch=512, environments=32, steps=48))
    assert (wide["learning_rate"].high, wide["epochs"].low) == (2e-3, 3)  # type: ignore[attr-defined]
    assert wide["batch"].choices == (32, 64, 128, 512)  # type: ignore[attr-defined]


def test_settings_go_there_and_back_and_the_bonus_keeps_its_shape() -> None:
    recipe = Recipe()
    assert tuning.with_settings(recipe, tuning.settings_of(recipe)) == recipe
    other = tuning.with_settings(recipe, {**tuning.settings_of(recipe), "entropy_coefficient": 0.02, "epochs": 7})
    assert (other.entropy.coefficient, other.ppo.epochs) == (0.02, 7)
    assert other.entropy.final == pytest.approx(0.004)


def test_a_study_belongs_to_recipe_and_bars() -> None:
    name = tuning.study_name(Recipe(), "bars")
    assert name == tuning.study_name(Recipe().changed(learning_rate=9e-4, epochs=6, batch=64), "bars")
    assert name == tuning.study_name(
        tuning.with_settings(Recipe(), {**tuning.settings_of(Recipe()), "entropy_coefficient": 0.025}), "bars"
    )
    for other in (Recipe(seed=1), Recipe().changed(timesteps=1), replace(Recipe(), reward=Reward("v1"))):
        assert tuning.study_name(other, "bars") != name
    assert tuning.study_name(Recipe(), "other bars") != name


def test_trials_are_real_trainings_and_the_best_is_written(panel: Panel, home: Path) -> None:
    found = tuning.tune(home, quick(), panel, 3)
    assert [one.state for one in found.trials] == [TrialState.COMPLETE] * 3
    assert settings(found)[0] == tuning.settings_of(quick())  # the recipe as it is
    assert found.own == found.trials[0].value
    assert found.best is not None
    usable = [one.value for one in found.trials if one.user_attrs["healthy"] and one.value is not None]
    assert found.best.value == max(usable)
    assert found.file == home / "recipe.tuned.toml"
    assert found.file is not None
    written = Recipe.load(found.file)
    assert written == found.recipe == tuning.with_settings(quick(), found.best.params)
    # Training by it gives the very policy that was chosen, so that the registry knows it for the trial it was.
    bundle, *_ = train(written, panel, home / "again")
    assert bundle.digest == found.best.user_attrs["digest"]


def test_the_same_command_goes_on_and_one_worker_repeats_itself(panel: Panel, home: Path) -> None:
    begun = tuning.tune(home, quick(), panel, 2)
    on = tuning.tune(home, quick(), panel, 4)
    assert values(on)[:2] == values(begun)
    assert len(on.trials) == 4
    assert values(tuning.tune(home, quick(), panel, 3)) == values(on)  # no fewer than there are
    whole = tuning.tune(home.parent / "other", quick(), panel, 4)
    assert (settings(whole), values(whole)) == (settings(on), values(on))
    assert len({str(one) for one in settings(on)}) == 4


def test_a_trial_put_away_goes_on_from_its_checkpoint(panel: Panel, home: Path) -> None:
    recipe = quick(timesteps=2048)
    whole = tuning.tune(home.parent / "other", recipe, panel, 2)

    def stop() -> bool:
        return bool(list(home.glob("tune/*/trial-0001/run.json")))

    with pytest.raises(
        Interrupted, match=r"interrupted: 1 of 2 trials are over, all kept in .*; the same command goes on"
    ):
        tuning.tune(home, recipe, panel, 2, stop=stop)
    assert not (home / "recipe.tuned.toml").exists()
    on = tuning.tune(home, recipe, panel, 2)
    assert (settings(on), values(on)) == (settings(whole), values(whole))
    assert [one.user_attrs["digest"] for one in on.trials] == [one.user_attrs["digest"] for one in whole.trials]


@pytest.mark.slow
def test_what_falls_behind_the_median_is_ended_early(panel: Panel, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged after every update, a trial is ended from two fifths of its steps on, once one other is whole."""
    monkeypatch.setattr(tuning, "WHOLE_TRIALS", 1)
    recipe = replace(quick(timesteps=4096), seed=0)
    recipe = replace(recipe, validation=replace(recipe.validation, every=512, early_stopping=False))
    found = tuning.tune(home, recipe, panel, 6)
    states = [one.state for one in found.trials]
    assert states[0] == TrialState.COMPLETE
    assert TrialState.PRUNED in states
    for one in found.trials:
        steps = sorted(one.intermediate_values)
        assert steps == sorted(set(steps))
        if one.state == TrialState.PRUNED:
            assert steps[-1] >= 0.4 * 4096
            others = [
                other.intermediate_values for other in found.trials[: one.number] if other.state == TrialState.COMPLETE
            ]
            best = max(value for step, value in one.intermediate_values.items())
            assert best < float(np.median([other[steps[-1]] for other in others]))


def test_a_trial_that_diverges_is_one_too(panel: Panel, home: Path) -> None:
    recipe = quick(learning_rate=1e30, max_grad_norm=1e30)
    found = tuning.tune(home, recipe, panel, 1)
    assert [one.state for one in found.trials] == [TrialState.FAIL]
    assert "training diverged after 512 steps" in found.trials[0].user_attrs["verdict"]
    assert (found.best, found.file) == (None, None)
    assert math.isnan(found.own)


def test_what_is_not_usable_is_never_the_best(panel: Panel, home: Path) -> None:
    found = tuning.tune(home, quick(hold_bias=50.0), panel, 1)
    assert values(found) == [0.0]
    assert found.best is None
    assert not (home / "recipe.tuned.toml").exists()


@pytest.mark.parametrize(
    ("sharpe", "exposure", "worth"), [(1.0, 0.05, 1.0), (1.0, 0.04, 0.0), (-1.0, 0.04, -1.0), (None, None, 0.0)]
)
def test_what_hardly_invests_is_worth_no_more_than_cash(sharpe: float, exposure: float, worth: float) -> None:
    assert tuning.worth(sharpe, exposure) == worth
    assert tuning.worth(math.nan, 1.0) == 0.0


def test_unusable_bars_leave_no_folder(panel: Panel, home: Path) -> None:
    with pytest.raises(DataError, match="are too few"):
        tuning.tune(home, quick(), panel[:60], 1)
    assert list(home.iterdir()) == []


@pytest.mark.slow
def test_workers_share_a_study(panel: Panel, home: Path) -> None:
    found = tuning.tune(home, quick(), panel, 5, workers=2)
    assert len(found.trials) == 5
    assert sorted(one.user_attrs["folder"] for one in found.trials) == [f"trial-{number:04}" for number in range(5)]
    assert sum(one.params == tuning.settings_of(quick()) for one in found.trials) == 1
    for one in found.trials:
        told = json.loads((found.folder / one.user_attrs["folder"] / BEGUN).read_text())["recipe"]
        assert Recipe.from_dict(told) == tuning.with_settings(quick(), one.params)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        quick(),
        Recipe.from_dict(
            {
                "seed": 7,
                "data": {"source": 'a "quoted" \\ name', "end": "2011-12-31", "features": ["return_1", "rsi_14"]},
                "actions": {"masking": "legacy", "disabled_actions": ["ADD_POSITION"], "stop_loss": 0.1},
                "reward": {"preset": "v1", "weights": {"time": 0.0}, "shaping": {"entry_multipliers": [1, 2, 3]}},
                "entropy": {"preset": "adaptive"},
                "costs": {"preset": "free"},
                "ppo": {"learning_rate": 3e-4, "target_kl": 0.015},
                "tracking": {"tensorboard": True},
            }
        ),
        replace(Recipe(), entropy=Entropy(coefficient=1e-9), guard=Guard(patience=9)),
    ],
)
@pytest.mark.parametrize("folder", ["quick", "other"])
def test_a_recipe_is_written_as_it_is_read(recipe: Recipe, folder: str, tmp_path: Path) -> None:
    file = tmp_path / folder / "recipe.toml"
    file.parent.mkdir()
    file.write_text(recipe_text(recipe, ["two lines", "of comment"], folder), encoding="utf-8")
    assert Recipe.load(file) == recipe
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# two lines\n# of comment\n")
    assert ("name =" in text) is (recipe.name != folder)
