"""Every error a user can meet, and the exit status it ends a command with.

::

    TradekitError                2  base; the message is one line: what happened, where, what to do
    |-- DataError                2  a file, panel or column cannot be used
    |-- ConfigError              2  a recipe, spec, cost or execution setting is wrong
    |-- StrategyError            2  a strategy file is broken or answers nonsense
    |-- BundleError              2  a trained policy is missing, tampered with or does not fit the data
    |-- DeskError                2  no desk here, or a folder cannot be written
    |-- BrokerError              2  the broker refused or cannot be reached
    |-- SessionError             2  a paper session cannot start or had to halt
    |-- Interrupted            130  the user stopped a run that can be gone on with
    `-- CausalityError           1  a strategy used the future: a verdict, not an accident
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class TradekitError(Exception):
    """Base of every error that a user can cause and mend."""

    exit_status = 2


class DataError(TradekitError):
    """A file, panel or column cannot be used as it is."""


class ConfigError(TradekitError):
    """A setting has an unknown name, a wrong type or a value out of range."""


class StrategyError(TradekitError):
    """A strategy file cannot be loaded, raises, or answers something that is not a target."""


class BundleError(TradekitError):
    """A trained policy is missing, was changed after training, or does not fit the data."""


class DeskError(TradekitError):
    """The working folder is not a desk, or a folder in it cannot be read or written."""


class BrokerError(TradekitError):
    """The broker refused a request or could not be reached."""


class SessionError(TradekitError):
    """A paper session cannot start, or halted itself."""


class Interrupted(TradekitError):
    """The user stopped a run, and what it did so far is kept."""

    exit_status = 130


class CausalityError(TradekitError):
    """A strategy's past decisions changed when only the future did."""

    exit_status = 1


def demand_known(what: str, settings: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError for the first of ``settings`` that is not known.

    >>> demand_known("limit", {"oder": 1.0}, ["order", "gross"])
    Traceback (most recent call last):
    tradekit.errors.ConfigError: unknown limit 'oder'; did you mean order?
    """
    names = set(known)
    for key in settings:
        if key not in names:
            raise ConfigError(f"unknown {what} {key!r}; {suggest(key, names)}")


def suggest(word: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant.

    >>> suggest("comission_bps", ["commission_bps", "spread_bps"])
    'did you mean commission_bps?'
    >>> suggest("zzz", ["open", "close"])
    'known: close, open'
    """
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
