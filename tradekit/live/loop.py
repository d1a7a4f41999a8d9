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
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tradekit.engine.strategy import Targets
from tradekit.errors import BrokerError, SessionError, StrategyError
from tradekit.live.broker import BrokerUncertain
from tradekit.live.follow import Follower, Model, Opening
from tradekit.live.hours import Moment
from tradekit.live.limits import Holdings, Watch
from tradekit.live.links import Snapshot
from tradekit.live.opening import describe, first_look, history, open_account
from tradekit.live.outbox import Intent, Outbox, plan
from tradekit.live.parity import judge
from tradekit.live.patience import Killed, Stopped
from tradekit.live.shadow import Mind, Shadow, sleeves_of
from tradekit.live.tape import Tape, bar_text, from_json, nullable, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.journal import Event, Journal
    from tradekit.live.links import Links
    from tradekit.live.shadow import ModelFill, Placed
    from tradekit.live.spec import SessionSpec
    from tradekit.live.tape import Bar, Contract

Answer = TypeVar("Answer")

MOST_SHOWN = 3


class Session:
    """One session over one journal.

    Args:
        spec: what to run.
        strategy: not yet fitted.
        contract: what the bars are.
        journal: open for writing; empty, or of the same session.
        links: broker, bars and clock.
        watcher: called after every bar, and whenever something else begins.
        pause_asked: called before every bar; raises Stopped when somebody wants the session to end here.
    """

    def __init__(
        self,
        spec: SessionSpec,
        strategy: AnyStrategy,
        contract: Contract,
        journal: Journal,
        links: Links,
        watcher: Callable[[Snapshot], None] | None = None,
        pause_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._strategy, self._contract, self._journal, self._links = (
            spec, strategy, contract, journal, links
        )  # fmt: skip
        self._name, self._daily, self._watcher = journal.path.stem, contract.is_daily, watcher
        self._pause_asked = pause_asked
        self._shadow = Shadow(contract, spec, sleeves_of(strategy))
        self._cash_before = self._shadow.cash
        self._limits = Watch(spec.limits)
        self._timings: list[tuple[float, float, float]] = []
        self._orders, self._model_cost = 0, 0.0

    def run(self) -> None:
        """Run from where the journal ends to the end of the session, and journal the verdict.

        Raises:
            Stopped: somebody asked for it; nothing is wrong.
            SessionError: the journal is of another session, or the session halted itself.
            StrategyError, BrokerError: as raised.
        """
        self._open()
        with _no_long_collections():
            try:
                for done in range(self._replay_journal(), self._bars):
                    self._pause_asked()
                    self._tell(done, "waiting for the next bar")
                    self._live(self._links.ticker.advance(self._first_bar + done, self._listen))
            except Killed as killed:
                self._wind_down(str(killed))
                raise
        self._close()

    def _open(self) -> None:
        """Journal what the session is, or check that the journal is of this very session, and load its history."""
        mine = describe(self._name, self._spec, self._strategy, self._contract)
        if not self._journal.events():
            first = first_look(self._spec, self._strategy, self._contract, self._links.ticker)
            opening = open_account(self._links.broker, self._contract, self._spec) if self._links.broker else None
            account = opening.to_json() if opening else None
            self._journal.append("session", "", {**mine, **first, "account": account})
        opened = self._journal.events()[0].body
        for key, value in mine.items():
            if opened.get(key) != value:
                raise SessionError(
                    f"{self._journal.path}: was started with {key} = {opened.get(key)!r}, not {value!r}; go on with "
                    "the spec and strategy it was started with, or move the file away"
                )
        self._first_bar, self._bars = int(opened["first_bar"]), int(opened["bars"])
        if self._links.broker is not None:
            opening = Opening.from_json(opened["account"])
            again = self._links.persistence
            self._follower = Follower(self._links.broker, self._journal, self._name, opening, again.pause)
            self._outbox: Outbox | None = Outbox(
                self._links.broker, self._journal, self._follower, self._links.switch.demand_off, again.pause
            )
        else:
            self._outbox = None
        start = np.datetime64(opened["first"].removesuffix("Z"), "ns")
        self._strategy, self._tape, self._start = history(
            self._journal, self._spec, self._strategy, self._contract, self._links, (start, self._bars)
        )
        self._mind = Mind(self._strategy, self._spec, self._start, len(self._shadow.portfolios))

    # -------------------------------------------------------------------------------------------------- replay

    def _replay_journal(self) -> int:
        """Bring tape, shadow and open orders to where the journal ends; return the bars that are done."""
        bars: dict[str, list[Event]] = {}
        for event in self._journal.events():
            if event.bar and not event.body.get("history"):
                bars.setdefault(event.bar, []).append(event)
        if bars:
            self._links.ticker.demand_near(self._first_bar + len(bars) - 1, str(self._journal.path))
        memory = self._journal.memory()
        if memory is not None:
            self._mind.thaw(*memory)
        newest: tuple[list[Event], list[ModelFill]] | None = None
        for events in bars.values():
            newest = events, self._replay_bar(events)
        if newest:
            self._come_back(*newest)
        return len(bars)

    def _replay_bar(self, events: list[Event]) -> list[ModelFill]:
        """Go through a bar as it went, and return what the model says became of the orders due in it."""
        kinds = {event.kind: event for event in events}
        self._see(from_json(kinds["bar"]))
        fills = self._settle()
        if "reconciliation" in kinds:
            self._limits.see(self._text, self._shadow.equity)
        if self._outbox and "reconciliation" in kinds:
            self._follower.fall_due(self._model(fills))
            refused = 0
            for event in events:  # in their order: an order is acknowledged before it fills
                refused += self._outbox.restore(event)
                self._follower.restore(event)
            if "intent" in kinds:
                self._limits.refused(self._text, refused)
        if "decision" in kinds:
            self._place_again(kinds["decision"], [Intent.of(e.body) for e in events if e.kind == "intent"])
        return fills

    def _place_again(self, decision: Event, intents: list[Intent]) -> None:
        targets = Targets(np.array(decision.body["targets"], np.float64), decision.body["are_shares"])
        held = self._holdings()
        placed = self._shadow.place(self._tape.panel(), targets)
        if [list(order) for order in placed] != decision.body["orders"]:
            raise SessionError(
                f"{self._journal.path}: the decision of {decision.bar} sizes other orders than were journalled; "
                "go on with the tradekit that wrote it"
            )
        self._limits.note(intents, held)
        self._orders += len(intents)

    def _come_back(self, events: list[Event], fills: list[ModelFill]) -> None:
        """After a restart, finish the bar that the journal ends with.

        First what became of every intent, then whether the account adds up, and only then a decision. A reason to halt
        may be in the journal without the halt: it holds. What is too late to act on is not sent.
        """
        kinds, late = {event.kind: event for event in events}, self._is_late()
        if "reconciliation" not in kinds:
            self._reconcile(fills)
        else:
            self._halt_on(kinds["reconciliation"].body.get("differences", []))
            self._halt_if(self._limits.see(self._text, self._shadow.equity))
            if self._outbox:
                resolve = self._outbox.resolve
                refused = self._guard(lambda: resolve(late=late))
                self._halt_if(self._limits.refused(self._text, refused) if "intent" in kinds else None)
                self._halt_on(self._guard(lambda: self._follower.check(self._text)))
        if "decision" not in kinds and not self._is_last:
            self._decide(late=late)

    # ------------------------------------------------------------------------------------------------ each bar

    def _live(self, moment: Moment) -> None:
        received = time.perf_counter()
        self._links.switch.demand_off()
        if self._links.broker is not None:
            clock = self._links.broker.clock()
            self._links.ticker.demand_time(clock, moment, self._spec.limits.clock_seconds)
        bar = self._fetch(moment)
        self._journal.append("bar", bar_text(bar.timestamp, self._daily), {"history": False, **to_json(bar)})
        self._see(bar)
        self._reconcile(self._settle())
        if not self._is_last:
            self._decide(received, late=self._is_late())
        self._tell(len(self._tape) - self._start, "bar done")

    def _fetch(self, moment: Moment) -> Bar:
        """Return the bar; symbols that are late are waited for, within what the spec allows."""
        until = time.monotonic() + self._spec.connection.late_seconds
        while True:
            bar = self._links.persistence.ask(lambda: self._ask_for(moment))
            if bar.tradable.all() or time.monotonic() >= until:
                return bar
            self._links.persistence.pause(min(1.0, self._spec.connection.late_seconds))

    def _ask_for(self, moment: Moment) -> Bar:
        bar = self._links.feed.bar(moment.timestamp, moment.close_time)
        if self._links.ticker.always_trades and not bar.tradable.any():
            raise BrokerUncertain(f"no bar of any symbol yet for {bar_text(bar.timestamp, self._daily)}")
        return bar

    def _listen(self) -> None:
        """Look at the account when something was heard of it between two bars."""
        hints = self._links.hints
        if hints is not None and hasattr(self, "_text") and hints.due():
            self._halt_on(self._guard(lambda: self._follower.check(self._text)))

    def _see(self, bar: Bar) -> None:
        self._tape.append(bar)
        self._text = bar_text(bar.timestamp, self._daily)

    @property
    def _is_last(self) -> bool:
        """Whether no bar follows in which an order could fill; a backtest decides nothing there either."""
        return len(self._tape) == self._start + self._bars

    def _is_late(self) -> bool:
        """Whether the newest bar closed too long ago to act on it."""
        panel, first = self._tape.panel(), self._first_bar
        moment = Moment(
            bar=first + len(panel) - 1 - self._start,
            last=first + self._bars - 1,
            timestamp=panel.timestamps[-1],
            close_time=panel.close_time[-1],
        )
        return self._links.ticker.is_late(moment, self._spec.limits.stale_seconds)

    def _settle(self) -> list[ModelFill]:
        """Take the shadow through the newest bar; there is nothing to settle in the first."""
        fills = self._shadow.settle(self._tape.panel()) if len(self._tape) > self._start + 1 else []
        self._model_cost += sum(sum(fill.costs.values()) for fill in fills)
        return fills

    def _model(self, fills: list[ModelFill]) -> Model:
        panel, symbols = self._tape.panel(), self._contract.symbols
        at_open = self._spec.execution.fills_at(panel) == "open"
        prices = (panel.open if at_open else panel.close)[-1]
        return Model(
            fills=fills,
            shares=dict(zip(symbols, self._shadow.shares.tolist(), strict=True)),
            references=dict(zip(symbols, prices.tolist(), strict=True)),
            equity=self._shadow.equity,
            cash=self._shadow.cash,
            cash_before=self._cash_before,
        )

    def _reconcile(self, fills: list[ModelFill]) -> None:
        """Set the broker's fills and positions beside the model's; halt when the account does not add up."""
        crossed = self._limits.see(self._text, self._shadow.equity)
        model = self._model(fills)
        if self._outbox is None:
            self._journal.append("reconciliation", self._text, model.ledger())
        else:
            self._halt_on(self._guard(lambda: self._follower.reconcile(self._text, model)))
        self._halt_if(crossed)

    def _holdings(self) -> Holdings:
        mark, symbols = self._tape.panel().mark, self._contract.symbols
        before = mark[-2] if len(mark) > 1 else mark[-1]
        return Holdings(symbols, mark[-1], before, self._shadow.shares.copy(), self._shadow.equity)

    def _decide(self, received: float | None = None, *, late: bool = False) -> None:
        panel, asked = self._tape.panel(), time.perf_counter()
        targets, sight = self._guard(lambda: self._mind.decide(panel, self._shadow.portfolios))
        answered, held = time.perf_counter(), self._holdings()
        drift = self._follower.drift(self._model([]).shares) if self._outbox else {}
        placed = self._shadow.place(panel, targets)
        intents: list[Intent] = []
        held_back: list[str] = []
        if self._outbox and not late:
            intents, held_back = plan(self._name, self._text, placed, drift, self._follower.working)
        self._halt_if(self._limits.check(intents, held))
        circumstances = {"saw": sight, "held_back": held_back, "late": late}
        self._journal_decision(targets, held.equity, placed, intents, circumstances)
        durable, outbox = time.perf_counter(), self._outbox
        self._limits.note(intents, held)
        self._orders += len(intents)
        if outbox and intents:
            refused = self._guard(lambda: outbox.send(self._text, intents))
            self._halt_if(self._limits.refused(self._text, refused))
        if received is not None:
            self._timings.append((durable - received, answered - asked, time.perf_counter() - received))

    def _journal_decision(
        self,
        targets: Targets,
        equity: float,
        placed: list[Placed],
        intents: list[Intent],
        circumstances: dict[str, Any],
    ) -> None:
        """Make a decision, what the strategy remembers and its intents durable in one transaction."""
        memory, appended = self._mind.freeze() or (None, [])
        with self._journal.batch() as batch:
            body = {
                "targets": nullable(targets.values),
                "are_shares": targets.are_shares,
                "equity": equity,
                "orders": [list(order) for order in placed],
                "memory": None if memory is None else hashlib.sha256(memory.encode()).hexdigest(),
                **circumstances,
            }
            batch.add("decision", self._text, body)
            for intent in intents:
                batch.add("intent", self._text, intent._asdict())
            if memory is not None:
                batch.remember(memory, appended)

    # ------------------------------------------------------------------------------------------------- the end

    def _guard(self, act: Callable[[], Answer]) -> Answer:
        """Do something that may fail, and journal a halt when it does.

        No answer is no reason to halt: whatever is in doubt is looked up when the session is started again.
        """
        try:
            return act()
        except (BrokerUncertain, Stopped):
            raise
        except (BrokerError, StrategyError) as error:
            self._journal.append("halt", self._text, {"reason": str(error)})
            raise

    def _halt_on(self, faults: list[str]) -> None:
        more = f" and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
        self._halt_if("; ".join(faults[:MOST_SHOWN]) + more if faults else None)

    def _halt_if(self, reason: str | None) -> None:
        if reason is not None:
            self._journal.append("halt", self._text, {"reason": reason})
            raise SessionError(f"halted at {self._text}, no further orders: {reason} ({self._journal.path})")

    def _wind_down(self, reason: str) -> None:
        """Cancel what is open, sell everything if that was asked for, and journal the halt."""
        text, done = getattr(self, "_text", ""), "nothing was open"
        if self._outbox is not None and text:
            cancelled = self._follower.cancel_all(text)
            done = f"{cancelled} open orders cancelled"
            order = self._links.switch.order()
            if order is not None and order["flatten"]:
                done += f", {self._flatten(self._outbox)} positions sold"
        self._journal.append("halt", text, {"reason": f"{reason}; {done}"})

    def _flatten(self, outbox: Outbox) -> int:
        """Order away all that this session has bought."""
        away = {symbol: -quantity for symbol, quantity in self._follower.traded().items()}
        intents, _ = plan(self._name, f"{self._text}.flat", [], away, frozenset())
        with self._journal.batch() as batch:
            for intent in intents:
                batch.add("intent", self._text, intent._asdict())
        outbox.send(self._text, intents, whatever=True)
        return len(intents)

    def _close(self) -> None:
        events = self._journal.events()
        if events[-1].kind == "end":
            return
        panel = Tape.of(self._contract, events).panel()  # the strategy may have written to the other
        verdict = judge(events, panel, self._start, self._strategy, self._spec)
        counts = self._follower.close() if self._outbox else {}
        if self._outbox:
            counts["unresolved_orders"] += len(self._outbox.unknown)
        self._journal.append("end", "", {**verdict, **counts, "latency": _latency(self._timings)})

    def _tell(self, done: int, doing: str) -> None:
        if self._watcher is None:
            return
        symbols, shares = self._contract.symbols, self._shadow.shares.tolist()
        theirs = self._follower.traded() if self._outbox else None
        positions = {
            symbol: (held, None if theirs is None else float(theirs.get(symbol, 0)))
            for symbol, held in zip(symbols, shares, strict=True)
            if held or (theirs and symbol in theirs)
        }
        self._watcher(
            Snapshot(
                done=done,
                bars=self._bars,
                bar=getattr(self, "_text", ""),
                doing=doing,
                next_bar=self._links.ticker.announce(self._first_bar + min(done, self._bars - 1)),
                equity=self._shadow.equity,
                cash=self._shadow.cash,
                broker_equity=self._follower.equity if self._outbox else None,
                positions=positions,
                orders=self._orders,
                model_cost=self._model_cost,
                drawdown=self._limits.drawdown,
                lost_today=self._limits.today,
            )
        )


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
