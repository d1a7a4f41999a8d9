"""Time the step kernel, and simulate against vectorbt on the same job: ``python -m bench.engine``.

Best of several runs, after one that compiles; the number of threads is NUMBA_NUM_THREADS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.timing import best
from tradekit import CostModel, ExecutionModel, simulate
from tradekit.market import kernel
from tradekit.market.costs import cost_rows
from tradekit.market.execution import market_of, open_book
from tradekit.market.panel import Panel, equal_weight_returns
from tradekit.market.sweep import run_weights

if TYPE_CHECKING:
    from tradekit.market.panel import Floats

BARS, SYMBOLS, SCENARIOS = 2400, 145, 200
ENVIRONMENTS, STEPS = 1024, 200
JOB_BARS, JOB_SYMBOLS, MONTH = 2520, 10, 21
LINEAR = CostModel(
    commission_bps=10, spread_bps=0, slippage_bps=5, slippage_mode="worst", impact_coefficient=0
)  # what vectorbt can express: a fee and a slippage


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


class Result(NamedTuple):
    """A timing of the job, and the final equity of its first scenario."""

    seconds: float
    equity: float


def random_walks(bars: int, symbols: int) -> Panel:
    """Return daily bars of lognormal prices."""
    rng = np.random.default_rng(0)
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


def asset_bars(panel: Panel, weights: Floats, cost: CostModel) -> float:
    """Return asset-bars a second when every symbol is rebalanced at every bar under SCENARIOS cost shocks."""
    execution = ExecutionModel()
    market = market_of(panel, execution, [cost])
    table = cost_rows([cost.shocked(1 + number / 100) for number in range(SCENARIOS)], panel.bars_per_year)
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
    table = Table("costs", "weights", "asset-bars / s", title=title)
    for name, weights, cost in (
        ("realistic", part, CostModel()),
        ("realistic, cash short at every bar", full, CostModel()),
        ("sampled slippage", part, CostModel(slippage_mode="sampled")),
        ("impact by dollar volume, regulatory", part, CostModel(impact_basis="adv", regulatory=1)),
        ("minimum commission, cash short", full, CostModel(commission_minimum=0.01)),
    ):
        table.add_row(name, f"{weights[0].sum():.1f}", f"{asset_bars(panel, weights, cost) / 1e6:,.0f} M")
    return table


def environments() -> Table:
    """Time place + settle of portfolios of one symbol, one thread, as the training environments call them."""
    panel, execution, cost = random_walks(BARS, 100), ExecutionModel(), CostModel()
    market, rng = market_of(panel, execution, [cost]), np.random.default_rng(1)
    rows, rules = cost_rows([cost], panel.bars_per_year), execution.rules
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


# ----------------------------------------------------------------------------------------------------- against vectorbt


def job() -> tuple[Panel, Floats]:
    """Return the panel, and weights of 0.9 in all that change once a month."""
    weights = np.full((JOB_BARS, JOB_SYMBOLS), np.nan)
    months = len(weights[::MONTH])
    weights[::MONTH] = 0.9 * np.random.default_rng(1).dirichlet(np.ones(JOB_SYMBOLS), months)
    return random_walks(JOB_BARS, JOB_SYMBOLS), weights


def ours(panel: Panel, weights: Floats, scenarios: int, *, records: bool) -> Result:
    """Time simulate, the ledgers included."""
    costs = [replace(LINEAR, slippage_bps=LINEAR.slippage_bps + number / 100) for number in range(scenarios)]
    seconds = best(lambda: simulate(Given(weights), panel, costs, cash=1e6, records=records))
    return Result(seconds, simulate(Given(weights), panel, costs, cash=1e6, records=records)[0].equity[-1])


def theirs(panel: Panel, weights: Floats, scenarios: int) -> Result:
    """Time vectorbt's from_orders over one group of columns per scenario, and the value of each group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vectorbt

    def tiled(rows: Floats) -> Floats:
        return np.tile(rows, (1, scenarios))

    missing = np.full((1, JOB_SYMBOLS), np.nan)
    close, opens = tiled(panel.close), tiled(panel.open)
    size, before = tiled(np.vstack([missing, weights[:-1]])), tiled(np.vstack([missing, panel.close[:-1]]))
    groups = np.repeat(np.arange(scenarios), JOB_SYMBOLS)
    slippage = (LINEAR.slippage_bps + groups / 100)[None, :] * 1e-4

    def work() -> Floats:
        portfolio = vectorbt.Portfolio.from_orders(
            close=close,
            size=size,
            size_type="targetpercent",
            price=opens,
            val_price=before,
            fees=LINEAR.commission_bps * 1e-4,
            slippage=slippage,
            init_cash=1e6,
            cash_sharing=True,
            group_by=groups,
            call_seq="auto",
            engine="numba",
        )
        return np.asarray(portfolio.value()).reshape(JOB_BARS, -1)

    return Result(best(work), float(work()[-1, 0]))


def against_vectorbt() -> Table:
    """Time the same job on both engines."""
    panel, weights = job()
    title = f"{JOB_BARS} bars x {JOB_SYMBOLS} assets, monthly weights, {LINEAR.commission_bps:g} bp fee, "
    table = Table("engine", "scenarios", "ms", "final equity", title=title + f"{LINEAR.slippage_bps:g} bp slippage")
    for scenarios in (1, 100, 500):
        for name, result in (
            ("simulate, equity only", ours(panel, weights, scenarios, records=False)),
            ("simulate, orders and costs kept", ours(panel, weights, scenarios, records=True)),
            ("vectorbt from_orders + value", theirs(panel, weights, scenarios)),
        ):
            table.add_row(name, str(scenarios), f"{1e3 * result.seconds:,.1f}", f"{result.equity:,.6f}")
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
    console = Console()
    console.print(f"{os.cpu_count()} cores, {numba.get_num_threads()} threads, numba {numba.__version__}")
    for table in (kernels, environments, against_vectorbt, compiling):
        console.print(table())


if __name__ == "__main__":
    main()
