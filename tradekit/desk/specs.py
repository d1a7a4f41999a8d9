"""The specs in backtests/: typed, frozen, and strict about every key."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.desk.toml import read_toml, reject_unknown
from tradekit.engine.combinatorial import Combinatorial
from tradekit.engine.scenarios import Scenario
from tradekit.engine.simulate import DEFAULT_CASH
from tradekit.engine.windows import Windowing
from tradekit.errors import ConfigError, suggest
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel
from tradekit.market.side_series import SideSeries, side_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")


@dataclass(frozen=True)
class DataSpec:
    """Which bars to read, and what beside them: the arguments of ``load_panel``."""

    source: str
    symbols: tuple[str, ...] | None = None
    start: str | None = None
    end: str | None = None
    benchmark: str | None = None
    actions: str | None = None
    side: tuple[SideSeries, ...] = ()


@dataclass(frozen=True)
class BacktestSpec:
    """What a backtest needs to be repeated.

    Attributes:
        data: which bars.
        strategies: names or paths; None: every strategy of the desk.
        windows: None: what suits the frequency of the bars.
        costs, execution: the market model.
        cash: dollars at the start.
        cross_validation: how a combinatorial purged cross-validation cuts the bars; None: this is none.
    """

    data: DataSpec
    strategies: tuple[str, ...] | None = None
    windows: Windowing | None = None
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    cash: float = DEFAULT_CASH
    cross_validation: Combinatorial | None = None


@dataclass(frozen=True)
class StressSpec(BacktestSpec):
    """A backtest and what may go wrong with it; None: the shipped scenarios."""

    scenarios: tuple[Scenario, ...] | None = None


def read_backtest(path: Path) -> BacktestSpec:
    """Read a spec of a walk-forward, or of a cross-validation.

    Raises:
        ConfigError: not TOML, an unknown key, or a value out of range; the message names file, table and key.
    """
    settings = read_toml(path)
    reject_unknown(settings, _names(BacktestSpec), str(path))
    if "windows" in settings and "cross_validation" in settings:
        raise ConfigError(f"{path}: [windows] and [cross_validation] are two ways to cut the bars; keep one of them")
    return BacktestSpec(**_common(settings, path))


def read_stress(path: Path) -> StressSpec:
    """Read a stress spec: a walk-forward spec with ``[[scenarios]]``.

    Raises:
        ConfigError: as in ``read_backtest``; also two scenarios of one name.
    """
    settings = read_toml(path)
    reject_unknown(settings, _names(StressSpec) - {"cross_validation"}, str(path))
    rows = settings.get("scenarios")
    if rows is not None and not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise ConfigError(f"{path}: scenarios is not a list of tables; write each under [[scenarios]]")
    scenarios = [_at(path, f"[[scenarios]] {k}", _scenario, row) for k, row in enumerate(rows or (), 1)]
    names = [scenario.name for scenario in scenarios]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two scenarios are called {name!r}; give each a name of its own")
    return StressSpec(**_common(settings, path), scenarios=tuple(scenarios) or None)


def read_costs(path: Path) -> CostModel:
    """Read a cost model from a file that holds its fields, or holds them in a table ``[costs]``.

    Raises:
        ConfigError: as in ``read_backtest``.
    """
    settings = read_toml(path)
    where, fields_ = ("[costs]", _table(settings, "costs", path)) if "costs" in settings else ("", settings)
    return _at(path, where, CostModel.from_dict, fields_)


def _common(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the fields that every spec has."""
    common: dict[str, Any] = {"data": _at(path, "[data]", _data, _table(settings, "data", path))}
    for name, build in (
        ("windows", Windowing.from_dict),
        ("costs", CostModel.from_dict),
        ("execution", ExecutionModel.from_dict),
        ("cross_validation", Combinatorial.from_dict),
    ):
        if name in settings:
            common[name] = _at(path, f"[{name}]", build, _table(settings, name, path))
    if "strategies" in settings:
        common["strategies"] = _at(path, "", lambda value: _texts(value, "strategies"), settings["strategies"])
    if "cash" in settings:
        common["cash"] = _at(path, "", _dollars, settings["cash"])
    return common


def _data(settings: dict[str, Any]) -> DataSpec:
    for key in settings:
        if key not in _names(DataSpec):
            raise ConfigError(f"unknown key {key!r}; {suggest(key, _names(DataSpec))}")
    if "source" not in settings:
        raise ConfigError('source is missing; write source = "sample" or a path')
    values = dict(settings)
    if "symbols" in values:
        values["symbols"] = _texts(values["symbols"], "symbols")
    if "side" in values:
        values["side"] = side_of(values["side"])
    for name, value in values.items():
        if name not in ("symbols", "side") and not (isinstance(value, str) and value):
            raise ConfigError(f"{name} is {value!r}; write it as text in quotes")
    _demand_dates(values)
    return DataSpec(**values)


def _scenario(settings: dict[str, Any]) -> Scenario:
    scenario = Scenario.from_dict(settings)
    _demand_dates(settings)
    return scenario


def _demand_dates(settings: dict[str, Any]) -> None:
    for name in ("start", "end"):
        try:
            np.datetime64(settings.get(name, "2012-01-03"), "D")
        except ValueError as error:
            raise ConfigError(f"{name} is {settings[name]!r}; write a date as 2012-01-03") from error


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not (isinstance(value, list) and value and all(isinstance(item, str) and item for item in value)):
        raise ConfigError(f'{name} is {value!r}; write a list of names, as ["A", "B"]')
    demand_once(value, name)
    return tuple(value)


def demand_once(names: Sequence[str], what: str) -> None:
    """Raise ConfigError when a name stands twice in a list."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{what} has {name!r} twice; name each once")


def _dollars(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value < float("inf"):
        raise ConfigError(f"cash is {value!r}; write dollars above 0")
    return float(value)


def _table(settings: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = settings.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} is not a table; write [{name}] on a line of its own")
    return table


def _at(path: Path, where: str, build: Callable[[Any], T], value: Any) -> T:
    """Build from ``value`` and say in every error which file and table it came from."""
    try:
        return build(value)
    except ConfigError as error:
        raise ConfigError(": ".join(part for part in (str(path), where, str(error)) if part)) from error
    except TypeError as error:  # a model that compares a setting with one of another type
        raise ConfigError(f"{path}: {where} holds a value of the wrong type ({error}); correct it") from error


def _names(spec: type) -> set[str]:
    return {item.name for item in fields(spec)}
