"""The fit of cost parameters: against statsmodels, against the truth it was drawn from, and how often it covers it."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from tradekit.evidence.cost_fit import LEAST_FILLS, fit_costs


def draw(seed: int, fills: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return fills at 2 bp spread, sampled slippage of 5 bp at most, impact 0.01 and 0.2 bp commission."""
    generator = np.random.default_rng(seed)
    root = np.sqrt(generator.lognormal(-3.0, 1.0, fills))
    slippage = 5e-4 * generator.random(fills)
    return 2e-4 + slippage + 0.01 * root, root, np.full(fills, 2e-5)


@pytest.mark.parametrize("uneven", [0.0, 2.0])
def test_it_is_the_wider_of_two_intervals_of_statsmodels(uneven: float) -> None:
    cost, root, commission = draw(3)
    cost = cost + uneven * (cost - cost.mean()) * root
    plain, robust = (
        sm.OLS(cost, sm.add_constant(root)).fit(cov_type=kind, use_t=True) for kind in ("nonrobust", "HC3")
    )
    fit = fit_costs(cost, root, commission)
    assert fit.proportional_bps.value == pytest.approx(1e4 * plain.params[0], rel=1e-12)
    assert fit.impact_coefficient.value == pytest.approx(plain.params[1], rel=1e-12)
    # The allowance for rounding is a hundred thousandth of these widths.
    lows = [found.conf_int()[0, 0] for found in (plain, robust)]
    highs = [found.conf_int()[1, 1] for found in (plain, robust)]
    assert fit.proportional_bps.low == pytest.approx(1e4 * min(lows), rel=1e-4)
    assert fit.impact_coefficient.high == pytest.approx(max(highs), rel=1e-4)


def test_intervals_hold_the_truth_in_95_of_100_runs() -> None:
    inside = np.zeros(2)
    runs = 1000
    for seed in range(runs):
        fit = fit_costs(*draw(seed, 60))
        inside[0] += fit.proportional_bps.low <= 2.0 + 2.5 <= fit.proportional_bps.high
        inside[1] += fit.impact_coefficient.low <= 0.01 <= fit.impact_coefficient.high
    # Binomial: 950 expected, 7 is one standard deviation.
    assert (inside / runs > 0.936).all()
    assert (inside / runs < 0.971).all()


def test_without_noise_it_is_exact_and_the_interval_still_holds_it() -> None:
    root = np.linspace(0.01, 0.5, 50)
    fit = fit_costs(4.5e-4 + 0.01 * root, root, np.full(50, 2e-5))
    for estimate, truth in ((fit.proportional_bps, 4.5), (fit.impact_coefficient, 0.01), (fit.commission_bps, 0.2)):
        assert estimate.value == pytest.approx(truth, rel=1e-9)
        assert estimate.low <= truth <= estimate.high
    assert fit.dispersion_bps < 1e-9


def test_orders_of_one_size_say_nothing_of_impact() -> None:
    cost, _, commission = draw(1)
    root = np.full(len(cost), 0.2)
    fit = fit_costs(cost, root, commission, impact_given=0.01)
    assert not fit.impact_coefficient.is_fitted
    assert fit.impact_coefficient.value == 0.01
    assert fit.proportional_bps.value == pytest.approx(1e4 * (cost.mean() - 0.002), rel=1e-12)


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match=f"29 fills; at least {LEAST_FILLS} are needed"):
        fit_costs(*draw(1, 29))
    cost, root, commission = draw(1)
    cost[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit_costs(cost, root, commission)
    commission[:] = np.nan
    cost[3] = 4e-4
    assert not fit_costs(cost, root, commission).commission_bps.is_fitted
