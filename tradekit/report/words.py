"""Numbers as a person reads them. Undefined ones, NaN or None, are a dash."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DASH = "-"
MUCH, MUCH_MONEY = 1e4, 1e11
"""A fraction and dollars from which the digits are more than a reader can count: what perfect foresight earns."""


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return ``value`` with ``digits`` decimals and thousands apart.

    >>> number(1234.5), number(-0.001), number(0.5, sign=True), number(None)
    ('1,234.50', '0.00', '+0.50', '-')
    """
    if value is None or not math.isfinite(value):
        return DASH
    rounded = round(value, digits) + 0.0  # -0.0 becomes 0.0
    return f"{rounded:{'+' if sign and rounded else ''},.{digits}f}"


def percent(value: float | None, digits: int = 1, *, sign: bool = False) -> str:
    """Return a fraction as a percentage.

    From a million per cent on it is told in powers of ten.

    >>> percent(0.1234), percent(-0.5, sign=True), percent(float("nan"))
    ('12.3 %', '-50.0 %', '-')
    >>> percent(101_101_018_200.0, sign=True)
    '+1.0e+13 %'
    """
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= MUCH:
        return f"{100.0 * value:{'+' if sign else ''}.1e} %"
    return f"{number(100.0 * value, digits, sign=sign)} %"


def dollars(value: float | None) -> str:
    """Return whole dollars; from a hundred thousand million on in powers of ten.

    >>> dollars(-1234.4), dollars(2.5e13)
    ('-$1,234', '$2.5e+13')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) >= MUCH_MONEY:
        return f"{'-' if value < 0 else ''}${abs(value):.1e}"
    whole = round(value)
    return f"{'-' if whole < 0 else ''}${abs(whole):,}"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Return bounds in brackets.

    >>> interval(-0.1, 0.25), interval(None, None)
    ('[-0.10, 0.25]', '-')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    return f"[{number(low, digits)}, {number(high, digits)}]"


def trials_text(trials: dict[str, int]) -> str:
    """Return how many trials a run is judged against.

    >>> trials_text({"count": 1, "clusters": 1}), trials_text({"count": 1200, "clusters": 3})
    ('one trial', '1,200 trials in 3 groups')
    """
    count, groups = trials["count"], trials["clusters"]
    if count == 1:
        return "one trial"
    return f"{count:,} trials in {'1 group' if groups == 1 else f'{groups:,} groups'}"


def picked_text(pbo: dict[str, int]) -> str:
    """Return how many strategies could have been picked.

    >>> picked_text({"configurations": 7, "earlier": 0}), picked_text({"configurations": 7, "earlier": 2})
    ('7 strategies', '7 strategies (2 of earlier runs)')
    """
    earlier = f" ({pbo['earlier']} of earlier runs)" if pbo["earlier"] else ""
    return f"{pbo['configurations']} strategies{earlier}"


def stamp(moment: np.datetime64, frequency: str) -> str:
    """Return the date of a daily bar, the minute in UTC of another.

    >>> import numpy as np
    >>> stamp(np.datetime64("2020-02-19"), "1D"), stamp(np.datetime64("2024-01-02T14:30"), "1h")
    ('2020-02-19', '2024-01-02T14:30Z')
    """
    return str(moment.astype("M8[D]")) if frequency.endswith("D") else f"{moment.astype('M8[m]')}Z"
