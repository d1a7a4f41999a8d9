from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.panels import intraday, random_panel
from tradekit.desk.inventory import inventory, inventory_table


def test_holes_are_counted_between_the_first_and_the_last_bar() -> None:
    panel = random_panel(10, 3)
    close = panel.close.copy()
    close[[0, 1, 4, 9], 1] = np.nan
    close[:, 2] = np.nan
    held = inventory(replace(panel, close=close))
    whole, holed, none = held["symbols"]
    assert (whole["bars"], whole["missing"]) == (10, 0)
    assert (holed["bars"], holed["missing"], holed["start"], holed["end"]) == (6, 1, "2010-01-06", "2010-01-12")
    assert holed["last_close"] == close[8, 1]
    assert (none["bars"], none["missing"], none["start"], none["last_close"]) == (0, 10, None, None)
    assert inventory_table(held)


def test_intraday_stamps_have_minutes() -> None:
    held = inventory(intraday(random_panel(14, 1), 7))
    assert (held["start"], held["end"]) == ("2024-01-01T14:00", "2024-01-02T20:00")
    assert (held["sessions"], held["frequency"], held["fills_at"]) == (2, "1h", "open")
