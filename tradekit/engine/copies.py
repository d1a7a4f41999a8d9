"""Strategies are foreign objects: fit copies, ask copies, and see whether a fit changed anything.

A strategy may keep what it learns in itself and return itself, cache a table, or count its calls. Whatever is fitted
here is a copy that nothing has been asked of, so that no knowledge of later bars travels from one window, scenario or
audit to another.
"""

from __future__ import annotations

from copy import deepcopy
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import StrategyError

if TYPE_CHECKING:
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel


class Fitted(NamedTuple):
    """A strategy after ``fit``; learnt: whether that made it another one than before."""

    strategy: AnyStrategy
    learnt: bool


def fresh(strategy: AnyStrategy) -> AnyStrategy:
    """Return an independent copy of a strategy.

    Raises:
        StrategyError: it cannot be copied.
    """
    try:
        return deepcopy(strategy)
    except (TypeError, AttributeError, RuntimeError) as error:
        raise StrategyError(
            f"{strategy.name}: it cannot be copied ({error}); open files and connections where they are used, not in it"
        ) from error


def fit(strategy: AnyStrategy, train: Panel) -> Fitted:
    """Fit a copy of ``strategy`` on ``train``, in memory of its own: a slice would lead to the bars it was cut from.

    A strategy has nothing to learn when ``fit`` answers the strategy itself, unchanged.
    """
    copy = fresh(strategy)
    fitted = copy.fit(train.detached())
    if fitted is None:
        raise StrategyError(f"{strategy.name}: fit returned None; return self, or the fitted strategy")
    return Fitted(fitted, fitted is not copy or not alike(copy, strategy))


def alike(one: Any, two: Any, _seen: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Return whether two objects hold the same state, as far as Python can see.

    Arrays by value (NaN equals NaN), containers and attributes one by one, anything else by ``==`` or its type.
    """
    pair = (id(one), id(two))
    if one is two or pair in _seen:
        return True
    if type(one) is not type(two):
        return False
    seen = _seen | {pair}
    if isinstance(one, np.ndarray):
        return bool(one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes())
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key], seen) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(alike(a, b, seen) for a, b in zip(one, two, strict=True))
    if isinstance(one, str | bytes | int | float | complex | bool | set | frozenset):
        return bool(one == two) or (one != one and two != two)
    if isinstance(one, MethodType):
        return one.__func__ is two.__func__ and alike(one.__self__, two.__self__, seen)
    if isinstance(one, np.random.Generator):
        return alike(one.bit_generator.state, two.bit_generator.state, seen)
    if hasattr(one, "__dict__"):
        return alike(vars(one), vars(two), seen)
    return True
