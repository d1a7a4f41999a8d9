"""What a command prints: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

INTERRUPTED = 130
"""Exit status of a command that somebody stopped."""

# Off a terminal a line is printed for a new label, but not for those that pass by in a moment, and for a long one now
# and then.
SECONDS_BETWEEN_LABELS, SECONDS_BETWEEN_LINES = 1.0, 5.0
# Columns of what is piped or kept: nothing wraps.
WIDE = 1000


def print_json(value: Any) -> None:
    """Print ``value`` as JSON; NaN has become null before."""
    click.echo(json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))


def print_rich(*parts: RenderableType) -> None:
    """Print tables and text; as wide as they need to be where nobody watches."""
    from rich.console import Console

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    for part in parts:
        console.print(part)


class Steps:
    """Progress of one piece of work: a bar on a terminal, else lines. Called as the engine calls back."""

    def __init__(self, title: str) -> None:
        self._title, self._label = title, ""
        self._said, self._changed = time.monotonic(), -math.inf
        self._pace = Pace()

    def __call__(self, done: int, total: int, label: str = "", detail: str = "") -> None:
        """Say that ``done`` of ``total`` steps are over, what comes next, and what is known so far."""
        now = time.monotonic()
        left = self._pace.left(done, total, now)
        news = label != self._label and now - self._changed >= SECONDS_BETWEEN_LABELS
        if done < total and (news or now - self._said >= SECONDS_BETWEEN_LINES):
            self._label, self._said, self._changed = label, now, now
            parts = (f"{self._title}: {done}/{total}", label, detail, left and f"about {left} left")
            click.echo(" ".join(part for part in parts if part), err=True)


class Pace:
    """How fast steps go, and how long the rest will take at that pace."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def left(self, done: int, total: int, now: float) -> str:
        """Return the time left in words, empty while it cannot be told; steps that were there at first do not count."""
        if self._began is None:
            self._began = (now, done)
        since, at_first = self._began
        taken = done - at_first
        if taken < 1 or now - since < SECONDS_BETWEEN_LINES:  # too early to tell
            return ""
        return spoken((now - since) / taken * (total - done))


def spoken(seconds: float) -> str:
    """Return a time as people say it.

    >>> spoken(8), spoken(95), spoken(7300)
    ('8 s', '1 min 35 s', '2 h 1 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Bar(Steps):
    """A bar on a terminal."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        left = TextColumn("{task.fields[left]}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left)
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self.progress.add_task(title, total=None, left="")

    def __call__(self, done: int, total: int, label: str = "", detail: str = "") -> None:
        """Move the bar."""
        description = " ".join(part for part in (self._title, label, detail) if part)
        left = self._pace.left(done, total, time.monotonic())
        told = f"about {left} left" if left else ""
        self.progress.update(self._task, completed=done, total=total, description=description, left=told)


@contextmanager
def steps(title: str) -> Iterator[Steps]:
    """Give something to report progress to."""
    if not sys.stderr.isatty():
        yield Steps(title)
        return
    bar = Bar(title)
    with bar.progress:
        yield bar
