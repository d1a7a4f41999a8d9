"""Walk-forward windows: where a strategy learns, and where it is judged."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from tradekit.errors import ConfigError, demand_known

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

Carry = Literal["carry", "flatten"]
Refit = Literal["frozen", "each", "warm"]


class Window(NamedTuple):
    """Rows of the panel, stops exclusive. A decision is judged when its row lies in the test slice."""

    train_start: int
    train_stop: int
    test_start: int
    test_stop: int


@dataclass(frozen=True)
class Windowing:
    """How the bars are cut into train and test slices, counted in sessions.

    Test slices join up: no bar is judged twice, and none is left out.

    Attributes:
        train_sessions: sessions to learn from.
        test_sessions: sessions to be judged on.
        purge_sessions: sessions dropped at the end of the train slice, where labels reach into the future.
        embargo_sessions: further sessions dropped there, where serial correlation would leak; and after the bars that a
            frozen policy was trained on.
        anchored: every train slice starts at the first bar instead of rolling along.
        carry: ``carry`` positions from one test slice to the next, or ``flatten`` at the last decision of each.
        refit: what becomes of trained policies: ``frozen`` as they are, or trained by their recipe on the train slice
            of ``each`` window, or ``warm``, that is from the weights of the window before. Whatever else learns learns
            afresh in each.

    Raises:
        ConfigError: a value out of range.
    """

    train_sessions: int = 756
    test_sessions: int = 126
    purge_sessions: int = 0
    embargo_sessions: int = 0
    anchored: bool = False
    carry: Carry = "carry"
    refit: Refit = "frozen"

    def __post_init__(self) -> None:
        for name, least in (
            ("train_sessions", 1),
            ("test_sessions", 1),
            ("purge_sessions", 0),
            ("embargo_sessions", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}; a whole number of sessions, {least} or more")
        if self.purge_sessions + self.embargo_sessions >= self.train_sessions:
            raise ConfigError("purge_sessions + embargo_sessions leave nothing to train on; raise train_sessions")
        for name, choices in (("carry", Carry), ("refit", Refit)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(get_args(choices))}")
        if not isinstance(self.anchored, bool):
            raise ConfigError(f"anchored is {self.anchored!r}; write true or false")

    @classmethod
    def for_panel(cls, panel: Panel) -> Windowing:
        """Return 756 / 126 sessions for daily bars (three years, half a year), 30 / 10 for intraday bars."""
        return cls() if panel.is_daily else cls(train_sessions=30, test_sessions=10)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Windowing:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("window setting", settings, [item.name for item in fields(cls)])
        return cls(**settings)

    def cut(self, panel: Panel) -> list[Window]:
        """Return the windows that fit ``panel``; the last test slice may be shorter.

        Raises:
            ConfigError: not even one window fits.
        """
        first_row = np.concatenate([np.flatnonzero(np.diff(panel.sessions, prepend=-1)), [len(panel)]])
        sessions = len(first_row) - 1
        if sessions < self.train_sessions + 1:
            raise ConfigError(
                f"{panel.source}: {sessions} sessions cannot hold {self.train_sessions} to train on and one to test; "
                "give more data (--start, --end) or lower train_sessions"
            )
        windows = []
        for begin in range(self.train_sessions, sessions, self.test_sessions):
            end = min(begin + self.test_sessions, sessions)
            window = Window(
                train_start=0 if self.anchored else int(first_row[begin - self.train_sessions]),
                train_stop=int(first_row[begin - self.purge_sessions - self.embargo_sessions]),
                test_start=int(first_row[begin]),
                test_stop=int(first_row[end]),
            )
            windows.append(window)
        if windows[-1].test_stop - windows[0].test_start < 2:
            raise ConfigError(f"{panel.source}: one bar is left to test on; give more data")
        return windows
