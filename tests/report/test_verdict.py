"""The verdict on hand-made equity curves: who is ahead, what is chance, and what proves nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tradekit.market.costs import TERMS
from tradekit.report.evidence import ADDED, evidence_of, joint_of
from tradekit.report.metrics import metrics_of
from tradekit.report.record import Orders, Record, Track
from tradekit.report.verdict import verdict_of

BARS = 1001
NOISE = np.random.default_rng(0).normal(0.0, 0.01, (4, BARS - 1))
NOISE -= NOISE.mean(axis=1, keepdims=True)


def _track(name: str, returns: Any) -> Track:
    bars = len(returns) + 1
    equity = 100.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    nothing = np.zeros(bars)
    times = (np.datetime64("2015-01-01") + np.arange(bars)).astype("M8[ns]")
    costs, fills = np.zeros((bars, len(TERMS))), np.zeros(bars, np.int64)
    return Track(name, "base", times, equity, equity, nothing, nothing, nothing, fills, costs, 1)


def _verdict(
    *several: tuple[str, str, Any], audits: dict[str, bool | None] | None = None, trials: int | None = None
) -> dict[str, Any]:
    passed = audits or {}
    tracks = tuple(_track(name, returns) for name, _, returns in several if returns is not None)
    none = np.empty(0, "U1")
    stamps = np.empty(0, "M8[ns]")
    manifest = {"base_scenario": "base", "data": {"bars_per_year": 252.0}}
    record = Record(manifest, tracks, Orders(none, none, stamps, stamps, {}, none))
    entries = [
        {
            "name": name,
            "kind": kind,
            "skipped": "no bundle" if returns is None else None,
            "audit": None if passed.get(name, True) is None else {"passed": passed.get(name, True), "bars_checked": 9},
            "metrics": None if returns is None else metrics_of(record.base[name], 252.0),
        }
        for name, kind, returns in several
    ]
    proof = evidence_of(joint_of(record, entries), trials)
    for one in entries:
        if one["metrics"] is not None:
            one["metrics"] |= dict.fromkeys(ADDED, math.nan) | proof["metrics"].get(one["name"], {})
    return verdict_of(record, entries, proof)


HELD = ("buy_and_hold", "heuristic", NOISE[0] + 0.0005)
WEAK = ("sma_cross", "heuristic", NOISE[1] + 0.0001)


def test_behind_says_so() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2]), HELD, WEAK)
    assert found["outcome"] == "behind"
    assert found["beats_buy_and_hold"] is found["beats_best_baseline"] is False
    assert found["best_baseline"] == "buy_and_hold"
    # Sharpe 0 against 0.0005 / 0.0099.. x sqrt(252) = 0.79 or so.
    assert found["line"].startswith("symbol_ppo does not beat buy_and_hold (Sharpe 0.00 against 0.")


def test_ahead_beyond_chance() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.003), HELD, WEAK)
    assert found["outcome"] == "ahead"
    assert found["difference"]["low"] > 0.0
    assert "chance" not in found["line"]


def test_why_in_sentences() -> None:
    luck, record, choice, superior, pairs = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.003), HELD, WEAK)["reasons"]
    assert luck.startswith("The best of 3 trials in 3 groups without skill would show a Sharpe ratio of 0.")
    assert "has a probability of 100.0 %" in luck
    assert record.endswith("there are 4.0.")
    assert "Of the 3 strategies that could be picked" in choice
    assert "in 0 % of all splits" in choice
    assert superior.endswith("the stepwise test names symbol_ppo.")
    assert superior.startswith("That a candidate earns more than buy_and_hold: p = 0.00")
    assert pairs == "Paired bar by bar, its Sharpe ratio is above that of 2 of 2 baselines at p < 0.05."


def test_a_thousand_trials_make_the_same_bars_luck() -> None:
    mine = ("symbol_ppo", "policy", NOISE[2] + 0.0013)
    assert _verdict(mine, WEAK)["outcome"] == "ahead"
    found = _verdict(mine, WEAK, trials=1000)
    assert found["outcome"] == "unproven"
    assert found["reasons"][0].startswith("The best of 1,000 trials in 1,000 groups")


def test_a_choice_that_does_not_last_is_not_proven() -> None:
    """Better in the even sixteenths and worse in the odd ones: in any half of them another strategy looks best."""
    wave = np.where(np.arange(BARS - 1) // 63 % 2, 1.0, -1.0) * 0.006
    first, second = NOISE[2] * 0.2 + 0.002 + wave, NOISE[2] * 0.2 + 0.002 - wave
    found = _verdict(("one", "policy", first + 0.0001), ("two", "policy", second), WEAK)
    assert found["outcome"] == "unproven"


def test_a_few_bars_are_no_evidence() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2][:19] + 0.01), ("buy_and_hold", "heuristic", NOISE[0][:19]))
    assert found["outcome"] == "too_short"
    assert found["line"].startswith("19 scored bars say nothing about symbol_ppo")
    assert found["reasons"] == []


def test_the_ceiling_is_no_baseline() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.003), HELD, ("foresight", "ceiling", NOISE[3] + 0.02))
    assert (found["best_baseline"], found["outcome"]) == ("buy_and_hold", "ahead")


def test_ahead_but_within_chance() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.0006), HELD, WEAK)
    assert found["outcome"] == "unproven"
    assert found["beats_best_baseline"] is True
    assert found["difference"]["low"] < 0.0 < found["difference"]["high"]
    assert found["line"].endswith("which holds zero: chance may explain it.")


def test_ahead_of_holding_but_not_of_the_best() -> None:
    strong = ("momentum", "heuristic", NOISE[3] + 0.002)
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.0008), HELD, strong)
    assert found["outcome"] == "behind"
    assert (found["beats_buy_and_hold"], found["beats_best_baseline"]) == (True, False)
    assert "but does not beat the best baseline, momentum" in found["line"]


def test_the_null_and_supervised_are_baselines_too() -> None:
    lucky = ("random_actions", "null", NOISE[3] + 0.002)
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.001), HELD, lucky)
    assert found["best_baseline"] == "random_actions"


def test_a_policy_that_uses_the_future_is_not_valid_however_good() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.01), HELD, audits={"symbol_ppo": False})
    assert found["outcome"] == "invalid"
    assert "audit" in found["line"]


def test_a_baseline_that_uses_the_future_is_no_measure() -> None:
    cheat = ("momentum", "heuristic", NOISE[3] + 0.01)
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.003), HELD, cheat, audits={"momentum": False})
    assert found["best_baseline"] == "buy_and_hold"
    assert found["outcome"] == "ahead"


def test_the_best_of_several_policies_is_named_as_such() -> None:
    found = _verdict(("one", "policy", NOISE[2]), ("two", "policy", NOISE[3] + 0.002), HELD)
    assert found["candidate"] == "two"
    assert "the best of 2 candidates" in found["line"]


def test_without_a_policy_the_users_own_strategy_is_judged() -> None:
    found = _verdict(("mine", "custom", NOISE[2] + 0.003), HELD)
    assert (found["candidate"], found["outcome"]) == ("mine", "ahead")


@pytest.mark.parametrize(
    ("several", "words"),
    [
        ([HELD, WEAK], "no policy. The best of the baselines is buy_and_hold"),
        ([("symbol_ppo", "policy", None), HELD], "symbol_ppo was skipped: no bundle"),
        ([("symbol_ppo", "policy", NOISE[2] * 0.0), HELD], "its equity did not move"),
        ([("symbol_ppo", "policy", NOISE[2])], "ran alone"),
        ([("symbol_ppo", "policy", None)], "symbol_ppo was skipped"),
    ],
    ids=["no policy", "skipped", "never traded", "alone", "nothing"],
)
def test_nothing_to_judge(several: list[tuple[str, str, Any]], words: str) -> None:
    found = _verdict(*several)
    assert found["outcome"] == "no_candidate"
    assert words in found["line"]
    assert found["beats_buy_and_hold"] is found["beats_best_baseline"] is None


def test_what_was_not_audited_is_not_proven() -> None:
    found = _verdict(("symbol_ppo", "policy", NOISE[2] + 0.01), HELD, WEAK, audits={"symbol_ppo": None})
    assert found["outcome"] == "unproven"
    assert found["line"].endswith("It was not audited for look-ahead.")
