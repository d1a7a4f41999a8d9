"""quantstats tear sheets of a run, one page per strategy, of the same scored bars as the report."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import pandas as pd

from tradekit.errors import DeskError
from tradekit.report.metrics import scored
from tradekit.report.run_folder import read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tradekit.report.record import Track

FOLDER = "tear_sheets"


def write_tear_sheets(folder: Path, progress: Callable[[int, int, str], None] | None = None) -> list[Path]:
    """Write ``tear_sheets/<strategy>.html`` into a run folder, returns by session against the run's benchmark.

    quantstats annualises by days, so intraday returns are compounded to sessions first.

    Args:
        folder: of a run.
        progress: called with (done, in all, label); a page takes seconds.

    Raises:
        DeskError: no run folder, nothing scored in it, or it cannot be written.
    """
    record = read_run(folder)
    tracks = [track for track in record.base.values() if len(track.equity) - track.scored_from > 1]
    if not tracks:
        raise DeskError(f"{folder}: no strategy has scored bars to draw; run it on more data")
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise DeskError(
            f"cannot write {target}: {error.strerror}; copy the run to a folder you may write to"
        ) from error
    pages = []
    for done, track in enumerate(tracks):
        if progress:
            progress(done, len(tracks), track.strategy)
        pages.append(target / f"{track.strategy}.html")
        _write(track, str(record.manifest["data"]["benchmark"]), pages[-1])
    if progress:
        progress(len(tracks), len(tracks), "done")
    return pages


def by_session(track: Track) -> tuple[pd.Series, pd.Series]:
    """Return the strategy's and the benchmark's simple returns of each scored session, indexed by date."""
    cut = scored(track)
    dates = pd.DatetimeIndex(track.timestamps[track.scored_from :].astype("M8[D]").astype("M8[ns]"), name="date")
    both = pd.DataFrame({"strategy": cut.returns, "benchmark": cut.benchmark}, index=dates).fillna(0.0)
    daily = (1.0 + both).groupby(level=0).prod() - 1.0
    return daily["strategy"], daily["benchmark"]


def _write(track: Track, benchmark: str, page: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")  # drawing to a file must not need a display
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    returns, index = by_session(track)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of quantstats about its own use of pandas; the numbers are its own too
        import quantstats

        quantstats.reports.html(  # type: ignore[no-untyped-call]
            returns.rename(track.strategy),
            benchmark=index.rename(benchmark),
            output=str(page),
            title=track.strategy,
            periods_per_year=252,
        )
