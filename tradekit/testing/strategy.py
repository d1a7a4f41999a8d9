"""The contract of a strategy, whichever of the three forms it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tradekit.engine.audit import audit, decisions
from tradekit.engine.copies import alike, fresh
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import is_open_loop
from tradekit.market.sources import load_panel

if TYPE_CHECKING:
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel


class StrategyContract:
    """Subclass it under a name that starts with ``Test`` and say how your strategy is made; pytest does the rest.

    ``panel`` may be overridden too: the bars it is tried on, by default a synthetic daily market with all columns.
    """

    def make(self) -> AnyStrategy:
        """Return a new, unfitted strategy."""
        raise AssertionError(f"{type(self).__name__} must override make() and return the strategy to test")

    def panel(self) -> Panel:
        """Return the bars to try it on; the first half is learnt from, the second decided on."""
        return load_panel("synthetic:noise?bars=900&symbols=4&seed=7")

    def fitted(self) -> AnyStrategy:
        """Return the strategy fitted on the first half of the bars."""
        return self.make().fit(self.panel()[: self._half()])

    def test_it_has_a_name(self) -> None:
        """Results are listed by name."""
        name = self.make().name
        assert isinstance(name, str)
        assert name

    def test_it_does_not_use_the_future(self) -> None:
        """Bars are changed, and no decision before them may move."""
        report = audit(self.fitted(), self.panel(), start=self._half())
        report.require()
        assert not report.note, report.note

    def test_the_declared_lookback_is_enough(self) -> None:
        """A session preloads ``lookback`` bars; the decision has to be that of the whole history."""
        report = audit(self.fitted(), self.panel(), cuts=1, start=self._half())
        assert report.lookback_holds is not False, "decisions need more history than the declared lookback"

    def test_the_same_bars_give_the_same_decisions(self) -> None:
        """Two strategies made and fitted alike decide alike, to the bit."""
        panel, half = self.panel(), self._half()
        last = len(panel) - 2
        one, two = (decisions(self.fitted(), panel, last, half) for _ in range(2))
        np.testing.assert_array_equal(one, two)

    def test_fitting_leaves_the_original_alone(self) -> None:
        """``fit`` answers a fitted strategy; fitting once must not change what a later fit learns."""
        panel, half = self.panel(), self._half()
        strategy = self.make()
        before = fresh(strategy)
        strategy.fit(panel[: half // 2])
        assert alike(strategy, before), "fit changed the strategy it was called on; return a fitted copy"
        again, last = strategy.fit(panel[:half]), len(panel) - 2
        np.testing.assert_array_equal(decisions(again, panel, last, half), decisions(self.fitted(), panel, last, half))

    def test_it_can_be_traded(self) -> None:
        """The engine accepts every target, and what it holds is paid for."""
        panel, half = self.panel(), self._half()
        ledger = simulate(self.fitted(), panel, start=half)
        assert np.isfinite(ledger.equity).all()
        assert (ledger.cash >= 0.0).all()
        if is_open_loop(self.fitted()):
            several = simulate(self.fitted(), panel, [ledger.cost_model] * 2, start=half)
            assert all(np.array_equal(ledger.equity, one.equity) for one in several)

    def _half(self) -> int:
        return len(self.panel()) // 2
