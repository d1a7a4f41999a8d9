from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tradekit.errors import ConfigError, TradekitError
from tradekit.learn.recipe import Recipe
from tradekit.learn.supervised import Supervised

if TYPE_CHECKING:
    from pathlib import Path


def test_the_shipped_recipe(repository: Path) -> None:
    recipe = Recipe.load(repository / "policies" / "symbol_ppo" / "recipe.toml")
    assert (recipe.name, recipe.data.source, recipe.data.end) == ("symbol_ppo", "sample", "2011-12-31")
    assert recipe.reward.preset == "minimal"
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_shipped_recipe_says_what_the_defaults_are(repository: Path) -> None:
    """So that nobody has to guess which of them a recipe without a line has."""
    shipped = Recipe.load(repository / "policies" / "symbol_ppo" / "recipe.toml")
    assert replace(shipped, name="policy", data=Recipe().data) == Recipe()


def test_a_recipe_survives_json() -> None:
    recipe = Recipe.from_dict({"entropy": {"preset": "v10_2"}, "ppo": {"network": [8, 8]}, "tracking": {"mlflow": "x"}})
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_what_is_left_out_has_a_default() -> None:
    assert Recipe.from_dict({}) == Recipe()
    recipe = Recipe.from_dict({"costs": {"preset": "free", "spread_bps": 1.0}, "data": {"features": "close"}})
    assert (recipe.costs.spread_bps, recipe.costs.commission_bps) == (1.0, 0.0)
    assert recipe.data.features == ("close",)


def test_a_date_may_stand_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[data]\nend = 2011-12-31\n")
    assert Recipe.load(tmp_path / "recipe.toml").data.end == "2011-12-31"
    assert Recipe.load(tmp_path / "recipe.toml").name == tmp_path.name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pppo": {}}, "unknown recipe key 'pppo'; did you mean ppo?"),
        ({"ppo": {"timestep": 1}}, "unknown key of [ppo] 'timestep'; did you mean timesteps?"),
        ({"data": {"strat": "x"}}, "unknown key of [data] 'strat'; known: "),
        ({"costs": {"spred_bps": 1}}, "unknown cost 'spred_bps'; did you mean spread_bps?"),
        ({"actions": {"add": 1}}, "unknown action setting 'add'; "),
        ({"ppo": 3}, "ppo is 3; write it as a table, [ppo]"),
        ({"ppo": {"timesteps": 0}}, "timesteps is 0; a whole number, 1 or more"),
        ({"ppo": {"batch": 100}}, "batch is 100; it must divide environments x steps = 4096"),
        ({"ppo": {"gamma": 1.5}}, "gamma is 1.5; a number above 0 and at most 1"),
        ({"ppo": {"learning_rate": "fast"}}, "learning_rate is 'fast'; a number above 0"),
        ({"ppo": {"hold_bias": -1.0}}, "hold_bias is -1.0; a number, 0 or more"),
        ({"data": {"train_fraction": 0}}, "train_fraction is 0; a number above 0 and at most 1"),
        ({"environment": {"episode_bars": 0}}, "episode_bars is 0; a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1; a whole number, 0 or more"),
        ({"name": 7}, "name is 7; text in quotes"),
        ({"entropy": {"shedule": "linear"}}, "unknown key of [entropy] 'shedule'; did you mean schedule?"),
        ({"guard": {"colapse": True}}, "unknown key of [guard] 'colapse'; did you mean collapse?"),
        ({"guard": {"alarms": "yes"}}, "alarms is 'yes'; true or false"),
        ({"validation": {"every": 0}}, "every is 0; a whole number, 1 or more"),
        ({"validation": {"min_delta": -1}}, "min_delta is -1; a number, 0 or more"),
        ({"checkpoints": {"best": 0}}, "best is 0; a whole number, 1 or more"),
        ({"tracking": {"mlflow": 3}}, "mlflow is 3; text in quotes"),
        ({"ppo": {"network": 64}}, "network is 64; a list, in square brackets"),
        ({"ppo": {"clip_range": 2}}, "clip_range is 2; a number above 0 and at most 1"),
        ({"ppo": {"learning_rate_final": 0}}, "learning_rate_final is 0; a number above 0"),
        ({"ppo": {"target_kl": "small"}}, "target_kl is 'small'; a number above 0"),
        ({"ppo": {"actor_gain": 0}}, "actor_gain is 0; a number above 0"),
        ({"data": {"features": 3}}, "features is 3; a list, in square brackets"),
        ({"data": {"features": [3]}}, "a name in features is 3; text in quotes"),
        ({"data": {"source": 3}}, "source is 3; text in quotes"),
        ({"seed": 2**32}, "seed is 4294967296; at most 4294967295"),
        (
            {"data": {"validation_fraction": 1.0}},
            "validation_fraction is 1.0; less than 1, or no bar is left to train on",
        ),
        ({"supervised": {"features": 3}}, "features is 3; a list, in square brackets"),
        ({"actions": {"disabled_actions": 3}}, "disabled_actions is 3; a list, in square brackets"),
        ({"entropy": {"preset": ["v10_2"]}}, "unknown entropy preset ['v10_2']; "),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe.from_dict(settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "not TOML (Invalid value (at end of document)); correct that line"),
        ("[ppo]\nbatch = 7", "batch is 7; it must divide environments x steps = 4096"),
        ("[actions]\nbuy_small = 2.0", "buy_small is 2.0; a number above 0 and at most 1"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Recipe.load(file)
    assert str(caught.value) == f"{file}: {message}"


def test_a_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe can be read there"):
        Recipe.load(tmp_path / "recipe.toml")


ANYTHING: tuple[Any, ...] = (
    *("x", "", -1, 0, 1, 1.5, True, None, [], ["x"], [1], {}, {"a": 1}),
    *(math.inf, math.nan, 10**30, -0.5, 1e-300),
)
TOLD = replace(Recipe(), supervised=Supervised()).to_dict()
TOLD["entropy"]["preset"] = "falling"  # a way to write the section, and no setting of its own


@pytest.mark.parametrize("section", TOLD)
def test_any_value_is_taken_or_refused_in_one_line(section: str) -> None:
    keys = TOLD[section] if isinstance(TOLD[section], dict) else ()
    for value in ANYTHING:
        for settings in ({section: value}, *({section: {key: value}} for key in keys)):
            try:
                recipe = Recipe.from_dict(settings)
            except TradekitError as refused:
                told = str(refused)
                assert len(told.splitlines()) == 1
            else:
                assert Recipe.from_dict(recipe.to_dict()) == recipe
