"""Probabilities of a classifier for bars that it has not learnt from, for use beside the bars they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import ConfigError, DataError
from tradekit.market import indicators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.engine.classifier import ClassifierStrategy
    from tradekit.market.panel import Floats, Panel


def out_of_fold(
    strategy: ClassifierStrategy, panel: Panel, first_sessions: int = 504, fold_sessions: int = 126
) -> Floats:
    """Return (T, N) probabilities of a rise, each by a classifier that learnt from earlier bars alone.

    The first sessions are only learnt from. Each fold after them is guessed by a classifier fitted on all bars before
    it, in a panel that ends there. An answer shows ``horizon_bars + 1`` bars after its bar, so the last bars before a
    fold have none and are purged (López de Prado 2018, Advances in Financial Machine Learning, 7.4). Averages over
    ``smooth_bars`` are taken of these guesses and of no others.

    Row t is a function of the bars up to t, so it may stand in ``panel.with_side`` without a lag.

    Args:
        strategy: what learns, and from which features; what it may have learnt already is not used.
        panel: the bars.
        first_sessions: sessions before the first fold.
        fold_sessions: sessions of a fold; the last may be shorter.

    Returns:
        NaN before the first fold, and where features are NaN.

    Raises:
        ConfigError: less than one session.
        DataError: no session is left to guess, or the first sessions hold no two examples that differ.
    """
    table = strategy.features.compute(panel)
    guesses = np.full(panel.close.shape, np.nan)
    for start, stop, learnt in folds(replace(strategy, smooth_bars=1), panel, first_sessions, fold_sessions):
        guesses[start:stop] = learnt.guesses(table[start:stop])
    return indicators.mean(guesses, strategy.smooth_bars)


def folds(
    strategy: ClassifierStrategy, panel: Panel, first_sessions: int, fold_sessions: int
) -> Iterator[tuple[int, int, ClassifierStrategy]]:
    """Yield the rows of each fold, ``start <= t < stop``, and the strategy fitted on the bars before it.

    Raises:
        ConfigError, DataError: as ``out_of_fold``.
    """
    for name, sessions in (("first_sessions", first_sessions), ("fold_sessions", fold_sessions)):
        if sessions < 1:
            raise ConfigError(f"{name} is {sessions}; 1 or more")
    last = int(panel.sessions[-1])
    if last < first_sessions:
        raise DataError(
            f"{panel.source}: {last + 1} sessions leave none to guess after {first_sessions}; lower first_sessions"
        )
    starts = np.searchsorted(panel.sessions, np.arange(first_sessions, last + 1, fold_sessions)).tolist()
    for start, stop in zip(starts, (*starts[1:], len(panel)), strict=True):
        try:
            learnt = strategy.fit(panel[:start].detached())
        except ValueError as error:
            raise DataError(f"{panel.source}: {error} to learn from; raise first_sessions") from error
        yield start, stop, learnt
