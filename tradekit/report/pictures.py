"""Figures beside the page, as PNG for a message and SVG for print: equity, drawdown, costs and the stress heat map."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.report.equity import LOG_FROM, curves_of
from tradekit.report.order import few, ranked
from tradekit.report.words import DASH, number

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.report.equity import Curves
    from tradekit.report.record import Record

FOLDER = "figures"
INK, MUTED, RULE = "#16191d", "#59616b", "#e5e7e9"
COLOURS = {"policy": "#0b57d0", "hold": INK, "benchmark": "#858d96"} | dict(
    zip(
        (f"s{k}" for k in range(1, 9)),
        ("#b26a00", "#00857a", "#bf4a76", "#6f7d13", "#7d57b3", "#96604a", "#3a8ea5", "#7a8288"),
        strict=True,
    )
)
TERM_COLOURS = ("#7a8288", "#00857a", "#b26a00", "#bf4a76", "#7d57b3")
STYLE: Any = {
    "svg.hashsalt": "tradekit",  # ids of an SVG are drawn at random otherwise
    "font.size": 9,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def write_pictures(summary: dict[str, Any], record: Record, styles: dict[str, str], folder: Path) -> None:
    """Write ``figures/<name>.png`` and ``.svg`` into ``folder``: the same bytes for the same run and matplotlib.

    Args:
        summary: of the run.
        record: that it is of.
        styles: of the strategies, as on the page.
        folder: exists.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib import rc_context

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of its own cache
    curves = curves_of(summary, record, styles)
    target = folder / FOLDER
    with rc_context(STYLE):
        drawn = {
            "equity": curves and _lines(curves, summary, falls=False),
            "drawdown": curves and _lines(curves, summary, falls=True),
            "costs": _costs(summary),
            "stress": _heat_map(summary) if summary["scenarios"] else None,
        }
        for name, figure in drawn.items():
            if figure is None:
                continue
            target.mkdir(exist_ok=True)
            figure.savefig(target / f"{name}.png", dpi=120, metadata={"Software": None})
            figure.savefig(target / f"{name}.svg", metadata={"Date": None})


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.subplots()


def _lines(curves: Curves, summary: dict[str, Any], *, falls: bool) -> Any:
    """Return growth of 1, or drawdown, of the strategies that the page shows first."""
    from matplotlib.ticker import ScalarFormatter

    shown = {*few(summary), summary["data"]["benchmark"]}
    lines = [one for one in (curves.falls if falls else curves.growth) if one.name in shown]
    figure, axes = _figure(9.0, 3.0 if falls else 4.6)
    places = np.arange(len(curves.labels))
    for line in lines:
        width = {"policy": 2.4, "hold": 1.5}.get(line.style, 1.0)
        values = 100.0 * line.values if falls else line.values
        dashes = ":" if line.style == "benchmark" else "-"
        axes.plot(places, values, dashes, color=COLOURS[line.style], linewidth=width, label=line.name)
    if not falls:
        values = np.concatenate([line.values for line in lines])
        if values.min() > 0.0 and values.max() > LOG_FROM * values.min():
            axes.set_yscale("log")
            for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis(ScalarFormatter())
    axes.set_ylabel("Drawdown, %" if falls else "Growth of 1, after costs")
    rows = np.linspace(0, len(places) - 1, min(6, len(places))).round().astype(int)
    axes.set_xticks(rows, [curves.labels[row][:10] for row in rows])
    axes.margins(x=0.0)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)
    return figure


def _costs(summary: dict[str, Any]) -> Any:
    """Return what trading cost a year, by term, as stacked bars; None where nothing was traded."""
    rows = [one for one in ranked(summary) if one["name"] in few(summary) and sum(one["costs"]["a_year"].values())]
    if not rows:
        return None
    rows.sort(key=lambda one: -sum(one["costs"]["a_year"].values()))
    figure, axes = _figure(9.0, 0.9 + 0.32 * len(rows))
    left = np.zeros(len(rows))
    for term, colour in zip(rows[0]["costs"]["a_year"], TERM_COLOURS, strict=True):
        widths = np.array([100.0 * one["costs"]["a_year"][term] for one in rows])
        axes.barh([one["name"] for one in rows], widths, left=left, color=colour, label=term, height=0.62)
        left += widths
    axes.set_xlabel("Costs a year, % of equity")
    axes.grid(axis="y", visible=False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _heat_map(summary: dict[str, Any]) -> Any:
    """Return the Sharpe ratio of the strategies that the page shows first in every scenario that ran."""
    names = few(summary)
    rows = [one for one in summary["scenarios"] if any(cell["metrics"] for cell in one["cells"])]
    table = np.full((len(rows), len(names)), np.nan)
    for k, row in enumerate(rows):
        found = {cell["strategy"]: cell["metrics"] for cell in row["cells"] if cell["metrics"]}
        table[k] = [found[name]["sharpe"] if name in found else None for name in names]
    if not np.isfinite(table).any():
        return None
    most = float(np.nanquantile(np.abs(table), 0.9)) or 1.0
    figure, axes = _figure(2.6 + 0.92 * len(names), 1.2 + 0.27 * len(rows))
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("page", ("#e0761a", "#ffffff", "#2b73d9"))
    axes.imshow(table, cmap=colours, vmin=-most, vmax=most, aspect="auto", alpha=0.8)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.grid(visible=False)
    for (k, j), value in np.ndenumerate(table):
        axes.text(j, k, number(value) if np.isfinite(value) else DASH, ha="center", va="center", fontsize=8)

    axes.set_title("Sharpe ratio by scenario", fontsize=9, color=MUTED, loc="left")
    return figure
