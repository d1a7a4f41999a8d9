"""The names that scripts rely on, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tradekit

PUBLIC = [
    "CostModel",
    "ExecutionModel",
    "Ledger",
    "Panel",
    "PolicyStrategy",
    "TradekitError",
    "__version__",
    "audit",
    "load_panel",
    "simulate",
    "stress",
    "walk_forward",
]

LOADED = "import sys; before = set(sys.modules); import tradekit; print(*sorted(set(sys.modules) - before))"


def test_the_public_names_are_pinned() -> None:
    assert sorted(tradekit.__all__) == PUBLIC
    assert dir(tradekit) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_loads(name: str) -> None:
    value = getattr(tradekit, name)
    assert name == "__version__" or value.__name__ == name


def test_a_name_is_the_one_its_module_defines() -> None:
    from tradekit.market.panel import Panel

    assert tradekit.Panel is Panel


def test_types_and_runtime_agree_on_every_home() -> None:
    declared = {line.split()[3]: line.split()[1] for line in _type_checking_imports()}
    assert declared == tradekit._HOME


def _type_checking_imports() -> list[str]:
    source = Path(str(tradekit.__file__)).read_text(encoding="utf-8")
    return [line for line in source.splitlines() if line.startswith("    from tradekit.")]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tradekit' has no attribute 'simulat'"):
        tradekit.simulat  # noqa: B018


def test_a_bare_import_loads_nothing_but_itself() -> None:
    answer = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
    assert {name for name in answer.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names} == {"tradekit"}
