"""What holds across the seeds of a strategy that draws: window by window, each window a task."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.evidence import measures, sharpe
from tradekit.evidence.seeds import improvement_interval, interquartile_interval
from tradekit.report.metrics import FEWEST_BARS
from tradekit.report.words import interval, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.engine.walk_forward import StrategyRun
    from tradekit.market.panel import Floats


def seed_rows(one: StrategyRun, start: int, bars_per_year: float) -> list[dict[str, Any]]:
    """Return for each seed of a strategy its Sharpe ratio over the scored bars, return, and ratio in every window.

    Args:
        one: run under several seeds, or under none, which answers nothing.
        start: first ledger row whose return counts.
        bars_per_year: bars in a year.
    """
    rows = []
    for seed, ledger in one.seeds:
        returns = measures.bar_returns(ledger.equity)  # of rows 1 onward
        windows = [returns[max(start, each.first) - 1 : max(start, each.last) - 1] for each in one.windows]
        rows.append(
            {
                "seed": seed,
                "sharpe": _ratio(returns[start - 1 :], bars_per_year),
                "total_return": measures.total_return(returns[start - 1 :]),
                "windows": [_ratio(part, bars_per_year) for part in windows],
            }
        )
    return rows


def across_seeds(strategies: Sequence[dict[str, Any]], best_baseline: str | None) -> list[dict[str, Any]]:
    """Return for each strategy with several seeds the interquartile mean of its Sharpe ratio by window, with bounds.

    Also the probability that one of its seeds beats the best baseline in a window. Windows count where every seed, and
    the baseline, have a Sharpe ratio. Agarwal et al. (2021), arXiv:2108.13264.

    Args:
        strategies: entries of the summary, with name, seeds and windows.
        best_baseline: name; None: there is nothing to compare with.
    """
    windows = {one["name"]: one["windows"] for one in strategies}
    beside = _table([[row["sharpe"] for row in windows[best_baseline]]]) if best_baseline in windows else None
    found = []
    for one in strategies:
        rows = one.get("seeds", [])  # runs of an earlier version have none
        if len(rows) < 2 or not rows[0]["windows"]:  # a stress test scores no windows
            continue
        scores = _table([row["windows"] for row in rows])
        known = ~np.isnan(scores).any(axis=0)
        told = {"strategy": one["name"], "seeds": len(scores), "windows": int(known.sum()), "baseline": None}
        found.append(told | _bounds("sharpe", interquartile_interval(scores[:, known])))
        if beside is not None and best_baseline != one["name"] and beside.shape[1] == scores.shape[1]:
            both = known & ~np.isnan(beside[0])
            chance = improvement_interval(scores[:, both], beside[:, both])
            found[-1] |= {"baseline": best_baseline} | _bounds("improvement", chance)
    return found


def seeds_text(one: dict[str, Any]) -> str:
    """Return in a sentence what ``across_seeds`` found of one strategy."""
    mean = f"{number(one['sharpe'])} {interval(one['sharpe_low'], one['sharpe_high'])}"
    said = f"Over {one['seeds']} seeds and {one['windows']} windows its interquartile mean Sharpe ratio is {mean}"
    if one["baseline"] is None:
        return f"{said}."
    return (
        f"{said}; one seed beats {one['baseline']} in one window with a probability of {percent(one['improvement'])}."
    )


def _bounds(name: str, found: sharpe.Interval) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _table(rows: Sequence[Sequence[float | None]]) -> Floats:
    return np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float64)


def _ratio(returns: Floats, bars_per_year: float) -> float:
    return sharpe.sharpe(returns, bars_per_year) if len(returns) >= FEWEST_BARS else math.nan
