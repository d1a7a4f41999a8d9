"""How a session begins: what it is, which bar is its first, what the account held, and the bars before."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tradekit.engine.copies import fit
from tradekit.errors import SessionError, StrategyError, TradekitError
from tradekit.live.follow import Opening
from tradekit.live.shadow import sleeves_of
from tradekit.live.tape import Tape, bar_text, from_json, to_json
from tradekit.market.features import FeatureSpec

if TYPE_CHECKING:
    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.broker import Broker
    from tradekit.live.hours import Moment
    from tradekit.live.journal import Journal
    from tradekit.live.links import Links, Ticker
    from tradekit.live.spec import SessionSpec
    from tradekit.live.tape import Contract, LivePanel

MOST_SHOWN = 3


def describe(name: str, spec: SessionSpec, strategy: AnyStrategy, contract: Contract) -> dict[str, Any]:
    """Return everything that must be the same when a session is started again."""
    digest = getattr(getattr(strategy, "bundle", None), "digest", None)
    return {
        "session": name,
        "mode": spec.mode,
        "strategy": strategy.name,
        "bundle": digest,
        "sleeves": sleeves_of(strategy),
        "source": contract.source,
        "symbols": list(contract.symbols),
        "columns": sorted(contract.columns),
        "frequency": contract.frequency,
        "benchmark": contract.benchmark,
        "bars_per_year": contract.bars_per_year,
        "history": spec.history,
        "cash": float(spec.cash),
        "costs": asdict(spec.costs),
        "execution": asdict(spec.execution),
    }


def first_look(spec: SessionSpec, strategy: AnyStrategy, contract: Contract, ticker: Ticker) -> dict[str, Any]:
    """Return the session's first bar and how many there will be.

    Raises:
        SessionError: fewer than two bars are left, the policy was trained on the first, or the strategy sees side
            series, which bars of a session come without.
    """
    moment = ticker.moment()
    bars = min(spec.bars, moment.last - moment.bar + 1)
    if bars < 2:
        raise SessionError(f"{contract.source}: {bars} bar left to replay; a session needs at least two")
    _demand_unseen(strategy, moment, contract.is_daily)
    _demand_no_side(strategy)
    return {"first_bar": moment.bar, "bars": bars, "first": bar_text(moment.timestamp, contract.is_daily)}


def _demand_unseen(strategy: AnyStrategy, moment: Moment, daily: bool) -> None:
    seen = getattr(strategy, "seen_end", None)
    if seen is not None and moment.timestamp <= np.datetime64(seen, "ns"):
        raise SessionError(
            f"{strategy.name} was trained on bars up to {seen}, and the session begins at "
            f"{bar_text(moment.timestamp, daily)}; choose later bars"
        )


def _demand_no_side(strategy: AnyStrategy) -> None:
    features = getattr(strategy, "features", None)
    if isinstance(features, FeatureSpec) and features.side:
        raise SessionError(
            f"{strategy.name} sees the side series {', '.join(features.side)}, and bars of a session come without; "
            "choose a strategy that goes by its bars alone"
        )


def open_account(broker: Broker, contract: Contract, spec: SessionSpec) -> Opening:
    """Return what the account holds, once it is sure that this session can trade it alone.

    Raises:
        SessionError: the account is blocked, somebody else's orders are open in it, or a symbol cannot be traded.
    """
    clock, account = broker.clock(), broker.account()
    if account.blocked:
        raise SessionError("the broker has blocked the account; nothing was sent")
    foreign = [order for order in broker.orders() if not order.is_final]
    if foreign:
        raise SessionError(
            f"{len(foreign)} orders of somebody else are open in the account, {foreign[0].symbol} "
            f"{foreign[0].client_order_id} the first; cancel them, or give the session an account of its own"
        )
    closed = [symbol for symbol in contract.symbols if not broker.is_tradable(symbol)]
    if closed:
        more = " ..." if len(closed) > MOST_SHOWN else ""
        raise SessionError(
            f"the broker takes no orders for {', '.join(closed[:MOST_SHOWN])}{more}; leave them out of symbols"
        )
    if spec.mode == "paper" and account.cash < spec.cash:
        raise SessionError(f"the account holds {account.cash:,.2f} dollars, the session wants {spec.cash:,.2f}")
    return Opening(broker.positions(), account.cash, clock.now)


def history(
    journal: Journal,
    spec: SessionSpec,
    strategy: AnyStrategy,
    contract: Contract,
    links: Links,
    session: tuple[np.datetime64, int],
) -> tuple[AnyStrategy, Tape, int]:
    """Return the fitted strategy, a tape with the bars before the session, and how many those are.

    The bars come from the journal, or over REST when it has none yet. ``session`` is the first bar of the session and
    how many it has.
    """
    bars = [from_json(event) for event in journal.events() if event.kind == "bar" and event.body["history"]]
    first, ahead = session
    if not bars:
        # One more than is looked back at: a return needs the close before.
        wanted = max(spec.history, getattr(strategy, "lookback", None) or 0) + 1
        bars = links.persistence.ask(lambda: links.feed.history(first, wanted))
        with journal.batch() as batch:
            for bar in bars:
                batch.add("bar", bar_text(bar.timestamp, contract.is_daily), {"history": True, **to_json(bar)})
    tape = Tape(contract, len(bars) + ahead)
    for bar in bars:
        tape.append(bar)
    return _fitted(strategy, tape.panel(), spec) if bars else strategy, tape, len(bars)


def _fitted(strategy: AnyStrategy, panel: LivePanel, spec: SessionSpec) -> AnyStrategy:
    if hasattr(strategy, "check"):
        strategy.check(panel, spec.execution)
    try:
        return fit(strategy, panel).strategy
    except TradekitError:
        raise
    except Exception as error:
        raise StrategyError(f"{strategy.name}: fitting on {panel.span} failed: {error}") from error
