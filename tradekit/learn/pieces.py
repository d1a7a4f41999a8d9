"""Which rows train and which choose among checkpoints where bars are missing: in a split of a cross-validation."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from tradekit.errors import ConfigError, DataError
from tradekit.learn.slices import Split, feature_spec

if TYPE_CHECKING:
    from tradekit.learn.recipe import Recipe
    from tradekit.market.panel import Panel

VALIDATION_SHARE = 0.2
"""Of the bars that are there, at most: those that choose among checkpoints."""
LEAST_SHARE = 0.05
"""Of them, at least, if any run of bars holds so many."""


def split_pieces(recipe: Recipe, bars: Panel, pieces: tuple[tuple[int, int], ...]) -> Split:
    """Return which of the runs of bars ``pieces`` (first, stop) train, and which bars choose among checkpoints.

    The latter are one run that is judged by the backtest itself, so they are the end of one piece, with all bars before
    them in it that features look back on: the last piece that holds a twentieth of all bars besides those, else the
    longest. A session before them is purged. Pieces after that one are not used.

    Raises:
        DataError: every piece is too short.
        ConfigError: the recipe asks for out-of-fold probabilities.
    """
    if recipe.supervised is not None:
        raise ConfigError(
            f"{recipe.name}: its probabilities are learnt forward, so there are none for the groups before; leave "
            "[supervised] out of the recipe, or use --walk-forward"
        )
    lookback = feature_spec(recipe, bars).lookback + recipe.environment.stacked_bars - 1
    whole = sum(stop - first for first, stop in pieces)
    free = [stop - first - lookback for first, stop in pieces]
    enough = [k for k, left in enumerate(free) if left >= LEAST_SHARE * whole]
    chosen = enough[-1] if enough else max(range(len(pieces)), key=free.__getitem__)
    length = min(free[chosen], int(VALIDATION_SHARE * whole))
    stop = pieces[chosen][1]
    session = ceil(len(bars) / (int(bars.sessions[-1]) + 1))
    train_stop = stop - length - session
    if length < 2:
        raise DataError(
            f"{bars.source}: the longest run of bars that is not held out has {free[chosen] + lookback}, and features "
            f"look back {lookback}; choose fewer groups or give more data"
        )
    kept = [(first, min(end, train_stop)) for first, end in pieces if first < train_stop]
    return Split(train_stop, stop - length, stop, kept[0][0], tuple(kept))
