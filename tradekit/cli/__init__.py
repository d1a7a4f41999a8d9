"""The ``tradekit`` command.

Exit status: 0 done, 1 a negative verdict (a strategy that uses the future or raises, a check that failed), 2 unusable
input, 130 interrupted. Results go to standard output, progress and errors to standard error.

Nothing heavy is imported here: every command imports what it runs inside its callback.
"""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from tradekit import __version__
from tradekit.cli.console import INTERRUPTED
from tradekit.cli.options import examples
from tradekit.errors import TradekitError, suggest

if TYPE_CHECKING:
    from typing import NoReturn

COMMANDS = (
    "init",
    "data",
    "train",
    "tune",
    "export",
    "backtest",
    "stress",
    "gate",
    "runs",
    "paper",
    "exchange",
    "audit",
    "report",
    "doctor",
)
COMMAND_LINE = "tradekit.command_line"


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported when they are asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line as typed, for the manifest of a run."""
        ctx.meta[COMMAND_LINE] = shlex.join(["tradekit", *args])
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a user's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of the command's name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"tradekit.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer an unknown command with the one that was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no such command {args[0]!r}; {suggest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("tradekit init my-desk && cd my-desk", "tradekit backtest --walk-forward"),
)
@click.version_option(__version__, prog_name="tradekit")
def cli() -> None:
    """Train, backtest, stress and paper-trade strategies on one market model.

    A desk is a folder with strategies, policies, backtests and paper sessions; commands work anywhere inside one.
    """


def main() -> NoReturn:
    """Run the command line and exit. A user's mistake is one line on standard error, never a traceback."""
    try:
        status = cli.main(prog_name="tradekit", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tradekit"
        status = fail(f"{error.format_message().rstrip('.')}; see: {command} --help", error.exit_code)
    except click.ClickException as error:
        status = fail(error.format_message(), error.exit_code)
    except TradekitError as error:
        status = fail(str(error), error.exit_status)
    except (click.Abort, KeyboardInterrupt):
        status = fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        status = fail(f"{where}{error.strerror or error}; check the path, its permissions and free space", 2)
    sys.exit(status if isinstance(status, int) else 0)


def fail(message: str, status: int) -> int:
    """Print one line of error and return ``status``."""
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return status
