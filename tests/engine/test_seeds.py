from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.panels import Table, random_panel
from tradekit.engine.seeds import averaged, has_seed, with_seed
from tradekit.engine.simulate import simulate
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Panel

WINDOWS = Windowing(train_sessions=50, test_sessions=20)


@dataclass(frozen=True)
class Draws:
    """Weights drawn anew by bar; another seed, other weights."""

    seed: int = 0
    name = "draws"
    lookback = 1

    def fit(self, train: Panel) -> Draws:
        return self

    def weights(self, panel: Panel) -> Floats:
        days = panel.timestamps.astype("M8[D]").astype(np.int64)
        rows = [np.random.default_rng([self.seed, day]).random(len(panel.symbols)) for day in days]
        return np.array(rows) / len(panel.symbols)


def test_a_strategy_that_draws_has_a_whole_number_for_a_seed() -> None:
    assert has_seed(Draws())
    assert not has_seed(Table(0.1))
    assert not has_seed(Draws(seed=True))
    changed = with_seed(Draws(), 9)
    assert isinstance(changed, Draws)
    assert changed.seed == 9


def test_every_seed_is_run_and_the_average_holds_a_part_of_each() -> None:
    panel = random_panel(130, 3)
    result = walk_forward([Draws(), Table(0.2)], panel, WINDOWS, seeds=(1, 2, 3))
    run = result.run("draws")
    assert [one.seed for one in run.seeds] == [1, 2, 3]
    alone = [simulate(Draws(seed), panel, start=50).equity for seed in (1, 2, 3)]
    for one, equity in zip(run.seeds, alone, strict=True):
        np.testing.assert_array_equal(one.ledger.equity, equity)
    assert run.ledger is not None
    np.testing.assert_allclose(run.ledger.equity, np.mean(alone, axis=0), rtol=1e-15)
    assert result.run("table").seeds == ()


def test_the_average_is_an_account_whose_books_balance() -> None:
    panel = random_panel(80, 3)
    ledgers = [simulate(Draws(seed), panel) for seed in (1, 2, 3, 4)]
    mean = averaged(ledgers)
    # What it holds is worth its equity less its cash, bar by bar.
    np.testing.assert_allclose((mean.positions * panel.mark).sum(axis=1) + mean.cash, mean.equity, rtol=1e-9)
    assert mean.total_cost == pytest.approx(np.mean([one.total_cost for one in ledgers]), rel=1e-12)
    assert sum(mean.orders[term].sum() for term in TERMS) == pytest.approx(mean.total_cost)
    assert (np.diff(mean.orders["fill_bar"]) >= 0).all()
    assert averaged(ledgers[:1]) is ledgers[0]
    scaled = replace(ledgers[0], equity=2 * ledgers[0].equity)
    np.testing.assert_array_equal(averaged([ledgers[0], scaled]).equity, 1.5 * ledgers[0].equity)


def test_a_seed_under_which_it_fails_is_named() -> None:
    class Fussy(Draws):
        def weights(self, panel: Panel) -> Floats:
            if self.seed == 2:
                raise ValueError("not two")
            return super().weights(panel)

    run = walk_forward(Fussy(), random_panel(130, 3), WINDOWS, seeds=(1, 2)).runs[0]
    (why,) = run.failures
    assert why.startswith("draws: seed 2: it failed in every window: ValueError: not two (test_seeds.py, line ")
