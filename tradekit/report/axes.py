"""Scales and ticks of a figure, as positions in [0, 1] with the words that stand there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.report.markup import typeset

if TYPE_CHECKING:
    from tradekit.market.panel import Floats, Times

WIDE = 3.0  # highest over lowest value from which a logarithmic scale needs round numbers of its own


class Tick(NamedTuple):
    """A place on an axis, 0 at its start and 1 at its end; minor ones give way on a narrow page."""

    at: float
    label: str
    minor: bool = False


class Scale(NamedTuple):
    """A vertical axis from ``low`` to ``high``, linear or logarithmic, with its ticks."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[Tick, ...]

    def place(self, values: Floats) -> Floats:
        """Return where ``values`` lie in [0, 1] from bottom to top; outside it for what is off the scale."""
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            return (np.log(np.maximum(values, 1e-12)) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)


def value_scale(low: float, high: float, *, logarithmic: bool = False, percent: bool = False) -> Scale:
    """Return a scale that shows every value from ``low`` to ``high``, with some four to seven round ticks.

    A logarithmic scale needs ``low`` > 0.
    """
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    if logarithmic and high / low >= WIDE:
        rounds = _decades(low, high)
        low, high = low / 1.05, high * 1.05
    else:
        step = _step((high - low) / 5.0)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        rounds = [k * step for k in range(first, last + 1)]
        if logarithmic:
            rounds = [value for value in rounds if value > 0.0 and low / 1.02 <= value <= high * 1.02]
            low, high = low / 1.02, high * 1.02
        else:
            low, high = rounds[0], rounds[-1]
    scale = Scale(low, high, logarithmic, ())
    places = scale.place(np.array(rounds, dtype=np.float64))
    spacing = min(np.diff(rounds), default=1.0)
    ticks = [Tick(float(at), _label(value, float(spacing), percent)) for at, value in zip(places, rounds, strict=True)]
    return scale._replace(ticks=tuple(ticks))


def time_ticks(times: Times) -> tuple[Tick, ...]:
    """Return some ten ticks at starts of years, quarters, months or days, placed by bar and not by calendar time."""
    for unit, every in (("Y", 10), ("Y", 5), ("Y", 2), ("Y", 1), ("M", 3), ("M", 1), ("D", 7), ("D", 1)):
        spans = np.unique(times.astype(f"M8[{unit}]").astype(np.int64) // every)
        if len(spans) > 4 or (unit, every) == ("D", 1):
            return _starts(times, unit, every)
    raise AssertionError("unreachable")


def _starts(times: Times, unit: str, every: int) -> tuple[Tick, ...]:
    group = times.astype(f"M8[{unit}]").astype(np.int64) // every
    rows = [0, *(np.flatnonzero(np.diff(group)) + 1)]
    last = max(1, len(times) - 1)
    # The first bar rarely opens a year or month: it gets no tick unless its group is whole enough to be named.
    keep = [row for row in rows if row > 0 or (len(rows) > 1 and rows[1] / last > 0.08)]
    ticks = [Tick(float(row / last), _date(times[row], unit)) for row in keep or [0]]
    stride = math.ceil(len(ticks) / 11)
    return tuple(tick._replace(minor=k % 2 == 1) for k, tick in enumerate(ticks[::stride]))


def _date(moment: np.datetime64, unit: str) -> str:
    if unit == "Y":
        return str(moment.astype("M8[Y]"))
    return str(moment.astype("M8[M]")) if unit == "M" else str(moment.astype("M8[D]"))[5:]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**k for k in range(first, last + 1) for s in steps if low / 1.05 <= s * 10.0**k <= high * 1.05]
        if len(found) <= 7:
            break
    return found


def _step(rough: float) -> float:
    """Return the round number (1, 2, 2.5 or 5 times a power of ten) at or above ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= rough * (1 - 1e-9))


def _label(value: float, spacing: float, percent: bool) -> str:
    value, spacing = (100.0 * value, 100.0 * spacing) if percent else (value, spacing)
    digits = max(0, _has_quarter(spacing) - math.floor(math.log10(spacing) + 1e-9))
    return typeset(f"{value + 0.0:,.{digits}f}" + (" %" if percent else ""))


def _has_quarter(spacing: float) -> bool:
    """Return whether the spacing is 2.5 times a power of ten, which takes one more digit."""
    return abs(spacing / 10.0 ** math.floor(math.log10(spacing) + 1e-9) - 2.5) < 1e-6
