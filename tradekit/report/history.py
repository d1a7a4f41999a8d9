"""How the result came about: returns by month, and measures over a window that moves through the bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.evidence import measures
from tradekit.report.axes import time_ticks
from tradekit.report.cells import heat, robust_most, share_of, th
from tradekit.report.figures import Line, choice, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, section, table, tag
from tradekit.report.metrics import scored
from tradekit.report.order import few
from tradekit.report.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Floats, Times
    from tradekit.report.record import Record, Track

SESSIONS = 63
"""Of the window that moves: a quarter of a year."""
SHOWN = 4
PALE = 0.01
"""A month of this size has the full colour at least, so that basis points are not painted as a crash is."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def monthly(summary: dict[str, Any], record: Record) -> Markup | None:
    """Return the return of every month, of the candidate, of holding and of the best baseline, one at a time."""
    tracks = {name: record.base[name] for name in few(summary, 3)}
    months = {name: months_of(track) for name, track in tracks.items()}
    if not months or len(next(iter(months.values()))) < 2:
        return None
    panes = [(name, _calendar(name, found)) for name, found in months.items()]
    lead = "Return of each calendar month in per cent, and of the year."
    return section("Month by month", choice("months", panes), lead=lead, id_="months")


def months_of(track: Track) -> dict[np.datetime64, float]:
    """Return the compounded return of each calendar month that holds scored bars."""
    returns = scored(track).returns
    months = track.timestamps[track.scored_from :].astype("M8[M]")
    firsts = np.flatnonzero(np.append(True, months[1:] != months[:-1])) if len(months) else np.empty(0, np.int64)
    grown = np.multiply.reduceat(1.0 + returns, firsts) - 1.0 if len(firsts) else np.empty(0)
    return dict(zip(months[firsts], grown.tolist(), strict=True))


def _calendar(name: str, months: dict[np.datetime64, float]) -> Markup:
    most = max(robust_most(months.values()), PALE)
    years = sorted({str(month)[:4] for month in months})
    body = []
    for year in years:
        cells, product = [], 1.0
        for k in range(1, 13):
            month = f"{year}-{k:02d}"
            value = months.get(np.datetime64(month))
            product *= 1.0 + (value or 0.0)
            cells.append(_month(value, most, month))
        whole = tag("td", percent(product - 1.0, sign=True), class_="total")
        body.append(tag("tr", tag("th", year, scope="row"), *cells, whole))
    return table([th("Year"), *(th(month) for month in MONTHS), th("Year")], body, class_="heat calendar", data_of=name)


def _month(value: float | None, most: float, month: str) -> Markup:
    shown = percent(value, sign=True).removesuffix(" %")
    return heat(value, share_of(value, most), shown, month=month)


def rolling(summary: dict[str, Any], record: Record, styles: dict[str, str]) -> Markup | None:
    """Return Sharpe ratio and volatility over a moving window; None where the bars hold no two windows."""
    tracks = {name: record.base[name] for name in few(summary, SHOWN)}
    some = next(iter(tracks.values()), None)
    if some is None:
        return None
    years = record.bars_per_year
    bars, held = max(20, round(SESSIONS * years / 252.0)), len(some.timestamps) - some.scored_from
    if held < 2 * bars:
        return None
    times = some.timestamps[some.scored_from + bars - 1 :]
    rows = thin(len(times), 320)
    found = {name: _moving(scored(track).returns, bars, years) for name, track in tracks.items()}
    order = sorted(tracks, key=lambda name: {"policy": 2, "hold": 1}.get(styles[name], 0))
    panes, keys = [], []
    for place, (heading, in_percent) in enumerate((("Sharpe ratio", False), ("Volatility", True))):
        lines = [Line(name, styles[name], found[name][place][rows]) for name in order]
        if any(not np.isfinite(line.values).any() for line in lines):
            continue
        panes.append((heading, _plot(lines, times, in_percent)))
        keys = lines
    if not panes:
        return None
    return section(
        "Over time",
        tag("div", choice("rolling", panes), legend(keys), class_="figure"),
        lead=f"Over the last {SESSIONS} sessions at each bar, annual. A result that rests on one stretch shows here.",
        id_="rolling",
    )


def _plot(lines: Sequence[Line], times: Times, in_percent: bool) -> Markup:
    base = None if in_percent else 0.0
    scale = value_range(lines, percent=in_percent)
    inside = base is not None and scale.low <= base <= scale.high
    return line_plot(lines, scale, time_ticks(times), base=base if inside else None)


def _moving(returns: Floats, bars: int, years: float) -> tuple[Floats, Floats]:
    """Return the annual Sharpe ratio and volatility of the last ``bars`` of (n,) returns, (n - bars + 1,) each.

    The ratio is NaN where nothing moved.
    """
    windows = np.lib.stride_tricks.sliding_window_view(returns, bars)
    deviation = windows.std(axis=1, ddof=1)
    moved = deviation > measures.FLAT
    ratio = np.where(moved, windows.mean(axis=1) / np.where(moved, deviation, 1.0), np.nan)
    return ratio * np.sqrt(years), deviation * np.sqrt(years)
