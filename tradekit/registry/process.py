"""Which process is at work on a run, and whether it still is."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def this_process() -> str:
    """Return what tells this process from any other: host, boot, number, and when it started."""
    return f"{platform.node()} {_boot()} {os.getpid()} {_started(os.getpid())}"


def alive(process: str) -> bool:
    """Return whether a process may still run; one on another machine, or that cannot be looked at, may."""
    host, boot, pid, started = process.split(" ")
    if host != platform.node():
        return True
    return boot == _boot() and started == _started(int(pid))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """Return the clock tick in which a process started, ``-`` when there is none (proc(5), field 22 of stat)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "-"
