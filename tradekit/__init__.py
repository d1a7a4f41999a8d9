"""tradekit: train, backtest, stress and paper-trade strategies on one market model.

The public names load on first use, so ``import tradekit`` costs no more than this file.

>>> import tradekit
>>> tradekit.TradekitError.exit_status
2
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradekit.engine.audit import audit
    from tradekit.engine.ledger import Ledger
    from tradekit.engine.simulate import simulate
    from tradekit.engine.stress import stress
    from tradekit.engine.walk_forward import walk_forward
    from tradekit.errors import TradekitError
    from tradekit.learn.policy import PolicyStrategy
    from tradekit.market.costs import CostModel
    from tradekit.market.execution import ExecutionModel
    from tradekit.market.panel import Panel
    from tradekit.market.sources import load_panel
    from tradekit.version import __version__

__all__ = [
    "CostModel",
    "ExecutionModel",
    "Ledger",
    "Panel",
    "PolicyStrategy",
    "TradekitError",
    "__version__",
    "audit",
    "load_panel",
    "simulate",
    "stress",
    "walk_forward",
]

_HOME = {
    "CostModel": "tradekit.market.costs",
    "ExecutionModel": "tradekit.market.execution",
    "Ledger": "tradekit.engine.ledger",
    "Panel": "tradekit.market.panel",
    "PolicyStrategy": "tradekit.learn.policy",
    "TradekitError": "tradekit.errors",
    "__version__": "tradekit.version",
    "audit": "tradekit.engine.audit",
    "load_panel": "tradekit.market.sources",
    "simulate": "tradekit.engine.simulate",
    "stress": "tradekit.engine.stress",
    "walk_forward": "tradekit.engine.walk_forward",
}


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'tradekit' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
