"""How the kernels are compiled: cached on disk, inlined, and without reference counts."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

# What the machine code of a kernel contains, whichever file the kernel stands in: constants, and functions inlined.
SOURCES = ("costs.py", "jit.py", "kernel.py", "pricing.py", "sweep.py")


def compiled(function: F) -> F:
    """Compile a step kernel, which only reads and writes arrays it is given: it may not allocate or return one.

    numba counts the references to every array it touches, each with an atomic instruction; for a portfolio of one
    symbol that takes twenty times as long as the step itself. Nothing here outlives the call, so nothing need be
    counted. Division by zero gives inf or NaN, as in numpy.
    """
    return _compile(function, forceinline=True, _nrt=False)


def inlined(function: F) -> F:
    """As ``compiled``, for a part of kernels that Python never calls: it takes half the time to compile."""
    return _compile(function, forceinline=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def compiled_run(function: F) -> F:
    """Compile a driver of kernels, which may allocate, and run portfolios in parallel (prange)."""
    return _compile(function, parallel=True, nogil=True)


@cache
def start_threads() -> None:
    """Start the threads of ``compiled_run``, once a process and before the first such kernel is called.

    numba tells OpenMP how many they are, and OpenMP keeps that as the number of threads of whoever calls. torch and
    scikit-learn share the library: from then on a network would be split over as many, though its user or
    ``OMP_NUM_THREADS`` allowed one, and a decision for a few rows take ten times as long. So a thread that has nothing
    else to do says it.
    """
    starter = Thread(target=numba.get_num_threads)
    starter.start()
    starter.join()


def _compile(function: F, **options: bool) -> F:
    njit: Any = numba.njit
    answer: F = watched(njit(cache=True, error_model="numpy", **options)(function))
    return answer


def watched(dispatcher: Any) -> Any:
    """Make the cached machine code of ``dispatcher`` depend on every file of SOURCES as well as its own.

    numba looks only at the file of the function itself, so that a change in pricing.py would leave the old arithmetic
    inside a cached kernel of another file.
    """
    if hasattr(dispatcher, "_cache"):  # a plain function when NUMBA_DISABLE_JIT is set
        index = dispatcher._cache._cache_file
        index._source_stamp = (index._source_stamp, sources_digest())
    return dispatcher


@cache
def sources_digest() -> str:
    """Return the SHA-256 of the files of SOURCES."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()
