"""Contract tests to subclass: what every strategy must keep, as pytest tests of your own.

::

    from tradekit.testing import StrategyContract

    class TestMyStrategy(StrategyContract):
        def make(self):
            return MyStrategy(fast=20, slow=100)
"""

from tradekit.testing.strategy import StrategyContract

__all__ = ["StrategyContract"]
