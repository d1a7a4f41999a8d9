"""Worlds: a panel as it would be under a scenario. Pure functions of bars, a scenario and a seed.

Bars up to the one after which the first judged decision is made stay as they were. Close moves, and open, high and low
move with it, so that a bar stays a bar: the low is lowest, the high highest, every price positive. The benchmark is
moved as if it were one more symbol.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.errors import DataError
from tradekit.market.execution import symbol_key
from tradekit.market.panel import equal_weight_returns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tradekit.engine.scenarios import Scenario
    from tradekit.market.panel import Bools, Floats, Panel

VOLATILITY_BARS = 20
INSIDE = ("open", "high", "low")


class Span(NamedTuple):
    """Rows of the judged bars: ``first`` is the bar of the first decision, ``stop`` the row after the last bar."""

    first: int
    stop: int

    @property
    def changed(self) -> slice:
        """The rows that a scenario may change."""
        return slice(self.first + 1, self.stop)


def worlds(scenario: Scenario, panel: Panel, span: Span) -> Iterator[Panel]:
    """Yield ``scenario.draws`` panels as the scenario has them; each has the rows of ``panel``.

    Raises:
        DataError: the data cannot carry the scenario; the message says why.
    """
    if span.stop - span.first < 4:
        raise DataError(f"{panel.source}: {span.stop - span.first} judged bars are too few; give more data")
    for draw in range(scenario.draws):
        yield SHOCKS[scenario.kind](panel, span, scenario, np.random.default_rng([scenario.seed, draw]))


# --------------------------------------------------------------------------------------------------- how bars are moved


def log_steps(panel: Panel) -> Floats:
    """Return (T, N + 1) log returns of the last known closes, the benchmark's last.

    0 where a symbol has no bar; NaN before its second one, and where the benchmark is unknown.
    """
    steps = np.full((len(panel), len(panel.symbols) + 1), np.nan)
    steps[1:, :-1] = np.log(panel.mark[1:] / panel.mark[:-1])
    steps[:, -1] = np.log1p(panel.benchmark_returns)
    return steps


def with_steps(panel: Panel, span: Span, steps: Floats, stretch: float = 1.0) -> Panel:
    """Return ``panel`` with other log returns (T, N + 1) in the rows that may change; NaN keeps the old one.

    ``stretch`` is the power to which open, high and low over close are raised: 2 doubles the swings inside a bar.
    """
    shift = np.zeros(steps.shape)
    shift[span.changed] = np.nan_to_num(steps - log_steps(panel), nan=0.0)[span.changed]
    factor: Floats = np.exp(np.cumsum(shift, axis=0))
    inside = np.ones(len(panel))
    inside[span.changed] = stretch
    return scaled(panel, factor[:, :-1], np.exp(shift[:, -1]), inside[:, None])


def scaled(panel: Panel, factor: Floats, benchmark: Floats, stretch: Floats | float = 1.0) -> Panel:
    """Return ``panel`` with closes times ``factor`` (T, N) and the benchmark's gross returns times ``benchmark`` (T,).

    What is multiplied by one keeps its bits.
    """
    close = panel.close * factor
    prices: dict[str, Any] = {"close": close}
    for name in INSIDE:
        if name in panel.columns:
            price = getattr(panel, name)
            prices[name] = np.where(stretch == 1.0, price * factor, close * (price / panel.close) ** stretch)
    return _replaced(panel, prices, _compounded(panel.benchmark_returns, benchmark))


def _compounded(returns: Floats, factor: Floats) -> Floats:
    return np.where(factor == 1.0, returns, (1.0 + returns) * factor - 1.0)


def enclose(prices: dict[str, Any]) -> None:
    """Make the high the highest and the low the lowest of each bar, where there are any, in place."""
    for name, extreme in (("high", np.maximum), ("low", np.minimum)):
        if name in prices:
            for end in ("open", "close"):
                prices[name] = extreme(prices[name], prices.get(end, prices["close"]))


def _replaced(panel: Panel, prices: dict[str, Any], benchmark: Floats, **others: Any) -> Panel:
    """Return ``panel`` with other prices, made bars again."""
    enclose(prices)
    if panel.benchmark_name == "equal_weight":
        benchmark = equal_weight_returns(prices["close"])
    return replace(panel, benchmark_returns=benchmark, **prices, **others)


def _moments(steps: Floats, span: Span) -> tuple[Floats, Floats]:
    """Return mean and standard deviation (N + 1,) of the log returns in the rows that change; NaN left out."""
    cut = steps[span.changed]
    known = ~np.isnan(cut)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, cut, 0.0).sum(axis=0) / count
    return mean, np.sqrt((np.where(known, cut - mean, 0.0) ** 2).sum(axis=0) / count)


# ---------------------------------------------------------------------------------------------------------- the shocks


def _gap(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """All prices open ``size`` away from the last close, in one bar drawn at random, and stay there."""
    assert scenario.size is not None
    bar = int(rng.integers(span.first + 2, span.stop))
    factor, benchmark = np.ones(panel.close.shape), np.ones(len(panel))
    factor[bar:], benchmark[bar] = 1.0 + scenario.size, 1.0 + scenario.size
    return scaled(panel, factor, benchmark)


def _crash(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """All prices fall by ``size`` within one bar and come back in a straight line over ``recovery_bars``."""
    assert scenario.size is not None
    bar = int(rng.integers(span.first + 2, span.stop))
    level = np.ones(len(panel))
    rows = np.arange(bar, min(span.stop, bar + scenario.recovery_bars))
    level[rows] = 1.0 + scenario.size * (1.0 - (rows - bar) / scenario.recovery_bars)
    before = np.concatenate([[1.0], level[:-1]])
    prices = {
        name: getattr(panel, name) * (before if name == "open" else level)[:, None]
        for name in (*INSIDE, "close")
        if name in panel.columns
    }
    return _replaced(panel, prices, _compounded(panel.benchmark_returns, level / before))


def _volatility(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """Log returns deviate ``factor`` times as far from their mean, which falls so that simple returns keep theirs.

    Half the variance is what a mean of simple returns has above one of log returns; left in, it would be a gift.
    """
    steps = log_steps(panel)
    mean, spread = _moments(steps, span)
    drift = mean - 0.5 * (scenario.factor**2 - 1.0) * spread**2
    return with_steps(panel, span, drift + scenario.factor * (steps - mean), scenario.factor)


def _correlation(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """Every symbol's log return is the market's, moved and scaled to the symbol's own mean and deviation.

    The market is the mean standardised log return of the symbols.
    """
    steps = log_steps(panel)
    mean, spread = _moments(steps, span)
    own = (steps - mean) / np.where(spread > 0.0, spread, 1.0)
    known = ~np.isnan(own[:, :-1])
    common = np.where(known, own[:, :-1], 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    cut = common[span.changed]
    size = cut.std()
    common = (common - cut.mean()) / (size if size > 0.0 else 1.0)
    moved = mean + spread * common[:, None]
    return with_steps(panel, span, np.where(np.isnan(steps), np.nan, moved))


def _drawn(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Bools:
    """Return (T, N) a ``share`` of the bars that may change and exist; a symbol's draws are its own."""
    assert scenario.share is not None
    seed = int(rng.integers(2**63))
    chosen = np.zeros(panel.close.shape, np.bool_)
    for column, symbol in enumerate(panel.symbols):
        draws = np.random.default_rng([seed, symbol_key(symbol)]).random(span.stop - span.first - 1)
        chosen[span.changed, column] = draws < scenario.share
    return chosen & ~np.isnan(panel.close)


def _missing(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """Bars drawn at random never arrive: no price, no volume, no fill."""
    gone = _drawn(panel, span, scenario, rng)
    columns = {
        name: np.where(gone, np.nan, getattr(panel, name))
        for name in (*INSIDE, "close", "volume")
        if name in panel.columns
    }
    return _replaced(panel, columns, panel.benchmark_returns, tradable=panel.tradable & ~gone)


def _stale(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """Bars drawn at random repeat the last close: no range, no volume, and no fill at a price nobody pays."""
    stuck = _drawn(panel, span, scenario, rng) & ~np.isnan(panel.mark[np.maximum(np.arange(len(panel)) - 1, 0)])
    source = np.maximum.accumulate(np.where(stuck, 0, np.arange(len(panel))[:, None]), axis=0)
    last = np.take_along_axis(panel.mark, source, axis=0)
    columns = {
        name: np.where(stuck, 0.0 if name == "volume" else last, getattr(panel, name))
        for name in (*INSIDE, "close", "volume")
        if name in panel.columns
    }
    return _replaced(panel, columns, panel.benchmark_returns, tradable=panel.tradable & ~stuck)


def _spread(panel: Panel, span: Span, scenario: Scenario, rng: np.random.Generator) -> Panel:
    """Spreads widen in the bars in which the benchmark's volatility over 20 bars is among the highest."""
    assert scenario.share is not None
    market = np.nan_to_num(log_steps(panel)[:, -1])
    seen = np.lib.stride_tricks.sliding_window_view(np.pad(market, (VOLATILITY_BARS - 1, 0)), VOLATILITY_BARS)
    level = seen.std(axis=1)
    rows = np.arange(len(panel))[span.changed]
    most = rows[np.argsort(-level[rows], kind="stable")[: max(1, round(scenario.share * len(rows)))]]
    multiple = np.ones(len(panel)) if panel.spread_multiple is None else panel.spread_multiple.copy()
    multiple[most] *= scenario.spread_multiple
    return replace(panel, spread_multiple=multiple)


SHOCKS: dict[str, Callable[[Panel, Span, Scenario, np.random.Generator], Panel]] = {
    "gap": _gap,
    "crash": _crash,
    "volatility": _volatility,
    "correlation": _correlation,
    "missing": _missing,
    "stale": _stale,
    "spread": _spread,
}
