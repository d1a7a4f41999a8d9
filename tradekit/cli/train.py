"""``tradekit train``."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json
from tradekit.cli.options import SOURCE, actions_option, examples, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tradekit.desk.folder import Desk
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import TrainResult

# What describes a new run, and so cannot be said of one that is gone on with.
_OF_A_NEW_RUN = (
    "data",
    "symbols",
    "start",
    "end",
    "actions",
    "timesteps",
    "episodes",
    "iterations",
    "seed",
    "tensorboard",
    "mlflow",
)


@click.command(
    "train",
    short_help="Train a policy by its recipe.",
    epilog=examples(
        "tradekit train", "tradekit train symbol_ppo --data prices/ --timesteps 300000", "tradekit train --resume"
    ),
)
@click.argument("name", required=False)
@click.option("--data", metavar="SOURCE", help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date of training.")
@click.option("--end", metavar="DATE", help="Last date of training and validation; later bars stay unseen.")
@actions_option
@click.option(
    "--timesteps", type=click.IntRange(min=1), metavar="N", help="Environment steps, instead of the recipe's."
)
@click.option("--episodes", type=click.IntRange(min=1), metavar="N", help="As many steps as N whole episodes have.")
@click.option("--iterations", type=click.IntRange(min=1), metavar="N", help="As many steps as N updates take.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed, instead of the recipe's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the run and its bundle here and leave the policy's bundle as it is.",
)
@click.option("--resume", is_flag=True, help="Go on with the newest run that has not ended, or with the one in --out.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files into the run folder too.")
@click.option("--mlflow", metavar="URI", help="Log to this MLflow store too, such as sqlite:///mlflow.db.")
@click.option("--verbose", is_flag=True, help="A line for every update.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def command(name: str | None, out: Path | None, as_json: bool, **given: Any) -> None:
    """Train the policy NAME by policies/NAME/recipe.toml and put its bundle where strategies load it.

    NAME may be left out when the desk has one policy. Everything about the run stands in policies/NAME/runs/TIME:
    metrics.parquet, checkpoints, report.html, summary.json and the bundle.

    Ctrl+C finishes the update, saves a checkpoint and ends; a second one ends at once. --resume goes on from the last
    checkpoint, and the run ends with the weights that it would have had without the interruption.

    Exit status: 0 trained, and the bundle is in place; 1 the policy is not usable (it does not trade, its numbers are
    not finite, or a guard halted the run) and its bundle is not put in place; 2 the recipe, the data or a folder cannot
    be used, the disk is full, or training diverged; 130 interrupted.
    """
    from tradekit.cli.training_view import view
    from tradekit.desk.folder import find_desk
    from tradekit.report.training import write_training_report

    if given["verbose"] and given["quiet"]:
        raise click.UsageError("--verbose and --quiet exclude each other")
    desk = find_desk()
    name = name or only_policy(desk)
    how = "quiet" if given.pop("quiet") else "lines"
    how = "verbose" if given.pop("verbose") else how
    with view(f"train {name}", how) as progress, interruptible(progress.say) as stop:
        made = (_resume if given.pop("resume") else _train)(desk, name, out, progress, stop, given)
    report = write_training_report(made.run_folder)
    _print(name, made, report, as_json=as_json)
    if not made.healthy:
        raise click.exceptions.Exit(1)


def only_policy(desk: Desk) -> str:
    """Return the name of the desk's only policy.

    Raises:
        DeskError: there is none, or there are several.
    """
    from tradekit.errors import DeskError

    names = sorted(path.parent.name for path in desk.policies.glob("*/recipe.toml"))
    if len(names) == 1:
        return names[0]
    if not names:
        raise DeskError(f"{desk.policies}: no policy with a recipe.toml; run: tradekit init --force {desk.root}")
    raise DeskError(f"several policies; name one: {', '.join(names)}")


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Give what tells whether the user has asked to stop. The second time a KeyboardInterrupt is raised at once."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        say("finishing this update, then saving; a second Ctrl+C ends at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train(desk: Desk, name: str, out: Path | None, progress: Any, stop: Any, given: dict[str, Any]) -> TrainResult:
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import RECIPE, train_policy
    from tradekit.market.sources import load_panel

    recipe = _changed(Recipe.load(desk.policies / name / RECIPE), given)
    names = {"symbols": given["symbols"], "start": given["start"], "actions": given["actions"]}
    loaded_from = {"source": given["data"] or recipe.data.source, **names}
    return train_policy(
        name,
        desk.root,
        load_panel(**loaded_from),
        recipe=recipe,
        seed=given["seed"],
        end=given["end"],
        out=out,
        loaded_from=loaded_from,
        progress=progress,
        stop=stop,
    )


def _resume(desk: Desk, name: str, out: Path | None, progress: Any, stop: Any, given: dict[str, Any]) -> TrainResult:
    from tradekit.learn.train import resume_policy

    too_much = [f"--{key}" for key in _OF_A_NEW_RUN if given[key]]
    if too_much:
        raise click.UsageError(f"--resume goes on with a run as it began; leave {', '.join(too_much)} out")
    return resume_policy(name, desk.root, out, progress=progress, stop=stop)


def _changed(recipe: Recipe, given: dict[str, Any]) -> Recipe:
    """Return the recipe with the length and the tracking that the options ask for."""
    from dataclasses import replace

    lengths = {
        "timesteps": given["timesteps"],
        "episodes": (given["episodes"] or 0) * recipe.environment.episode_bars,
        "iterations": (given["iterations"] or 0) * recipe.ppo.update_steps,
    }
    chosen = {key: steps for key, steps in lengths.items() if steps}
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(f'--{key}' for key in chosen)} exclude each other")
    tracking = replace(
        recipe.tracking,
        tensorboard=recipe.tracking.tensorboard or given["tensorboard"],
        mlflow=given["mlflow"] or recipe.tracking.mlflow,
    )
    recipe = replace(recipe, tracking=tracking)
    return recipe.changed(timesteps=next(iter(chosen.values()))) if chosen else recipe


def _print(name: str, made: TrainResult, report: Path, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "policy": name,
                "verdict": made.verdict,
                "healthy": made.healthy,
                "promoted": made.promoted,
                "run": str(made.run_folder),
                "report": str(report),
                "bundle": str(made.bundle_path),
                "metrics": made.metrics,
            }
        )
        return
    click.echo(made.verdict)
    for alarm in made.metrics["alarms"]:
        click.echo(f"alarm  {alarm}")
    click.echo(f"run    {made.run_folder}")
    click.echo(f"report {report}")
    click.echo(f"bundle {made.bundle_path}")
