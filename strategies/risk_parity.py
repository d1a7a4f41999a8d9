"""Risk parity: every symbol adds the same to the variance of the last year, chosen anew each month.

Maillard, Roncalli and Teiletche 2010 (doi:10.3905/jpm.2010.36.4.060), by skfolio.
"""

from __future__ import annotations

from skfolio.optimization import RiskBudgeting

from tradekit.engine.optimiser import OptimiserStrategy

strategy = OptimiserStrategy("risk_parity", RiskBudgeting())
