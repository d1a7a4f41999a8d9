"""What a symbol agent sees: features of the bars so far, and its own state.

An observation is F features followed by the state block. It is kept raw, float64, and normalised in one place: with
the statistics of the training window for features and fixed scales for the state, clipped. Statistics are pooled over
symbols, because one network trades all of them and must read one scale; features are free of units, so pooling is
sound.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import DataError
from tradekit.learn.actions import ACTIONS, NAMES, Memory, Own, Scheme
from tradekit.learn.jit import compiled, inlined
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats, Panel

    Singles = NDArray[np.float32]

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
    def fit(cls, table: Floats, usable: Bools, stacked: int = 1) -> Normalisation:
        """Return statistics of the features (T, N, F) pooled over ``usable`` (T, N), and the state's scales.

        The features of each of the ``stacked`` bars have the same statistics, those of the newest.

        Raises:
            DataError: no bar is usable.
        """
        rows = table[usable]
        if not len(rows):
            raise DataError("no bar has all features in the training range; use more bars before the end of training")
        spread = rows.std(axis=0)
        spread = np.where(spread > _CONSTANT * (1.0 + np.abs(rows.mean(axis=0))), spread, 1.0)
        mean, state = np.tile(rows.mean(axis=0), stacked), np.array(list(STATE.values()))
        spread = np.tile(spread, stacked)
        return cls(np.concatenate([mean, np.zeros(len(state))]), np.concatenate([spread, state]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers; floats survive JSON exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "clip": self.clip, "statistics": "pooled"}


def names(spec: FeatureSpec, stacked: int = 1) -> tuple[str, ...]:
    """Return the D names of an observation's entries; ``stacked`` bars of features, the newest first.

    >>> names(FeatureSpec.named("return_1", "range_1"), stacked=2)[:4]
    ('return_1', 'range_1', 'return_1_ago_1', 'range_1_ago_1')
    """
    older = [f"{name}_ago_{bars}" for bars in range(1, stacked) for name in spec.names]
    return (*spec.names, *older, *STATE)


@dataclass(frozen=True)
class Stacked(FeatureSpec):
    """A choice of features as they were in the last bars too.

    Attributes:
        bars: how many, K; ``compute`` answers (T, N, K F), the newest bar's F features first, NaN before the first bar.
        of: what answers the features of one bar; None: the features called ``names``.
    """

    bars: int = 1
    of: FeatureSpec | None = None

    @property
    def single(self) -> FeatureSpec:
        """What answers the features of one bar."""
        return self.of or FeatureSpec(self.names)

    @property
    def reads(self) -> tuple[str, ...]:
        """The features that have to be computed."""
        return self.names if self.of is None else self.of.reads

    @property
    def lookback(self) -> int:
        """Bars, the newest included, that a row of ``compute`` depends on."""
        return super().lookback + self.bars - 1

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the features' hash and the number of bars."""
        return hashlib.sha256(f"{self.single.content_hash} x {self.bars}".encode()).hexdigest()

    def compute(self, panel: Panel) -> Floats:
        """Return the features of every bar and of those before it, (T, N, K F) float64, read-only."""
        table = self.single.compute(panel)
        bars, width, count = table.shape
        out = np.full((bars, width, self.bars * count), np.nan)
        for k in range(min(self.bars, bars)):
            out[k:, :, k * count : (k + 1) * count] = table[: bars - k]
        out.setflags(write=False)
        return out


def default_features(panel: Panel) -> str:
    """Return the feature set that fits the data: ``ohlcv``, or ``close`` where the data has less."""
    needed = FeatureSpec.named("ohlcv").requires
    return "ohlcv" if all(column in panel.columns for column in needed) else "close"


def usable_bars(panel: Panel, table: Floats, stacked: int = 1) -> Bools:
    """Return (T, N) whether a bar is tradable, and it and ``stacked - 1`` before it have all of ``table`` (T, N, F)."""
    complete: Bools = np.isfinite(table).all(axis=2)  # type: ignore[assignment] # a scalar only without axes
    usable: Bools = panel.tradable & complete
    for bars in range(1, stacked):
        usable[bars:] &= complete[:-bars]
        usable[:bars] = False
    return usable


class Block(NamedTuple):
    """The part of the state block that is not the one-hot last action, in the order of ``STATE``."""

    weight: float
    pending_weight: float
    unrealised_return: float
    bars_held: float
    cash_fraction: float
    drawdown: float
    repeats: float


@compiled
def log_bars(held: int) -> float:
    """Return what an agent sees of the bars since entry."""
    return float(np.log1p(np.float64(held)))


@inlined
def block_of(scheme: Scheme, memory: Memory, b: int, own: Own, bars_held: float) -> Block:
    """Return the state of agent b; ``bars_held`` is ``log_bars`` of its position."""
    is_flat, moves = own.shares == 0.0, own.position != own.shares
    return Block(
        own.position * own.mark / own.equity if own.position != 0.0 else 0.0,
        (own.position - own.shares) * own.mark / own.equity if moves else 0.0,
        0.0 if is_flat else own.mark / own.average_cost - 1.0,
        bars_held,
        own.cash / own.equity,
        own.equity / own.peak - 1.0,
        memory.streak[b] / scheme.repeats_unit,
    )


@compiled
def observe(scheme: Scheme, memory: Memory, b: int, own: Own, features: Floats, observation: Floats) -> None:
    """Write the raw observation of agent b into ``observation`` (D,).

    ``features`` (K F,) are those of the agent's symbol, of the decision bar first and of the K - 1 bars before it after
    that; NaN among them stays NaN.
    """
    count = len(features)
    for i in range(count):
        observation[i] = features[i]
    state = observation[count:]
    block = block_of(scheme, memory, b, own, log_bars(own.held))
    for i in range(_LAST_ACTION):
        state[i] = block[i]
    for action in range(ACTIONS):
        state[_LAST_ACTION + action] = 1.0 if memory.last[b] == action else 0.0


@inlined
def normal(value: float, mean: float, scale: float, clip: float) -> np.float32:
    """Return a normalised value, clipped; 0 where it is not finite."""
    value = (value - mean) / scale
    return np.float32(min(max(value, -clip), clip) if np.isfinite(value) else 0.0)


@compiled
def normalise(raw: Floats, mean: Floats, scale: Floats, clip: float, out: Singles) -> None:
    """Write the normalised ``raw`` (D,) into ``out`` (D,) float32."""
    for i in range(len(raw)):
        out[i] = normal(raw[i], mean[i], scale[i], clip)


@compiled
def normalise_rows(rows: Floats, mean: Floats, scale: Floats, clip: float, out: Singles) -> None:
    """Write the normalised ``rows`` (M, D) into ``out`` (M, D) float32."""
    for i in range(len(rows)):
        normalise(rows[i], mean, scale, clip, out[i])


def first_usable(usable: Bools, start: int, stop: int) -> NDArray[np.int64]:
    """Return (N,) the first usable row of each column in ``start <= t < stop``; ``stop`` where there is none."""
    rows = start + np.argmax(usable[start:stop], axis=0)
    return np.where(usable[start:stop].any(axis=0), rows, stop)
