from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.panels import BuyOnce, Table, random_panel
from tradekit.compute import Store
from tradekit.engine.classifier import ClassifierStrategy
from tradekit.engine.combinatorial import Combinatorial, shown
from tradekit.engine.cross_validation import CrossValidated, PathsRun, cross_validate
from tradekit.engine.futures import futures
from tradekit.engine.ledger_io import content_hash
from tradekit.engine.seeds import averaged
from tradekit.engine.simulate import simulate
from tradekit.engine.strategy import Portfolios, Targets, View
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import StrategyError
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.market.panel import Floats, Panel

FOUR = Combinatorial(groups=4, held_out=2, purge_sessions=6, embargo_sessions=3)
PANEL = random_panel(160, 3)
BARS = [(0, 40), (40, 80), (80, 120), (120, 160)]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def paths_of(result: CrossValidated, name: str) -> PathsRun:
    run = result.run(name)
    assert isinstance(run, PathsRun)
    return run


def logistic(name: str = "logistic", features: str = "return_5", **settings: Any) -> Any:
    return ClassifierStrategy(
        name, LogisticRegression(), sell=0.2, buy=0.8, smooth_bars=1, features=FeatureSpec.named(features), **settings
    )


@dataclass
class Mean:
    """Holds what closed below the mean of what it learnt from, by a weight that tells its fit from any other."""

    mean: float = 0.0
    name: str = "mean"
    lookback: int = 1

    def fit(self, train: Panel) -> Mean:
        return replace(self, mean=float(np.nanmean(train.close)))

    def weights(self, panel: Panel) -> Floats:
        return np.where(panel.close < self.mean, 0.9, 0.1) / len(panel.symbols)


def mean_of(*pieces: tuple[int, int]) -> float:
    return float(np.concatenate([PANEL.close[first:stop] for first, stop in pieces]).mean())


def test_paths_are_recombined_as_by_hand() -> None:
    # Purged: six bars on both sides of a held-out group, and three more after it.
    fits = {
        (0, 1): mean_of((89, 160)),
        (0, 2): mean_of((49, 74), (129, 160)),
        (0, 3): mean_of((49, 114)),
        (1, 2): mean_of((0, 34), (129, 160)),
        (1, 3): mean_of((0, 34), (89, 114)),
        (2, 3): mean_of((0, 74)),
    }
    by_hand = [
        [(0, 1), (0, 1), (0, 2), (0, 3)],
        [(0, 2), (1, 2), (1, 2), (1, 3)],
        [(0, 3), (1, 3), (2, 3), (2, 3)],
    ]
    run = paths_of(cross_validate(Mean(), PANEL, FOUR), "mean")
    assert len(run.paths) == FOUR.paths == 3
    for ledger, chosen in zip(run.paths, by_hand, strict=True):
        table = np.empty(PANEL.close.shape)
        for (first, stop), split in zip(BARS, chosen, strict=True):
            table[first:stop] = np.where(PANEL.close[first:stop] < fits[split], 0.9, 0.1) / 3
            table[stop - 1] = 0.0
        expected = simulate(Table(table), PANEL)
        np.testing.assert_array_equal(ledger.equity, expected.equity)
        assert content_hash(replace(ledger, name="")) == content_hash(replace(expected, name=""))
    assert len({ledger.equity[-1] for ledger in run.paths}) == 3
    assert run.ledger is run.paths[run.shown]
    assert run.ledger.equity[-1] == np.median([one.equity[-1] for one in run.paths])
    assert run.learnt
    assert run.audit is not None
    assert run.audit.passed


def other_bars(panel: Panel, first: int, stop: int) -> list[Panel]:
    """Return panels whose rows ``first <= t < stop`` differ as much as rows can, and no other."""
    found = []
    for one in futures(panel, max(0, first - 1)):
        rows: dict[str, Any] = {
            name: np.concatenate([getattr(one, name)[:stop], getattr(panel, name)[stop:]])
            for name in ("open", "high", "low", "close", "volume", "tradable", "benchmark_returns")
        }
        side = {name: np.append(values[:stop], panel.side[name][stop:]) for name, values in one.side.items()}
        found.append(replace(panel, **rows, side=side))
    return found


class Keeps:
    """Learns all there is to see, and the features of all bars."""

    name, lookback = "keeps", 1

    def fit(self, train: Panel) -> Keeps:
        spec = FeatureSpec.named("ohlcv", "side:news")
        names = ("open", "high", "low", "close", "volume", "tradable", "benchmark_returns", "mark")
        self.seen = pickle.dumps([spec.compute(train), train.side["news"], *(getattr(train, name) for name in names)])
        return self

    def weights(self, panel: Panel) -> Floats:
        return np.zeros(panel.close.shape)


def fits_of(strategy: Any, panel: Panel) -> dict[tuple[int, ...], bytes]:
    """Return what every split of ``panel`` makes of a strategy, pickled, by the groups it holds out."""
    return {
        one.held_out: pickle.dumps(strategy().fit(shown(panel, one.pieces).detached()))
        for one in FOUR.cut(panel).splits
    }


@pytest.mark.parametrize("strategy", [Keeps, logistic])
def test_bars_that_are_held_out_purged_or_embargoed_change_no_fit(strategy: Any) -> None:
    panel = PANEL.with_side("news", np.sin(np.arange(160.0)))
    before = fits_of(strategy, panel)
    # What lies near each group and may not be learnt from with it: bar 34 to 88 of group 1, say.
    for group, (first, stop) in enumerate([(0, 49), (34, 89), (74, 129), (114, 160)]):
        for other in other_bars(panel, first, stop):
            after = fits_of(strategy, other)
            moved = {held for held in before if before[held] != after[held]}
            assert not {held for held in moved if group in held}
            assert moved  # splits that learn from the group do notice


def test_a_missing_bar_is_no_bar_of_a_feature_or_a_label() -> None:
    # Held out: bars 40 to 119. Learnt from: 0 to 33 and 129 to 159, of which features look back 5 and labels ahead 6.
    strategy = logistic()
    seen = shown(PANEL, FOUR.cut(PANEL).splits[3].pieces)
    _, _, known = strategy.examples(seen)
    assert np.flatnonzero(known.all(axis=1)).tolist() == [*range(5, 28), *range(134, 154)]


def test_what_learns_nothing_does_the_same_on_every_path_and_starts_flat_in_every_group() -> None:
    result = cross_validate([BuyOnce(), Table(0.2)], PANEL, FOUR)
    for name in ("buy_and_hold", "table"):
        run = paths_of(result, name)
        assert not run.learnt
        assert len(run.paths) == 3
        assert len({content_hash(one) for one in run.paths}) == 1
    ledger = result.ledgers["buy_and_hold"]
    bought = ledger.orders["fill_bar"][ledger.orders["quantity"] > 0]
    sold = ledger.orders["fill_bar"][ledger.orders["quantity"] < 0]
    assert sorted(set(bought)) == [1, 41, 81, 121]
    assert sorted(set(sold)) == [40, 80, 120]
    assert not ledger.positions[[40, 80, 120]].any()


class Counter:
    """A closed loop that remembers the bars it was asked in, in its state and, as it should not, in itself."""

    name, sleeves, lookback = "counter", False, 1

    def __init__(self) -> None:
        self.asked = 0

    def fit(self, train: Panel) -> Counter:
        return self

    def start(self, portfolios: int) -> list[int]:
        return []

    def decide(self, view: View, portfolios: Portfolios, state: list[int]) -> Targets:
        if not state:
            assert self.asked == 0
            assert not portfolios.shares.any()
            assert view.bar in (0, 40, 80, 120)
        self.asked += 1
        state.append(view.bar)
        return Targets(np.full(portfolios.shares.shape, min(len(state), 30) / 100.0))


def test_a_closed_loop_begins_every_group_flat_and_without_memory() -> None:
    result = cross_validate(Counter(), PANEL, FOUR, audit=False)
    assert result.failures == ()
    exposure = result.ledgers["counter"].exposure
    np.testing.assert_allclose(exposure[[1, 41, 81, 121]], 0.03, rtol=0.1)
    np.testing.assert_allclose(exposure[[31, 71, 111, 151]], 0.9, rtol=0.1)


@dataclass(frozen=True)
class Seen(ClassifierStrategy):
    """A classifier that says it has seen the bars up to row 77: after the embargo, paths begin at row 80."""

    seen_end: Any = PANEL.timestamps[77]


def seen(strategy: Any) -> Any:
    return Seen(**{name: getattr(strategy, name) for name in strategy.__dataclass_fields__})


def test_where_training_bars_lie_before_the_test_it_is_a_walk_forward() -> None:
    # The split that holds out the last two groups learns from bars 0 to 73, as an anchored window of 80 less 6 does.
    strategy = seen(logistic())
    forward = walk_forward(
        strategy, PANEL, Windowing(80, 40, purge_sessions=6, anchored=True, carry="flatten"), audit=False
    ).ledgers["logistic"]
    result = cross_validate(strategy, PANEL, FOUR, audit=False)
    (path,) = [path for path in range(3) if result.folds.splits[result.folds.split_of(path, 2)].held_out == (2, 3)]
    ledger = paths_of(result, "logistic").paths[path]
    assert ledger.timestamps.tolist() == forward.timestamps.tolist() == PANEL.timestamps[80:].tolist()
    rows = slice(0, 40)  # the second window of a walk-forward has learnt more
    np.testing.assert_array_equal(ledger.equity[rows], forward.equity[rows])
    np.testing.assert_array_equal(ledger.positions[rows], forward.positions[rows])
    assert ledger.positions[rows].any()


def test_bars_that_a_policy_has_seen_count_for_nobody() -> None:
    class Policy(Table):
        kind = "policy"
        seen_end = PANEL.timestamps[96]  # and three sessions are embargoed

    result = cross_validate([Policy(0.2, "policy"), Mean()], PANEL, FOUR)
    for name in ("policy", "mean"):
        run = paths_of(result, name)
        for ledger in run.paths:
            assert ledger.timestamps.tolist() == PANEL.timestamps[99:].tolist()
            assert ledger.equity[0] == result.cash
    assert result.scored_from == 0  # the embargo lies before the first bar
    # What it learns from stays the same: bars before 99 are held out, purged or learnt from as ever.
    whole = paths_of(cross_validate(Mean(), PANEL, FOUR, audit=False), "mean")
    for part, all_ in zip(paths_of(result, "mean").paths, whole.paths, strict=True):
        np.testing.assert_allclose(part.equity[30:] / part.equity[29], all_.equity[129:] / all_.equity[128], rtol=1e-9)


def test_a_split_that_fails_is_named_and_its_groups_are_spent_in_cash() -> None:
    class Fails(Mean):
        def fit(self, train: Panel) -> Mean:
            if train.timestamps[-1] == PANEL.timestamps[73]:  # the split that holds out the last two groups
                raise ValueError("no such column")
            return super().fit(train)

    result = cross_validate([Fails(name="fails"), Mean()], PANEL, FOUR)
    assert result.failures == ("fails failed in split 6: ValueError: no such column",)
    run = paths_of(result, "fails")
    assert run.lost == ((6, "ValueError: no such column"),)
    assert not run.paths[2].positions[81:].any()
    assert run.paths[2].positions[41:80].any()
    assert run.paths[0].positions[121:].any()
    assert paths_of(result, "mean").lost == ()


def test_what_cannot_be_cross_validated_is_left_out_in_one_line() -> None:
    class InOrder(Mean):
        def fit_window(self, bars: Panel, warm_up: int, previous: Mean | None) -> Mean:
            return self.fit(bars)

    class Broken(Mean):
        def weights(self, panel: Panel) -> Floats:
            return np.full(panel.close.shape, 2.0)

    far = logistic("far", horizon_bars=6)
    result = cross_validate([InOrder(name="in_order"), far, Broken(name="broken"), Mean()], PANEL, FOUR)
    said = {run.name: run.skipped for run in result.runs}
    assert said["in_order"] == (
        "it learns from one run of bars, and a split has several; give it fit_pieces, or use --walk-forward"
    )
    assert said["far"] == "its labels reach 7 bars ahead, and 6 are purged; raise purge_sessions"
    assert "add up to 6.0000 of equity" in str(said["broken"])
    assert said["mean"] is None
    assert len(result.failures) == 1
    with pytest.raises(StrategyError, match="two strategies are called 'mean'"):
        cross_validate([Mean(), Mean()], PANEL, FOUR)


def test_a_strategy_that_asks_for_it_is_told_where_the_pieces_are() -> None:
    class Pieces(Mean):
        def fit_pieces(self, bars: Panel, pieces: tuple[tuple[int, int], ...]) -> Mean:
            known = np.concatenate([np.arange(first, stop) for first, stop in pieces])
            assert np.flatnonzero(bars.tradable.any(axis=1)).tolist() == known.tolist()
            return replace(Mean(), name=self.name, mean=float(bars.close[known].mean()))

    result = cross_validate([Pieces(name="pieces"), Mean()], PANEL, FOUR)
    assert result.failures == ()
    pairs = zip(paths_of(result, "pieces").paths, paths_of(result, "mean").paths, strict=True)
    assert all(np.array_equal(one.equity, other.equity) for one, other in pairs)


@dataclass
class Draws(Mean):
    """Learns and draws."""

    seed: int = 0

    def weights(self, panel: Panel) -> Floats:
        return super().weights(panel) * (0.5 + 0.1 * self.seed)


def test_under_seeds_a_path_is_an_account_with_a_part_of_each() -> None:
    result = cross_validate([Draws(name="draws"), Mean()], PANEL, FOUR, seeds=(1, 3), audit=False)
    alone = [paths_of(cross_validate(Draws(name="draws", seed=s), PANEL, FOUR, audit=False), "draws") for s in (1, 3)]
    for path, ledger in enumerate(paths_of(result, "draws").paths):
        np.testing.assert_array_equal(ledger.equity, averaged([one.paths[path] for one in alone]).equity)


def test_the_numbers_are_the_same_in_several_processes_and_from_the_store(tmp_path: Path) -> None:
    strategies: Any = [Mean(), logistic(), BuyOnce()]
    store, codes = Store(tmp_path / "cells"), {name: f"code of {name}" for name in ("mean", "logistic", "buy_and_hold")}
    here = cross_validate(strategies, PANEL, FOUR)
    there = cross_validate(strategies, PANEL, FOUR, workers=2, store=store, identities=codes)
    told: list[int] = []

    def again(panel: Panel, **settings: Any) -> CrossValidated:
        told.clear()
        return cross_validate(
            strategies,
            panel,
            FOUR,
            store=store,
            identities=codes,
            progress=lambda done, total, label: told.append(done),
            **settings,
        )

    def hashes(result: CrossValidated) -> list[str]:
        return [content_hash(path) for run in result.runs for path in paths_of(result, run.name).paths]

    kept = again(PANEL)
    assert told == [3 * (6 + 3)]
    assert len(hashes(here)) == 9
    assert hashes(here) == hashes(there) == hashes(kept)
    # Other cash runs the paths again and keeps every fit; other bars of group 1 keep the fits that never saw it.
    again(PANEL, cash=5e4)
    assert told[0] == 3 * 6
    again(other_bars(PANEL, 40, 80)[0])
    assert told[0] == 3 * 3
