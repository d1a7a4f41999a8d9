"""Paths: other histories that the judged bars might have been, drawn from those bars.

A path begins where the judged bars do, on the last real close, and replaces what came after. Its bars are drawn from
the judged bars alone: whatever was fitted before them has seen none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.worlds import INSIDE, Span, enclose, log_steps
from tradekit.errors import DataError
from tradekit.market.panel import equal_weight_returns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from tradekit.engine.scenarios import Scenario
    from tradekit.market.panel import Floats, Panel

    Rows = NDArray[np.int64]

PERCENT = 100.0  # arch's optimiser expects returns of this size
MOST_PERSISTENT = 0.999  # alpha + beta; from 1 on the variance has no level to return to
LEAST_BARS = 100  # for a GARCH model


class Garch(NamedTuple):
    """A constant mean and GARCH(1, 1) for each of K series, log returns in percent (Bollerslev 1986).

    mean, omega, alpha, beta, first variance (K,); shocks (n, K) standardised residuals; deviation (n, K) conditional
    standard deviations.
    """

    mean: Floats
    omega: Floats
    alpha: Floats
    beta: Floats
    variance: Floats
    shocks: Floats
    deviation: Floats


def paths(scenario: Scenario, panel: Panel, span: Span) -> Iterator[Panel]:
    """Yield ``scenario.draws`` panels that end ``scenario.bars`` rows after the first decision, or where the bars do.

    Raises:
        DataError: the data cannot carry the scenario; the message says why.
    """
    bars = min(scenario.bars, span.stop - span.first - 1)
    if bars < 2:
        raise DataError(f"{panel.source}: {span.stop - span.first} judged bars are too few; give more data")
    yield from MAKERS[scenario.kind](panel, span, bars, scenario)


def _bootstrap(panel: Panel, span: Span, bars: int, scenario: Scenario) -> Iterator[Panel]:
    """Whole sessions in blocks of random length (Politis and Romano 1994, doi:10.1080/01621459.1994.10476870)."""
    steps = log_steps(panel)
    for draw in range(scenario.draws):
        rows = _resampled(panel, span, bars, scenario.block_sessions, np.random.default_rng([scenario.seed, draw]))
        yield _path(panel, span, rows, steps[rows])


def _resampled(panel: Panel, span: Span, bars: int, block: int, rng: np.random.Generator) -> Rows:
    """Return (bars,) rows to take in turn: sessions drawn by arch's stationary bootstrap, each in its own order."""
    from arch.bootstrap import StationaryBootstrap

    rows = np.arange(len(panel))[span.changed]
    numbers = panel.sessions[rows]
    sessions = np.unique(numbers)
    drawn = StationaryBootstrap(min(block, len(sessions)), sessions, seed=rng)
    taken: list[Rows] = []
    have = 0
    for data in drawn.bootstrap(bars):
        for session in data[0][0]:
            taken.append(rows[numbers == session] if len(sessions) < len(rows) else rows[[session - sessions[0]]])
            have += len(taken[-1])
            if have >= bars:
                return np.concatenate(taken)[:bars]
    raise AssertionError("every session has a bar")


def _garch(panel: Panel, span: Span, bars: int, scenario: Scenario) -> Iterator[Panel]:
    """Volatility by each series' own GARCH model, shocks drawn a bar at a time for all series together.

    Filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper 1999): shocks keep their tails and their
    correlation. Prices inside a bar swing as widely as the close does.
    """
    model = fit_garch(panel, span)
    for draw in range(scenario.draws):
        rng = np.random.default_rng([scenario.seed, draw])
        taken = rng.integers(0, len(model.shocks), bars)
        steps, wide = simulated(model, taken)
        yield _path(panel, span, span.first + 1 + taken, steps, wide[:, :-1])


def fit_garch(panel: Panel, span: Span) -> Garch:
    """Fit arch's GARCH(1, 1) with normal quasi-likelihood to every symbol and the benchmark over the judged bars.

    Raises:
        DataError: too few bars, a symbol without prices or without movement in part of them, or no fit.
    """
    from arch import arch_model

    series = PERCENT * log_steps(panel)[span.changed]
    if len(series) < LEAST_BARS:
        raise DataError(f"{panel.source}: {len(series)} judged bars are too few for GARCH; give {LEAST_BARS} or more")
    fits = []
    for name, returns in zip((*panel.symbols, panel.benchmark_name), series.T, strict=True):
        if np.isnan(returns).any() or not returns.std() > 0.0:
            raise DataError(
                f"{panel.source}: GARCH needs every judged bar of {name}; leave it out or choose other dates"
            )
        model = arch_model(returns, mean="Constant", vol="GARCH", p=1, q=1, rescale=False)
        found = model.fit(disp="off", show_warning=False)
        if found.convergence_flag != 0:
            raise DataError(f"{panel.source}: no GARCH model fits {name}; leave it out or choose other dates")
        fits.append(found)
    mean, omega, alpha, beta = np.array([found.params.to_numpy() for found in fits]).T
    beta = np.minimum(beta, MOST_PERSISTENT - np.minimum(alpha, MOST_PERSISTENT))
    deviation = np.array([found.conditional_volatility for found in fits]).T
    shocks = (series - mean) / deviation
    return Garch(mean, omega, alpha, beta, deviation[0] ** 2, shocks, deviation)


def simulated(model: Garch, taken: Rows) -> tuple[Floats, Floats]:
    """Return log returns (M, K) of the shocks ``taken`` (M,) in turn, and how much wider than their bars' they are."""
    steps, wide = np.empty((len(taken), len(model.mean))), np.empty((len(taken), len(model.mean)))
    variance = model.variance
    for t, row in enumerate(taken):
        surprise = np.sqrt(variance) * model.shocks[row]
        steps[t] = (model.mean + surprise) / PERCENT
        wide[t] = np.sqrt(variance) / model.deviation[row]
        variance = model.omega + model.alpha * surprise**2 + model.beta * variance
    return steps, wide


def _path(panel: Panel, span: Span, rows: Rows, steps: Floats, stretch: Floats | float = 1.0) -> Panel:
    """Return the bars up to ``span.first`` and then one for each of ``rows`` (M,), with ``steps`` (M, N + 1).

    Steps are log returns. A bar takes volume, halts, holes, side series and its shape from the row it was drawn from;
    time goes on as it did.
    """
    kept, new = slice(0, span.first + 1), slice(span.first + 1, span.first + 1 + len(rows))
    known = np.argmax(~np.isnan(panel.close), axis=0)
    base = np.where(np.isnan(panel.mark[span.first]), panel.close[known, np.arange(len(known))], panel.mark[span.first])
    level = base * np.exp(np.cumsum(np.nan_to_num(steps[:, :-1]), axis=0))
    close = np.where(np.isnan(panel.close[rows]), np.nan, level)
    drawn: dict[str, Any] = {"close": close, "tradable": panel.tradable[rows]}
    for name in INSIDE:
        if name in panel.columns:
            drawn[name] = close * (getattr(panel, name)[rows] / panel.close[rows]) ** stretch
    enclose(drawn)
    if "volume" in panel.columns:
        drawn["volume"] = panel.volume[rows]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(panel, name)[kept], values]) for name, values in drawn.items()
    }
    benchmark = np.concatenate([panel.benchmark_returns[kept], np.expm1(steps[:, -1])])
    if panel.benchmark_name == "equal_weight":
        benchmark = equal_weight_returns(joined["close"])
    side = panel.each_side(lambda values: np.concatenate([values[kept], values[rows]]))
    return replace(panel[: new.stop], benchmark_returns=benchmark, side=side, **joined)


MAKERS: dict[str, Callable[[Panel, Span, int, Scenario], Iterator[Panel]]] = {
    "bootstrap": _bootstrap,
    "garch": _garch,
}
