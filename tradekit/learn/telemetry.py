"""What the policy asked for beside what was executed; ``diagnosis`` says what is wrong with it.

Statistics are pure functions of arrays: of what a run's ledger kept, or of what a training roll-out did. Every decision
is counted once, by what was asked and by what became of it, so that a policy that asks for nothing but sales and never
sells cannot be told as one that sells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.learn.actions import (
    ACTIONS,
    AS_CHOSEN,
    FORCED,
    HOLD,
    NAMES,
    NO_DECISION,
    NOT_ALLOWED,
    REASONS,
    REPEAT_LIMIT,
    SELLS,
    entropy,
)

if TYPE_CHECKING:
    from tradekit.engine.ledger import Ledger
    from tradekit.learn.actions import Bools, Floats, Ints

# Decisions of one agent over which the variety of its actions is judged.
WINDOW = 120
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
        outcomes: (7, len(REASONS)) how often each action was chosen, by what became of it.
        executed: (7,) how often each action came about.
        policy_entropy: mean entropy of the policy's distribution over allowed actions, nats.
        policy_entropy_share: the same as a share of the most there could be, over decisions with a choice.
        executed_entropy: mean entropy of the executed actions in each WINDOW decisions of an agent, nats.
        unique_actions: mean number of different actions executed in each of those.
        unfilled: trading actions whose order did not fill at all.
        rewards: (7, len(REASONS)) mean reward of the decisions that ``outcomes`` counts; NaN where there are none, or
            no rewards.
        trades_per_year: filled orders for each symbol and year; NaN in a roll-out.
        exposure: mean share of equity that is invested; NaN when not known.
    """

    outcomes: Ints
    executed: Ints
    policy_entropy: float
    policy_entropy_share: float
    executed_entropy: float
    unique_actions: float
    unfilled: int
    rewards: Floats
    trades_per_year: float = math.nan
    exposure: float = math.nan

    @property
    def decisions(self) -> int:
        """Number of decisions."""
        return int(self.outcomes.sum())

    @property
    def chosen(self) -> Ints:
        """(7,) how often each action was asked for."""
        counts: Ints = self.outcomes.sum(axis=1)
        return counts

    @property
    def total_trades(self) -> int:
        """Executed trading actions."""
        return int(self.executed[HOLD + 1 :].sum())

    @property
    def voluntary_trades(self) -> int:
        """Trading actions that were asked for and let through, filled or not."""
        return int(self.outcomes[HOLD + 1 :, AS_CHOSEN].sum())

    @property
    def forced_exits(self) -> int:
        """Positions closed by a rule, not by choice."""
        return int(self.outcomes[:, FORCED].sum())

    @property
    def not_allowed(self) -> int:
        """Decisions that were refused because the action is not possible there."""
        return int(self.outcomes[:, NOT_ALLOWED].sum())

    @property
    def repeat_violations(self) -> int:
        """Decisions that hit the limit of equal actions in a row."""
        return int(self.outcomes[:, REPEAT_LIMIT].sum())

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers under the names reports use; rates are shares of all decisions."""
        asked, decisions = int(self.chosen[HOLD + 1 :].sum()), max(self.decisions, 1)
        exits = self.forced_exits + int(self.outcomes[SELLS, AS_CHOSEN].sum())
        return {
            "decisions": self.decisions,
            "chosen": dict(zip(NAMES, self.chosen.tolist(), strict=True)),
            "executed": dict(zip(NAMES, self.executed.tolist(), strict=True)),
            "reasons": dict(zip(REASONS, self.outcomes.sum(axis=0).tolist(), strict=True)),
            "policy_action_entropy_mean": self.policy_entropy,
            "policy_action_entropy_normalised": self.policy_entropy_share,
            "executed_action_entropy_mean": self.executed_entropy,
            "executed_action_entropy_normalised": self.executed_entropy / math.log(ACTIONS),
            "unique_actions_mean": self.unique_actions,
            "voluntary_trade_rate": self.voluntary_trades / decisions,
            "sanitizer_trade_delta": (asked - self.voluntary_trades) / decisions,
            "consecutive_action_violations": self.repeat_violations,
            "total_trades": self.total_trades,
            "unfilled_orders": self.unfilled,
            "forced_exit_ratio": self.forced_exits / exits if exits else 0.0,
            "trades_per_symbol_year": self.trades_per_year,
            "exposure": self.exposure,
        }


def count_actions(
    chosen: Ints,
    executed: Ints,
    reason: Ints,
    filled: Bools,
    entropies: Floats,
    choices: Ints,
    rewards: Floats | None = None,
    **known: float,
) -> ActionStatistics:
    """Return the statistics of T decisions of B agents; every array (T, B).

    Args:
        chosen: action asked for; NO_DECISION where none was, which does not count.
        executed: action it became.
        reason: why; see ``actions.REASONS``.
        filled: whether the order of the decision filled.
        entropies: of the policy's distribution, nats; NaN where it is not known.
        choices: number of actions that were allowed.
        rewards: of the step that followed.
        known: further fields of ActionStatistics.
    """
    asked = chosen != NO_DECISION
    came_about = np.where((executed != HOLD) & ~filled, HOLD, executed)
    cells = chosen[asked].astype(np.int64) * len(REASONS) + reason[asked]
    outcomes = np.bincount(cells, minlength=ACTIONS * len(REASONS))
    with np.errstate(invalid="ignore"):
        sums = np.bincount(cells, None if rewards is None else rewards[asked], minlength=len(outcomes))
        means = sums / outcomes if rewards is not None else np.full(len(outcomes), math.nan)
    variety, unique = _variety(came_about[asked.all(axis=1)])
    free = asked & (choices > 1)
    return ActionStatistics(
        outcomes=outcomes.reshape(ACTIONS, len(REASONS)),
        executed=np.bincount(came_about[asked], minlength=ACTIONS),
        policy_entropy=_mean(entropies[asked]),
        policy_entropy_share=_mean(entropies[free] / np.log(choices[free])),
        executed_entropy=variety,
        unique_actions=unique,
        unfilled=int(((executed != HOLD) & ~filled & asked).sum()),
        rewards=means.reshape(ACTIONS, len(REASONS)),
        **known,
    )


def action_statistics(ledger: Ledger) -> ActionStatistics:
    """Return the statistics of a symbol agent's run from what it recorded and what its orders became."""
    extras = ledger.extras
    filled = np.zeros(extras["chosen"].shape, np.bool_)
    orders = ledger.orders[ledger.orders["quantity"] != 0.0]
    filled[orders["decision_bar"], orders["portfolio"]] = True
    years = len(ledger.equity) / ledger.panel.bars_per_year * len(ledger.symbols)
    return count_actions(
        extras["chosen"],
        extras["executed"],
        extras["reason"],
        filled,
        extras["entropy"],
        extras["choices"],
        trades_per_year=float(len(orders) / years),
        exposure=float(ledger.exposure.mean()),
    )


def _variety(actions: Ints) -> tuple[float, float]:
    """Return the mean entropy and the mean number of different actions (T, B) in whole windows of each agent."""
    if not actions.size:
        return math.nan, math.nan
    size = min(WINDOW, len(actions))
    windows = actions[: len(actions) // size * size].reshape(-1, size, actions.shape[1])
    counts = np.stack([(windows == action).sum(axis=1) for action in range(ACTIONS)], axis=-1).reshape(-1, ACTIONS)
    return float(np.mean([entropy(row) for row in counts])), float((counts > 0).sum(axis=1).mean())


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan


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
