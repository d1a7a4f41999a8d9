"""What is wrong with what a policy does, by name, with the figures that show it and the setting to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tradekit.learn.actions import AS_CHOSEN, BUYS, HOLD, NAMES, NOT_ALLOWED, SELLS
from tradekit.learn.telemetry import LOW_ENTROPY

if TYPE_CHECKING:
    from tradekit.learn.telemetry import ActionStatistics


@dataclass(frozen=True)
class Finding:
    """Something wrong with what a policy does.

    Attributes:
        name: what it is called; see ``diagnose``.
        evidence: the figures that show it.
        what_to_change: in the recipe.
        is_collapse: more training cannot mend it; otherwise it is an alarm.
    """

    name: str
    evidence: str
    what_to_change: str
    is_collapse: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}; {self.what_to_change}"


NO_TRADES = "no_trades"
# Share of decisions from which an action counts as all that a policy does, and from which refusals are a habit.
NOTHING_ELSE, HABIT = 0.99, 0.25
# Share of decisions from which buying that nothing ends is a collapse, and sales a buyer of that kind makes at most.
BUYING, FEW_SALES = 0.5, 0.05
# Share of decisions that are trades under which a policy that is refused does nothing else, and the reward of a refusal
# that only something dearer can explain.
FEW_TRADES_OF_ALL, DEAR = 0.05, -0.99
# Share of decisions from which the limit of equal actions in a row is what a policy runs into.
MANY_REPEATS = 0.05


def diagnose(statistics: ActionStatistics) -> list[Finding]:
    """Return what is wrong, the worst first; nothing when nothing is.

    Collapses: ``not_a_number``, ``double_bind``, ``rejected_spam``, ``always_buy``, ``no_trades``. Alarms:
    ``many_refusals``, ``one_action``, ``low_entropy``, ``repeat_limit``, ``unfilled``. A double bind is told from plain
    spamming by the rewards of a roll-out; without rewards it is called spamming.
    """
    if not statistics.decisions:
        return []
    checks = (
        _not_a_number,
        _refusals,
        _always_buy,
        _no_trades,
        _one_action,
        _low_entropy,
        _repeat_limit,
        _unfilled,
    )
    return [found for check in checks if (found := check(statistics)) is not None]


def _not_a_number(said: ActionStatistics) -> Finding | None:
    if np.isfinite(said.policy_entropy):
        return None
    return Finding(
        "not_a_number", "the policy's probabilities are not finite", "lower ppo.learning_rate", is_collapse=True
    )


def _refusals(said: ActionStatistics) -> Finding | None:
    refused = said.outcomes[:, NOT_ALLOWED]
    action = int(refused.argmax())
    if refused.sum() < HABIT * said.decisions:
        return None
    evidence = (
        f"{refused.sum() / said.decisions:.0%} of decisions are refused, most of them {NAMES[action]}, chosen at "
        f"{said.chosen[action] / said.decisions:.0%}; {said.total_trades} trades were executed in "
        f"{said.decisions} decisions"
    )
    pays, rests = said.rewards[action, NOT_ALLOWED], said.rewards[HOLD, AS_CHOSEN]
    if said.total_trades > FEW_TRADES_OF_ALL * said.decisions:
        advice = "set actions.masking = true, so that what is not possible cannot be chosen"
        return Finding("many_refusals", evidence, advice, is_collapse=False)
    if rests < pays < 0.0 or (np.isnan(rests) and pays <= DEAR):
        holds = "HOLD is never chosen" if np.isnan(rests) else f"HOLD earns {rests:.3g}"
        evidence += f"; a refusal earns {pays:.3g} and {holds}: doing nothing is made as dear as what cannot be done"
        advice = "drop the quota or penalty that asks for impossible actions, and set actions.masking = true"
        return Finding("double_bind", evidence, advice, is_collapse=True)
    if np.isfinite(pays):
        evidence += f"; a refusal costs {-pays:.3g}"
    advice = "set actions.masking = true; without masks actions.failed_action_penalty = -1.0 or lower"
    return Finding("rejected_spam", evidence, advice, is_collapse=True)


def _always_buy(said: ActionStatistics) -> Finding | None:
    bought, sold = (int(said.outcomes[group, AS_CHOSEN].sum()) for group in (BUYS, SELLS))
    if bought < BUYING * said.decisions or sold > FEW_SALES * bought:
        return None
    evidence = f"{bought / said.decisions:.0%} of decisions buy and {sold / said.decisions:.1%} sell"
    advice = "set actions.masking = true, so that a buy needs a flat position, and actions.max_consecutive_actions = 3"
    return Finding("always_buy", evidence, advice, is_collapse=True)


def _no_trades(said: ActionStatistics) -> Finding | None:
    if said.total_trades:
        return None
    asked = int(said.chosen[HOLD + 1 :].sum())
    evidence = f"{asked} trades asked for and none executed in {said.decisions} decisions"
    advice = "raise entropy.coefficient or train longer"
    if said.unfilled:
        advice = "give the orders volume and cash to fill with: see the reasons in the ledger"
    return Finding(NO_TRADES, evidence, advice, is_collapse=True)


def _one_action(said: ActionStatistics) -> Finding | None:
    action = int(said.chosen.argmax())
    share = said.chosen[action] / said.decisions
    if share <= NOTHING_ELSE:
        return None
    return Finding(
        "one_action",
        f"{NAMES[action]} is {share:.1%} of what is chosen",
        "raise entropy.coefficient and entropy.final",
        is_collapse=False,
    )


def _low_entropy(said: ActionStatistics) -> Finding | None:
    if not said.policy_entropy < LOW_ENTROPY:
        return None
    return Finding(
        "low_entropy",
        f"the policy's entropy is {said.policy_entropy:.3f} nats, {said.policy_entropy_share:.0%} of the most there is",
        "raise entropy.coefficient and entropy.final, or lower ppo.learning_rate",
        is_collapse=False,
    )


def _repeat_limit(said: ActionStatistics) -> Finding | None:
    share = said.repeat_violations / said.decisions
    if share < MANY_REPEATS:
        return None
    return Finding(
        "repeat_limit",
        f"{share:.0%} of decisions repeat an action beyond the limit and execute as HOLD",
        "set actions.masking = true, so that what would not execute cannot be chosen",
        is_collapse=False,
    )


def _unfilled(said: ActionStatistics) -> Finding | None:
    sent = said.total_trades + said.unfilled
    if not said.total_trades or said.unfilled <= 0.5 * sent:
        return None
    return Finding(
        "unfilled",
        f"{said.unfilled} of {sent} orders did not fill at all",
        "loosen execution.max_participation and execution.min_trade, or give the sleeve more cash",
        is_collapse=False,
    )
