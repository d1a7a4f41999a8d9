"""A policy small enough to make in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from tests.panels import random_panel
from tradekit.learn.bundle import Bundle, write_bundle
from tradekit.learn.manifest import manifest_of
from tradekit.learn.network import FrozenPolicy, to_torchscript
from tradekit.learn.recipe import Recipe
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Panel


def quick(**ppo: Any) -> Recipe:
    """Return a recipe of one update that ends with a policy that trades."""
    small = {"timesteps": 512, "environments": 8, "steps": 64, "batch": 128, "epochs": 2, "hold_bias": 0.0}
    return Recipe.from_dict(
        {"name": "quick", "data": {"features": ["return_1", "sma_gap_20"]}, "ppo": {**small, "network": [8], **ppo}}
    )


@pytest.fixture(scope="session")
def panel() -> Panel:
    """Return 300 daily bars of three symbols with opens."""
    return random_panel(300, 3)


def untrained(recipe: Recipe, panel: Panel, folder: Path, seed: int = 0) -> Bundle:
    """Write the bundle of a network with random weights, as training would."""
    spec = feature_spec(recipe, panel)
    split = split_bars(recipe, panel, spec)
    task = Task(panel[: split.stop], spec, stop=split.train_stop)
    logits = random_logits(len(task.statistics.mean), seed)
    policy = FrozenPolicy(logits, task.statistics)
    places = {"mlp_extractor.policy_net.0": logits[0], "action_net": logits[2]}
    weights = {
        f"{place}.{name}": value.detach().numpy()
        for place, layer in places.items()
        for name, value in layer.named_parameters()
    }
    return write_bundle(folder, manifest_of(recipe, task, split, {}), to_torchscript(policy), save(weights))


def random_logits(width: int, seed: int = 0) -> torch.nn.Sequential:
    """Return a network of random weights, decided enough to trade."""
    random = torch.Generator().manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.Tanh(), torch.nn.Linear(16, 7))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.normal_(0.0, 0.7, generator=random)
    return layers


@pytest.fixture(scope="session")
def bundle(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return an untrained bundle for ``panel``."""
    return untrained(quick(), panel, tmp_path_factory.mktemp("policy") / "bundle")


def observations(bundle: Bundle, count: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return (count, D) raw observations around the training mean and (count, 7) masks with HOLD allowed."""
    rng = np.random.default_rng(seed)
    said = bundle.manifest["observation"]["normalisation"]
    mean, scale = np.array(said["mean"]), np.array(said["scale"])
    raw = mean + scale * rng.normal(0.0, 2.0, (count, len(mean)))
    mask = rng.random((count, 7)) < 0.5
    mask[:, 0] = True
    return raw, mask
