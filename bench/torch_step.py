"""Time the step over tensors beside the numba kernel: ``python -m bench.torch_step [--compile] [--batches 1024 ...]``.

Portfolios of one symbol, each at a bar, a symbol and a target of its own: place, then settle, as a training
environment does. Median of several runs after one that warms up. The GPU is timed where there is one. With
``--compile`` torch.compile is timed too, and takes up to a minute for every row.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.engine import random_walks
from tradekit import CostModel, ExecutionModel
from tradekit.learn.torch_step import TorchBook, book_to_torch, costs_to_torch, place_weights, settle, to_torch
from tradekit.market import kernel
from tradekit.market.costs import cost_rows
from tradekit.market.execution import market_of, open_book

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from tradekit.market.panel import Floats, Panel

BATCHES = (1024, 8192, 65536, 1048576)
BARS, SYMBOLS, STEPS, REPEATS = 2400, 100, 8, 7
REALISTIC = CostModel()
EVERY_TERM = CostModel(
    commission_per_share=0.005,
    commission_minimum=1.0,
    slippage_mode="sampled",
    impact_basis="adv",
    regulatory=1.0,
    borrow_rate_annual=0.03,
    cash_interest_annual=0.02,
)


class Job(NamedTuple):
    """B portfolios and what they are asked for: start (B,) and targets (STEPS, B, 1)."""

    panel: Panel
    cost: CostModel
    columns: NDArray[np.int64]
    start: NDArray[np.int64]
    targets: Floats

    @classmethod
    def random(cls, panel: Panel, cost: CostModel, batch: int) -> Job:
        """Return a job that buys, sells, exits and holds."""
        rng = np.random.default_rng(1)
        targets = rng.choice([0.0, 0.25, 0.5, 1.0, np.nan], (STEPS, batch, 1))
        start = rng.integers(30, BARS - STEPS - 1, batch)
        return cls(panel, cost, rng.integers(0, SYMBOLS, batch), start, targets)


def by_kernel(job: Job) -> Callable[[], object]:
    """Return the job in numba, one thread."""
    rules, market = ExecutionModel().rules, market_of(job.panel, ExecutionModel(), [job.cost])
    rows, book = cost_rows([job.cost]), open_book(1e5, job.columns, 1, 0)
    silent = np.zeros((0, 0, 0))

    def work() -> None:
        for step, targets in enumerate(job.targets):
            kernel.place(market, rules, book, job.start + step, targets, False)
            kernel.advance(market, rules, rows, book, silent, job.start + step + 1)

    return work


def by_tensors(job: Job, device: str, dtype: torch.dtype, *, compiled: bool) -> Callable[[], object]:
    """Return the job in torch."""
    rules, market = ExecutionModel().rules, to_torch(market_of(job.panel, ExecutionModel(), [job.cost]), device, dtype)
    costs = costs_to_torch(cost_rows([job.cost]), device, dtype)
    targets, start = torch.tensor(job.targets, dtype=dtype, device=device), torch.tensor(job.start, device=device)
    state = [book_to_torch(open_book(1e5, job.columns, 1, 0), device, dtype)]

    def step(book: TorchBook, bars: Tensor, wanted: Tensor) -> TorchBook:
        return settle(market, rules, costs, place_weights(market, rules, book, bars, wanted), bars + 1)[0]

    move = torch.compile(step, fullgraph=True, dynamic=False) if compiled else step

    def work() -> None:
        for number in range(STEPS):
            state[0] = move(state[0], start + number, targets[number])
        if device == "cuda":
            torch.cuda.synchronize()

    return work


def rate(work: Callable[[], object], batch: int) -> str:
    """Return portfolio-steps a second, in millions."""
    work()
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return f"{batch * STEPS / statistics.median(seconds) / 1e6:,.2f} M"


def table(name: str, cost: CostModel, batches: list[int], *, compiled: bool) -> Table:
    """Time every way of doing the job, for every batch."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    ways = [
        (device, dtype, fused)
        for device in devices
        for dtype in (torch.float64, torch.float32)
        for fused in ((False, True) if compiled else (False,))
    ]
    heads = [f"{device} {str(dtype)[6:]}{' compiled' * fused}" for device, dtype, fused in ways]
    answer = Table("portfolios", "numba, one thread", *heads, title=f"{name}: portfolio-steps / s")
    panel = random_walks(BARS, SYMBOLS)
    for batch in batches:
        job = Job.random(panel, cost, batch)
        cells = [rate(by_kernel(job), batch)]
        for device, dtype, fused in ways:
            torch.compiler.reset()
            cells.append(rate(by_tensors(job, device, dtype, compiled=fused), batch))
        answer.add_row(f"{batch:,}", *cells)
    return answer


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Time the step over tensors.")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), help="portfolios")
    options, console = parser.parse_args(), Console(width=140)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = f"{os.cpu_count()} cores, torch on {torch.get_num_threads()} threads"
    console.print(f"{platform.machine()}, {threads}, {gpu}, torch {torch.__version__}, numba {numba.__version__}")
    for name, cost in (("realistic costs", REALISTIC), ("every term", EVERY_TERM)):
        console.print(table(name, cost, options.batches, compiled=options.compile))


if __name__ == "__main__":
    main()
