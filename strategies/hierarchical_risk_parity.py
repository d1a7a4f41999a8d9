"""Hierarchical risk parity: money is split down a tree of the symbols that moved together, chosen anew each month.

Lopez de Prado 2016 (doi:10.3905/jpm.2016.42.4.059), by skfolio. It inverts no matrix, so it bears more symbols
than bars.
"""

from __future__ import annotations

from skfolio.optimization import HierarchicalRiskParity

from tradekit.engine.optimiser import OptimiserStrategy

strategy = OptimiserStrategy("hierarchical_risk_parity", HierarchicalRiskParity())
