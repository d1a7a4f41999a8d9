"""Decision parity where it is hard: every kind of strategy, both bar lengths, restarts and irregular bars."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.live.toys import Sleeves, agent
from tests.live.trial import IMPATIENT
from tests.panels import intraday, random_panel
from tradekit.desk.folder import find_desk
from tradekit.desk.loader import load_strategy
from tradekit.live.exchange import Exchange, ExchangeServer, Settings
from tradekit.live.exchange.faults import Fault, Faults
from tradekit.live.journal import read_events
from tradekit.live.patience import Stopped
from tradekit.live.session import start
from tradekit.live.shadow import sleeves_of
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.live.links import Snapshot

BARS, START = 16, 404
SHIPPED = ("mean_reversion", "time_series_momentum", "logistic", "boosting_decile", "minimum_variance")
LATE = Fault("late_bar", nth=11, reads=1)
UPSETS = [
    Fault("half_day", bar=4),
    Fault("missing_bar", bar=6, symbol="S1", bars=2),
    Fault("halt", bar=9, symbol="S2"),
    LATE,
]


def strategy_of(name: str, repository: Path) -> AnyStrategy:
    """Return a shipped strategy by name, or one of the policies of these tests."""
    if name == "agent":
        return agent()
    return Sleeves() if name == "sleeves" else load_strategy(name, find_desk(repository)).strategy


@pytest.mark.parametrize("length", ["daily", "hourly"])
@pytest.mark.parametrize("name", [*SHIPPED, "agent", "sleeves"])
def test_parity_through_restarts_and_irregular_bars(name: str, length: str, repository: Path, tmp_path: Path) -> None:
    panel = random_panel(424, 3, seed=11)
    panel = intraday(panel, 7) if length == "hourly" else panel
    strategy, stops = strategy_of(name, repository), [3, 7, 12]

    def stop(stands: Snapshot) -> None:
        if stops and stands.done == stops[0]:
            stops.pop(0)
            raise Stopped("stopped by a test")

    settings = Settings(start=START, sleeves=sleeves_of(strategy))
    exchange = Exchange(panel, settings, faults=Faults(UPSETS))
    with ExchangeServer(exchange) as server:
        patient = replace(IMPATIENT, late_seconds=0.05)
        spec = SessionSpec(exchange=ExchangeSpec(url=server.url), bars=BARS, history=400, connection=patient)
        while stops:
            with pytest.raises(Stopped):
                start(spec, strategy_of(name, repository), tmp_path, stop)
        report = start(spec, strategy, tmp_path).report
    assert (report["state"], report["bars"], report["frequency"]) == (
        "ended",
        BARS,
        "1D" if length == "daily" else "1h",
    )
    assert (report["decision_parity"], report["equity_difference"], report["mismatches"]) == (1.0, 0.0, [])
    assert report["duplicate_orders"] == report["unresolved_orders"] == 0
    events = read_events(tmp_path / "paper" / "journals" / "local.sqlite")
    bars = [event.body for event in events if event.kind == "bar" and not event.body["history"]]
    assert [row for row, bar in enumerate(bars) if not bar["tradable"][1]] == [6, 7]
    assert exchange.faults.struck[UPSETS.index(LATE)] > 0
