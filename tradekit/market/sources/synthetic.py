"""Made-up markets whose truth is known: one with nothing to learn, one with a planted edge.

Specs::

    synthetic:noise                               a martingale: no function of the past predicts the next return
    synthetic:planted?strength=0.1&bars=4000      the same noise plus a drift that past returns reveal

Options, joined by ``&``: ``symbols``, ``bars``, ``seed``, ``volatility`` (of a daily return), ``columns`` (``ohlcv`` or
``close``), ``start`` (first date), and for ``planted`` also ``strength`` and ``half_life``.

Each symbol is independent. Bar d+1 opens at ``close[d] (1 + gap)`` and closes at ``open (1 + drift[d] + shock)``. Gap
and shock are symmetric Student-t draws with 4 degrees of freedom, cut off far out so that no price falls below zero,
times a volatility that wanders between three levels: fat tails and volatility clusters, with a mean of zero given the
whole past. In ``noise`` the drift is zero. In ``planted`` it is

    drift[d] = strength x volatility x sign(trend[d]),
    trend[d] = f trend[d-1] + (1 - f) return[d] / volatility,    f = 2^(-1 / half_life),

so it follows the trend of the returns that everyone has seen, and lasts because the drift feeds the trend. A fill one
bar late still earns it. ``drift[d]`` is exactly the expected simple return from close d to close d+1, and from open
d+1 to close d+1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tradekit.errors import DataError, suggest
from tradekit.market import calendar
from tradekit.market.panel import FIELDS, Floats, Panel
from tradekit.market.sources.assemble import Bars, Universe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

KINDS = ("noise", "planted")
FIRST_PRICE = 100.0

# The volatility of the next bar relative to the average one, and how it moves from bar to bar; the levels are held a
# quarter, a half and a quarter of the time, and scaled to a mean square of one.
MOVES = np.array([[0.98, 0.02, 0.0], [0.01, 0.98, 0.01], [0.0, 0.02, 0.98]])
LEVEL_WEIGHTS = np.array([0.25, 0.5, 0.25])
LEVELS = np.array([0.6, 1.0, 1.6]) / np.sqrt(LEVEL_WEIGHTS @ np.array([0.6, 1.0, 1.6]) ** 2)

# Share of a bar's variance that falls between its open and the close before.
GAP_SHARE = 0.2
FREEDOM, CUT = 4.0, 6.0
MEAN_VOLUME = 1e6


def _setting(default: Any, least: float, most: float) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True)
class SyntheticSpec:
    """What ``synthetic:...`` asks for.

    Attributes:
        kind: ``noise`` or ``planted``.
        strength: expected return of a bar over its volatility while the drift lasts; 0 for ``noise``.
        half_life: bars in which a return's weight in the trend halves.
        symbols: number of symbols, SYN00 onward; more symbols do not change the first ones.
        bars: sessions; more bars do not change the first ones.
        seed: of the random numbers.
        volatility: standard deviation of a daily return.
        columns: ``ohlcv``, or ``close`` for closes only.
        start: first date.

    Raises:
        DataError: an unknown kind or option, or a value out of range.
    """

    kind: str = "noise"
    strength: float = _setting(0.2, 0.0, 0.5)
    half_life: float = _setting(10.0, 1.0, 100.0)
    symbols: int = _setting(8, 1, 1000)
    bars: int = _setting(2000, 2, 12_000)
    seed: int = _setting(0, 0, 2**63)
    volatility: float = _setting(0.012, 1e-6, 0.05)
    columns: Literal["ohlcv", "close"] = "ohlcv"
    start: str = "2000-01-03"

    @classmethod
    def parse(cls, source: str) -> SyntheticSpec:
        """Read ``synthetic:kind?option=value&option=value``.

        >>> SyntheticSpec.parse("synthetic:planted?strength=0.1&seed=7").seed
        7
        """
        kind, _, rest = source.removeprefix("synthetic").removeprefix(":").partition("?")
        if kind not in KINDS:
            raise DataError(f"{source}: no synthetic market {kind!r}; {suggest(kind, KINDS)}")
        known = {item.name: item for item in fields(cls) if item.name != "kind"}
        if kind == "noise":
            del known["strength"], known["half_life"]
        settings: dict[str, Any] = {"strength": 0.0} if kind == "noise" else {}
        for pair in filter(None, rest.split("&")):
            name, _, text = pair.partition("=")
            if name not in known:
                raise DataError(f"{source}: unknown option {name!r} of synthetic:{kind}; {suggest(name, known)}")
            settings[name] = _value(source, name, text, known[name].default, known[name].metadata)
        if settings.get("columns", "close") not in ("ohlcv", "close"):
            raise DataError(f"{source}: columns is {settings['columns']!r}; choose ohlcv or close")
        return cls(kind, **settings)

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols."""
        return tuple(f"SYN{column:02d}" for column in range(self.symbols))

    @property
    def decay(self) -> float:
        """Weight f of the trend's past, per bar."""
        return float(0.5 ** (1.0 / self.half_life))


@dataclass(frozen=True, eq=False)
class SyntheticMarket:
    """The bars of a spec and the truth behind them.

    Attributes:
        columns: open, high, low, close, volume, each (T, N).
        trend: (T, N) what drives the drift, known at the close of its bar.
        drift: (T, N) expected simple return from close d to close d+1 given everything up to d.
        level: (T, N) row of ``LEVELS`` that bar d+1 will have, decided at the close of d.
    """

    columns: dict[str, Floats]
    trend: Floats
    drift: Floats
    level: NDArray[np.int64]


def open_synthetic(source: str, symbols: tuple[str, ...] | None, benchmark: str | None) -> Universe:
    """Return the universe of a synthetic spec.

    Raises:
        DataError: the spec is wrong, or a symbol is not in it.
    """
    spec = SyntheticSpec.parse(source)
    market = generate(spec)
    times = calendar.sessions_from(_date(source, spec.start), spec.bars).astype("M8[ns]")
    held = FIELDS if spec.columns == "ohlcv" else ("close",)
    bars = {
        name: Bars(name, source, times, {item: market.columns[item][:, column] for item in held}, zone="")
        for column, name in enumerate(spec.names)
    }
    return Universe.choose(source, bars, symbols, benchmark)


def planted_signal(panel: Panel) -> Floats:
    """Return (T, N) the expected simple return from close d to close d+1 given everything up to close d.

    The truth behind a synthetic panel, also of a part of one: it is made again from ``panel.source``. Zero
    throughout for ``noise``; no NaN.

    Raises:
        DataError: the panel is not synthetic.
    """
    market, rows, columns = truth(panel)
    return market.drift[np.ix_(rows, columns)]


def truth(panel: Panel) -> tuple[SyntheticMarket, NDArray[np.intp], NDArray[np.intp]]:
    """Return the market that ``panel`` was cut from, and the rows and columns of it that the panel holds.

    Raises:
        DataError: the panel is not synthetic.
    """
    if panel.source.split(":")[0] != "synthetic":
        raise DataError(f"{panel.source}: not a synthetic market, so its truth is not known; use synthetic:planted")
    spec = SyntheticSpec.parse(panel.source)
    times = calendar.sessions_from(spec.start, spec.bars).astype("M8[ns]")
    columns = np.array([spec.names.index(name) for name in panel.symbols])
    return generate(spec), np.searchsorted(times, panel.timestamps), columns


@lru_cache(maxsize=4)
def generate(spec: SyntheticSpec) -> SyntheticMarket:
    """Return the market of a spec: the same for the same spec, on every machine."""
    draws = [_draw(spec, column) for column in range(spec.symbols)]
    gap, shock, step, wick, volume = (np.stack(parts, axis=-1) for parts in zip(*draws, strict=True))
    level = _levels(step)
    size = spec.volatility * LEVELS[np.vstack([level[:1], level[:-1]])]
    gap *= np.sqrt(GAP_SHARE) * size
    shock *= np.sqrt(1.0 - GAP_SHARE) * size
    trend, drift = _trends(spec, gap, shock)
    inside = 1.0 + np.vstack([np.zeros((1, spec.symbols)), drift[:-1]]) + shock
    close = FIRST_PRICE * np.cumprod((1.0 + gap) * inside, axis=0)
    opens = close / inside
    columns = {
        "open": opens,
        "high": np.maximum(opens, close) * (1.0 + wick[:, 0] * size),
        "low": np.minimum(opens, close) * (1.0 - wick[:, 1] * size),
        "close": close,
        "volume": np.round(MEAN_VOLUME * volume * size / spec.volatility),
    }
    for array in (*columns.values(), trend, drift, level):
        array.setflags(write=False)
    return SyntheticMarket(columns, trend, drift, level)


def shock_scale() -> float:
    """Return the standard deviation of a Student-t draw that is cut off at ``CUT`` times its own."""
    return float(np.sqrt(np.mean(_cut(_quantiles(200_001)) ** 2)))


def shock_nodes(count: int) -> Floats:
    """Return (count,) values of equal probability that stand for one shock: mean zero, variance one, increasing."""
    fine = _cut(_quantiles(count * 1001)).reshape(count, -1).mean(axis=1)
    nodes: Floats = fine / np.sqrt(np.mean(fine**2))
    return nodes


def _trends(spec: SyntheticSpec, gap: Floats, shock: Floats) -> tuple[Floats, Floats]:
    """Return (T, N) trend and drift; they feed each other, so bar by bar."""
    trend, drift = np.zeros_like(gap), np.zeros_like(gap)
    before, expected = np.zeros(spec.symbols), np.zeros(spec.symbols)
    for bar in range(spec.bars):
        change = (1.0 + gap[bar]) * (1.0 + expected + shock[bar]) - 1.0
        before = spec.decay * before + (1.0 - spec.decay) * change / spec.volatility
        expected = spec.strength * spec.volatility * np.sign(before)
        trend[bar], drift[bar] = before, expected
    return trend, drift


def _levels(step: Floats) -> NDArray[np.int64]:
    """Return (T, N) the volatility level after each bar, a chain driven by the uniform draws ``step``."""
    ladder = np.cumsum(MOVES, axis=1)
    level = np.empty(step.shape, dtype=np.int64)
    now = np.searchsorted(np.cumsum(LEVEL_WEIGHTS), step[0])
    for bar in range(len(step)):
        now = np.minimum((step[bar][:, None] >= ladder[now]).sum(axis=1), len(LEVELS) - 1)
        level[bar] = now
    return level


def _draw(spec: SyntheticSpec, column: int) -> tuple[Floats, ...]:
    """Return one symbol's random numbers, each kind from its own stream, so that more bars only add to the end."""
    root = np.random.Generator(np.random.PCG64(np.random.SeedSequence([spec.seed, column])))
    gap, shock, step, wick, volume = root.spawn(5)
    scale = shock_scale()
    return (
        _cut(gap.standard_t(FREEDOM, spec.bars)) / scale,
        _cut(shock.standard_t(FREEDOM, spec.bars)) / scale,
        step.random(spec.bars),
        0.5 * wick.random((spec.bars, 2)),
        np.exp(0.3 * volume.standard_normal(spec.bars)),
    )


def _cut(draws: Floats) -> Floats:
    reach = CUT * np.sqrt(FREEDOM / (FREEDOM - 2.0))
    return np.clip(draws, -reach, reach)


@lru_cache(maxsize=4)
def _quantiles(count: int) -> Floats:
    from scipy import stats

    lower = stats.t.ppf((np.arange((count + 1) // 2) + 0.5) / count, FREEDOM)
    whole: Floats = np.concatenate([lower, -lower[: count // 2][::-1]])
    return whole


def _value(source: str, name: str, text: str, default: Any, bounds: Any) -> Any:
    if isinstance(default, str):
        return text
    convert: Callable[[str], float] = type(default)
    least, most = bounds["least"], bounds["most"]
    try:
        value = convert(text)
    except ValueError:
        value = np.nan
    if not least <= value <= most:
        kind = "whole number" if isinstance(default, int) else "number"
        raise DataError(f"{source}: {name} is {text!r}; give a {kind} from {least:g} to {most:g}")
    return value


def _date(source: str, text: str) -> str:
    try:
        np.datetime64(text, "D")
    except ValueError as error:
        raise DataError(f"{source}: start is {text!r}; write YYYY-MM-DD") from error
    return text
