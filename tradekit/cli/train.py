"""``tradekit train``."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, steps
from tradekit.cli.options import SOURCE, actions_option, examples, json_option

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk


@click.command(
    "train",
    short_help="Train a policy by its recipe.",
    epilog=examples("tradekit train", "tradekit train symbol_ppo --data prices/ --timesteps 300000"),
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
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed, instead of the recipe's.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the run and its bundle here and leave the policy's bundle as it is.",
)
@json_option
def command(name: str | None, as_json: bool, **given: Any) -> None:
    """Train the policy NAME by policies/NAME/recipe.toml and put its bundle where strategies load it.

    NAME may be left out when the desk has one policy. Exit status 1 when the policy does not trade or its numbers are
    not finite; its bundle is not put in place then.
    """
    from tradekit.desk.folder import find_desk

    desk = find_desk()
    trained = _train(desk, name or only_policy(desk), **given)
    if as_json:
        print_json(trained)
    else:
        click.echo(trained["verdict"])
        click.echo(f"run    {trained['run']}")
        click.echo(f"bundle {trained['bundle']}")
    if not trained["healthy"]:
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


def _train(
    desk: Desk,
    name: str,
    data: str | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    actions: str | None,
    timesteps: int | None,
    seed: int | None,
    out: Path | None,
) -> dict[str, Any]:
    from tradekit.learn.recipe import Recipe
    from tradekit.learn.train import RECIPE, train_policy
    from tradekit.market.sources import load_panel

    recipe = Recipe.load(desk.policies / name / RECIPE)
    chosen = data or symbols or start or actions
    panel = load_panel(data or recipe.data.source, symbols, start, actions=actions) if chosen else None
    with steps(f"train {name}") as progress:

        def tell(done: int, total: int, figures: dict[str, Any]) -> None:
            known = {key: value for key, value in figures.items() if isinstance(value, float) and isfinite(value)}
            shown = ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in known.items())
            progress(done, total, detail=shown)

        made = train_policy(
            name,
            desk.root,
            panel,
            recipe=recipe,
            timesteps=timesteps,
            seed=seed,
            end=end,
            out=out,
            progress=tell,
        )
    return {
        "policy": name,
        "verdict": made.verdict,
        "healthy": made.healthy,
        "promoted": made.promoted,
        "run": str(made.run_folder),
        "bundle": str(made.bundle_path),
        "metrics": made.metrics,
    }
