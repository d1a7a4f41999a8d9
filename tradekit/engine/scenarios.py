"""Scenarios: ways in which the world turns out worse than a backtest assumed, as plain settings."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tradekit.errors import ConfigError, demand_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel

Kind = Literal[
    "base",
    "costs",
    "latency",
    "participation",
    "spread",
    "replay",
    "gap",
    "crash",
    "volatility",
    "correlation",
    "missing",
    "stale",
    "bootstrap",
    "garch",
]


class Keys(NamedTuple):
    """What a kind of scenario may be told beside name and description, and which of it must be."""

    may: tuple[str, ...] = ()
    must: tuple[str, ...] = ()


KINDS: Mapping[str, Keys] = MappingProxyType(
    {
        "base": Keys(),
        "costs": Keys(("slippage_shock", "cost_shock")),
        "latency": Keys(("latency_bars",)),
        "participation": Keys(("max_participation",), ("max_participation",)),
        "spread": Keys(("spread_multiple", "share"), ("spread_multiple", "share")),
        "replay": Keys(("start", "end"), ("start", "end")),
        "gap": Keys(("size", "draws", "seed"), ("size",)),
        "crash": Keys(("size", "recovery_bars", "draws", "seed"), ("size",)),
        "volatility": Keys(("factor",), ("factor",)),
        "correlation": Keys(),
        "missing": Keys(("share", "draws", "seed"), ("share",)),
        "stale": Keys(("share", "draws", "seed"), ("share",)),
        "bootstrap": Keys(("block_sessions", "bars", "draws", "seed")),
        "garch": Keys(("bars", "draws", "seed")),
    }
)
"""Every kind of scenario and its keys."""

CHANGES_BARS = frozenset({"gap", "crash", "volatility", "correlation", "missing", "stale", "bootstrap", "garch"})
"""Kinds in which strategies see other bars than in the backtest."""


@dataclass(frozen=True)
class Scenario:
    """One way in which the world is worse than the backtest assumed.

    Attributes:
        name: unique.
        kind: one of ``KINDS``, which lists the settings that belong to each.
        description: for the report.
        slippage_shock: factor on slippage, spread and impact.
        cost_shock: factor on every cost term.
        latency_bars: bars added to the execution model's.
        max_participation: the most of a bar's volume that may fill, in (0, 1].
        spread_multiple: factor on the spread in the bars that ``share`` says.
        share: of the bars, in (0, 1): the most volatile ones (``spread``), or a draw for each symbol.
        start, end: dates of a replay, inclusive; the strategy is fitted on the train slice just before.
        size: simple return of a gap or a crash, above -1 and not 0.
        recovery_bars: bars in which a crash is made good again.
        factor: on the deviation of log returns from their mean.
        block_sessions: mean length of the blocks of a bootstrap.
        bars: the most bars of a drawn path.
        draws: worlds drawn; a cell shows the one with the median final equity and the range of all.
        seed: of the draws.

    Raises:
        ConfigError: a value out of range, a key that does not belong to the kind, or one that it lacks.
    """

    name: str
    kind: Kind
    description: str = ""
    slippage_shock: float = 1.0
    cost_shock: float = 1.0
    latency_bars: int = 0
    max_participation: float | None = None
    spread_multiple: float = 1.0
    share: float | None = None
    start: str | None = None
    end: str | None = None
    size: float | None = None
    recovery_bars: int = 5
    factor: float = 1.0
    block_sessions: int = 20
    bars: int = 504
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in list(KINDS):
            raise ConfigError(f"scenario {self.name!r}: kind is {self.kind!r}; choose {', '.join(KINDS)}")
        texts: tuple[Any, Any] = (self.name, self.description)
        if not all(isinstance(text, str) for text in texts) or not self.name:
            raise ConfigError(f"scenario {self.name!r}: name and description are text; write them in quotes")
        keys = KINDS[self.kind]
        missing = [
            item.name for item in fields(self) if item.name in keys.must and getattr(self, item.name) == item.default
        ]
        if missing:
            raise ConfigError(f"scenario {self.name!r}: kind {self.kind!r} needs {' and '.join(missing)}")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("name", "kind", "description"):
                continue
            if item.name in keys.may:
                self._check(item.name, value, item.default)
            elif value != item.default:
                raise ConfigError(f"scenario {self.name!r}: {item.name} does not belong to kind {self.kind!r}")

    def _check(self, name: str, value: Any, default: Any) -> None:
        if name in ("start", "end"):
            return
        rule, fits = RULES[name]
        whole = isinstance(default, int)
        right = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, right) or not np.isfinite(value) or not fits(value):
            raise ConfigError(f"scenario {self.name!r}: {name} is {value!r}; {rule}")

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Scenario:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown or missing key, or a bad value.
        """
        kind = settings.get("kind")
        keys = KINDS[kind].may if isinstance(kind, str) and kind in KINDS else [item.name for item in fields(cls)]
        demand_known("scenario setting", settings, ("name", "kind", "description", *keys))
        for key in ("name", "kind"):
            if key not in settings:
                raise ConfigError(f"a scenario lacks {key!r}: {settings}")
        return cls(**settings)

    def costs(self, model: CostModel) -> CostModel:
        """Return ``model`` as this scenario has it."""
        return model.shocked(self.slippage_shock).scaled(self.cost_shock)

    def execution(self, model: ExecutionModel) -> ExecutionModel:
        """Return ``model`` as this scenario has it; a participation limit only ever gets tighter."""
        limits = [limit for limit in (model.max_participation, self.max_participation) if limit is not None]
        return replace(
            model,
            latency_bars=model.latency_bars + self.latency_bars,
            max_participation=min(limits, default=None),
        )


def _least(value: float) -> tuple[str, Callable[[float], bool]]:
    return f"{value:g} or more", lambda given: given >= value


def _fraction(given: float) -> bool:
    return 0.0 < given < 1.0


RULES: Mapping[str, tuple[str, Callable[[float], bool]]] = MappingProxyType(
    {
        "slippage_shock": _least(0),
        "cost_shock": _least(0),
        "latency_bars": ("a whole number of bars, 0 or more", lambda given: given >= 0),
        "max_participation": ("a fraction of volume in (0, 1]", lambda given: 0.0 < given <= 1.0),
        "spread_multiple": _least(0),
        "share": ("a fraction in (0, 1)", _fraction),
        "size": ("a return above -1, and not 0", lambda given: given > -1.0 and given != 0.0),
        "recovery_bars": ("a whole number of bars, 1 or more", lambda given: given >= 1),
        "factor": _least(0),
        "block_sessions": ("a whole number of sessions, 1 or more", lambda given: given >= 1),
        "bars": ("a whole number of bars, 2 or more", lambda given: given >= 2),
        "draws": ("a whole number, 1 or more", lambda given: given >= 1),
        "seed": ("a whole number, 0 or more", lambda given: given >= 0),
    }
)


def slippage_scenario(factor: float) -> Scenario:
    """Return the scenario of ``--slippage-shock``."""
    return Scenario(f"slippage x{factor:g}", "costs", "slippage, spread and impact multiplied", slippage_shock=factor)


def default_scenarios(slippage_shock: float | None = None) -> tuple[Scenario, ...]:
    """Return the shipped scenarios, with a slippage shock of its own when one is asked for."""
    shocks = [slippage_scenario(slippage_shock)] if slippage_shock is not None else []
    return (SHIPPED[0], *shocks, *SHIPPED[1:])


SHIPPED = (
    Scenario("base", "base", "as backtested"),
    *(Scenario(f"costs x{k:g}", "costs", "every cost multiplied", cost_shock=k) for k in (1.5, 2.0, 3.0, 5.0)),
    Scenario(
        "spread blow-out",
        "spread",
        "ten times the spread in the most volatile tenth of the bars",
        spread_multiple=10.0,
        share=0.1,
    ),
    Scenario("participation 1 %", "participation", "at most 1 % of a bar's volume fills", max_participation=0.01),
    Scenario("latency +1", "latency", "orders fill one bar later", latency_bars=1),
    Scenario("latency +2", "latency", "orders fill two bars later", latency_bars=2),
    Scenario(
        "dot-com 2000-02",
        "replay",
        "the S&P 500 from its high in March 2000 to its low",
        start="2000-03-24",
        end="2002-10-09",
    ),
    Scenario(
        "crisis 2008",
        "replay",
        "the S&P 500 from its high in October 2007 to its low",
        start="2007-10-09",
        end="2009-03-09",
    ),
    Scenario(
        "COVID 2020",
        "replay",
        "the fastest bear market, and the first weeks of the recovery",
        start="2020-02-19",
        end="2020-04-30",
    ),
    Scenario(
        "bear 2022",
        "replay",
        "rising rates: the S&P 500 from its high to its low",
        start="2022-01-03",
        end="2022-10-12",
    ),
    *(
        Scenario(f"gap {size:.0%}".replace("%", " %"), "gap", "every price gaps overnight, once", size=size)
        for size in (-0.05, -0.10, -0.20)
    ),
    Scenario("volatility x2", "volatility", "twice the swings about the same mean return", factor=2.0),
    Scenario("correlation 1", "correlation", "every symbol moves with the market, at its own size"),
    Scenario("missing bars 5 %", "missing", "one bar in twenty never arrives, and nothing fills in it", share=0.05),
    Scenario("stale prices 5 %", "stale", "one bar in twenty repeats the last close; nothing fills in it", share=0.05),
    Scenario("flash crash", "crash", "10 % down in one bar, made good in five", size=-0.10, recovery_bars=5),
    Scenario(
        "bootstrap paths", "bootstrap", "two years of the judged bars in another order, in blocks of a month", draws=20
    ),
    Scenario("GARCH paths", "garch", "two years of other shocks, with volatility that clusters", draws=20),
)
