"""Lists of faults as people write them: misspelt, out of range, in files, in the documentation, and drawn by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.panels import random_panel
from tradekit.errors import ConfigError
from tradekit.live.exchange import Exchange, Fault, Faults, Settings
from tradekit.live.exchange.kinds import KINDS

if TYPE_CHECKING:
    from pathlib import Path

PANEL = random_panel(30, 2, seed=5)
START = 20


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "halted"}, "unknown fault 'halted'; did you mean halt?"),
        ({"kind": "500", "acepted": True}, "unknown fault setting 'acepted'; did you mean accepted?"),
        ({"kind": "500", "on": "sumbit"}, "cannot strike 'sumbit'; did you mean submit?"),
        ({"kind": "500", "share": 0.5}, "does not read share"),
        ({"kind": "500", "nth": 1, "rate": 0.5}, "both nth and rate"),
        ({"kind": ["500", "halt"]}, "of one group"),
        ({"kind": "halt"}, "needs the symbol"),
        ({"kind": "halt", "symbol": "S0", "nth": 2}, "does not read nth"),
        ({"kind": ["halt", "split"], "symbol": "S0"}, "of one kind"),
        ({"kind": "half_day", "symbol": "S0"}, "concerns no symbol"),
        ({"kind": "half_day", "times": 2}, "no times"),
        ({"kind": "500", "rate": 1.5}, "a probability"),
        ({"kind": "500", "nth": 0}, "nth is 0"),
        ({"kind": "partial_fill", "share": 1.0}, "share is 1.0"),
        ({"kind": "slow", "seconds": "long"}, "must be a number"),
        ({"on": "submit"}, "without a kind"),
        ({"kind": 500}, "kind is 500"),
        ({"kind": "500", "accepted": "yes"}, "true or false"),
    ],
)
def test_a_wrong_fault_is_one_line(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + says.replace("?", r"\?")):
        Faults.from_dict({"fault": [settings]})


def test_a_file_of_faults_says_where_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    for text, says in (
        ("sed = 3\n", "unknown key 'sed' of faults; did you mean seed"),
        ('[[fault]]\nkind = "50"\n', "unknown fault '50'"),
        ("seed = \n", "not TOML"),
        ('seed = "x"\n', "a whole number"),
        ("fault = 3\n", r"\[\[fault\]\]"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says) as caught:
            Faults.from_toml(path)
        assert str(caught.value).startswith(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        Faults.from_toml(tmp_path / "none.toml")


def test_a_market_fault_that_the_bars_do_not_have() -> None:
    for fault, says in (
        (Fault("halt", symbol="S7"), "no symbol S7"),
        (Fault("split", symbol="S0", bar=99), "begins at bar 99 of a replay of 9"),
    ):
        with pytest.raises(ConfigError, match=says):
            Exchange(PANEL, Settings(start=START), faults=Faults([fault]))


def test_the_shipped_example_can_be_read(repository: Path) -> None:
    assert len(Faults.from_toml(repository / "paper" / "faults.toml").listed) == 4


def test_every_kind_stands_in_the_documentation(repository: Path) -> None:
    page = (repository / "docs" / "exchange.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


def test_a_rate_is_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> list[str]:
        faults = Faults([Fault(("500", "reset", "slow"), rate=0.05)], seed)
        struck = [faults.strike("http", "orders") for _ in range(4000)]
        return [item.kind if item else "" for item in struck]

    assert drawn(1) == drawn(1) != drawn(2)
    hits = [kind for kind in drawn(1) if kind]
    assert 140 < len(hits) < 260  # 200 expected, standard deviation 14
    assert set(hits) == {"500", "reset", "slow"}
