"""Write the run folder of a result and print it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli import COMMAND_LINE
from tradekit.cli.console import print_json, print_rich

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tradekit.desk.folder import Desk
    from tradekit.desk.jobs import Outcome
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.engine.stress import Stress
    from tradekit.engine.walk_forward import WalkForward
    from tradekit.registry import Result

COMPARED = (
    "sharpe",
    "deflated_sharpe",
    "cagr",
    "total_return",
    "volatility",
    "max_drawdown",
    "turnover",
    "trades",
    "cost_ratio",
    "excess_over_benchmark",
)
"""Figures that the registry keeps of each strategy of a run."""


def command_line() -> str:
    """Return the command line as it was typed."""
    return str(click.get_current_context().meta[COMMAND_LINE])


def place_of(desk: Desk, name: str, out: Path | None) -> Path:
    """Return the folder that a run will be written to, before any work is done for it.

    Raises:
        DeskError: it exists, or cannot be made.
    """
    from tradekit.desk.folder import make_folder
    from tradekit.errors import DeskError

    if out is not None and out.exists():
        raise DeskError(f"{out} exists already; name another folder, or remove it")
    folder = out or desk.results / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}-{name}"
    make_folder(folder.parent)
    return folder


def publish(outcome: Outcome, place: Path, as_json: bool) -> None:
    """Write the run folder, enter it into the registry, and print its summary.

    Exit status 1 when a strategy uses the future, or when one raised or answered nonsense: the rest is written all the
    same.
    """
    from tradekit.report.other_trials import other_trials
    from tradekit.report.run_folder import PAGE, read_summary, write_run
    from tradekit.report.text import summary_text

    place = free_folder(place)
    with outcome.recording.ends_with():
        folder = write_run(
            outcome.result,
            place,
            command=command_line(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            file_hashes={one.strategy.name: one.file_hash for one in outcome.loaded},
            trials=outcome.recording.trials(measured(outcome.result, place)),
            others=other_trials(outcome.recording.kept()),
            **identities([one.strategy for one in outcome.loaded], outcome.seeds),
        )
        summary = read_summary(folder)
        judged = [one for one in summary["strategies"] if one["kind"] != "ceiling"]
        outcome.recording.finish(folder.resolve(), {one["name"]: figures(one) for one in judged})
    if as_json:
        print_json(summary | {"folder": str(folder), "report": str(folder / PAGE)})
    else:
        print_rich(summary_text(summary), f"\n{folder / PAGE}")
    demand_sound(summary, outcome.result.failures)


def demand_sound(summary: dict[str, Any], failures: Sequence[str]) -> None:
    """Say what went wrong on standard error, and exit with 1 if anything did."""
    for one in summary["strategies"]:
        if one["audit"] and one["audit"]["lookback_holds"] is False:
            click.echo(
                f"warning: {one['name']} declares a lookback that is too short: a session decides otherwise", err=True
            )
    for failure in failures:
        click.echo(f"error: {failure}", err=True)
    failed = [one["name"] for one in summary["strategies"] if one["audit"] and not one["audit"]["passed"]]
    if failed:
        click.echo(f"error: uses the future: {', '.join(failed)}; see tradekit audit {failed[0]}", err=True)
    if failed or failures:
        raise click.exceptions.Exit(1)


def measured(result: WalkForward | Stress, place: Path) -> dict[str, Result]:
    """Return what a run measured of each strategy's returns, for the registry.

    Nothing of a cross-validation: it counts as trials, but who learnt from later bars would win among those of others.
    """
    from tradekit.desk.recording import costs_hash
    from tradekit.engine.cross_validation import CrossValidated
    from tradekit.evidence.sharpe import bar_sharpe, kurtosis, skewness
    from tradekit.registry import Result

    if isinstance(result, CrossValidated):
        return {}
    costs, found = costs_hash(result.costs, result.execution), {}
    for name, ledger in result.ledgers.items():
        returns = ledger.returns[max(1, result.scored_from) - 1 :]
        sharpe, skew, kurt = (_number(figure(returns)) for figure in (bar_sharpe, skewness, kurtosis))
        found[name] = Result(costs, sharpe, len(returns), skew, kurt, f"{place.resolve() / 'equity.parquet'}#{name}")
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def figures(strategy: dict[str, Any]) -> dict[str, float | None]:
    """Return those figures of a strategy in a summary that runs are compared by."""
    return {name: strategy["metrics"].get(name) for name in COMPARED} if strategy["metrics"] else {}


def identities(strategies: list[AnyStrategy], seeds: Sequence[int] = ()) -> dict[str, Any]:
    """Return what a manifest says of policies and seeds."""
    from tradekit.learn.actions import NAMES, REASONS
    from tradekit.learn.policy import PolicyStrategy

    policies = [one for one in strategies if isinstance(one, PolicyStrategy)]
    return {
        "bundle_hashes": {one.name: one.bundle.digest for one in policies},
        "action_names": NAMES if policies else (),
        "action_reasons": REASONS if policies else (),
        "seeds": sorted(seeds or {seed for one in strategies if isinstance(seed := getattr(one, "seed", None), int)}),
    }


def free_folder(place: Path) -> Path:
    """Return ``place``, numbered if somebody else has made it in the meantime."""
    folder, k = place, 1
    while folder.exists():
        k += 1
        folder = place.with_name(f"{place.name}-{k}")
    return folder
