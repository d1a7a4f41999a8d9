"""Side series in the engine: shown up to the newest bar, audited, drawn with their bars, and kept by saved ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.engine.audit import audit
from tradekit.engine.futures import columns_of, futures
from tradekit.engine.ledger_io import content_hash, first_difference, load_ledger, save_ledger
from tradekit.engine.paths import paths
from tradekit.engine.scenarios import Scenario
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import EventAdapter
from tradekit.engine.worlds import Span
from tradekit.errors import CausalityError, DataError
from tradekit.market.features import FeatureSpec
from tradekit.market.side import join_as_of
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.engine.strategy import View
    from tradekit.market.panel import Floats, Panel


def beside(bars: int = 400, symbols: int = 4) -> Panel:
    """Return random bars with a series for all symbols, and one for each that is missing now and then."""
    rng = np.random.default_rng(5)
    mood = rng.normal(size=(bars, symbols))
    mood[rng.random(mood.shape) < 0.1] = np.nan
    return random_panel(bars, symbols).with_side("vix", rng.normal(size=bars)).with_side("mood", mood)


class Sees:
    """An open-loop rule over a side series; ``ahead`` bars of it are read too early."""

    name, lookback = "sees", 3

    def __init__(self, series: str, ahead: int) -> None:
        self.series, self.ahead = series, ahead

    def fit(self, train: Panel) -> Sees:
        return self

    def weights(self, panel: Panel) -> Floats:
        values = panel.series(self.series)
        values = values[:, None] if values.ndim == 1 else values
        known = np.full(panel.close.shape, np.nan)
        known[: len(known) - self.ahead] = values[self.ahead :]
        return (known > 0.0) / len(panel.symbols)


@pytest.mark.parametrize("series", ["vix", "mood"])
def test_a_series_read_a_bar_too_early_is_caught_and_named(series: str) -> None:
    assert audit(Sees(series, 0), beside()).passed
    report = audit(Sees(series, 1), beside())
    assert report.first_violation is not None
    assert report.first_violation.column == f"side:{series}"
    with pytest.raises(CausalityError, match=f"when their side:{series} changes"):
        report.require()


def test_a_same_day_join_is_caught() -> None:
    """The lag of a join undone: the value of a day is read at the close of that day, when nobody knew it yet."""
    bars = load_panel("sample", symbols="AAPL,KO", start="2018-01-02", end="2019-12-31")
    dates, values = bars.timestamps.astype("M8[D]"), np.random.default_rng(2).normal(size=len(bars))
    panel = bars.with_side("vix", join_as_of(bars, dates, values))

    class SameDay(Sees):
        def weights(self, panel: Panel) -> Floats:
            today = np.append(panel.series("vix")[1:], np.nan)
            return np.repeat((today > 0.0)[:, None] / 2, 2, axis=1)

    report = audit(SameDay("vix", 0), panel)
    assert report.first_violation is not None
    assert report.first_violation.column == "side:vix"


def test_futures_change_later_values_of_the_series_asked_for_alone() -> None:
    panel = beside(60)
    assert columns_of(panel)[-2:] == ("side:vix", "side:mood")
    for column, other in (("vix", "mood"), ("mood", "vix")):
        for future in futures(panel, 30, (f"side:{column}",)):
            np.testing.assert_array_equal(future.side[column][:31], panel.side[column][:31])
            known = ~np.isnan(panel.side[column][31:])
            assert (future.side[column][31:][known] != panel.side[column][31:][known]).all()
            np.testing.assert_array_equal(future.side[other], panel.side[other])
            np.testing.assert_array_equal(future.close, panel.close)


class Looks:
    """An event-style strategy that keeps what it is shown."""

    name = "looks"
    seen: ClassVar[list[tuple[Any, ...]]] = []  # what stands in an instance belongs to one run

    def fit(self, train: Panel) -> Looks:
        return self

    def on_bar(self, view: View) -> Floats:
        spec = FeatureSpec.named("side:vix", "side:mood")
        whole = view.panel
        self.seen.append((view.series("vix"), view.series("mood"), view.features(spec), whole.series("mood")))
        with pytest.raises(DataError, match="no side series vic"):
            view.series("vic")
        return np.full(len(view.symbols), np.nan)


def test_a_view_shows_the_series_up_to_its_bar() -> None:
    panel, looks = beside(40), Looks()
    simulate(EventAdapter(looks), panel)
    assert len(looks.seen) == 39
    for bar, (vix, mood, features, whole) in enumerate(looks.seen):
        np.testing.assert_array_equal(vix, panel.side["vix"][: bar + 1])
        np.testing.assert_array_equal(mood, panel.side["mood"][: bar + 1])
        np.testing.assert_array_equal(whole, mood)
        np.testing.assert_array_equal(features[:, 0], np.full(4, vix[-1]))
        np.testing.assert_array_equal(features[:, 1], mood[-1])


def test_a_drawn_bar_brings_its_series_along() -> None:
    panel = beside(300)
    panel = panel.with_side("vix", np.arange(300.0))
    scenario = Scenario.from_dict({"name": "drawn", "kind": "bootstrap", "bars": 120, "seed": 3, "draws": 1})
    (path,) = paths(scenario, panel, Span(100, 300))
    drawn = path.side["vix"]
    np.testing.assert_array_equal(drawn[:101], np.arange(101.0))
    rows = drawn[101:].astype(int)
    assert set(rows) <= set(range(101, 300))
    np.testing.assert_array_equal(path.side["mood"][101:], panel.side["mood"][rows])
    np.testing.assert_array_equal(path.volume[101:], panel.volume[rows])


def ledger(panel: Panel) -> Any:
    return simulate(Sees("vix", 0), panel)


def test_a_saved_ledger_keeps_the_series(tmp_path: Path) -> None:
    panel = beside(60)
    one = ledger(panel)
    save_ledger(one, tmp_path / "l")
    read = load_ledger(tmp_path / "l")
    assert content_hash(read) == content_hash(one)
    for name, values in panel.side.items():
        np.testing.assert_array_equal(read.panel.side[name], values)


@pytest.mark.parametrize(
    ("change", "bar", "what"),
    [
        (lambda vix, mood: (vix + (np.arange(60) == 17), mood), 17, "side series vix"),
        (lambda vix, mood: (vix, mood + 1.0 * (np.arange(60) == 23)[:, None]), 23, "side series mood of S"),
    ],
)
def test_the_first_bar_whose_series_differs_is_named(change: Callable[..., Any], bar: int, what: str) -> None:
    panel = beside(60)
    vix, mood = change(panel.side["vix"], panel.side["mood"])
    other = panel.with_side("vix", vix).with_side("mood", mood)
    found = first_difference(ledger(panel), ledger(other))
    assert found is not None
    assert (found.bar, found.what[: len(what)]) == (bar, what)
