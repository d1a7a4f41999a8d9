"""PolicyStrategy: a trained bundle as a strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tradekit.errors import BundleError, DataError
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.bundle import read_bundle
from tradekit.market.features import FEATURES

if TYPE_CHECKING:
    import os

    import numpy as np

    from tradekit.learn.bundle import Bundle
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel


class PolicyStrategy(SymbolAgent):
    """The policy of a bundle, frozen: ``fit`` changes nothing, and bars up to ``seen_end`` do not count as evidence.

    Args:
        bundle: read and checked.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.name, bundle.features, bundle.scheme, bundle.decide, bundle.stacked_bars)
        self.bundle = bundle

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PolicyStrategy:
        """Load a policy's folder, or its bundle folder; see ``read_bundle``.

        Raises:
            BundleError: a file is missing, was changed, or is of a format this version does not read.
        """
        return cls(read_bundle(Path(path)))

    @property
    def seen_end(self) -> np.datetime64:
        """Open of the last bar that training or validation used."""
        return self.bundle.seen_end

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
        try:
            self.features.check(panel)
        except DataError as error:
            raise BundleError(f"{self.name}: {error}; {mend}") from error
        self._demand_benchmark(panel, mend)

    def _demand_benchmark(self, panel: Panel, mend: str) -> None:
        """A feature of the benchmark is another feature when the benchmark is another one."""
        trained = self.bundle.data["benchmark"]
        feature = next((name for name in self.features.names if "benchmark_returns" in FEATURES[name].inputs), None)
        if feature is not None and panel.benchmark_name != trained:
            raise BundleError(
                f"{self.name}: {feature} was trained with the benchmark {trained}, and {panel.source} has "
                f'{panel.benchmark_name}; set benchmark = "{trained}" in the spec, or {mend}'
            )
