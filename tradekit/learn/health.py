"""Whether a training run was healthy, gate by gate, and whether several of them converged.

A run can end with a policy that trades and still have stopped exploring on the way. The gates look at the roll-outs,
that is at the policy as it is sampled in training; only the Sharpe ratio is that of the exported policy, which takes
its favourite action, on the validation bars.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.simulate import simulate
from tradekit.errors import ConfigError
from tradekit.evidence.seeds import interquartile_interval
from tradekit.evidence.sharpe import sharpe
from tradekit.learn.composite import LAST
from tradekit.learn.slices import feature_spec, split_bars
from tradekit.learn.telemetry import WINDOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.learn.recipe import Recipe
    from tradekit.market.panel import Panel

    Row = dict[str, Any]

# Steps that an update of a run that is held to the gates learns from at most, so that the first thresholds see several.
MOST_TRANSITIONS = 2_048
# Steps by which a policy must not have stopped exploring, and the entropy, in nats, that shows it has not.
EARLY_STEPS, EARLY_ENTROPY = 6_000, 0.20
# Updates in a row that make a dip a lasting one, and the entropy that none may stay under.
LASTING, LEAST_ENTROPY = 3, 0.18
LEAST_TRADE_RATE, MOST_SANITISED, MOST_REPEATS, LEAST_TRADES = 0.10, 0.15, 0.05, 4.0
LEAST_SHARPE = -0.1
# Validation Sharpe ratio from which seeds have converged, and from which strongly; by how much more than the supervised
# learner's, and the deepest drawdown.
CONVERGED, STRONG, ABOVE_SUPERVISED, DEEPEST = 0.3, 0.5, 0.20, 0.20


def in_short_updates(recipe: Recipe) -> Recipe:
    """Return the recipe with fewer environments, so that an update is of ``MOST_TRANSITIONS`` steps at most.

    Raises:
        ConfigError: no such update can be cut into the recipe's batches.
    """
    ppo = recipe.ppo
    if ppo.update_steps <= MOST_TRANSITIONS:
        return recipe
    steps = ppo.steps if ppo.steps <= MOST_TRANSITIONS else MOST_TRANSITIONS // ppo.batch * ppo.batch
    for environments in range(min(ppo.environments, MOST_TRANSITIONS // max(steps, 1)), 0, -1):
        if steps and environments * steps % ppo.batch == 0:
            return recipe.changed(environments=environments, steps=steps)
    raise ConfigError(
        f"a validation run takes {MOST_TRANSITIONS:,} steps an update at most, and so few, {ppo.steps} of each "
        f"environment, do not make whole batches of {ppo.batch}; lower ppo.batch or ppo.steps"
    )


@dataclass(frozen=True)
class Gate:
    """One thing that a healthy run shows.

    Attributes:
        name: what is measured.
        value: NaN where the run was too short to tell.
        needs: what it has to be, in words.
        met: whether it is; never with NaN.
    """

    name: str
    value: float
    needs: str
    met: bool

    def __str__(self) -> str:
        return f"{self.name} is {self.value:.3g}; it has to be {self.needs}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by name."""
        return asdict(self)


def gates(rows: Sequence[Row], validation_sharpe: float) -> list[Gate]:
    """Return every gate of a run.

    Args:
        rows: of its updates, as in metrics.parquet.
        validation_sharpe: annual, of the checkpoint that was exported; NaN: it has none.

    Rates are means over the run's last updates. The trades in so many steps are those of one environment.
    """
    asked = 1.0 - _late(rows, "chosen.HOLD")
    allowed = _late(rows, "voluntary_trade_rate")
    trades = WINDOW * _late(rows, "executed_trade_rate")
    return [
        _least(f"entropy after {EARLY_STEPS} steps", _early_entropy(rows), EARLY_ENTROPY),
        _least(f"entropy through any {LASTING} updates", _lowest_entropy(rows), LEAST_ENTROPY),
        _least("voluntary trade rate", allowed, LEAST_TRADE_RATE),
        _under("share of trades asked for and not allowed", asked - allowed, MOST_SANITISED),
        _under("share of steps that hit the limit of repeats", _late(rows, "repeat_violations"), MOST_REPEATS),
        _least(f"executed trades in {WINDOW} steps", trades, LEAST_TRADES),
        Gate("validation Sharpe", validation_sharpe, f"above {LEAST_SHARPE:g}", validation_sharpe > LEAST_SHARPE),
    ]


def _least(name: str, value: float, least: float) -> Gate:
    return Gate(name, value, f"at least {least:g}", value >= least)


def _under(name: str, value: float, most: float) -> Gate:
    return Gate(name, value, f"under {most:g}", value < most)


def _early_entropy(rows: Sequence[Row]) -> float:
    return next((_of(row, "entropy") for row in rows if row["step"] >= EARLY_STEPS), math.nan)


def _lowest_entropy(rows: Sequence[Row]) -> float:
    """Return the lowest level that the entropy stayed at or under for LASTING updates; NaN with fewer."""
    entropies = np.array([_of(row, "entropy") for row in rows])
    if len(entropies) < LASTING:
        return math.nan
    return float(np.lib.stride_tricks.sliding_window_view(entropies, LASTING).max(axis=1).min())


def _late(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([_of(row, name) for row in rows[-LAST:]])) if rows else math.nan


def _of(row: Row, name: str) -> float:
    return float(row.get(name, math.nan))


def convergence(sharpes: Sequence[float], drawdowns: Sequence[float], supervised: float) -> dict[str, Any]:
    """Return whether several seeds converged, and the figures that say so.

    Args:
        sharpes: validation Sharpe ratio of each; one that holds cash has none and counts as 0.
        drawdowns: deepest of each on the validation bars, a fraction of the peak.
        supervised: the ratio of a supervised learner on the same bars; NaN: there is none.

    Returns:
        ``level``: "none", "converged" or "strong"; the interquartile mean of the ratios with its bounds, the deepest
        drawdown, and ``supervised_sharpe``.
    """
    told = interquartile_interval(np.array([one if math.isfinite(one) else 0.0 for one in sharpes])[:, None])
    deepest = float(np.max(drawdowns))
    beats = told.value > STRONG and told.value >= supervised + ABOVE_SUPERVISED * abs(supervised)
    level = "strong" if beats and deepest < DEEPEST else "converged" if told.value > CONVERGED else "none"
    return {
        "level": level,
        "sharpe": told.value,
        "sharpe_low": told.low,
        "sharpe_high": told.high,
        "deepest_drawdown": deepest,
        "supervised_sharpe": supervised,
    }


def supervised_sharpe(recipe: Recipe, panel: Panel) -> float:
    """Return the validation Sharpe ratio of logistic regression, learnt from the bars that the recipe trains on.

    It is the plainest supervised learner; see ``ClassifierStrategy``. NaN where the bars are too few for it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tradekit.engine.classifier import ClassifierStrategy

    split = split_bars(recipe, panel, feature_spec(recipe, panel))
    learner = ClassifierStrategy("logistic", make_pipeline(StandardScaler(), LogisticRegression()))
    if split.train_stop - split.start <= learner.lookback + learner.horizon_bars + 1:
        return math.nan
    try:
        fitted: Any = learner.fit(panel[split.start : split.train_stop])
    except ValueError:  # nothing to tell apart
        return math.nan
    seen = panel[: split.stop]
    ledger = simulate(fitted, seen, recipe.costs, recipe.execution, start=split.validation_start)
    return sharpe(ledger.returns, panel.bars_per_year)
