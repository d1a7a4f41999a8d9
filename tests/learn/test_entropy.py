"""The weight of the entropy bonus, and the guard: every number worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tradekit.errors import ConfigError
from tradekit.learn.entropy import PRESETS, Entropy, EntropyControl


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"schedule": "constant"}, {0: 0.05, 50_000: 0.05, 200_000: 0.05}),
        ({}, {0: 0.05, 50_000: 0.03, 100_000: 0.01, 200_000: 0.01}),
        # Held for 10,000 steps, to 0.03 over the next 40,000, 0.03 from there on.
        ({"preset": "adaptive"}, {0: 0.08, 10_000: 0.08, 30_000: 0.055, 50_000: 0.03, 90_000: 0.03}),
        ({"preset": "v10_2"}, {0: 0.5, 50_000: 0.255, 100_000: 0.01}),
    ],
)
def test_schedules(settings: dict[str, Any], weights: dict[int, float]) -> None:
    entropy = Entropy.from_dict(settings)
    for step, weight in weights.items():
        assert entropy.scheduled(step, 100_000) == pytest.approx(weight, rel=1e-12)


def test_a_preset_is_data_and_settings_go_before_it() -> None:
    for name in PRESETS:
        assert Entropy.from_dict({"preset": name}) == Entropy(**PRESETS[name])
    assert Entropy.from_dict({"preset": "adaptive", "coefficient": 0.2}).coefficient == 0.2
    assert (Entropy.from_dict({"preset": "v10_2"}).guard, Entropy.from_dict({"preset": "v10_2"}).adaptive) == (
        False,
        False,
    )


def test_the_adaptive_bonus_grows_with_the_shortfall_and_decays_without_one() -> None:
    control = EntropyControl(Entropy.from_dict({"preset": "adaptive", "guard": False}), 100_000)
    control.observe(4_000, 0.0)
    assert control.bonus == 0.0  # warming up
    control.observe(5_000, 0.275)  # half of the target is missing: 0.35 x 0.5
    assert control.bonus == pytest.approx(0.175)
    assert control.coefficient(5_000) == pytest.approx(0.08 * 1.175)
    control.observe(6_000, 0.55)
    assert control.bonus == pytest.approx(0.175 * 0.88)
    for step in range(7_000, 27_000, 1_000):
        control.observe(step, 0.0)
    assert control.coefficient(5_000) == pytest.approx(0.08 * 3.0)  # at most threefold


def test_the_guard_intervenes_waits_and_gives_up() -> None:
    control = EntropyControl(Entropy(schedule="constant"), 100_000)
    said = [control.observe(step, 0.1) for step in (2_000, 4_000)]
    assert (control.boost, said) == (1.0, [None, None])  # not before 4,000 steps are over
    control.observe(5_000, 0.1)
    assert control.coefficient(5_000) == pytest.approx(0.05 * 1.7)
    for step in range(6_000, 11_000, 1_000):
        assert control.observe(step, 0.1) is None
    assert control.boost == 1.7  # cooling down
    control.observe(11_000, 0.1)
    assert control.boost == pytest.approx(1.7 * 1.7)
    control.observe(16_000, 0.1)
    control.observe(17_000, 0.1)
    assert control.boost == 3.0  # and not 4.9
    assert [control.observe(step, 0.1) for step in (18_000, 22_000)] == [None, None]
    why = control.observe(23_000, 0.1)
    assert why == "the policy's entropy is 0.100 nats, under 0.22, although the entropy bonus was multiplied by 3"
    # If that did not end the run, the question is put again when it has cooled down.
    assert [control.observe(step, 0.1) for step in (24_000, 28_000)] == [None, None]
    assert control.observe(29_000, 0.1) == why
    assert control.boost == 3.0


def test_one_low_update_or_a_recovery_is_no_collapse() -> None:
    control = EntropyControl(Entropy(), 100_000)
    for step in range(5_000, 100_000, 1_000):
        assert control.observe(step, 0.1 if step % 2_000 else 0.3) is None
    assert control.boost == 1.0


def test_without_the_guard_nothing_intervenes() -> None:
    control = EntropyControl(Entropy(guard=False), 100_000)
    assert [control.observe(step, 0.0) for step in range(5_000, 100_000, 5_000)] == [None] * 19
    assert control.coefficient(0) == 0.05


def test_a_control_goes_on_from_its_state() -> None:
    first = EntropyControl(Entropy.from_dict({"preset": "adaptive"}), 100_000)
    for step in range(1_000, 9_000, 1_000):
        first.observe(step, 0.1)
    second = EntropyControl(first.settings, 100_000, **first.state())
    assert second == first
    assert first.boosted_at == 5_000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "v10"}, "unknown entropy preset 'v10'; did you mean v10_2?"),
        ({"coeficient": 0.1}, "unknown key of [entropy] 'coeficient'; did you mean coefficient?"),
        ({"schedule": "liner"}, "schedule is 'liner'; did you mean linear?"),
        ({"coefficient": -0.1}, "coefficient is -0.1; a number, 0 or more"),
        ({"guard": 1}, "guard is 1; true or false"),
        ({"guard_factor": 0.5}, "guard_factor is 0.5; a factor of 1 or more"),
        ({"hold_steps": 1.5}, "hold_steps is 1.5; a whole number, 0 or more"),
        ({"adaptive_decay": 2.0}, "adaptive_decay is 2.0; a number above 0 and at most 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Entropy.from_dict(settings)
    assert str(caught.value).startswith(message)
