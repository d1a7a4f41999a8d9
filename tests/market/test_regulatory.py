"""The dated fees against the notices that announced them."""

from __future__ import annotations

import numpy as np
import pytest

from tradekit.market.regulatory import SECTION_31, TRADING_ACTIVITY, schedule


def _at(text: str) -> tuple[float, float, float]:
    sec, share, cap = schedule(np.array([text], dtype="M8[ns]"))
    return float(sec[0]), float(share[0]), float(cap[0])


@pytest.mark.parametrize(
    ("last_day", "before", "first_day", "after"),
    [
        ("2008-03-31", 11.00, "2008-04-01", 5.60),
        ("2010-03-31", 12.70, "2010-04-01", 16.90),
        ("2011-01-20", 16.90, "2011-01-21", 19.20),
        ("2014-03-17", 17.40, "2014-03-18", 22.10),
        ("2018-05-21", 23.10, "2018-05-22", 13.00),
        ("2019-04-15", 13.00, "2019-04-16", 20.70),
        ("2020-02-17", 20.70, "2020-02-18", 22.10),
        ("2021-02-24", 22.10, "2021-02-25", 5.10),
        ("2025-05-13", 27.80, "2025-05-14", 0.00),
        ("2026-04-03", 0.00, "2026-04-04", 20.60),
    ],
)
def test_section_31_changes_on_the_announced_day(last_day: str, before: float, first_day: str, after: float) -> None:
    assert _at(last_day)[0] == pytest.approx(before * 1e-6, rel=1e-12)
    assert _at(first_day)[0] == pytest.approx(after * 1e-6, rel=1e-12)


@pytest.mark.parametrize(
    ("day", "share", "cap"),
    [
        ("2011-06-30", 0.000075, 3.75),
        ("2011-07-01", 0.000090, 4.50),
        ("2012-03-01", 0.000095, 4.75),
        ("2015-01-02", 0.000119, 5.95),
        ("2025-12-31", 0.000166, 8.30),
        ("2026-01-02", 0.000195, 9.79),
        ("2026-11-02", 0.0, 0.0),
        ("2027-01-04", 0.000195, 9.79),
    ],
)
def test_trading_activity_fee(day: str, share: float, cap: float) -> None:
    assert _at(day)[1:] == (share, cap)


def test_a_sale_worked_by_hand() -> None:
    # 2023-06-01: 8 dollars a million on 1,000 x 150 dollars is 1.20; 1,000 x 0.000145 is 0.145.
    sec, share, cap = _at("2023-06-01")
    assert sec * 1000 * 150.0 + min(share * 1000, cap) == pytest.approx(1.345, rel=1e-12)


def test_before_the_tables_their_first_row_and_after_their_last() -> None:
    assert _at("1990-01-02") == pytest.approx((15.00e-6, 0.000075, 3.75), rel=1e-12)
    assert _at("2040-01-02") == pytest.approx((20.60e-6, 0.000195, 9.79), rel=1e-12)


def test_the_time_of_day_does_not_matter_and_order_is_kept() -> None:
    stamps = np.array(["2026-04-04T00:00", "2026-04-03T23:59", "2008-04-01T13:30"], dtype="M8[ns]")
    sec, share, cap = schedule(stamps)
    assert sec.tolist() == pytest.approx([20.60e-6, 0.0, 5.60e-6])
    assert sec.shape == share.shape == cap.shape == (3,)
    assert all(array.dtype == np.float64 for array in (sec, share, cap))


def test_tables_are_in_order_and_never_negative() -> None:
    for dates in ([row[0] for row in SECTION_31], [row[0] for row in TRADING_ACTIVITY]):
        assert dates == sorted(set(dates))
    assert min(rate for _, rate in SECTION_31) >= 0.0
    # The cap is that of about 50,000 shares.
    for _, share, cap in TRADING_ACTIVITY:
        assert cap == pytest.approx(50_000 * share, rel=0.005)
