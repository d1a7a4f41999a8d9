"""docs/paper.md names every key of a spec, with its default, and every event of a journal."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

import pytest

from tradekit.live.journal import KINDS
from tradekit.live.limits import Limits
from tradekit.live.patience import Patience
from tradekit.live.spec import ExchangeSpec, SessionSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rows(repository: Path) -> dict[str, str]:
    """Return the second cell of every row of a table by each name in the first."""
    text = (repository / "docs" / "paper.md").read_text(encoding="utf-8")
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {name: row[1] for row in cells for name in re.findall(r"`\[?(\w+)\]?`", row[0])}


def test_every_key_is_in_a_table(rows: dict[str, str]) -> None:
    expected = {item.name for owner in (SessionSpec, Limits, Patience) for item in fields(owner)}
    assert expected - {"limits", "connection"} <= set(rows)


def test_defaults_are_the_code_s(rows: dict[str, str]) -> None:
    for owner in (Limits, Patience):
        for item in fields(owner):
            said = [float(part.replace(",", "")) for part in re.findall(r"[\d.]+", rows[item.name])]
            assert item.default is not MISSING
            assert item.default in said, item.name


def test_every_event_is_explained(rows: dict[str, str], repository: Path) -> None:
    assert set(KINDS) <= set(rows)
    text = (repository / "docs" / "paper.md").read_text(encoding="utf-8")
    assert {item.name for item in fields(ExchangeSpec)} <= set(re.findall(r"`(\w+)`", text))
