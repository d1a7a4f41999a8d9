"""Out-of-fold probabilities of a rise as one more thing that a policy sees.

Logistic regression is fitted again for every fold of sessions, on the bars before it alone, and each fit answers until
the next one: for the bars of training and validation that gives ``engine.out_of_fold``, and the last fit, on all bars
that training was given, answers from there on. The fits are a few numbers each, so that a bundle holds them all and
training, backtest and session compute the same value of a bar.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError
from tradekit.learn.checks import demand_text, demand_whole, tuple_of
from tradekit.learn.jit import compiled
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats, Panel

NAME = "p_rise"
# Under which a recipe asks for the probabilities and a bundle keeps what answers them.
SUPERVISED = "supervised"


@dataclass(frozen=True)
class Supervised:
    """How the probabilities are learnt.

    Attributes:
        horizon_bars: from the fill to the price that decides whether a symbol rose.
        first_sessions: sessions that are only learnt from; policies hold until they are over.
        fold_sessions: sessions that a fit answers before the next one.
        features: what the classifier sees: names of features or of sets.

    Raises:
        ConfigError: a value out of range or of a wrong type.
    """

    horizon_bars: int = 5
    first_sessions: int = 504
    fold_sessions: int = 126
    features: tuple[str, ...] = ("close",)

    def __post_init__(self) -> None:
        chosen: Any = self.features
        object.__setattr__(self, "features", (chosen,) if isinstance(chosen, str) else chosen)
        tuple_of(self, "features")
        for name in ("horizon_bars", "first_sessions", "fold_sessions"):
            demand_whole(name, getattr(self, name), 1)
        for name in self.features:
            demand_text("a name in features", name)
        _ = self.spec  # an unknown one is refused here

    @property
    def spec(self) -> FeatureSpec:
        """What the classifier sees."""
        return FeatureSpec.named(*self.features)


@compiled
def _guess(table: Floats, fit: NDArray[np.int64], weights: Floats, bias: Floats, out: Floats) -> None:
    """Write the probabilities (T, N) of features (T, N, F) by fit (T,) of weights (M, F) and bias (M,); -1: NaN."""
    bars, width, count = table.shape
    for t in range(bars):
        for n in range(width):
            out[t, n] = np.nan
            if fit[t] >= 0:
                logit = bias[fit[t]]
                for i in range(count):
                    logit += weights[fit[t], i] * table[t, n, i]
                out[t, n] = 1.0 / (1.0 + np.exp(-logit))


@dataclass(frozen=True)
class WithProbabilities(FeatureSpec):
    """Features with the probability of a rise after them.

    Attributes:
        names: of the features, ``p_rise`` last.
        learner: what the fits see.
        since: of M fits, the opens of the first bars that each answers, ascending.
        weights, bias: (M, F) and (M,) of their logits.
    """

    learner: FeatureSpec
    since: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The features that have to be computed."""
        return tuple(dict.fromkeys((*self.names[:-1], *self.learner.names)))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the meaning of the features and every number of the fits."""
        hashes = [FeatureSpec(self.names[:-1]).content_hash, self.learner.content_hash]
        return hashlib.sha256(json.dumps([*hashes, self.to_dict()]).encode()).hexdigest()

    def compute(self, panel: Panel) -> Floats:
        """Return the features and the probability of every bar, (T, N, F + 1) float64, read-only.

        The probability is NaN before the first fit, and where a feature that it is made of is.
        """
        table, seen = FeatureSpec(self.names[:-1]).compute(panel), self.learner.compute(panel)
        out = np.empty((*table.shape[:2], len(self.names)))
        out[:, :, :-1] = table
        starts = np.array(self.since, "M8[ns]")
        fit = np.searchsorted(starts, panel.timestamps.astype("M8[ns]"), side="right") - 1
        guesses = np.empty(table.shape[:2])
        _guess(seen, fit, np.array(self.weights), np.array(self.bias), guesses)
        out[:, :, -1] = guesses
        out.setflags(write=False)
        return out

    def describe(self) -> list[tuple[str, int, str]]:
        """Return a row (name, lookback in bars, formula) for each feature and for the probability."""
        told = (
            f"probability of a rise, by the newest of {len(self.since)} logistic regressions that learnt before the bar"
        )
        return [*FeatureSpec(self.names[:-1]).describe(), (NAME, self.learner.lookback, told)]

    def to_dict(self) -> dict[str, Any]:
        """Return what a bundle keeps beside the names; floats survive JSON exactly."""
        return {
            "features": list(self.learner.names),
            "since": list(self.since),
            "weights": [list(row) for row in self.weights],
            "bias": list(self.bias),
        }

    @classmethod
    def from_dict(cls, names: Sequence[str], said: Mapping[str, Any]) -> WithProbabilities:
        """Return what ``to_dict`` and the names describe."""
        return cls(
            tuple(names),
            FeatureSpec(tuple(said["features"])),
            tuple(said["since"]),
            tuple(tuple(row) for row in said["weights"]),
            tuple(said["bias"]),
        )


def with_probabilities(features: FeatureSpec, settings: Supervised, panel: Panel, stop: int) -> WithProbabilities:
    """Return ``features`` with the probabilities of fits on the bars of ``panel`` before row ``stop``.

    Raises:
        DataError: these hold no session after the first ones, or no two examples to tell apart.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tradekit.engine.classifier import ClassifierStrategy
    from tradekit.engine.out_of_fold import folds

    seen = panel[:stop]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    learner = ClassifierStrategy(NAME, model, horizon_bars=settings.horizon_bars, smooth_bars=1, features=settings.spec)
    try:
        fits = [
            (str(seen.timestamps[start].astype("M8[ns]")), fitted)
            for start, _, fitted in folds(learner, seen, settings.first_sessions, settings.fold_sessions)
        ]
    except DataError as error:
        raise DataError(f"[supervised]: {error}, or give more bars") from error
    after = seen.timestamps[-1].astype("M8[ns]") + np.timedelta64(1, "ns")
    fits.append((str(after), learner.fit(seen.detached())))
    since, fitted = zip(*fits, strict=True)
    weights, bias = zip(*(_logit(one.fitted) for one in fitted), strict=True)
    return WithProbabilities((*features.names, NAME), settings.spec, since, weights, bias)


def _logit(pipeline: Any) -> tuple[tuple[float, ...], float]:
    """Return weights (F,) and bias of the logit of a fitted scaler and logistic regression, of raw features."""
    scaler, model = pipeline[0], pipeline[1]
    weights = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0])
    for weight, mean in zip(weights.tolist(), scaler.mean_.tolist(), strict=True):
        bias -= weight * mean
    return tuple(weights.tolist()), bias
