from __future__ import annotations

import numpy as np
import pytest

from tradekit.errors import ConfigError
from tradekit.learn.rewards import COMPONENTS, PRESETS, Reward, components


def test_minimal_is_the_log_return_in_percent() -> None:
    parts = np.full(len(COMPONENTS), np.nan)
    components(100.0, 105.0, parts)
    assert parts @ Reward().weights == pytest.approx(100.0 * np.log(1.05))


def test_ruin_is_finite() -> None:
    parts = np.full(len(COMPONENTS), np.nan)
    components(100.0, 0.0, parts)
    assert parts[0] == pytest.approx(np.log(1e-6))
    components(0.0, 0.0, parts)
    assert parts[0] == 0.0


def test_presets_name_components() -> None:
    for preset in PRESETS.values():
        assert set(preset) <= set(COMPONENTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "minimum"}, "unknown reward preset 'minimum'; did you mean minimal?"),
        ({"scale": -1.0}, "the reward's scale is -1.0; a number above 0"),
        ({"scales": 1.0}, "unknown reward setting 'scales'; did you mean scale?"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Reward.from_dict(settings)
    assert str(caught.value) == message
