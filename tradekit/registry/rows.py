"""What the registry holds: trials, what was measured of them, and runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from tradekit.registry.process import alive

if TYPE_CHECKING:
    import sqlite3

Kind = Literal["backtest", "train", "tune"]
Status = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class Trial:
    """Something a person could select.

    Attributes:
        kind: how it came about: judged in a ``backtest``, the outcome of a ``train`` run, or one try of ``tune``.
        name: of the strategy or policy, for people.
        candidate: hash of what would be selected: code and parameters, or a policy's bundle. A policy that is trained
            and then backtested has one candidate in two trials, and is counted once.
        data: content hash of the bars.
        symbols: of those bars.
    """

    kind: Kind
    name: str
    candidate: str
    data: str
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is {self.kind!r}; one of {', '.join(get_args(Kind))}")

    @property
    def key(self) -> str:
        """SHA-256 of candidate and data: the trial's identity."""
        return hashlib.sha256(f"{self.candidate}\0{self.data}".encode()).hexdigest()


class Result(NamedTuple):
    """What one run measured of one trial.

    costs: hash of the cost and execution models; results are compared under the same ones only.
    sharpe: mean over standard deviation of the returns per bar, not annualised; None where undefined.
    bars: number of returns.
    skew, kurtosis: of the returns; 3 is the kurtosis of a normal distribution.
    returns: where the returns are kept: ``<file>#<strategy>``; None: nowhere.
    """

    costs: str
    sharpe: float | None
    bars: int
    skew: float | None = None
    kurtosis: float | None = None
    returns: str | None = None


@dataclass(frozen=True)
class Frozen:
    """The trials a run is judged against, as they stood when it began.

    Attributes:
        keys: of the trials on symbols that overlap the run's, its own included, the oldest first.
    """

    keys: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.keys)

    @property
    def hash(self) -> str:
        """SHA-256 over the keys."""
        return hashlib.sha256("\n".join(self.keys).encode()).hexdigest()


@dataclass(frozen=True)
class RunRow:
    """One run. ``status`` is ``interrupted`` also where the process is gone without having said goodbye.

    Attributes:
        id: running number.
        started, ended: ISO 8601 in UTC; ended None while it runs.
        kind: backtest, walk_forward, stress, train, tune.
        command: the command line.
        name: for people: the policy, or the kind of run.
        folder: where its results are; None until they are written.
        hashes: of spec, data, costs.
        versions: of libraries.
        status, note: how it ended, and why.
        metrics: by strategy: figures by name.
    """

    id: int
    started: str
    ended: str | None
    kind: str
    command: str
    name: str
    folder: str | None
    hashes: dict[str, str]
    versions: dict[str, str]
    status: Status
    note: str
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)


def run_row(row: sqlite3.Row) -> RunRow:
    """Return a row of the table ``runs``."""
    gone = row["status"] == "running" and not alive(row["process"])
    return RunRow(
        id=row["id"],
        started=row["started"],
        ended=row["ended"],
        kind=row["kind"],
        command=row["command"],
        name=row["name"],
        folder=row["folder"],
        hashes=json.loads(row["hashes"]),
        versions=json.loads(row["versions"]),
        status="interrupted" if gone else row["status"],
        note="its process ended without a word" if gone else row["note"],
        metrics=json.loads(row["metrics"]),
    )
