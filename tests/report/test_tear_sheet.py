from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tradekit.errors import DeskError
from tradekit.report.run_folder import read_run
from tradekit.report.tear_sheet import by_session, write_tear_sheets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_hourly_returns_compound_to_sessions(walked_folder: Path) -> None:
    track = read_run(walked_folder).base["buy_and_hold"]
    hours = np.datetime64("2024-01-01T14:00", "ns") + np.array([0, 1, 24, 25, 48]).astype("m8[h]")
    small = replace(
        track,
        timestamps=hours,
        equity=np.array([100.0, 110.0, 99.0, 108.9, 98.01]),
        benchmark=np.array([np.nan, 0.01, 0.02, np.nan, -0.01]),
        traded=np.zeros(5),
        costs=np.zeros((5, track.costs.shape[1])),
        fills=np.zeros(5, np.int64),
        exposure=np.zeros(5),
        scored_from=1,
    )
    returns, benchmark = by_session(small)
    # Day 1: 110/100. Day 2: 108.9/110. Day 3: 98.01/108.9. An unknown benchmark bar counts as no move.
    np.testing.assert_allclose(returns.to_numpy(), [0.1, 108.9 / 110 - 1, 98.01 / 108.9 - 1], rtol=1e-12)
    np.testing.assert_allclose(benchmark.to_numpy(), [0.01, 0.02, -0.01], rtol=1e-12)


def test_each_strategy_gets_a_page_whose_return_is_the_reports(write: Callable[..., Path]) -> None:
    folder = write()
    told: list[tuple[int, int, str]] = []
    pages = write_tear_sheets(folder, lambda *step: told.append(step))
    tracks = read_run(folder).base
    assert [page.stem for page in pages] == list(tracks)
    assert told[-1] == (len(pages), len(pages), "done")
    for page, track in zip(pages, tracks.values(), strict=True):
        text = re.sub(r"<[^>]+>", " ", page.read_text())
        total = track.equity[-1] / track.equity[track.scored_from - 1] - 1.0
        shown = re.search(r"Cumulative Return\s+(-?[\d.,]+)%\s+(-?[\d.,]+)%", text)
        assert shown is not None
        assert float(shown.group(2).replace(",", "")) == pytest.approx(100 * total, abs=0.01)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeskError, match="is no run folder"):
        write_tear_sheets(tmp_path)
