"""``tradekit paper``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tradekit.cli.console import INTERRUPTED, print_json, print_rich
from tradekit.cli.options import SOURCE, actions_option, examples, json_option

if TYPE_CHECKING:
    from tradekit.desk.folder import Desk
    from tradekit.live.calibrate import Calibration
    from tradekit.live.spec import SessionSpec

NO_SPECS = ("calibrated", "faults")  # what else lies in paper/
EQUITY_TOLERANCE = 1e-9  # relative; what rounding may leave between a session and the backtest of its bars


@click.group(
    "paper",
    short_help="Trade without money, and compare with the backtest.",
    epilog=examples("tradekit paper start", "tradekit paper report"),
)
def command() -> None:
    """Trade without money, bar by bar, and compare every decision and fill with the backtest of the same bars."""


@command.command(
    "start",
    short_help="Run a session, or go on with one.",
    epilog=examples("tradekit paper start", "tradekit paper start paper/local.toml --bars 250"),
)
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--strategy", metavar="NAME", help="Instead of the spec's.")
@click.option("--data", metavar="SOURCE", help=SOURCE)
@click.option("--symbols", metavar="A,B", help="Symbols, separated by commas; all when left out.")
@click.option("--start", metavar="DATE", help="First date, inclusive.")
@click.option("--end", metavar="DATE", help="Last date, inclusive.")
@actions_option
@click.option("--bars", type=click.IntRange(min=2), metavar="N", help="How many bars it lasts; default: the spec's.")
@click.option("--cash", type=float, metavar="DOLLARS", help="Dollars at the start.")
@json_option
def start(spec: Path | None, as_json: bool, **given: Any) -> None:
    """Run the session of SPEC, a file or its name in paper/; local when left out, on an exchange of this machine.

    A spec with mode = "paper" sends its orders to Alpaca's paper account instead; one with "observe" sends none.

    A session that was stopped or killed goes on where it was; after one that ended or halted a new one begins. Ctrl+C
    stops it after the bar it is at, a second one at once; either is safe. Exit status 1 when a decision or the equity
    differs from the backtest's, or an order is duplicated or unresolved; 2 when it halted, or could not begin or go on;
    130 when it was stopped.
    """
    from tradekit.cli.watch import watching
    from tradekit.desk.folder import find_desk
    from tradekit.desk.loader import load_strategy
    from tradekit.live.patience import Stopped
    from tradekit.live.session import start as run_session
    from tradekit.live.switch import KillSwitch

    desk = find_desk()
    settings = changed(read_spec(desk, spec), **given)
    strategy = load_strategy(settings.strategy, desk).strategy
    KillSwitch(desk.journals).demand_open()
    announce(desk, settings.name)
    try:
        with watching(settings) as watcher:
            finished = run_session(settings, strategy, desk.root, watcher)
    except Stopped as stopped:
        click.echo(str(stopped), err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    show(finished.report, finished.journal, as_json)


@command.command("status", short_help="Say where a session stands.", epilog=examples("tradekit paper status"))
@click.argument("session", required=False)
@json_option
def status(session: str | None, as_json: bool) -> None:
    """Say where SESSION stands, the newest when left out; from any shell, while it runs."""
    from tradekit.cli.watch import status_lines
    from tradekit.desk.folder import find_desk
    from tradekit.live.report import status as status_of
    from tradekit.live.switch import KillSwitch

    desk = find_desk()
    stands = {**status_of(journal_of(desk, session)), "kill_switch": KillSwitch(desk.journals).order()}
    if as_json:
        print_json(stands)
    else:
        print_rich(*status_lines(stands))


@command.command("stop", short_help="Stop a session after its bar.", epilog=examples("tradekit paper stop"))
@click.argument("session", required=False)
def stop(session: str | None) -> None:
    """Stop SESSION, the newest when left out, after the bar it is at; tradekit paper start goes on from there."""
    from tradekit.desk.folder import find_desk
    from tradekit.live.switch import stop as stop_session

    journal = journal_of(find_desk(), session)
    stop_session(journal)
    click.echo(f"{journal.stem}: stopped; tradekit paper start goes on from there")


@command.command(
    "kill",
    short_help="Halt every session at once.",
    epilog=examples("tradekit paper kill --flatten", "tradekit paper kill --clear"),
)
@click.option("--flatten", is_flag=True, help="Sell what the sessions have bought, too.")
@click.option("--why", default="", metavar="TEXT", help="For the journal.")
@click.option("--clear", is_flag=True, help="Take the kill switch off again.")
def kill(flatten: bool, why: str, clear: bool) -> None:
    """Halt every session of this desk at once: no further orders, open ones cancelled.

    The switch is the file paper/journals/KILL. It stays on, and no session starts, until --clear.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.live.switch import KillSwitch

    switch = KillSwitch(find_desk().journals)
    if clear:
        click.echo("the kill switch is off" if switch.clear() else "the kill switch was off already")
        return
    switch.pull(flatten=flatten, why=why)
    click.echo(f"the kill switch is on: {switch.path}; to take it off: tradekit paper kill --clear")


@command.command(
    "reconcile",
    short_help="Compare with the broker's books.",
    epilog=examples("tradekit paper reconcile", "tradekit paper reconcile --cancel-open"),
)
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option("--cancel-open", is_flag=True, help="Cancel every open order of the account first.")
@json_option
def reconcile(spec: Path | None, cancel_open: bool, as_json: bool) -> None:
    """Set the newest session of SPEC beside the broker's own books, and say what to do. Exit status 1 when they differ.

    Nothing is sent unless --cancel-open says so.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.desk.loader import load_strategy
    from tradekit.live.reconcile import cancel_open as cancel_all
    from tradekit.live.reconcile import reconcile as compare
    from tradekit.live.session import account_of

    desk = find_desk()
    settings = read_spec(desk, spec)
    strategy = load_strategy(settings.strategy, desk).strategy
    with account_of(settings, strategy, desk.root) as (journal, broker):
        cancelled = cancel_all(broker) if cancel_open else 0
        found = {**compare(journal, broker), "cancelled": cancelled}
    if as_json:
        print_json(found)
    else:
        for line in reconciled_lines(found):
            click.echo(line)
    if not found["agrees"]:
        raise click.exceptions.Exit(1)


@command.command(
    "report",
    short_help="Print what a session did and cost.",
    epilog=examples("tradekit paper report --json"),
)
@click.argument("session", required=False)
@json_option
def report(session: str | None, as_json: bool) -> None:
    """Print the shadow report of SESSION, the newest when left out, and write its page beside the journal.

    Exit status 1 when start would have ended with 1, and when the session halted.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.live.report import session_report

    journal = journal_of(find_desk(), session)
    show(session_report(journal), journal, as_json)


@command.command(
    "calibrate",
    short_help="Fit the cost model to the fills.",
    epilog=examples("tradekit paper calibrate", "tradekit backtest --costs calibrated"),
)
@click.argument("sessions", nargs=-1)
@json_option
def calibrate(sessions: tuple[str, ...], as_json: bool) -> None:
    """Fit the cost model to the fills of SESSIONS, the newest when left out, and write paper/calibrated.toml.

    --costs calibrated uses it in every command that takes costs.
    """
    from tradekit.desk.folder import find_desk
    from tradekit.live.calibrate import FILE
    from tradekit.live.calibrate import calibrate as fit

    desk = find_desk()
    found = fit([journal_of(desk, name) for name in sessions] or [journal_of(desk, None)])
    path = write_costs(found, desk.paper / FILE)
    if as_json:
        print_json({**found.to_dict(), "path": str(path)})
    else:
        print_rich(*calibration_lines(found), str(path))


def write_costs(calibration: Calibration, path: Path) -> Path:
    """Write a calibrated cost file.

    Raises:
        DeskError: it cannot be written.
    """
    from tradekit.errors import DeskError
    from tradekit.live.calibrate import to_toml

    try:
        path.write_text(to_toml(calibration), encoding="utf-8")
    except OSError as error:
        raise DeskError(f"cannot write {path}: {error.strerror}; make {path.parent} writable") from error
    return path


def calibration_lines(calibration: Calibration) -> list[str]:
    """Return a calibration in words."""
    fit = calibration.fit
    fitted = (
        ("spread and slippage", fit.proportional_bps, "bp"),
        ("impact coefficient", fit.impact_coefficient, ""),
        ("commission", fit.commission_bps, "bp"),
    )
    return [
        f"{fit.fills} fills of {', '.join(calibration.sessions)}; {fit.level:.0%} intervals",
        *(
            f"{name:20} {estimate.value:.4f} {unit} [{estimate.low:.4f}, {estimate.high:.4f}]"
            for name, estimate, unit in fitted
            if estimate.is_fitted
        ),
        f"unexplained          {fit.dispersion_bps:.4f} bp a fill",
        *(f"note: {note}" for note in calibration.notes),
    ]


def read_spec(desk: Desk, spec: Path | None) -> SessionSpec:
    """Return the spec of a path, of a name in paper/, or the desk's own when None.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    from tradekit.errors import ConfigError, suggest
    from tradekit.live.spec import SessionSpec

    if spec is None:
        return SessionSpec.from_toml(desk.paper / "local.toml")
    named = desk.paper / f"{spec}.toml"
    if spec.is_file() or named.is_file():
        return SessionSpec.from_toml(spec if spec.is_file() else named)
    known = [path.stem for path in desk.paper.glob("*.toml") if path.stem not in NO_SPECS]
    raise ConfigError(f"no session spec {str(spec)!r}, as a path or in {desk.paper}; {suggest(str(spec), known)}")


def reconciled_lines(found: dict[str, Any]) -> list[str]:
    """Return a reconciliation in words."""
    money = found["account"]
    account = f"account {money['equity']:,.2f}, cash {money['cash']:,.2f}"
    news = [
        f"news: {row['client_order_id']} is {row['broker']}, {row['filled']} filled; the journal has {row['journal']}"
        for row in found["news"]
    ]
    verdict = "journal and broker agree" if found["agrees"] else f"{len(found['faults'])} differences:"
    return [
        f"session {found['session']}, {found['orders']} orders; {account}",
        *([f"{found['cancelled']} orders cancelled"] if found["cancelled"] else []),
        *news,
        verdict,
        *(f"  {fault}" for fault in found["faults"]),
        *(f"next: {line}" for line in found["advice"]),
    ]


def announce(desk: Desk, name: str) -> None:
    """Say which session this will be where there is one of that name already."""
    from tradekit.live.session import journal_path, newest_journal

    before, now = newest_journal(desk.journals, name), journal_path(desk.journals, name)
    if before == now:
        click.echo(f"paper {now.stem}: going on from its journal", err=True)
    elif before is not None:
        click.echo(f"paper {now.stem}: a new session; {before.stem} is over", err=True)


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
    from tradekit.report.session_costs import drift_line

    equity, first = shadow["equity"], (shadow["mismatches"] or [None])[0]
    gained = f"equity {equity[-1]:,.2f}, from {equity[0]:,.2f}" if equity else "no bar yet"
    traded = f"{shadow['strategy']} on {shadow['source']}"
    return [
        f"session {shadow['session']}, mode {shadow['mode']}: {traded}, {shadow['state']}",
        f"{shadow['bars']} bars, {shadow['first']} to {shadow['last']}; {gained}",
        ", ".join(f"{shadow[what]} {what}" for what in ("decisions", "intents", "orders", "fills")),
        f"cost by the model {shadow['model_cost']:,.2f}, by the fills {shadow['fill_cost']:,.2f}",
        *([shortfall_line(shadow["shortfall"])] if shadow["shortfall"] else []),
        *([drift_line(shadow["drift"])] if shadow["fills"] else []),
        parity_line(shadow),
        *([difference_line(first)] if first else []),
        *([f"halted: {shadow['halted']}"] if shadow["halted"] else []),
        f"journal {shadow['journal']}",
        str(shadow["report"]),
    ]


def shortfall_line(parts: dict[str, float]) -> str:
    """Return an implementation shortfall and its parts in one line."""
    names = ("spread", "slippage", "impact", "commission", "regulatory", "beyond_model", "delay", "missed")
    told = ", ".join(f"{name.replace('_', ' the ')} {parts[name]:,.2f}" for name in names if abs(parts[name]) >= 0.005)
    return f"shortfall {parts['total']:,.2f}" + (f": {told}" if told else "")


def difference_line(one: dict[str, Any]) -> str:
    """Say where a session first parted from the backtest, and why."""
    what = f"{one['symbol']} {one['session']:g} shares, in the backtest {one['backtest']:g}"
    return f"first at {one['bar']}: {what}; {one['reason']}"


def parity_line(shadow: dict[str, Any]) -> str:
    """Say in one line whether the session did what the backtest of its bars does."""
    if shadow["decision_parity"] is None:
        return "parity: judged when the session ends"
    orders = f"{shadow['duplicate_orders']} duplicate and {shadow['unresolved_orders']} unresolved orders"
    return (
        f"parity: {shadow['decision_parity']:.2%} of decisions equal to the backtest of the same bars, "
        f"equity within {shadow['equity_difference']:.1e}, {orders}"
    )
