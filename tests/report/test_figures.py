"""Scales, ticks and paths: round numbers, every value on the figure, no name on another."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.report.axes import time_ticks, value_scale
from tradekit.report.equity import _deepest
from tradekit.report.figures import LABEL_GAP, POINTS, Line, bar, forest, line_plot, thin, value_range
from tradekit.report.markup import Markup, join, tag


def _labels(low: float, high: float, **options: bool) -> list[str]:
    return [tick.label for tick in value_scale(low, high, **options).ticks]


@pytest.mark.parametrize(
    ("low", "high", "options", "labels"),
    [
        (0.0, 1.0, {}, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.93, 1.08, {}, ["0.90", "0.95", "1.00", "1.05", "1.10"]),
        (
            -0.33,
            0.0,
            {"percent": True},
            ["\u221240\u00a0%", "\u221230\u00a0%", "\u221220\u00a0%", "\u221210\u00a0%", "0\u00a0%"],
        ),
        (1.0, 90.0, {"logarithmic": True}, ["1", "2", "5", "10", "20", "50"]),
        (97_000.0, 108_000.0, {}, ["95,000", "97,500", "100,000", "102,500", "105,000", "107,500", "110,000"]),
        (5.0, 5.0, {}, ["2", "3", "4", "5", "6", "7", "8"]),
    ],
)
def test_round_ticks(low: float, high: float, options: dict[str, bool], labels: list[str]) -> None:
    assert _labels(low, high, **options) == labels


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_every_value_is_on_the_scale(low: float, span: float, percent: bool) -> None:
    scale = value_scale(low, low + span, percent=percent)
    assert 0.0 - 1e-9 <= scale.place(np.array([low]))[0] <= scale.place(np.array([low + span]))[0] <= 1.0 + 1e-9
    assert 2 <= len(scale.ticks) <= 9
    assert all(0.0 - 1e-9 <= tick.at <= 1.0 + 1e-9 for tick in scale.ticks)


@given(st.floats(1e-3, 1e3), st.floats(1.001, 1e5))
def test_every_value_is_on_a_logarithmic_scale(low: float, factor: float) -> None:
    scale = value_scale(low, low * factor, logarithmic=True)
    places = scale.place(np.array([low, low * factor]))
    assert -1e-9 <= places[0] <= places[1] <= 1.0 + 1e-9
    assert 1 <= len(scale.ticks) <= 9
    assert all(-1e-9 <= tick.at <= 1.0 + 1e-9 for tick in scale.ticks)
    assert len({tick.label for tick in scale.ticks}) == len(scale.ticks)


@pytest.mark.parametrize(
    ("start", "end", "step", "first"),
    [
        ("1990-01-02", "2022-12-28", "D", "1990"),
        ("2012-01-03", "2022-12-28", "D", "2012"),
        ("2023-10-02", "2025-09-30", "D", "2023-10"),
        ("2022-09-06", "2022-12-28", "D", "09-08"),
        ("2024-03-04T14:30", "2024-03-15T21:00", "h", "03-04"),
    ],
)
def test_time_ticks(start: str, end: str, step: str, first: str) -> None:
    times = np.arange(start, end, dtype=f"M8[{step}]").astype("M8[ns]")
    ticks = time_ticks(times)
    assert 3 <= len(ticks) <= 11
    places = [tick.at for tick in ticks]
    assert places == sorted(places)
    assert all(0.0 <= place <= 1.0 for place in places)
    assert ticks[0].label.startswith(first[:2])
    # A label stands at the first bar of what it names.
    for tick in ticks[1:]:
        row = round(tick.at * (len(times) - 1))
        unit = {4: "Y", 7: "M", 5: "D"}[len(tick.label)]
        assert str(times[row].astype(f"M8[{unit}]")).endswith(tick.label)
        assert times[row].astype(f"M8[{unit}]") != times[row - 1].astype(f"M8[{unit}]")


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_few_bars_have_ticks(bars: int) -> None:
    times = np.arange("2024-01-01", "2024-02-01", dtype="M8[D]").astype("M8[ns]")[:bars]
    assert all(0.0 <= tick.at <= 1.0 for tick in time_ticks(times))


def test_thinning_keeps_both_ends() -> None:
    assert thin(5) == [0, 1, 2, 3, 4]
    rows = thin(100_000)
    assert (rows[0], rows[-1], len(rows)) == (0, 99_999, POINTS)


def test_thinning_hides_no_drawdown() -> None:
    falls = np.zeros(5000)
    falls[[1, 77, 1234, 4998]] = [-0.1, -0.2, -0.3, -0.4]
    rows = thin(len(falls))
    shown = _deepest(falls, rows)
    assert len(shown) == len(rows)
    assert set(shown) == {0.0, -0.1, -0.2, -0.3, -0.4}


def test_a_line_by_hand() -> None:
    line = Line("mine", "policy", np.array([0.0, 1.0, 0.5]))
    plot = line_plot([line], value_scale(0.0, 1.0), [])
    assert 'd="M0 1000l500-1000l500 500"' in plot


def test_nan_is_left_out_of_a_line() -> None:
    line = Line("mine", "policy", np.array([np.nan, 1.0, np.nan, 0.0]))
    plot = line_plot([line], value_range([line]), [], filled="mine")
    assert "nan" not in plot.lower()


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_names_at_the_ends_do_not_lie_on_each_other(ends: list[float]) -> None:
    lines = [Line(f"line {k}", "s1", np.array([0.0, end])) for k, end in enumerate(ends)]
    plot = line_plot(lines, value_scale(0.0, 1.0), [])
    tops = sorted(float(top) for top in re.findall(r'class="end [^"]*" style="top:([-\d.]+)%"', plot))
    assert len(tops) == len(ends)
    assert all(after - before > 100 * LABEL_GAP - 0.02 for before, after in pairwise(tops))
    assert tops[0] > -0.01


def test_bars_and_forests_by_hand() -> None:
    assert bar([(1.0, "s1"), (0.0, "s2"), (0.5, "s3")], 2.0) == (
        '<span class="bar"><i class="c-s1" style="width:50.000%"></i><i class="c-s3" style="width:25.000%"></i></span>'
    )
    assert bar([(1.0, "s1")], 0.0) == '<span class="bar"></span>'
    drawn = forest(1.0, 0.0, 2.0, (-2.0, 2.0), "policy")
    assert '<line x1="500.0" x2="1000.0" y1="8" y2="8">' in drawn
    assert '<line x1="750.0" x2="750.0" y1="3" y2="13" class="point">' in drawn


def test_text_is_escaped_and_markup_is_not() -> None:
    assert join("<b>", Markup("<i>"), None) == "&lt;b&gt;<i>"
    assert tag("p", "a & b", title='"x"') == '<p title="&quot;x&quot;">a &amp; b</p>'
    assert tag("input", checked=True, name=None, disabled=False) == "<input checked></input>"
