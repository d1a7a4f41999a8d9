"""What a user sees while a policy trains: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from collections.abc import Iterator

# Columns of the metrics that are shown, and what they are called there.
SHOWN = {"entropy": "entropy", "executed_entropy": "executed", "validation_sharpe": "validation Sharpe"}
IN_FULL = {
    **SHOWN,
    "reward_mean": "reward",
    "explained_variance": "explained",
    "kl": "KL",
    "clip_fraction": "clipped",
    "gradient_norm": "gradient",
    "entropy_coefficient": "bonus",
    "executed_trade_rate": "trades",
}


class Silent:
    """Shows nothing but what is said."""

    def __call__(self, done: int, total: int, figures: dict[str, Any]) -> None:
        """Take note that ``done`` of ``total`` steps are over."""

    def say(self, line: str) -> None:
        """Print a line, now."""
        click.echo(line, err=True)


class Lines(Silent):
    """A line every few seconds, or for every update."""

    def __init__(self, title: str, *, every_update: bool) -> None:
        self._title, self._every_update = title, every_update
        self._began = self._said = time.monotonic()
        self._first: int | None = None
        self._update = 0

    def __call__(self, done: int, total: int, figures: dict[str, Any]) -> None:
        """Print a line when it is time for one."""
        self._first = done if self._first is None else self._first
        now, update = time.monotonic(), int(figures.get("step", 0))
        due = update > self._update if self._every_update else now - self._said >= SECONDS_BETWEEN_LINES
        if not due:
            return
        self._said, self._update = now, update
        rate = (done - self._first) / max(now - self._began, 1e-9)
        speed = f", {rate:,.0f}/s, {clock((total - done) / rate)} left" if rate > 0.0 else ""
        told = figures_text(figures, IN_FULL if self._every_update else SHOWN)
        self.say(f"{self._title}: {update if self._every_update else done}/{total} steps{speed}{told}")


class Bar(Silent):
    """A bar on a terminal."""

    def __init__(self, title: str, *, every_update: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[told]}"),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=10.0)
        self._task = self.progress.add_task(title, total=None, rate="", told="")
        self._every_update, self._title, self._update = every_update, title, 0

    def __call__(self, done: int, total: int, figures: dict[str, Any]) -> None:
        """Move the bar."""
        task = self.progress.tasks[0]
        if task.total is None:  # what a run that is gone on with has behind it is no speed of this one
            self.progress.reset(self._task, total=total, completed=done)
        speed = task.speed
        self.progress.update(
            self._task,
            completed=done,
            total=total,
            rate=f"{speed:,.0f}/s" if speed else "",
            told=figures_text(figures, SHOWN).removeprefix(", "),
        )
        update = int(figures.get("step", 0))
        if self._every_update and update > self._update:
            self._update = update
            self.say(f"{update:>9,}{figures_text(figures, IN_FULL)}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def view(title: str, how: str) -> Iterator[Silent]:
    """Give something to report progress to; ``how`` is ``quiet``, ``lines`` or ``verbose``."""
    if how == "quiet":
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines(title, every_update=how == "verbose")
    else:
        bar = Bar(title, every_update=how == "verbose")
        with bar.progress:
            yield bar


def figures_text(figures: dict[str, Any], shown: dict[str, str]) -> str:
    """Return the figures that are known as words, each after a comma.

    >>> figures_text({"entropy": 0.5, "kl": 0.001}, SHOWN)
    ', entropy 0.5'
    """
    known = [(label, figures[key]) for key, label in shown.items() if key in figures and isfinite(figures[key])]
    return "".join(f", {label} {value:.3g}" for label, value in known)


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, hours before them when there are any.

    >>> clock(75.2), clock(3723.0)
    ('1:15', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
