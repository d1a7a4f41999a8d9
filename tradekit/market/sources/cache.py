"""Fetched bars, kept as parquet with a note of where they came from and their SHA-256.

A file never changes after it was fetched: a panel read from it is the same on every day, and a file that was altered or
torn is refused. To get newer bars, fetch again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import DataError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from tradekit.market.sources.assemble import Universe

REMOTE = {"yahoo": "tradekit.market.sources.yahoo", "alpaca": "tradekit.market.sources.alpaca"}
FREQUENCIES = ("1D", "1h", "30m", "15m", "5m", "1m")
VARIABLE = "TRADEKIT_CACHE"
_SYMBOL = re.compile(r"^[A-Za-z0-9^][A-Za-z0-9.^=_-]*$")


@dataclass(frozen=True)
class Request:
    """What is asked of a remote source.

    Attributes:
        source: ``yahoo`` or ``alpaca``.
        symbols: names, sorted, none twice.
        start, end: first and last date as YYYY-MM-DD, inclusive; None asks for all there is.
        frequency: bar length, ``1D``, ``1h``, ``30m``, ``15m``, ``5m`` or ``1m``.
    """

    source: str
    symbols: tuple[str, ...]
    start: str | None = None
    end: str | None = None
    frequency: str = "1D"

    def covers(self, other: Request) -> bool:
        """True when what answers this request answers ``other`` too; an open end is met by any."""
        return (
            (self.source, self.frequency) == (other.source, other.frequency)
            and set(self.symbols) >= set(other.symbols)
            and (self.start is None or (other.start is not None and self.start <= other.start))
            and (self.end is None or other.end is None or self.end >= other.end)
        )

    @property
    def file_name(self) -> str:
        """Name of the file that answers it."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        few = "_".join(self.symbols[:3]) + (f"_and_{len(self.symbols) - 3}_more" if len(self.symbols) > 3 else "")
        return f"{self.source}-{self.frequency}-{few.replace('^', '')}-{digest}.parquet"


@dataclass(frozen=True)
class Entry:
    """A file of the cache and where it came from.

    Attributes:
        path: the file.
        request: what was asked.
        rows: bars of all symbols.
        first, last: timestamps of the first and the last bar.
        fetched: when, UTC.
        adjustment: what its prices are adjusted for.
        library: name and version of the client that fetched it.
        left_out: bars that were answered and not kept, by reason.
        sha256: of the file.
    """

    path: Path
    request: Request
    rows: int
    first: str
    last: str
    fetched: str
    adjustment: str
    library: str
    sha256: str
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def intact(self) -> bool:
        """True when the file is there and is the one that was fetched."""
        return self.path.is_file() and _digest(self.path) == self.sha256

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON holds it."""
        return {**asdict(self), "path": str(self.path), "intact": self.intact}


@dataclass(frozen=True, eq=False)
class Answer:
    """What a remote source gave.

    Attributes:
        frame: columns timestamp, symbol, open, high, low, close, volume, and more; sorted by symbol and time.
        adjustment, library, left_out: as in ``Entry``.
    """

    frame: pd.DataFrame
    adjustment: str
    library: str
    left_out: dict[str, int] = field(default_factory=dict)


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder given, else ``TRADEKIT_CACHE``, else ``~/.cache/tradekit``."""
    return Path(folder or os.environ.get(VARIABLE) or Path.home() / ".cache" / "tradekit")


def fetch(
    source: str,
    symbols: str | Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    *,
    frequency: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """Fetch bars, keep them in the cache and return the file, which ``load_panel`` reads.

    Args:
        source: ``yahoo`` or ``alpaca``, or with symbols and bar length as ``yahoo:SPY,AAPL@1h``.
        symbols: names, as a list or separated by commas.
        start: first date, inclusive; None takes all there is.
        end: last date, inclusive; None takes all there is.
        frequency: bar length; a day if neither it nor the source says.
        cache: the folder; see ``cache_folder``.

    Raises:
        DataError: keys or package are missing, the source cannot be reached, or it has no such bars.
    """
    request = parse(source, symbols, start, end, frequency)
    answer: Answer = import_module(REMOTE[request.source]).download(request)
    return _keep(request, answer, cache_folder(cache)).path


def parse(
    source: str,
    symbols: str | Sequence[str] | None = None,
    start: str | None = None,
    end: str | None = None,
    frequency: str | None = None,
) -> Request:
    """Return the request that a source's name and the rest ask for.

    Raises:
        DataError: an unknown source or bar length, an unreadable date or symbol, or no symbols.

    >>> parse("yahoo:spy,AAPL@1h").symbols
    ('AAPL', 'SPY')
    """
    head, _, written = source.partition("@")
    name, _, listed = head.partition(":")
    if name not in REMOTE:
        raise DataError(f"{source}: {name!r} cannot be fetched; {suggest(name, REMOTE)}")
    parts = symbols.split(",") if isinstance(symbols, str) else [*(symbols or ())]
    wanted = sorted({part.strip().upper() for part in (*listed.split(","), *parts) if part.strip()})
    if not wanted:
        raise DataError(f"{source}: no symbols; write them as {name}:SPY,AAPL")
    for symbol in wanted:
        if not _SYMBOL.match(symbol):
            raise DataError(f"{source}: {symbol!r} is no symbol; write letters, digits and . - ^ =")
    length = written or frequency or "1D"
    if length not in FREQUENCIES:
        raise DataError(f"{source}: no bars of {length!r}; {suggest(length, FREQUENCIES)}")
    first, last = _date(start), _date(end)
    if first and last and first > last:
        raise DataError(f"{source}: start {first} is after end {last}; swap them")
    return Request(name, tuple(wanted), first, last, length)


def list_cache(cache: str | os.PathLike[str] | None = None) -> list[Entry]:
    """Return what the cache holds, newest first.

    Raises:
        DataError: a note in it cannot be read.
    """
    notes = sorted(cache_folder(cache).glob("*.parquet.json"))
    return sorted((_read_note(note) for note in notes), key=lambda entry: entry.fetched, reverse=True)


def open_remote(
    name: str,
    symbols: Sequence[str] | None,
    benchmark: str | None,
    start: str | None = None,
    end: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Universe:
    """Return the universe of ``yahoo:...`` or ``alpaca:...``: the newest file that has it, else fetched now.

    Raises:
        DataError: see ``fetch``; or the file in the cache was altered.
    """
    from tradekit.market.sources.files import open_files

    request = parse(name, symbols, start, end)
    if benchmark and benchmark != "equal_weight":
        request = replace(request, symbols=tuple(sorted({*request.symbols, benchmark})))
    folder = cache_folder(cache)
    entry = next((held for held in list_cache(folder) if held.request.covers(request)), None)
    if entry is None:
        entry = _read_note(_note_of(fetch(name, request.symbols, start, end, cache=folder)))
    if not entry.intact:
        raise DataError(f"{entry.path}: missing or altered since it was fetched; fetch it again")
    asked = tuple(symbols) if symbols else parse(name).symbols
    return replace(open_files(str(entry.path), asked, benchmark), source=name)


def only_complete(frame: pd.DataFrame, ends: np.ndarray[Any, Any], left_out: dict[str, int]) -> pd.DataFrame:
    """Return the bars that were complete when asked for: a bar still forming changes later.

    Args:
        frame: bars.
        ends: (R,) datetime64[ns] UTC, when each bar is complete.
        left_out: gets the count of the others.
    """
    done = ends <= np.datetime64(datetime.now(UTC).replace(tzinfo=None), "ns")
    if not done.all():
        left_out["not complete yet"] = int((~done).sum())
    return frame[done]


def _date(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(np.datetime64(text, "D"))
    except ValueError as error:
        raise DataError(f"cannot read the date {text!r}; write YYYY-MM-DD") from error


def _keep(request: Request, answer: Answer, folder: Path) -> Entry:
    path = folder / request.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        answer.frame.to_parquet(partial, index=False)
        partial.replace(path)
        entry = _describe(path, request, answer)
        note = {**asdict(entry), "path": path.name}
        partial.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        partial.replace(_note_of(path))
    except OSError as error:
        raise DataError(f"{folder}: the cache cannot be written ({error.strerror}); set {VARIABLE}") from error
    return entry


def _describe(path: Path, request: Request, answer: Answer) -> Entry:
    times = answer.frame["timestamp"]
    return Entry(
        path=path,
        request=request,
        rows=len(times),
        first=str(times.min()),
        last=str(times.max()),
        fetched=datetime.now(UTC).isoformat(timespec="microseconds"),
        adjustment=answer.adjustment,
        library=answer.library,
        sha256=_digest(path),
        left_out=answer.left_out,
    )


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_note(note: Path) -> Entry:
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
        asked = held["request"]
        request = Request(**{**asked, "symbols": tuple(asked["symbols"])})
        return Entry(**{**held, "path": note.parent / held["path"], "request": request})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{note}: cannot be read as a note of the cache; delete it and fetch again") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
