"""What the policy asked for beside what was executed: action statistics of a run, and whether it collapsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.learn.actions import ACTIONS, HOLD, NAMES, NO_DECISION, NOT_ALLOWED, REPEAT_LIMIT, entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tradekit.engine.ledger import Ledger

# An entropy of the policy, in nats, under which it has stopped exploring; an alarm, not by itself a collapse.
LOW_ENTROPY = 0.1
# Trades for each symbol and year under which a policy is told apart from one that trades.
FEW_TRADES = 1.0
# Mean exposure below which a Sharpe ratio is the luck of a few small positions.
LEAST_EXPOSURE = 0.05


@dataclass(frozen=True)
class ActionStatistics:
    """Actions of all agents of a run.

    A trading action counts as executed when its order filled, wholly or in part.

    Attributes:
        decisions: number of decisions.
        chosen, executed: (7,) how often each action was asked for, and how often it came about.
        policy_entropy: mean entropy of the policy's distribution over allowed actions, nats.
        repeat_violations: decisions that hit the limit of equal actions in a row.
        not_allowed: decisions outside the mask.
        unfilled: trading actions whose order did not fill at all.
        trades_per_year: filled orders for each symbol and year.
        exposure: mean share of equity that is invested.
    """

    decisions: int
    chosen: NDArray[np.int64]
    executed: NDArray[np.int64]
    policy_entropy: float
    repeat_violations: int
    not_allowed: int
    unfilled: int
    trades_per_year: float
    exposure: float

    @property
    def total_trades(self) -> int:
        """Executed trading actions."""
        return int(self.executed[HOLD + 1 :].sum())

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers under the names reports use; shares are of all decisions."""
        asked = int(self.chosen[HOLD + 1 :].sum())
        return {
            "decisions": self.decisions,
            "chosen": dict(zip(NAMES, self.chosen.tolist(), strict=True)),
            "executed": dict(zip(NAMES, self.executed.tolist(), strict=True)),
            "policy_action_entropy_mean": self.policy_entropy,
            "chosen_action_entropy": entropy(self.chosen),
            "executed_action_entropy": entropy(self.executed),
            "voluntary_trade_rate": asked / self.decisions,
            "sanitizer_trade_delta": (asked - self.total_trades) / self.decisions,
            "consecutive_action_violations": self.repeat_violations,
            "total_trades": self.total_trades,
            "unfilled_orders": self.unfilled,
            "trades_per_symbol_year": self.trades_per_year,
            "exposure": self.exposure,
        }


def action_statistics(ledger: Ledger) -> ActionStatistics:
    """Return the statistics of a symbol agent's run from what it recorded and what its orders became."""
    extras = ledger.extras
    asked = extras["chosen"] != NO_DECISION
    chosen, executed = extras["chosen"].astype(np.int64), extras["executed"].astype(np.int64)
    filled = np.zeros(chosen.shape, np.bool_)
    orders = ledger.orders[ledger.orders["quantity"] != 0.0]
    filled[orders["decision_bar"], orders["portfolio"]] = True
    came_about = np.where((executed != HOLD) & ~filled, HOLD, executed)
    years = len(ledger.equity) / ledger.panel.bars_per_year * len(ledger.symbols)
    return ActionStatistics(
        decisions=int(asked.sum()),
        chosen=np.bincount(chosen[asked], minlength=ACTIONS),
        executed=np.bincount(came_about[asked], minlength=ACTIONS),
        policy_entropy=float(extras["entropy"][asked].mean()),
        repeat_violations=int((extras["reason"][asked] == REPEAT_LIMIT).sum()),
        not_allowed=int((extras["reason"][asked] == NOT_ALLOWED).sum()),
        unfilled=int(((executed != HOLD) & ~filled & asked).sum()),
        trades_per_year=float(len(orders) / years),
        exposure=float(ledger.exposure.mean()),
    )


def verdict(statistics: ActionStatistics, sharpe: float) -> tuple[bool, str]:
    """Return whether the policy is usable, and one line that says what it does.

    ``sharpe`` is that of the validation slice, annual. Unusable: it never trades, or its numbers are not finite.
    """
    trades, rate = statistics.total_trades, statistics.trades_per_year
    if not np.isfinite(statistics.policy_entropy):
        return False, "collapsed: the policy's probabilities are not finite; lower the learning rate"
    if trades == 0:
        return False, "collapsed: it never trades on the validation bars; raise the entropy coefficient or train longer"
    if not np.isfinite(sharpe):
        return False, "collapsed: its equity never moves on the validation bars; train longer"
    said = f"validation Sharpe {sharpe:.2f}, {rate:.1f} trades per symbol and year, {statistics.exposure:.0%} invested"
    if statistics.policy_entropy < LOW_ENTROPY:
        said += f", entropy {statistics.policy_entropy:.2f} nats is low"
    if statistics.exposure < LEAST_EXPOSURE:
        return True, f"hardly invests: {said}"
    return True, f"buys and holds: {said}" if rate < FEW_TRADES else f"trades: {said}"
