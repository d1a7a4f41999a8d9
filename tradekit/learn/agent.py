"""SymbolAgent: a network, its features and its actions as a closed-loop strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.strategy import Targets
from tradekit.errors import StrategyError
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
from tradekit.learn.observations import STATE, Stacked, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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


KEPT = ("chosen", "executed", "reason", "choices")


class Diary:
    """The memory of B agents during one run, and what they decided at each bar."""

    GROWS = ("steps", "entropy")  # a session writes down what is new in them, and not all of them at every bar

    def __init__(self, agents: int) -> None:
        self.memory = remember_nothing(agents)
        self.steps: list[NDArray[np.int8]] = []  # one (4, B) a bar: KEPT
        self.entropy: list[Floats] = []  # one (B,) a bar
        self.probabilities: Floats | None = None  # (B, 7) of the newest bar


class SymbolAgent:
    """One policy applied to every symbol, each in an equal sleeve of the capital.

    Args:
        name: shown in results.
        features: what is seen of the bars.
        scheme: what the actions do.
        decide_by: raw observations (B, D) and masks (B, 7) to actions (B,) and probabilities (B, 7).
        stacked_bars: of how many bars it sees the features at once.
    """

    sleeves = True
    kind = "policy"

    def __init__(
        self, name: str, features: FeatureSpec, scheme: ActionScheme, decide_by: Decide, stacked_bars: int = 1
    ) -> None:
        self.name, self.features, self.scheme = name, features, scheme
        self._sees = features if stacked_bars == 1 else Stacked(features.names, stacked_bars, features)
        self._decide_by, self._kernel = decide_by, scheme.kernel

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return self: a policy is frozen, and what it remembers is in its diary."""
        return self

    @property
    def lookback(self) -> int:
        """Bars of history that the features need, the newest included."""
        return self._sees.lookback

    def fit(self, train: Panel) -> Self:
        """Return self: the policy is frozen."""
        return self

    def start(self, portfolios: int) -> Diary:
        """Return an empty diary."""
        return Diary(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: Diary) -> Targets:
        """Return the shares each sleeve orders after the newest bar."""
        return self.decide_all([view], portfolios, state)

    def decide_all(self, views: Sequence[View], portfolios: Portfolios, state: Diary) -> Targets:
        """Return the shares each sleeve orders after the newest bar of its own view."""
        sight = (portfolios.window, portfolios.column)
        features = np.array([view.features(self._sees) for view in views])[sight]
        tradable = np.array([view.tradable for view in views])[sight]
        usable = tradable & np.isfinite(features).all(axis=1)
        position = portfolios.expected(np.array([view.bar for view in views])[portfolios.window])[:, 0]
        owns = _portfolio(portfolios, position, np.array([view.mark for view in views])[sight])
        raw = np.empty((len(tradable), features.shape[1] + len(STATE)))
        mask = np.empty((len(tradable), ACTIONS), np.bool_)
        look_all(self._kernel, state.memory, owns, features, tradable, usable, raw, mask)
        chosen, probabilities = self._decide_by(raw, mask)
        if not np.isfinite(probabilities).all():
            raise StrategyError(f"{self.name}: probabilities that are not finite; train it again or take an older one")
        executed, reason, shares = np.empty_like(chosen), np.empty_like(chosen), np.empty(len(chosen))
        act_all(self._kernel, state.memory, owns, chosen, mask, tradable, usable, executed, reason, shares)
        state.steps.append(np.array([chosen, executed, reason, mask.sum(axis=1)], np.int8))
        state.entropy.append(_entropy(probabilities))
        state.probabilities = probabilities
        return Targets(shares[:, None], are_shares=True)

    def newest(self, state: Diary) -> dict[str, Any]:
        """Return what the newest decision was made of: KEPT and entropy (B,), and probabilities (B, 7)."""
        kept = dict(zip(KEPT, state.steps[-1], strict=True))
        return {**kept, "entropy": state.entropy[-1], "probabilities": state.probabilities}

    def extras(self, state: Diary, portfolios: slice) -> dict[str, Any]:
        """Return what was chosen, what was executed and why, of how many actions, and the policy's entropy in nats.

        All (T, B), int8 but for the entropy; numbers are those of tradekit.learn.actions. The last bar of a run asks
        for no decision: -1, and NaN.
        """
        first, stop, _ = portfolios.indices(len(state.memory.last))
        asked = sum(len(row) >= stop for row in state.entropy)  # those of windows that end sooner were asked less
        steps = np.full((asked + 1, len(KEPT), stop - first), NO_DECISION, np.int8)
        entropy = np.full((asked + 1, stop - first), np.nan)
        for t in range(asked):
            steps[t], entropy[t] = state.steps[t][:, first:stop], state.entropy[t][first:stop]
        return {name: steps[:, k] for k, name in enumerate(KEPT)} | {"entropy": entropy}


def _portfolio(portfolios: Portfolios, position: Floats, mark: Floats) -> Portfolio:
    return Portfolio(
        shares=portfolios.shares[:, 0],
        position=position,
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
