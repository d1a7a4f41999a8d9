"""What a user sees while several policies train at once: a bar for each on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tradekit.cli.console import SECONDS_BETWEEN_LINES
from tradekit.cli.training_view import SHOWN, Silent, clock, figures_text

if TYPE_CHECKING:
    from collections.abc import Iterator


class Many:
    """Shows nothing but what is said."""

    def __init__(self) -> None:
        self._silent = Silent()

    def __call__(self, label: str, done: int, total: int, figures: dict[str, Any]) -> None:
        """Take note that ``done`` of ``total`` steps of the run called ``label`` are over."""

    def say(self, line: str) -> None:
        """Print a line, now."""
        self._silent.say(line)


class ManyLines(Many):
    """A line for each run every few seconds, or whenever there is news of it; and one when it is through."""

    def __init__(self, title: str, *, all_news: bool) -> None:
        super().__init__()
        self._title, self._between = title, 0.0 if all_news else SECONDS_BETWEEN_LINES
        self._first: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def __call__(self, label: str, done: int, total: int, figures: dict[str, Any]) -> None:
        """Print a line when it is time for one."""
        now = time.monotonic()
        began, at_first = self._first.setdefault(label, (now, done))
        if now - self._said.setdefault(label, now) < self._between and done < total:
            return
        self._said[label] = now
        rate = (done - at_first) / max(now - began, 1e-9)
        speed = f", {rate:,.0f}/s, {clock((total - done) / rate)} left" if rate > 0.0 and done < total else ""
        self.say(f"{self._title} {label}: {done}/{total} steps{speed}{figures_text(figures, SHOWN)}")


class ManyBars(Many):
    """A bar for each run, on a terminal."""

    def __init__(self, title: str) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[told]}"),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=10.0)
        self._title = title
        self._tasks: dict[str, Any] = {}

    def __call__(self, label: str, done: int, total: int, figures: dict[str, Any]) -> None:
        """Move the bar of a run; the first news of it makes one."""
        if label not in self._tasks:
            self._tasks[label] = self.progress.add_task(f"{self._title} {label}", total=total, completed=done, told="")
        told = figures_text(figures, SHOWN).removeprefix(", ")
        self.progress.update(
            self._tasks[label], completed=done, told=told, visible=done < total or len(self._tasks) < 12
        )

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def many(title: str, how: str) -> Iterator[Many]:
    """Give something to report the progress of several runs to; ``how`` is ``quiet``, ``lines`` or ``verbose``."""
    if how == "quiet":
        yield Many()
    elif not sys.stderr.isatty():
        yield ManyLines(title, all_news=how == "verbose")
    else:
        bars = ManyBars(title)
        with bars.progress:
            yield bars
