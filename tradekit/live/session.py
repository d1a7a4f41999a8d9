"""Start a session: open its journal, its exchange and its clients, and run it."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import SessionError
from tradekit.live.alpaca import AlpacaBars, AlpacaBroker
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.hours import MarketClock, Timetable, bars_per_session, first_bar
from tradekit.live.journal import Journal, read_events
from tradekit.live.links import Links
from tradekit.live.loop import Session
from tradekit.live.patience import PatientBroker, Persistence
from tradekit.live.replay import Replay
from tradekit.live.report import session_report
from tradekit.live.shadow import sleeves_of
from tradekit.live.stream import Hints
from tradekit.live.switch import KillSwitch, StopRequest
from tradekit.live.tape import Contract, Feed
from tradekit.live.transport import MARKET_DATA, PAPER_TRADING
from tradekit.market.panel import FIELDS, SESSIONS_PER_YEAR
from tradekit.market.sources import load_panel
from tradekit.market.sources.assemble import EQUAL_WEIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.broker import Broker
    from tradekit.live.links import Snapshot
    from tradekit.live.spec import SessionSpec
    from tradekit.market.panel import Floats, Panel

KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
EXCHANGE_SUFFIX = ".exchange.sqlite"
JOURNALS = "paper/journals"


@dataclass(frozen=True)
class SessionResult:
    """What a finished session leaves: its name, its journal, and the shadow report."""

    session: str
    journal: Path
    report: dict[str, Any]


def start(
    spec: SessionSpec,
    strategy: AnyStrategy,
    desk_root: Path,
    watcher: Callable[[Snapshot], None] | None = None,
) -> SessionResult:
    """Run a session to its end, going on from its journal when an earlier run was cut short.

    Args:
        spec: what to run.
        strategy: the loaded strategy; it is fitted on the bars before the session.
        desk_root: journals go to ``paper/journals`` in it.
        watcher: told where the session stands after every bar.

    Raises:
        Stopped: somebody asked it to stop; started again it goes on.
        SessionError: the kill switch is on, keys are missing, another process runs this session, or it halted itself.
        TradekitError: what the data, the strategy or the broker raised.
    """
    folder = desk_root / JOURNALS
    switch = KillSwitch(folder)
    switch.demand_open()
    keys = paper_keys() if spec.mode == "paper" else (spec.exchange.key_id, spec.exchange.secret_key)
    path, stopping = journal_path(folder, spec.name), StopRequest()
    persistence = Persistence(spec.connection, partial(_heed, stopping, switch))
    with stopping.listen(), ExitStack() as stack:
        journal = stack.enter_context(Journal(path))
        if spec.mode == "paper":
            contract, links = _paper(spec, journal, keys, persistence, switch, stack)
        else:
            contract, links = _local(spec, strategy, journal, keys, persistence, switch, stack)
        Session(spec, strategy, contract, journal, links, watcher, stopping.check).run()
    return SessionResult(path.stem, path, session_report(path))


@contextmanager
def account_of(spec: SessionSpec, strategy: AnyStrategy, desk_root: Path) -> Iterator[tuple[Path, Broker]]:
    """Give the newest journal of a spec and the broker it trades with, to look at what both say.

    Raises:
        SessionError: no session of this name, or it sends no orders.
        BrokerError: no answer.
    """
    path = newest_journal(desk_root / JOURNALS, spec.name)
    if path is None:
        raise SessionError(f"no session {spec.name!r} in {desk_root / JOURNALS}; run: tradekit paper start")
    if spec.mode == "observe":
        raise SessionError('mode = "observe" sends no orders; there is no account to look at')
    with ExitStack() as stack:
        if spec.mode == "paper":
            keys, url = paper_keys(), spec.exchange.url or PAPER_TRADING
        else:
            keys = (spec.exchange.key_id, spec.exchange.secret_key)
            url = spec.exchange.url or _open_exchange(spec, strategy, path, stack).url
        client = stack.enter_context(closing(AlpacaBroker(*keys, url, spec.connection.timeout_seconds)))
        yield path, PatientBroker(client, Persistence(spec.connection))


def _heed(stopping: StopRequest, switch: KillSwitch) -> None:
    """Raise while waiting when somebody wants the session to end."""
    stopping.check()
    switch.demand_off()


def paper_keys() -> tuple[str, str]:
    """Return the keys of the paper account.

    Raises:
        SessionError: they are not in the environment.
    """
    missing = [name for name in KEYS if not os.environ.get(name)]
    if missing:
        raise SessionError(
            f'mode = "paper" needs {" and ".join(missing)} in the environment, the keys of an Alpaca paper account; '
            'mode = "local" needs none'
        )
    return os.environ[KEYS[0]], os.environ[KEYS[1]]


def _local(
    spec: SessionSpec,
    strategy: AnyStrategy,
    journal: Journal,
    keys: tuple[str, str],
    persistence: Persistence,
    switch: KillSwitch,
    stack: ExitStack,
) -> tuple[Contract, Links]:
    """Return what a session on an exchange of this machine talks to; one is opened unless the spec names one."""
    path = journal.path
    if not journal.events():  # what an exchange of this name kept belongs to a session that never began
        for leftover in path.parent.glob(f"{path.stem}{EXCHANGE_SUFFIX}*"):
            leftover.unlink()
    url = spec.exchange.url or _open_exchange(spec, strategy, path, stack).url
    timeout = spec.connection.timeout_seconds
    replay = stack.enter_context(closing(Replay(*keys, url)))
    bars = stack.enter_context(closing(AlpacaBars(*keys, url, timeout)))
    broker: Broker | None = None
    if spec.mode == "local":
        client = stack.enter_context(closing(AlpacaBroker(*keys, url, timeout)))
        broker = PatientBroker(client, persistence)
    contract = _contract(spec, strategy, replay.state(), url)
    return contract, Links(broker, Feed(bars, contract), replay, persistence, switch)


def _paper(
    spec: SessionSpec,
    journal: Journal,
    keys: tuple[str, str],
    persistence: Persistence,
    switch: KillSwitch,
    stack: ExitStack,
) -> tuple[Contract, Links]:
    """Return what a session on Alpaca's paper account talks to, or on an exchange here that runs by itself."""
    trading, data = spec.exchange.url or PAPER_TRADING, spec.exchange.url or MARKET_DATA
    timeout = spec.connection.timeout_seconds
    broker = PatientBroker(stack.enter_context(closing(AlpacaBroker(*keys, trading, timeout))), persistence)
    bars = stack.enter_context(closing(AlpacaBars(*keys, data, timeout)))
    contract = paper_contract(spec)
    opened = journal.events()[0].body if journal.events() else None
    if opened:
        first = np.datetime64(opened["first"].removesuffix("Z"), "ns")
    else:
        first = first_bar(broker.clock().now, spec.frequency, contract.bar_seconds)
    timetable = Timetable.of(first, spec.frequency, contract.bar_seconds, spec.bars)
    connection = spec.connection
    hours = MarketClock(timetable, broker.clock, persistence, connection.delay_seconds, connection.poll_seconds)
    hints = stack.enter_context(Hints(*keys, trading))
    return contract, Links(broker, Feed(bars, contract), hours, persistence, switch, hints)


def paper_contract(spec: SessionSpec) -> Contract:
    """Return what the bars of a paper session are: all columns, regular sessions."""
    assert spec.symbols is not None
    daily = spec.frequency.endswith("D")
    contract = Contract(
        symbols=tuple(spec.symbols),
        columns=frozenset(FIELDS),
        frequency=spec.frequency,
        benchmark=spec.benchmark or EQUAL_WEIGHT,
        bars_per_year=float(SESSIONS_PER_YEAR),
        source="alpaca",
    )
    return (
        contract
        if daily
        else replace(contract, bars_per_year=float(SESSIONS_PER_YEAR * bars_per_session(contract.bar_seconds)))
    )


def journal_path(folder: Path, name: str) -> Path:
    """Return the journal to write: the one of this name that was cut short, or the first unused ``name-2``, ``name-3``.

    Raises:
        SessionError: the newest journal of this name is damaged.
    """
    path = newest_journal(folder, name)
    if path is None:
        return folder / f"{name}.sqlite"
    finished = {"end", "halt"} & {event.kind for event in read_events(path)}
    return folder / f"{name}-{_number(path, name) + 1}.sqlite" if finished else path


def newest_journal(folder: Path, name: str) -> Path | None:
    """Return the journal of this name that was begun last, None when there is none."""
    numbered = [path for path in folder.glob(f"{name}-*.sqlite") if _number(path, name) > 1]
    plain = folder / f"{name}.sqlite"
    return max(numbered, key=lambda path: _number(path, name), default=plain if plain.is_file() else None)


def _number(path: Path, name: str) -> int:
    found = re.fullmatch(rf"{re.escape(name)}-(\d+)", path.stem)
    return int(found[1]) if found else 1


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
