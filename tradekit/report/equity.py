"""The figure of equity and drawdown, and the numbers that the pointer shows on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.evidence import measures
from tradekit.report.axes import time_ticks
from tradekit.report.evidence import CEILING
from tradekit.report.figures import Line, choice, legend, line_plot, on_demand, thin, value_range
from tradekit.report.markup import Markup, join, section, tag
from tradekit.report.metrics import scored
from tradekit.report.order import few
from tradekit.report.summary import plain
from tradekit.report.words import stamp

if TYPE_CHECKING:
    from tradekit.market.panel import Floats
    from tradekit.report.record import Record, Track

Summary = dict[str, Any]
LOG_FROM = 3.0  # highest over lowest equity from which the logarithmic scale is shown first
SHOWN_DIGITS = 3  # of growth under the pointer, and of a drawdown, which is shown in per cent


class Curves:
    """What the equity figure shows: lines over the scored bars, thinned, and where windows begin.

    ``rest`` are the names of the lines of ``growth`` that are shown on demand.
    """

    def __init__(
        self,
        times: Any,
        labels: list[str],
        growth: list[Line],
        falls: list[Line],
        marks: list[float],
        rest: frozenset[str],
    ) -> None:
        self.times, self.labels, self.growth, self.falls = times, labels, growth, falls
        self.marks, self.rest = marks, rest


def curves_of(summary: Summary, record: Record, styles: dict[str, str]) -> Curves | None:
    """Return the curves of a run; None when it scored fewer than two bars.

    Without the ceiling: perfect foresight grows so much that it would flatten all others into one line.
    """
    ceilings = {one["name"] for one in summary["strategies"] if one["kind"] == CEILING}
    tracks = {name: track for name, track in record.base.items() if name not in ceilings}
    if not tracks:
        return None
    some = next(iter(tracks.values()))
    if len(some.equity) - some.scored_from < 2:
        return None
    equity = {name: scored(track).equity / scored(track).equity[0] for name, track in tracks.items()}
    benchmark = np.concatenate([[1.0], np.cumprod(1.0 + np.nan_to_num(scored(some).benchmark))])
    rows = thin(len(benchmark))
    order = sorted(tracks, key=lambda name: ({"policy": 2, "hold": 1}.get(styles[name], 0), name))
    growth = [Line(name, styles[name], equity[name][rows]) for name in order]
    growth.insert(0, Line(summary["data"]["benchmark"], "benchmark", benchmark[rows]))
    # More than a few drawdowns hide each other: the candidate's, and those of what it is measured by.
    measured = few(summary, 3)
    falls = [
        Line(name, styles[name], _deepest(-measures.drawdown(equity[name]), rows)) for name in order if name in measured
    ]
    times = some.timestamps[some.scored_from - 1 :]
    labels = [stamp(times[row], summary["data"]["frequency"]) for row in rows]
    return Curves(times, labels, growth, falls, _marks(record, some), frozenset(tracks) - frozenset(few(summary)))


def _figure(set_: str, *children: Markup) -> Markup:
    return tag("div", *children, tag("div", class_="tip"), class_="figure", data_set=set_)


def _deepest(falls: Floats, rows: list[int]) -> Floats:
    """Return the deepest fall since the row shown before, so that thinning hides none."""
    return np.minimum.reduceat(falls, [0, *(row + 1 for row in rows[:-1])])


def _marks(record: Record, track: Track) -> list[float]:
    """Return where windows begin, as places in the figure."""
    base, bars = track.scored_from - 1, len(track.equity) - track.scored_from
    firsts = sorted({row.first for row in record.windows})
    return [(first - base) / bars for first in firsts if first > base]


def equity_section(curves: Curves) -> Markup:
    """Return equity and drawdown of every strategy, the candidate on top."""
    ticks = time_ticks(curves.times)
    panes = []
    for name, logarithmic in (("Linear", False), ("Logarithmic", True)):
        scale = value_range([one for one in curves.growth if one.name not in curves.rest], logarithmic=logarithmic)
        panes.append((name, line_plot(curves.growth, scale, ticks, base=1.0, marks=curves.marks, rest=curves.rest)))
    values = np.concatenate([line.values for line in curves.growth if line.name not in curves.rest])
    shown = int(values.max() > LOG_FROM * max(1e-9, values.min()))
    falls = line_plot(
        curves.falls,
        value_range(curves.falls, percent=True),
        ticks,
        filled=next((line.name for line in curves.falls if line.style == "policy"), None),
        low=True,
        ends=False,
    )
    refits = " Marks at the foot are the starts of the test windows." if curves.marks else ""
    return section(
        "Equity against the baselines",
        _figure("growth", _lines(curves, choice("scale", panes, shown), legend(curves.growth, rest=curves.rest))),
        tag("h3", "Drawdown"),
        _figure("falls", falls, legend(curves.falls, always=True)),
        lead=f"Growth of 1 over the scored bars, after costs. Dotted: the benchmark, free of costs.{refits}",
        id_="equity",
    )


def _lines(curves: Curves, *content: Markup) -> Markup:
    return on_demand("lines", len(curves.growth) - 1, *content) if curves.rest else join(*content)


def curve_data(curves: Curves) -> str:
    """Return the values that the pointer shows, as JSON."""

    def lines(of: list[Line]) -> list[dict[str, Any]]:
        return [
            {"name": one.name, "style": one.style, "values": (one.values.round(SHOWN_DIGITS) + 0.0).tolist()}
            | ({"rest": True} if one.name in curves.rest else {})
            for one in of
        ]

    sets = {
        "growth": {"times": curves.labels, "digits": SHOWN_DIGITS, "percent": False, "lines": lines(curves.growth)},
        "falls": {"times": curves.labels, "digits": SHOWN_DIGITS - 2, "percent": True, "lines": lines(curves.falls)},
    }
    return json.dumps(plain(sets), separators=(",", ":"), sort_keys=True)
