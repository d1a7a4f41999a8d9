"""Months and moving windows: against pandas, and on the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from tests.report.pages import Page
from tradekit.evidence.measures import total_return
from tradekit.report.equity import curves_of
from tradekit.report.history import _moving, months_of
from tradekit.report.html import styles_of
from tradekit.report.metrics import scored
from tradekit.report.run_folder import read_run, read_summary

if TYPE_CHECKING:
    from pathlib import Path


def test_months_are_those_of_pandas(walked_folder: Path) -> None:
    for track in read_run(walked_folder).base.values():
        returns = scored(track).returns
        index = pd.DatetimeIndex(track.timestamps[track.scored_from :])
        expected = (1.0 + pd.Series(returns, index)).resample("MS").prod() - 1.0
        found = months_of(track)
        assert [str(month) for month in found] == [f"{month:%Y-%m}" for month in expected.index]
        assert list(found.values()) == pytest.approx(expected.to_list(), abs=1e-12)
        assert np.prod(1.0 + np.array(list(found.values()))) - 1.0 == pytest.approx(total_return(returns))


def test_the_ceiling_is_not_drawn_beside_what_it_would_flatten(walked_folder: Path) -> None:
    summary, record = read_summary(walked_folder), read_run(walked_folder)
    one = next(one for one in summary["strategies"] if one["name"] != summary["verdict"]["candidate"])
    for kind, drawn in (("heuristic", True), ("ceiling", False)):
        one["kind"] = kind
        curves = curves_of(summary, record, styles_of(summary))
        assert curves is not None
        assert (one["name"] in {line.name for line in curves.growth}) is drawn


def test_the_page_carries_every_month(walked_folder: Path) -> None:
    page = Page((walked_folder / "report.html").read_text(encoding="utf-8"))
    tracks = read_run(walked_folder).base
    for name in ("symbol_ppo", "buy_and_hold"):
        shown = {
            one.attributes["data-month"]: float(one.attributes["data-value"]) for one in page.having("month", of=name)
        }
        assert shown == {str(month): value for month, value in months_of(tracks[name]).items()}


def test_a_moving_window_is_that_of_pandas() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, 200)
    ratio, volatility = _moving(returns, 30, 252.0)
    window = pd.Series(returns).rolling(30)
    expected = (window.mean() / window.std() * np.sqrt(252.0)).to_numpy()[29:]
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)
    np.testing.assert_allclose(volatility, (window.std() * np.sqrt(252.0)).to_numpy()[29:], rtol=1e-9)


def test_where_nothing_moves_there_is_no_ratio() -> None:
    ratio, volatility = _moving(np.zeros(40), 20, 252.0)
    assert np.isnan(ratio).all()
    assert (volatility == 0.0).all()
