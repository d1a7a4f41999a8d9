from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.panels import intraday, random_panel
from tradekit.engine.combinatorial import Combinatorial, shown
from tradekit.errors import ConfigError

FOUR = Combinatorial(groups=4, held_out=2, purge_sessions=1, embargo_sessions=1)


def test_splits_purge_embargo_and_paths_of_four_groups_by_hand() -> None:
    # Groups of five bars: 0-4, 5-9, 10-14, 15-19. One bar is purged before a held-out group, two are dropped after one.
    folds = FOUR.cut(random_panel(20, 1))
    assert folds.groups == ((0, 5), (5, 10), (10, 15), (15, 20))
    assert [(one.held_out, one.pieces) for one in folds.splits] == [
        ((0, 1), ((12, 20),)),
        ((0, 2), ((7, 9), (17, 20))),
        ((0, 3), ((7, 14),)),
        ((1, 2), ((0, 4), (17, 20))),
        ((1, 3), ((0, 4), (12, 14))),
        ((2, 3), ((0, 9),)),
    ]
    # The k-th split that holds a group out gives the group to path k: as in figure 12.2 of the book.
    assert [one.paths for one in folds.splits] == [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2)]
    assert [[folds.split_of(path, group) for group in range(4)] for path in range(3)] == [
        [0, 0, 1, 2],
        [1, 3, 3, 4],
        [2, 4, 5, 5],
    ]
    assert folds.paths == FOUR.paths == 3
    assert folds.least_purged_bars == 1


def test_the_book_s_example_of_six_groups_has_fifteen_splits_and_five_paths() -> None:
    scheme = Combinatorial(groups=6, held_out=2, purge_sessions=0, embargo_sessions=0)
    folds = scheme.cut(random_panel(60, 1))
    assert (len(folds.splits), folds.paths, scheme.paths) == (15, 5, 5)
    # Path 1 of the book: group 1 and 2 of split 1, 3 of split 2, 4 of split 3, 5 of split 4, 6 of split 5.
    assert [folds.split_of(0, group) + 1 for group in range(6)] == [1, 1, 2, 3, 4, 5]


@given(
    sessions=st.integers(20, 90),
    groups=st.integers(3, 7),
    held_out=st.integers(2, 5),
    purge=st.integers(0, 4),
    embargo=st.integers(0, 4),
    bars=st.integers(1, 3),
)
def test_paths_cover_each_group_once_and_what_is_near_a_held_out_one_is_not_learnt(
    sessions: int, groups: int, held_out: int, purge: int, embargo: int, bars: int
) -> None:
    assume(held_out < groups and sessions // groups >= purge + embargo + 2)
    panel = intraday(random_panel(sessions * bars, 1), bars)
    scheme = Combinatorial(groups, held_out, purge, embargo)
    try:
        folds = scheme.cut(panel)
    except ConfigError as error:
        assert "nothing to learn from" in str(error)  # noqa: PT017 - some settings have none
        return
    assert [one.held_out for one in folds.splits] == list(combinations(range(groups), held_out))
    assert folds.paths == scheme.paths == comb(groups, held_out) * held_out // groups == comb(groups - 1, held_out - 1)
    pieces = [pair for one in folds.splits for pair in zip(one.held_out, one.paths, strict=True)]
    assert sorted(pieces) == [(group, path) for group in range(groups) for path in range(folds.paths)]
    assert folds.groups[0][0] == 0
    assert folds.groups[-1][1] == len(panel)
    assert all(one[1] == other[0] for one, other in zip(folds.groups, folds.groups[1:], strict=False))
    width = sessions // groups
    edges = [(g * width, (g + 1) * width if g < groups - 1 else sessions) for g in range(groups)]
    for one in folds.splits:
        learnt = {int(panel.sessions[row]) for first, stop in one.pieces for row in range(first, stop)}
        rows = sum(stop - first for first, stop in one.pieces)
        held = [edges[g] for g in one.held_out]
        free = {s for s in range(sessions) if all(s < a - purge or s >= b + purge + embargo for a, b in held)}
        assert learnt == free
        assert rows == len(free) * bars


def test_sessions_stay_whole() -> None:
    folds = FOUR.cut(intraday(random_panel(140, 1), 7))
    assert folds.groups == ((0, 35), (35, 70), (70, 105), (105, 140))
    assert folds.least_purged_bars == 7


def test_what_is_not_learnt_from_is_missing_from_what_a_fit_sees() -> None:
    panel = random_panel(20, 2)
    news, score = np.arange(20.0), np.arange(40.0).reshape(20, 2)
    panel = replace(panel, spread_multiple=np.full(20, 3.0), side={"news": news, "score": score})
    seen = shown(panel, ((7, 9), (17, 19)))
    assert seen.timestamps.tolist() == panel.timestamps[7:19].tolist()
    known = np.isin(np.arange(7, 19), [7, 8, 17, 18])
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(seen, name)[known], getattr(panel, name)[[7, 8, 17, 18]])
        assert np.isnan(getattr(seen, name)[~known]).all()
    assert seen.tradable.all(axis=1).tolist() == known.tolist()
    assert seen.side["news"][known].tolist() == [7.0, 8.0, 17.0, 18.0]
    assert seen.side["score"][known].tolist() == score[[7, 8, 17, 18]].tolist()
    assert np.isnan(seen.side["news"][~known]).all()
    assert np.isnan(seen.side["score"][~known]).all()
    # Returns over the bars 7 and 17 begin in bars that are not shown.
    assert (~np.isnan(seen.benchmark_returns)).tolist() == np.isin(np.arange(7, 19), [8, 18]).tolist()
    assert seen.spread_multiple is not None
    assert seen.spread_multiple.tolist() == np.where(known, 3.0, 1.0).tolist()
    # Nothing leads from it to the bars it was made of.
    assert not any(np.shares_memory(getattr(seen, name), getattr(panel, name)) for name in ("close", "timestamps"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": 2}, "groups is 2; a whole number, 3 or more"),
        ({"held_out": 1}, "held_out = 1 makes up a single path; hold out 2 groups or more"),
        ({"groups": 4, "held_out": 4}, "held_out = 4 of 4 groups leaves nothing to learn from"),
        ({"purge_sessions": -1}, "purge_sessions is -1; a whole number, 0 or more"),
        ({"embargo_sessions": True}, "embargo_sessions is True; a whole number, 0 or more"),
        ({"groups": 20, "held_out": 8}, "125,970 splits, each of them a fit; choose fewer groups"),
        ({"refit": "warm"}, "refit is 'warm'; choose frozen or each: splits have no order"),
        ({"purge_session": 3}, "unknown cross-validation setting 'purge_session'; did you mean"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Combinatorial.from_dict(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_few_bars_are_one_line() -> None:
    with pytest.raises(ConfigError, match="60 sessions in 10 groups are 6 each, and 26 are purged and embargoed"):
        Combinatorial().cut(random_panel(60, 1))
    with pytest.raises(ConfigError, match="with groups 1, 3 held out, purge and embargo leave nothing to learn from"):
        Combinatorial(3, 2, purge_sessions=4, embargo_sessions=0).cut(random_panel(21, 1))
