"""A policy trained in every window."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.panels import random_panel
from tradekit.engine.ledger_io import content_hash
from tradekit.engine.seeds import has_seed, with_seed
from tradekit.engine.strategy import is_open_loop
from tradekit.engine.walk_forward import walk_forward
from tradekit.engine.windows import Windowing
from tradekit.errors import BundleError, DataError, StrategyError
from tradekit.learn.policy import RefitPolicy, split_window
from tradekit.learn.recipe import Ppo, Recipe, Validation
from tradekit.learn.slices import Split
from tradekit.market.execution import ExecutionModel

PPO = Ppo(timesteps=512, environments=8, steps=32, batch=64, epochs=2, network=(8,))
RECIPE = Recipe(name="small", seed=3, ppo=PPO, validation=Validation(every=256))


@pytest.fixture(scope="module")
def small() -> Any:
    return RefitPolicy("small", RECIPE, 3)


def test_the_last_fifth_chooses_and_a_session_before_it_is_purged() -> None:
    daily = random_panel(300, 2)
    assert split_window(daily, 50) == Split(train_stop=249, validation_start=250, stop=300, start=50)
    with pytest.raises(DataError, match="3 bars are too few to train a policy on; raise train_sessions"):
        split_window(daily[:3], 0)


def test_thirty_sessions_of_hours_are_enough_with_history_before_them(small: Any) -> None:
    days = random_panel(7 * 50, 2)
    opens = (np.datetime64("2024-01-02T14:30") + np.repeat(np.arange(50), 7) * np.timedelta64(1, "D")).astype("M8[ns]")
    stamps: Any = opens + np.tile(np.arange(7), 50) * np.timedelta64(1, "h")
    hourly = replace(days, timestamps=stamps, close_time=stamps + np.timedelta64(1, "h"), frequency="1h")
    # 20 sessions of history; of 210 bars of the slice 42 choose, 7 are purged, and the rest is learnt from.
    assert split_window(hourly, 140) == Split(350 - 42 - 7, 350 - 42, 350, 140)
    assert small.fit_window(hourly, 140, None).bundle.data["bars"] == 350


def test_the_same_bars_and_seed_give_the_same_policy_and_another_seed_another(small: Any) -> None:
    bars = random_panel(420, 2)
    one, again = small.fit_window(bars, 100, None), small.fit_window(bars, 100, None)
    assert one.weights == again.weights
    other = with_seed(small, 4)
    assert isinstance(other, RefitPolicy)
    assert has_seed(small)
    assert other.fit_window(bars, 100, None).weights != one.weights
    data = one.bundle.data
    assert data["train_end"] == str(bars.timestamps[420 - 64 - 2])
    assert data["validation_start"] == str(bars.timestamps[420 - 64])
    assert data["seen_end"] == str(bars.timestamps[-1])


def test_going_on_starts_from_the_weights_before(small: Any) -> None:
    from safetensors.numpy import load

    bars = random_panel(420, 2)
    still = replace(RECIPE, ppo=replace(PPO, learning_rate=1e-12))
    first = small.fit_window(bars, 100, None)
    after = replace(small, recipe=still).fit_window(bars, 100, first)
    before, now = load(first.weights), load(after.weights)
    for name in before:
        np.testing.assert_allclose(now[name], before[name], atol=1e-6)
    afresh = load(replace(small, recipe=still).fit_window(bars, 100, None).weights)
    assert any(not np.allclose(afresh[name], before[name], atol=1e-3) for name in before)


def test_a_policy_of_a_window_travels_between_processes(small: Any) -> None:
    bars = random_panel(420, 2)
    one = small.fit_window(bars, 100, None)
    other = pickle.loads(pickle.dumps(one))  # noqa: S301 - made a line before
    raw = np.zeros((5, len(one.bundle.manifest["observation"]["names"])))
    mask = np.ones((5, 7), np.bool_)
    for mine, theirs in zip(one.bundle.decide(raw, mask), other.bundle.decide(raw, mask), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_recipe_that_does_not_fit_the_bars_is_named(small: Any) -> None:
    bars = random_panel(420, 2)
    with pytest.raises(BundleError, match="small: its recipe trains with fills at the open, and orders fill at the cl"):
        small.check(bars, ExecutionModel(fill_at="close"))
    with pytest.raises(StrategyError, match="nothing is trained yet"):
        small.start(1)
    assert not is_open_loop(small)


@pytest.mark.slow
@pytest.mark.parametrize("refit", ["each", "warm"])
def test_a_walk_forward_trains_in_every_window_with_the_same_numbers_in_processes(refit: Any) -> None:
    class Trained(RefitPolicy):
        """As a frozen policy offers it."""

        def refit(self) -> RefitPolicy:
            return RefitPolicy(self.name, self.recipe, self.seed)

    panel = random_panel(560, 2)
    windowing = Windowing(train_sessions=300, test_sessions=130, refit=refit)
    strategy: Any = Trained("small", RECIPE, 3)
    here, there = (walk_forward(strategy, panel, windowing, workers=k) for k in (1, 2))
    ledgers = [one.runs[0].ledger for one in (here, there)]
    assert all(one is not None for one in ledgers)
    assert content_hash(ledgers[0]) == content_hash(ledgers[1])  # type: ignore[arg-type] # asserted above
    run = here.runs[0]
    assert run.audit is not None
    assert run.audit.passed
    assert run.scored_from == 0
    assert [one.failure for one in run.windows] == [None, None]
