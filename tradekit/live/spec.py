"""What a session is: its strategy, bars, money and models, read from TOML."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from tradekit.errors import ConfigError, demand_known
from tradekit.live.limits import Limits
from tradekit.live.patience import Patience
from tradekit.live.times import timeframe
from tradekit.market.costs import CostModel
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from pathlib import Path

Mode = Literal["local", "observe", "paper"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True)
class ExchangeSpec:
    """The local exchange of a session.

    Attributes:
        url: loopback address of one that runs already, whose bars then take the place of ``data``, ``symbols``,
            ``start``, ``end`` and ``actions``; empty opens one beside the session.
        costs: what trading costs there; None: what the session's own model says.
        key_id, secret_key: what it is opened with.
    """

    url: str = ""
    costs: CostModel | None = None
    key_id: str = "local"
    secret_key: str = field(default="local", repr=False)


@dataclass(frozen=True)
class SessionSpec:
    """One session.

    Attributes:
        name: names the journal and begins every order id; letters, digits, - and _.
        mode: ``local`` trades on an exchange on this machine, ``observe`` decides and sends nothing, ``paper`` is
            Alpaca's paper account.
        strategy: name or path of the strategy, for whoever loads it.
        data, symbols, start, end, benchmark, actions: as ``load_panel`` takes them.
        bars: the session's bars, the last ones of the data.
        history: bars before them that the strategy is fitted on and may look back at; more when its lookback is longer.
        cash: dollars.
        costs, execution: the market model of the shadow ledger.
        exchange: the local exchange.
        frequency: length of a bar in a paper session: 1D, 1h, 5m; everywhere else the data says it.
        limits: what halts the session.
        connection: how long it waits for answers.

    Raises:
        ConfigError: a value out of range.
    """

    name: str = "local"
    mode: Mode = "local"
    strategy: str = "symbol_ppo"
    data: str = "sample"
    symbols: tuple[str, ...] | None = None
    start: str | None = None
    end: str | None = None
    benchmark: str | None = None
    actions: str | None = None
    bars: int = 120
    history: int = 1000
    cash: float = 100_000.0
    costs: CostModel = field(default_factory=CostModel)
    execution: ExecutionModel = field(default_factory=ExecutionModel)
    exchange: ExchangeSpec = field(default_factory=ExchangeSpec)
    frequency: str = "1D"
    limits: Limits = field(default_factory=Limits)
    connection: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(str(self.name)):
            raise ConfigError(f"session name is {self.name!r}; use up to 40 letters, digits, - and _")
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mode is {self.mode!r}; choose {', '.join(get_args(Mode))}")
        for name, least in (("bars", 2), ("history", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}; a whole number, {least} or more")
        demand_positive("cash", self.cash)
        if self.mode == "paper":
            self._demand_paper()
        if self.execution.latency_bars:
            raise ConfigError(
                "latency_bars: a session sends its orders at once; set it to 0, and stress latency instead"
            )

    def _demand_paper(self) -> None:
        """Raise ConfigError unless everything is said that the data says elsewhere."""
        timeframe(self.frequency)
        if not self.symbols:
            raise ConfigError('mode = "paper" needs symbols = [...]: there is no data to take them from')
        if self.execution.fill_at == "close":
            raise ConfigError('fill_at = "close" cannot be had in a paper session; use "open" or "auto"')

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> SessionSpec:
        """Build from plain settings, as TOML gives them.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        settings = dict(settings)
        demand_known("session setting", settings, [item.name for item in fields(cls)])
        if "symbols" in settings:
            settings["symbols"] = _symbols(settings["symbols"])
        for name, build in (
            ("costs", CostModel.from_dict),
            ("execution", ExecutionModel.from_dict),
            ("exchange", _exchange),
            ("limits", Limits.from_dict),
            ("connection", Patience.from_dict),
        ):
            if name in settings:
                settings[name] = build(_table(name, settings[name]))
        for name in ("strategy", "data", "start", "end", "benchmark", "actions", "frequency"):
            if name in settings:
                settings[name] = str(settings[name])
        return cls(**settings)

    @classmethod
    def from_toml(cls, path: Path) -> SessionSpec:
        """Read a spec file.

        Raises:
            ConfigError: the file is missing, is not TOML, or a setting is wrong; the message names the file.
        """
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a session spec") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML ({error})") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def demand_positive(name: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a positive finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name} is {value!r}; positive dollars")


def _exchange(settings: dict[str, Any]) -> ExchangeSpec:
    demand_known("exchange setting", settings, [item.name for item in fields(ExchangeSpec)])
    if "costs" in settings:
        settings["costs"] = CostModel.from_dict(_table("exchange.costs", settings["costs"]))
    return ExchangeSpec(**settings)


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is {value!r}; write it as a table [{name}]")
    return dict(value)


def _symbols(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'symbols is {value!r}; write ["AAPL", "MSFT"]')
    return tuple(name.strip() for name in names)
