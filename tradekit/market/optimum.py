"""The most that could have been earned: two ceilings that put a strategy's result in proportion.

``foresight`` knows every future price. No strategy can reach it; it says how much there was. ``planted_optimum`` knows
what the makers of ``synthetic:planted`` know, the state that sets the next bar's expected return, but not the noise:
no strategy can expect more, and a good learner should come near.

Both hold each symbol in a sleeve of its own, all of it or nothing, and pay a cost in proportion to what is traded.
That is no restriction: a strategy that holds a fraction is a mixture of sleeves that hold all or nothing, so without
borrowing, without shorts and at costs at least proportional it cannot do better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit

from tradekit.errors import ConfigError
from tradekit.market.sources import synthetic

if TYPE_CHECKING:
    from tradekit.market.costs import CostModel
    from tradekit.market.panel import Bools, Floats, Panel

FillAt = Literal["auto", "open", "close"]

# Grid of the planted trend, an even number of points so that none stands on the drift's jump at zero, and how many
# values stand for a gap and a shock each.
TREND_POINTS, GAP_NODES, SHOCK_NODES, FINE_NODES = 400, 5, 25, 2001
TOLERANCE, MOST_ROUNDS = 1e-10, 10_000


@dataclass(frozen=True, eq=False)
class Foresight:
    """What perfect foresight earns.

    Attributes:
        log_wealth: (N,) log of final over initial wealth of each symbol's sleeve, marked at the last close.
        exposure: (T, N) 0 or 1, wanted after bar d closed and filled at d+1, as a strategy's weights are.
    """

    log_wealth: Floats
    exposure: Floats


@dataclass(frozen=True, eq=False)
class PlantedOptimum:
    """What the best policy that knows the planted state expects.

    Attributes:
        growth: expected log growth per bar of a sleeve, in the long run, after costs.
        exposure: (T, N) 0 or 1 on the panel's bars, wanted after bar d closed and filled at d+1.
    """

    growth: float
    exposure: Floats


def side_cost(costs: CostModel) -> float:
    """Return the fraction of its value that a trade of the whole sleeve pays: one side, no minimum, no dated fees.

    >>> from tradekit.market.costs import CostModel
    >>> round(side_cost(CostModel(impact_coefficient=0.0)) * 1e4, 6)
    4.7
    """
    share = 0.5 if costs.slippage_mode != "worst" else 1.0
    return (costs.commission_bps + costs.spread_bps + share * costs.slippage_bps) * 1e-4 + costs.impact_coefficient


def changes(exposure: Floats) -> Floats:
    """Return (T, N) weights that trade only where ``exposure`` (T, N) changes: NaN, leave alone, elsewhere.

    >>> changes(np.array([[0.0], [1.0], [1.0], [0.0]])).ravel().tolist()
    [nan, 1.0, nan, 0.0]
    """
    weights = exposure.copy()
    weights[1:][exposure[1:] == exposure[:-1]] = np.nan
    weights[0][exposure[0] == 0.0] = np.nan
    return weights


def foresight(panel: Panel, cost: float, fill_at: FillAt = "auto") -> Foresight:
    """Return the most that each symbol's sleeve could have grown, by exact dynamic programming.

    Args:
        panel: the bars. A sleeve starts in cash, trades first at bar 1, and only in tradable bars.
        cost: fraction of the traded value paid on each side, in [0, 1).
        fill_at: ``open``, ``close``, or ``auto``: the open where the panel has opens.

    Raises:
        ConfigError: the cost is out of range or the panel has no opens to fill at.
    """
    fills = panel.open if _fills_at(panel, cost, fill_at) == "open" else panel.close
    log_wealth = np.empty(len(panel.symbols))
    exposure = np.empty(panel.close.shape)
    for column in range(len(panel.symbols)):
        open_to_trade = panel.tradable[:, column] & np.isfinite(fills[:, column])
        last = panel.mark[-1, column]
        log_wealth[column], exposure[:, column] = _foresight(fills[:, column], open_to_trade, last, cost)
    return Foresight(log_wealth, exposure)


@njit(cache=True)
def _foresight(fill: Floats, tradable: Bools, last: float, cost: float) -> tuple[float, Floats]:
    """Return the best log wealth and the (T,) exposure for it, one symbol.

    ``gain[k]`` is the log growth from this bar's fill to the end, of a sleeve that holds (k = 1) or not (k = 0)
    before it trades; worked from the last bar backward.
    """
    bars = len(fill)
    buy, sell = -np.log1p(cost), np.log1p(-cost)
    best = np.zeros((bars, 2), dtype=np.int64)
    out, held, price = 0.0, 0.0, last
    for t in range(bars - 1, 0, -1):
        best[t, 1] = 1
        if not tradable[t]:
            continue
        keep = np.log(price / fill[t]) + held
        best[t, 0] = int(buy + keep > out)
        best[t, 1] = int(keep >= sell + out)
        out, held, price = max(out, buy + keep), max(keep, sell + out), fill[t]
    exposure = np.zeros(bars)
    now = 0
    for t in range(1, bars):
        now = best[t, now]
        exposure[t - 1] = now
    exposure[bars - 1] = now
    return out, exposure


def planted_optimum(panel: Panel, cost: float, fill_at: FillAt = "auto") -> PlantedOptimum:
    """Return the best policy for a ``synthetic:planted`` panel that knows the state but not the noise.

    After each close the state is the trend, the next bar's volatility level and whether the sleeve holds. Of the two
    targets the policy takes the one with the greater expected log wealth in the long run, found by relative value
    iteration (Puterman 1994, section 8.5.5) on a grid of the trend with linear interpolation. An order placed at
    close d fills at the open or close of d+1 as the execution model says, and the state may have turned by then: that
    is in the expectation.

    Args:
        panel: a synthetic panel, or a part of one.
        cost: fraction of the traded value paid on each side, in [0, 1); see ``side_cost``.
        fill_at: ``open``, ``close``, or ``auto``: the open where the panel has opens.

    Raises:
        DataError: the panel is not synthetic.
        ConfigError: the cost is out of range, the panel has no opens to fill at, or the drift turns so seldom that
            the growth per bar depends on where it began.
    """
    late = _fills_at(panel, cost, fill_at) == "close"
    market, rows, columns = synthetic.truth(panel)
    grid, edge, growth = _solve(synthetic.SyntheticSpec.parse(panel.source), cost, late)
    trend, level = market.trend[np.ix_(rows, columns)], market.level[np.ix_(rows, columns)]
    exposure = np.zeros(trend.shape)
    now = np.zeros(trend.shape[1], dtype=np.int64)
    for bar in range(len(trend)):
        for column in range(trend.shape[1]):
            ahead = np.interp(trend[bar, column], grid, edge[now[column], level[bar, column]])
            now[column] = int(ahead > 0.0)
        exposure[bar] = now
    return PlantedOptimum(growth, exposure)


def _solve(spec: synthetic.SyntheticSpec, cost: float, late: bool) -> tuple[Floats, Floats, float]:
    """Return the grid (G,), the (2, V, G) advantage of holding over not, by holding now, and the growth per bar."""
    grid = _trend_grid(spec)
    drift = spec.strength * spec.volatility * np.sign(grid)
    size = spec.volatility * synthetic.LEVELS
    gap_size, shock_size = np.sqrt(synthetic.GAP_SHARE) * size, np.sqrt(1.0 - synthetic.GAP_SHARE) * size
    fine = synthetic.shock_nodes(FINE_NODES)
    overnight = np.log1p(gap_size[:, None] * fine).mean(axis=1)
    session = np.log1p(drift[None, :, None] + shock_size[:, None, None] * fine).mean(axis=2)
    gaps = gap_size[:, None] * synthetic.shock_nodes(GAP_NODES)
    shocks = shock_size[:, None] * synthetic.shock_nodes(SHOCK_NODES)
    change = (1.0 + gaps[:, None, :, None]) * (1.0 + drift[None, :, None, None] + shocks[:, None, None, :]) - 1.0
    after = spec.decay * grid[None, :, None] + (1.0 - spec.decay) * change.reshape(len(size), len(grid), -1) / (
        spec.volatility
    )
    place = np.interp(after, grid, np.arange(len(grid)))
    # A position is held over the gap by what was held before; over the session by what the fill made it.
    first = np.broadcast_to(overnight[:, None], session.shape) + (session if late else 0.0)
    second = np.zeros_like(session) if late else session
    edge, low, high = _iterate(place, synthetic.MOVES, first, second, cost)
    if high - low > TOLERANCE:
        raise ConfigError(
            f"the drift of strength {spec.strength:g} and half_life {spec.half_life:g} turns too seldom for a long-run "
            "optimum; lower one of them"
        )
    return grid, edge, 0.5 * (low + high)


def _trend_grid(spec: synthetic.SyntheticSpec) -> Floats:
    """Return a grid that the trend hardly ever leaves: six of its standard deviations about each resting place."""
    spread = np.sqrt((1.0 - spec.decay) / (1.0 + spec.decay))
    reach = spec.strength + 6.0 * spread
    return np.linspace(-reach, reach, TREND_POINTS)


@njit(cache=True)
def _iterate(place: Floats, moves: Floats, first: Floats, second: Floats, cost: float) -> tuple[Floats, float, float]:
    """Relative value iteration.

    ``place`` (V, G, K) is where on the grid the trend goes next, each with probability 1/K; ``first`` and ``second``
    (V, G) the log growth of what is held before and after the fill. Returns the advantage (2, V, G) and two bounds on
    the growth per bar, which meet when it has converged.
    """
    levels, points, _ = place.shape
    turn = np.array([[0.0, -np.log1p(cost)], [np.log1p(-cost), 0.0]])
    value = np.zeros((2, levels, points))
    edge = np.zeros((2, levels, points))
    low, high = -np.inf, np.inf
    for _round in range(MOST_ROUNDS):
        ahead = _expect(value, place, moves)
        new = np.empty_like(value)
        for now in range(2):
            hold = turn[now, 1] + second + ahead[1]
            leave = turn[now, 0] + ahead[0]
            edge[now] = hold - leave
            new[now] = now * first + np.maximum(hold, leave)
        step = new - value
        low, high = step.min(), step.max()
        value = new - new[0, 0, 0]
        if high - low < TOLERANCE:
            break
    return edge, low, high


@njit(cache=True)
def _expect(value: Floats, place: Floats, moves: Floats) -> Floats:
    """Return (2, V, G) the expected ``value`` (2, V, G) one bar on, interpolated on the trend's grid."""
    levels, points, nodes = place.shape
    ahead = np.zeros_like(value)
    for now in range(2):
        for level in range(levels):
            mixed = np.zeros(points)
            for to in range(levels):
                mixed += moves[level, to] * value[now, to]
            for point in range(points):
                total = 0.0
                for node in range(nodes):
                    at = place[level, point, node]
                    left = min(int(at), points - 2)
                    total += mixed[left] + (at - left) * (mixed[left + 1] - mixed[left])
                ahead[now, level, point] = total / nodes
    return ahead


def _fills_at(panel: Panel, cost: float, fill_at: FillAt) -> str:
    if not 0.0 <= cost < 1.0:
        raise ConfigError(f"cost is {cost}; a fraction of the traded value in [0, 1)")
    if fill_at == "open" and not panel.has_open:
        raise ConfigError(f"{panel.source}: fill_at is open but the data has no opens; choose close")
    return ("open" if panel.has_open else "close") if fill_at == "auto" else fill_at
