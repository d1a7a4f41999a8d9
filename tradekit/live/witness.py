"""What a decision was made of, in a form that a journal keeps.

Digests of the bars and features that the strategy was shown, and what it says of itself. The backtest of the verdict is
watched in the same way, so that a decision that differs can be traced to the first input that did.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tradekit.engine.view import View
from tradekit.live.tape import nullable
from tradekit.market.panel import FIELDS

if TYPE_CHECKING:
    from tradekit.engine.strategy import ClosedLoop, Portfolios, Targets
    from tradekit.market.features import FeatureSpec
    from tradekit.market.panel import Floats, Panel

Sight = dict[str, dict[str, Any]]
"""Of one decision: ``features``, digests by name, and ``diary``, numbers as JSON has them."""

DIGEST_BYTES = 8
DIARY_DIGITS = 6


@runtime_checkable
class KeepsDiary(Protocol):
    """A closed loop that says of its newest decision what it was made of, such as actions and probabilities."""

    def newest(self, state: Any) -> dict[str, Any]:
        """Return arrays of B rows by name."""


class WatchedView(View):
    """A view that notes the features it was asked for."""

    noted: dict[str, str]

    @classmethod
    def of(cls, view: View) -> WatchedView:
        """Return ``view``, watched."""
        watched = cls.__new__(cls)
        vars(watched).update(vars(view), noted={})
        return watched

    def features(self, spec: FeatureSpec) -> Floats:
        """Return what the view does."""
        row, names = super().features(spec), spec.names
        for k in range(row.shape[-1]):  # a spec may hold the features of some bars before as well
            before = f", {k // len(names)} before" if k >= len(names) else ""
            self.noted[names[k % len(names)] + before] = digest(row[..., k])
        return row


class Witness:
    """A closed loop that answers as ``loop`` does, and what each of its decisions was made of.

    Copies share ``sights``: a run asks a copy.
    """

    def __init__(self, loop: ClosedLoop, sights: list[Sight] | None = None) -> None:
        self.name, self.sleeves, self._loop = loop.name, loop.sleeves, loop
        self.lookback: int | None = getattr(loop, "lookback", None)
        self.sights: list[Sight] = [] if sights is None else sights

    def __deepcopy__(self, memo: dict[int, object]) -> Witness:
        return Witness(deepcopy(self._loop, memo), self.sights)

    def fit(self, train: Panel) -> Witness:
        """Fit the loop."""
        return Witness(self._loop.fit(train), self.sights)

    def start(self, portfolios: int) -> Any:
        """Return the loop's memory."""
        return self._loop.start(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        """Return the loop's answer."""
        watched = WatchedView.of(view)
        targets = self._loop.decide(watched, portfolios, state)
        diary = self._loop.newest(state) if isinstance(self._loop, KeepsDiary) else {}
        self.sights.append({"features": watched.noted, "diary": {key: _plain(row) for key, row in diary.items()}})
        return targets


def bars_seen(panel: Panel, lookback: int | None) -> dict[str, str]:
    """Return a digest of each column of the last ``lookback`` bars of a panel, of all when None."""
    rows = slice(None) if lookback is None else slice(-lookback, None)
    names = ("timestamps", *(name for name in FIELDS if name in panel.columns), "tradable", "benchmark_returns")
    return {name: digest(getattr(panel, name)[rows]) for name in names}


def digest(array: Any) -> str:
    """Return a short digest of an array; those of two arrays are equal when these are, to the last bit."""
    raw = np.ascontiguousarray(array).view(np.uint8).data
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).hexdigest()


def _plain(values: Any) -> Any:
    """Return numbers as JSON has them: null for NaN, and few digits of those that are there to be read."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return array.tolist()
    return nullable(np.round(array, DIARY_DIGITS).astype(np.float64))
