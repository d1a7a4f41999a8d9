"""Panels one below the other: the rows of each are where it is said, and no wait is counted differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import random_panel
from tradekit.engine.stacked import BY_ROW, stacked
from tradekit.errors import DataError
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel, market_of


@given(st.integers(0, 2**32), st.integers(0, 4))
def test_the_rows_of_every_panel_are_there(seed: int, latency: int) -> None:
    rng = np.random.default_rng(seed)
    panels = [random_panel(rng, int(rng.integers(3, 12)), 2, holes=True) for _ in range(int(rng.integers(1, 5)))]
    panels[-1] = replace(panels[-1], spread_multiple=1.0 + rng.random(len(panels[-1])))
    spans = [(first := int(rng.integers(0, len(one) - 1)), int(rng.integers(first + 1, len(one)))) for one in panels]
    execution = ExecutionModel(latency_bars=latency, max_participation=0.1)
    costs = [CostModel(impact_basis="adv", impact_window_bars=3, regulatory=1.0)]
    market, shift = stacked(panels, spans, execution, costs)
    taken: set[int] = set()
    for panel, (first, stop), by in zip(panels, spans, shift, strict=True):
        alone = market_of(panel, execution, costs)
        for name in BY_ROW:
            rows = getattr(market, name)[first + by : stop + by]
            assert rows.tobytes() == np.ascontiguousarray(getattr(alone, name)[first:stop]).tobytes(), name
        wide = np.broadcast_to(alone.spread_multiple, len(panel))[first:stop]
        assert market.spread_multiple[first + by : stop + by].tolist() == wide.tolist()
        assert by % (latency + 1) == 0  # an order waits in the slot of its bar, modulo how long it may wait
        assert taken.isdisjoint(range(first + by, stop + by))
        taken |= set(range(first + by, stop + by))


def test_what_no_rule_reads_stays_a_single_row() -> None:
    rng = np.random.default_rng(0)
    panels = [random_panel(rng, bars, 2) for bars in (5, 7)]
    market, shift = stacked(panels, [(0, 5), (2, 7)], ExecutionModel(), [CostModel()])
    assert shift == (0, 3)
    assert market.reference.shape == (10, 2)
    assert market.volume.shape == market.volatility.shape == (1, 1)
    assert market.spread_multiple.tolist() == [1.0]


def test_panels_whose_columns_differ_are_refused() -> None:
    rng = np.random.default_rng(0)
    one, other = random_panel(rng, 5, 1), random_panel(rng, 5, 2)
    with pytest.raises(DataError, match="the same symbols"):
        stacked([one, other], [(0, 5), (0, 5)], ExecutionModel(), [CostModel()])
