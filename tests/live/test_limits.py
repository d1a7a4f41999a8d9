"""Limits, each crossed by a hair and kept by a hair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tradekit.errors import ConfigError
from tradekit.live.limits import Holdings, Limits, Watch
from tradekit.live.outbox import Intent

WIDE: dict[str, Any] = {"order": 1e9, "position": 1e9, "gross": 1e9, "turnover_per_day": 1e9}


def held(shares: tuple[float, float] = (0.0, 0.0), mark: tuple[float, float] = (100.0, 50.0)) -> Holdings:
    return Holdings(("A", "B"), np.array(mark), np.array([100.0, 50.0]), np.array(shares), 10_000.0)


def intent(symbol: str, quantity: float) -> Intent:
    return Intent(f"s.{symbol}", symbol, quantity)


@pytest.mark.parametrize(
    ("name", "limit", "quantities", "shares"),
    [
        ("order", 0.5, (51.0, 0.0), (0.0, 0.0)),  # 5,100 dollars against 5,000
        ("position", 0.5, (11.0, 0.0), (40.0, 0.0)),
        ("gross", 1.0, (20.0, 61.0), (50.0, 0.0)),  # 70 x 100 + 61 x 50 = 10,050
        ("turnover_per_day", 0.6, (31.0, -60.0), (0.0, 60.0)),  # 3,100 + 3,000
    ],
)
def test_a_limit_is_crossed_and_kept(
    name: str, limit: float, quantities: tuple[float, float], shares: tuple[float, float]
) -> None:
    def said(scale: float) -> str | None:
        watch = Watch(Limits.from_dict({**WIDE, name: limit}))
        orders = [intent(s, q * scale) for s, q in zip("AB", quantities, strict=True) if q]
        return watch.check(orders, held(shares))

    crossed = said(1.0)
    assert crossed is not None
    assert crossed.startswith(f"limit {name}: ")
    assert "\n" not in crossed
    # A little less of the first order keeps it.
    fewer = Watch(Limits.from_dict({**WIDE, name: limit}))
    orders = [intent("A", quantities[0] - 1.0), *([intent("B", quantities[1])] if quantities[1] else [])]
    assert fewer.check(orders, held(shares)) is None


def test_a_short_position_counts_as_much_as_a_long_one() -> None:
    watch = Watch(Limits.from_dict({**WIDE, "position": 0.5}))
    assert watch.check([intent("A", -51.0)], held()) is not None
    assert watch.check([intent("A", -49.0)], held()) is None


def test_what_was_ordered_counts_until_the_next_date() -> None:
    watch = Watch(Limits.from_dict({**WIDE, "turnover_per_day": 1.0, "orders_per_day": 2}))
    order = [intent("A", 40.0)]
    for bar in ("2024-01-02T15:00:00Z", "2024-01-02T16:00:00Z"):
        watch.see(bar, 10_000.0)
        assert watch.check(order, held()) is None
        watch.note(order, held())
    watch.see("2024-01-02T17:00:00Z", 10_000.0)
    assert "orders_per_day" in str(watch.check(order, held()))
    assert "turnover_per_day" in str(watch.check([intent("B", 41.0)], held()))
    assert watch.check([intent("B", 39.0)], held()) is None
    watch.see("2024-01-03T15:00:00Z", 10_000.0)
    assert watch.check(order, held()) is None


def test_a_price_that_leapt_is_not_believed() -> None:
    watch = Watch(Limits.from_dict(WIDE))
    leapt = held(mark=(161.0, 50.0))
    assert "price_move: A moved +61%" in str(watch.check([intent("A", 1.0)], leapt))
    assert watch.check([intent("B", 1.0)], leapt) is None  # nobody trades A


def test_losses_by_day_and_from_the_top() -> None:
    watch = Watch(Limits(daily_loss=0.10, drawdown=0.15))
    assert watch.see("2024-01-02", 100.0) is None
    assert watch.see("2024-01-03", 90.1) is None
    assert watch.today == pytest.approx(-0.099)
    assert "drawdown: 15.1% below the highest equity, at most 15.0%" in str(watch.see("2024-01-04", 84.9))
    fresh = Watch(Limits(daily_loss=0.10, drawdown=0.9))
    fresh.see("2024-01-02T15:00:00Z", 100.0)
    fresh.see("2024-01-03T15:00:00Z", 95.0)
    assert fresh.see("2024-01-03T16:00:00Z", 90.1) is None
    assert "daily_loss" in str(fresh.see("2024-01-03T17:00:00Z", 89.9))  # since the close of the day before
    assert fresh.drawdown == pytest.approx(0.101)


def test_refusals_have_to_follow_each_other() -> None:
    watch = Watch(Limits(refusals_in_a_row=2))
    assert watch.refused("2024-01-02", 1) is None
    assert watch.refused("2024-01-03", 0) is None
    assert watch.refused("2024-01-04", 1) is None
    assert watch.refused("2024-01-04", 2) is None  # the rest of the same bar, after a restart
    assert watch.refused("2024-01-04", 0) is None
    assert "refused in 2 bars running" in str(watch.refused("2024-01-08", 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"orders": 1}, "unknown limit 'orders'; did you mean order?"),
        ({"order": 0}, "limit order is 0; a positive number"),
        ({"orders_per_day": 1.5}, r"limit orders_per_day is 1\.5; a positive whole number"),
        ({"drawdown": float("inf")}, "limit drawdown is inf"),
        ({"drawdown": True}, "limit drawdown is True"),
    ],
)
def test_bad_limits(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits.from_dict(settings)
