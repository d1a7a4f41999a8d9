"""``tradekit train``."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json
from tradekit.cli.options import SOURCE, actions_option, examples, json_option, seeds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tradekit.desk.folder import Desk
    from tradekit.learn.bundle import Bundle
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import TrainResult
    from tradekit.market.panel import Panel

# What describes a new run, and so cannot be said of one that is gone on with.
_OF_A_NEW_RUN = (
    "recipe",
    "data",
    "symbols",
    "start",
    "end",
    "actions",
    "timesteps",
    "episodes",
    "iterations",
    "seed",
    "seeds",
    "validate",
    "tensorboard",
    "mlflow",
)


@click.command(
    "train",
    short_help="Train a policy by its recipe.",
    epilog=examples(
        "tradekit train",
        "tradekit train symbol_ppo --data prices/ --timesteps 300000",
        "tradekit train --seeds 42,1337,9001 --validate",
        "tradekit train --resume",
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
@click.option("--seeds", callback=seeds_of, metavar="1,2,3", help="Train under each of these, side by side.")
@click.option(
    "--validate",
    is_flag=True,
    help="Hold every seed to the health gates and say whether they converged; seeds 42, 1337, 9001 unless given.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes for several seeds, one thread each; all processors when left out. Numbers do not depend on it.",
)
@click.option("--ray", metavar="ADDRESS", help="Spread several seeds over this Ray cluster, or local, instead.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Another recipe than recipe.toml, such as recipe.tuned.toml; a name is looked for in the policy's folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the run and its bundle here and leave the policy's bundle as it is.",
)
@click.option("--resume", is_flag=True, help="Go on with the newest run that has not ended, or with the one in --out.")
@click.option(
    "--tensorboard/--no-tensorboard",
    default=None,
    help="Write TensorBoard's event files into the run folder, or not; the recipe's choice when left out, which is to.",
)
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

    With --seeds the recipe is trained under each, and of the usable policies the best by validation gets its bundle in
    place; with --validate only if every seed passes every health gate: entropy, trades, refusals, repeats, validation
    Sharpe above -0.1. An update is of 2,048 steps at most then, from fewer environments where the recipe has more. What
    was measured across the seeds, gate by gate, stands in the summary.json above their folders.

    Exit status: 0 trained, and the bundle is in place; 1 the policy is not usable (it does not trade, its numbers are
    not finite, or a guard halted the run; with --validate, a seed missed a gate) and its bundle is not put in place; 2
    the recipe, the data or a folder cannot be used, the disk is full, or training diverged; 130 interrupted.
    """
    from tradekit.desk.folder import find_desk

    if given["verbose"] and given["quiet"]:
        raise click.UsageError("--verbose and --quiet exclude each other")
    if given["validate"] and not given["seeds"]:
        from tradekit.learn.seeds import VALIDATED_SEEDS

        given["seeds"] = VALIDATED_SEEDS
    if given["seeds"] and given["seed"] is not None:
        raise click.UsageError("--seed is one and --seeds and --validate are several; leave --seed out")
    desk = find_desk()
    name = name or only_policy(desk)
    how = "quiet" if given.pop("quiet") else "lines"
    how = "verbose" if given.pop("verbose") else how
    several = bool(given["seeds"])
    if given["resume"]:
        _refuse_new(given)
        several = _holds_seeds(desk, name, out)
    healthy = (_several if several else _one)(desk, name, out, how, given, as_json=as_json)
    if not healthy:
        raise click.exceptions.Exit(1)


def _one(desk: Desk, name: str, out: Path | None, how: str, given: dict[str, Any], *, as_json: bool) -> bool:
    """Train or go on with one run, print what became of it, and return whether its policy is usable."""
    from tradekit.cli.training_view import view
    from tradekit.learn.bundle import read_bundle
    from tradekit.report.training import write_training_report

    with view(f"train {name}", how) as progress, interruptible(progress.say) as stop:
        made = (_resume if given["resume"] else _train)(desk, name, out, progress, stop, given)
    report = write_training_report(made.run_folder)
    bundle = read_bundle(made.run_folder / "bundle")
    remember(desk, name, bundle, made.run_folder, made.metrics, healthy=made.healthy, note=made.verdict)
    _print(name, made, report, as_json=as_json)
    return made.healthy


def _several(desk: Desk, name: str, out: Path | None, how: str, given: dict[str, Any], *, as_json: bool) -> bool:
    """Train or go on with several seeds, print what became of them, and return whether they are healthy."""
    from tradekit.cli.many_view import many
    from tradekit.cli.train_seeds import print_seeds
    from tradekit.desk.work import processors
    from tradekit.learn.bundle import read_bundle
    from tradekit.learn.run import begun, check_bars, unfinished
    from tradekit.learn.seeds import resume_seeds, train_seeds
    from tradekit.learn.train import RUNS
    from tradekit.market.sources import load_panel
    from tradekit.report.training import write_training_report

    home = desk.policies / name
    where = {"workers": given["workers"] or processors(), "ray": given["ray"]}
    with many(f"train {name}", how) as watched, interruptible(watched.say) as stop:
        if given["resume"]:
            folder = unfinished(home / RUNS) if out is None else out
            recipe, loaded_from = begun(folder)
            panel = load_panel(**loaded_from)
            check_bars(folder, panel)
            made = resume_seeds(home, folder, panel, recipe, promote=out is None, watched=watched, stop=stop, **where)
        else:
            recipe, panel, loaded_from = prepared(desk, name, given)
            made = train_seeds(
                name,
                desk.root,
                panel,
                recipe,
                given["seeds"],
                validate=given["validate"],
                out=out,
                loaded_from=loaded_from,
                watched=watched,
                stop=stop,
                **where,
            )
    for run in made.runs:
        if run.metrics:
            write_training_report(run.folder)
    judged = made.best or max((run for run in made.runs if run.metrics), key=lambda run: run.rank, default=None)
    if judged is not None:  # seeds of one recipe are one trial: of the policy that somebody would take
        bundle, told = read_bundle(judged.folder / "bundle"), made.summary["verdict"]
        remember(desk, name, bundle, made.folder, judged.metrics, healthy=made.healthy, note=told)
    print_seeds(name, made, home, as_json=as_json)
    return made.healthy


def remember(
    desk: Desk, name: str, bundle: Bundle, folder: Path, metrics: dict[str, Any], *, healthy: bool, note: str
) -> None:
    """Enter a training that has ended into the desk's registry."""
    from tradekit.cli import COMMAND_LINE
    from tradekit.desk.recording import remember_training

    told = {key: value for key, value in metrics.items() if isinstance(value, int | float) and key != "sharpe"}
    remember_training(
        desk,
        command=click.get_current_context().find_root().meta[COMMAND_LINE],
        policy=name,
        digest=bundle.digest,
        data=bundle.data["hash"],
        symbols=bundle.data["symbols"],
        folder=folder.resolve(),
        metrics=told,
        versions=bundle.manifest["versions"],
        healthy=healthy,
        note=note,
    )


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


def prepared(desk: Desk, name: str, given: dict[str, Any]) -> tuple[Recipe, Panel, dict[str, Any]]:
    """Return recipe and bars as the options say, and what ``load_panel`` was given for the bars.

    Raises:
        ConfigError: there is no such policy or recipe, or it cannot be used.
        DataError: the bars cannot be.
    """
    from dataclasses import asdict, replace

    from tradekit.desk.jobs import found
    from tradekit.errors import ConfigError, suggest
    from tradekit.learn.health import in_short_updates
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import RECIPE
    from tradekit.market.sources import load_panel

    file: Path = desk.policies / name / (given["recipe"] or RECIPE)
    if given["recipe"] and not file.exists():
        file = given["recipe"].absolute()
    if not file.exists():
        known = [path.parent.name for path in desk.policies.glob(f"*/{RECIPE}")]
        if given["recipe"]:
            raise ConfigError(f"{given['recipe']}: no such recipe, neither here nor in {desk.policies / name}")
        raise ConfigError(f"no policy {name!r} with a {RECIPE} in {desk.policies}; {suggest(name, known)}")
    recipe = Recipe.load(file)
    recipe = _changed(in_short_updates(recipe) if given.get("validate") else recipe, given)
    recipe = recipe if file.parent == desk.policies / name else replace(recipe, name=name)
    names = {"symbols": given["symbols"], "start": given["start"], "actions": given["actions"]}
    side = [asdict(one) | {"file": found(one.file, desk)} for one in recipe.data.side]
    loaded_from = {"source": given["data"] or found(recipe.data.source, desk), **names, "side": side}
    panel = load_panel(**loaded_from)
    if given["end"] is not None:
        recipe = replace(recipe, data=replace(recipe.data, source=panel.source, end=given["end"]))
    return recipe, panel, loaded_from


def _train(desk: Desk, name: str, out: Path | None, progress: Any, stop: Any, given: dict[str, Any]) -> TrainResult:
    from tradekit.learn.train import train_policy

    recipe, panel, loaded_from = prepared(desk, name, given)
    return train_policy(
        name,
        desk.root,
        panel,
        recipe=recipe,
        seed=given["seed"],
        out=out,
        loaded_from=loaded_from,
        progress=progress,
        stop=stop,
    )


def _refuse_new(given: dict[str, Any]) -> None:
    """Refuse what describes a new run beside --resume."""
    too_much = [f"--{key}" for key in _OF_A_NEW_RUN if given[key]]
    if too_much:
        raise click.UsageError(f"--resume goes on with a run as it began; leave {', '.join(too_much)} out")


def _holds_seeds(desk: Desk, name: str, out: Path | None) -> bool:
    from tradekit.learn.run import unfinished
    from tradekit.learn.seeds import holds_seeds
    from tradekit.learn.train import RUNS

    return holds_seeds(unfinished(desk.policies / name / RUNS) if out is None else out)


def _resume(desk: Desk, name: str, out: Path | None, progress: Any, stop: Any, given: dict[str, Any]) -> TrainResult:
    from tradekit.learn.train import resume_policy

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
        tensorboard=recipe.tracking.tensorboard if given["tensorboard"] is None else given["tensorboard"],
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
