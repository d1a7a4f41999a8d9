"""Cells that carry their exact number beside what they show, and other small parts that sections share."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from tradekit.report.figures import on_demand
from tradekit.report.markup import Markup, join, tag, typeset
from tradekit.report.order import few, ranked
from tradekit.report.words import DASH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tradekit.report.columns import Column

Summary = dict[str, Any]


def th(text: str, **attributes: str | None) -> Markup:
    """Return the heading of a column."""
    return tag("th", text, scope="col", **attributes)


def value(strategy: str, column: Column, metrics: dict[str, Any], *, rest: bool = False) -> Markup:
    """Return the cell of one metric, its exact value beside what is shown."""
    number_ = metrics[column.metric]
    return tag(
        "td",
        typeset(column.show(metrics)),
        class_=on_call("wide" if "[" in column.heading else None, rest),
        data_label=column.heading,
        data_strategy=strategy,
        data_metric=column.metric,
        data_value=None if number_ is None else repr(number_),
    )


def number_cell(
    number_: float | None, show: Callable[[float | None], str], metric: str, strategy: str, label: str
) -> Markup:
    """Return the cell of a number that is no column of its own."""
    exact = None if number_ is None else repr(number_)
    return tag(
        "td", typeset(show(number_)), data_label=label, data_strategy=strategy, data_metric=metric, data_value=exact
    )


def heat(
    number_: float | None, share: float, shown: str, title: str | None = None, *, rest: bool = False, **names: str
) -> Markup:
    """Return a cell shaded by ``share`` in [-1, 1]: blue above zero, orange below. ``names`` become data attributes."""
    if number_ is None:
        return tag("td", DASH, class_=on_call("none", rest), title=title)
    data: dict[str, str | None] = {f"data_{key}": text for key, text in names.items()}
    data |= {"class_": on_call("up" if share >= 0.0 else "down", rest), "style": f"--v:{min(1.0, abs(share)):.2f}"}
    text = shown if isinstance(shown, Markup) else typeset(shown)
    return tag("td", text, title=title, data_value=repr(number_), **data)


def on_call(class_: str | None, rest: bool) -> str | None:
    """Return the class of what is shown on demand when it is of the ``rest``; see ``figures.on_demand``."""
    return " ".join(part for part in (class_, "rest" if rest else None) if part) or None


def with_all(summary: Summary, name: str, content: Markup, *, narrow: bool = False) -> Markup:
    """Return a table of all strategies with the box that shows those beyond the few; as it is where there are none.

    ``narrow``: only a phone has the box, a wide page shows them all.
    """
    count = len(ranked(summary))
    return on_demand(name, count, content, narrow=narrow) if count > len(few(summary)) else content


def rest_of(summary: Summary) -> frozenset[str]:
    """Return the names of the strategies that are shown on demand."""
    return frozenset(one["name"] for one in summary["strategies"]) - frozenset(few(summary))


def share_of(number_: float | None, most: float) -> float:
    """Return ``number_`` as a share of ``most``, 0 where either is nothing."""
    return (number_ or 0.0) / most if most > 0.0 else 0.0


def robust_most(values: Iterable[float | None]) -> float:
    """Return the size that nine in ten stay under, so that one outlier does not pale the rest."""
    sizes = sorted(abs(value_) for value_ in values if value_ is not None)
    return sizes[int(0.9 * (len(sizes) - 1))] if sizes else 0.0


def candidate_first(summary: Summary) -> list[dict[str, Any]]:
    """Return the scored strategies with the candidate before the others, best Sharpe ratio first."""
    return sorted(ranked(summary), key=lambda one: one["name"] != summary["verdict"]["candidate"])


def wrap(content: object) -> str:
    """Return the class of a cell of words; on a phone an empty one is not shown."""
    return "wrap" if content else "wrap empty"


def named(name: str, summary: Summary, rest: frozenset[str] = frozenset()) -> Markup:
    """Return the heading of a strategy's column."""
    breaking = Markup("_<wbr>").join(escape(part) for part in name.split("_"))
    class_ = on_call("policy" if name == summary["verdict"]["candidate"] else None, name in rest)
    return th(Markup(breaking), class_=class_, data_strategy=name)


def settings_text(settings: dict[str, Any]) -> str:
    """Return settings as words, those without a value left out."""
    return ", ".join(f"{name} {value_}" for name, value_ in settings.items() if value_ is not None)


def facts_list(facts: dict[str, str]) -> Markup:
    """Return names and what belongs to them."""
    pairs = [join(tag("dt", name), tag("dd", text)) for name, text in facts.items()]
    return tag("dl", *pairs, class_="facts")
