"""The two ways a person ends a session from outside: stop (it goes on later) and kill (it does not).

The kill switch is a file. It stays until a person clears it, and while it is there no session of the desk starts. A
stop is a signal to the process that holds the journal; Ctrl+C is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tradekit.errors import SessionError
from tradekit.live.journal import is_running, writer_of
from tradekit.live.patience import Killed, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILL_FILE = "KILL"
STOP_PATIENCE_SECONDS = 30.0


class KillSwitch:
    """The kill file of a folder of journals."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / KILL_FILE

    def pull(self, *, flatten: bool, why: str) -> None:
        """Write the file; pulled once more, it may only ask for more.

        Raises:
            SessionError: it cannot be written.
        """
        order = self.order()
        flatten = flatten or bool(order and order["flatten"])
        text = json.dumps({"at": datetime.now(UTC).isoformat(), "flatten": flatten, "why": why})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_suffix(".new")
            fresh.write_text(text + "\n", encoding="utf-8")
            fresh.replace(self.path)
        except OSError as error:
            raise SessionError(
                f"{self.path}: cannot be written ({error.strerror}); stop the process instead"
            ) from error

    def order(self) -> dict[str, Any] | None:
        """Return what the file asks for, None when there is none. A file nobody can read is a kill all the same."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError:
            text = ""
        plain = {"at": "", "flatten": False, "why": "the kill file cannot be read"}
        try:
            found = json.loads(text)
        except ValueError:
            return plain
        return {**plain, "why": "", **found} if isinstance(found, dict) else plain

    def clear(self) -> bool:
        """Remove the file and return whether there was one."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            return True
        return False

    def demand_off(self) -> None:
        """Raise Killed while the file is there."""
        order = self.order()
        if order is not None:
            raise Killed(f"kill switch: {order['why'] or 'pulled'}")

    def demand_open(self) -> None:
        """Raise SessionError while the file is there."""
        order = self.order()
        if order is not None:
            raise SessionError(
                f"the kill switch is on since {order['at'] or 'an unknown time'} ({self.path}); "
                "when all is well again: tradekit paper kill --clear"
            )


class StopRequest:
    """Whether SIGINT or SIGTERM has arrived since ``listen`` began. The second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raise Stopped when somebody asked."""
        if self.asked:
            raise Stopped("stopped; tradekit paper start goes on from here")

    @contextlib.contextmanager
    def listen(self) -> Iterator[None]:
        """Hear signals while the block runs; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def stop(journal: Path, patience_seconds: float = STOP_PATIENCE_SECONDS) -> None:
    """Ask the session that writes ``journal`` to stop, and wait until it has.

    Raises:
        SessionError: none does, or it does not stop in time.
    """
    process = writer_of(journal)
    if process is None:
        raise SessionError(f"{journal.stem}: no session is running; nothing to stop")
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    until = time.monotonic() + patience_seconds
    while is_running(journal):
        if time.monotonic() > until:
            raise SessionError(
                f"{journal.stem}: process {process} is still running after {patience_seconds:.0f} s; "
                f"it can be killed safely (kill -9 {process}) and started again"
            )
        time.sleep(0.05)
