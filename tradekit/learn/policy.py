"""PolicyStrategy: a trained bundle as a strategy; RefitPolicy: the same, trained afresh in every window."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradekit.errors import BundleError, ConfigError, DataError, StrategyError
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.bundle import WEIGHTS, read_bundle
from tradekit.learn.export import export
from tradekit.learn.pieces import VALIDATION_SHARE, split_pieces
from tradekit.learn.recipe import Recipe
from tradekit.learn.runtimes import RUNTIMES, TORCHSCRIPT
from tradekit.market.features import FEATURES
from tradekit.market.features import feature as feature_of

if TYPE_CHECKING:
    import os

    import numpy as np

    from tradekit.engine.strategy import Portfolios, Targets
    from tradekit.engine.view import View
    from tradekit.learn.agent import Diary
    from tradekit.learn.bundle import Bundle
    from tradekit.learn.slices import Split
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel


RECIPE = "recipe.toml"
HISTORY = max(feature.lookback for feature in FEATURES.values()) - 1
"""Bars that the features of one bar read besides it."""


class PolicyStrategy(SymbolAgent):
    """The policy of a bundle, frozen: ``fit`` changes nothing, and bars up to ``seen_end`` do not count as evidence.

    Args:
        bundle: read and checked.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.name, bundle.features, bundle.scheme, bundle.decide, bundle.stacked_bars)
        self.bundle = bundle

    @classmethod
    def load(cls, path: str | os.PathLike[str], runtime: str = TORCHSCRIPT) -> PolicyStrategy:
        """Load a policy's folder, or its bundle folder; see ``read_bundle``.

        Args:
            path: the folder.
            runtime: ``torchscript`` runs policy.ts; ``onnx`` runs policy.onnx, which ``tradekit export`` writes.

        Raises:
            BundleError: a file is missing, was changed, or is of a format this version does not read; or the runtime is
                not installed, or has no file there.
            ConfigError: there is no such runtime.
        """
        return cls(read_bundle(Path(path), runtime))

    def start(self, portfolios: int) -> Diary:
        """Return an empty diary; the network is read now, and not while a bar waits for its decision."""
        _ = self.bundle.network
        return super().start(portfolios)

    @property
    def seen_end(self) -> np.datetime64:
        """Open of the last bar that training or validation used."""
        return self.bundle.seen_end

    @property
    def recipe(self) -> Recipe:
        """How the policy is trained: the recipe beside its bundle, or else the one it was trained by.

        Raises:
            ConfigError: it cannot be read.
        """
        file = self.bundle.folder.parent / RECIPE
        if file.is_file():
            return Recipe.load(file)
        try:
            return Recipe.from_dict(dict(self.bundle.manifest["recipe"]))
        except (ConfigError, TypeError) as error:
            raise ConfigError(
                f"{self.bundle.folder}: its recipe is of another version ({error}); train again"
            ) from error

    @property
    def identity(self) -> str:
        """What decides the policy's decisions, and those of policies that are trained by its recipe."""
        file, runtime = self.bundle.folder.parent / RECIPE, self.bundle.runtime
        other = "" if runtime == TORCHSCRIPT else self.bundle.files[RUNTIMES[runtime].file]
        return self.bundle.digest + other + (file.read_text(encoding="utf-8") if file.is_file() else "")

    def refit(self) -> RefitPolicy:
        """Return a strategy that trains by this policy's recipe wherever it is fitted."""
        recipe = self.recipe
        return RefitPolicy(self.name, recipe, recipe.seed, self.bundle.runtime)

    def check(self, panel: Panel, execution: ExecutionModel) -> None:
        """Raise BundleError when the policy was not trained for these bars, filled like this, naming what differs.

        Args:
            panel: the bars to decide on.
            execution: what the orders are filled by; latency and sizes may differ from training, open or close not.
        """
        data = self.bundle.data
        mend = f"train there with: tradekit train --data {panel.source}"
        trained, given = data["fill_at"], execution.fills_at(panel)
        if (panel.frequency, given) != (data["frequency"], trained):
            if panel.frequency == data["frequency"] and trained in panel.columns:
                mend = f'set fill_at = "{trained}" in [execution]'
            raise BundleError(
                f"{self.name} was trained on {data['frequency']} bars with fills at the {trained}, "
                f"and {panel.source} has {panel.frequency} bars with fills at the {given}; {mend}"
            )
        lacking = [name for name in self.features.side if name not in panel.side]
        if lacking:
            raise BundleError(
                f"{self.name} sees the side series {', '.join(lacking)}, which {panel.source} comes without; "
                "give each under side in [data] or by --side, with the lag that it was trained with"
            )
        try:
            self.features.check(panel)
        except DataError as error:
            raise BundleError(f"{self.name}: {error}; {mend}") from error
        self._demand_benchmark(panel, mend)

    def _demand_benchmark(self, panel: Panel, mend: str) -> None:
        """A feature of the benchmark is another feature when the benchmark is another one."""
        trained = self.bundle.data["benchmark"]
        feature = next((name for name in self.features.reads if "benchmark_returns" in feature_of(name).inputs), None)
        if feature is not None and panel.benchmark_name != trained:
            raise BundleError(
                f"{self.name}: {feature} was trained with the benchmark {trained}, and {panel.source} has "
                f'{panel.benchmark_name}; set benchmark = "{trained}" in the spec, or {mend}'
            )


class WindowPolicy(PolicyStrategy):
    """A policy of one window, with the weights that the next window may go on from."""

    def __init__(self, bundle: Bundle, weights: bytes) -> None:
        super().__init__(bundle)
        self.weights = weights


@dataclass(frozen=True)
class RefitPolicy:
    """A recipe as a strategy: fitting it trains a policy on the train slice and on nothing else.

    The last fifth of the slice chooses among checkpoints; the session before it is purged. Observations are normalised
    by what precedes that. Bars before the slice are history that features read, nothing is learnt from them.

    Attributes:
        name: of the policy.
        recipe: how to train; its own choice of bars is not used.
        seed: instead of the recipe's.
        runtime: what runs the policies it trains.
    """

    name: str
    recipe: Recipe
    seed: int
    runtime: str = TORCHSCRIPT

    kind = "policy"
    sleeves = True

    @property
    def history(self) -> int:
        """Bars before a train slice that the features of its first bar read."""
        return HISTORY

    def check(self, panel: Panel, execution: ExecutionModel) -> None:
        """Raise BundleError when policies trained by the recipe could not be run on these bars, filled like this."""
        from tradekit.learn.slices import feature_spec

        trained, given = self.recipe.execution.fills_at(panel), execution.fills_at(panel)
        if trained != given:
            raise BundleError(
                f"{self.name}: its recipe trains with fills at the {trained}, and orders fill at the {given} here; "
                f'set fill_at = "{trained}" in [execution]'
            )
        try:
            feature_spec(self.recipe, panel)
        except DataError as error:
            raise BundleError(f"{self.name}: {error}") from error

    def fit(self, train: Panel) -> WindowPolicy:
        """Return a policy trained on ``train``."""
        return self.fit_window(train, 0, None)

    def fit_window(self, bars: Panel, warm_up: int, previous: WindowPolicy | None) -> WindowPolicy:
        """Return a policy trained on ``bars`` from row ``warm_up`` on, going on from ``previous`` if there is one.

        Raises:
            DataError: too few bars.
            ConfigError: training diverged.
        """
        return self._trained(bars, split_window(bars, warm_up), previous)

    def fit_pieces(self, bars: Panel, pieces: tuple[tuple[int, int], ...]) -> WindowPolicy:
        """Return a policy trained on the runs of bars that are not missing from ``bars``; no episode crosses a hole.

        Raises:
            DataError, ConfigError: as in ``fit_window``.
        """
        return self._trained(bars, split_pieces(self.recipe, bars, pieces), None)

    def _trained(self, bars: Panel, split: Split, previous: WindowPolicy | None) -> WindowPolicy:
        from safetensors.numpy import load

        from tradekit.learn.train import train

        # The folder of the run is thrown away, and so would event files be.
        tracking = replace(self.recipe.tracking, tensorboard=False)
        recipe = replace(self.recipe, seed=self.seed, tracking=tracking)
        weights = None if previous is None else load(previous.weights)
        with tempfile.TemporaryDirectory(prefix="tradekit-refit-") as folder:
            made = train(recipe, bars, Path(folder) / "run", split=split, weights=weights)
            bundle = made.bundle if self.runtime == TORCHSCRIPT else export(made.bundle, self.runtime).bundle
            return WindowPolicy(bundle, (bundle.folder / WEIGHTS).read_bytes())

    def start(self, portfolios: int) -> Any:
        """Raise StrategyError: nothing is trained yet."""
        raise StrategyError(f"{self.name}: nothing is trained yet; run it with backtest --walk-forward")

    def decide(self, view: View, portfolios: Portfolios, state: Any) -> Targets:
        """Raise StrategyError: nothing is trained yet."""
        raise StrategyError(f"{self.name}: nothing is trained yet; run it with backtest --walk-forward")


def split_window(bars: Panel, warm_up: int) -> Split:
    """Return which rows of a window's bars train and which choose among checkpoints.

    Raises:
        DataError: too few bars for both.
    """
    from tradekit.learn.slices import Split

    length = len(bars) - warm_up
    session = ceil(len(bars) / (int(bars.sessions[-1]) + 1))
    validation_start = len(bars) - max(2, int(length * VALIDATION_SHARE))
    train_stop = validation_start - session
    if train_stop - warm_up < 2:
        raise DataError(f"{bars.source}: {length} bars are too few to train a policy on; raise train_sessions")
    return Split(train_stop, validation_start, len(bars), warm_up)
