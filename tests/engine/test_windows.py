from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panels import intraday, random_panel
from tradekit.engine.windows import Window, Windowing
from tradekit.errors import ConfigError


def test_windows_of_a_small_case_by_hand() -> None:
    # 10 daily bars, learn from 4, judge 3: tests are rows 4-6, 7-9; one session purged and one embargoed.
    windowing = Windowing(train_sessions=4, test_sessions=3, purge_sessions=1, embargo_sessions=1)
    assert windowing.cut(random_panel(10, 1)) == [Window(0, 2, 4, 7), Window(3, 5, 7, 10)]


def test_anchored_windows_keep_the_first_bar() -> None:
    windows = Windowing(train_sessions=4, test_sessions=3, anchored=True).cut(random_panel(10, 1))
    assert [window.train_start for window in windows] == [0, 0]


def test_sessions_are_counted_in_days_also_on_intraday_bars() -> None:
    panel = intraday(random_panel(60, 1), bars_per_session=6)
    assert Windowing(train_sessions=4, test_sessions=3).cut(panel) == [Window(0, 24, 24, 42), Window(18, 42, 42, 60)]


def test_defaults_follow_the_frequency() -> None:
    assert Windowing.for_panel(random_panel(5, 1)).train_sessions == 756
    assert Windowing.for_panel(intraday(random_panel(60, 1), 6)).train_sessions == 30


@given(
    bars=st.integers(6, 200),
    train=st.integers(2, 60),
    test=st.integers(1, 30),
    purge=st.integers(0, 1),
    anchored=st.booleans(),
)
def test_no_test_bar_is_learnt_from_or_judged_twice(
    bars: int, train: int, test: int, purge: int, anchored: bool
) -> None:
    panel = random_panel(bars, 1)
    windowing = Windowing(train_sessions=train, test_sessions=test, purge_sessions=purge, anchored=anchored)
    try:
        windows = windowing.cut(panel)
    except ConfigError:
        assert bars < train + 2 or test == 1
        return
    for window in windows:
        assert 0 <= window.train_start < window.train_stop == window.test_start - purge
        assert window.test_stop <= bars
    for one, two in itertools.pairwise(windows):
        assert one.test_stop == two.test_start


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"train_session": 4}, "train_sessions"),
        ({"train_sessions": 0}, "1 or more"),
        ({"train_sessions": 2.5}, "whole number"),
        ({"train_sessions": 5, "purge_sessions": 5}, "nothing to train on"),
        ({"carry": "kepp"}, "carry or flatten"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Windowing.from_dict(settings)


def test_a_window_longer_than_the_data_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"10 sessions cannot hold 756 .* lower train_sessions"):
        Windowing().cut(random_panel(10, 1))
