"""Time a TorchScript policy in a closed loop: ``python -m bench.closed_loop``.

20 symbols x 8,000 bars x 10 cost scenarios, each symbol a portfolio of its own: 200 portfolios whose positions the
policy sees. In lockstep it is called once a bar for all of them. Beside it, every portfolio driven by itself with the
same code, one call per portfolio and bar; a few of the 200 are timed and the time of all is computed from them. Medians
of runs that alternate. The policy is the shipped one's network; the final equity of the portfolios that were driven
alone stands beside theirs in lockstep.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from bench.engine import random_walks
from tradekit import CostModel, simulate
from tradekit.engine.lockstep import Job, Stretch, lockstep, run_lockstep
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.network import one_thread
from tradekit.learn.policy import PolicyStrategy
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from tradekit.engine.ledger import Ledger
    from tradekit.market.panel import Bools, Floats, Panel

SYMBOLS, BARS, SCENARIOS, REPEATS, ALONE, WINDOWS = 20, 8000, 10, 5, 4, 8
WORLDS, WORLD_BARS = 20, 504
COSTS = [CostModel().scaled(1 + number / 4) for number in range(SCENARIOS)]


class Timed:
    """The network of a policy, and the seconds spent in it."""

    def __init__(self, policy: PolicyStrategy) -> None:
        self.agent = SymbolAgent("policy", policy.features, policy.scheme, self)
        self._decide, self.seconds, self.calls = policy.bundle.decide, 0.0, 0

    def __call__(self, observation: Floats, mask: Bools) -> tuple[NDArray[np.int64], Floats]:
        """Return actions and probabilities."""
        begin = time.perf_counter()
        answer = self._decide(observation, mask)
        self.seconds += time.perf_counter() - begin
        self.calls += 1
        return answer


class Cost(NamedTuple):
    """Seconds of a run, of which in the network, and the calls of the network."""

    seconds: float
    network: float
    calls: int


def timed(network: Timed, work: Callable[[], object]) -> Cost:
    """Run ``work`` once."""
    network.seconds, network.calls, begin = 0.0, 0, time.perf_counter()
    work()
    return Cost(time.perf_counter() - begin, network.seconds, network.calls)


def median(costs: list[Cost]) -> Cost:
    """Return the run in the middle."""
    middle = statistics.median_low([cost.seconds for cost in costs])
    return next(cost for cost in costs if cost.seconds == middle)


def alone(network: Timed, panel: Panel) -> list[Ledger]:
    """Run ALONE of the portfolios one after the other: symbol k under cost scenario k."""
    cash = 100_000.0 / SYMBOLS
    return [
        simulate(network.agent, panel.select([panel.symbols[k]]), COSTS[k], cash=cash, records=True)
        for k in range(ALONE)
    ]


def row(table: Table, name: str, cost: Cost, times: float, portfolios: int, bars: int) -> None:
    """Add a way of doing the job, of which the measured run was 1 / ``times``."""
    decisions = portfolios * (bars - 1) / (cost.seconds * times)
    table.add_row(
        name,
        f"{cost.calls * times:,.0f}",
        f"{cost.seconds * times:,.2f}",
        f"{cost.network * times:,.2f}",
        f"{1e6 * cost.seconds / cost.calls:,.0f}",
        f"{decisions:,.0f}",
    )


def by_portfolio(network: Timed, panel: Panel) -> tuple[Table, str]:
    """Time all portfolios in lockstep and each by itself."""
    ways: dict[str, Callable[[], object]] = {
        "lockstep": lambda: simulate(network.agent, panel, COSTS),
        "lockstep, equity only": lambda: simulate(network.agent, panel, COSTS, records=False),
        "one call per portfolio": lambda: alone(network, panel),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for name, work in [item for _ in range(REPEATS + 1) for item in ways.items()]:
        costs[name].append(timed(network, work))
    table = Table(
        "",
        "calls",
        "s",
        "of it network",
        "us a call",
        "decisions / s",
        title=f"{SYMBOLS} symbols x {BARS} bars x {SCENARIOS} scenarios",
    )
    for name, several in costs.items():
        row(
            table,
            name,
            median(several[1:]),
            SYMBOLS * SCENARIOS / ALONE if "one" in name else 1,
            SYMBOLS * SCENARIOS,
            BARS,
        )
    together, single = simulate(network.agent, panel, COSTS), alone(network, panel)
    ends = []
    for k in range(ALONE):
        sleeves = together[k].sleeve_equity
        assert sleeves is not None
        ends.append(f"{sleeves[-1, k]:.6f} / {single[k].equity[-1]:.6f}")
    return table, f"final equity in lockstep / alone: {', '.join(ends)}"


def by_window(network: Timed, panel: Panel) -> Table:
    """Time windows of the bars in one lockstep and one after the other."""
    length = BARS // WINDOWS
    windows = [(k * length, (k + 1) * length) for k in range(WINDOWS)]
    ways: dict[str, Callable[[], object]] = {
        "windows together": lambda: lockstep(network.agent, panel, windows, COSTS[0], records=False),
        "one window after the other": lambda: [
            simulate(network.agent, panel, COSTS[0], start=start, stop=stop, records=False) for start, stop in windows
        ],
    }
    return beside(network, ways, f"{WINDOWS} windows of {length} bars x {SYMBOLS} symbols", SYMBOLS * WINDOWS, length)


def by_world(network: Timed) -> tuple[Table, str]:
    """Time worlds, panels of their own, in one lockstep and one after the other, as a stress test draws them."""
    panels = [random_walks(WORLD_BARS, SYMBOLS, seed) for seed in range(WORLDS)]
    stretches = [Stretch(panel, 0, WORLD_BARS) for panel in panels]
    job = Job(stretches, [0], COSTS[:1], ExecutionModel(), 100_000.0, records=False, progress=None)
    ways: dict[str, Callable[[], object]] = {
        "worlds together": lambda: run_lockstep(network.agent, job),
        "one world after the other": lambda: [
            simulate(network.agent, panel, COSTS[0], records=False) for panel in panels
        ],
    }
    title = f"{WORLDS} worlds of {WORLD_BARS} bars x {SYMBOLS} symbols"
    table = beside(network, ways, title, SYMBOLS * WORLDS, WORLD_BARS)
    together = run_lockstep(network.agent, job)
    single = [simulate(network.agent, panel, COSTS[0], records=False) for panel in panels]
    same = sum(bool((one.equity == other.equity).all()) for one, other in zip(together, single, strict=True))
    return table, f"{same} of {WORLDS} worlds have the same equity to the last bit"


def beside(network: Timed, ways: dict[str, Callable[[], object]], title: str, portfolios: int, bars: int) -> Table:
    """Time several ways of doing the same in turn."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for name, work in [item for _ in range(REPEATS + 1) for item in ways.items()]:
        costs[name].append(timed(network, work))
    table = Table("", "calls", "s", "of it network", "us a call", "decisions / s", title=title)
    for name, several in costs.items():
        row(table, name, median(several[1:]), 1, portfolios, bars)
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Time a TorchScript policy in a closed loop.")
    parser.add_argument("--policy", default="policies/symbol_ppo", help="folder of the policy")
    network, console = Timed(PolicyStrategy.load(parser.parse_args().policy)), Console(width=140)
    panel = random_walks(BARS, SYMBOLS)
    console.print(f"{os.cpu_count()} cores, torch {torch.__version__} on one thread")
    with one_thread():
        table, ends = by_portfolio(network, panel)
        console.print(table)
        console.print(ends)
        console.print(by_window(network, panel))
        for told in by_world(network):
            console.print(told)


if __name__ == "__main__":
    main()
