"""One factor of the shipped recipe at a time: ``python -m bench.ablation [--workers 2]``.

Masks, sanitiser, reward, entropy and guards, each on a market with a planted edge, on one without any and on real
hourly bars, with the same seeds. A cell is one training run; finished ones are kept in ``build/ablation`` and taken up
again as long as neither the library nor the recipe has changed. docs/ablation.md says what came of it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from bench.factors import BASE, FACTORS, RECIPE, Market, markets, run
from tradekit.compute import Cell, Outcome, Store, hash_of, run_cells
from tradekit.compute.store import code_hash
from tradekit.evidence.seeds import interquartile_interval, interquartile_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.evidence.measures import Floats
    from tradekit.evidence.sharpe import Interval

HOURLY = Path("../shared/data/hourly_ibkr")
SEEDS = (1, 2, 3, 4, 5)
KEPT = Path("build/ablation")

Rows = dict[tuple[str, str], list[dict[str, Any]]]


def cells(chosen: Sequence[Market], factors: Sequence[str], seeds: Sequence[int], timesteps: int) -> dict[Any, Cell]:
    """Return the training runs by factor, market and seed; one seed of everything comes before the next seed."""
    recipe, own = RECIPE.read_bytes(), Path(__file__).with_name("factors.py").read_bytes()
    found = {}
    for seed, market, factor in itertools.product(seeds, chosen, factors):
        key = hash_of(code_hash(), recipe, own, factor, repr(market), seed, timesteps)
        label = f"{factor}, {market.name}, seed {seed}"
        found[factor, market.name, seed] = Cell(key, label, run, (factor, market, seed, timesteps))
    return found


def told(done: int, total: int, label: str) -> None:
    """Say where the work stands."""
    print(f"{done}/{total} {label}", file=sys.stderr, flush=True)


def gather(work: dict[Any, Cell], outcomes: dict[str, Outcome]) -> Rows:
    """Return what every run gave, by factor and market, in the order of the seeds.

    Raises:
        SystemExit: a run failed.
    """
    rows: Rows = {}
    for (factor, market, _), cell in work.items():
        outcome = outcomes[cell.key]
        if outcome.failure is not None:
            raise SystemExit(f"{cell.label}: {outcome.failure}")
        rows.setdefault((factor, market), []).append(outcome.value)
    return rows


def column(rows: Sequence[dict[str, Any]], name: str) -> Floats:
    """Return (R, 1) a figure of every seed; who holds cash has no Sharpe ratio, and it counts as 0."""
    values = np.array([math.nan if row[name] is None else row[name] for row in rows])
    return np.where(np.isfinite(values), values, 0.0)[:, None]


def spread(value: Interval, form: str) -> str:
    """Return an interquartile mean and its bounds."""
    return f"{value.value:{form}} [{value.low:{form}}, {value.high:{form}}]"


def table(market: Market, factors: Sequence[str], rows: Rows) -> list[str]:
    """Return what one market says, as lines of Markdown.

    The measure is the share of the optimum where one is known, else growth a year, on bars that nothing has seen; the
    last column compares it with the shipped recipe's, seed by seed.
    """
    measure, title = ("share_of_optimum", "share of optimum") if market.planted else ("growth_annual", "growth a year")
    heads = ("", title, "Sharpe", "validation Sharpe", "trades a year", "invested", "healthy", f"{title}, less shipped")
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    shipped = column(rows[BASE, market.name], measure)
    for factor in factors:
        mine = rows[factor, market.name]
        values = column(mine, measure)
        lines.append(
            "| "
            + " | ".join(
                (
                    factor,
                    spread(interquartile_interval(values), ".1%"),
                    spread(interquartile_interval(column(mine, "sharpe")), ".2f"),
                    f"{interquartile_mean(column(mine, 'validation_sharpe')):.2f}",
                    f"{interquartile_mean(column(mine, 'trades_per_year')):.1f}",
                    f"{interquartile_mean(column(mine, 'exposure')):.0%}",
                    f"{sum(row['healthy'] for row in mine)} of {len(mine)}",
                    "" if factor == BASE else spread(interquartile_interval(values - shipped), "+.1%"),
                )
            )
            + " |"
        )
    return lines


def main() -> None:
    """Train what is not kept yet and print a table for each market."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--timesteps", type=int, default=100_000, help="of every run")
    parser.add_argument("--hourly", type=Path, default=HOURLY, help="folder of hourly bars; left out when not there")
    parser.add_argument("--factors", nargs="+", choices=list(FACTORS), help="only these, beside the shipped recipe")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="each is a run, and a made-up market")
    given = parser.parse_args()
    chosen = markets(given.hourly)
    factors = [name for name in FACTORS if name == BASE or not given.factors or name in given.factors]
    work = cells(chosen, factors, given.seeds, given.timesteps)
    rows = gather(work, run_cells(list(work.values()), workers=given.workers, store=Store(KEPT), progress=told))
    console = Console(width=1000, highlight=False, markup=False)
    for market in chosen:
        held = interquartile_mean(column(rows[BASE, market.name], "held_sharpe"))
        console.print(f"\n{market.name}: {market.source}; bought and held, Sharpe {held:.2f}\n")
        console.print("\n".join(table(market, factors, rows)))
    if len(chosen) < 3:
        console.print(f"\nno hourly bars at {given.hourly}: two markets, not three")


if __name__ == "__main__":
    main()
