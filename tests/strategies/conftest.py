"""Every strategy of the desk, and markets to try it on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.panels import intraday, random_panel
from tradekit.desk.folder import Desk, find_desk
from tradekit.desk.loader import load_file, load_strategy, strategy_names

if TYPE_CHECKING:
    from pathlib import Path

    from tradekit.engine.strategy import AnyStrategy
    from tradekit.market.panel import Panel


@pytest.fixture(scope="session")
def desk(repository: Path) -> Desk:
    """Return the checkout's desk."""
    return find_desk(repository)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for ``shipped`` once per strategy in strategies/."""
    if "shipped" in metafunc.fixturenames:
        desk = find_desk(metafunc.config.rootpath)
        names = [(name, load_file(name, desk)) for name in strategy_names(desk)]
        every = [name if len(held) == 1 else f"{name}:{one.strategy.name}" for name, held in names for one in held]
        metafunc.parametrize("shipped", every, indirect=True)


@pytest.fixture
def shipped(request: pytest.FixtureRequest, desk: Desk) -> AnyStrategy:
    """Return one shipped strategy, as loaded."""
    return load_strategy(request.param, desk).strategy


@pytest.fixture(scope="session", params=["daily closes", "hourly bars", "one symbol"])
def market(request: pytest.FixtureRequest) -> Panel:
    """Return 700 bars without any edge."""
    if request.param == "daily closes":
        return random_panel(700, 6, seed=1, close_only=True)
    if request.param == "hourly bars":
        return intraday(random_panel(700, 4, seed=2), 7)
    return random_panel(700, 1, seed=3)
