"""Time one job on tradekit and on the backtesting engines one could take instead: ``make peers``.

Medians of rounds in which every engine has one turn, so that a busy machine slows all of them; the input of each is
prepared, and its code compiled, before the clock starts. Memory is the growth of the peak resident set over the job,
in a process of its own, inputs and compiled code not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numba
from rich.console import Console
from rich.table import Table

from bench.batched import from_order_func, from_orders, tradekit
from bench.job import BARS, FEE, SLIPPAGE, SYMBOLS, job
from bench.one_run import backtesting, bt, pybroker

if TYPE_CHECKING:
    from bench.job import Answer, Prepare

SCENARIOS = (1, 100, 500)
ROUNDS = 7


class Peer(NamedTuple):
    """An engine, the module without which there is none, and whether it takes all scenarios in one call."""

    name: str
    module: str
    prepare: Prepare
    batched: bool = True


THREADS = sorted({1, min(2, numba.get_num_threads()), numba.get_num_threads()}, reverse=True)
PEERS = (
    *(Peer(f"tradekit, equity, threads: {n}", "numba", tradekit(records=False, threads=n)) for n in THREADS),
    *(Peer(f"tradekit, orders + costs, threads: {n}", "numba", tradekit(records=True, threads=n)) for n in THREADS),
    Peer("vectorbt from_orders, numba", "vectorbt", from_orders("numba")),
    Peer("vectorbt from_orders, Rust", "vectorbt_rust", from_orders("rust")),
    Peer("vectorbt from_order_func, numba", "vectorbt", from_order_func),
    Peer("PyBroker", "pybroker", pybroker, batched=False),
    Peer("bt", "bt", bt, batched=False),
    Peer("backtesting.py", "backtesting", backtesting, batched=False),
)


def medians(scenarios: int, rounds: int) -> dict[str, tuple[float, Answer]]:
    """Return seconds, the median of ``rounds`` turns, and the answer of every engine that takes so many scenarios."""
    given = job(scenarios)
    able = [peer for peer in PEERS if installed(peer) and (peer.batched or scenarios == 1)]
    works = {peer.name: peer.prepare(given) for peer in able}
    answers = {name: work() for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - begin)
    return {name: (statistics.median(seconds[name]), answers[name]) for name in works}


def installed(peer: Peer) -> bool:
    """Return whether the engine can be imported here."""
    return importlib.util.find_spec(peer.module) is not None


def growth(name: str, scenarios: int) -> int:
    """Return bytes by which the peak resident set of a new process grows over the job."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.peers", "--memory", name, "--scenarios", str(scenarios)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure_growth(name: str, scenarios: int) -> int:
    """Do the job in this process, after one scenario of it that compiles, and return the growth in bytes."""
    (peer,) = (peer for peer in PEERS if peer.name == name)
    peer.prepare(job(1))()
    work = peer.prepare(job(scenarios))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from what is resident now
    begin = resident("VmRSS")
    work()
    return resident("VmHWM") - begin


def resident(item: str) -> int:
    """Return bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(item))
    return int(line.split()[1]) * 1024


def compare(rounds: int) -> tuple[Table, Table]:
    """Time everything, weigh the largest job, and say by how much tradekit is quicker and smaller than vectorbt."""
    results = {scenarios: medians(scenarios, rounds) for scenarios in SCENARIOS}
    present = [peer for peer in PEERS if installed(peer)]
    memory = {peer.name: growth(peer.name, SCENARIOS[-1]) / 1e6 for peer in present if peer.batched}
    title = f"{BARS:,} bars x {SYMBOLS} assets, monthly weights, {FEE * 1e4:g} bp fee, {SLIPPAGE * 1e4:g} bp slippage"
    heads = [f"ms, {scenarios} scenario{'s' * (scenarios > 1)}" for scenarios in SCENARIOS]
    table = Table("engine", *heads, f"MB at {SCENARIOS[-1]}", "orders", "final equity", title=title)
    for peer in present:
        found = [results[scenarios].get(peer.name) for scenarios in SCENARIOS]
        times = [f"{1e3 * one[0]:,.1f}" if one else "" for one in found]
        answer = results[1][peer.name][1]
        weight = f"{memory[peer.name]:,.0f}" if peer.name in memory else ""
        table.add_row(peer.name, *times, weight, f"{answer.orders:,}", f"{answer.equity:,.4f}")
    seconds = {name: one[0] for name, one in results[SCENARIOS[-1]].items()}
    return table, ratios(seconds, memory)


def ratios(seconds: dict[str, float], memory: dict[str, float]) -> Table:
    """Set tradekit's figures beside the best of vectorbt's, whichever of its engines that is."""
    theirs = [name for name in seconds if name.startswith("vectorbt")]
    table = Table(
        "engine", "times as fast", "part of the memory", title=f"against vectorbt's best, {SCENARIOS[-1]} scenarios"
    )
    for name, own in seconds.items():
        if name not in theirs:
            faster = min(seconds[other] for other in theirs) / own
            smaller = min(memory[other] for other in theirs) / memory[name]
            table.add_row(name, f"{faster:,.0f}", f"1/{smaller:,.0f}")
    return table


def main() -> None:
    """Print the table, or with ``--memory`` one number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--memory", choices=[peer.name for peer in PEERS], help="print the bytes that one engine takes")
    parser.add_argument("--scenarios", type=int, default=SCENARIOS[-1])
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of the peers' imports
    if options.memory:
        print(measure_growth(options.memory, options.scenarios))
        return
    missing = [peer.name for peer in PEERS if not installed(peer)]
    console = Console(width=140)
    load, version = os.getloadavg()[0], platform.python_version()
    console.print(f"{os.cpu_count()} cores, load {load:.1f}, Python {version}, medians of {options.rounds} rounds")
    console.print(*compare(options.rounds), sep="\n")
    if missing:
        console.print(f"not installed here, see make peers: {', '.join(missing)}")


if __name__ == "__main__":
    main()
