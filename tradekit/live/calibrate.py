"""The cost model from a session's own fills: what trading did cost, with intervals, for the next backtest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.errors import SessionError
from tradekit.evidence.cost_fit import LEAST_FILLS, CostFit, Estimate, fit_costs
from tradekit.live.journal import read_events
from tradekit.market.costs import CostModel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tradekit.live.journal import Event

FILE = "calibrated.toml"
"""Where a desk keeps the newest calibration: paper/calibrated.toml."""


@dataclass(frozen=True)
class Calibration:
    """A fit and the cost model it makes.

    Attributes:
        fit: estimates with intervals.
        costs: for backtests: what was fitted, the rest as the sessions had it.
        sessions: whose fills were used.
        notes: what could not be told from these fills, in words.
    """

    fit: CostFit
    costs: CostModel
    sessions: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers; null for an end that is not known."""
        return {
            "fills": self.fit.fills,
            "level": self.fit.level,
            "sessions": list(self.sessions),
            "proportional_bps": _plain(self.fit.proportional_bps),
            "impact_coefficient": _plain(self.fit.impact_coefficient),
            "commission_bps": _plain(self.fit.commission_bps),
            "dispersion_bps": self.fit.dispersion_bps,
            "costs": {name: getattr(self.costs, name) for name in CostModel.__dataclass_fields__},
            "notes": list(self.notes),
        }


def calibrate(journals: Sequence[Path], level: float = 0.95) -> Calibration:
    """Fit the cost model to the fills of sessions that traded under one model.

    An order is used when the broker filled exactly what the model did, so that both speak of one trade. Spread and mean
    slippage come out as one number, which is written as spread: prices alone cannot tell them apart. What falls on the
    wrong side of zero is set to zero; the interval says so.

    Raises:
        SessionError: no such journal, sessions of different models, or too few fills.
    """
    rows: list[tuple[float, float, float]] = []
    models: list[dict[str, Any]] = []
    names: list[str] = []
    for path in journals:
        events = read_events(path)
        if not events:
            continue
        models.append(events[0].body["costs"])
        names.append(events[0].body["session"])
        rows += _rows(events, models[-1])
    if any(model != models[0] for model in models[1:]):
        raise SessionError("the sessions had different cost models; calibrate those of one model at a time")
    if len(rows) < LEAST_FILLS:
        raise SessionError(
            f"{len(rows)} fills that can be used, at least {LEAST_FILLS} are needed; run the session longer, "
            "or name more sessions"
        )
    table = np.array(rows, np.float64)
    given = CostModel.from_dict(models[0])
    fit = fit_costs(table[:, 0], table[:, 1], table[:, 2], given.impact_coefficient, level)
    return Calibration(fit, _model(given, fit), tuple(names), _notes(given, fit))


def _rows(events: Sequence[Event], model: dict[str, Any]) -> list[tuple[float, float, float]]:
    """Return price cost, impact regressor and commission, as fractions, of every fill that can be used.

    Impact is paid on the account's own equity, which dearer or cheaper fills take away from the shadow's.
    """
    rows, ratio = [], 1.0
    for event in events:
        if event.kind == "reconciliation" and model["impact_basis"] == "equity":
            ratio = event.body["equity"] / event.body["broker_equity"]
        elif event.kind == "fill" and (row := _row(event.body, model)) is not None:
            rows.append((row[0], row[1] * ratio**0.5, row[2]))
    return rows


def _row(body: dict[str, Any], model: dict[str, Any]) -> tuple[float, float, float] | None:
    """Return price cost as a fraction, the impact regressor, and the commission as a fraction, of one fill."""
    quantity, reference, price = body["broker_quantity"], body["reference"], body["broker_price"]
    if not quantity or quantity != body["model_quantity"] or price is None or reference is None:
        return None
    notional, executed = abs(quantity) * reference, abs(quantity) * price
    adverse = np.sign(quantity) * (price - reference) / reference
    coefficient = model["impact_coefficient"]
    root = body["model_costs"]["impact"] / (coefficient * notional) if coefficient else 0.0
    charged = body["broker_commission"]
    fees = body["model_costs"].get("regulatory", 0.0)
    return float(adverse), float(root), np.nan if charged is None else float((charged - fees) / executed)


def _model(given: CostModel, fit: CostFit) -> CostModel:
    settings = {name: getattr(given, name) for name in CostModel.__dataclass_fields__}
    settings |= {"spread_bps": max(0.0, fit.proportional_bps.value), "slippage_bps": 0.0, "slippage_mode": "expected"}
    settings["impact_coefficient"] = max(0.0, fit.impact_coefficient.value)
    if fit.commission_bps.is_fitted:
        settings["commission_bps"] = max(0.0, fit.commission_bps.value)
    return CostModel.from_dict(settings)


def _notes(given: CostModel, fit: CostFit) -> tuple[str, ...]:
    notes = ["spread_bps holds spread and mean slippage together; slippage_bps is 0"]
    if not given.impact_coefficient:
        notes.append("impact cannot be fitted: the sessions' own model has none to scale by")
    elif not fit.impact_coefficient.is_fitted:
        notes.append(f"orders are too alike in size to fit impact; {given.impact_coefficient:g} is kept")
    elif fit.impact_coefficient.low <= 0.0:
        notes.append("impact cannot be told from none on these fills")
    if not fit.commission_bps.is_fitted:
        notes.append(f"the broker does not report commissions; {given.commission_bps:g} bp is kept")
    if fit.proportional_bps.value < 0.0:
        notes.append("fills were better than the reference on average; spread_bps is set to 0")
    return tuple(notes)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name: float(value) if np.isfinite(value) else None for name, value in estimate._asdict().items()}


def to_toml(calibration: Calibration) -> str:
    """Return a cost file that ``--costs`` reads, with the intervals as comments."""
    fit = calibration.fit
    lines = [
        f"# Fitted to {fit.fills} fills of {', '.join(calibration.sessions)}; {fit.level:.0%} intervals beside.",
        *(f"# {note}" for note in calibration.notes),
        "",
    ]
    beside = {
        "spread_bps": fit.proportional_bps,
        "impact_coefficient": fit.impact_coefficient,
        "commission_bps": fit.commission_bps,
    }
    for name in CostModel.__dataclass_fields__:
        value = getattr(calibration.costs, name)
        text = f'"{value}"' if isinstance(value, str) else repr(value)
        estimate = beside.get(name)
        span = f"  # {estimate.low:.6g} to {estimate.high:.6g}" if estimate and estimate.is_fitted else ""
        lines.append(f"{name} = {text}{span}")
    return "\n".join(lines) + "\n"
