"""The paths of a cross-validation: what each strategy did on every one of them, and how far they lie apart."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.cross_validation import CrossValidated, PathsRun
from tradekit.evidence import measures, sharpe
from tradekit.report.evidence import REFERENCE
from tradekit.report.metrics import FEWEST_BARS
from tradekit.report.words import interval, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.walk_forward import WalkForward
    from tradekit.market.panel import Floats

FIGURES = ("sharpe", "total_return", "cagr", "max_drawdown")
NO_HISTORY = (
    "Strategies learnt from later bars here too: no path could have been traded, and what counts is how far they lie "
    "apart."
)


class Paths(NamedTuple):
    """One strategy's (P, T) dollars at each close of every path, on the bars of its track."""

    strategy: str
    equity: Floats


def paths_of(result: WalkForward) -> tuple[Paths, ...]:
    """Return the paths of the strategies that ran; none unless it is a cross-validation."""
    runs = [run for run in result.runs if isinstance(run, PathsRun) and run.ledger is not None]
    return tuple(Paths(run.name, np.array([ledger.equity for ledger in run.paths])) for run in runs)


def settings_of(result: WalkForward) -> dict[str, Any]:
    """Return what a manifest says of a cross-validation; empty for any other run."""
    if not isinstance(result, CrossValidated):
        return {}
    runs = [run for run in result.runs if isinstance(run, PathsRun)]
    told = asdict(result.scheme) | {"splits": len(result.folds.splits), "paths": result.folds.paths}
    learning = {
        run.name: {
            "learns": run.learnt,
            "shown": run.shown + 1,
            "lost": [{"split": split, "failure": why} for split, why in run.lost],
        }
        for run in runs
    }
    return {"cross_validation": told, "learning": learning}


def path_figures(
    paths: Sequence[Paths], learning: dict[str, dict[str, Any]], start: int, bars_per_year: float
) -> dict[str, dict[str, Any]]:
    """Return for each strategy what its paths came to.

    Args:
        paths: of the strategies.
        learning: what the manifest says of each: whether it learns, which path is shown, which splits were lost.
        start: first row whose return counts, >= 1.
        bars_per_year: bars in a year.

    Returns:
        by strategy ``learns``, ``shown`` and ``lost``; ``each``, the FIGURES by path; of each of FIGURES the
        ``_lowest``, ``_median`` and ``_highest`` over the paths that have one; ``ahead_by_sharpe`` and
        ``ahead_by_return``, the share of the paths on which it is above buy and hold on the same path, NaN where there
        is none to compare with, and of buy and hold itself. NaN where undefined.
    """
    rows = {one.strategy: [_figures(equity[start - 1 :], bars_per_year) for equity in one.equity] for one in paths}
    found = {}
    for name, each in rows.items():
        numbered = [{"path": k, **row} for k, row in enumerate(each, 1)]
        told: dict[str, Any] = {**learning[name], "each": numbered}
        for figure in FIGURES:
            told |= _spread(figure, [row[figure] for row in each])
        held = [] if name == REFERENCE else rows.get(REFERENCE, [])
        for key, figure in (("ahead_by_sharpe", "sharpe"), ("ahead_by_return", "total_return")):
            told[key] = _ahead(each, held, figure)
        found[name] = told
    return found


def paths_text(name: str, told: dict[str, Any]) -> list[str]:
    """Say what the paths of the strategy that a verdict is about came to, one sentence each."""
    if not told["learns"]:
        return [f"{name} learns nothing in a split: all {len(told['each'])} paths are one."]
    bounds = interval(told["sharpe_lowest"], told["sharpe_highest"])
    said = f"Over {len(told['each'])} paths its median Sharpe ratio is {number(told['sharpe_median'])}, {bounds} in all"
    share = told["ahead_by_sharpe"]
    beside = "" if math.isnan(share) else f"; it is above that of {REFERENCE} on {percent(share, 0)} of them"
    return [f"{said}{beside}.", NO_HISTORY]


def _figures(equity: Floats, bars_per_year: float) -> dict[str, float]:
    """Return FIGURES of (n + 1,) equity; ratio and yearly rate are undefined under ``FEWEST_BARS`` bars."""
    returns = measures.bar_returns(equity)
    enough = len(returns) >= FEWEST_BARS
    return {
        "sharpe": sharpe.sharpe(returns, bars_per_year) if enough else math.nan,
        "total_return": measures.total_return(returns),
        "cagr": measures.cagr(returns, bars_per_year) if enough else math.nan,
        "max_drawdown": measures.max_drawdown(equity),
    }


def _spread(figure: str, values: Sequence[float]) -> dict[str, float]:
    known = [value for value in values if not math.isnan(value)]
    ends = (min(known), float(np.median(known)), max(known)) if known else (math.nan,) * 3
    return {f"{figure}_{end}": value for end, value in zip(("lowest", "median", "highest"), ends, strict=True)}


def _ahead(mine: Sequence[dict[str, float]], held: Sequence[dict[str, float]], figure: str) -> float:
    """Return the share of the paths on which a figure is above that of holding, of those on which both have one."""
    pairs = [(one[figure], other[figure]) for one, other in zip(mine, held, strict=False)]
    known = [one > other for one, other in pairs if not (math.isnan(one) or math.isnan(other))]
    return float(np.mean(known)) if known else math.nan
