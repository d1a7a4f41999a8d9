"""How the agents' kernels are compiled: as the market's are, and anew when a file they are made of changes.

A step over few lanes would be ten times slower if the types of its eighty arrays were looked at in every call;
``bound`` looks once.
"""

from __future__ import annotations

import hashlib
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numba

from tradekit.market import jit

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

# What the machine code of an agents' kernel contains beside the market's step, whichever file it stands in.
SOURCES = ("actions.py", "agent.py", "jit.py", "lanes.py", "observations.py", "prefetch.py", "scoring.py")


def compiled(function: F) -> F:
    """Compile a kernel that neither allocates nor returns an array; see ``tradekit.market.jit.compiled``."""
    return _watched(jit.compiled(function))


def inlined(function: F) -> F:
    """As ``compiled``, for a part of kernels that Python never calls."""
    return _watched(jit.inlined(function))


def bound(kernel: F, *arguments: Any) -> Callable[[], None]:
    """Return a call of a compiled ``kernel`` with these very ``arguments``, which it may change in place.

    numba works out the types of all arguments in every call, which for the lanes takes ten times as long as a step of
    one of them. Here they are worked out once; the arguments stay alive with the call.
    """
    if not hasattr(kernel, "overloads"):  # a plain function when NUMBA_DISABLE_JIT is set
        return partial(kernel, *arguments)
    dispatcher: Any = kernel
    types = tuple(numba.typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call] # numba is untyped
    dispatcher.compile(types)
    return partial(dispatcher.overloads[types].entry_point, *arguments)


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
