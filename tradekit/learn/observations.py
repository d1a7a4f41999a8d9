"""What a symbol agent sees: features of the bars so far, and its own state.

An observation is F features followed by the state block. It is kept raw, float64, and normalised in one place: with
the statistics of the training window for features and fixed scales for the state, clipped. Statistics are pooled over
symbols, because one network trades all of them and must read one scale; features are free of units, so pooling is
sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError
from tradekit.learn.actions import ACTIONS, NAMES, Memory, Own, Scheme
from tradekit.learn.jit import compiled
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats, Panel

CLIP = 10.0

# Name of each entry of the state block and what a raw value is divided by.
STATE = {
    "weight": 1.0,
    "pending_weight": 1.0,
    "unrealised_return": 0.1,
    "bars_held": 5.0,
    "cash_fraction": 1.0,
    "drawdown": 0.1,
    "repeats": 1.0,
    **{f"last_{name.lower()}": 1.0 for name in NAMES},
}
_LAST_ACTION = list(STATE).index("last_hold")
# A feature that does not vary in training, such as the time of day of daily bars, is centred and left at that.
_CONSTANT = 1e-12


@dataclass(frozen=True)
class Normalisation:
    """How a raw observation becomes what the network reads: ``clip((raw - mean) / scale, -clip, clip)``.

    Attributes:
        mean, scale: (D,).
        clip: bound of the result; what is not finite becomes 0.
    """

    mean: Floats
    scale: Floats
    clip: float = CLIP

    @classmethod
    def fit(cls, table: Floats, usable: Bools) -> Normalisation:
        """Return statistics of the features (T, N, F) pooled over ``usable`` (T, N), and the state's scales.

        Raises:
            DataError: no bar is usable.
        """
        rows = table[usable]
        if not len(rows):
            raise DataError("no bar has all features in the training range; use more bars before the end of training")
        spread = rows.std(axis=0)
        spread = np.where(spread > _CONSTANT * (1.0 + np.abs(rows.mean(axis=0))), spread, 1.0)
        state = np.array(list(STATE.values()))
        return cls(np.concatenate([rows.mean(axis=0), np.zeros(len(state))]), np.concatenate([spread, state]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers; floats survive JSON exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "clip": self.clip, "statistics": "pooled"}


def names(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the D names of an observation's entries."""
    return (*spec.names, *STATE)


def default_features(panel: Panel) -> str:
    """Return the feature set that fits the data: ``ohlcv``, or ``close`` where the data has less."""
    needed = FeatureSpec.named("ohlcv").requires
    return "ohlcv" if all(column in panel.columns for column in needed) else "close"


def usable_bars(panel: Panel, table: Floats) -> Bools:
    """Return (T, N) whether a bar is tradable and has every feature of ``table`` (T, N, F)."""
    usable: Bools = panel.tradable & np.isfinite(table).all(axis=2)
    return usable


@compiled
def observe(scheme: Scheme, memory: Memory, b: int, own: Own, features: Floats, observation: Floats) -> None:
    """Write the raw observation of agent b into ``observation`` (D,).

    ``features`` (F,) are those of the agent's symbol at the decision bar; NaN among them stays NaN.
    """
    count = len(features)
    for i in range(count):
        observation[i] = features[i]
    state = observation[count:]
    is_flat, moves = own.shares == 0.0, own.position != own.shares
    state[0] = own.position * own.mark / own.equity if own.position != 0.0 else 0.0
    state[1] = (own.position - own.shares) * own.mark / own.equity if moves else 0.0
    state[2] = 0.0 if is_flat else own.mark / own.average_cost - 1.0
    state[3] = np.log1p(np.float64(own.held))
    state[4] = own.cash / own.equity
    state[5] = own.equity / own.peak - 1.0
    state[6] = memory.streak[b] / scheme.max_consecutive
    for action in range(ACTIONS):
        state[_LAST_ACTION + action] = 1.0 if memory.last[b] == action else 0.0


@compiled
def normalise(raw: Floats, mean: Floats, scale: Floats, clip: float, out: NDArray[np.float32]) -> None:
    """Write the normalised ``raw`` (D,) into ``out`` (D,) float32."""
    for i in range(len(raw)):
        value = (raw[i] - mean[i]) / scale[i]
        out[i] = min(max(value, -clip), clip) if np.isfinite(value) else 0.0


def first_usable(usable: Bools, start: int, stop: int) -> NDArray[np.int64]:
    """Return (N,) the first usable row of each column in ``start <= t < stop``; ``stop`` where there is none."""
    rows = start + np.argmax(usable[start:stop], axis=0)
    return np.where(usable[start:stop].any(axis=0), rows, stop)
