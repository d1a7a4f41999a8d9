"""A view holds the past and nothing else, whatever is done to it."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Past, Portfolios, Targets, View
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tradekit.market.panel import Panel

COLUMNS = ("open", "high", "low", "close", "volume", "timestamps", "mark", "tradable")
SPEC = FeatureSpec.named("close")


def reachable(view: View) -> Iterator[Any]:
    """Yield every object that references lead to, without going through code, which leads to the whole process."""
    seen: set[int] = set()
    waiting: list[Any] = [view, view.panel, view.features(SPEC), *(getattr(view, name) for name in COLUMNS)]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, ModuleType | FunctionType | type):
            continue
        seen.add(id(one))
        yield one
        waiting += gc.get_referents(one)
        if isinstance(one, np.ndarray):
            plain: Any = one.view(np.int64) if one.dtype.kind == "M" else one
            waiting += [one.base, memoryview(plain).obj]


def whole(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Walks:
    """Checks at every bar that nothing it can reach holds a price or a date of a later bar."""

    name, sleeves = "walks", True

    def __init__(self, panel: Panel) -> None:
        self.closes, self.stamps, self.arrays = panel.close, panel.timestamps, 0

    def fit(self, train: Panel) -> Walks:
        return self

    def start(self, portfolios: int) -> None:
        return None

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        later = set(self.closes[view.bar + 1 :].ravel().tolist())
        for one in reachable(view):
            assert not isinstance(one, float) or one not in later
            if isinstance(one, np.ndarray):
                self.arrays += 1
                memory = whole(one)
                if memory.dtype.kind == "f":
                    assert not later & set(memory.ravel().tolist())
                if memory.dtype.kind == "M":
                    assert (memory <= self.stamps[view.bar] + np.timedelta64(1, "D")).all()
        return Targets(np.full((len(portfolios), 1), 0.5))


def test_nothing_a_view_leads_to_is_later_than_its_bar() -> None:
    panel = random_panel(70, 3)
    walker = Walks(panel)
    simulate(walker, panel)
    assert walker.arrays > 69 * len(COLUMNS)


def test_the_walk_finds_the_future_where_there_is_one() -> None:
    panel = random_panel(70, 3)
    view = View(Past(panel, 20))
    leaky: Any = view
    leaky.hidden = {"somewhere": [panel.close[:20]]}
    nobody: Any = None
    with pytest.raises(AssertionError):
        Walks(panel).decide(view, nobody, None)


def test_how_long_the_buffers_are_does_not_tell_how_many_bars_will_come() -> None:
    for bars in (70, 700):
        seen: list[int] = []

        class Measures(Walks):
            def decide(self, view: View, portfolios: Portfolios, state: Any, seen: list[int] = seen) -> Targets:
                seen.append(len(whole(view.close)))
                return Targets(np.zeros((len(portfolios), 1)))

        panel = random_panel(bars, 3)
        simulate(Measures(panel), panel, stop=40)
        assert seen == [1 << int(bar).bit_length() for bar in range(39)]  # 1, 2, 4, 4, 8, ...


def test_a_view_shows_the_bars_of_the_panel() -> None:
    panel = random_panel(30, 2)
    past = Past(panel, 10)
    early = View(past)
    past.reveal(panel, 21)
    for view, bars in ((early, 10), (View(past), 21)):
        assert view.bar == bars - 1
        for name in ("open", "high", "low", "close", "volume", "timestamps"):
            assert np.array_equal(getattr(view, name), getattr(panel, name)[:bars])
            assert not getattr(view, name).flags.writeable
            assert not whole(getattr(view, name)).flags.writeable
        assert np.array_equal(view.mark, panel.mark[bars - 1])
        assert np.array_equal(view.tradable, panel.tradable[bars - 1])
        assert view.timestamp == panel.timestamps[bars - 1]
        assert view.panel.content_hash == panel[:bars].content_hash
        assert np.array_equal(view.features(SPEC), SPEC.compute(panel)[bars - 1], equal_nan=True)


def test_columns_that_the_source_lacks_are_not_there() -> None:
    view = View(Past(random_panel(30, 2, close_only=True), 10))
    assert np.isnan(view.volume).all()
    assert view.volume.shape == (10, 2)
    assert view.panel.columns == {"close"}


def test_features_are_the_same_however_they_are_asked_for() -> None:
    """At the first bar that asks from its last bars, afterwards from a table of all bars; the same bits."""
    panel = random_panel(200, 3)
    table, seen = SPEC.compute(panel), []

    class Asks(Walks):
        def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
            if view.bar >= 50:
                seen.append(view.features(SPEC).tobytes() == table[view.bar].tobytes())
            return Targets(np.zeros((len(portfolios), 1)))

    simulate(Asks(panel), panel)
    assert seen == [True] * 149
