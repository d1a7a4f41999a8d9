"""One number for a training run, to compare runs of the same recipe by. It chooses nothing: validation Sharpe does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

# Updates at the end of a run that count as what it arrived at.
LAST = 5
WEIGHTS = {"profitability": 0.40, "reward": 0.20, "value_fit": 0.20, "entropy": 0.10, "instability": -0.10}
# An annual Sharpe ratio, nats, a KL and a clip fraction at which a part is full.
FULL_SHARPE, FULL_ENTROPY, FULL_KL, FULL_CLIP = 2.0, 0.55, 0.05, 0.35


def composite_score(rows: Sequence[dict[str, Any]], sharpe: float) -> dict[str, float]:
    """Return the score of a run, in [-0.1, 0.9], and its parts, each in [0, 1].

    Args:
        rows: of its updates.
        sharpe: annual, of the chosen checkpoint on the validation bars; not finite counts as nothing.

    Profitability is 0 at a Sharpe ratio of 0 or less and 1 at 2; reward is the share of updates whose mean reward was
    above that of the first; value fit is the explained variance, entropy that of the policy against 0.55 nats, and
    instability the larger of KL against 0.05 and clip fraction against 0.35, each averaged over the last updates.

    >>> composite_score([], 1.0)["profitability"]
    0.5
    """
    last = rows[-LAST:]
    parts = {
        "profitability": _share(sharpe / FULL_SHARPE),
        "reward": _mean([float(row["reward_mean"] > rows[0]["reward_mean"]) for row in rows[1:]]),
        "value_fit": _share(_mean([row["explained_variance"] for row in last])),
        "entropy": _share(_mean([row["entropy"] for row in last]) / FULL_ENTROPY),
        "instability": _share(
            max(_mean([row["kl"] for row in last]) / FULL_KL, _mean([row["clip_fraction"] for row in last]) / FULL_CLIP)
        ),
    }
    return {"score": sum(WEIGHTS[name] * part for name, part in parts.items()), **parts}


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
