"""What a session is joined to: the broker, the bars and their clock, whoever stops it and whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradekit.live.broker import Broker, BrokerClock
    from tradekit.live.hours import Moment
    from tradekit.live.patience import Persistence
    from tradekit.live.stream import Hints
    from tradekit.live.switch import KillSwitch
    from tradekit.live.tape import Feed


class Ticker(Protocol):
    """What tells a session that a bar has closed: a replay, or the market's own hours.

    ``always_trades``: a bar in which no symbol traded is one that has not arrived.
    """

    always_trades: bool

    def moment(self) -> Moment:
        """Return the last bar that has closed."""

    def advance(self, to: int, between: Callable[[], None] = lambda: None) -> Moment:
        """Return bar ``to`` once it has closed; wait until then, and call ``between`` now and then."""

    def announce(self, to: int) -> str:
        """Return when bar ``to`` closes, in words."""

    def demand_near(self, done: int, journal: str) -> None:
        """Raise SessionError when the bars cannot go on after number ``done``."""

    def is_late(self, moment: Moment, seconds: float) -> bool:
        """Return whether a bar closed longer ago than ``seconds``, too long to act on it."""

    def demand_time(self, clock: BrokerClock, moment: Moment, seconds: float) -> None:
        """Raise Stopped when the broker's clock does not go with the close of the bar."""


@dataclass(frozen=True)
class Links:
    """What a session talks to. Without a broker it decides and sends nothing.

    Attributes:
        broker: patient.
        feed, ticker: bars, and when they close.
        persistence: repeats what went unanswered.
        switch: the kill switch of the desk.
        hints: trade updates while a bar is waited for; None where nothing happens between two bars.
    """

    broker: Broker | None
    feed: Feed
    ticker: Ticker
    persistence: Persistence
    switch: KillSwitch
    hints: Hints | None = None


@dataclass(frozen=True)
class Snapshot:
    """Where a session stands after a bar, for whoever watches it.

    Attributes:
        done, bars: bars behind it, and in all.
        bar: open of the newest.
        doing: what it does now.
        next_bar: when the bar it waits for closes, in words.
        equity, cash: of the shadow, dollars.
        broker_equity: of the account, None without a broker.
        positions: signed shares by symbol, shadow and broker; broker None without one.
        orders: sent so far.
        model_cost: dollars that the model says the session's trades cost.
        drawdown, lost_today: of the shadow, as fractions; negative lost_today is a loss.
    """

    done: int
    bars: int
    bar: str
    doing: str
    next_bar: str
    equity: float
    cash: float
    broker_equity: float | None
    positions: dict[str, tuple[float, float | None]]
    orders: int
    model_cost: float
    drawdown: float
    lost_today: float
