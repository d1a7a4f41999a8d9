"""What moves market time on: nothing but requests, a speed, or the client's own quiet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.errors import ConfigError

if TYPE_CHECKING:
    from tradekit.live.exchange.exchange import Exchange

TICK_SECONDS = 0.02
QUIET_SECONDS = 0.05


@dataclass(frozen=True)
class Pace:
    """How market time passes.

    Attributes:
        speed: times as fast as the real thing; closed hours take no time. None: time does not run by itself.
        auto: on to the next bar as soon as the newest has been read and nothing was asked for ``quiet_seconds``.
        quiet_seconds: see there.

    Raises:
        ConfigError: both at once, or a value out of range.
    """

    speed: float | None = None
    auto: bool = False
    quiet_seconds: float = QUIET_SECONDS

    def __post_init__(self) -> None:
        if self.speed is not None and self.auto:
            raise ConfigError("speed and auto exclude each other; choose one")
        if self.speed is not None and not 0.0 < self.speed < 1e9:
            raise ConfigError(f"speed is {self.speed}; times real time, above 0")
        if not 0.0 < self.quiet_seconds < 3600.0:
            raise ConfigError(f"quiet_seconds is {self.quiet_seconds}; seconds, above 0")

    async def run(self, exchange: Exchange, activity: Activity) -> None:
        """Move ``exchange`` on until its bars end."""
        if self.speed is not None:
            await _at_speed(exchange, self.speed)
        elif self.auto:
            await _when_quiet(exchange, activity, self.quiet_seconds)


@dataclass
class Activity:
    """What clients are doing, in seconds of the loop's clock: requests under way, the last one, the last bar read."""

    under_way: int = 0
    last: float = 0.0
    bar_read: int = -1


async def _at_speed(exchange: Exchange, speed: float) -> None:
    venue, loop = exchange.venue, asyncio.get_running_loop()
    due = loop.time()
    while venue.bar + 1 < len(venue.panel):
        bar, begins = venue.bar + 1, max(venue.opens_at(venue.bar + 1), venue.now)
        ends = venue.panel.close_time[bar]
        began, due = due, due + max(float((ends - begins) / np.timedelta64(1, "ns")) * 1e-9, 0.0) / speed
        while (left := due - loop.time()) > 0.0 and venue.bar + 1 == bar:
            passed = max(loop.time() - began, 0.0) * speed
            venue.moment = begins + np.timedelta64(int(passed * 1e9), "ns")
            await asyncio.sleep(min(left, TICK_SECONDS))
        if venue.bar + 1 == bar:  # somebody may have stepped it meanwhile
            exchange.advance()
        await asyncio.sleep(0)


async def _when_quiet(exchange: Exchange, activity: Activity, quiet_seconds: float) -> None:
    venue, loop = exchange.venue, asyncio.get_running_loop()
    moved = loop.time()
    while venue.bar + 1 < len(venue.panel):
        read = exchange.hub.subscribed or activity.bar_read >= venue.bar
        since = loop.time() - max(moved, activity.last)
        if read and not activity.under_way and since >= quiet_seconds:
            exchange.advance()
            moved = loop.time()
        await asyncio.sleep(min(quiet_seconds / 4, TICK_SECONDS))
