"""The gate's thresholds: backtests/gate.toml of a desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradekit.desk.toml import read_toml
from tradekit.errors import ConfigError
from tradekit.evidence.gates import Thresholds

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.desk.folder import Desk

GATE = "gate.toml"


def thresholds_of(desk: Desk) -> Thresholds:
    """Return the thresholds of a desk: those of backtests/gate.toml, defaults for what it leaves out.

    Raises:
        ConfigError: as in ``read_thresholds``.
    """
    path = desk.backtests / GATE
    return read_thresholds(path) if path.is_file() else Thresholds()


def read_thresholds(path: Path) -> Thresholds:
    """Read a file of thresholds.

    Raises:
        ConfigError: not TOML, an unknown key, or a value out of range; the message names file and key.
    """
    try:
        return Thresholds.from_dict(read_toml(path))
    except ConfigError as error:
        told = str(error)
        raise ConfigError(told if told.startswith(str(path)) else f"{path}: {told}") from error
