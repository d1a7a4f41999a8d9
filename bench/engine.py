"""Time the step kernel, its parts, and the start of a process: ``python -m bench.engine``.

Best of several runs, after one that compiles; the number of threads is NUMBA_NUM_THREADS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.timing import best
from tradekit import CostModel, ExecutionModel
from tradekit.market import kernel
from tradekit.market.costs import cost_rows
from tradekit.market.execution import market_of, open_book
from tradekit.market.panel import Panel, equal_weight_returns
from tradekit.market.sweep import run_weights

if TYPE_CHECKING:
    from tradekit.market.panel import Floats

BARS, SYMBOLS, SCENARIOS = 2400, 145, 200
ENVIRONMENTS, STEPS = 1024, 200


class Given:
    """An open loop over a given table."""

    name = "given"

    def __init__(self, table: Floats) -> None:
        self.table = table

    def fit(self, train: Panel) -> Given:
        """Learn nothing."""
        return self

    def weights(self, panel: Panel) -> Floats:
        """Return the table."""
        return self.table


def random_walks(bars: int, symbols: int, seed: int = 0) -> Panel:
    """Return daily bars of lognormal prices."""
    rng = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(rng.normal(0.0003, 0.01, (bars, symbols)), axis=0))
    opens = closes * np.exp(rng.normal(0, 0.003, (bars, symbols)))
    timestamps = np.datetime64("2010-01-01", "ns") + np.arange(bars) * np.timedelta64(1, "D")
    return Panel(
        timestamps=timestamps,
        symbols=tuple(f"S{number}" for number in range(symbols)),
        open=opens,
        high=np.maximum(opens, closes),
        low=np.minimum(opens, closes),
        close=closes,
        volume=np.full((bars, symbols), 1e6),
        tradable=np.ones((bars, symbols), np.bool_),
        close_time=timestamps,
        benchmark_returns=equal_weight_returns(closes),
    )


# ----------------------------------------------------------------------------------------------------------- the kernel


def asset_bars(panel: Panel, weights: Floats, cost: CostModel, threads: int) -> float:
    """Return asset-bars a second when every symbol is rebalanced at every bar under SCENARIOS cost shocks."""
    numba.set_num_threads(threads)
    execution = ExecutionModel()
    market = market_of(panel, execution, [cost])
    table = cost_rows([cost.shocked(1 + number / 100) for number in range(SCENARIOS)])
    silent = np.empty((SCENARIOS, 0), kernel.ORDER)

    def work() -> None:
        book = open_book(1e6, [0] * SCENARIOS, len(panel.symbols), 0, range(SCENARIOS))
        run_weights(market, execution.rules, table, book, weights, 0, len(panel), silent)

    return weights.size * SCENARIOS / best(work)


def kernels() -> Table:
    """Time the kernel under every kind of cost."""
    panel = random_walks(BARS, SYMBOLS)
    full, part = np.full((BARS, SYMBOLS), 1.0 / SYMBOLS), np.full((BARS, SYMBOLS), 0.9 / SYMBOLS)
    title = f"{BARS} bars x {SYMBOLS} symbols x {SCENARIOS} scenarios, every symbol traded at every bar"
    threads = sorted({1, numba.get_num_threads()}, reverse=True)
    table = Table("costs", "weights", *(f"asset-bars / s, threads: {count}" for count in threads), title=title)
    for name, weights, cost in (
        ("realistic", part, CostModel()),
        ("realistic, cash short at every bar", full, CostModel()),
        ("sampled slippage", part, CostModel(slippage_mode="sampled")),
        ("impact by dollar volume, regulatory", part, CostModel(impact_basis="adv", regulatory=1)),
        ("minimum commission, cash short", full, CostModel(commission_minimum=0.01)),
    ):
        rates = [f"{asset_bars(panel, weights, cost, count) / 1e6:,.0f} M" for count in threads]
        table.add_row(name, f"{weights[0].sum():.1f}", *rates)
    numba.set_num_threads(threads[0])
    return table


def environments() -> Table:
    """Time place + settle of portfolios of one symbol, one thread, as the training environments call them."""
    panel, execution, cost = random_walks(BARS, 100), ExecutionModel(), CostModel()
    market, rng = market_of(panel, execution, [cost]), np.random.default_rng(1)
    rows, rules = cost_rows([cost]), execution.rules
    book = open_book(1e5, rng.integers(0, 100, ENVIRONMENTS), 1, 0)
    fills = np.zeros((ENVIRONMENTS, 1, kernel.FILL_COLUMNS))
    targets = rng.choice([0.0, 0.25, 0.5, 1.0, np.nan], (STEPS, ENVIRONMENTS, 1))
    start = rng.integers(0, BARS - STEPS - 1, ENVIRONMENTS)

    def work() -> None:
        for step in range(STEPS):
            kernel.place(market, rules, book, start + step, targets[step], False)
            kernel.advance(market, rules, rows, book, fills, start + step + 1)

    table = Table("what", "steps / s", title="portfolios of one symbol, each at a bar of its own, one thread")
    table.add_row(f"place + advance, {ENVIRONMENTS} portfolios", f"{STEPS * ENVIRONMENTS / best(work) / 1e6:,.1f} M")
    return table


# -------------------------------------------------------------------------------------------------- where the time goes


def anatomy() -> Table:
    """Time the parts of the step by leaving parts out, one thread, realistic costs."""
    panel, execution, cost = random_walks(BARS, SYMBOLS), ExecutionModel(), CostModel()
    market, rules, rows = market_of(panel, execution, [cost]), execution.rules, cost_rows([cost])
    batch, steps = 50, 200
    targets = np.full((batch, SYMBOLS), 0.9 / SYMBOLS)
    silent, loud = (np.zeros((count, SYMBOLS, kernel.FILL_COLUMNS)) for count in (0, batch))

    def nanoseconds(fills: Floats | None, *, place: bool) -> float:
        book = open_book(1e6, [0] * batch, SYMBOLS, 0)

        def work() -> None:
            for t in range(1, steps):
                bars = np.full(batch, t)
                if place:
                    kernel.place(market, rules, book, bars - 1, targets, False)
                if fills is not None:
                    kernel.advance(market, rules, rows, book, fills, bars)

        kernel.place(market, rules, book, np.zeros(batch, np.int64), targets, False)
        kernel.advance(market, rules, rows, book, silent, np.ones(batch, np.int64))
        return 1e9 * best(work) / (batch * SYMBOLS * (steps - 1))

    sized, marked = nanoseconds(None, place=True), nanoseconds(silent, place=False)
    whole, kept = nanoseconds(silent, place=True), nanoseconds(loud, place=True)
    table = Table("part of an asset-bar", "ns", title="where the time goes, one thread")
    table.add_row("place: size, truncate, order", f"{sized:.1f}")
    table.add_row("settle: carry, mark, clear", f"{marked:.1f}")
    table.add_row("settle: sort, charge and fill the orders", f"{whole - sized - marked:.1f}")
    table.add_row("together", f"{whole:.1f}")
    table.add_row("keeping the fill and its cost terms", f"{kept - whole:.1f}")
    return table


@numba.njit(parallel=True)
def triad(a: Floats, b: Floats, c: Floats) -> None:
    """Do a = b + 3 c, as the STREAM benchmark does (McCalpin 1995)."""
    for i in numba.prange(len(a)):
        a[i] = b[i] + 3.0 * c[i]


def bandwidth() -> Table:
    """Time memory itself, in arrays that fit into no cache and in arrays of the size of a panel's."""
    table = Table("a = b + 3 c", "GB / s", title="memory bandwidth, the threads of the kernel")
    for name, length in (("3 x 400 MB", 50_000_000), (f"3 x {BARS} x {SYMBOLS}", BARS * SYMBOLS)):
        a, b, c = np.zeros(length), np.ones(length), np.ones(length)
        table.add_row(name, f"{3 * 8 * length / best(partial(triad, a, b, c)) / 1e9:,.0f}")
    return table


# ------------------------------------------------------------------------------------------------------------ compiling

ONE_OF_EACH = """
import numpy as np
from bench.engine import Given, random_walks
from tradekit import simulate
panel = random_walks(50, 3)
class ByBar(Given):
    def on_bar(self, view):
        return self.table[view.bar]
for kind in (Given, ByBar):
    simulate(kind(np.full((50, 3), 0.3)), panel)
"""


def compiling() -> Table:
    """Time a fresh process that runs one open and one closed loop, without and with compiled kernels on disk."""
    table = Table("a new process: import, open loop, closed loop", "s")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nothing compiled yet", "kernels on disk"):
            begin = time.perf_counter()
            environment = os.environ | {"NUMBA_CACHE_DIR": folder}
            subprocess.run([sys.executable, "-c", ONE_OF_EACH], check=True, env=environment)
            table.add_row(name, f"{time.perf_counter() - begin:.1f}")
    return table


def main() -> None:
    """Print the tables."""
    console = Console(width=120)
    console.print(f"{os.cpu_count()} cores, {numba.get_num_threads()} threads, numba {numba.__version__}")
    for table in (kernels, anatomy, bandwidth, environments, compiling):
        console.print(table())


if __name__ == "__main__":
    main()
