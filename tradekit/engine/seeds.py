"""Seeds: a strategy with randomness in it, run under several, and what the runs are on average."""

from __future__ import annotations

from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import ConfigError
from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.ledger import Ledger
    from tradekit.engine.strategy import AnyStrategy


def has_seed(strategy: AnyStrategy) -> bool:
    """Return whether a strategy says that it draws: it has a whole number ``seed``."""
    seed = getattr(strategy, "seed", None)
    return isinstance(seed, int) and not isinstance(seed, bool)


def with_seed(strategy: AnyStrategy, seed: int) -> AnyStrategy:
    """Return a copy of a strategy that draws from another seed.

    Raises:
        ConfigError: its seed cannot be set.
    """
    one: Any = strategy
    try:
        changed: Any
        if is_dataclass(one) and not isinstance(one, type) and "seed" in {item.name for item in fields(one)}:
            changed = replace(one, seed=seed)
        else:
            changed = copy(one)
            changed.seed = seed
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{strategy.name}: its seed cannot be set ({error}); make seed an attribute of it") from error
    return changed  # type: ignore[no-any-return] # a copy of a strategy is one


def averaged(ledgers: Sequence[Ledger]) -> Ledger:
    """Return the account that holds an equal part of each of several: the same cash, bars and costs, other seeds.

    Every order stands in it with its part of the quantity and of the costs. What the strategies recorded is left out.
    """
    first, parts = ledgers[0], len(ledgers)
    if parts == 1:
        return first
    orders = np.concatenate([ledger.orders for ledger in ledgers])
    for name in ("requested", "quantity", *TERMS):
        orders[name] /= parts
    orders = orders[np.lexsort((orders["symbol"], orders["portfolio"], orders["fill_bar"]))]
    sleeves = [ledger.sleeve_equity for ledger in ledgers if ledger.sleeve_equity is not None]
    return replace(
        first,
        equity=np.mean([ledger.equity for ledger in ledgers], axis=0),
        cash=np.mean([ledger.cash for ledger in ledgers], axis=0),
        orders=orders,
        sleeve_equity=np.mean(sleeves, axis=0) if len(sleeves) == parts else None,
        borrow_paid=float(np.mean([ledger.borrow_paid for ledger in ledgers])),
        interest_earned=float(np.mean([ledger.interest_earned for ledger in ledgers])),
        extras={},
    )
