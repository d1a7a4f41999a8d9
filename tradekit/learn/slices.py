"""Which bars a recipe learns from, which choose among checkpoints, and what is seen of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import DataError
from tradekit.learn.observations import default_features
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.learn.recipe import Recipe
    from tradekit.market.panel import Panel


@dataclass(frozen=True)
class Split:
    """Rows of a panel: training ``start <= t < train_stop``, validation ``validation_start <= t < stop``.

    The rows between are purged, so that no feature of a validation bar reads a training bar's target. Those before
    ``start`` are history. Where bars are missing from the panel, ``pieces`` are the runs (first, stop) that are there.
    """

    train_stop: int
    validation_start: int
    stop: int
    start: int = 0
    pieces: tuple[tuple[int, int], ...] = ()


def feature_spec(recipe: Recipe, panel: Panel) -> FeatureSpec:
    """Return the features of the recipe, ``auto`` resolved for the data; probabilities aside, which have to be learnt.

    Raises:
        ConfigError: an unknown feature.
        DataError: the data lacks a column that a feature, of the policy or of its classifier, needs.
    """
    chosen = [default_features(panel) if name == "auto" else name for name in recipe.data.features]
    spec = FeatureSpec.named(*chosen)
    spec.check(panel)
    if recipe.supervised is not None:
        recipe.supervised.spec.check(panel)
    return spec


def split_bars(recipe: Recipe, panel: Panel, spec: FeatureSpec) -> Split:
    """Return which rows train and which choose among checkpoints.

    Raises:
        DataError: too few bars for both.
    """
    data = recipe.data
    if data.end is not None and panel.source == data.source:
        stop = len(panel.between(end=data.end))
    else:
        stop = int(len(panel) * data.train_fraction)
    validation_start = stop - int(stop * data.validation_fraction)
    lookback = max(spec.lookback, learnt_from(recipe)) + recipe.environment.stacked_bars - 1
    train_stop = validation_start - lookback
    if train_stop < lookback + 2 or stop - validation_start < 2:
        raise DataError(
            f"{panel.source}: {stop} bars up to the end of training are too few; features look back {lookback} "
            f"bars, so give at least {_fewest(data.validation_fraction, lookback)}"
        )
    _demand_probabilities(recipe, panel, train_stop)
    return Split(train_stop, validation_start, stop)


def _demand_probabilities(recipe: Recipe, panel: Panel, train_stop: int) -> None:
    """Raise DataError when no bar of training is late enough to have a probability."""
    sessions = int(panel.sessions[train_stop - 1]) + 1
    if recipe.supervised is not None and sessions <= recipe.supervised.first_sessions:
        raise DataError(
            f"{panel.source}: [supervised] only learns from the first {recipe.supervised.first_sessions} sessions, and "
            f"training ends after {sessions}; lower supervised.first_sessions, or give more bars"
        )


def learnt_from(recipe: Recipe) -> int:
    """Return the bars that a probability of the recipe's classifier is made of; 0: it has none."""
    return 0 if recipe.supervised is None else recipe.supervised.spec.lookback


def _fewest(validation_fraction: float, lookback: int) -> int:
    return int(np.ceil((2 * lookback + 2) / (1.0 - validation_fraction))) + 2
