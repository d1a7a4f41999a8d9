"""Implementation shortfall: what the account is short of a portfolio that trades the model's shares free of costs.

Perold (1988), "The implementation shortfall: paper versus reality", Journal of Portfolio Management 14(3). The paper
portfolio here fills every order of the shadow ledger whole, at the reference price of its bar. With q, p and c the
shares, price and commission of the broker's fills, m the model's shares, r the references of the same bars and P the
last marks, the account is short of it by

    sum q (p - r) + c   +   sum (m - q) (P - r).

The first sum is the cost of the fills. In the second, shares that were missed at one bar and made good at a later one
leave (r later - r then), the delay; those that were never made good leave (P - r then), the missed fills. Which were
made good is settled first in, first out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from tradekit.market.costs import TERMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradekit.live.journal import Event

LEAST_SHARES = 1e-9


class Missing:
    """Signed shares of one symbol that the model holds and the account does not, and the prices they were missed at."""

    def __init__(self) -> None:
        self._lots: deque[tuple[float, float]] = deque()
        self.delay = 0.0

    def change(self, shares: float, price: float) -> None:
        """Miss so many shares more, or make them good by others of the opposite sign: ``delay`` has what that cost."""
        while self._lots and shares * self._lots[0][0] < 0.0:
            held, then = self._lots.popleft()
            taken = min(abs(shares), abs(held)) * (1.0 if held > 0.0 else -1.0)
            self.delay += taken * (price - then)
            shares += taken
            if abs(held - taken) > LEAST_SHARES:
                self._lots.appendleft((held - taken, then))
        if abs(shares) > LEAST_SHARES:
            self._lots.append((shares, price))

    def missed(self, price: float) -> float:
        """Return what the shares that are missing still have cost at ``price``, dollars."""
        return sum(shares * (price - then) for shares, then in self._lots)


def shortfall(events: Sequence[Event], rows: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Return the shortfall of a session and its parts in dollars, against the trader when positive.

    ``spread``, ``slippage``, ``impact``, ``commission`` and ``regulatory`` are the model's terms for the shares that
    the broker filled of the model's orders, in proportion where it filled a part; ``beyond_model`` is what those shares
    cost besides; ``delay`` is what it cost to trade shares later, fills included; ``missed`` what shares cost that were
    never traded. ``total`` is taken from the account's cash; ``unexplained`` is what the parts leave of it: interest,
    dividends, fees charged later, an order that filled after its bar. ``traded`` is the value of the fills at reference
    prices. None without a broker.

    Args:
        events: of the session.
        rows: one per order, as in the report.
    """
    money = [event for event in events if event.kind == "reconciliation"]
    if not money or "cash_difference" not in money[-1].body:
        return None
    parts = dict.fromkeys((*TERMS, "beyond_model", "delay", "missed"), 0.0)
    for row in rows:
        _add_fill(parts, row)
    missing, marks = _follow(events)
    parts["delay"] += sum(one.delay for one in missing.values())
    parts["missed"] = sum(one.missed(marks[symbol]) for symbol, one in missing.items())
    owed = sum(shares * marks[symbol] for symbol, shares in money[-1].body["drift"].items())
    modelled = sum(sum(event.body["model_costs"].values()) for event in money)
    total = modelled - money[-1].body["cash_difference"] + owed
    traded = sum(abs(row["broker_quantity"]) * (row["reference"] or 0.0) for row in rows)
    return {**parts, "unexplained": total - sum(parts.values()), "total": total, "traded": traded}


def _add_fill(parts: dict[str, float], row: dict[str, Any]) -> None:
    """Split what one order cost: the model's terms, what went beyond them, and shares that were bought late."""
    quantity, model, cost = row["broker_quantity"], row["model_quantity"], row["fill_cost"]
    if not quantity or cost is None:
        return
    done = min(1.0, max(0.0, quantity / model)) if model else 0.0  # of the model's shares
    own = done * model / quantity  # of the broker's shares
    for term, dollars in row["model_costs"].items():
        parts[term] += done * dollars
    parts["beyond_model"] += own * cost - done * row["model_cost"]
    parts["delay"] += (1.0 - own) * cost


def _follow(events: Sequence[Event]) -> tuple[dict[str, Missing], dict[str, float]]:
    """Return what each symbol was short of from bar to bar, and the last marks."""
    opened = events[0].body
    fills_at = opened["execution"]["fill_at"]
    if fills_at == "auto":
        fills_at = "open" if "open" in opened["columns"] else "close"
    missing: defaultdict[str, Missing] = defaultdict(Missing)
    marks: dict[str, float] = {}
    prices: dict[str, float] = {}
    before: dict[str, float] = {}
    for event in events:
        if event.kind == "bar":
            values = event.body["values"]
            now = dict(zip(opened["symbols"], values[fills_at], strict=True))
            prices = {symbol: marks.get(symbol, 0.0) if price is None else price for symbol, price in now.items()}
            closes = zip(opened["symbols"], values["close"], strict=True)
            marks |= {symbol: close for symbol, close in closes if close is not None}
        elif event.kind == "reconciliation":
            drift = event.body["drift"]
            for symbol in {*drift, *before}:
                missing[symbol].change(drift.get(symbol, 0.0) - before.get(symbol, 0.0), prices[symbol])
            before = drift
    return missing, marks
