"""Checks that settings classes share; each failure is one line that names the setting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable


def demand_number(name: str, value: Any, above: float, most: float = math.inf) -> None:
    """Raise ConfigError unless ``value`` is a finite number with ``above < value <= most``."""
    if not (_is_number(value) and above < value <= most and math.isfinite(value)):
        limit = f"above {above:g}" + (f" and at most {most:g}" if math.isfinite(most) else "")
        raise ConfigError(f"{name} is {value!r}; a number {limit}")


def demand_not_negative(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a finite number of at least 0."""
    if not (_is_number(value) and value >= 0 and math.isfinite(value)):
        raise ConfigError(f"{name} is {value!r}; a number, 0 or more")


def demand_whole(name: str, value: Any, least: int) -> None:
    """Raise ConfigError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; a whole number, {least} or more")


def demand_switch(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; true or false")


def demand_text(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is text, and some."""
    if not (isinstance(value, str) and value):
        raise ConfigError(f"{name} is {value!r}; text in quotes")


def demand_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``, with a suggestion."""
    known = tuple(choices)
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; {suggest(str(value), known)}")


def tuple_of(settings: Any, name: str) -> None:
    """Make a tuple of the list that TOML reads.

    Raises:
        ConfigError: it is no list.
    """
    value = getattr(settings, name)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name} is {value!r}; a list, in square brackets")
    object.__setattr__(settings, name, tuple(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
