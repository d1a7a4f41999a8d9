"""Where bars come from. ``load_panel`` is the one way in; each source is imported when it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import DataError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tradekit.market.actions import Actions
    from tradekit.market.panel import Panel
    from tradekit.market.side_series import SideSeries
    from tradekit.market.sources.assemble import Universe

SOURCES = ("sample", "synthetic:planted", "synthetic:noise", "yahoo:SYMBOLS", "alpaca:SYMBOLS")
REMOTE = ("yahoo", "alpaca")


def load_panel(
    source: str | os.PathLike[str],
    symbols: str | Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    benchmark: str | None = None,
    actions: Actions | str | os.PathLike[str] | None = None,
    side: Sequence[SideSeries | Mapping[str, Any]] = (),
) -> Panel:
    """Return the bars of ``source`` as a panel, checked and never filled in.

    Args:
        source: ``sample`` (20 US stocks, daily closes 1990 to 2022, with the S&P 500), ``synthetic:planted`` or
            ``synthetic:noise`` with options, ``yahoo:SPY,AAPL`` or ``alpaca:SPY,AAPL`` (with ``@1h`` for hours; from
            the cache if it has them, else fetched), or the path of a parquet or csv file, or of a folder with one
            such file per symbol.
        symbols: names, as a list or separated by commas; None takes all, sorted.
        start: first date, inclusive.
        end: last date, inclusive.
        benchmark: a symbol of the source, or ``equal_weight``. Without it the source's own benchmark is taken:
            the index of the sample, SPY where the data has it, else the mean return of the symbols.
        actions: splits and dividends to apply to raw prices, or a file that holds them (timestamp, symbol, split,
            dividend).
        side: series to put beside the bars, joined as of their dates and never on their own day; as ``SideSeries``, or
            as tables of its fields.

    Raises:
        ConfigError: an entry of ``side`` cannot be read.
        DataError: the source cannot be found or used; the message names the file, the row and the mend. Raw prices,
            which step by a split, are refused.
    """
    from tradekit.market.sources.adjust import adjust, refuse_raw

    name = os.fspath(source)
    universe = _open(name, _names(symbols), benchmark, start, end)
    if actions is not None:
        universe = adjust(universe, _actions(actions))
    panel = universe.panel(start, end)
    if len(panel) < 2:
        raise DataError(f"{name}: one bar only ({panel.span}); trading needs two, so widen start/end")
    refuse_raw(universe, panel)
    return _with_side(panel, side) if side else panel


def _with_side(panel: Panel, side: Sequence[SideSeries | Mapping[str, Any]]) -> Panel:
    from tradekit.market.side_series import side_of
    from tradekit.market.sources.series import attach

    return attach(panel, side_of(side))


def _actions(given: Actions | str | os.PathLike[str]) -> Actions:
    if isinstance(given, (str, os.PathLike)):
        from tradekit.market.sources.raw import read_actions

        return read_actions(given)
    return given


def _names(symbols: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if symbols is None:
        return None
    parts = symbols.split(",") if isinstance(symbols, str) else symbols
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise DataError("no symbols given; name at least one, as AAPL,MSFT, or leave them out to take all")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"symbol {twice[0]} is given twice; name it once")
    return names


def _open(
    name: str, symbols: tuple[str, ...] | None, benchmark: str | None, start: str | None, end: str | None
) -> Universe:
    kind = name.split(":", 1)[0]
    if name == "sample":
        from tradekit.market.sources.sample import open_sample

        return open_sample(symbols, benchmark)
    if kind == "synthetic":
        from tradekit.market.sources.synthetic import open_synthetic

        return open_synthetic(name, symbols, benchmark)
    if kind in REMOTE and kind != name:
        from tradekit.market.sources.cache import open_remote

        return open_remote(name, symbols, benchmark, start, end)
    if Path(name).exists():
        from tradekit.market.sources.files import open_files

        return open_files(name, symbols, benchmark)
    raise DataError(_unknown(name, kind))


def _unknown(name: str, kind: str) -> str:
    if kind in REMOTE:
        return f"{name}: which symbols? write {kind}:SPY,AAPL"
    if os.sep in name or Path(name).suffix:
        return f"{name}: no such file or folder; check the path or use sample"
    known = {known.split(":")[0] for known in SOURCES}
    return f"unknown source {name!r}: no such file or folder, and {suggest(name, known)}"
