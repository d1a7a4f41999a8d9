"""Training where bars are missing: no episode, no observation and no weight knows of what is held out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.engine.test_cross_validation import other_bars, paths_of
from tests.panels import BuyOnce, Table, random_panel
from tradekit.engine.combinatorial import Combinatorial, shown
from tradekit.engine.cross_validation import cross_validate
from tradekit.errors import ConfigError, DataError
from tradekit.learn.actions import HOLD
from tradekit.learn.env import SymbolEnv, VectorSymbolEnv
from tradekit.learn.pieces import split_pieces
from tradekit.learn.policy import RefitPolicy
from tradekit.learn.recipe import DataChoice, Ppo, Recipe, Validation
from tradekit.learn.slices import Split
from tradekit.learn.supervised import Supervised
from tradekit.learn.task import Task
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

SPEC = FeatureSpec.named("return_5")  # looks back on six bars
PPO = Ppo(timesteps=512, environments=8, steps=32, batch=64, epochs=2, network=(8,))
RECIPE = Recipe(
    name="small", seed=3, data=DataChoice(features=("return_5",)), ppo=PPO, validation=Validation(every=256)
)
SMALL = RefitPolicy("small", RECIPE, 3)
PANEL = random_panel(200, 2)
PIECES = ((0, 60), (100, 130), (160, 200))


def missing(panel: Panel, pieces: tuple[tuple[int, int], ...]) -> Panel:
    return shown(panel, pieces)


def test_the_end_of_the_last_piece_chooses_among_checkpoints() -> None:
    # 130 bars are there, of which a fifth are 26; the six bars that features look back on come before them.
    assert split_pieces(RECIPE, PANEL, PIECES) == Split(173, 174, 200, 0, ((0, 60), (100, 130), (160, 173)))
    # A last piece of 16 bars has 10 after the look-back: less than a fifth, more than a twentieth of 106.
    assert split_pieces(RECIPE, PANEL, ((0, 60), (100, 130), (184, 200))) == Split(
        189, 190, 200, 0, ((0, 60), (100, 130), (184, 189))
    )
    # One of 10 has 4, too few of 100: the piece before it serves, and it is not used.
    assert split_pieces(RECIPE, PANEL, ((0, 60), (100, 130), (190, 200))) == Split(
        109, 110, 130, 0, ((0, 60), (100, 109))
    )
    with pytest.raises(DataError, match="the longest run of bars that is not held out has 7, and features look back 6"):
        split_pieces(RECIPE, PANEL, ((0, 7), (20, 26)))
    with pytest.raises(ConfigError, match="small: its probabilities are learnt forward, so there are none for the gro"):
        split_pieces(replace(RECIPE, supervised=Supervised()), PANEL, PIECES)


def test_no_episode_runs_across_a_hole_and_every_bar_is_as_likely_a_start() -> None:
    task = Task(missing(PANEL, PIECES), SPEC, episode_bars=20, pieces=PIECES)
    environments = VectorSymbolEnv(task, 64, seed=1)
    environments.reset()
    state = environments.lanes.state
    starts = state.bar.tolist()
    for _ in range(600):
        before = state.bar.copy()
        *_, ended, _ = environments.step(np.full(64, HOLD))
        assert all(any(first <= bar < stop for first, stop in PIECES) for bar in state.bar)
        piece = np.searchsorted([60, 130, 200], before, side="right")
        same = np.searchsorted([60, 130, 200], state.bar, side="right") == piece
        assert same[~ended].all()
        starts += state.bar[ended].tolist()
    # Six bars at the start of each piece have no feature, and an episode takes a step.
    allowed = [*range(5, 59), *range(105, 129), *range(165, 199)]
    counts = np.array([starts.count(row) for row in allowed])
    assert counts.sum() == len(starts)
    assert counts.min() > 0.5 * counts.mean()
    assert counts.max() < 2.0 * counts.mean()


def test_a_piece_shorter_than_an_episode_is_a_whole_one() -> None:
    task = Task(missing(PANEL, PIECES), SPEC, episode_bars=500, pieces=PIECES)
    environments = VectorSymbolEnv(task, 16)
    environments.reset()
    lengths = []
    for _ in range(300):
        *_, infos = environments.step(np.full(16, HOLD))
        lengths += [one["episode"]["l"] for one in infos if one]
    assert 40 < max(lengths) <= 54  # rows 5 to 59


def test_what_cannot_be_trained_so_is_one_line() -> None:
    with pytest.raises(ConfigError, match="episode_bars = 0 walks all bars in one episode, and some are held out"):
        Task(missing(PANEL, PIECES), SPEC, episode_bars=0, pieces=PIECES)
    with pytest.raises(ConfigError, match="an episode cannot start at row 80, which is missing"):
        SymbolEnv(Task(missing(PANEL, PIECES), SPEC, pieces=PIECES)).reset(options={"start": 80})
    with pytest.raises(DataError, match="no symbol has two tradable bars"):
        Task(missing(PANEL, ((0, 6), (50, 56))), SPEC, pieces=((0, 6), (50, 56)))


def test_observations_are_normalised_by_the_bars_that_are_learnt_from() -> None:
    policy = SMALL.fit_pieces(missing(PANEL, PIECES), PIECES)
    table = SPEC.compute(PANEL)[:, :, 0]
    known = np.concatenate([table[first:stop] for first, stop in ((5, 60), (105, 130), (165, 173))]).ravel()
    normalisation = policy.bundle.manifest["observation"]["normalisation"]
    assert normalisation["mean"][0] == pytest.approx(known.mean())
    assert normalisation["scale"][0] == pytest.approx(known.std())
    assert policy.bundle.data["seen_end"] == str(PANEL.timestamps[199])


def test_bars_that_are_held_out_change_no_weight() -> None:
    scheme = Combinatorial(groups=4, held_out=2, purge_sessions=3, embargo_sessions=2)
    split = scheme.cut(PANEL).splits[1]  # groups 1 and 3 of four: bars 0 to 49 and 100 to 149
    assert split.pieces == ((55, 97), (155, 200))

    def weights(panel: Panel) -> bytes:
        pieces = tuple((first - 55, stop - 55) for first, stop in split.pieces)
        return SMALL.fit_pieces(shown(panel, split.pieces), pieces).weights

    before = weights(PANEL)
    for first, stop in ((0, 55), (97, 155)):
        assert weights(other_bars(PANEL, first, stop)[2]) == before
    assert weights(other_bars(PANEL, 60, 70)[2]) != before


class Trained(Table):
    """As a frozen policy offers it: trained by its recipe where that is asked for."""

    kind = "policy"

    def refit(self) -> RefitPolicy:
        return SMALL


def test_a_policy_is_trained_by_its_recipe_in_every_split() -> None:
    scheme = Combinatorial(groups=3, held_out=2, purge_sessions=3, embargo_sessions=2, refit="each")
    frozen: Any = Trained(0.2, "small")
    result = cross_validate([frozen, BuyOnce()], random_panel(180, 2), scheme)
    run = paths_of(result, "small")
    assert result.failures == ()
    assert (run.learnt, len(run.paths)) == (True, 2)
    assert run.audit is not None
    assert run.audit.passed
    assert all(len(ledger.equity) == 180 for ledger in run.paths)
    kept = cross_validate([frozen, BuyOnce()], random_panel(180, 2), replace(scheme, refit="frozen"))
    assert not paths_of(kept, "small").learnt
