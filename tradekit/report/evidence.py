"""What the strategies of a run prove together: trials, overfitting, superiority, and each pair on the same bars."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.evidence import bootstrap, measures
from tradekit.evidence.bootstrap import DEVIATION, FALL, GROWTH, percentile_interval
from tradekit.evidence.deflated import clusters_of, deflated_difference, deflated_sharpe
from tradekit.evidence.overfitting import BLOCKS, overfitting_probability
from tradekit.evidence.sharpe import sharpe
from tradekit.evidence.superiority import step_m, superior_ability
from tradekit.report.metrics import FEWEST_BARS, scored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.evidence.bootstrap import Resampled
    from tradekit.market.panel import Floats
    from tradekit.report.record import Record

CANDIDATES = ("policy", "custom")
NULL, CEILING = "null", "ceiling"
REFERENCE = "buy_and_hold"
ADDED = (
    "deflated_sharpe",
    "deflated_sharpe_clustered",
    "deflated_threshold",
    "deflated_difference",
    "ceiling_capture",
    *(
        f"{name}_{end}"
        for name in (
            "sharpe_bootstrap",
            "cagr",
            "total_return",
            "volatility",
            "max_drawdown",
            "excess_over_benchmark",
        )
        for end in ("low", "high")
    ),
)
"""Metrics that need the strategies side by side, or resamples."""

SEED = 0
"""Of every bootstrap: a run says the same however often its report is rebuilt."""


@dataclass(frozen=True, eq=False)
class Joint:
    """The strategies that were scored, on the same n bars.

    Attributes:
        names, kinds: of S strategies, the ceiling aside.
        returns: (n, S) simple returns per bar.
        benchmark: (n,), NaN where unknown.
        ceiling: (n,) what perfect foresight earned; None where the run has none.
        honest: (S,) False where the causality audit failed.
        bars_per_year: bars in a year.
        others: (n, K) returns of trials of earlier runs, which could have been picked instead; None: there are none.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    returns: Floats
    benchmark: Floats
    ceiling: Floats | None
    honest: tuple[bool, ...]
    bars_per_year: float
    others: Floats | None = None

    def places(self, *kinds: str) -> list[int]:
        """Return the columns of honest strategies of these kinds."""
        return [k for k, kind in enumerate(self.kinds) if kind in kinds and self.honest[k]]

    @property
    def candidates(self) -> list[int]:
        """Columns of what is being judged: policies, and a user's own strategies."""
        return [k for k in self.places(*CANDIDATES) if self.names[k] != REFERENCE]

    @property
    def baselines(self) -> list[int]:
        """Columns of what needs no belief: heuristics, supervised and classical strategies, the null."""
        return [k for k in range(len(self.names)) if self.honest[k] and k not in self.candidates]

    @property
    def reference(self) -> Floats:
        """(n,) returns of holding: of ``buy_and_hold``, or of the benchmark where the run has no such strategy."""
        held = [k for k, name in enumerate(self.names) if name == REFERENCE]
        return self.returns[:, held[0]] if held else self.benchmark

    @property
    def selectable(self) -> list[int]:
        """Columns that a trader could pick: all but the null and what uses the future."""
        return [k for k in range(len(self.names)) if self.honest[k] and self.kinds[k] != NULL]

    @property
    def configurations(self) -> Floats:
        """(n, C) returns of all that could be picked, now or in an earlier run."""
        own = self.returns[:, self.selectable]
        return own if self.others is None else np.column_stack([own, self.others])


def joint_of(record: Record, strategies: Sequence[dict[str, Any]]) -> Joint | None:
    """Return the scored strategies side by side; None where none was scored.

    Args:
        record: of the run.
        strategies: entries of the summary, with name, kind, audit and metrics.
    """
    held = [one for one in strategies if one["metrics"] is not None]
    cuts = {one["name"]: scored(record.base[one["name"]]) for one in held}
    rulers = [one["name"] for one in held if one["kind"] == CEILING]
    judged = [one for one in held if one["kind"] != CEILING]
    if not judged:
        return None
    return Joint(
        names=tuple(one["name"] for one in judged),
        kinds=tuple(one["kind"] for one in judged),
        returns=np.column_stack([cuts[one["name"]].returns for one in judged]),
        benchmark=cuts[judged[0]["name"]].benchmark,
        ceiling=cuts[rulers[0]].returns if rulers else None,
        honest=tuple(one["audit"] is None or bool(one["audit"]["passed"]) for one in judged),
        bars_per_year=record.bars_per_year,
        others=_others(record),
    )


def _others(record: Record) -> Floats | None:
    """Return (n, K) returns of the trials of earlier runs; None where there are none."""
    returns = [measures.bar_returns(one.equity) for one in record.others]
    return np.column_stack(returns) if returns else None


def evidence_of(joint: Joint | None, trials: int | None) -> dict[str, Any]:
    """Return the joint evidence of a run, and under ``metrics`` what it adds to each strategy's metrics, by name.

    Args:
        joint: see ``joint_of``; None, or too few bars, and everything is undefined.
        trials: how many there had been when the run began, its own included, as the registry counts them. None: the
            run's own strategies are all there is.
    """
    if joint is None or len(joint.returns) < FEWEST_BARS:
        return {
            "trials": _trials(joint, trials),
            "bootstrap": None,
            "pbo": None,
            "spa": None,
            "paired": [],
            "metrics": {},
        }
    block = max(bootstrap.block_length(column) for column in joint.returns.T)
    drawn = bootstrap.resample(_with_benchmark(joint), block, seed=SEED)
    counted = _trials(joint, trials)
    return {
        "trials": counted,
        "bootstrap": {"block": block, "draws": len(drawn.table), "seed": SEED},
        "pbo": _overfitting(joint),
        "spa": _superiority(joint, block),
        "paired": _paired(joint, drawn),
        "metrics": {name: _added(joint, k, drawn, counted) for k, name in enumerate(joint.names)},
    }


def _with_benchmark(joint: Joint) -> Floats:
    """Return the returns with the benchmark's as a last column, which is left out where any of it is unknown."""
    known = not np.isnan(joint.benchmark).any()
    return np.column_stack([joint.returns, joint.benchmark]) if known else joint.returns


def _trials(joint: Joint | None, frozen: int | None) -> dict[str, Any]:
    """Return how many trials there were and in how many groups.

    A trial whose returns are not at hand may be like another or like none: it counts as a group of its own.
    """
    returns = np.empty((0, 0)) if joint is None else joint.configurations
    held, groups = returns.shape[1], clusters_of(returns) if returns.size else 0
    count = max(held, frozen or 0)
    return {"count": count, "clusters": groups + count - held, "source": "run" if frozen is None else "registry"}


def _added(joint: Joint, place: int, drawn: Resampled, trials: dict[str, Any]) -> dict[str, float]:
    """Return the deflated Sharpe ratio, the share of the ceiling, and the bootstrap's bounds of one strategy."""
    returns, years = joint.returns[:, place], joint.bars_per_year
    scale = math.sqrt(years)
    deflated, by_groups = (deflated_sharpe(returns, trials[name]) for name in ("count", "clusters"))
    bounds = {
        "sharpe_bootstrap": drawn.sharpe[:, place] * scale,
        "cagr": drawn.cagr(years)[:, place],
        "total_return": np.expm1(np.minimum(drawn.table[:, place, GROWTH], 700.0)),
        "volatility": drawn.table[:, place, DEVIATION] * scale,
        "max_drawdown": drawn.table[:, place, FALL],
    }
    if drawn.table.shape[1] > len(joint.names):
        bounds["excess_over_benchmark"] = drawn.cagr(years)[:, place] - drawn.cagr(years)[:, -1]
    return {
        "deflated_sharpe": deflated.probability,
        "deflated_sharpe_clustered": by_groups.probability,
        "deflated_threshold": deflated.threshold * scale,
        "deflated_difference": deflated_difference(returns, joint.reference, trials["count"]).probability,
        "ceiling_capture": math.nan if joint.ceiling is None else measures.ceiling_capture(returns, joint.ceiling),
        **{key: value for name, draws in bounds.items() for key, value in _bounds(name, draws).items()},
    }


def _bounds(name: str, draws: Floats) -> dict[str, float]:
    found = percentile_interval(0.0, draws)
    return {f"{name}_low": found.low, f"{name}_high": found.high}


def _overfitting(joint: Joint) -> dict[str, Any]:
    """Return the probability that the best of what could be picked is picked by luck."""
    returns = joint.configurations
    return {
        "probability": overfitting_probability(returns),
        "configurations": returns.shape[1],
        "earlier": 0 if joint.others is None else joint.others.shape[1],
        "blocks": BLOCKS,
    }


def _superiority(joint: Joint, block: float) -> dict[str, Any] | None:
    """Return the tests of all candidates together against the baseline with the best Sharpe ratio."""
    if not joint.candidates or not joint.baselines:
        return None
    best = max(joint.baselines, key=lambda k: _or_worst(sharpe(joint.returns[:, k], joint.bars_per_year)))
    mine, theirs = joint.returns[:, joint.candidates], joint.returns[:, best]
    found = superior_ability(mine, theirs, block, seed=SEED)
    ahead = step_m(mine, theirs, block, seed=SEED)
    return {
        "benchmark": joint.names[best],
        "p_lower": found.lower,
        "p_consistent": found.consistent,
        "p_upper": found.upper,
        "superior": [joint.names[joint.candidates[k]] for k in ahead],
    }


def _paired(joint: Joint, drawn: Resampled) -> list[dict[str, Any]]:
    """Return the difference in annual Sharpe ratio of every candidate from every baseline, on the same resamples."""
    scale, found = math.sqrt(joint.bars_per_year), []
    for mine in joint.candidates:
        for theirs in joint.baselines:
            gap = bootstrap.sharpe_gap(joint.returns[:, mine], joint.returns[:, theirs], joint.bars_per_year)
            draws = (drawn.sharpe[:, mine] - drawn.sharpe[:, theirs]) * scale
            _, low, high = percentile_interval(gap, draws)
            found.append(
                {
                    "strategy": joint.names[mine],
                    "baseline": joint.names[theirs],
                    "difference": gap,
                    "low": low,
                    "high": high,
                    "p": bootstrap.paired_p(gap, draws),
                }
            )
    return found


def _or_worst(value: float) -> float:
    return -math.inf if math.isnan(value) else value
