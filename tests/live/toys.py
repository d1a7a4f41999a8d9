"""Strategies of every form that trade often, and helpers that several tests of the session share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.learn.actions import ACTIONS, ActionScheme
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.observations import STATE
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tradekit.market.panel import Bools, Floats, Panel

CLOSE = FeatureSpec.named("close")


@dataclass
class Drift:
    """Open loop: weights that change every bar with the last return, never more than ``gross`` in all."""

    gross: float = 0.8
    name: str = "drift"
    lookback: int = 3

    def fit(self, train: Panel) -> Drift:
        return self

    def weights(self, panel: Panel) -> Floats:
        returns = np.zeros(panel.close.shape)
        returns[2:] = panel.mark[2:] / panel.mark[:-2] - 1.0
        rising = np.nan_to_num(returns) > 0.0
        return np.where(rising, self.gross, 0.3 * self.gross) / len(panel.symbols)


@dataclass
class Callback:
    """Event style: holds what rose over five bars."""

    name: str = "callback"

    def fit(self, train: Panel) -> Callback:
        return self

    def on_bar(self, view: View) -> Floats:
        close = view.panel.mark
        rose = close[-1] > close[max(0, len(close) - 6)]
        return np.where(rose, 0.9, 0.0) / len(view.symbols)


class Notes:
    """What Sleeves remembers: trades and bars per sleeve, a generator, and what it did."""

    def __init__(self, portfolios: int) -> None:
        self.trades = np.zeros(portfolios, np.int64)
        self.generator = np.random.default_rng(7)
        self.diary: list[Floats] = []


@dataclass
class Sleeves:
    """Closed loop, one portfolio per symbol, asks for shares, sees features and its own past, and rolls dice."""

    asked: Path | None = None
    """File that every question is noted in."""
    name: str = "sleeves"
    sleeves: bool = True
    lookback: int = CLOSE.lookback

    def fit(self, train: Panel) -> Sleeves:
        return self

    def start(self, portfolios: int) -> Notes:
        return Notes(portfolios)

    def decide(self, view: View, portfolios: Portfolios, state: Notes) -> Targets:
        if self.asked is not None:
            with self.asked.open("a", encoding="utf-8") as file:
                file.write(f"{view.timestamp}\n")
        signal = view.features(CLOSE)[portfolios.column, 1]
        luck = state.generator.random(len(portfolios))
        held, mark = portfolios.shares[:, 0], view.mark[portfolios.column]
        buy = (held == 0.0) & (signal > 0.0) & (luck < 0.6)
        sell = (held > 0.0) & (portfolios.held[:, 0] >= 2 + state.trades % 3)
        shares = np.where(buy, 0.5 * portfolios.equity / mark, 0.0)
        shares = np.where(sell, np.where(luck < 0.5, -held, -0.5 * held), shares)
        state.trades += (shares != 0.0).astype(np.int64)
        state.diary.append(shares)
        return Targets(shares[:, None], are_shares=True)


@dataclass
class Pooled:
    """Closed loop, one portfolio of all symbols, sized by its own drawdown."""

    name: str = "pooled"
    sleeves: bool = False

    def fit(self, train: Panel) -> Pooled:
        return self

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: None) -> Targets:
        drawdown = 1.0 - portfolios.equity / portfolios.peak
        gross = np.where(drawdown > 0.005, 0.4, 0.9)
        return Targets(np.broadcast_to(gross[:, None] / len(view.symbols), portfolios.shares.shape).copy())


def agent() -> SymbolAgent:
    """Return the real agent of policies, with its masks, its memory and its diary, over weights nobody trained."""
    width = len(CLOSE.names) + len(STATE)
    matrix = np.random.default_rng(3).normal(size=(width, ACTIONS))

    def decide(raw: Floats, mask: Bools) -> tuple[NDArray[np.int64], Floats]:
        score = np.where(mask, np.tanh(np.nan_to_num(raw)) @ matrix, -np.inf)
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        return score.argmax(axis=1), weight / weight.sum(axis=1, keepdims=True)

    return SymbolAgent("agent", CLOSE, ActionScheme(), decide)


def told(events: list[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what a journal says apart from when it was written and how an order was confirmed."""
    kept = []
    for event in events:
        body = {key: value for key, value in event.body.items() if key not in ("adopted", "latency")}
        kept.append((event.kind, event.bar, body))
    return kept
