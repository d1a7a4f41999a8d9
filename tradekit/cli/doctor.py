"""``tradekit doctor``."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from tradekit import __version__
from tradekit.cli.console import print_json
from tradekit.cli.options import examples, json_option
from tradekit.errors import DeskError, TradekitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tradekit.desk.folder import Desk
    from tradekit.market.panel import Floats, Panel

THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TOLERANCE = 1e-9


class Check(NamedTuple):
    """One finding; ``ok`` None: worth knowing, neither good nor bad."""

    name: str
    ok: bool | None
    detail: str


@click.command("doctor", short_help="Check the installation and the desk.", epilog=examples("tradekit doctor"))
@json_option
def command(as_json: bool) -> None:
    """Check versions, data, the compiled kernel and the desk. Exit status 1 when something does not work."""
    checks = list(examine())
    sick = [check for check in checks if check.ok is False]
    if as_json:
        print_json({"ok": not sick, "checks": [check._asdict() for check in checks]})
    else:
        for check in checks:
            mark = {True: "ok  ", False: "FAIL", None: "    "}[check.ok]
            click.echo(f"{mark} {check.name:20} {check.detail}")
    if sick:
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Check]:
    """Yield every finding; each check is made whatever the others found."""
    from tradekit.report.run_folder import versions

    yield Check("python", sys.version_info >= (3, 11), sys.version.split()[0])
    found = versions()
    yield Check("versions", None, ", ".join(f"{name} {version}" for name, version in found.items() if name != "python"))
    threads = ", ".join(f"{name}={os.environ[name]}" for name in THREADS if name in os.environ)
    yield Check("processors", None, f"{os.cpu_count()}; {threads or 'no thread limits set'}")
    yield tried("tradekit", lambda: __version__)
    yield tried("sample data", _sample)
    yield tried("kernel", _kernel)
    try:
        desk = _desk()
    except DeskError as error:
        yield Check("desk", None, str(error))
        return
    except TradekitError as error:
        yield Check("desk", False, str(error))
        return
    yield Check("desk", True, str(desk.root))
    yield from _desk_checks(desk)


def tried(name: str, check: Callable[[], object]) -> Check:
    """Return the text that ``check`` answers, ``ok`` for anything else, or the error it raised."""
    try:
        answer = check()
        return Check(name, True, answer if isinstance(answer, str) else "ok")
    except Exception as error:  # noqa: BLE001 - a doctor reports every failure and goes on
        return Check(name, False, f"{type(error).__name__}: {error}".splitlines()[0])


def _sample() -> str:
    from tradekit.market.sources import load_panel

    return repr(load_panel("sample"))


def _kernel() -> str:
    """Run three bars whose result is known: without costs, half the money in one symbol from the second close on."""
    from tradekit.engine.simulate import simulate
    from tradekit.market.costs import CostModel
    from tradekit.market.sources import load_panel

    panel = load_panel("sample", ["KO"])[:3]
    equity = simulate(_Half(), panel, CostModel.preset("free")).equity[-1]
    first, second, third = panel.close[:, 0]
    expected = 100_000.0 + 50_000.0 / first * (third - second)
    if abs(equity / expected - 1.0) > TOLERANCE:
        raise ArithmeticError(f"three bars end with {equity} dollars, expected {expected}; install tradekit again")
    return "compiles and counts right"


class _Half:
    """Half of the equity in the first symbol."""

    name = "half"

    def fit(self, train: Panel) -> _Half:
        return self

    def weights(self, panel: Panel) -> Floats:
        import numpy as np

        return np.full(panel.close.shape, 0.5)


def _desk() -> Desk:
    from tradekit.desk.folder import find_desk

    return find_desk()


def _desk_checks(desk: Desk) -> Iterator[Check]:
    from tradekit.desk.folder import make_folder
    from tradekit.desk.gate import read_thresholds
    from tradekit.desk.loader import load_file, strategy_names
    from tradekit.desk.specs import read_backtest, read_stress
    from tradekit.learn.bundle import read_bundle
    from tradekit.learn.recipe import Recipe

    for folder in (desk.results, desk.journals, desk.policies):
        yield tried(f"write {desk.short(folder)}", partial(make_folder, folder))
    yield from (tried(f"strategy {name}", partial(load_file, name, desk)) for name in strategy_names(desk))
    readers: list[tuple[Path, str, Callable[[Path], object]]] = [
        (desk.backtests, "stress*.toml", read_stress),
        (desk.backtests, "walk_forward*.toml", read_backtest),
        (desk.backtests, "cross_validation*.toml", read_backtest),
        (desk.backtests, "gate.toml", read_thresholds),
        (desk.paper, "*.toml", _paper_reader),
        (desk.policies, "*/recipe.toml", Recipe.load),
        (desk.policies, "*/bundle", read_bundle),
    ]
    for folder, pattern, read in readers:
        yield from (tried(desk.short(path), partial(read, path)) for path in sorted(folder.glob(pattern)))


def _paper_reader(path: Path) -> object:
    """Read a file of paper/ as what it is: a session's spec, but for two names."""
    from tradekit.desk.specs import read_costs
    from tradekit.live.calibrate import FILE
    from tradekit.live.exchange import Faults
    from tradekit.live.spec import SessionSpec

    readers = {FILE: read_costs, "faults.toml": Faults.from_toml}
    return readers.get(path.name, SessionSpec.from_toml)(path)
