"""SymbolAgent: a network, its features and its actions as a closed-loop strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.strategy import Targets
from tradekit.learn.actions import (
    ACTIONS,
    NO_DECISION,
    ActionScheme,
    Memory,
    Own,
    Scheme,
    allow,
    execute,
    order,
    remember_nothing,
)
from tradekit.learn.jit import compiled, inlined
from tradekit.learn.observations import STATE, observe

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from tradekit.engine.strategy import Portfolios, View
    from tradekit.market.features import FeatureSpec
    from tradekit.market.panel import Bools, Floats, Panel

    Ints = NDArray[np.int64]
    Decide = Callable[[Floats, Bools], tuple[Ints, Floats]]


class Portfolio(NamedTuple):
    """B portfolios of one position, as ``Own`` has it for one; every array (B,)."""

    shares: Floats
    position: Floats
    average_cost: Floats
    held: Ints
    cash: Floats
    equity: Floats
    peak: Floats
    mark: Floats


@inlined
def _own(all_: Portfolio, b: int) -> Own:
    return Own(
        all_.shares[b],
        all_.position[b],
        all_.average_cost[b],
        all_.held[b],
        all_.cash[b],
        all_.equity[b],
        all_.peak[b],
        all_.mark[b],
    )


@compiled
def look_all(
    scheme: Scheme,
    memory: Memory,
    owns: Portfolio,
    features: Floats,
    tradable: Bools,
    usable: Bools,
    raw: Floats,
    mask: Bools,
) -> None:
    """Write observations (B, D) and masks (B, 7) from features (B, F), tradable (B,) and usable (B,)."""
    for b in range(len(usable)):
        allow(scheme, memory, b, _own(owns, b), tradable[b], usable[b], False, mask[b])
        observe(scheme, memory, b, _own(owns, b), features[b], raw[b])


@compiled
def act_all(
    scheme: Scheme,
    memory: Memory,
    owns: Portfolio,
    chosen: Ints,
    mask: Bools,
    tradable: Bools,
    usable: Bools,
    executed: Ints,
    reason: Ints,
    shares: Floats,
) -> None:
    """Write executed (B,), reason (B,) and the signed shares to order (B,) for actions chosen (B,)."""
    for b in range(len(chosen)):
        own = _own(owns, b)
        executed[b], reason[b] = execute(scheme, memory, b, own, chosen[b], mask[b], tradable[b], usable[b], False)
        shares[b] = order(scheme, executed[b], own)


class Diary:
    """The memory of B agents during one run, and what they decided at each bar."""

    def __init__(self, agents: int) -> None:
        self.memory = remember_nothing(agents)
        self.chosen: list[Ints] = []
        self.executed: list[Ints] = []
        self.reason: list[Ints] = []
        self.choices: list[Ints] = []
        self.entropy: list[Floats] = []


class SymbolAgent:
    """One policy applied to every symbol, each in an equal sleeve of the capital.

    Args:
        name: shown in results.
        features: what is seen of the bars.
        scheme: what the actions do.
        decide_by: raw observations (B, D) and masks (B, 7) to actions (B,) and probabilities (B, 7).
    """

    sleeves = True
    kind = "policy"

    def __init__(self, name: str, features: FeatureSpec, scheme: ActionScheme, decide_by: Decide) -> None:
        self.name, self.features, self.scheme = name, features, scheme
        self._decide_by, self._kernel = decide_by, scheme.kernel

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return self: a policy is frozen, and what it remembers is in its diary."""
        return self

    @property
    def lookback(self) -> int:
        """Bars of history that the features need, the newest included."""
        return self.features.lookback

    def fit(self, train: Panel) -> Self:
        """Return self: the policy is frozen."""
        return self

    def start(self, portfolios: int) -> Diary:
        """Return an empty diary."""
        return Diary(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: Diary) -> Targets:
        """Return the shares each sleeve orders after the newest bar."""
        column = portfolios.column
        features = np.ascontiguousarray(view.features(self.features)[column])
        tradable = view.tradable[column]
        usable = tradable & np.isfinite(features).all(axis=1)
        owns = _portfolio(portfolios, view.mark[column])
        raw = np.empty((len(column), features.shape[1] + len(STATE)))
        mask = np.empty((len(column), ACTIONS), np.bool_)
        look_all(self._kernel, state.memory, owns, features, tradable, usable, raw, mask)
        chosen, probabilities = self._decide_by(raw, mask)
        executed, reason, shares = np.empty_like(chosen), np.empty_like(chosen), np.empty(len(chosen))
        act_all(self._kernel, state.memory, owns, chosen, mask, tradable, usable, executed, reason, shares)
        state.chosen.append(chosen)
        state.executed.append(executed)
        state.reason.append(reason)
        state.choices.append(mask.sum(axis=1))
        state.entropy.append(_entropy(probabilities))
        return Targets(shares[:, None], are_shares=True)

    def extras(self, state: Diary, portfolios: slice) -> dict[str, Any]:
        """Return what was chosen, what was executed and why, of how many actions, and the policy's entropy in nats.

        All (T, B), int8 but for the entropy; numbers are those of tradekit.learn.actions. The last bar of a run asks
        for no decision: -1, and NaN.
        """
        batch = len(state.memory.last[portfolios])
        nothing = np.full((1, batch), NO_DECISION, np.int8)
        kept: dict[str, Any] = {}
        for name in ("chosen", "executed", "reason", "choices"):
            rows = [row[portfolios].astype(np.int8)[None] for row in getattr(state, name)]
            kept[name] = np.concatenate([*rows, nothing])
        rows = [row[portfolios][None] for row in state.entropy]
        kept["entropy"] = np.concatenate([*rows, np.full((1, batch), np.nan)])
        return kept


def _portfolio(portfolios: Portfolios, mark: Floats) -> Portfolio:
    shares = portfolios.shares[:, 0]
    return Portfolio(
        shares=shares,
        position=shares + portfolios.pending[:, 0],
        average_cost=portfolios.average_cost[:, 0],
        held=portfolios.held[:, 0],
        cash=portfolios.cash,
        equity=portfolios.equity,
        peak=portfolios.peak,
        mark=mark,
    )


def _entropy(probabilities: Floats) -> Floats:
    """Return (B,) the entropy of each row in nats."""
    log = np.log(np.where(probabilities > 0.0, probabilities, 1.0))
    entropies: Floats = -(probabilities * log).sum(axis=1)
    return entropies
