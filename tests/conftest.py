"""What every test may use: one thread per library, real prices, the embedded sample."""

from __future__ import annotations

import os
import signal

# A shell's background job ignores Ctrl+C, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Read when numpy, torch and numba are first imported, hence before any of them. Tests share few cores, and a
# reduction split over threads would add up in another order.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tradekit.market.panel import Panel

# The first example of a property may compile a kernel, so no deadline; the same examples in every run.
settings.register_profile("tradekit", deadline=None, derandomize=True)
settings.load_profile("tradekit")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the secret that signs finished work out of the home of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real prices, or skip."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("TRADEKIT_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no price folder at {folder}; set TRADEKIT_SHARED_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def sample() -> Panel:
    """Return the embedded sample: 20 US stocks, daily, 1990 to 2022, closes only."""
    from tradekit import load_panel

    return load_panel("sample")
