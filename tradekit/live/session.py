"""Start a session: open its journal, its exchange and its clients, and run it."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import SessionError
from tradekit.live.alpaca import AlpacaBars, AlpacaBroker
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.journal import Journal, read_events
from tradekit.live.loop import Links, Session
from tradekit.live.replay import Replay
from tradekit.live.report import session_report
from tradekit.live.shadow import sleeves_of
from tradekit.live.tape import Contract, Feed
from tradekit.market.sources import load_panel
from tradekit.market.sources.assemble import EQUAL_WEIGHT

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.loop import Progress
    from tradekit.live.spec import SessionSpec
    from tradekit.market.panel import Floats, Panel

KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
EXCHANGE_SUFFIX = ".exchange.sqlite"


@dataclass(frozen=True)
class SessionResult:
    """What a finished session leaves: its name, its journal, and the shadow report."""

    session: str
    journal: Path
    report: dict[str, Any]


def start(spec: SessionSpec, strategy: AnyStrategy, desk_root: Path, progress: Progress | None = None) -> SessionResult:
    """Run a session to its end, going on from its journal when an earlier run was cut short.

    Args:
        spec: what to run.
        strategy: the loaded strategy; it is fitted on the bars before the session.
        desk_root: journals go to ``paper/journals`` in it.
        progress: called with (bars done, bars in all).

    Raises:
        SessionError: the mode is not available, another process runs this session, or it halted itself.
        TradekitError: what the data, the strategy or the broker raised.
    """
    if spec.mode == "paper":
        raise _no_paper()
    path = journal_path(desk_root / "paper" / "journals", spec.name)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(path))
        if not journal.events():  # what an exchange of this name kept belongs to a session that never began
            for leftover in path.parent.glob(f"{path.stem}{EXCHANGE_SUFFIX}*"):
                leftover.unlink()
        url = spec.exchange.url or _open_exchange(spec, strategy, path, stack).url
        keys = (spec.exchange.key_id, spec.exchange.secret_key)
        replay = stack.enter_context(closing(Replay(*keys, url)))
        bars = stack.enter_context(closing(AlpacaBars(*keys, url)))
        broker = stack.enter_context(closing(AlpacaBroker(*keys, url))) if spec.mode == "local" else None
        contract = _contract(spec, strategy, replay.state(), url)
        Session(spec, strategy, contract, journal, Links(broker, Feed(bars, contract), replay)).run(progress)
    return SessionResult(path.stem, path, session_report(path))


def journal_path(folder: Path, name: str) -> Path:
    """Return the journal to write: the one of this name that was cut short, or the first unused ``name-2``, ``name-3``.

    Raises:
        SessionError: the newest journal of this name is damaged.
    """
    number = re.compile(rf"{re.escape(name)}-(\d+)")
    taken = [int(found[1]) for path in folder.glob(f"{name}-*.sqlite") if (found := number.fullmatch(path.stem))]
    newest = max(taken, default=1)
    path = folder / (f"{name}-{newest}.sqlite" if taken else f"{name}.sqlite")
    if not path.is_file():
        return path
    finished = {"end", "halt"} & {event.kind for event in read_events(path)}
    return folder / f"{name}-{newest + 1}.sqlite" if finished else path


def _open_exchange(spec: SessionSpec, strategy: AnyStrategy, path: Path, stack: ExitStack) -> ExchangeServer:
    """Open an exchange beside the session that replays the last bars of the data, kept in a log beside the journal."""
    panel = load_panel(spec.data, spec.symbols, spec.start, spec.end, spec.benchmark, spec.actions)
    first = len(panel) - spec.bars
    if first < 0:
        raise SessionError(f"{panel.source}: {len(panel)} bars, the session wants {spec.bars}; widen start/end")
    settings = Settings(
        cash=float(spec.cash),
        costs=spec.exchange.costs or spec.costs,
        execution=spec.execution,
        sleeves=sleeves_of(strategy),
        start=first,
        key_id=spec.exchange.key_id,
        secret_key=spec.exchange.secret_key,
    )
    exchange = Exchange(panel, settings, index_closes(spec, panel), path.with_suffix(EXCHANGE_SUFFIX))
    return stack.enter_context(ExchangeServer(exchange))


def index_closes(spec: SessionSpec, panel: Panel) -> Floats | None:
    """Return (T,) closes of a benchmark that is not a symbol of the panel; the panel keeps its returns only."""
    if panel.benchmark_name in (EQUAL_WEIGHT, *panel.symbols):
        return None
    index = load_panel(spec.data, [panel.benchmark_name], benchmark=EQUAL_WEIGHT, actions=spec.actions)
    closes = dict(zip(index.timestamps.tolist(), index.close[:, 0].tolist(), strict=True))
    return np.array([closes.get(stamp, np.nan) for stamp in panel.timestamps.tolist()])


def _contract(spec: SessionSpec, strategy: AnyStrategy, state: dict[str, Any], url: str) -> Contract:
    """Return what the exchange says its bars are, once it is sure that it plays by the session's rules."""
    wanted = {
        "cash": float(spec.cash),
        "sleeves": sleeves_of(strategy),
        "fill_at": spec.execution.fill_at if spec.execution.fill_at != "auto" else state["fill_at"],
    }
    for key, value in wanted.items():
        if state[key] != value:
            raise SessionError(
                f"the exchange at {url} has {key} = {state[key]!r}, the session {value!r}; open it alike"
            )
    return Contract(
        symbols=tuple(state["symbols"]),
        columns=frozenset(state["columns"]),
        frequency=state["frequency"],
        benchmark=state["benchmark"],
        bars_per_year=float(state["bars_per_year"]),
        source=state["source"],
    )


def _no_paper() -> SessionError:
    missing = [name for name in KEYS if not os.environ.get(name)]
    needs = f"; it also needs {' and '.join(missing)} in the environment" if missing else ""
    return SessionError(
        f'mode = "paper" is not available: a session cannot yet follow orders that outlive their bar{needs}; '
        'use mode = "local" or "observe"'
    )
