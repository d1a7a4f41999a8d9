"""How the agents' kernels are compiled: as the market's are, and anew when a file they are made of changes."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tradekit.market import jit

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

# What the machine code of an agents' kernel contains beside the market's step, whichever file it stands in.
SOURCES = ("actions.py", "agent.py", "jit.py", "lanes.py", "observations.py", "rewards.py")


def compiled(function: F) -> F:
    """Compile a kernel that neither allocates nor returns an array; see ``tradekit.market.jit.compiled``."""
    return _watched(jit.compiled(function))


def inlined(function: F) -> F:
    """As ``compiled``, for a part of kernels that Python never calls."""
    return _watched(jit.inlined(function))


def _watched(dispatcher: F) -> F:
    """Make the cached machine code depend on every file of SOURCES as well."""
    if hasattr(dispatcher, "_cache"):  # a plain function when NUMBA_DISABLE_JIT is set
        index = dispatcher._cache._cache_file
        index._source_stamp = (index._source_stamp, _digest())
    return dispatcher


@cache
def _digest() -> str:
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()
