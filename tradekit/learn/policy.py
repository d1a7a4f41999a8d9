"""PolicyStrategy: a trained bundle as a strategy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tradekit.errors import BundleError, DataError
from tradekit.learn.agent import SymbolAgent
from tradekit.learn.bundle import read_bundle
from tradekit.market.execution import ExecutionModel

if TYPE_CHECKING:
    import os

    import numpy as np

    from tradekit.learn.bundle import Bundle
    from tradekit.market.panel import Panel


class PolicyStrategy(SymbolAgent):
    """The policy of a bundle, frozen: ``fit`` changes nothing, and bars up to ``seen_end`` do not count as evidence.

    Args:
        bundle: read and checked.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle.name, bundle.features, bundle.scheme, bundle.decide)
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

    def check(self, panel: Panel) -> None:
        """Raise BundleError when the policy was not trained for data like this, naming what differs."""
        data = self.bundle.data
        trained = f"{data['frequency']} bars with fills at the {data['fill_at']}"
        fills = ExecutionModel().fills_at(panel)
        given = f"{panel.frequency} bars with fills at the {fills}"
        mend = f"train there with: tradekit train --data {panel.source}"
        if trained != given:
            raise BundleError(f"{self.name} was trained on {trained}, and {panel.source} has {given}; {mend}")
        try:
            self.features.check(panel)
        except DataError as error:
            raise BundleError(f"{self.name}: {error}; {mend}") from error
