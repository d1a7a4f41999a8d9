"""``tradekit paper``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import print_json, print_rich, steps
from tradekit.cli.options import SOURCE, actions_option, examples, json_option

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk
    from tradekit.live.spec import SessionSpec

EQUITY_TOLERANCE = 1e-9  # relative; what rounding may leave between a session and the backtest of its bars


@click.group(
    "paper",
    short_help="Trade without money, and compare with the backtest.",
    epilog=examples("tradekit paper start", "tradekit paper report"),
)
def command() -> None:
    """Trade without money, bar by bar, and compare every decision and fill with the backtest of the same bars."""


@command.command("start", epilog=examples("tradekit paper start", "tradekit paper start paper/local.toml --bars 250"))
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--strategy", metavar="NAME", help="Instead of the spec's.")
@click.option("--data", metavar="SOURCE", help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date, inclusive.")
@click.option("--end", metavar="DATE", help="Last date, inclusive.")
@actions_option
@click.option("--bars", type=click.IntRange(min=2), metavar="N", help="Trade the last N bars of the data.")
@click.option("--cash", type=float, metavar="DOLLARS", help="Dollars at the start.")
@json_option
def start(spec: Path | None, as_json: bool, **given: Any) -> None:
    """Run the session of SPEC, paper/local.toml when left out, on an exchange of this machine.

    A session that was cut short goes on where it stopped. Exit status 1 when a decision or the equity differs from the
    backtest's, or an order is duplicated or unresolved.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.loader import load_strategy
    from tradekit.live.session import start as run_session
    from tradekit.live.spec import SessionSpec

    desk = find_desk()
    settings = changed(SessionSpec.from_toml(spec or desk.paper / "local.toml"), **given)
    strategy = load_strategy(settings.strategy, desk).strategy
    with steps(f"paper {settings.name}") as progress:
        finished = run_session(settings, strategy, desk.root, progress)
    show(finished.report, finished.journal, as_json)


@command.command("status", epilog=examples("tradekit paper status"))
@click.argument("session", required=False)
@json_option
def status(session: str | None, as_json: bool) -> None:
    """Say where SESSION stands, the newest when left out."""
    from tradekit.desk.folder import find_desk
    from tradekit.live.report import status as status_of

    stands = status_of(journal_of(find_desk(), session))
    if as_json:
        print_json(stands)
        return
    for key, value in stands.items():
        click.echo(f"{key.replace('_', ' '):10} {'' if value is None else value}")


@command.command("report", epilog=examples("tradekit paper report --json"))
@click.argument("session", required=False)
@json_option
def report(session: str | None, as_json: bool) -> None:
    """Print the shadow report of SESSION, the newest when left out; exit status as for start."""
    from tradekit.desk.folder import find_desk
    from tradekit.live.report import session_report

    journal = journal_of(find_desk(), session)
    show(session_report(journal), journal, as_json)


def changed(spec: SessionSpec, symbols: str | None, data: str | None, **given: Any) -> SessionSpec:
    """Return ``spec`` with the options given; other data leaves aside what the spec says of its own."""
    if data is not None and data != spec.data:
        spec = replace(spec, data=data, symbols=None, start=None, end=None, benchmark=None, actions=None)
    if symbols is not None:
        spec = replace(spec, symbols=tuple(name.strip() for name in symbols.split(",") if name.strip()))
    return replace(spec, **{key: value for key, value in given.items() if value is not None})


def journals(desk: Desk) -> list[Path]:
    """Return the desk's journals, the newest last."""
    found = [path for path in desk.journals.glob("*.sqlite") if not path.name.endswith(".exchange.sqlite")]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def journal_of(desk: Desk, session: str | None) -> Path:
    """Return the journal of a session by name or path, the newest when None.

    Raises:
        SessionError: there is none.
    """
    from tradekit.errors import SessionError, suggest

    found = {path.stem: path for path in journals(desk)}
    if not found:
        raise SessionError(f"{desk.journals}: no sessions yet; run: tradekit paper start")
    if session is None:
        return list(found.values())[-1]
    if session not in found and not Path(session).is_file():
        raise SessionError(f"no session {session!r} in {desk.journals}; {suggest(session, found)}")
    return found.get(session, Path(session))


def show(shadow: dict[str, Any], journal: Path, as_json: bool) -> None:
    """Print a shadow report and write its page beside the journal; exit with 1 when it is not clean."""
    shadow = shadow | {"journal": str(journal), "report": str(write_page(shadow, journal))}
    if as_json:
        print_json(shadow)
    else:
        print_rich(*lines(shadow))
    bad = shadow["decision_parity"] not in (None, 1.0) or shadow["duplicate_orders"] or shadow["unresolved_orders"]
    apart = shadow["equity_difference"] is not None and not shadow["equity_difference"] <= EQUITY_TOLERANCE
    if bad or apart or shadow["halted"]:
        raise click.exceptions.Exit(1)


def write_page(shadow: dict[str, Any], journal: Path) -> Path:
    """Write the page of a shadow report beside its journal and return it.

    Raises:
        DeskError: it cannot be written.
    """
    from tradekit.errors import DeskError
    from tradekit.report.session import session_html

    page = journal.with_suffix(".html")
    try:
        page.write_text(session_html(shadow), encoding="utf-8")
    except OSError as error:
        raise DeskError(f"cannot write {page}: {error.strerror}; make {page.parent} writable") from error
    return page


def lines(shadow: dict[str, Any]) -> list[str]:
    """Return a shadow report in words."""
    equity = shadow["equity"]
    gained = f"equity {equity[-1]:,.2f}, from {equity[0]:,.2f}" if equity else "no bar yet"
    return [
        f"session {shadow['session']}, {shadow['mode']}: {shadow['strategy']} on {shadow['source']}, {shadow['state']}",
        f"{shadow['bars']} bars, {shadow['first']} to {shadow['last']}; {gained}",
        ", ".join(f"{shadow[what]} {what}" for what in ("decisions", "intents", "orders", "fills")),
        f"cost by the model {shadow['model_cost']:,.2f}, by the fills {shadow['fill_cost']:,.2f}",
        parity_line(shadow),
        *([f"halted: {shadow['halted']}"] if shadow["halted"] else []),
        f"journal {shadow['journal']}",
        str(shadow["report"]),
    ]


def parity_line(shadow: dict[str, Any]) -> str:
    """Say in one line whether the session did what the backtest of its bars does."""
    if shadow["decision_parity"] is None:
        return "parity: judged when the session ends"
    orders = f"{shadow['duplicate_orders']} duplicate and {shadow['unresolved_orders']} unresolved orders"
    return (
        f"parity: {shadow['decision_parity']:.2%} of decisions equal to the backtest of the same bars, "
        f"equity within {shadow['equity_difference']:.1e}, {orders}"
    )
