"""Write HTML as nested calls: text is escaped, markup is not, attributes are keywords."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """Return an element. Underscores in attribute names become hyphens, a trailing one goes; None leaves one out.

    >>> tag("td", "a < b", class_="n", data_value=1.5)
    '<td class="n" data-value="1.5">a &lt; b</td>'
    """
    opened = "".join(_attribute(key, value) for key, value in attributes.items())
    return Markup(f"<{name}{opened}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Return the children one after the other, text escaped, None left out."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children if c is not None))


def typeset(text: str) -> str:
    """Return ``text`` as print sets numbers: a real minus, and no line break between a number and its per cent.

    >>> typeset("-1.5 % to 2020-01-02") == "\u22121.5\u00a0% to 2020-01-02"
    True
    """
    return re.sub(r"(?<![\w.])-(?=[\d$.])", "\u2212", text).replace(" %", "\u00a0%")


def table(head: list[Markup], rows: list[Markup], **attributes: str | None) -> Markup:
    """Return a table in a box that scrolls sideways when it is wider than the page."""
    body = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), **attributes)
    return tag("div", body, class_="scroll", tabindex="0")


def section(heading: str, *children: str | None, lead: str | None = None, id_: str | None = None) -> Markup:
    """Return a section with its heading and one sentence under it."""
    return tag("section", tag("h2", heading), lead and tag("p", lead, class_="lead"), *children, id_=id_)


def page(title: str, body: Markup, data: str = "{}") -> str:
    """Return a whole page that needs nothing from anywhere: style, script and data are inside, and a policy says so."""
    here = files("tradekit.report")
    style, script = (Markup(here.joinpath(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    head = (
        Markup('<meta charset="utf-8">')
        + Markup('<meta name="viewport" content="width=device-width, initial-scale=1">')
        + Markup('<meta name="color-scheme" content="light dark">')
        + Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
        + tag("title", title)
        + tag("style", style)
    )
    numbers = tag("script", Markup(data.replace("</", "<\\/")), type="application/json", id_="data")
    content = tag("main", body) + numbers + tag("script", script)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>{content}</body>\n</html>\n'


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
