"""Minimum variance: the long-only portfolio whose last year swung least, chosen anew each month.

Markowitz 1952 (doi:10.1111/j.1540-6261.1952.tb01525.x) without a view on returns, by skfolio.
"""

from __future__ import annotations

from skfolio.optimization import MeanRisk

from tradekit.engine.optimiser import OptimiserStrategy

strategy = OptimiserStrategy("minimum_variance", MeanRisk())
