"""What a person sees of a running session: a page that redraws itself on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from tradekit.live.links import Snapshot
    from tradekit.live.spec import SessionSpec

MOST_POSITIONS, MOST_EVENTS = 20, 6


@contextmanager
def watching(spec: SessionSpec) -> Iterator[Callable[[Snapshot], None]]:
    """Give something to tell where a session stands."""
    if not sys.stderr.isatty():
        yield Lines(spec)
        return
    from rich.console import Console
    from rich.live import Live

    page = Page(spec)
    with Live(get_renderable=page.draw, console=Console(stderr=True), refresh_per_second=4, transient=True):
        yield page


class Lines:
    """One line for the first and the last bar, and now and then one between."""

    def __init__(self, spec: SessionSpec) -> None:
        self._name, self._said, self._done = spec.name, -SECONDS_BETWEEN_LINES, -1

    def __call__(self, stands: Snapshot) -> None:
        """Say where the session stands, unless that was said a moment ago."""
        now = time.monotonic()
        due = now - self._said >= SECONDS_BETWEEN_LINES or stands.done == stands.bars
        if due and stands.done > self._done:
            self._said, self._done = now, stands.done
            click.echo(line(self._name, stands), err=True)


def line(name: str, stands: Snapshot) -> str:
    """Return where a session stands in one line."""
    account = "" if stands.broker_equity is None else f", account {stands.broker_equity:,.2f}"
    newest = f" {stands.bar}" if stands.bar else ""
    return (
        f"paper {name}: {stands.done}/{stands.bars} bars{newest}, equity {stands.equity:,.2f}{account}, "
        f"{stands.orders} orders, cost {stands.model_cost:,.2f}; {stands.doing}"
    )


class Page:
    """The whole session at a glance, drawn anew several times a second."""

    def __init__(self, spec: SessionSpec) -> None:
        self._spec = spec
        self._last: deque[str] = deque(maxlen=MOST_EVENTS)
        self._stands: Snapshot | None = None

    def __call__(self, stands: Snapshot) -> None:
        """Note where the session stands."""
        before = self._stands
        if before is not None and stands.done > before.done:
            sent = stands.orders - before.orders
            self._last.append(f"{stands.bar}  equity {stands.equity:,.2f}  {sent} orders")
        self._stands = stands

    def draw(self) -> RenderableType:
        """Return the page."""
        from rich.console import Group

        if self._stands is None:
            return f"{self._spec.name}: starting"
        return Group(*page(self._spec, self._stands, list(self._last)))


def page(spec: SessionSpec, stands: Snapshot, events: list[str]) -> list[RenderableType]:
    """Return clock, money, limits, positions and the last events of a session."""
    from rich.table import Table

    facts = Table.grid(padding=(0, 2))
    limits = spec.limits
    gained = stands.equity / spec.cash - 1.0
    today = f"today {stands.lost_today:+.1%} of -{limits.daily_loss:.0%}"
    for name, value in (
        ("session", f"{spec.name}, mode {spec.mode}: {spec.strategy}"),
        ("bar", f"{stands.done} of {stands.bars}, {stands.bar or 'none yet'}; {stands.doing}"),
        ("next", stands.next_bar),
        ("shadow", f"equity {stands.equity:,.2f} ({gained:+.2%}), cash {stands.cash:,.2f}"),
        ("account", "nothing is sent" if stands.broker_equity is None else f"equity {stands.broker_equity:,.2f}"),
        ("cost so far", f"{stands.model_cost:,.2f} by the model, {stands.orders} orders"),
        ("limits", f"drawdown {stands.drawdown:.1%} of {limits.drawdown:.0%}, {today}"),
    ):
        facts.add_row(f"[bold]{name}[/]", value)
    held = Table("symbol", "shadow", "account", box=None, header_style="bold")
    for symbol, (ours, theirs) in list(stands.positions.items())[:MOST_POSITIONS]:
        mark = "" if theirs is None or abs(ours - theirs) < 1e-9 else " *"
        held.add_row(symbol, f"{ours:,.4f}", "" if theirs is None else f"{theirs:,.4f}{mark}")
    more = len(stands.positions) - MOST_POSITIONS
    return [facts, held, *([f"... and {more} more"] if more > 0 else []), *events]


def status_lines(stands: dict[str, Any]) -> list[str]:
    """Return where a session stands, from its journal, in words."""
    equity = stands["equity"]
    money = "no bar yet" if equity is None else f"equity {equity:,.2f}"
    doubt = f", {stands['in_doubt']} in doubt" if stands["in_doubt"] else ""
    switch = stands["kill_switch"]
    return [
        f"{stands['session']}, mode {stands['mode']}: {stands['strategy']}, {stands['state']}",
        f"{stands['bars_done']} of {stands['bars']} bars, the last {stands['last'] or 'none'}; {money}",
        f"{stands['orders']} orders, {stands['fills']} fills, {stands['open_orders']} open{doubt}",
        *([f"halted: {stands['halted']}"] if stands["halted"] else []),
        *([f"the kill switch is on since {switch['at']}; tradekit paper kill --clear takes it off"] if switch else []),
    ]
