"""Which series are put beside the bars: entries of ``side`` in specs and recipes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from tradekit.errors import ConfigError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class SideSeries:
    """One series to put beside the bars: a column of a parquet or csv file with dates.

    Attributes:
        name: what it is called in the panel; as a feature it is ``side:NAME``.
        file: where it stands. A file with a column of symbols gives each symbol its own values, any other all the same.
        column: of the values.
        lag_sessions: sessions from the date of a value to the first bar that may use it.
        max_age_sessions: sessions from the date of a value to the last bar that may use it; None: for ever.

    Raises:
        ConfigError: a value of another type, or out of range.
    """

    name: str
    file: str
    column: str
    lag_sessions: int = 1
    max_age_sessions: int | None = None

    def __post_init__(self) -> None:
        for name in ("name", "file", "column"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value):
                raise ConfigError(f"side: {name} is {value!r}; write it as text in quotes")
        _demand_sessions("lag_sessions", self.lag_sessions, 1)
        if self.max_age_sessions is not None:
            _demand_sessions("max_age_sessions", self.max_age_sessions, self.lag_sessions)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown or missing key, or a bad value.
        """
        known = [item.name for item in fields(cls)]
        for key in settings:
            if key not in known:
                raise ConfigError(f"side: unknown key {key!r}; {suggest(key, known)}")
        missing = [name for name in known[:3] if name not in settings]
        if missing:
            raise ConfigError(
                f"side: {', '.join(missing)} is missing; write "
                '[{name = "vix", file = "vix.parquet", column = "close", lag_sessions = 1}]'
            )
        return cls(**settings)


def side_of(entries: Any) -> tuple[SideSeries, ...]:
    """Return the entries of a list ``side`` in a settings file.

    Raises:
        ConfigError: not a list of tables, two of one name, or as ``SideSeries``.
    """
    if not isinstance(entries, list | tuple):
        raise ConfigError(f'side is {entries!r}; write a list, [{{name = "vix", file = "...", column = "close"}}]')
    made: list[SideSeries] = []
    for entry in entries:
        if not isinstance(entry, SideSeries | dict):
            raise ConfigError(f'side: {entry!r} is not a table; write {{name = "vix", file = "...", column = "close"}}')
        made.append(SideSeries.from_dict(entry) if isinstance(entry, dict) else entry)
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"side: two series are called {name}; give each a name of its own")
    return tuple(made)


def _demand_sessions(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        why = "; a value is never used on its own day" if least == 1 else ""
        raise ConfigError(f"side: {name} is {value!r}; a whole number, {least} or more{why}")
