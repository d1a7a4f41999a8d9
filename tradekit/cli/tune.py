"""``tradekit tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich
from tradekit.cli.options import bar_options, examples, json_option

if TYPE_CHECKING:
    from rich.table import Table

    from tradekit.desk.folder import Desk
    from tradekit.learn.tune import TuneResult
    from tradekit.market.panel import Panel

SHOWN = 5


@click.command(
    "tune",
    short_help="Search a recipe's settings.",
    epilog=examples(
        "tradekit tune symbol_ppo --trials 20",
        "tradekit train symbol_ppo --recipe recipe.tuned.toml --seeds 42,1337,9001 --validate",
    ),
)
@click.argument("name", required=False)
@click.option("--trials", type=click.IntRange(min=1), required=True, metavar="N", help="Trials the study shall have.")
@bar_options
@click.option("--recipe", metavar="FILE", help="Search around another recipe than recipe.toml.")
@click.option("--timesteps", type=click.IntRange(min=1), metavar="N", help="Steps of a trial, instead of the recipe's.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes, one thread each; all processors when left out.",
)
@click.option("--ray", metavar="ADDRESS", help="Spread the trials over this Ray cluster, or local, instead.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def command(name: str | None, trials: int, as_json: bool, **given: Any) -> None:
    """Search around policies/NAME/recipe.toml for the settings of the best validation Sharpe ratio.

    Searched are learning rate, entropy bonus, lambda, clip range, epochs and batch, by Optuna. The first trial is the
    recipe as it is; later ones that fall behind the median of the others are ended early. The best recipe is written
    to policies/NAME/recipe.tuned.toml, and nothing else is changed.

    The same command goes on where the last one ended or was broken off, up to N trials in all. Ctrl+C puts the trials
    that are running away after their update; a second one ends at once.

    Every trial is one in the registry: the more there are, the more a backtest of the winner has to show.

    Exit status: 0 done; 1 no trial gave a usable policy; 2 the recipe, the data or a folder cannot be used; 130
    interrupted.
    """
    from pathlib import Path

    from tradekit.cli.many_view import many
    from tradekit.cli.train import interruptible, only_policy, prepared
    from tradekit.desk.folder import find_desk
    from tradekit.desk.work import processors
    from tradekit.learn.tune import tune

    desk = find_desk()
    name = name or only_policy(desk)
    file = None if given["recipe"] is None else Path(given["recipe"])
    unset = dict.fromkeys(("episodes", "iterations", "mlflow"))
    recipe, panel, _ = prepared(desk, name, {**unset, "tensorboard": False, **given, "recipe": file})
    home = desk.policies / name
    spread = {"workers": given["workers"] or processors(), "ray": given["ray"]}
    how = "quiet" if given["quiet"] else "lines"
    with (
        _Entered(desk, name, panel) as entered,
        many(f"tune {name}", how) as watched,
        interruptible(watched.say) as stop,
    ):
        found = tune(home, recipe, panel, trials, watched=watched, stop=stop, **spread)
        entered.trials(found)
    _print(name, found, as_json=as_json)
    if found.best is None:
        raise click.exceptions.Exit(1)


class _Entered:
    """A tuning run in the desk's registry, from its beginning to its end, however it ends."""

    def __init__(self, desk: Desk, name: str, panel: Panel) -> None:
        self._desk, self._name, self._panel = desk, name, panel
        self._found: TuneResult | None = None

    def __enter__(self) -> _Entered:
        from tradekit.cli import COMMAND_LINE
        from tradekit.desk.recording import versions
        from tradekit.registry import Registry

        line = click.get_current_context().find_root().meta[COMMAND_LINE]
        with Registry(self._desk.registry) as registry:
            self._run = registry.begin(
                "tune",
                command=line,
                name=self._name,
                symbols=self._panel.symbols,
                hashes={"data": self._panel.content_hash},
                versions=versions(),
            )
        return self

    def trials(self, found: TuneResult) -> None:
        """Enter every trial of the study; those that are known are not counted again."""
        from tradekit.compute import hash_of
        from tradekit.registry import Registry, Trial

        self._found = found
        with Registry(self._desk.registry) as registry:
            for one in found.trials:
                candidate = one.user_attrs.get("digest") or hash_of(found.study, one.number)
                registry.add(self._run, Trial("tune", self._name, candidate, found.data, self._panel.symbols))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        from tradekit.errors import Interrupted
        from tradekit.registry import Registry

        with Registry(self._desk.registry) as registry:
            if error is None and self._found is not None:
                best = self._found.best
                metrics = {} if best is None else {self._name: {"validation_sharpe": best.value}}
                registry.finish(self._run, folder=self._found.folder, metrics=metrics)
            elif isinstance(error, Interrupted | KeyboardInterrupt):
                registry.finish(self._run, "interrupted", note=" ".join(str(error).split()))
            else:
                registry.finish(self._run, "failed", note=" ".join(str(error).split()))


def _print(name: str, found: TuneResult, *, as_json: bool) -> None:
    from optuna.trial import TrialState

    if as_json:
        print_json(
            {
                "policy": name,
                "study": str(found.folder),
                "trials": [
                    {
                        "folder": one.user_attrs["folder"],
                        "state": one.state.name.lower(),
                        "value": one.value,
                        "settings": one.params,
                        "verdict": one.user_attrs.get("verdict"),
                    }
                    for one in found.trials
                ],
                "best": None if found.best is None else found.best.user_attrs["folder"],
                "recipe": None if found.file is None else str(found.file),
            }
        )
        return
    print_rich(_table(found))
    counts = {state: found.count(getattr(TrialState, state)) for state in ("COMPLETE", "PRUNED", "FAIL")}
    click.echo(
        f"{len(found.trials)} trials: {counts['COMPLETE']} whole, {counts['PRUNED']} ended early, {counts['FAIL']} "
        "diverged; Sharpe ratios are those of the bars that choose, so the best is flattered"
    )
    click.echo(f"study  {found.folder}")
    if found.file is None:
        click.echo("none of them gave a usable policy; train longer, or see the reports of the trials")
    else:
        click.echo(f"recipe {found.file}")


def _table(found: TuneResult) -> Table:
    """Return the best trials, the best first, and the recipe as it was."""
    from optuna.trial import TrialState
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    whole = [one for one in found.trials if one.state == TrialState.COMPLETE]
    names = list(whole[0].params) if whole else []
    for head in ("trial", "validation Sharpe", *names, "usable"):
        table.add_column(head, justify="right", no_wrap=True)
    for one in sorted(whole, key=lambda one: -(one.value or 0.0))[:SHOWN]:
        values = [f"{one.params[key]:.4g}" for key in names]
        usable = "yes" if one.user_attrs["healthy"] else "no"
        table.add_row(one.user_attrs["folder"], f"{one.value:.3f}", *values, usable)
    if found.own == found.own:
        table.add_row("as it was", f"{found.own:.3f}")
    return table
