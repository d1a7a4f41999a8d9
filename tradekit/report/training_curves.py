"""The curves of a training run: columns of its metrics over environment steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.report.axes import Tick, value_scale
from tradekit.report.figures import Line, legend, line_plot, thin, value_range
from tradekit.report.markup import Markup, tag
from tradekit.report.summary import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tradekit.market.panel import Floats


@dataclass
class Curves:
    """The columns of a run, and every figure drawn of them, for the numbers that the pointer shows.

    Attributes:
        steps: (P,) environment steps at the end of each update.
        columns: (P,) values by name; NaN where an update has none.
    """

    steps: NDArray[np.int64]
    columns: Mapping[str, Floats]
    _drawn: dict[str, dict[str, Any]] = field(default_factory=dict)

    def figure(
        self,
        name: str,
        lines: Sequence[tuple[str, str, str]],
        *,
        percent: bool = False,
        digits: int = 2,
        base: float | None = None,
        low: bool = False,
    ) -> Markup | None:
        """Return a figure of ``lines`` (column, its label, its style), None when none of them has two values."""
        rows = thin(len(self.steps))
        drawn = [
            Line(label, style, self._shown(column, rows))
            for column, label, style in lines
            if column in self.columns and np.isfinite(self.columns[column]).sum() > 1
        ]
        if not drawn:
            return None
        scale = value_range([*drawn, *([Line("", "", np.array([base]))] if base is not None else [])], percent=percent)
        self._drawn[name] = {
            "times": [f"step {step:,}" for step in self.steps[rows].tolist()],
            "digits": digits,
            "percent": percent,
            "lines": [{"name": one.name, "style": one.style, "values": one.values.round(6).tolist()} for one in drawn],
        }
        plot = line_plot(drawn, scale, self._ticks(), base=base, low=low)
        return tag("div", plot, legend(drawn), tag("div", class_="tip"), class_="figure", data_set=name)

    def data(self) -> str:
        """Return the values that the pointer shows, as JSON."""
        return json.dumps(plain(self._drawn), separators=(",", ":"), sort_keys=True)

    def _shown(self, column: str, rows: list[int]) -> Floats:
        """Return the values at ``rows``; judgements are rare, and stand until the next where rows are left out."""
        values = self.columns[column]
        return values if len(rows) == len(values) else _held(values)[rows]

    def _ticks(self) -> tuple[Tick, ...]:
        first, last = int(self.steps[0]), int(self.steps[-1])
        scale = value_scale(first, last)
        places = [(float(place), tick.label) for place, tick in self._inside(scale, first, last)]
        return tuple(Tick(place, label, minor=number % 2 == 1) for number, (place, label) in enumerate(places))

    def _inside(self, scale: Any, first: int, last: int) -> list[tuple[float, Tick]]:
        """Return the ticks of a vertical scale as places between the first and the last step."""
        found = []
        for tick in scale.ticks:
            value = scale.low + tick.at * (scale.high - scale.low)
            if first <= value <= last:
                found.append(((value - first) / max(1, last - first), tick))
        return found


def curves_of(rows: Sequence[Mapping[str, float | None]]) -> Curves:
    """Return the columns of ``rows``, the records of a run's updates."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
    return Curves(columns["step"].astype(np.int64), columns)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _held(values: Floats) -> Floats:
    """Return ``values`` with NaN replaced by the value before it; NaN before the first stays."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], np.nan)
