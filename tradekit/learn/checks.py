"""Checks that settings classes share; each failure is one line that names the setting."""

from __future__ import annotations

import math
from typing import Any

from tradekit.errors import ConfigError, suggest


def demand_number(name: str, value: Any, above: float, most: float = math.inf) -> None:
    """Raise ConfigError unless ``value`` is a finite number with ``above < value <= most``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and above < value <= most and math.isfinite(value)):
        limit = f"above {above:g}" + (f" and at most {most:g}" if math.isfinite(most) else "")
        raise ConfigError(f"{name} is {value!r}; a number {limit}")


def demand_not_negative(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a finite number of at least 0."""
    if isinstance(value, bool) or value != 0:
        demand_number(name, value, 0.0)


def demand_whole(name: str, value: Any, least: int) -> None:
    """Raise ConfigError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; a whole number, {least} or more")


def demand_known(what: str, settings: dict[str, Any], known: set[str]) -> None:
    """Raise ConfigError for the first key of ``settings`` that is not ``known``, with a suggestion."""
    for key in settings:
        if key not in known:
            raise ConfigError(f"unknown {what} {key!r}; {suggest(key, known)}")
