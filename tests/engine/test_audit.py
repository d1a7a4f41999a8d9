"""Every way of using the future that the audit promises to catch is a strategy here, and is caught."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import BuyOnce, Table, random_panel
from tradekit.engine.audit import audit
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.errors import CausalityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.market.panel import Floats, Panel


class Rule:
    """A strategy from a function of close that says when to be long."""

    def __init__(self, name: str, rule: Callable[[Floats], Any], lookback: int | None = None) -> None:
        self.name, self._rule = name, rule
        if lookback is not None:
            self.lookback = lookback

    def fit(self, train: Panel) -> Rule:
        return self

    def weights(self, panel: Panel) -> Floats:
        long: Floats = np.nan_to_num(self._rule(panel.close).astype(float))
        return long / len(panel.symbols)


def momentum(close: Floats) -> Any:
    signal = np.zeros(close.shape)
    signal[20:] = close[20:] > close[:-20]
    return signal


def next_bar(close: Floats) -> Any:
    return np.vstack([close[1:] > close[:-1], np.zeros((1, close.shape[1]))])


def centred(close: Floats) -> Any:
    window = np.lib.stride_tricks.sliding_window_view(close, 11, axis=0).mean(axis=-1)
    smooth = np.full(close.shape, np.nan)
    smooth[5:-5] = window
    return close < smooth


def global_z_score(close: Floats) -> Any:
    return close < close.mean(axis=0)


def global_rank(close: Floats) -> Any:
    return close.argsort(axis=0).argsort(axis=0) < len(close) / 2


def back_filled(close: Floats) -> Any:
    weekly = np.full(close.shape, np.nan)
    weekly[::5] = close[::5]
    for row in range(len(close) - 2, -1, -1):
        weekly[row] = np.where(np.isnan(weekly[row]), weekly[row + 1], weekly[row])
    return close < weekly


def resampled(close: Floats) -> Any:
    """Label each bar with the last close of its week, known only on its last day."""
    last = np.minimum((np.arange(len(close)) // 5) * 5 + 4, len(close) - 1)
    return close < close[last]


def detrended(close: Floats) -> Any:
    return close < np.linspace(close[0], close[-1], len(close))


LEAKS = [next_bar, centred, global_z_score, global_rank, back_filled, resampled, detrended]


@pytest.mark.parametrize("symbols", [1, 8])
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_each_leak_is_caught_and_named(leak: Callable[[Floats], Any], symbols: int) -> None:
    panel = random_panel(400, symbols, seed=3)
    report = audit(Rule(leak.__name__, leak), panel)
    assert not report.passed
    assert report.first_violation is not None
    assert report.first_violation.column in ("close", "history length"), report
    assert np.datetime64(report.first_violation.timestamp) in panel.timestamps
    with pytest.raises(CausalityError, match=f"{leak.__name__} uses the future"):
        report.require()


def test_a_future_dated_join_is_caught() -> None:
    panel = random_panel(400, 3)

    class JoinsLate:
        name = "joins_late"

        def fit(self, train: Panel) -> JoinsLate:
            return self

        def weights(self, p: Panel) -> Floats:
            published = np.roll(p.benchmark_returns, -1)  # the value of the day after
            return np.repeat((published > 0)[:, None], len(p.symbols), axis=1) / len(p.symbols)

    report = audit(JoinsLate(), panel)
    assert not report.passed


def test_the_column_whose_future_is_used_is_named() -> None:
    class PeeksVolume:
        name = "peeks_volume"

        def fit(self, train: Panel) -> PeeksVolume:
            return self

        def weights(self, p: Panel) -> Floats:
            table = np.zeros(p.close.shape)
            table[:-1] = (p.volume[1:] > p.volume[:-1]) / len(p.symbols)
            return table

    violation = audit(PeeksVolume(), random_panel(200, 4)).first_violation
    assert violation is not None
    assert violation.column == "volume"


def test_honest_strategies_pass_and_their_memory_is_measured() -> None:
    panel = random_panel(400, 4)
    report = audit(Rule("momentum", momentum, lookback=21), panel)
    assert report.passed
    assert report.lookback_holds
    assert report.warm_up_bars == 32  # the first power of two that holds 21 bars
    assert report.cuts >= 8
    assert not audit(Rule("momentum", momentum, lookback=20), panel).lookback_holds
    assert audit(Table(0.25), panel).passed
    assert audit(BuyOnce(), panel).passed


def test_a_strategy_that_never_asks_is_not_called_clean_in_silence() -> None:
    assert "nothing was tested" in audit(Table(float("nan")), random_panel(50, 2)).note


def test_an_event_strategy_cannot_see_ahead() -> None:
    seen: list[int] = []

    class Looks:
        name = "looks"

        def fit(self, train: Panel) -> Looks:
            return self

        def on_bar(self, view: View) -> Floats:
            seen.append(len(view.close) - view.bar)
            assert len(view.panel) == len(view.timestamps) == len(view.volume) == view.bar + 1
            return np.where(view.close[-1] > view.close[0], 0.25, 0.0)

    assert audit(Looks(), random_panel(60, 4)).passed
    assert set(seen) == {1}


def test_a_closed_loop_that_smuggles_the_future_in_is_caught() -> None:
    class Smuggler:
        name, sleeves = "smuggler", True

        def fit(self, train: Panel) -> Smuggler:
            return self

        def start(self, portfolios: int) -> None:
            return None

        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            frame: Any = sys._getframe()
            while not hasattr(frame.f_locals.get("self"), "_watch"):
                frame = frame.f_back
            close = frame.f_locals["self"]._watch._panel.close  # climbs out of the view into the engine
            ahead = close[min(view.bar + 1, len(close) - 1)] > close[view.bar]
            return Targets(ahead.astype(float)[:, None])

    report = audit(Smuggler(), random_panel(60, 4))
    assert not report.passed


class Rare:
    """Decides on the first bar of each stretch of ``every`` bars, by what the next bar will be."""

    lookback = 2

    def __init__(self, every: int, ahead: int = 1) -> None:
        self.name, self.every, self.ahead = f"every_{every}", every, ahead

    def fit(self, train: Panel) -> Rare:
        return self

    def weights(self, panel: Panel) -> Floats:
        day = panel.timestamps.astype("M8[D]").astype(int)
        table = np.full(panel.close.shape, np.nan)
        for row in np.flatnonzero(day % self.every == 0):
            other = int(np.clip(row + self.ahead, 0, len(day) - 1))
            table[row] = (panel.close[other] > panel.close[row]) / len(panel.symbols)
        return table


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("every", [5, 21, 63])
def test_a_peek_on_few_bars_is_caught_whenever_it_happens(every: int, seed: int) -> None:
    assert not audit(Rare(every), random_panel(700 + seed, 4, seed)).passed
    assert audit(Rare(every, ahead=-1), random_panel(700 + seed, 4, seed)).passed


class Caches:
    """Computes its table once, from whatever it is shown first, and peeks in it."""

    name, lookback = "caches", 1
    table: Floats | None = None

    def fit(self, train: Panel) -> Caches:
        return self

    def weights(self, panel: Panel) -> Floats:
        if self.table is None:
            self.table = next_bar(panel.close) / len(panel.symbols)
        rows: Floats = self.table[: len(panel)]
        return rows


def test_a_table_kept_from_the_first_call_does_not_hide_a_peek() -> None:
    strategy, panel = Caches(), random_panel(300, 3)
    assert not audit(strategy, panel).passed
    assert strategy.table is None


def test_an_event_strategy_that_remembers_is_not_accused() -> None:
    class BuysOnce:
        name, bought = "buys_once", False

        def fit(self, train: Panel) -> BuysOnce:
            return self

        def on_bar(self, view: View) -> Floats:
            first, self.bought = not self.bought, True
            return np.full(4, 0.25 if first else np.nan)

    report = audit(BuysOnce(), random_panel(60, 4))
    assert report.passed
    assert not report.note


def test_too_few_bars_and_strategies_that_raise_on_them_are_not_called_clean() -> None:
    short = audit(Rule("momentum", momentum, lookback=21), random_panel(15, 2))
    assert (short.bars_checked, short.cuts) == (0, 0)
    assert "too few" in short.note

    class NeedsMuch(Table):
        def weights(self, panel: Panel) -> Floats:
            assert panel.close[300] is not None
            return super().weights(panel)

    report = audit(NeedsMuch(0.1), random_panel(310, 2))
    assert "IndexError" in report.note
    assert report.bars_checked == 0
