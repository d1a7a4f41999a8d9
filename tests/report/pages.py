"""Read a page as a browser does: elements with their attributes and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "input", "br", "wbr"}
SHARED = ("data-scenario", "data-metric", "data-of")


@dataclass
class Element:
    """One element: its name, attributes and all text inside it."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    parents: tuple[str, ...] = field(default=())


class Page(HTMLParser):
    """The elements of a page, and whether every tag that opened was closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.faults: list[str] = []
        self._open: list[Element] = []
        self._strategies: dict[int, str] = {}  # by column of the table that is open, those that its head names
        self._column = 0
        self.feed(source)
        self.faults += [f"{one.name} was never closed" for one in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = Element(tag, {key: value or "" for key, value in attrs}, parents=tuple(e.name for e in self._open))
        self._count(one)
        if tag == "td" and {"data-strategy", "data-month"} & one.attributes.keys():
            # The column of a heat map says the strategy, its row the scenario, its table the metric or whose months.
            for around in self._open:
                one.attributes = {k: around.attributes[k] for k in SHARED if k in around.attributes} | one.attributes
        self.elements.append(one)
        if tag not in VOID:
            self._open.append(one)

    def _count(self, one: Element) -> None:
        """Give a number the strategy that the head of its column names."""
        if one.name == "table":
            self._strategies = {}
        if one.name == "tr":
            self._column = 0
        if one.name not in ("td", "th"):
            return
        self._column += 1
        if one.name == "th" and "data-strategy" in one.attributes:
            self._strategies[self._column] = one.attributes["data-strategy"]
        elif "data-value" in one.attributes and self._column in self._strategies:
            one.attributes.setdefault("data-strategy", self._strategies[self._column])

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open[-1].name != tag:
            self.faults.append(f"{tag} closed inside {self._open[-1].name if self._open else 'nothing'}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.text += data

    def having(self, *names: str, **values: str) -> list[Element]:
        """Return the elements with these data attributes."""
        wanted = {f"data-{key}": value for key, value in values.items()}
        return [
            one
            for one in self.elements
            if all(f"data-{name}" in one.attributes for name in names) and wanted.items() <= one.attributes.items()
        ]

    def one(self, id_: str) -> Element:
        """Return the element of an id."""
        (found,) = [one for one in self.elements if one.attributes.get("id") == id_]
        return found


def numbers_that_differ(page: Page, summary: dict[str, Any]) -> list[str]:
    """Return the cells whose exact number is not the summary's, or that show what the number does not round to."""
    strategies = {one["name"]: one for one in summary["strategies"]}
    scenarios = {
        one["name"]: {cell["strategy"]: cell["metrics"] for cell in one["cells"]} for one in summary["scenarios"]
    }
    pairs = {one["baseline"]: one for one in summary["paired"] if one["strategy"] == summary["verdict"]["candidate"]}
    wrong, checked = [], 0
    for cell in page.having("metric", "strategy"):
        data = {key.removeprefix("data-"): value for key, value in cell.attributes.items()}
        entry = strategies[data["strategy"]] | {"paired": pairs.get(data["strategy"])}
        expected = _expected(entry, scenarios, data)
        found = None if "value" not in data else float(data["value"])
        checked += 1
        if found != expected:
            wrong.append(f"{data}: {expected}")
    return wrong if checked else ["no cell was found"]


def _expected(one: dict[str, Any], scenarios: dict[str, Any], data: dict[str, str]) -> Any:
    name, _, part = data["metric"].partition(".")
    if "scenario" in data:
        return scenarios[data["scenario"]][data["strategy"]][name]
    if name == "window":
        return one["windows"][int(data["window"]) - 1]["total_return"]
    if name == "cost" and part:
        return one["costs"]["dollars"][part]
    return one[name][part] if part else one["metrics"][name]
