"""The bundle that ships is what its recipe yields: retrained whole by hand, and all but the weights held here.

Training it again gives the same three files, byte for byte, on the machine that made them. Another processor adds up
in another order, so a test that runs anywhere compares what does not hang on the last bit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tradekit.learn.bundle import read_bundle
from tradekit.learn.recipe import Recipe
from tradekit.learn.train import train

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tradekit.market.panel import Panel

MEASURED = ("metrics", "files", "digest", "versions")


@pytest.mark.slow
def test_the_shipped_bundle_says_what_its_recipe_yields(repository: Path, sample: Panel, tmp_path: Path) -> None:
    home = repository / "policies" / "symbol_ppo"
    recipe = Recipe.load(home / "recipe.toml")
    made = _said(train(recipe.changed(timesteps=recipe.ppo.update_steps), sample, tmp_path / "run").bundle.manifest)
    shipped = _said(read_bundle(home / "bundle").manifest)
    assert list(made) == list(shipped)
    assert list(made["metrics"]) == list(shipped["metrics"])
    assert list(made["versions"]) == list(shipped["versions"])
    for name in ("mean", "scale"):
        mine, other = (one["observation"]["normalisation"].pop(name) for one in (made, shipped))
        assert np.allclose(mine, other, rtol=1e-12, atol=0.0)
    made["recipe"]["ppo"]["timesteps"] = recipe.ppo.timesteps
    for key in made:
        if key not in MEASURED:
            assert made[key] == shipped[key], key


def _said(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest as it is read from a file."""
    said: dict[str, Any] = json.loads(json.dumps(dict(manifest)))
    return said
