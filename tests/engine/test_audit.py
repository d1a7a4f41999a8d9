"""Every way of using the future that the audit promises to catch is a strategy here, and is caught."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import intraday, random_panel
from tradekit.engine.audit import audit
from tradekit.engine.copies import fit
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


def same_bar_close(close: Floats) -> Any:
    """Be long in the bars that rose: row d decides on the close of the bar in which it is filled."""
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


def central_difference(close: Floats) -> Any:
    return np.gradient(close, axis=0) > 0


def two_sided_filter(close: Floats) -> Any:
    forth = np.apply_along_axis(np.convolve, 0, close, np.full(7, 1 / 7), "same")
    return close < forth


def share_of_maximum(close: Floats) -> Any:
    return close > 0.9 * close.max(axis=0)


def fit_on_the_test_slice(close: Floats) -> Any:
    """Regress the next return on the last one over all bars, and trade on the sign of the slope."""
    returns = np.diff(np.log(close), axis=0, prepend=np.log(close[:1]))
    slope = (returns[1:] * returns[:-1]).sum(axis=0) / (returns[:-1] ** 2).sum(axis=0)
    return slope * returns > 0


def principal_component(close: Floats) -> Any:
    centred_ = np.log(close) - np.log(close).mean(axis=0)
    _, _, axes = np.linalg.svd(centred_, full_matrices=False)
    return (centred_ @ axes[0] > 0)[:, None] & np.ones(close.shape, np.bool_)


def tiny(close: Floats) -> Any:
    """Move a weight by a millionth of a millionth when the next bar rises."""
    return 0.5 + 1e-12 * same_bar_close(close)


LEAKS = [
    same_bar_close,
    centred,
    global_z_score,
    global_rank,
    back_filled,
    resampled,
    detrended,
    central_difference,
    two_sided_filter,
    share_of_maximum,
    fit_on_the_test_slice,
    principal_component,
    tiny,
]


@pytest.mark.parametrize("symbols", [1, 8])
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_each_leak_is_caught_and_named(leak: Callable[[Floats], Any], symbols: int) -> None:
    panel = random_panel(400, symbols, seed=3)
    report = audit(Rule(leak.__name__, leak), panel)
    assert not report.passed
    assert report.first_violation is not None
    assert report.first_violation.column in ("close", "history length"), report
    assert np.datetime64(report.first_violation.timestamp) in panel.timestamps
    with pytest.raises(CausalityError, match=f"{leak.__name__} uses the future: its decision for S. at 20"):
        report.require()


class Ahead:
    """Decides by whatever ``rule`` makes of the panel, one row later than it may."""

    def __init__(self, rule: Callable[[Panel], Any], **attributes: Any) -> None:
        self.name, self._rule = "ahead", rule
        vars(self).update(attributes)

    def fit(self, train: Panel) -> Ahead:
        return self

    def weights(self, panel: Panel) -> Floats:
        known = np.zeros(panel.close.shape, np.bool_)
        known[:-1] = self._rule(panel)[1:]
        return known / len(panel.symbols)


def each(values: Any, panel: Panel) -> Any:
    """Repeat one value a bar for every symbol."""
    return np.repeat(np.asarray(values)[:, None], len(panel.symbols), axis=1)


SENTIMENT = dict(zip(range(-40, 10_000), np.random.default_rng(0).normal(size=10_040), strict=True))


def joined(panel: Panel) -> Any:
    """A series of the user's own, by day."""
    days = (panel.timestamps - np.datetime64("2010-01-04")).astype("m8[D]").astype(int)
    return each([SENTIMENT[day] > 0 for day in days], panel)


BY_COLUMN = [
    (lambda panel: panel.open > np.vstack([panel.open[:1], panel.open[:-1]]), "open"),
    (lambda panel: panel.close > panel.open, "open"),
    (lambda panel: panel.high / panel.close > 1.004, "high"),
    (lambda panel: panel.low / panel.close < 0.996, "low"),
    (lambda panel: (panel.high - panel.low) / panel.close > 0.007, "high"),
    (lambda panel: panel.volume > 1.5e6, "volume"),
    (lambda panel: np.roll(panel.close, 1, axis=1) > np.roll(panel.open, 1, axis=1), "open"),  # of another symbol
    (lambda panel: each(panel.benchmark_returns > 0, panel), "benchmark_returns"),
    (lambda panel: panel.tradable, "tradable"),
    (lambda panel: ~np.isnan(panel.close), "tradable"),
    (joined, "timestamps"),
    (lambda panel: each(np.diff(panel.timestamps.astype(int), prepend=0) < 2 * 86400 * 10**9, panel), "timestamps"),
]


@pytest.mark.parametrize(("rule", "column"), BY_COLUMN)
@pytest.mark.parametrize("lookback", [None, 30])
def test_a_peek_at_any_column_is_caught_and_the_column_is_named(
    rule: Callable[[Panel], Any], column: str, lookback: int | None
) -> None:
    strategy = Ahead(rule, **({} if lookback is None else {"lookback": lookback}))
    violation = audit(strategy, random_panel(400, 4)).first_violation
    assert violation is not None
    assert violation.column == column
    assert len(violation.timestamp) == len("2010-01-04")


def test_intraday_bars_are_named_by_the_minute() -> None:
    violation = audit(Rule("peeks", same_bar_close), intraday(random_panel(200, 2), 7)).first_violation
    assert violation is not None
    assert len(violation.timestamp) == len("2024-01-01T14:00")


def test_knowing_which_symbols_will_last_is_caught() -> None:
    """Nothing is missing in these bars; in the altered futures something is."""

    class Survivors(Rule):
        def weights(self, panel: Panel) -> Floats:
            table: Floats = np.ones(panel.close.shape) * ~np.isnan(panel.close).any(axis=0) / len(panel.symbols)
            return table

    violation = audit(Survivors("survivors", momentum), random_panel(300, 4)).first_violation
    assert violation is not None
    assert violation.column == "tradable"


def test_knowing_when_the_data_end_is_caught() -> None:
    class Leaves(Rule):
        def weights(self, panel: Panel) -> Floats:
            table = np.full(panel.close.shape, 0.1)
            table[-20:] = 0.0
            return table

    violation = audit(Leaves("leaves", momentum), random_panel(300, 4)).first_violation
    assert violation is not None
    assert violation.column == "history length"
    with pytest.raises(CausalityError, match="when those bars are left out"):
        audit(Leaves("leaves", momentum), random_panel(300, 4)).require()


@pytest.mark.parametrize("reach", [40, 100])
def test_a_peek_that_needs_more_bars_than_a_cut_shows_is_caught(reach: int) -> None:
    """It does nothing at all on panels as short as those that a strategy with a lookback is asked on."""

    class FarSighted(Rule):
        lookback = 2

        def weights(self, panel: Panel) -> Floats:
            table = np.zeros(panel.close.shape)
            if len(panel) > 300:
                table[:-reach] = (panel.close[reach:] > panel.close[:-reach]) / len(panel.symbols)
            return table

    assert not audit(FarSighted("far_sighted", momentum), random_panel(700, 4)).passed


@pytest.mark.parametrize("row", [57, 143, 288])
def test_a_single_peek_among_honest_decisions_is_caught_at_every_bar(row: int) -> None:
    """One row of hundreds, all of which decide something new: only asking after every bar is sure to find it."""

    class Once(Rule):
        lookback = 21

        def weights(self, panel: Panel) -> Floats:
            table = super().weights(panel)
            at = int(np.searchsorted(panel.timestamps, np.datetime64("2010-01-04") + row))
            if at < len(panel) - 1 and panel.timestamps[at] == np.datetime64("2010-01-04") + row:
                table[at] = panel.close[at + 1] > panel.close[at]
            return table / len(panel.symbols)

    report = audit(Once("once", momentum), random_panel(300, 4), cuts=None)
    assert report.first_violation is not None
    assert report.first_violation.timestamp == str(np.datetime64("2010-01-04") + row)
    honest = audit(Rule("momentum", momentum, lookback=21), random_panel(300, 4), cuts=None)
    assert honest.passed
    assert honest.cuts == 279


def test_fit_is_shown_no_bar_behind_its_slice() -> None:
    """A slice leads to the array it was cut from; what is fitted gets memory of its own."""

    class Climbs(Rule):
        def fit(self, train: Panel) -> Climbs:
            self.seen = {name: getattr(train, name).base for name in ("close", "open", "timestamps", "tradable")}
            return self

    panel = random_panel(300, 4)
    fitted = fit(Climbs("climbs", momentum), panel[:100])
    assert isinstance(fitted.strategy, Climbs)
    assert set(map(type, fitted.strategy.seen.values())) == {type(None)}


def test_a_strategy_that_cannot_read_an_altered_future_is_judged_by_the_others() -> None:
    class Picky(Rule):
        def weights(self, panel: Panel) -> Floats:
            assert np.isfinite(panel.close).all()
            return super().weights(panel)

    assert audit(Picky("picky", momentum, lookback=21), random_panel(300, 4)).passed
    assert not audit(Picky("picky", same_bar_close), random_panel(300, 4)).passed


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
            self.table = same_bar_close(panel.close) / len(panel.symbols)
        rows: Floats = self.table[: len(panel)]
        return rows


def test_a_table_kept_from_the_first_call_does_not_hide_a_peek() -> None:
    strategy, panel = Caches(), random_panel(300, 3)
    assert not audit(strategy, panel).passed
    assert strategy.table is None


def test_every_cut_is_told_before_it_is_tried() -> None:
    told: list[tuple[int, int]] = []
    report = audit(Rule("momentum", momentum), random_panel(300, 3), progress=lambda *at: told.append(at))
    assert told == [(done, report.cuts) for done in range(report.cuts)]
