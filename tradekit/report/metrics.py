"""Every number of one strategy, computed from its Track over the scored bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.evidence import measures, sharpe
from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.market.panel import Floats
    from tradekit.report.record import Orders, Track, WindowRow


FEWEST_BARS = 20
"""Scored bars under which nothing is annualised: one purchase in three bars would be a turnover of 84 a year."""

ANNUAL = (
    "cagr",
    "volatility",
    "sharpe",
    "sharpe_low",
    "sharpe_high",
    "probabilistic_sharpe",
    "least_track_record_bars",
    "sortino",
    "calmar",
    "skewness",
    "kurtosis",
    "turnover",
    "cost_a_year",
    "benchmark_cagr",
    "excess_over_benchmark",
    "information_ratio",
)
"""Metrics that say nothing on fewer bars: yearly figures and estimates of a distribution."""


class Scored(NamedTuple):
    """A Track cut to its scored bars: n returns, the session each lies in, and n + 1 closes of equity around them."""

    equity: Floats
    returns: Floats
    session: NDArray[np.int64]
    benchmark: Floats
    traded: Floats
    costs: Floats
    fills: NDArray[np.int64]
    exposure: Floats


def scored(track: Track, first: int | None = None, last: int | None = None) -> Scored:
    """Return the rows ``first <= t < last`` of ``track`` that count; by default all that do."""
    start = max(track.scored_from, first or 0)
    rows = slice(start, max(start, len(track.equity) if last is None else last))
    equity = track.equity[start - 1 : rows.stop]
    return Scored(
        equity=equity,
        returns=measures.bar_returns(equity),
        session=track.timestamps[rows].astype("M8[D]").astype(np.int64),
        benchmark=track.benchmark[rows],
        traded=track.traded[rows],
        costs=track.costs[rows],
        fills=track.fills[rows],
        exposure=track.exposure[rows],
    )


def metrics_of(track: Track, bars_per_year: float, fewest: int = FEWEST_BARS) -> dict[str, float]:
    """Return the metrics of one strategy by name; NaN where undefined. docs/metrics.md defines each.

    Those in ``ANNUAL`` are undefined under ``fewest`` scored bars.
    """
    cut = scored(track)
    found = _metrics(cut, bars_per_year)
    return found if len(cut.returns) >= fewest else found | dict.fromkeys(ANNUAL, math.nan)


def _metrics(cut: Scored, bars_per_year: float) -> dict[str, float]:
    returns, equity = cut.returns, cut.equity
    sessions = measures.session_returns(returns, cut.session)
    spent = float(cut.costs.sum())
    ratio = sharpe.sharpe_interval(returns, bars_per_year)
    benchmark = cut.benchmark[~np.isnan(cut.benchmark)]
    return {
        "bars": len(returns),
        "sessions": len(sessions),
        "total_return": measures.total_return(returns),
        "cagr": measures.cagr(returns, bars_per_year),
        "volatility": measures.volatility(returns, bars_per_year),
        "sharpe": ratio.value,
        "sharpe_low": ratio.low,
        "sharpe_high": ratio.high,
        "probabilistic_sharpe": sharpe.probabilistic_sharpe(returns, bars_per_year),
        "least_track_record_bars": sharpe.least_track_record(returns),
        "sortino": measures.sortino(returns, bars_per_year),
        "calmar": measures.calmar(returns, bars_per_year),
        "max_drawdown": measures.max_drawdown(equity),
        "longest_drawdown_bars": measures.longest_drawdown(equity),
        "skewness": sharpe.skewness(returns),
        "kurtosis": sharpe.kurtosis(returns),
        "hit_rate": measures.hit_rate(returns),
        "profit_factor": measures.profit_factor(returns),
        "session_hit_rate": measures.hit_rate(sessions),
        "session_profit_factor": measures.profit_factor(sessions),
        "exposure": float(np.mean(cut.exposure)) if len(returns) else np.nan,
        "turnover": measures.turnover(cut.traded, equity, bars_per_year),
        "trades": int(cut.fills.sum()),
        "cost": spent,
        "cost_a_year": measures.annual_share(cut.costs.sum(axis=1), equity, bars_per_year),
        "cost_ratio": measures.cost_ratio(spent, float(equity[-1] - equity[0])),
        "benchmark_total_return": measures.total_return(benchmark),
        "benchmark_cagr": measures.cagr(benchmark, bars_per_year),
        "excess_over_benchmark": measures.excess_over_benchmark(returns, cut.benchmark, bars_per_year),
        "information_ratio": measures.information_ratio(returns, cut.benchmark, bars_per_year),
    }


def costs_of(track: Track, bars_per_year: float) -> dict[str, Any]:
    """Return dollars of each cost term over the scored bars, and each as a share of equity a year."""
    cut = scored(track)
    dollars = {term: float(cut.costs[:, column].sum()) for column, term in enumerate(TERMS)}
    shares = {
        term: measures.annual_share(cut.costs[:, column], cut.equity, bars_per_year)
        for column, term in enumerate(TERMS)
    }
    return {"dollars": dollars, "a_year": shares}


def window_metrics(
    track: Track, window: WindowRow, bars_per_year: float, fewest: int = FEWEST_BARS
) -> dict[str, float]:
    """Return what one window brought; ``seen_bars`` of it lie before the scored bars and do not count."""
    cut = scored(track, window.first, window.last)
    known = cut.benchmark[~np.isnan(cut.benchmark)]
    return {
        "bars": len(cut.returns),
        "seen_bars": min(max(0, track.scored_from - max(1, window.first)), window.last - max(1, window.first)),
        "total_return": measures.total_return(cut.returns),
        "sharpe": sharpe.sharpe(cut.returns, bars_per_year) if len(cut.returns) >= fewest else math.nan,
        "max_drawdown": measures.max_drawdown(cut.equity) if len(cut.returns) else np.nan,
        "benchmark_total_return": measures.total_return(known),
    }


def orders_of(orders: Orders, track: Track) -> dict[str, Any]:
    """Return how many orders of the scored bars were asked for, filled whole, in part, and not at all, and why not."""
    counted = np.isin(orders.filled, track.timestamps[track.scored_from :])
    none = counted & (orders.numbers["quantity"] == 0.0)
    whole = counted & (orders.reason == "filled") & ~none
    names, counts = np.unique(orders.reason[counted & ~whole], return_counts=True)
    return {
        "requested": int(counted.sum()),
        "filled": int(whole.sum()),
        "partial": int((counted & ~whole & ~none).sum()),
        "rejected": int(none.sum()),
        "reasons": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
    }
