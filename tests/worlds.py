"""Small markets and strategies that the engine's tests share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.panel import Panel, equal_weight_returns

if TYPE_CHECKING:
    from typing import Self

    from tradekit.market.panel import Bools, Floats, Times


class Table:
    """An open loop over a given table of weights."""

    name = "table"

    def __init__(self, weights: Floats) -> None:
        self.table = weights

    def fit(self, train: Panel) -> Self:
        return self

    def weights(self, panel: Panel) -> Floats:
        rows: Floats = self.table[: len(panel)]
        return rows


class EventStyle(Table):
    """The same table as a callback."""

    def on_bar(self, view: View) -> Floats:
        row: Floats = self.table[view.bar]
        return row


class Lockstep(Table):
    """The same table, asked for bar by bar."""

    sleeves = False
    are_shares = False

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        return Targets(np.tile(self.table[view.bar], (len(portfolios), 1)), self.are_shares)


class Shares(Lockstep):
    """A table of share requests."""

    are_shares = True


class Sleeves(Lockstep):
    """Every symbol a portfolio of its own."""

    sleeves = True

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        return Targets(self.table[view.bar, portfolios.column][:, None])


def panel_of(
    opens: Floats,
    closes: Floats,
    volume: Floats | None = None,
    tradable: Bools | None = None,
    timestamps: Times | None = None,
    symbols: tuple[str, ...] | None = None,
) -> Panel:
    """Return a daily panel of the given (T, N) opens and closes; NaN where there is no bar."""
    bars, width = closes.shape
    if timestamps is None:
        timestamps = np.datetime64("2024-01-01", "ns") + np.arange(bars) * np.timedelta64(1, "D")
    return Panel(
        timestamps=timestamps,
        symbols=symbols or (tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:width]) if width <= 26 else names(width)),
        open=opens,
        high=np.fmax(opens, closes),
        low=np.fmin(opens, closes),
        close=closes,
        volume=np.full((bars, width), 1e6) if volume is None else volume,
        tradable=~np.isnan(closes) if tradable is None else tradable,
        close_time=timestamps + np.timedelta64(1, "D"),
        benchmark_returns=equal_weight_returns(closes),
    )


def names(width: int) -> tuple[str, ...]:
    """Return ``width`` symbols."""
    return tuple(f"S{number:03d}" for number in range(width))


def random_panel(rng: np.random.Generator, bars: int, width: int, *, holes: bool = False) -> Panel:
    """Return lognormal prices with overnight gaps; with ``holes``, missing bars, halts and late listings too."""
    volatility = rng.choice([0.005, 0.02, 0.1])
    closes = rng.uniform(5, 300, width) * np.exp(np.cumsum(rng.normal(0, volatility, (bars, width)), axis=0))
    opens = closes * np.exp(rng.normal(0, volatility, (bars, width)))
    volume = np.floor(rng.lognormal(rng.uniform(4, 12), 1.0, (bars, width)))
    tradable = np.ones((bars, width), np.bool_)
    if holes:
        volume[rng.random((bars, width)) < 0.05] = 0.0
        tradable &= rng.random((bars, width)) > 0.1
        missing = rng.random((bars, width)) < 0.1
        if rng.random() < 0.5:
            missing[: rng.integers(1, bars), rng.integers(width)] = True
        for array in (opens, closes, volume):
            array[missing] = np.nan
        tradable &= ~missing
    return panel_of(opens, closes, volume, tradable)


class Case(NamedTuple):
    """Everything one portfolio's run depends on."""

    panel: Panel
    targets: Floats
    costs: CostModel
    execution: ExecutionModel
    cash: float
    stream: int
    are_shares: bool


def random_case(seed: int) -> Case:
    """Return a case in which every rule and cost term has a fair chance to matter."""
    rng = np.random.default_rng(seed)
    panel = random_panel(rng, int(rng.integers(3, 12)), int(rng.integers(1, 5)), holes=rng.random() < 0.5)
    if rng.random() < 0.25:
        panel = replace(panel, spread_multiple=rng.uniform(0.0, 10.0, len(panel)))
    execution = random_execution(rng)
    cash = float(np.round(10 ** rng.uniform(2.5, 6.5), 2))
    are_shares = bool(rng.random() < 0.25)
    targets = random_weights(rng, *panel.close.shape, short=execution.allow_short)
    if are_shares:
        side = rng.choice([-1.0, 1.0], panel.close.shape)
        targets = np.round(targets * side * cash / 100.0, int(rng.integers(0, 4)))
    return Case(panel, targets, random_costs(rng), execution, cash, int(rng.integers(0, 5)), are_shares)


def random_weights(rng: np.random.Generator, bars: int, width: int, *, short: bool = False) -> Floats:
    """Return weights that rest, leave alone, exit, rotate, and now and then ask for all the equity."""
    weights: Floats = rng.dirichlet(np.ones(width), bars) * rng.choice([0.3, 0.9, 1.0], (bars, 1))
    weights[rng.random((bars, width)) < 0.15] = 0.0
    if short:
        weights *= rng.choice([-1.0, 1.0], (bars, width))
    weights[rng.random((bars, width)) < 0.15] = np.nan
    weights[rng.random(bars) < 0.2] = np.nan
    return weights


def random_costs(rng: np.random.Generator) -> CostModel:
    """Return a model in which each term is off half the time."""

    def some(most: float) -> float:
        return float(rng.uniform(0, most)) if rng.random() < 0.5 else 0.0

    return CostModel(
        commission_bps=some(30),
        commission_per_share=some(0.05),
        commission_minimum=some(20),
        spread_bps=some(50),
        slippage_bps=some(100),
        slippage_mode=rng.choice(["expected", "worst", "sampled"]),
        slippage_seed=int(rng.integers(0, 2**40)),
        impact_coefficient=float(rng.choice([0.0, 0.01, 0.1, 2.0])),
        impact_basis=rng.choice(["equity", "adv"]),
        impact_window_bars=int(rng.integers(2, 6)),
        regulatory=float(rng.choice([0.0, 1.0, 3.0])),
        borrow_rate_annual=some(2.0),
        cash_interest_annual=some(1.0),
    )


def random_execution(rng: np.random.Generator) -> ExecutionModel:
    """Return rules of which each is off most of the time."""
    return ExecutionModel(
        fill_at=rng.choice(["auto", "open", "close"]),
        latency_bars=int(rng.choice([0, 0, 1, 2])),
        fractional=bool(rng.random() < 0.6),
        max_participation=float(rng.uniform(0.001, 0.5)) if rng.random() < 0.4 else None,
        min_trade=float(rng.choice([0.0, 0.0, 100.0])),
        cash_buffer=float(rng.choice([0.0, 0.0, 0.05])),
        allow_short=bool(rng.random() < 0.3),
    )
