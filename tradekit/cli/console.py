"""What a command prints: results on standard output, progress on standard error."""

from __future__ import annotations

import json
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

# Off a terminal a line is printed for every new label, and for a long one this often.
SECONDS_BETWEEN_LINES = 5.0
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
        self._title, self._label, self._said = title, "", time.monotonic()

    def __call__(self, done: int, total: int, label: str = "", detail: str = "") -> None:
        """Say that ``done`` of ``total`` steps are over, what comes next, and what is known so far."""
        now = time.monotonic()
        if done < total and (label != self._label or now - self._said >= SECONDS_BETWEEN_LINES):
            self._label, self._said = label, now
            click.echo(" ".join(part for part in (f"{self._title}: {done}/{total}", label, detail) if part), err=True)


class Bar(Steps):
    """A bar on a terminal."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self.progress.add_task(title, total=None)

    def __call__(self, done: int, total: int, label: str = "", detail: str = "") -> None:
        """Move the bar."""
        description = " ".join(part for part in (self._title, label, detail) if part)
        self.progress.update(self._task, completed=done, total=total, description=description)


@contextmanager
def steps(title: str) -> Iterator[Steps]:
    """Give something to report progress to."""
    if not sys.stderr.isatty():
        yield Steps(title)
        return
    bar = Bar(title)
    with bar.progress:
        yield bar
