"""Enter runs and their trials into the desk's registry."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tradekit.compute import hash_of
from tradekit.engine.windows import Windowing
from tradekit.registry import Registry, Result, Trial

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from tradekit.desk.folder import Desk
    from tradekit.desk.loader import LoadedStrategy
    from tradekit.desk.specs import BacktestSpec
    from tradekit.engine.combinatorial import Combinatorial
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel

# Nobody can trade these: what chance earns, and what perfect foresight would.
UNSELECTABLE = ("null", "ceiling")
# What these do in a bar does not depend on how the bars are cut into windows.
WINDOWLESS = ("heuristic", "policy")


@dataclass
class Recording:
    """A run in the registry.

    Attributes:
        desk: whose registry.
        run: its number there.
        keys: trial keys by strategy, of those that a person could select.
        costs: hash of cost and execution models.
    """

    desk: Desk
    run: int
    keys: dict[str, str]
    costs: str
    finished: bool = field(default=False)

    def trials(self, results: Mapping[str, Result]) -> dict[str, Any]:
        """Enter what was measured, by strategy, and return what a manifest says of the trials.

        Returns:
            ``count`` of the frozen set and its ``hash``; ``own``, the keys of the run's strategies; ``sharpes`` per bar
            of all trials in the set that were measured on these bars at these costs, by key order.
        """
        with Registry(self.desk.registry) as registry:
            registry.measure(self.run, {self.keys[name]: one for name, one in results.items() if name in self.keys})
            frozen = registry.frozen(self.run)
            known = registry.sharpes(self.run, self.costs)
        return {
            "count": frozen.count,
            "hash": frozen.hash,
            "own": dict(sorted(self.keys.items())),
            "sharpes": [known[key] for key in sorted(known)],
        }

    def kept(self) -> dict[str, str]:
        """Return where the returns of earlier trials on these bars at these costs are, by key; the run's own aside."""
        with Registry(self.desk.registry) as registry:
            found = registry.returns(self.run, self.costs)
        return {key: place for key, place in found.items() if key not in self.keys.values()}

    def finish(self, folder: str | os.PathLike[str], metrics: Mapping[str, Mapping[str, float | None]]) -> None:
        """Enter that the run is done, where its results are, and figures to compare runs by."""
        with Registry(self.desk.registry) as registry:
            registry.finish(self.run, folder=folder, metrics=metrics)
        self.finished = True

    @contextmanager
    def ends_with(self) -> Iterator[None]:
        """Enter how the run ended if what is inside raises."""
        try:
            yield
        except BaseException as error:
            if not self.finished:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                note = " ".join(f"{type(error).__name__}: {error}".split())
                with Registry(self.desk.registry) as registry:
                    registry.finish(self.run, status, note=note)  # type: ignore[arg-type] # one of two words
                self.finished = True
            raise


def begin(
    desk: Desk,
    kind: str,
    command: str,
    spec: BacktestSpec,
    loaded: Sequence[LoadedStrategy],
    identities: Mapping[str, str],
    panel: Panel,
    windowing: Windowing | Combinatorial | None,
    seeds: Sequence[int] = (),
) -> Recording:
    """Enter a run that begins, with its trials.

    Args:
        desk: whose registry.
        kind: backtest, walk_forward, cross_validation or stress.
        command: the command line.
        spec: of the run.
        loaded: the strategies.
        identities: hash of each strategy's code and parameters, by name.
        panel: the bars.
        windowing: how they are cut; None: not at all.
        seeds: the strategies that draw are averaged over; one candidate, whatever their number.

    Raises:
        DeskError: the registry cannot be used.
    """
    costs = costs_hash(spec.costs, spec.execution)
    trials = {
        one.strategy.name: Trial(
            "backtest",
            one.strategy.name,
            candidate(one, identities[one.strategy.name], windowing, seeds),
            panel.content_hash,
            panel.symbols,
        )
        for one in loaded
        if _kind(one) not in UNSELECTABLE
    }
    with Registry(desk.registry) as registry:
        run = registry.begin(
            kind,
            command=command,
            name=kind,
            symbols=panel.symbols,
            trials=list(trials.values()),
            hashes={"spec": hash_of(repr(spec)), "data": panel.content_hash, "costs": costs},
            versions=versions(),
        )
    return Recording(desk, run, {name: trial.key for name, trial in trials.items()}, costs)


def candidate(
    one: LoadedStrategy, identity: str, windowing: Windowing | Combinatorial | None, seeds: Sequence[int]
) -> str:
    """Return the hash of what a person would select: the policy's bundle, or code with its parameters.

    How much a strategy learns from is a parameter of it; how bars are cut for one that does not learn is none.
    """
    bundle = getattr(one.strategy, "bundle", None)
    trained = windowing is not None and windowing.refit != "frozen" and hasattr(one.strategy, "refit")
    if bundle is not None and not trained:
        return str(bundle.digest)
    drawn = repr(tuple(seeds)) if getattr(one.strategy, "seed", None) is not None else None
    if windowing is None or (_kind(one) in WINDOWLESS and not trained):
        return hash_of(identity, None, drawn)
    learnt_from = windowing if trained else replace(windowing, refit="frozen")
    if isinstance(learnt_from, Windowing):
        learnt_from = replace(learnt_from, carry="carry")
    return hash_of(identity, repr(learnt_from), drawn)


def costs_hash(costs: CostModel, execution: ExecutionModel) -> str:
    """Return a hash of the market model; results are compared under equal ones."""
    return hash_of(repr(sorted(asdict(costs).items())), repr(sorted(asdict(execution).items())))


def remember_training(
    desk: Desk,
    *,
    command: str,
    policy: str,
    digest: str,
    data: str,
    symbols: Sequence[str],
    folder: str | os.PathLike[str],
    metrics: Mapping[str, float | None],
    versions: Mapping[str, str],
    healthy: bool = True,
    note: str = "",
) -> int:
    """Enter a training run that has ended, whose policy is a trial from now on; return its number.

    Args:
        desk: whose registry.
        command: the command line.
        policy: name of the policy.
        digest: of its bundle.
        data: content hash of the bars it was trained and validated on.
        symbols: of those bars.
        folder: of the run.
        metrics: figures to compare runs by.
        versions: of the libraries.
        healthy: False: the run counts as failed, and its policy as a trial all the same: somebody looked at it.
        note: the verdict.
    """
    trial = Trial("train", policy, digest, data, tuple(symbols))
    with Registry(desk.registry) as registry:
        run = registry.begin(
            "train",
            command=command,
            name=policy,
            symbols=symbols,
            trials=[trial],
            hashes={"data": data},
            versions=versions,
        )
        registry.finish(run, "done" if healthy else "failed", folder=folder, metrics={policy: dict(metrics)}, note=note)
    return run


def versions() -> dict[str, str]:
    """Return the versions of tradekit and of the libraries that numbers depend on most."""
    from importlib.metadata import version

    from tradekit.version import __version__

    return {"tradekit": __version__, "numpy": version("numpy"), "numba": version("numba")}


def _kind(one: LoadedStrategy) -> str:
    return str(getattr(one.strategy, "kind", "custom"))
