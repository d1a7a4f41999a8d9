"""Start-up, help, usage errors and exit statuses."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from tradekit import __version__
from tradekit.cli import COMMANDS, cli, main
from tradekit.cli.console import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

HEAVY = {"numpy", "pandas", "torch", "numba", "sklearn", "pyarrow", "aiohttp", "rich"}


def every_command(
    group: click.Group = cli, path: tuple[str, ...] = ("tradekit",)
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


ALL = dict(every_command())


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["import", "help"])
def test_start_up_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        f"import sys; sys.argv = ['tradekit', *{arguments!r}]; import tradekit.cli\n"
        f"try:\n    len(sys.argv) > 1 and tradekit.cli.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & HEAVY


def test_help_lists_every_command() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in answer.output


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_an_example_that_parses(name: str) -> None:
    lines = (ALL[name].epilog or "").splitlines()
    assert lines[:2] == ["\b", "Example:"]
    calls = [call.split() for line in lines[2:] for call in line.split("&&") if call.split()[0] == "tradekit"]
    assert any(" ".join(call).startswith(name) for call in calls)
    for call in calls:
        parse(cli, call[1:])


def parse(group: click.Group, words: list[str]) -> None:
    """Parse a command line down to its last command without running it."""
    context = group.make_context("tradekit", list(words))
    _, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    if isinstance(command, click.Group) and (rest or not command.invoke_without_command):
        parse(command, rest)
    else:
        command.make_context(command.name, rest, parent=context)


@pytest.mark.parametrize("name", ALL)
def test_help_answers_and_shows_the_example(name: str) -> None:
    answer = CliRunner().invoke(cli, [*name.split()[1:], "--help"], prog_name="tradekit")
    assert answer.exit_code == 0
    assert "Example:\n" in answer.output


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if not isinstance(one, click.Group)])
def test_what_prints_a_result_prints_json(name: str) -> None:
    options = {text for option in ALL[name].params for text in option.opts}
    acts = ("tradekit exchange", "tradekit paper stop", "tradekit paper kill")
    assert ("--json" in options) == (name not in acts)


def test_version(tradekit: Callable[..., Answer]) -> None:
    assert tradekit("--version").out == f"tradekit, version {__version__}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("backtst", "no such command 'backtst'; did you mean backtest?; see: tradekit --help"),
        ("backtest --foo", "No such option '--foo'. Did you mean '--out'?; see: tradekit backtest --help"),
        ("backtest --latency-bars -1", "Invalid value for '--latency-bars': -1 is not in the range x>=0"),
        ("backtest --cost-shock x", "Invalid value for '--cost-shock': 'x' is not a number, 0 or more"),
        ("init", "Missing argument 'FOLDER'; see: tradekit init --help"),
        ("data info sample --data sample", "give the source once, as SOURCE or as --data"),
    ],
)
def test_a_wrong_call_is_one_line(tradekit: Callable[..., Answer], line: str, message: str) -> None:
    answer = tradekit(*shlex.split(line))
    assert answer.status == 2
    assert answer.error.startswith(message)
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1


def test_without_a_command_the_help_is_shown(tradekit: Callable[..., Answer]) -> None:
    answer = tradekit()
    assert answer.status == 2
    assert "Commands:" in answer.err


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(**given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == INTERRUPTED
    assert capsys.readouterr().err == "error: interrupted\n"


def test_what_the_system_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(**given: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/file")

    monkeypatch.setattr(cli, "main", refused)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: /somewhere/file: Permission denied; check the path")


def test_a_closed_pipe_is_no_error(repository: Path) -> None:
    script = f"{sys.executable} -m tradekit data info sample --json | head -c 20"
    done = subprocess.run(["bash", "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**given: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "main", broken)
    with pytest.raises(ZeroDivisionError):
        main()
