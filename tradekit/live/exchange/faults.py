"""Faults on request: what goes wrong, at which request, order, message or bar. Deterministic from the list and a seed.

A fault names a kind (see kinds) and when it strikes: at the n-th thing it could strike, counted from 1 over the life of
the exchange; with a probability; or from a bar on. Nothing here touches a socket.
"""

from __future__ import annotations

import random
import tomllib
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from tradekit.errors import ConfigError, demand_known, suggest
from tradekit.live.exchange.kinds import DEFAULTS, GROUPS, KINDS, OF_NO_SYMBOL, OF_ONE_SYMBOL, WORLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One fault. Settings left out take the kind's own defaults.

    Attributes:
        kind: a key of ``KINDS``, or several of one group, of which a seeded draw takes one each time.
        on: request kinds, streams, or groups of them (``any``, ``trading``, ``data``, ``streams``) it may strike.
        nth: strikes the n-th match, from 1. Left out together with ``rate`` and ``after``: 1.
        times: and the ``times - 1`` matches after it.
        rate: strikes each match with this probability instead, in (0, 1].
        symbol: only what concerns this symbol.
        accepted: whether the request is carried out before things go wrong.
        seconds: how long, or how far ahead.
        share: of the quantity, in (0, 1).
        reads: answers until it is over.
        bar: first bar, counted from the start of the replay, 1 being the first after it.
        bars: how many bars.
        ratio: new shares for one old.

    Raises:
        ConfigError: an unknown kind or request, a setting the kind does not read, or a value out of range.

    >>> Fault("504", on="submit", nth=2).settings("504")["accepted"]
    True
    """

    kind: str | tuple[str, ...]
    on: str | tuple[str, ...] | None = None
    nth: int | None = None
    times: int = 1
    rate: float | None = None
    symbol: str | None = None
    accepted: bool | None = None
    seconds: float | None = None
    share: float | None = None
    reads: int | None = None
    bar: int | None = None
    bars: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(f"unknown fault {kind!r}; {suggest(str(kind), KINDS)}")
        if not self.kinds or len({KINDS[kind].group for kind in self.kinds}) != 1:
            raise ConfigError(f"the kinds of one fault are of one group; not {', '.join(self.kinds)}")
        self._check_settings()
        self._check_values()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds it may be."""
        return (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)

    @property
    def group(self) -> str:
        """Where it strikes."""
        return KINDS[self.kinds[0]].group

    @property
    def targets(self) -> frozenset[str]:
        """The requests or streams it may strike."""
        named = (self.on,) if isinstance(self.on, str) else self.on
        named = tuple(KINDS[kind].on for kind in self.kinds) if named is None else tuple(named)
        return frozenset(name for item in named for name in GROUPS.get(item, (item,)))

    def settings(self, kind: str) -> dict[str, Any]:
        """Return what ``kind`` reads: given here, its own default, or everybody's."""
        common = {"accepted": False, "seconds": 1.0, "share": 0.5, "reads": 1, "bar": 1, "bars": 1, "ratio": 2.0}
        own = {**common, **DEFAULTS.get(kind, {})}
        given = {name: getattr(self, name) for name in KINDS[kind].reads}
        return {name: own[name] if value is None else value for name, value in given.items()}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Fault:
        """Build from plain settings.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        demand_known("fault setting", settings, [item.name for item in fields(cls)])
        if "kind" not in settings:
            raise ConfigError(f"a fault without a kind; choose {', '.join(KINDS)}")
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        for key in ("kind", "on"):
            if key in plain and not _texts(plain[key]):
                raise ConfigError(f'{key} is {settings[key]!r}; write "submit" or ["submit", "cancel"]')
        return cls(**plain)

    def _check_settings(self) -> None:
        world, read = self.group == WORLD, {name for kind in self.kinds for name in KINDS[kind].reads}
        when = ("on", "nth", "rate") if world else ()
        for item in ("accepted", "seconds", "share", "reads", "bar", "bars", "ratio", *when):
            if getattr(self, item) is not None and item not in read:
                raise ConfigError(f"fault {'/'.join(self.kinds)} does not read {item}; it reads {_listed(read)}")
        if self.nth is not None and self.rate is not None:
            raise ConfigError(f"fault {'/'.join(self.kinds)} has both nth and rate; it strikes by number or by chance")
        if any(kind in OF_ONE_SYMBOL for kind in self.kinds) and not self.symbol:
            raise ConfigError(f"fault {'/'.join(self.kinds)} needs the symbol it concerns")
        if any(kind in OF_NO_SYMBOL for kind in self.kinds) and self.symbol:
            raise ConfigError(f"fault {'/'.join(self.kinds)} concerns no symbol; leave it out")
        if world and (self.times != 1 or len(self.kinds) > 1):
            raise ConfigError(f"fault {'/'.join(self.kinds)} is there from its bar on; write one of one kind, no times")
        if not world:
            possible = {name for kind in self.kinds for name in GROUPS.get(KINDS[kind].on, (KINDS[kind].on,))}
            for name in self.targets - possible:
                raise ConfigError(
                    f"fault {'/'.join(self.kinds)} cannot strike {name!r}; {suggest(name, {*possible, *GROUPS})}"
                )

    def _check_values(self) -> None:
        for name in ("nth", "times", "reads", "bar", "bars"):
            value, least = getattr(self, name), 0 if name == "reads" else 1
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name} is {value!r}; a whole number, {least} or more")
        for name, what, low, high in (
            ("rate", "a probability in (0, 1]", 0.0, 1.0),
            ("share", "a part of the quantity in (0, 1)", 0.0, 1.0 - 1e-9),
            ("ratio", "new shares for one old, positive", 0.0, 1e6),
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not low < _number(name, value) <= high):
                raise ConfigError(f"{name} is {value!r}; {what}")
        if self.seconds is not None and abs(_number("seconds", self.seconds)) > 1e6:
            raise ConfigError(f"seconds is {self.seconds!r}; at most a million")
        if self.accepted is not None and not isinstance(self.accepted, bool):
            raise ConfigError(f"accepted is {self.accepted!r}; choose true or false")


class Struck(NamedTuple):
    """A fault that strikes now: its kind and the settings the kind reads."""

    kind: str
    settings: dict[str, Any]


@dataclass
class Faults:
    """The faults of one exchange and how often each has met its match. One thread asks.

    Args:
        faults: in the order in which they are asked; the first of a group that strikes is the one that counts.
        seed: of the draws of those with a rate.

    >>> faults = Faults([Fault("500", on="submit", nth=2)])
    >>> [bool(faults.strike("http", "submit")) for _ in range(3)]
    [False, True, False]
    """

    faults: Iterable[Fault] = ()
    seed: int = 0
    struck: Counter[int] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self.listed = tuple(self.faults)
        self._met: Counter[int] = Counter()
        self._dice = [random.Random(f"{self.seed}/{number}") for number in range(len(self.listed))]

    def strike(self, group: str, target: str, symbols: Iterable[str] = ()) -> Struck | None:
        """Return the fault of ``group`` that strikes ``target`` now, None when all goes well."""
        found: Struck | None = None
        named = frozenset(symbols)
        for number, fault in enumerate(self.listed):
            if fault.group != group or target not in fault.targets or (fault.symbol and fault.symbol not in named):
                continue
            self._met[number] += 1
            if self._strikes(number, fault) and found is None:
                kind = fault.kinds[0] if len(fault.kinds) == 1 else self._dice[number].choice(fault.kinds)
                found = Struck(kind, fault.settings(kind))
                self.struck[number] += 1
        return found

    def _strikes(self, number: int, fault: Fault) -> bool:
        if fault.rate is not None:
            return self._dice[number].random() < fault.rate
        first = 1 if fault.nth is None else fault.nth
        return first <= self._met[number] < first + fault.times

    def world(self, *kinds: str) -> list[tuple[Fault, dict[str, Any]]]:
        """Return the faults of the market itself of these kinds, with their settings."""
        return [(fault, fault.settings(fault.kinds[0])) for fault in self.listed if fault.kinds[0] in kinds]

    def describe(self) -> list[dict[str, Any]]:
        """Return every fault as it was written and how often it struck."""
        return [
            {**{key: value for key, value in asdict(fault).items() if value is not None}, "struck": self.struck[number]}
            for number, fault in enumerate(self.listed)
        ]

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Faults:
        """Build from ``{"seed": 0, "fault": [{"kind": ...}, ...]}``.

        Raises:
            ConfigError: an unknown key, with a suggestion, or a bad value.
        """
        for key in settings:
            if key not in ("seed", "fault"):
                raise ConfigError(f"unknown key {key!r} of faults; {suggest(key, ('seed', 'fault'))}")
        seed, listed = settings.get("seed", 0), settings.get("fault", [])
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise ConfigError(f"seed is {seed!r}; a whole number")
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise ConfigError("fault must be a list of tables; write each one under [[fault]]")
        return cls([Fault.from_dict(item) for item in listed], seed)

    @classmethod
    def from_toml(cls, path: Path) -> Faults:
        """Read a file of faults.

        Raises:
            ConfigError: the file is missing, is not TOML, or a setting is wrong; the message names the file.
        """
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); give a file of [[fault]] tables") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not TOML ({error})") from error
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(item, str) for item in value))


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float):
        raise ConfigError(f"{name} is {value!r}; it must be a number")
    return float(value)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted({*names, "symbol"})) or "nothing more"
