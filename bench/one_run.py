"""The job on engines that run one portfolio under one cost model. Only PyBroker's model is the same as ours.

Each function prepares the work of a job: what happens before the work starts is not timed.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.job import BARS, CASH, FEE, SLIPPAGE, SYMBOLS, Answer, before

if TYPE_CHECKING:
    from bench.job import Job, Work
    from tradekit.market.panel import Floats


def pybroker(given: Job) -> Work:
    """Prepare PyBroker: all symbols are rebalanced in one callback, after the bar."""
    import pybroker as library
    from pandas import DataFrame, DatetimeIndex
    from pybroker.slippage import FixedSlippageModel

    panel, stamps = given.panel, DatetimeIndex(given.panel.timestamps)
    names = ("open", "high", "low", "close", "volume")
    table = {"date": np.repeat(stamps, SYMBOLS), "symbol": np.tile(panel.symbols, BARS)}
    bars = DataFrame(table | {name: getattr(panel, name).ravel() for name in names})
    rows = dict(zip(stamps.to_numpy(), given.weights, strict=True))
    config = library.StrategyConfig(
        initial_cash=CASH,
        fee_mode=library.FeeMode.ORDER_PERCENT,
        fee_amount=FEE * 100,
        enable_fractional_shares=True,
        round_fill_price=False,
        round_test_result=False,
        position_mode=library.PositionMode.LONG_ONLY,
    )
    library.disable_logging()
    library.disable_progress_bar()

    def rebalance(contexts: Any) -> None:
        some = next(iter(contexts.values()))
        weights = rows[np.datetime64(some.dt, "ns")]
        if np.isnan(weights[0]):
            return
        for weight, symbol in zip(weights, panel.symbols, strict=True):
            context = contexts[symbol]
            held = context.long_pos()
            shares = float(held.shares) if held else 0.0
            asked = weight * float(some.total_equity) / context.close[-1] - shares
            if asked > 0:
                context.buy_shares, context.buy_fill_price = asked, library.PriceType.OPEN
            elif asked < 0:
                context.sell_shares, context.sell_fill_price = -asked, library.PriceType.OPEN

    def work() -> Answer:
        strategy = library.Strategy(bars, stamps[0], stamps[-1], config)
        strategy.add_execution(None, list(panel.symbols))
        strategy.set_after_exec(rebalance)
        strategy.set_slippage_model(FixedSlippageModel(SLIPPAGE * 1e4))
        result = strategy.backtest(calc_bootstrap=False)
        return Answer(float(result.portfolio.equity.iloc[-1]), len(result.orders))

    return work


def bt(given: Job) -> Work:
    """Prepare bt. It knows one price a bar and sizes at it, so it fills at the close after the decision."""
    import bt as library
    from pandas import DataFrame, DatetimeIndex

    stamps, names = DatetimeIndex(given.panel.timestamps), list(given.panel.symbols)
    closes = DataFrame(given.panel.close, stamps, names)
    weights = DataFrame(before(given.weights), stamps, names).dropna()

    def work() -> Answer:
        algos = library.algos
        steps = [algos.RunOnDate(*weights.index), algos.WeighTarget(weights), algos.Rebalance()]
        test = library.Backtest(
            library.Strategy("monthly", steps),
            closes,
            initial_capital=CASH,
            integer_positions=False,
            commissions=lambda quantity, price: abs(quantity) * price * FEE,
            additional_data={"bidoffer": 2 * SLIPPAGE * closes},
            progress_bar=False,
        )
        test.run()
        return Answer(float(test.strategy.values.iloc[-1]), len(test.strategy.get_transactions()))

    return work


def backtesting(given: Job) -> Work:
    """Prepare backtesting.py. It knows one symbol: ten accounts of a tenth of the cash, each after its own weights.

    The spread is paid when a trade opens, none when it closes.
    """
    from backtesting import Strategy
    from backtesting.lib import FractionalBacktest
    from pandas import DataFrame, DatetimeIndex

    panel, stamps, names = (
        given.panel,
        DatetimeIndex(given.panel.timestamps),
        ("Open", "High", "Low", "Close", "Volume"),
    )
    frames = [DataFrame({name: getattr(panel, name.lower())[:, j] for name in names}, stamps) for j in range(SYMBOLS)]

    def follower(weights: Floats) -> type:
        class Follower(Strategy):  # type: ignore[misc]  # backtesting has no types
            def init(self) -> None:
                pass

            def next(self) -> None:
                weight = weights[len(self.data) - 1]
                if np.isnan(weight):
                    return
                asked = round(weight * self.equity / self.data.Close[-1] - self.position.size)
                if asked > 0:
                    self.buy(size=asked)
                elif asked < 0:
                    self.sell(size=-asked)

        return Follower

    def work() -> Answer:
        equity, orders = 0.0, 0
        for j, frame in enumerate(frames):
            test = FractionalBacktest(
                frame,
                follower(given.weights[:, j]),
                cash=CASH / SYMBOLS,
                commission=FEE,
                spread=SLIPPAGE,
                fractional_unit=1e-6,
            )
            with redirect_stderr(StringIO()):  # its progress bars
                result = test.run()
            equity, orders = equity + float(result["Equity Final [$]"]), orders + len(result["_trades"])
        return Answer(equity, orders)

    return work
