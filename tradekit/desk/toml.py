"""Read TOML settings with errors that name the file, the line and the key."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import TYPE_CHECKING, Any

from tradekit.errors import ConfigError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings in ``path``; dates become strings, YYYY-MM-DD.

    Raises:
        ConfigError: the file is missing, unreadable or not TOML.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file (byte {error.start}); save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; correct that line") from error
    plain: dict[str, Any] = _plain(settings)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, dt.date) else value


def reject_unknown(settings: dict[str, Any], known: Iterable[str], where: str, what: str = "key") -> None:
    """Raise ConfigError for the first key of ``settings`` that is not ``known``, with a suggestion."""
    names = set(known)
    for key in settings:
        if key not in names:
            raise ConfigError(f"{where}: unknown {what} {key!r}; {suggest(key, names)}")
