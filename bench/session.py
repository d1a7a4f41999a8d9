"""How long a session takes from a bar to its orders: ``python -m bench.session``.

20 symbols on an exchange in the same process, over HTTP by alpaca-py; a strategy that orders every symbol at every bar,
and the shipped policy. Timed from the moment a bar has closed: until decision and intents are durable in one
transaction, until the last order is answered, and the strategy's own share. Then the share of the disk: the commits
that lie before the intents are durable, with synchronous=FULL as sessions run and with OFF as they never do, in turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.desk.folder import find_desk
from tradekit.desk.loader import load_strategy
from tradekit.live.journal import Journal
from tradekit.live.limits import Limits
from tradekit.live.loop import Session
from tradekit.live.session import start
from tradekit.live.spec import SessionSpec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.journal import Batch
    from tradekit.market.panel import Floats, Panel

LIMITS = Limits(turnover_per_day=1e6)
WHAT = {"bar received to intents durable": 0, "of it the strategy": 1, "to the last order answered": 2}
"""Columns of a session's timings."""


@dataclass
class Restless:
    """Every weight moves at every bar: an order for every symbol."""

    name: str = "restless"
    lookback: int = 2

    def fit(self, train: Panel) -> Restless:
        """Learn nothing."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return (T, N) weights that go up and down in turn."""
        odd = panel.timestamps.astype("M8[D]").astype(np.int64) % 2
        return np.where((odd == 0)[:, None], 0.9, 0.5) / len(panel.symbols) * np.ones(panel.close.shape)


@contextmanager
def commits(seconds: list[tuple[str, float]], synchronous: str) -> Iterator[None]:
    """Time every commit of every journal, under a setting of SQLite's; named by the last kind of event in it."""
    batch, prepare = Journal.batch, Journal._prepare

    @contextmanager
    def timed(self: Journal) -> Iterator[Batch]:
        with batch(self) as one:
            yield one
            began = time.perf_counter()
        if one.events:
            seconds.append((one.events[-1].kind, time.perf_counter() - began))

    def prepared(self: Journal) -> None:
        prepare(self)
        connection: sqlite3.Connection = self._connection
        connection.execute(f"PRAGMA synchronous={synchronous}")

    Journal.batch, Journal._prepare = timed, prepared  # type: ignore[method-assign]
    try:
        yield
    finally:
        Journal.batch, Journal._prepare = batch, prepare  # type: ignore[method-assign]


def run(strategy: AnyStrategy, bars: int, synchronous: str) -> tuple[Floats, Floats]:
    """Run a session; return (T, 3) milliseconds as in WHAT, and (T,) of the commits before the intents."""
    spec = SessionSpec(name="bench", bars=bars, limits=LIMITS)
    written: list[tuple[str, float]] = []
    found: list[Any] = []
    close = Session._close

    def closed(self: Session) -> None:
        found.extend(self._timings)
        close(self)

    Session._close = closed  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder, commits(written, synchronous):
            start(spec, strategy, Path(folder))
    finally:
        Session._close = close  # type: ignore[method-assign]
    # Before the intents are durable: the bar, the reconciliation, the decision itself.
    spent, per_bar = 0.0, []
    for kind, seconds in written[2:]:
        spent = seconds if kind == "bar" else spent + seconds
        if kind in ("intent", "decision"):
            per_bar.append(spent)
    return 1000.0 * np.array(found), 1000.0 * np.array(per_bar)


def told(name: str, rounds: list[Floats]) -> str:
    """Return p50 and p99 in one line, each the median of the rounds': other users of the machine disturb some."""
    half, most = np.median([np.percentile(values, (50, 99)) for values in rounds], axis=0)
    return f"{name:>44}  {half:7.2f} {most:7.2f}"


def report(name: str, rounds: int, bars: int) -> None:
    """Print p50 and p99 of one strategy in milliseconds."""
    desk = find_desk(Path(__file__).parent.parent)
    strategy = Restless() if name == Restless.name else load_strategy(name, desk).strategy
    run(strategy, 3, "FULL")  # what is compiled and imported on the way
    tables: dict[str, list[Any]] = {"FULL": [], "OFF": []}
    for _ in range(rounds):
        for setting, kept in tables.items():
            kept.append(run(strategy, bars, setting))
    print(f"\n{f'{name}, {rounds} sessions of {bars} bars, ms':>44}  {'p50':>7} {'p99':>7}")
    for what, column in WHAT.items():
        print(told(what, [table[:, column] for table, _ in tables["FULL"]]))
    for setting, kept in tables.items():
        print(told(f"commits before that, synchronous={setting}", [spent for _, spent in kept]))


def main() -> None:
    """Run each strategy in a process of its own: threads that one leaves behind would wait for the other's cores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bars", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for name in (Restless.name, "symbol_ppo"):
        process = multiprocessing.get_context("spawn").Process(target=report, args=(name, given.rounds, given.bars))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
