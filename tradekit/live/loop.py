"""The loop of a session: see the bar, settle the shadow, compare with the broker, decide once, journal, send.

Everything that matters is in the journal before it happens outside: a decision before its intents, intents before they
are sent. A session that was killed replays its journal, looks its open intents up at the broker by their ids, and goes
on. The strategy is never asked again for a bar whose decision is journalled.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from tradekit.engine.copies import fit
from tradekit.engine.strategy import Targets
from tradekit.errors import BrokerError, SessionError, StrategyError, TradekitError
from tradekit.live.broker import BrokerUncertain, quantise
from tradekit.live.outbox import Intent, Outbox, client_order_id
from tradekit.live.parity import judge
from tradekit.live.shadow import Mind, Shadow, sleeves_of
from tradekit.live.tape import Tape, bar_text, from_json, nullable, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.broker import Broker
    from tradekit.live.journal import Event, Journal
    from tradekit.live.replay import Moment, Replay
    from tradekit.live.shadow import ModelFill, Placed
    from tradekit.live.spec import SessionSpec
    from tradekit.live.tape import Bar, Contract, Feed, LivePanel

    Progress = Callable[[int, int], None]

Answer = TypeVar("Answer")


class Links(NamedTuple):
    """What a session talks to. Without a broker it decides and sends nothing."""

    broker: Broker | None
    feed: Feed
    replay: Replay


class Session:
    """One session over one journal.

    Args:
        spec: what to run.
        strategy: not yet fitted.
        contract: what the bars are.
        journal: open for writing; empty, or of the same session.
        links: broker, bars and clock.
    """

    def __init__(
        self, spec: SessionSpec, strategy: AnyStrategy, contract: Contract, journal: Journal, links: Links
    ) -> None:
        self._spec, self._strategy, self._contract, self._journal, self._links = (
            spec, strategy, contract, journal, links
        )  # fmt: skip
        self._name, self._daily = journal.path.stem, contract.is_daily
        self._shadow = Shadow(contract, spec, sleeves_of(strategy))
        self._outbox = Outbox(links.broker, journal, self._name) if links.broker else None
        self._timings: list[tuple[float, float, float]] = []

    def run(self, progress: Progress | None = None) -> None:
        """Run from where the journal ends to the end of the session, and journal the verdict.

        Raises:
            SessionError: the journal is of another session, or the session halted itself.
            StrategyError, BrokerError: as raised.
        """
        opened = self._open()
        self._first_bar, self._bars = int(opened["first_bar"]), int(opened["bars"])
        self._load_history(np.datetime64(opened["first"].removesuffix("Z"), "ns"))
        self._mind = Mind(self._strategy, self._spec, self._start, len(self._shadow.portfolios))
        with _no_long_collections():
            for done in range(self._replay_journal(), self._bars):
                self._live(self._links.replay.advance(self._first_bar + done))
                if progress:
                    progress(done + 1, self._bars)
        self._close()

    # ------------------------------------------------------------------------------------------------- opening

    def _open(self) -> dict[str, Any]:
        """Journal what the session is, or check that the journal is of this very session."""
        mine = self._describe()
        if not self._journal.events():
            moment = self._links.replay.moment()
            bars = min(self._spec.bars, moment.last - moment.bar + 1)
            if bars < 2:
                raise SessionError(f"{self._contract.source}: {bars} bar left to replay; a session needs at least two")
            self._demand_unseen(moment)
            where = {"first_bar": moment.bar, "bars": bars, "first": bar_text(moment.timestamp, self._daily)}
            self._journal.append("session", "", {**mine, **where})
        opened = self._journal.events()[0].body
        for key, value in mine.items():
            if opened.get(key) != value:
                raise SessionError(
                    f"{self._journal.path}: was started with {key} = {opened.get(key)!r}, not {value!r}; go on with "
                    "the spec and strategy it was started with, or move the file away"
                )
        return opened

    def _describe(self) -> dict[str, Any]:
        spec, contract = self._spec, self._contract
        digest = getattr(getattr(self._strategy, "bundle", None), "digest", None)
        return {
            "session": self._name,
            "mode": spec.mode,
            "strategy": self._strategy.name,
            "bundle": digest,
            "sleeves": sleeves_of(self._strategy),
            "source": contract.source,
            "symbols": list(contract.symbols),
            "columns": sorted(contract.columns),
            "frequency": contract.frequency,
            "benchmark": contract.benchmark,
            "bars_per_year": contract.bars_per_year,
            "history": spec.history,
            "cash": float(spec.cash),
            "costs": asdict(spec.costs),
            "execution": asdict(spec.execution),
        }

    def _demand_unseen(self, moment: Moment) -> None:
        seen = getattr(self._strategy, "seen_end", None)
        if seen is not None and moment.timestamp <= np.datetime64(seen, "ns"):
            raise SessionError(
                f"{self._strategy.name} was trained on bars up to {seen}, and the session begins at "
                f"{bar_text(moment.timestamp, self._daily)}; choose later bars"
            )

    def _load_history(self, first: np.datetime64) -> None:
        """Fill the tape with the bars before ``first``, from the journal or over REST, and fit the strategy on them."""
        bars = [from_json(event) for event in self._journal.events() if event.kind == "bar" and event.body["history"]]
        if not bars:
            # One more than is looked back at: a return needs the close before.
            wanted = max(self._spec.history, getattr(self._strategy, "lookback", None) or 0) + 1
            bars = self._links.feed.history(first, wanted)
            with self._journal.batch() as batch:
                for bar in bars:
                    batch.add("bar", bar_text(bar.timestamp, self._daily), {"history": True, **to_json(bar)})
        self._tape, self._start = Tape(self._contract, len(bars) + self._bars), len(bars)
        for bar in bars:
            self._tape.append(bar)
        if bars:
            self._fit(self._tape.panel())

    def _fit(self, panel: LivePanel) -> None:
        if hasattr(self._strategy, "check"):
            self._strategy.check(panel, self._spec.execution)
        try:
            self._strategy = fit(self._strategy, panel).strategy
        except TradekitError:
            raise
        except Exception as error:
            raise StrategyError(f"{self._strategy.name}: fitting on {panel.span} failed: {error}") from error

    # -------------------------------------------------------------------------------------------------- replay

    def _replay_journal(self) -> int:
        """Bring tape, shadow and open orders to where the journal ends; return the bars that are done."""
        bars: dict[str, list[Event]] = {}
        for event in self._journal.events():
            if event.bar and not event.body.get("history"):
                bars.setdefault(event.bar, []).append(event)
        if bars:
            self._demand_same_moment(len(bars))
        memory = self._journal.memory()
        if memory is not None:
            self._mind.thaw(memory)
        for events in bars.values():
            self._replay_bar(events)
        if bars and self._outbox:
            self._guard(self._outbox.resolve)
        return len(bars)

    def _demand_same_moment(self, done: int) -> None:
        """An exchange that forgot must not be mistaken for one that never got the orders."""
        stands, ends = self._links.replay.moment().bar, self._first_bar + done - 1
        if stands not in (ends, ends + 1):
            raise SessionError(
                f"{self._journal.path}: ends at bar {ends} of the replay, but the exchange stands at bar {stands}; "
                "restart the exchange from its own log, or move the journal away"
            )

    def _replay_bar(self, events: list[Event]) -> None:
        kinds = {event.kind: event for event in events}
        self._see(from_json(kinds["bar"]))
        fills = self._settle()
        if "reconciliation" not in kinds:
            self._reconcile(fills)
        if self._outbox:
            self._outbox.restore(events)
        if "decision" in kinds:
            self._place_again(kinds["decision"])
        elif not self._is_last:
            self._decide()

    def _place_again(self, decision: Event) -> None:
        targets = Targets(np.array(decision.body["targets"], np.float64), decision.body["are_shares"])
        placed = self._shadow.place(self._tape.panel(), targets)
        if [list(order) for order in placed] != decision.body["orders"]:
            raise SessionError(
                f"{self._journal.path}: the decision of {decision.bar} sizes other orders than were journalled; "
                "go on with the tradekit that wrote it"
            )

    # ------------------------------------------------------------------------------------------------ each bar

    def _live(self, moment: Moment) -> None:
        received = time.perf_counter()
        bar = self._links.feed.bar(moment.timestamp, moment.close_time)
        self._journal.append("bar", bar_text(bar.timestamp, self._daily), {"history": False, **to_json(bar)})
        self._see(bar)
        self._reconcile(self._settle())
        if not self._is_last:
            self._decide(received)

    def _see(self, bar: Bar) -> None:
        self._tape.append(bar)
        self._text = bar_text(bar.timestamp, self._daily)

    @property
    def _is_last(self) -> bool:
        """Whether no bar follows in which an order could fill; a backtest decides nothing there either."""
        return len(self._tape) == self._start + self._bars

    def _settle(self) -> list[ModelFill]:
        """Take the shadow through the newest bar; there is nothing to settle in the first."""
        return self._shadow.settle(self._tape.panel()) if len(self._tape) > self._start + 1 else []

    def _reconcile(self, fills: list[ModelFill]) -> None:
        """Set the broker's fills and positions beside the model's; halt when shares differ."""
        ledger, outbox = {"equity": self._shadow.equity, "cash": self._shadow.cash}, self._outbox
        if outbox is None:
            self._journal.append("reconciliation", self._text, ledger)
            return
        holdings = dict(zip(self._contract.symbols, self._shadow.shares.tolist(), strict=True))
        differences = self._guard(lambda: outbox.reconcile(self._text, fills, holdings, ledger))
        if differences:
            reason = "; ".join(differences[:3]) + (" ..." if len(differences) > 3 else "")
            self._journal.append("halt", self._text, {"reason": reason})
            raise SessionError(f"halted at {self._text}, no further orders: {reason}; see {self._journal.path}")

    def _decide(self, received: float | None = None) -> None:
        panel, asked = self._tape.panel(), time.perf_counter()
        targets = self._guard(lambda: self._mind.decide(panel, self._shadow.portfolios))
        answered, equity = time.perf_counter(), self._shadow.equity
        placed = self._shadow.place(panel, targets)
        intents = self._intents(placed) if self._outbox else []
        self._journal_decision(targets, equity, placed, intents)
        durable, outbox = time.perf_counter(), self._outbox
        if outbox:
            self._guard(lambda: outbox.send(self._text, intents))
        if received is not None:
            self._timings.append((durable - received, answered - asked, time.perf_counter() - received))

    def _journal_decision(self, targets: Targets, equity: float, placed: list[Placed], intents: list[Intent]) -> None:
        """Make a decision, what the strategy remembers and its intents durable in one transaction."""
        memory = self._mind.freeze()
        with self._journal.batch() as batch:
            body = {
                "targets": nullable(targets.values),
                "are_shares": targets.are_shares,
                "equity": equity,
                "orders": [list(order) for order in placed],
                "memory": None if memory is None else hashlib.sha256(memory.encode()).hexdigest(),
            }
            batch.add("decision", self._text, body)
            for intent in intents:
                batch.add("intent", self._text, intent._asdict())
            if memory is not None:
                batch.remember(memory)

    def _intents(self, placed: list[Placed]) -> list[Intent]:
        return [
            Intent(client_order_id(self._name, self._text, order.symbol, order.quantity), order.symbol, order.quantity)
            for order in placed
            if quantise(order.quantity)
        ]

    # ------------------------------------------------------------------------------------------------- the end

    def _guard(self, act: Callable[[], Answer]) -> Answer:
        """Do something that may fail, and journal a halt when it does.

        No answer is no reason to halt: whatever is in doubt is looked up when the session is started again.
        """
        try:
            return act()
        except BrokerUncertain:
            raise
        except (BrokerError, StrategyError) as error:
            self._journal.append("halt", self._text, {"reason": str(error)})
            raise

    def _close(self) -> None:
        events = self._journal.events()
        if events[-1].kind == "end":
            return
        panel = self._tape.panel()
        verdict = judge(events, panel, self._start, self._strategy, self._spec)
        counts = self._outbox.close() if self._outbox else {}
        self._journal.append("end", "", {**verdict, **counts, "latency": _latency(self._timings)})


@contextlib.contextmanager
def _no_long_collections() -> Iterator[None]:
    """Keep the garbage collector from walking all that was imported and loaded so far, 0.2 s in the middle of a bar."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _latency(timings: list[tuple[float, float, float]]) -> dict[str, float]:
    """Return milliseconds: bar received to intents durable, the strategy's share of it, and to the last answer."""
    if not timings:
        return {}
    table, names = 1000.0 * np.array(timings), ("durable", "strategy", "sent")
    half, most = np.percentile(table, 50, axis=0), np.percentile(table, 99, axis=0)
    return {
        f"{name}_p{p}_ms": round(float(row[k]), 3)
        for k, name in enumerate(names)
        for p, row in ((50, half), (99, most))
    }
