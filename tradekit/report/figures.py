"""Figures as HTML: lines in an SVG that stretches with the page, words beside it that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tradekit.report.axes import Scale, Tick, value_scale
from tradekit.report.markup import Markup, join, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.market.panel import Floats

SIDE = 1000  # the SVG's own units; the page stretches them
POINTS = 320
LABEL_GAP = 0.046


class Line(NamedTuple):
    """One line: its name, its style (``policy``, ``hold``, ``benchmark``, ``s1`` to ``s8``) and (P,) values."""

    name: str
    style: str
    values: Floats


def thin(length: int, points: int = POINTS) -> list[int]:
    """Return at most ``points`` rows spread evenly over ``length``, the first and the last among them."""
    return [int(row) for row in np.unique(np.linspace(0, length - 1, min(length, points)).round())]


def line_plot(
    lines: Sequence[Line],
    scale: Scale,
    ticks: Sequence[Tick],
    *,
    base: float | None = None,
    marks: Sequence[float] = (),
    filled: str | None = None,
    low: bool = False,
    ends: bool = True,
    rest: frozenset[str] = frozenset(),
) -> Markup:
    """Return a plot of lines that share their P places.

    Args:
        lines: drawn in this order; the last lies on top.
        scale: vertical.
        ticks: horizontal.
        base: value at which a stronger line is drawn.
        marks: places in [0, 1] marked at the bottom.
        filled: name of the line under which the area to the top is shaded.
        low: draw it low.
        ends: name each line at its right end.
        rest: names of lines that are shown on demand, and not named at their ends; see ``on_demand``.
    """
    drawn = [_path(_level(tick.at), "grid") for tick in scale.ticks]
    if base is not None:
        drawn.append(_path(_level(float(scale.place(np.array([base]))[0])), "base"))
    drawn += [_path(f"M{place * SIDE:.1f} {SIDE}V{SIDE - 16}", "refit") for place in marks]
    for line in lines:
        points = _points(line.values, scale)
        if line.name == filled:
            drawn.append(_path(f"M0 0L{points}L{SIDE} 0Z", "area"))
        drawn.append(_path(f"M{points}", _class(f"line c-{line.style}", line.name, rest), line.name))
    svg = tag("svg", *drawn, viewBox=f"0 0 {SIDE} {SIDE}", preserveAspectRatio="none", aria_hidden="true")
    return tag(
        "div",
        svg,
        *(tag("span", tick.label, class_="y", style=f"top:{_top(tick.at)}") for tick in scale.ticks),
        *(
            tag("span", tick.label, class_="x minor" if tick.minor else "x", style=f"left:{tick.at:.2%}")
            for tick in ticks
        ),
        *(_end_labels([line for line in lines if line.name not in rest], scale) if ends else ()),
        tag("span", class_="cross"),
        class_="plot low" if low else "plot",
    )


def legend(lines: Sequence[Line], *, always: bool = False, rest: frozenset[str] = frozenset()) -> Markup:
    """Return the names of the lines with their colours, for pages too narrow to name them at their ends, or always."""
    styles = {line.name: _class(f"c-{line.style}", line.name, rest) for line in reversed(lines)}
    keys = [tag("li", tag("span", class_="key"), name, class_=style, data_line=name) for name, style in styles.items()]
    return tag("ul", *keys, class_="legend" if always else "legend lines")


def value_range(lines: Sequence[Line], **options: bool) -> Scale:
    """Return the scale on which all lines fit."""
    values = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    return value_scale(float(values.min()), float(values.max()), **options)


def forest(value: float, low: float, high: float, bounds: tuple[float, float], style: str) -> Markup:
    """Return an estimate as a point on its interval, on an axis between ``bounds`` with zero marked."""

    def x(number: float) -> float:
        return round(SIDE * (number - bounds[0]) / (bounds[1] - bounds[0]), 1)

    return tag(
        "svg",
        tag("line", x1=x(0.0), x2=x(0.0), y1=0, y2=16, class_="zero"),
        tag("line", x1=x(low), x2=x(high), y1=8, y2=8),
        tag("line", x1=x(value), x2=x(value), y1=3, y2=13, class_="point"),
        class_=f"forest c-{style}",
        viewBox=f"0 0 {SIDE} 16",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{value:.2f}, 95 % interval {low:.2f} to {high:.2f}",
    )


def dots(values: Sequence[float | None], bounds: tuple[float, float], style: str) -> Markup:
    """Return values as marks on an axis between ``bounds`` with zero marked; undefined ones are left out."""

    def x(value: float) -> float:
        return round(SIDE * (value - bounds[0]) / (bounds[1] - bounds[0]), 1)

    known = [value for value in values if value is not None]
    ends = f", {min(known):.2f} to {max(known):.2f}" if known else ""
    return tag(
        "svg",
        tag("line", x1=x(0.0), x2=x(0.0), y1=0, y2=16, class_="zero"),
        *(tag("line", x1=place, x2=place, y1=3, y2=13) for place in sorted({x(value) for value in known})),
        class_=f"forest c-{style}",
        viewBox=f"0 0 {SIDE} 16",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{len(known)} paths{ends}",
    )


def bar(parts: Sequence[tuple[float, str]], whole: float, extra: str = "") -> Markup:
    """Return a horizontal bar of ``parts`` (value, style) on a length of ``whole``."""
    pieces = [
        tag("i", class_=f"c-{style}", style=f"width:{value / whole:.3%}")
        for value, style in parts
        if whole > 0.0 and value > 0.0
    ]
    return tag("span", *pieces, class_=f"bar {extra}".strip())


def choice(name: str, panes: Sequence[tuple[str, Markup]], chosen: int = 0) -> Markup:
    """Return panes of which the reader sees one at a time, by labels above them; works without a script."""
    inputs = [
        tag("input", type="radio", name=name, id_=f"{name}-{k}", class_="choice", checked=k == chosen, aria_label=label)
        for k, (label, _) in enumerate(panes)
    ]
    labels = tag(
        "div", *(tag("label", label, for_=f"{name}-{k}") for k, (label, _) in enumerate(panes)), class_="choices"
    )
    return tag("div", *inputs, labels, *(tag("div", pane, class_="pane") for _, pane in panes))


def on_demand(name: str, count: int, *content: str | None, narrow: bool = False) -> Markup:
    """Return content of which the parts of class ``rest`` show when a box is ticked; works without a script.

    Args:
        name: unique on the page.
        count: of all strategies, the rest among them.
        content: holds elements of class ``rest``.
        narrow: on a phone only.
    """
    box = tag("input", type="checkbox", id_=f"all-{name}", class_="all")
    label = tag("label", f"All {count} strategies", for_=f"all-{name}", class_="all")
    return tag("div", box, label, *content, class_="demand narrow" if narrow else "demand")


def _class(names: str, line: str, rest: frozenset[str]) -> str:
    return f"{names} rest" if line in rest else names


def _points(values: Floats, scale: Scale) -> str:
    """Return the path through the finite values, in whole SVG units; NaN leaves a place out.

    The first point, then steps from each to the next: half the size of as many places.
    """
    across = np.linspace(0.0, SIDE, len(values)) if len(values) > 1 else np.array([0.0])
    down = SIDE * (1.0 - np.clip(scale.place(values), -0.1, 1.1))
    seen = np.isfinite(down)
    points = np.column_stack([across[seen], down[seen]]).round().astype(int)
    if not len(points):
        return f"0 {SIDE}"
    steps = "".join(f"l{x} {y}" if y >= 0 else f"l{x}{y}" for x, y in np.diff(points, axis=0).tolist())
    return f"{points[0, 0]} {points[0, 1]}{steps}"


def _path(shape: str, class_: str, line: str | None = None) -> Markup:
    return tag("path", d=shape, class_=class_, vector_effect="non-scaling-stroke", data_line=line)


def _level(at: float) -> str:
    return f"M0 {SIDE * (1.0 - at):.1f}H{SIDE}"


def _top(at: float) -> str:
    return f"{1.0 - at:.2%}"


def _end_labels(lines: Sequence[Line], scale: Scale) -> list[Markup]:
    """Name each line at its end, moved apart where they would lie on each other."""
    ended = [(line, float(scale.place(line.values[-1:])[0])) for line in lines if np.isfinite(line.values[-1])]
    ended.sort(key=lambda pair: pair[1])
    places: list[float] = []
    for _, place in ended:
        places.append(max(place, places[-1] + LABEL_GAP) if places else place)
    over = max(0.0, places[-1] - 1.0) if places else 0.0
    for k in reversed(range(len(places))):
        ceiling = 1.0 if k == len(places) - 1 else places[k + 1] - LABEL_GAP
        places[k] = min(places[k], ceiling) if over else places[k]
    return [
        tag(
            "span",
            line.name,
            class_=f"end c-{line.style}",
            style=f"top:{_top(place)}",
            data_line=line.name,
            title=line.name,
        )
        for (line, _), place in zip(ended, places, strict=True)
    ]


def key(style: str) -> Markup:
    """Return the mark that ties a name to its line."""
    return tag("span", class_=f"key c-{style}")


def swatches(names: Sequence[tuple[str, str]]) -> Markup:
    """Return a legend of filled colours, (name, style) each."""
    items = [tag("li", tag("span", class_="swatch"), name, class_=f"c-{style}") for name, style in names]
    return tag("ul", join(*items), class_="legend")
